"""The shell around the chain: an aiohttp request becomes an `Exchange`, a `Reply` becomes bytes on the caller's connection.

aiohttp's router and middlewares are not used: 240 routes cost 60 to 145 us a request, and a middleware sees a streaming
response only after it was sent. One table of paths (respan/endpoints.py) and the chain take their place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from os import urandom

from aiohttp import web

from respan_proxy.dialects import DIALECTS
from respan_proxy.errors import ProxyError, RequestRejected, UnknownPath, UpstreamError
from respan_proxy.exchange import Exchange, Next, Outcome, Reply, Request, Stream
from respan_proxy.respan import endpoints
from respan_proxy.respan.endpoints import Endpoint
from respan_proxy.server import cors
from respan_proxy.server.connections import SERVER
from respan_proxy.server.reading import read_body

Elsewhere = Callable[[web.BaseRequest, str], Awaitable[web.StreamResponse | None]]


@dataclass(slots=True)
class Counters:
    """What happened since the start, for health and metrics; calls that no row tells of are only here."""

    requests: int = 0
    unauthorized: int = 0
    errors: int = 0
    active: int = 0
    by_endpoint: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Limits:
    """Of what a caller may send: bytes of a body after decompression, seconds between two pieces of it; and the pages that may read us."""

    request_bytes: int
    upload_s: float
    origins: tuple[str, ...] = ()


class _StreamResponse(web.StreamResponse):
    """Sends its head together with the first chunk, which is in hand when the head is: one system call less."""

    _send_headers_immediately = False


class Gateway:
    """aiohttp's low-level handler. `handle` (the chain) and `limits` are replaced on reload; open calls keep the old ones."""

    def __init__(self, handle: Next, elsewhere: Elsewhere, limits: Limits) -> None:
        self.handle = handle
        self.elsewhere = elsewhere
        self.limits = limits
        self.counters = Counters()
        self.stopping = False
        self.cuts = False  # the time for open calls is over: from now on it is not the callers who leave
        self._idle = asyncio.Event()
        self._idle.set()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        counters = self.counters
        counters.active += 1
        self._idle.clear()
        try:
            target = request.raw_path
            path, _, query = (target if target.startswith("/") else _origin_form(target)).partition("?")
            endpoint = endpoints.match(request.method, path)
            if endpoint is not None and ("Upgrade" not in request.headers or not _wants_websocket(request)):
                counters.requests += 1
                return await self._exchange(request, path, query, endpoint)
            return await self._beside(request, path, self.elsewhere)
        finally:
            counters.active -= 1
            if not counters.active:
                self._idle.set()

    def door(self, answers: Elsewhere) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        """A handler for another socket, where only `answers` does; its calls are counted, waited for and cut like all others."""

        async def serve(request: web.BaseRequest) -> web.StreamResponse:
            self.counters.active += 1
            self._idle.clear()
            try:
                return await self._beside(request, request.raw_path.partition("?")[0], answers)
            finally:
                self.counters.active -= 1
                if not self.counters.active:
                    self._idle.set()

        return serve

    async def _beside(self, request: web.BaseRequest, path: str, answers: Elsewhere) -> web.StreamResponse:
        if (question := cors.preflight(request, self.limits.origins)) is not None:
            return question
        response = await answers(request, endpoints.collapsed(path))
        if response is None:
            response = await self._unknown(request, path)
        response.headers.setdefault("Server", SERVER)
        cors.permit(response.headers, request.headers, self.limits.origins)
        return response

    async def drained(self, timeout_s: float) -> bool:
        """Wait until no call is open, `timeout_s` at the most; whether that came to be."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def wait_no_longer(self) -> None:
        """Whoever asks twice to stop does not want to wait for open calls."""
        self._idle.set()

    async def _exchange(self, request: web.BaseRequest, path: str, query: str, endpoint: Endpoint) -> web.StreamResponse:
        received_at, started_at = time.time(), time.monotonic()
        try:
            body = await read_body(request, self.limits.request_bytes, self.limits.upload_s)
            refused = None
        except RequestRejected as error:
            body, refused = b"", error
        exchange = Exchange(
            id=_new_id(received_at),
            request=Request(request.method, path, query, request.headers, body, received_at, request.remote),
            endpoint=endpoint,
            dialect=DIALECTS[endpoints.dialect_of(path, request.headers, query) if endpoint.kind == "models" else endpoint.dialect],
            started_at=started_at,
            refused=refused,
        )
        outcome: Outcome = "client_left"
        reply: Reply | None = None
        try:
            reply = await self.handle(exchange)
            response = await self._send(request, reply, close=refused is not None)
            outcome = _outcome(exchange)
            self._count(endpoint, reply)
            return response
        except (asyncio.CancelledError, ConnectionError):
            if self.cuts:
                outcome = "stopped"
            raise
        except Exception:
            outcome, exchange.error = "rejected", ProxyError("the proxy failed while it answered; its log says why")
            raise
        finally:
            try:
                if reply is not None:
                    await reply.aclose()
            finally:
                if reply is not None and isinstance(reply.body, Stream) and reply.body.broke is not None:
                    outcome = "upstream_broke"
                exchange.complete(outcome)

    async def _send(self, request: web.BaseRequest, reply: Reply, *, close: bool) -> web.StreamResponse:
        reply.headers.setdefault("Server", SERVER)
        cors.permit(reply.headers, request.headers, self.limits.origins)
        body = reply.body
        if isinstance(body, bytes):
            whole = web.Response(status=reply.status, headers=reply.headers, body=body)
            if close or self.stopping:
                whole.force_close()
            await whole.prepare(request)
            await whole.write_eof()
            return whole
        response = _StreamResponse(status=reply.status, headers=reply.headers)
        if self.stopping:
            response.force_close()
        await response.prepare(request)
        async with aclosing(body.chunks()) as chunks:
            async for chunk in chunks:
                await response.write(chunk)
        if body.broke is not None and body.last_words is None:
            _abort(request)
            raise ConnectionResetError("the provider broke off; nothing in-band can tell the caller")
        await response.write_eof()
        return response

    def _count(self, endpoint: Endpoint, reply: Reply) -> None:
        counters = self.counters
        counters.by_endpoint[endpoint.name] = counters.by_endpoint.get(endpoint.name, 0) + 1
        if reply.status >= 400:
            counters.errors += 1
            counters.unauthorized += reply.status == 401

    async def _unknown(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if _wants_websocket(request):
            error: ProxyError = ProxyError("this proxy does not speak WebSocket: use the HTTP API", status=501, kind="not_implemented")
        else:
            error = _not_served(request.method, path)
        dialect = DIALECTS[endpoints.dialect_of(path, request.headers)]
        status, body = dialect.write_error(error, _new_id(time.time()))
        response = web.Response(status=status, headers={"Server": SERVER, **error.headers}, body=body, content_type="application/json")
        response.force_close()
        return response


def _origin_form(target: str) -> str:
    """Path and query of a target in absolute form (RFC 9112 3.2.2: to be accepted by every server); any other stays as it is."""
    scheme, _, rest = target.partition("://")
    if scheme.lower() not in ("http", "https"):
        return target
    slash = rest.find("/")
    return rest[slash:] if slash != -1 else "/"


def _wants_websocket(request: web.BaseRequest) -> bool:
    """Other upgrades may be ignored: curl and Java ask for `h2c` with every first request and are content with HTTP/1.1."""
    return "websocket" in request.headers.get("Upgrade", "").lower()


def _not_served(method: str, path: str) -> ProxyError:
    if methods := endpoints.allowed(path):
        wanted = ", ".join(sorted(methods))
        message = f"{path} does not answer to {method}, only to {wanted}"
        return UnknownPath(message, status=405, kind="invalid_request", code="method_not_allowed", headers={"Allow": wanted})
    near = endpoints.near(path)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return UnknownPath(f"{method} {path} is not served here{hint}", code="unknown_path")


def _outcome(exchange: Exchange) -> Outcome:
    match exchange.error:
        case None:
            return "complete"
        case UpstreamError():
            return "unavailable"
        case _:
            return "rejected"


def _new_id(now: float) -> str:
    """32 hex digits: 12 of milliseconds, so that ids sort by time and rows land at the end of their index, and 20 of chance."""
    return f"{int(now * 1000):012x}{next(_chance)}"


def _chances() -> Iterator[str]:
    """20 hex digits at a time. The system is asked for many at once: asking it in each call cost 4 us of it, measured."""
    while True:
        many = urandom(640).hex()
        for at in range(0, len(many), 20):
            yield many[at : at + 20]


_chance = _chances()


def _abort(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()
