"""Asked before: the answer is given again, without a provider; asked at this moment: one call serves all who ask.

Only for requests that want it (`cache_enabled`, or `[cache] enabled`). Whole or streamed does not matter: an answer that was kept in one
form is told in the other. `X-Respan-Cache` says `HIT` or `MISS`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from secrets import token_hex
from types import TracebackType

from multidict import CIMultiDict

from respan_proxy.config import Config
from respan_proxy.dialects.dialect import WriteContext
from respan_proxy.dialects.forms import Form, recast
from respan_proxy.dialects.observe import Observed
from respan_proxy.dialects.usage import Usage
from respan_proxy.errors import ProxyError, UpstreamInterrupted
from respan_proxy.exchange import Borrowed, Exchange, Handler, Next, Reply, Stream
from respan_proxy.handlers.content import bodies
from respan_proxy.handlers.entries import Entries, Entry
from respan_proxy.handlers.fallback import ANSWERED_BY_FALLBACK
from respan_proxy.handlers.flight import Flight, Seat
from respan_proxy.handlers.losses import OF_A_REPLY
from respan_proxy.handlers.observe import KEPT_BYTES, observed
from respan_proxy.handlers.parameters import WHOLE_PARSE_BYTES
from respan_proxy.handlers.reshape import NO_CHOICES, HideUsage, say_plainly
from respan_proxy.handlers.row import cost_of
from respan_proxy.handlers.trace import forgets_content
from respan_proxy.handlers.translate import Retell
from respan_proxy.policy import caching
from respan_proxy.policy.caching import Wish
from respan_proxy.respan.endpoints import streams_array
from respan_proxy.respan.spans import Row
from respan_proxy.wire.encoding import decode
from respan_proxy.wire.json_edit import UNREAD

HEADER = "X-Respan-Cache"

# A request longer than this is not shown beside its answer: agents repeat their whole history, and the answer is what memory is for.
REQUEST_BYTES = 16_384

_TYPES: dict[Form, str] = {"whole": "application/json", "sse": "text/event-stream", "array": "application/json"}


class Cache:
    """Owns what is kept and what is in flight; an `async with` object, whose end cuts what is in flight. A reload keeps both."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time) -> None:
        self.entries = Entries(0, now)
        self._clock = clock
        self._flights: dict[tuple[str, bytes], Flight] = {}
        self._aloft: set[Flight] = set()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Cache:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for flight in self._aloft:
            if flight.task is not None:
                flight.task.cancel()
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            await self._group.__aexit__(kind, error, trace)
        else:  # what went wrong elsewhere goes on as it is, not within a group of ours
            await self._group.__aexit__(None, None, None)

    def answers(self, config: Config, begin: Callable[[Row], None]) -> Handler:
        """The handler of a configuration. `begin` remembers that a call has started, once it is known to be no hit.

        What the built-in provider said in the place of others is forgotten when there is a key for one of them.
        """
        defaults = config.cache
        self.entries.resize(defaults.max_bytes)
        if config.has_provider_key:
            for entry in self.entries.all():
                if entry.stands_in:
                    self.entries.remove(entry.key)

        async def looked_up(exchange: Exchange, call_next: Next) -> Reply:
            wish = caching.wish(exchange.params.values, defaults, exchange.warnings)
            key = await _key(exchange, wish)
            if (reply := self._kept(exchange, key, wish)) is not None:
                return reply
            if exchange.row is not None:
                begin(exchange.row)
            return await self._asked(exchange, key, wish, call_next)

        def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
            if not caching.asks(exchange.endpoint.kind, exchange.params.values, defaults):
                return call_next(exchange)
            return looked_up(exchange, call_next)

        return handler

    def _kept(self, exchange: Exchange, key: str, wish: Wish) -> Reply | None:
        """The answer that is kept for requests like this one."""
        if exchange.row is not None:
            exchange.row.cache_key, exchange.row.cache_bit = key, False
        entry = self.entries.get(key)
        reply = self._again(exchange, entry, _wanted(exchange)) if entry is not None else None
        if reply is not None and wish.omit_log:
            exchange.row = None
        return reply

    async def _asked(self, exchange: Exchange, key: str, wish: Wish, call_next: Next) -> Reply:
        """The answer of a provider, shared with whoever asks for the same now."""
        course = (key, caching.course(exchange.params.values))
        flight = self._flights.get(course)
        leads = flight is None or not flight.is_open
        if flight is None or leads:
            flight = self._begin(exchange, course, wish, call_next)
        reply = await self._together(exchange, flight, _wanted(exchange), leads=leads)
        return reply if reply is not None else await call_next(exchange)

    # kept

    def _again(self, exchange: Exchange, entry: Entry, wanted: Form) -> Reply | None:
        """The answer as this caller wants it; None when it cannot be told so."""
        body = _told(exchange, entry.body, entry.form, wanted, entry.observed.usage)
        if body is None:
            return None
        entry.hits += 1
        exchange.warnings += entry.warnings
        exchange.quiet_warnings += entry.quiet_warnings
        answer = body if wanted == "whole" else [(self._clock(), body)]
        exchange.borrowed = Borrowed(entry.observed, entry.provider_id, entry.model, entry.simulated, entry.cost, answer)
        headers = CIMultiDict({"Content-Type": entry.content_type if entry.form == wanted else _TYPES[wanted]})
        headers[exchange.dialect.request_id_header] = exchange.id
        headers[HEADER] = "HIT"
        return _ready(headers, body, wanted)

    def _keep(self, key: str, wish: Wish, flight: Flight, seen: Observed, cost: int | None) -> None:
        """Remember what a flight brought, if it is worth it."""
        exchange, reply, attempt = flight.exchange, flight.reply, flight.exchange.answered_by
        if reply is None or reply.status != 200 or attempt is None or attempt.error is not None or flight.error or flight.broke:
            return
        if wish.ttl_s <= 0 or not flight.is_complete or not caching.worth_keeping(exchange.endpoint.kind, seen):
            return
        if wish.by_model and ANSWERED_BY_FALLBACK in exchange.warnings:
            return  # the model that was asked for may be there again the next time
        body = _plain(reply, flight.said())
        if body is None or len(body) > KEPT_BYTES:
            return
        is_private = forgets_content(exchange)
        request = b"" if is_private else bodies(exchange, None)[0]
        now = self.entries.now()
        self.entries.put(
            Entry(
                key=key,
                dialect=exchange.dialect.name,
                kind=exchange.endpoint.kind,
                form=flight.form,
                content_type=reply.headers.get("Content-Type", _TYPES[flight.form]),
                body=body,
                observed=seen,
                created_at=now,
                updated_at=now,
                expires_at=now + wish.ttl_s,
                model=attempt.target.model,
                provider_id=attempt.target.provider.name,
                simulated=attempt.target.provider.built_in,
                stands_in=attempt.target.stands_in,
                cost=cost,
                latency_s=self._clock() - exchange.started_at,
                warnings=tuple(exchange.warnings),
                quiet_warnings=tuple(told for told in exchange.quiet_warnings if told.startswith(OF_A_REPLY)),
                request=request if len(request) <= REQUEST_BYTES else b"",
                is_private=is_private,
                key_id=exchange.caller.key_id,
                log_id=exchange.id,
            )
        )

    # in flight

    def _begin(self, exchange: Exchange, course: tuple[str, bytes], wish: Wish, call_next: Next) -> Flight:
        limit = min(KEPT_BYTES, max(self.entries.max_bytes, 1))
        flight = Flight(exchange, limit, self._clock, partial(self._landed, course, wish))
        if exchange.streams and _is_chat(exchange):
            # Whoever shares the answer may want to know the usage; it is hidden from those who do not.
            options = flight.exchange.edits.replace.get("stream_options") or _options(exchange)
            flight.exchange.edits.replace["stream_options"] = {**options, "include_usage": True}
        self._flights[course] = flight
        self._aloft.add(flight)
        flight.task = self._group.create_task(flight.run(partial(_plainly, call_next)), name=f"flight of {exchange.id}")
        return flight

    def _landed(self, course: tuple[str, bytes], wish: Wish, flight: Flight) -> None:
        """The flight is over, or nobody is left who waits for it."""
        if self._flights.get(course) is flight:
            del self._flights[course]
        if not flight.is_over:
            return
        self._aloft.discard(flight)
        seen, cost, borrowed = _seen(flight)
        flight.settle(borrowed)
        if seen is not None:
            self._keep(course[0], wish, flight, seen, cost)

    async def _together(self, exchange: Exchange, flight: Flight, wanted: Form, *, leads: bool) -> Reply | None:
        """The answer of the flight as this caller wants it; None when it cannot be shared with this one."""
        seat = flight.sit(exchange)
        try:
            reply = await seat.head()
            headers = CIMultiDict(reply.headers)
            headers[HEADER] = "MISS" if leads or reply.status != 200 else "HIT"
            is_live = isinstance(reply.body, Stream) and wanted != "whole"
            if is_live and (flight.form == wanted or "Content-Encoding" not in headers):
                _hear(exchange, flight)
                return Reply(reply.status, headers, self._live(exchange, seat, flight, wanted, headers))
            body = await seat.whole()
            if body is None:
                await seat.aclose()
                return None
            _hear(exchange, flight)
            if reply.status != 200 or flight.form == wanted:
                return Reply(reply.status, headers, body)
            plain = _plain(reply, body)
            usage = attempt.observed.usage if (attempt := flight.exchange.answered_by) is not None and attempt.observed else None
            told = _told(exchange, plain, flight.form, wanted, usage) if plain is not None else None
            if told is None:
                raise ProxyError("the provider's answer cannot be read, and so not be told in another form", status=502, kind="bad_gateway")
            headers.popall("Content-Encoding", None)
            headers["Content-Type"] = _TYPES[wanted]
            return _ready(headers, told, wanted)
        except BaseException as error:
            if isinstance(error, ProxyError):
                _hear(exchange, flight)
            await seat.aclose()
            raise

    def _live(self, exchange: Exchange, seat: Seat, flight: Flight, wanted: Form, headers: CIMultiDict[str]) -> Stream:
        stream = Stream(seat)
        if flight.form != wanted:
            retell = Retell(exchange.dialect, None, exchange.dialect.writer(_context(exchange, wanted)))
            stream.steps.append(retell)
            stream.last_words = retell.last_words
            headers["Content-Type"] = _TYPES[wanted]
            return stream
        if _hides_usage(exchange):
            stream.steps.append(HideUsage(everything=True))
        stream.last_words = partial(_last_words, exchange, flight)
        return stream


async def _plainly(call_next: Next, exchange: Exchange) -> Reply:
    """What is kept is what any client of the dialect reads."""
    reply = await call_next(exchange)
    attempt = exchange.answered_by
    if attempt is not None and attempt.target.provider.quirks.typed_content and _is_chat(exchange):
        say_plainly(reply)
    return reply


def _is_chat(exchange: Exchange) -> bool:
    """Whether this is a chat whose answer may be reshaped; a raw relay's stays as it stands."""
    return exchange.endpoint.kind == "generate" and exchange.dialect.name == "openai.chat" and not exchange.endpoint.is_relay


async def _key(exchange: Exchange, wish: Wish) -> str:
    wanted = _wanted(exchange)
    if len(exchange.request.body) > WHOLE_PARSE_BYTES:  # 2 ms a megabyte, aside
        return await asyncio.to_thread(caching.key, exchange, wish, wanted)
    return caching.key(exchange, wish, wanted)


def _wanted(exchange: Exchange) -> Form:
    if not exchange.streams:
        return "whole"
    return "array" if streams_array(exchange.dialect.name, exchange.request.query) else "sse"


def _told(exchange: Exchange, body: bytes, form: Form, wanted: Form, usage: Usage | None) -> bytes | None:
    if exchange.endpoint.kind != "generate" or form == wanted == "whole":
        return body
    if form == wanted and exchange.dialect.name == "openai.chat":
        if _hides_usage(exchange):
            return HideUsage(everything=True).feed(body)
        if exchange.endpoint.is_relay or any(marker in body for marker in NO_CHOICES):
            return body
    return recast(exchange.dialect, body, form, wanted, _context(exchange, wanted), usage)


def _hides_usage(exchange: Exchange) -> bool:
    """Whether a stream's usage chunk, which was asked for on behalf of others, is not for this caller."""
    return _is_chat(exchange) and not _asks_usage(exchange)


def _asks_usage(exchange: Exchange) -> bool:
    return _options(exchange).get("include_usage") is True


def _options(exchange: Exchange) -> dict[str, object]:
    """The caller's own `stream_options`."""
    options = exchange.document.members.get("stream_options") if exchange.document is not None else None
    return options if isinstance(options, dict) else {}


def _context(exchange: Exchange, wanted: Form) -> WriteContext:
    """Callers that may share an answer asked for the same thoughts: what is in the answer is told."""
    members = exchange.document.members if exchange.document is not None else {}
    return WriteContext(
        now=int(time.time()),
        new_id=lambda prefix: prefix + token_hex(12),
        model=exchange.model,
        include_usage=_asks_usage(exchange),
        array=wanted == "array",
        echo={name: value for name, value in members.items() if value is not UNREAD and name not in exchange.edits.remove},
    )


def _ready(headers: CIMultiDict[str], body: bytes, wanted: Form) -> Reply:
    """An answer that is there in one piece; what is done to streams is done to it when it was asked for as one."""
    if wanted == "whole":
        return Reply(200, headers, body)
    headers["Cache-Control"] = "no-cache"
    return Reply(200, headers, Stream(_Nothing(), head=[body]))


class _Nothing:
    """A source that has nothing more to give (`ByteStream`)."""

    __slots__ = ()

    def __aiter__(self) -> _Nothing:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        return


def _plain(reply: Reply, body: bytes) -> bytes | None:
    """The body without a compression that nobody asked for; None when it cannot be undone."""
    coding = reply.headers.get("Content-Encoding")
    if coding is None:
        return body
    try:
        return decode(body, coding, KEPT_BYTES)
    except ProxyError:
        return None


def _hear(exchange: Exchange, flight: Flight) -> None:
    """What was said on the flight is said to everybody on it."""
    exchange.warnings += flight.exchange.warnings
    flight.tell_quietly(exchange)


def _last_words(exchange: Exchange, flight: Flight, error: UpstreamInterrupted) -> bytes:
    return exchange.dialect.interruption(flight.said(), error, exchange.id)


def _seen(flight: Flight) -> tuple[Observed | None, int | None, Borrowed]:
    """What a flight that is over brought, what it cost, and what those have of it who do not pay."""
    exchange = flight.exchange
    attempt = exchange.answered_by
    if attempt is None or attempt.headers is None:
        message = str(flight.error) if flight.error is not None else "the call that this one waited for brought nothing"
        return None, None, Borrowed(Observed(error=message))
    seen = replace(observed(exchange, attempt), reply=None)
    target = attempt.target
    cost = None
    if seen.usage is not None:
        values, at = exchange.params.values, exchange.request.received_at
        cost, _ = cost_of(seen.usage, seen.model or target.model, target.model, target.provider.name, at, values)
    told = seen
    if (broke := flight.broke or flight.error) is not None or attempt.error is not None:
        told = replace(seen, error=seen.error or (str(broke) if broke is not None else attempt.error), usage=None)
    answer: bytes | list[tuple[float, bytes]] = flight.said() if flight.form == "whole" else flight.chunks
    return seen, cost, Borrowed(told, target.provider.name, target.model, target.provider.built_in, cost, answer)
