"""The only client of providers: sends one request, gives one `Reply`; aiohttp's exceptions end here.

Source of the choices: aiohttp 3.14's client, tried against providers that refuse, reset, hang and cut.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import TYPE_CHECKING
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

from respan_proxy.errors import UpstreamInterrupted, UpstreamUnavailable
from respan_proxy.exchange import Reply, Stream
from respan_proxy.wire.headers import to_caller

if TYPE_CHECKING:
    from respan_proxy.config import Provider

# aiohttp warns of bytes bodies above 1 MB: they are written in one go.
WHOLE_WRITE_BYTES = 1_000_000
PIECE_BYTES = 262_144

# Joining a bigger answer happens in a thread; it lets go of the GIL.
JOINED_INLINE_BYTES = 2_000_000

# Small requests are written at once and aiohttp's read timer then runs; larger ones may stall while being written.
STALLABLE_BYTES = 65_536

# Connections idle for longer are closed by us; providers' load balancers cut at 60 s and more (AWS ALB's default).
KEEPALIVE_S = 55.0

_used_connections: WeakSet[ResponseHandler] = WeakSet()


class _Response(aiohttp.ClientResponse):
    """Knows whether its connection had carried a request before: a provider may have closed that one meanwhile."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        protocol = connection.protocol
        was_used = protocol in _used_connections
        try:
            response = await super().start(connection)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if was_used and not isinstance(error, asyncio.TimeoutError):
                raise _StaleConnection from error
            raise
        if protocol is not None and not was_used:
            _used_connections.add(protocol)
        return response


class _BigBody(aiohttp.Payload):
    """A request's body written piece by piece, without a copy (aiohttp copies what stands in a BytesIO whole, 20 ms for 30 MB)."""

    _value: bytes
    _autoclose = True

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        view = memoryview(self._value)
        for at in range(0, len(view), PIECE_BYTES):
            await writer.write(view[at : at + PIECE_BYTES])
            await asyncio.sleep(0)


class _StaleConnection(Exception):
    """A kept-alive connection turned out closed before any byte of an answer: the one case that is replayed here."""


class _Silence(Exception):
    """Set on the body's reader when the provider has said nothing for too long."""


class Incoming:
    """The bytes of an answer's body as the socket gives them (a `ByteStream`).

    A break raises `UpstreamInterrupted`; so does waiting for a chunk longer than the provider's `silence_s`. One timer per
    `silence_s` looks whether that is so: aiohttp's own read timeout is set anew for every chunk, which cost 5 us each. Before the
    first chunk aiohttp's is in force, as it was for the head.
    """

    __slots__ = ("_content", "_loop", "_name", "_response", "_silence_s", "_timer", "_waiting_since")

    def __init__(self, response: aiohttp.ClientResponse, provider: Provider) -> None:
        self._response = response
        self._content = response.content
        self._name = provider.name
        self._silence_s = provider.timeouts.silence_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting_since: float | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._waiting_since = self._loop.time()
        try:
            chunk = await self._content.readany()
        except (_Silence, aiohttp.ServerTimeoutError) as error:
            raise UpstreamInterrupted(
                f"provider {self._name!r} sent nothing for {self._silence_s:g} s", status=504, kind="timeout"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamInterrupted(f"provider {self._name!r} broke off its answer ({_cause(error)})") from error
        self._waiting_since = None
        if not chunk:
            self._stop_watching()
            raise StopAsyncIteration
        if self._timer is None:
            _limit_silence(self._response, None)
            self._timer = self._loop.call_later(self._silence_s, self._watch)
        return chunk

    def _watch(self) -> None:
        """Time is only counted while a chunk is waited for: a slow caller is not a silent provider."""
        since = self._waiting_since
        now = self._loop.time()
        if since is not None and now - since >= self._silence_s:
            self._content.set_exception(_Silence())
            return
        self._timer = self._loop.call_at((since if since is not None else now) + self._silence_s, self._watch)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def aclose(self) -> None:
        """Close the connection at once unless the answer was read to its end (then it went back to the pool)."""
        self._stop_watching()
        self._response.close()


class Upstream:
    """Sends requests to providers. Use as `async with`; one per process, shared by all exchanges."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Upstream:
        self._session = _session(aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S))
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in (self._session, self._fresh):
            if session is not None:
                await session.close()

    async def send(
        self,
        provider: Provider,
        method: str,
        url: str,
        headers: CIMultiDict[str],
        body: bytes,
        *,
        streams: bool,
        notes: list[str],
    ) -> Reply:
        """One request, one answer of any status.

        `headers` are complete (credentials included). With `streams`, a 2xx answer's body is a `Stream`; any other is read whole.
        `notes` gains a word when a dead kept-alive connection was replaced. Raises `UpstreamUnavailable` when no answer came.
        """
        if self._session is None:
            raise RuntimeError("Upstream is used as `async with Upstream() as upstream`")
        arguments = (provider, method, url, headers, body)
        try:
            try:
                response = await self._request(self._session, *arguments)
            except _StaleConnection:
                notes.append("replayed: the provider had closed a kept-alive connection")
                if self._fresh is None:
                    self._fresh = _session(aiohttp.TCPConnector(limit=0, force_close=True))
                response = await self._request(self._fresh, *arguments)
            if streams and response.status < 300:
                return Reply(response.status, to_caller(response.headers), Stream(Incoming(response, provider)))
            return await self._whole(response, provider)
        except aiohttp.ClientError as error:
            raise _unavailable(provider, error) from error
        except TimeoutError as error:
            raise _unavailable(provider, error) from error
        except (OSError, _StaleConnection) as error:
            raise _unavailable(provider, error) from error

    async def _request(
        self, session: aiohttp.ClientSession, provider: Provider, method: str, url: str, headers: CIMultiDict[str], body: bytes
    ) -> aiohttp.ClientResponse:
        timeouts = provider.timeouts
        request = session.request(
            method,
            _url(url),
            headers=headers,
            data=(body if len(body) <= WHOLE_WRITE_BYTES else _BigBody(body)) if body else None,
            allow_redirects=False,
            timeout=_timeout(timeouts.connect_s, timeouts.first_byte_s),
            proxy=provider.proxy,
            ssl=_ssl(provider.ca_file) if provider.ca_file else True,
        )
        if len(body) <= STALLABLE_BYTES:
            return await request
        async with asyncio.timeout(timeouts.connect_s + timeouts.first_byte_s):
            return await request

    async def _whole(self, response: aiohttp.ClientResponse, provider: Provider) -> Reply:
        if not response.content.is_eof():
            _limit_silence(response, provider.timeouts.silence_s)
        try:
            body = await _read(response)
        except aiohttp.ServerTimeoutError as error:
            raise UpstreamUnavailable(
                f"provider {provider.name!r} sent nothing for {provider.timeouts.silence_s:g} s in the middle of its answer",
                may_have_run=True,
                status=504,
                kind="timeout",
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamUnavailable(f"provider {provider.name!r} broke off its answer ({_cause(error)})", may_have_run=True) from error
        return Reply(response.status, to_caller(response.headers), body)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole body; the connection is closed when that fails or is cancelled."""
    content = response.content
    if content.is_eof():
        return await response.read()
    pieces, size = [], 0
    try:
        while piece := await content.readany():
            pieces.append(piece)
            size += len(piece)
    except BaseException:
        response.close()
        raise
    return b"".join(pieces) if size <= JOINED_INLINE_BYTES else await asyncio.to_thread(b"".join, pieces)


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        response_class=_Response,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        max_line_size=65_536,
        max_field_size=65_536,
    )


def _limit_silence(response: aiohttp.ClientResponse, silence_s: float | None) -> None:
    """From here on the connection may be silent for `silence_s` (None: aiohttp does not look), no longer for as long as before."""
    connection = response.connection
    if connection is not None and connection.protocol is not None:
        connection.protocol.read_timeout = silence_s
        connection.protocol.start_timeout()


def _unavailable(provider: Provider, error: BaseException) -> UpstreamUnavailable:
    name, host = provider.name, URL(provider.base_url).authority
    match error:
        case aiohttp.ConnectionTimeoutError():
            message = f"provider {name!r} ({host}) did not accept a connection within {provider.timeouts.connect_s:g} s"
            return UpstreamUnavailable(message, may_have_run=False, status=504, kind="timeout")
        case aiohttp.ServerTimeoutError() | TimeoutError():
            message = f"provider {name!r} ({host}) did not begin to answer within {provider.timeouts.first_byte_s:g} s"
            return UpstreamUnavailable(message, may_have_run=True, status=504, kind="timeout")
        case aiohttp.ClientResponseError():
            return UpstreamUnavailable(f"provider {name!r} ({host}) answered with something that is not HTTP", may_have_run=True)
        case aiohttp.ClientConnectorError() | aiohttp.InvalidURL():
            return UpstreamUnavailable(f"provider {name!r} ({host}) cannot be reached: {_cause(error)}", may_have_run=False)
        case _:
            return UpstreamUnavailable(f"provider {name!r} ({host}) closed the connection without an answer", may_have_run=True)


def _cause(error: BaseException) -> str:
    """The operating system's own words where there are some; never a URL or a header."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate was refused: {error.certificate_error}"
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return type(error).__name__


@lru_cache(maxsize=1024)
def _url(url: str) -> URL:
    return URL(url, encoded=True)


@lru_cache(maxsize=64)
def _timeout(connect_s: float, first_byte_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=first_byte_s)


@lru_cache(maxsize=64)
def _ssl(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)
