"""Connections to providers, kept between calls: aiohttp opens them and reads what comes over them, what stands between is ours.

Of the 140 us that a bare relay takes for a call aiohttp's session takes 100, and this 25 (measured, uvloop): a session makes a
request, a response, a URL, cookies and timers of each call, of which a relay needs a line, some headers and a body.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, StreamWriter
from aiohttp.streams import StreamReader
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from respan_proxy.errors import RequestRejected
from respan_proxy.wire.remembered import remembered

if TYPE_CHECKING:
    from respan_proxy.config import Provider

# What is longer is written piece by piece, while the answer is waited for already.
WHOLE_WRITE_BYTES = 1_000_000
PIECE_BYTES = 262_144

# Connections idle for longer are closed by us; providers' load balancers cut at 60 s and more (AWS ALB's default).
KEEPALIVE_S = 55.0

MAX_HEADER_BYTES = 65_536
READ_BYTES = 65_536

# Requests that carry content, which those without any say by a length of 0 (RFC 9110 8.6).
_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})


class StaleConnection(Exception):
    """A kept connection turned out closed before any byte of an answer: the request may be sent over another one."""


class NoHTTP(Exception):
    """What came over the connection is no answer in HTTP/1."""


class _Place(NamedTuple):
    """Where a URL leads: the server, its name as the request's header has it, and what the request's line asks for."""

    origin: URL
    host: str
    target: str


class _Line:
    """One connection, and what it is kept by. `for_proxy`: the header that a proxy which sees the request wants to see in it."""

    __slots__ = ("connection", "for_proxy", "idle_since", "key", "protocol", "writing")

    def __init__(self, key: _Key, connection: Connection, protocol: ResponseHandler, for_proxy: bytes) -> None:
        self.key = key
        self.connection = connection
        self.protocol = protocol
        self.for_proxy = for_proxy
        self.writing: asyncio.Task[None] | None = None
        self.idle_since = 0.0

    def write(self, head: bytes, body: bytes) -> None:
        """Send a request; a long one by a task of its own, so that an answer is heard that comes before its end."""
        transport, protocol = self.protocol.transport, self.protocol
        if transport is None:
            raise aiohttp.ServerDisconnectedError
        if len(body) <= WHOLE_WRITE_BYTES:
            transport.write(head + self.for_proxy + b"\r\n" + body)
            protocol.start_timeout()
        else:
            self.writing = asyncio.create_task(_written(protocol, head + self.for_proxy + b"\r\n", body), name="request's body")

    @property
    def is_reusable(self) -> bool:
        """Whether it can carry another request: all of the last one is written, and nothing came that nobody asked for."""
        transport = self.protocol.transport
        return (
            transport is not None
            and not transport.is_closing()
            and (self.writing is None or self.writing.done())
            and not self.protocol.should_close
            and not transport.get_write_buffer_size()
        )

    def close(self) -> None:
        if self.writing is not None:
            self.writing.cancel()
        self.connection.close()


_Key = tuple[URL, str | None, str | None]


class Answer:
    """Status and headers of a provider's answer, and the reader of its body, at whose end the connection is kept for the next call."""

    __slots__ = ("_line", "_pool", "content", "headers", "status")

    def __init__(self, status: int, headers: CIMultiDictProxy[str], content: StreamReader, line: _Line, pool: Pool) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self._line: _Line | None = line
        self._pool = pool
        content.on_eof(self._ended)

    def _ended(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            self._pool.keep(line)

    def limit_silence(self, silence_s: float | None) -> None:
        """From here on the connection may be silent for `silence_s` (None: aiohttp does not look), no longer for as long as before."""
        if self._line is not None:
            protocol = self._line.protocol
            protocol.read_timeout = silence_s
            protocol.start_timeout()

    def close(self) -> None:
        """Close the connection at once, unless the body was received to its end."""
        line, self._line = self._line, None
        if line is not None:
            line.close()


class Pool:
    """Use as `async with`. Connections are kept by server, proxy and the authorities trusted there; any number at once."""

    def __init__(self) -> None:
        self._connector: aiohttp.TCPConnector | None = None
        self._idle: dict[_Key, deque[_Line]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Pool:
        self._connector = aiohttp.TCPConnector(limit=0, force_close=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for lines in self._idle.values():
            for line in lines:
                line.close()
        self._idle.clear()
        if self._connector is not None:
            await self._connector.close()

    async def ask(self, provider: Provider, method: str, url: str, headers: CIMultiDict[str], body: bytes, *, anew: bool = False) -> Answer:
        """One request; returns with the head of its answer. With `anew`, over a connection that carried none yet.

        Raises aiohttp's exceptions, `TimeoutError`s among them when nothing came for `connect_s` or `first_byte_s`; `StaleConnection`,
        `NoHTTP`, and `RequestRejected` for headers that would break the request's own lines.
        """
        place = _place(url)
        target = url if provider.proxy is not None and url.startswith("http:") else place.target
        head = _head(method, target, place.host, headers, len(body))
        key = (place.origin, provider.proxy, provider.ca_file)
        line = None if anew else self._kept(key)
        is_used = line is not None
        if line is None:
            line = await self._open(key, provider.timeouts.connect_s)
        try:
            return await self._asked(line, head, body, skip_payload=method == "HEAD", first_byte_s=provider.timeouts.first_byte_s)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if is_used and not isinstance(error, TimeoutError):
                raise StaleConnection from error
            raise

    async def _asked(self, line: _Line, head: bytes, body: bytes, *, skip_payload: bool, first_byte_s: float) -> Answer:
        protocol = line.protocol
        try:
            protocol.set_response_params(
                skip_payload=skip_payload,
                read_until_eof=True,
                auto_decompress=False,
                read_timeout=first_byte_s,
                read_bufsize=READ_BYTES,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
            )
            line.write(head, body)
            message, content = await protocol.read()
            while message.code < 200:
                if message.code == 101:
                    raise NoHTTP
                message, content = await protocol.read()
        except HttpProcessingError as error:
            line.close()
            raise NoHTTP from error
        except BaseException:
            line.close()
            raise
        return Answer(message.code, message.headers, content, line, self)

    async def _open(self, key: _Key, connect_s: float) -> _Line:
        origin, proxy, ca_file = key
        if self._connector is None:
            raise RuntimeError("Pool is used as `async with Pool() as pool`")
        # It is never sent: it says where to, and learns what the proxy wants to be told.
        request = aiohttp.ClientRequest(
            "GET",
            origin,
            loop=asyncio.get_running_loop(),
            ssl=_ssl(ca_file) if ca_file is not None else True,
            proxy=URL(proxy) if proxy is not None else None,
        )
        try:
            connection = await self._connector.connect(request, [], aiohttp.ClientTimeout(total=None, sock_connect=connect_s))
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error
        protocol = connection.protocol
        if protocol is None:
            raise aiohttp.ServerDisconnectedError
        credentials = request.headers.get("Proxy-Authorization")
        return _Line(key, connection, protocol, f"Proxy-Authorization: {credentials}\r\n".encode() if credentials is not None else b"")

    def _kept(self, key: _Key) -> _Line | None:
        """The connection that was used last; those that were closed meanwhile are given up."""
        lines = self._idle.get(key)
        while lines:
            line = lines.pop()
            if line.is_reusable:
                return line
            line.close()
        return None

    def keep(self, line: _Line) -> None:
        """For the next call, or give it up where it cannot carry one."""
        if not line.is_reusable:
            line.close()
            return
        loop = asyncio.get_running_loop()
        line.writing = None
        line.idle_since = loop.time()
        lines = self._idle.get(line.key)
        if lines is None:
            lines = self._idle[line.key] = deque()
        lines.append(line)
        if self._sweeper is None:
            self._sweeper = loop.call_later(KEEPALIVE_S, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time() - KEEPALIVE_S
        for key, lines in list(self._idle.items()):
            while lines and lines[0].idle_since <= since:
                lines.popleft().close()
            if not lines:
                del self._idle[key]
        self._sweeper = loop.call_later(KEEPALIVE_S, self._sweep) if self._idle else None


async def _written(protocol: ResponseHandler, head: bytes, body: bytes) -> None:
    """A request piece by piece, without a copy (30 MB copied whole held the loop for 20 ms)."""
    writer = StreamWriter(protocol, asyncio.get_running_loop())
    view = memoryview(body)
    try:
        await writer.write(head)
        for at in range(0, len(view), PIECE_BYTES):
            await writer.write(view[at : at + PIECE_BYTES])
            await asyncio.sleep(0)
    except (aiohttp.ClientError, OSError):
        return  # whoever waits for the answer is told
    protocol.start_timeout()


def _head(method: str, target: str, host: str, headers: CIMultiDict[str], length: int) -> bytes:
    """A request's line and headers, each with its line's end; the empty line behind them is not there yet."""
    parts = [f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n"]
    parts += [f"{name}: {value}\r\n" for name, value in headers.items()]
    if length or method in _WITH_CONTENT:
        parts.append(f"Content-Length: {length}\r\n")
    text = "".join(parts)
    # Each part ends one line; whatever has another in it says more than one header.
    if text.count("\n") != len(parts) + 1 or text.count("\r") != len(parts) + 1 or "\0" in text:
        bad = next((name for name, value in headers.items() if any(mark in name + value for mark in "\r\n\0")), "of the request's line")
        raise RequestRejected(f"the header {bad!r} has a line break or a null byte in it; no header may")
    return text.encode("utf-8", "surrogateescape")


@remembered(1024)
def _place(url: str) -> _Place:
    parsed = URL(url, encoded=True)
    return _Place(parsed.origin(), parsed.host_port_subcomponent or "", parsed.raw_path_qs)


@lru_cache(maxsize=64)
def _ssl(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)
