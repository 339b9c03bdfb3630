"""Connections to providers: used again, given up when they cannot be, and opened through a proxy, over real sockets."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from multidict import CIMultiDict

from respan_proxy import pool
from respan_proxy.config import Provider, parse
from respan_proxy.errors import RequestRejected
from respan_proxy.exchange import Reply
from respan_proxy.upstream import Upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """To each request on a connection the next of that connection's `answers`, which are given in the order of the connections."""

    def __init__(self, *answers: Sequence[bytes]) -> None:
        self.answers = deque(answers)
        self.heads: list[list[bytes]] = []
        self.closed = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append([])
        try:
            for answer in self.answers.popleft():
                self.heads[-1].append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(answer)
            await reader.read()  # until the other side closes
        except ConnectionError:
            pass
        finally:
            writer.close()
            self.closed.set()


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    listening = await asyncio.start_server(server, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def provider(url: str, **options: Any) -> Provider:
    table = {"base_url": url, "auth": "none", "models": ["m"], **options}
    return parse({"providers": {"one": table}}, {}, "test.toml", {"listen": "127.0.0.1:0"}).providers["one"]


async def ask(
    upstream: Upstream, to: Provider, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None, notes: list[str] | None = None
) -> Reply:
    return await upstream.send(to, "POST", url, CIMultiDict(headers or {}), body, streams=False, notes=[] if notes is None else notes)


async def test_a_connection_carries_one_call_after_the_other() -> None:
    server = Server([OK, OK])
    async with serving(server) as url, Upstream() as upstream:
        for _ in range(2):
            reply = await ask(upstream, provider(url), f"{url}/v1/x?y=%2F", headers={"X-One": "é"})
            assert (reply.status, reply.body) == (200, b"ok")
    (heads,) = server.heads
    host = url.removeprefix("http://").encode()
    expected = b"POST /v1/x?y=%2F HTTP/1.1\r\nHost: " + host + b"\r\nX-One: \xc3\xa9\r\nContent-Length: 0\r\n\r\n"
    assert heads == [expected, expected]


async def test_what_is_said_on_an_idle_connection_is_no_answer_to_the_next_call() -> None:
    server = Server([OK + b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"], [OK])
    async with serving(server) as url, Upstream() as upstream:
        notes: list[str] = []
        for _ in range(2):
            reply = await ask(upstream, provider(url), f"{url}/v1/x", notes=notes)
            assert (reply.status, notes) == (200, [])
    assert [len(heads) for heads in server.heads] == [1, 1]


async def test_a_refusal_before_the_request_is_whole_is_heard_and_the_connection_given_up() -> None:
    server = Server([b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nlong"])
    async with serving(server) as url, Upstream() as upstream:
        reply = await ask(upstream, provider(url), f"{url}/v1/x", body=b"x" * 20_000_000)
        assert (reply.status, reply.body) == (413, b"long")
        await server.closed.wait()
    assert b"Content-Length: 20000000\r\n" in server.heads[0][0]


async def test_an_idle_connection_is_closed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "KEEPALIVE_S", 0.0)

    server = Server([OK])
    async with serving(server) as url, Upstream() as upstream:
        await ask(upstream, provider(url), f"{url}/v1/x")
        await server.closed.wait()


async def test_a_proxy_is_told_the_whole_url_and_who_asks_each_time() -> None:
    server = Server([OK, OK])
    async with serving(server) as url, Upstream() as upstream:
        to = provider("http://llm.invalid/v1", proxy=url.replace("//", "//me:secret@"))
        for _ in range(2):
            assert (await ask(upstream, to, "http://llm.invalid/v1/chat?a=b")).status == 200
    (heads,) = server.heads
    credentials = base64.b64encode(b"me:secret").decode()
    for head in heads:
        assert head.startswith(b"POST http://llm.invalid/v1/chat?a=b HTTP/1.1\r\nHost: llm.invalid\r\n")
        assert f"Proxy-Authorization: Basic {credentials}\r\n".encode() in head
    assert len(heads) == 2


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b"])
async def test_a_header_cannot_end_its_line(value: str) -> None:
    async with Upstream() as upstream:
        with pytest.raises(RequestRejected, match="'X-Mine'"):
            await ask(upstream, provider("http://127.0.0.1:1/v1"), "http://127.0.0.1:1/v1", headers={"X-Ok": "b", "X-Mine": value})
