"""Faults made on purpose, where a provider's own would come from: retries, fallbacks and rows see the one as the other.

Every word that a caller, a row or a log sees of one begins with `simulated fault`: nobody may take it for the provider's.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from multidict import CIMultiDict

from respan_proxy.config import Config
from respan_proxy.config.faults import Fault, WrongFault, fault
from respan_proxy.dialects.faults import error_of
from respan_proxy.errors import ProxyError, RequestRejected, UpstreamInterrupted, UpstreamUnavailable
from respan_proxy.exchange import ByteStream, Exchange, Handler, Next, Reply, Stream
from respan_proxy.handlers.send import bound
from respan_proxy.wire import json_array, sse

SIMULATED = "simulated fault"

# What stands between a provider and its caller says such things; the first words tell whose they are.
GARBAGE = b"<html><body>simulated fault: this page is no answer</body></html>"

Sleep = Callable[[float], Awaitable[object]]


def faults(config: Config, clock: Callable[[], float], sleep: Sleep = asyncio.sleep, dice: Callable[[], float] = random.random) -> Handler:
    """`dice` gives numbers evenly from [0, 1). Whether a request may ask for faults was decided before (`parameters`)."""
    has_routes = any(rules.simulate is not None for rules in config.routes)

    def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
        said = exchange.params.values.get("simulate")
        if said is None and not has_routes:
            return call_next(exchange)
        made = asked_for(said) if said is not None else config.rules(exchange.model).simulate
        if made is None or not made.strikes(len(exchange.attempts), dice):
            return call_next(exchange)
        return struck(exchange, made, call_next)

    async def struck(exchange: Exchange, made: Fault, call_next: Next) -> Reply:
        _tell(exchange, made)
        await _delayed(exchange, made, sleep)
        if made.status is not None or made.garbage:
            reply = _instead(exchange, made)
            _, attempt = bound(exchange)
            attempt.first_byte_at, attempt.status = clock(), reply.status
            return reply
        if made.cut_after is not None and not exchange.streams:
            raise _cut(made.cut_after)
        reply = await call_next(exchange)
        if not isinstance(reply.body, Stream):
            if made.cut_after is not None and reply.status < 400:
                raise _cut(made.cut_after)
            return reply
        if made.pace_ms or made.cut_after is not None:
            silence_s = bound(exchange)[0].provider.timeouts.silence_s
            reply.body.source = _Spoilt(reply.body.source, _events(reply), made, silence_s, sleep)
        return reply

    return handler


def asked_for(said: object) -> Fault:
    """The fault that a request asks for. RequestRejected names the member that is wrong, what was found and what was expected."""
    try:
        return fault(said)
    except WrongFault as wrong:
        where = f"simulate.{wrong.member}" if wrong.member else "simulate"
        found = f"{wrong.found!r:.40}"
        raise RequestRejected(f"{where}: found {found}, expected {wrong.expected}", param=where, code="invalid_value") from wrong


def _tell(exchange: Exchange, made: Fault) -> None:
    bound(exchange)[1].notes.append(f"{SIMULATED}: {', '.join(made.words)}")
    warning = f"simulated_fault:{';'.join(made.words)}"
    if warning not in exchange.warnings:
        exchange.warnings.append(warning)


async def _delayed(exchange: Exchange, made: Fault, sleep: Sleep) -> None:
    """A provider that is late; later than it may be, it does not answer at all."""
    if not made.delay_ms:
        return
    patience_s = bound(exchange)[0].provider.timeouts.first_byte_s
    if made.delay_ms / 1000 < patience_s:
        await sleep(made.delay_ms / 1000)
        return
    await sleep(patience_s)
    raise UpstreamUnavailable(f"{SIMULATED}: no answer began within {patience_s:g} s", may_have_run=True, status=504, kind="timeout")


def _instead(exchange: Exchange, made: Fault) -> Reply:
    """The answer that comes in the place of the provider's, in the provider's dialect."""
    if made.status is None:
        return Reply(200, CIMultiDict({"Content-Type": "text/html"}), GARBAGE)
    dialect = bound(exchange)[0].dialect
    headers = CIMultiDict({"Content-Type": "application/json"})
    if made.retry_after is not None:
        headers["Retry-After"] = f"{made.retry_after:g}"
    error = ProxyError(f"{SIMULATED}: status {made.status}", status=made.status, kind=error_of(None, made.status).kind, headers=headers)
    return Reply(made.status, headers, dialect.write_error(error, exchange.id)[1])


def _cut(events: int) -> UpstreamUnavailable:
    return UpstreamUnavailable(f"{SIMULATED}: the connection broke after {events} events", may_have_run=True)


class _Events(Protocol):
    """Chunks in any cut to whole events; `close` gives what comes after the last one."""

    def feed(self, chunk: bytes) -> list[bytes]: ...

    def close(self) -> list[bytes]: ...


class _SseEvents:
    def __init__(self) -> None:
        self._framer = sse.Framer()

    def feed(self, chunk: bytes) -> list[bytes]:
        return sse.split(self._framer.feed(chunk))

    def close(self) -> list[bytes]:
        return [tail] if (tail := self._framer.end(None)) else []


class _ArrayEvents:
    """Gemini's streams without `alt=sse`: one JSON array, object by object."""

    def __init__(self) -> None:
        self._decoder = json_array.Decoder()
        self._before = b"["

    def feed(self, chunk: bytes) -> list[bytes]:
        events = []
        for text in self._decoder.feed(chunk):
            events.append(self._before + text.encode())
            self._before = b",\r\n"
        return events

    def close(self) -> list[bytes]:
        return [b"]"]


class _Chunks:
    """What nobody here reads (a compressed stream, sound): a piece is an event."""

    def feed(self, chunk: bytes) -> list[bytes]:
        return [chunk]

    def close(self) -> list[bytes]:
        return []


def _events(reply: Reply) -> _Events:
    kind = reply.headers.get("Content-Type", "")
    if "Content-Encoding" not in reply.headers:
        if "event-stream" in kind and "amazon" not in kind:
            return _SseEvents()
        if "json" in kind:
            return _ArrayEvents()
    return _Chunks()


class _Spoilt:
    """The events of a provider's stream, each as late as was asked for, until the connection breaks (a `ByteStream`)."""

    __slots__ = ("_cut_after", "_events", "_is_over", "_pace_s", "_sent", "_silence_s", "_sleep", "_source", "_waiting")

    def __init__(self, source: ByteStream, events: _Events, made: Fault, silence_s: float, sleep: Sleep) -> None:
        self._source = source
        self._events = events
        self._waiting: deque[bytes] = deque()
        self._cut_after = made.cut_after
        self._pace_s = made.pace_ms / 1000
        self._silence_s = silence_s
        self._sleep = sleep
        self._sent = 0
        self._is_over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._cut_after is not None and self._sent >= self._cut_after:
            await self.aclose()
            raise UpstreamInterrupted(f"{SIMULATED}: the connection broke after {self._cut_after} events")
        event = await self._next()
        if self._pace_s >= self._silence_s:
            await self._sleep(self._silence_s)
            await self.aclose()
            raise UpstreamInterrupted(f"{SIMULATED}: nothing came for {self._silence_s:g} s", status=504, kind="timeout")
        if self._pace_s:
            await self._sleep(self._pace_s)
        self._sent += 1
        return event

    async def _next(self) -> bytes:
        while not self._waiting:
            if self._is_over:
                raise StopAsyncIteration
            try:
                self._waiting.extend(self._events.feed(await self._source.__anext__()))
            except StopAsyncIteration:
                self._is_over = True
                self._waiting.extend(self._events.close())
        return self._waiting.popleft()

    async def aclose(self) -> None:
        self._is_over = True
        self._waiting.clear()
        await self._source.aclose()
