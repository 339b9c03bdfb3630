"""HTTP as clients really write it: old versions, odd targets, upgrades, late and endless bodies, things that are no HTTP at all."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from tests.conftest import OPENAI_KEY, Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider

BODY = b'{"model":"gpt-4o","messages":[]}'
CHAT = "/api/chat/completions"
CHAT_ANSWER = json.dumps(recordings.CHAT).encode()


def request(method: str, target: str, body: bytes = b"", *headers: str, version: str = "1.1", length: bool = True) -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: localhost", *headers]
    if length and body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """A socket to the proxy; `answer` reads one response: (status, lower-case headers, body)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            status = int(head[0].split(" ")[1])
            if "content-length" in headers:
                return status, headers, await self.reader.readexactly(int(headers["content-length"])) if has_body else b""
            return status, headers, b""

    async def rest(self) -> bytes:
        """Everything until the proxy closes."""
        async with asyncio.timeout(10):
            return await self.reader.read()


@pytest.fixture
async def connect(start_proxy: StartProxy, environ: dict[str, str]) -> Any:
    """`await connect(proxy)`; without one, to a proxy with the default configuration."""
    opened: list[asyncio.StreamWriter] = []

    async def open_(to: Proxy | None = None) -> Connection:
        to = to or await start_proxy({}, environ)
        reader, writer = await asyncio.open_connection("127.0.0.1", to.house.address.port)
        opened.append(writer)
        return Connection(reader, writer)

    yield open_
    for writer in opened:
        writer.close()


async def say(connect: Any, data: bytes) -> tuple[int, dict[str, str], bytes]:
    connection = await connect()
    connection.writer.write(data)
    answer: tuple[int, dict[str, str], bytes] = await connection.answer()
    return answer


async def test_a_client_of_http_1_0_gets_an_answer_and_its_connection_closed(connect: Any) -> None:
    connection = await connect()
    connection.writer.write(request("POST", CHAT, BODY, version="1.0"))
    status, _, body = await connection.answer()
    assert (status, body, await connection.rest()) == (200, CHAT_ANSWER, b"")


async def test_a_stream_to_a_client_of_http_1_0_is_not_chunked_and_ends_with_the_connection(connect: Any) -> None:
    connection = await connect()
    connection.writer.write(request("POST", CHAT, b'{"model":"gpt-4o","messages":[],"stream":true}', version="1.0"))
    _, headers, _ = await connection.answer()
    assert "transfer-encoding" not in headers
    assert await connection.rest() == b"".join(recordings.CHAT_STREAM)


async def test_requests_written_in_one_go_are_answered_in_order(connect: Any, provider: FakeProvider) -> None:
    connection = await connect()
    bodies = [b'{"model":"gpt-4o","messages":[],"seed":%d}' % seed for seed in range(3)]
    connection.writer.write(b"".join(request("POST", CHAT, body) for body in bodies))
    answers = [await connection.answer() for _ in bodies]
    assert [(status, body) for status, _, body in answers] == [(200, CHAT_ANSWER)] * 3
    assert [received.body for received in provider.received] == bodies


async def test_a_chunked_body_arrives_whole(connect: Any, provider: FakeProvider) -> None:
    chunked = b'5\r\n{"mod\r\n1b;ext=1\r\nel":"gpt-4o","messages":[]}\r\n0\r\nTrailer: x\r\n\r\n'
    status, _, _ = await say(connect, request("POST", CHAT, chunked, "Transfer-Encoding: chunked", length=False))
    assert status == 200 and provider.last.body == BODY
    assert "Transfer-Encoding" not in provider.last.headers and provider.last.headers["Content-Length"] == str(len(BODY))


async def test_a_body_is_asked_for_before_it_is_sent(connect: Any, provider: FakeProvider) -> None:
    connection = await connect()
    connection.writer.write(request("POST", CHAT, b"", "Expect: 100-continue", f"Content-Length: {len(BODY)}"))
    assert await connection.reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.writer.write(BODY)
    assert (await connection.answer())[0] == 200
    assert "Expect" not in provider.last.headers


async def test_a_body_that_is_too_large_is_not_asked_for(connect: Any) -> None:
    status, _, body = await say(connect, request("POST", CHAT, b"", "Expect: 100-continue", "Content-Length: 99999999999"))
    assert status == 413 and b"99999999999" in body


async def test_an_upload_far_above_the_limit_still_reads_its_refusal(
    start_proxy: StartProxy, environ: dict[str, str], connect: Any, provider: FakeProvider
) -> None:
    """Closing at once would reset the connection under the answer."""
    proxy = await start_proxy({"limits": {"request_bytes": 1000}}, environ)
    connection = await connect(proxy)
    size = 20_000_000
    connection.writer.write(request("POST", "/api/anthropic/v1/messages", b"", f"Content-Length: {size}"))

    async def upload() -> None:
        for _ in range(size // 100_000):
            connection.writer.write(bytes(100_000))
            await connection.writer.drain()

    async with asyncio.TaskGroup() as group:
        group.create_task(upload())
        status, _, body = await connection.answer()
    assert status == 413 and json.loads(body)["error"]["type"] == "request_too_large"
    assert not provider.received


@pytest.mark.parametrize(
    ("path", "type_of"),
    [
        (CHAT, lambda body: body["error"]["code"] == "timeout"),
        ("/api/responses", lambda body: body["error"]["code"] == "timeout"),
        ("/api/anthropic/v1/messages", lambda body: body["error"]["type"] == "timeout_error"),
        ("/api/google/gemini/v1/models/gemini-2.5-flash:generateContent", lambda body: body["error"]["status"] == "DEADLINE_EXCEEDED"),
    ],
)
async def test_a_body_that_stops_coming_is_a_408_of_the_dialect(
    start_proxy: StartProxy, environ: dict[str, str], connect: Any, path: str, type_of: Any
) -> None:
    proxy = await start_proxy({"limits": {"upload_s": 0.05}}, environ)
    connection = await connect(proxy)
    connection.writer.write(request("POST", path, b"", "Content-Length: 100") + b'{"mod')
    status, _, body = await connection.answer()
    assert status == 408 and type_of(json.loads(body)) and b"5 bytes" in body


@pytest.mark.parametrize("target", ["http://localhost:1", "HTTPS://api.respan.ai"])
async def test_a_target_in_absolute_form_is_served(connect: Any, provider: FakeProvider, target: str) -> None:
    status, _, _ = await say(connect, request("POST", f"{target}{CHAT}?a=%2F", BODY))
    assert (status, provider.last.target) == (200, "/v1/chat/completions?a=%2F")


@pytest.mark.parametrize(
    "path",
    [
        "//api//chat//completions",
        "/api/chat/completions/",
        "/api/v1/chat/completions",
        "/v1/chat/completions",
        "/chat/completions//",
        "/api/api/chat/completions",
    ],
)
async def test_spellings_of_a_path_are_served_without_a_redirect(connect: Any, provider: FakeProvider, path: str) -> None:
    status, _, _ = await say(connect, request("POST", path, BODY))
    assert (status, provider.last.target) == (200, "/v1/chat/completions")


@pytest.mark.parametrize("path", ["//health/live", "/api//request-logs//list/", "/api/health-check"])
async def test_doubled_slashes_are_collapsed_everywhere(connect: Any, path: str) -> None:
    status, _, _ = await say(connect, request("GET", path))
    assert status == 200


@pytest.mark.parametrize(
    ("path", "near"), [("/api/chat/completion", "/api/chat/completions"), ("/api/chat%2Fcompletions", "/api/chat/completions")]
)
async def test_a_path_that_is_not_served_is_a_404_that_names_near_ones(connect: Any, path: str, near: str) -> None:
    status, headers, body = await say(connect, request("POST", path, BODY))
    assert status == 404 and near in json.loads(body)["error"]["message"] and headers["server"] == "respan-proxy"


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "PATCH"])
@pytest.mark.parametrize(
    ("path", "where"),
    [
        (CHAT, ("error", "code")),
        ("/api/anthropic/v1/messages", ("error", "type")),
        ("/api/google/gemini/v1/models/gemini-2.5-flash:generateContent", ("error", "status")),
    ],
)
async def test_a_wrong_method_is_a_405_of_the_dialect(connect: Any, method: str, path: str, where: tuple[str, str]) -> None:
    status, headers, body = await say(connect, request(method, path))
    assert status == 405 and "POST" in headers["allow"] and json.loads(body)[where[0]][where[1]]


async def test_head_is_answered_without_a_body(connect: Any) -> None:
    connection = await connect()
    connection.writer.write(request("HEAD", CHAT))
    status, _, _ = await connection.answer(has_body=False)
    assert status == 405 and await connection.rest() == b""


@pytest.mark.parametrize("path", ["/api/responses", "/v1/realtime?model=gpt-realtime", "/anywhere"])
async def test_a_websocket_is_refused_at_once(connect: Any, path: str) -> None:
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
    status, _, body = await say(connect, request("GET", path, b"", *upgrade))
    assert status == 501 and b"WebSocket" in body


async def test_a_client_that_would_rather_speak_http_2_is_served(connect: Any, provider: FakeProvider) -> None:
    """curl --http2 and Java's HttpClient ask with their first request."""
    upgrade = ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__")
    status, _, _ = await say(connect, request("POST", CHAT, BODY, *upgrade))
    assert status == 200 and "HTTP2-Settings" not in provider.last.headers and "Upgrade" not in provider.last.headers


async def test_a_header_of_60_kb_is_read(connect: Any, provider: FakeProvider) -> None:
    """Respan's parameters travel in one."""
    status, _, _ = await say(connect, request("POST", CHAT, BODY, "X-Long: " + "a" * 60_000))
    assert status == 200 and len(provider.last.headers["X-Long"]) == 60_000


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (request("POST", CHAT, BODY, f"Authorization: Bearer {OPENAI_KEY}" + "a" * 70_000), 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (request("POST", CHAT, BODY, "Content-Length: " + OPENAI_KEY, length=False), 400),
        (request("POST", CHAT, b"0\r\n\r\n", "Transfer-Encoding: chunked", "Content-Length: 5", length=False), 400),
        (request("POST", CHAT, b"zz\r\n\r\n", "Transfer-Encoding: chunked", length=False), 400),
    ],
    ids=["long header", "TLS", "HTTP/2", "bad length", "two lengths", "bad chunk"],
)
async def test_what_is_no_http_is_refused_as_json_and_nothing_of_it_is_logged(
    connect: Any, caplog: pytest.LogCaptureFixture, data: bytes, expected: int
) -> None:
    with caplog.at_level(logging.DEBUG):
        status, headers, body = await say(connect, data)
    assert status == expected and json.loads(body)["error"]["message"]
    assert headers["server"] == "respan-proxy"
    assert OPENAI_KEY not in caplog.text and OPENAI_KEY.encode() not in body and "Traceback" not in caplog.text
