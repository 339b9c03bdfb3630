"""The only client of providers: sends one request, gives one `Reply`; aiohttp's exceptions end here.

Source of the choices: aiohttp 3.14's client, tried against providers that refuse, reset, hang and cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from respan_proxy.errors import UpstreamInterrupted, UpstreamUnavailable
from respan_proxy.exchange import Reply, Stream
from respan_proxy.pool import Answer, NoHTTP, Pool, StaleConnection
from respan_proxy.wire.headers import to_caller

if TYPE_CHECKING:
    from respan_proxy.config import Provider

# Joining a bigger answer happens in a thread; it lets go of the GIL.
JOINED_INLINE_BYTES = 2_000_000

# Small requests are written at once and aiohttp's read timer then runs; larger ones may stall while being written.
STALLABLE_BYTES = 65_536


class _Silence(Exception):
    """Set on the body's reader when the provider has said nothing for too long."""


class Incoming:
    """The bytes of an answer's body as the socket gives them (a `ByteStream`).

    A break raises `UpstreamInterrupted`; so does waiting for a chunk longer than the provider's `silence_s`. One timer per
    `silence_s` looks whether that is so: aiohttp's own read timeout is set anew for every chunk, which cost 5 us each. Before the
    first chunk aiohttp's is in force, as it was for the head.
    """

    __slots__ = ("_answer", "_content", "_loop", "_name", "_silence_s", "_timer", "_waiting_since")

    def __init__(self, answer: Answer, provider: Provider) -> None:
        self._answer = answer
        self._content = answer.content
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
            self._answer.limit_silence(None)
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
        self._answer.close()


class Upstream:
    """Sends requests to providers. Use as `async with`; one per process, shared by all exchanges."""

    def __init__(self) -> None:
        self._pool = Pool()

    async def __aenter__(self) -> Upstream:
        await self._pool.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.__aexit__()

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
        try:
            answer = await self._asked(provider, method, url, headers, body, notes)
            if streams and answer.status < 300:
                return Reply(answer.status, to_caller(answer.headers), Stream(Incoming(answer, provider)))
            return await _whole(answer, provider)
        except (aiohttp.ClientError, OSError, NoHTTP) as error:  # TimeoutError is an OSError
            raise _unavailable(provider, error) from error

    async def _asked(self, provider: Provider, method: str, url: str, headers: CIMultiDict[str], body: bytes, notes: list[str]) -> Answer:
        if len(body) > STALLABLE_BYTES:
            async with asyncio.timeout(provider.timeouts.connect_s + provider.timeouts.first_byte_s):
                return await self._replayed(provider, method, url, headers, body, notes)
        return await self._replayed(provider, method, url, headers, body, notes)

    async def _replayed(
        self, provider: Provider, method: str, url: str, headers: CIMultiDict[str], body: bytes, notes: list[str]
    ) -> Answer:
        try:
            return await self._pool.ask(provider, method, url, headers, body)
        except StaleConnection:
            notes.append("replayed: the provider had closed a kept-alive connection")
            return await self._pool.ask(provider, method, url, headers, body, anew=True)


async def _whole(answer: Answer, provider: Provider) -> Reply:
    if not answer.content.is_eof():
        answer.limit_silence(provider.timeouts.silence_s)
    try:
        body = await _read(answer)
    except aiohttp.ServerTimeoutError as error:
        raise UpstreamUnavailable(
            f"provider {provider.name!r} sent nothing for {provider.timeouts.silence_s:g} s in the middle of its answer",
            may_have_run=True,
            status=504,
            kind="timeout",
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamUnavailable(f"provider {provider.name!r} broke off its answer ({_cause(error)})", may_have_run=True) from error
    return Reply(answer.status, to_caller(answer.headers), body)


async def _read(answer: Answer) -> bytes:
    """The whole body; the connection is closed when that fails or is cancelled."""
    content = answer.content
    if content.is_eof():
        return content.read_nowait()
    pieces, size = [], 0
    try:
        while piece := await content.readany():
            pieces.append(piece)
            size += len(piece)
    except BaseException:
        answer.close()
        raise
    return b"".join(pieces) if size <= JOINED_INLINE_BYTES else await asyncio.to_thread(b"".join, pieces)


def _unavailable(provider: Provider, error: BaseException) -> UpstreamUnavailable:
    name, host = provider.name, URL(provider.base_url).authority
    match error:
        case aiohttp.ConnectionTimeoutError():
            message = f"provider {name!r} ({host}) did not accept a connection within {provider.timeouts.connect_s:g} s"
            return UpstreamUnavailable(message, may_have_run=False, status=504, kind="timeout")
        case aiohttp.ServerTimeoutError() | TimeoutError():
            message = f"provider {name!r} ({host}) did not begin to answer within {provider.timeouts.first_byte_s:g} s"
            return UpstreamUnavailable(message, may_have_run=True, status=504, kind="timeout")
        case NoHTTP() | aiohttp.ClientResponseError():
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
