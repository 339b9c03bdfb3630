"""Any client, any model: a request is said in its target's dialect, and the reply in the caller's.

Through neutral values and events, one reader and one writer per dialect. A stream is decoded once, and every chunk leaves when it came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from secrets import token_hex
from typing import Any

import orjson
from multidict import CIMultiDict

from respan_proxy.config import Config
from respan_proxy.dialects.asked import compact_bytes
from respan_proxy.dialects.dialect import Dialect, ReplyWriter, WriteContext
from respan_proxy.dialects.events import Event, Failure, ReasoningDelta, TextDelta, ToolDelta, Unsaid
from respan_proxy.dialects.names import NameMap
from respan_proxy.dialects.observe import Observed, Summary
from respan_proxy.dialects.request import ChatRequest, Losses
from respan_proxy.errors import UpstreamInterrupted
from respan_proxy.exchange import Asked, Exchange, Handler, Next, Outgoing, Reply, Stream
from respan_proxy.handlers.losses import account_for, lost_in_reply
from respan_proxy.handlers.observe import judge_end, plain_answer
from respan_proxy.handlers.send import bound
from respan_proxy.respan.endpoints import at_provider, streams_array
from respan_proxy.wire.json_edit import UNREAD

# Of a provider's headers, what is said of a body that the caller does not get; the type is said anew.
_ABOUT_THE_BODY = ("Content-Encoding", "Cache-Control")


def translate(config: Config) -> Handler:
    def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
        return translated(exchange, call_next) if translates(exchange) else call_next(exchange)

    async def translated(exchange: Exchange, call_next: Next) -> Reply:
        target, _ = bound(exchange)
        asked = exchange.asked or await understood(exchange)
        profile, dialect = target.profile, target.dialect
        if dialect.write_request is None:
            raise RuntimeError(f"{dialect.name} writes no requests")
        losses = Losses()
        written = dialect.write_request(asked.request, profile, losses)
        if losses.notices:
            account_for(losses, exchange, config)
        path, query = at_provider(dialect.name, "generate", streams=exchange.streams)
        headers = {"anthropic-version": profile.version} if dialect.name == "anthropic.messages" else {}
        sent = enveloped(written.members, path, exchange)
        exchange.outgoing = Outgoing(compact_bytes(sent, "request"), path, query, headers)
        reply = await call_next(exchange)
        lost = lost_in_reply(exchange, config, streamed=isinstance(reply.body, Stream))
        return _retold(reply, exchange, dialect, _context(exchange, asked, lost), written.names)

    return handler


def translates(exchange: Exchange) -> bool:
    """Whether this request must be said anew: it asks for an answer, of a target that speaks another dialect."""
    target = exchange.target
    return target is not None and target.dialect is not exchange.dialect and exchange.endpoint.kind == "generate"


def enveloped(members: dict[str, Any], path: str, exchange: Exchange) -> dict[str, Any]:
    """The body as the provider wants it at this path of its dialect (`/v1/messages`)."""
    envelope = bound(exchange)[0].provider.bodies.get(path)
    if envelope is None:
        return members
    remove, add = envelope.changes(members, None)
    return {**{name: value for name, value in members.items() if name not in remove}, **add}


async def understood(exchange: Exchange) -> Asked:
    """The request in neutral values: read once, by the first handler that needs it."""
    if exchange.asked is None:
        members = await asked(exchange)
        exchange.asked = Asked(members, read_request(exchange, members))
    return exchange.asked


async def asked(exchange: Exchange) -> Mapping[str, Any]:
    """The body's members as a provider would be told them: without Respan's parameters."""
    document = exchange.document
    members: Mapping[str, Any] = document.members if document is not None else {}
    if UNREAD in members.values():
        # A translation must understand all of it; the parse of a big body happens aside.
        members = await asyncio.to_thread(orjson.loads, exchange.request.body)
    if not exchange.edits:
        return members
    kept = {name: value for name, value in members.items() if name not in exchange.edits.remove}
    return {**kept, **exchange.edits.replace}


def read_request(exchange: Exchange, members: Mapping[str, Any]) -> ChatRequest:
    """The neutral request. Raises RequestRejected naming the member, what was found and what was expected."""
    read = exchange.dialect.read_request
    if read is None:
        raise RuntimeError(f"{exchange.dialect.name} reads no requests")
    return read(members, exchange.model, exchange.streams)


def _new_id(prefix: str) -> str:
    return prefix + token_hex(12)


def _context(exchange: Exchange, asked: Asked, lost: Callable[[str], None]) -> WriteContext:
    members, thinking = asked.members, asked.request.thinking
    include = members.get("include")
    return WriteContext(
        now=int(time.time()),
        new_id=_new_id,
        model=exchange.model,
        include_usage=_wants_usage(exchange),
        array=streams_array(exchange.dialect.name, exchange.request.query),
        include_thoughts=thinking is not None and thinking.visible is True,
        encrypted_reasoning=isinstance(include, list) and "reasoning.encrypted_content" in include,
        lost=lost,
        echo=members,
    )


def _wants_usage(exchange: Exchange) -> bool:
    """Whether a chat stream is to tell the usage: to a caller who asked, or to a handler above that hides it again."""
    options = exchange.edits.replace.get("stream_options")
    if options is None and exchange.document is not None:
        options = exchange.document.members.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def error_retold(reply: Reply, provider: Dialect, exchange: Exchange) -> Reply:
    """A provider's refusal in the caller's dialect, with what it said of limits and waiting."""
    error = provider.read_error(reply.status, reply.body if isinstance(reply.body, bytes) else b"")
    status, told = exchange.dialect.write_error(error, exchange.id)
    headers = answer_headers(reply)
    headers.update(error.headers)
    return Reply(status, headers, told)


def answer_headers(reply: Reply) -> CIMultiDict[str]:
    """The provider's headers without those about its body; ours is JSON unless said otherwise."""
    headers = CIMultiDict(reply.headers)
    for name in _ABOUT_THE_BODY:
        if name in headers:
            del headers[name]
    headers["Content-Type"] = "application/json"
    return headers


def _retold(reply: Reply, exchange: Exchange, provider: Dialect, context: WriteContext, names: NameMap) -> Reply:
    client = exchange.dialect
    _, attempt = bound(exchange)
    restore = names.restore() if names else None
    if exchange.hears is not None:
        restore = _heard(restore or _as_it_is, exchange.hears)
    headers = answer_headers(reply)
    body = reply.body
    if isinstance(body, Stream):
        retell = Retell(provider, restore, client.writer(context), partial(judge_end, exchange, attempt), context.lost)
        body.steps.append(retell)
        body.last_words = retell.last_words
        attempt.hearing = retell.heard
        headers["Content-Type"] = "application/json" if context.array else "text/event-stream"
        headers["Cache-Control"] = "no-cache"
        return Reply(reply.status, headers, body)
    if reply.status >= 400:
        return error_retold(reply, provider, exchange)
    events = provider.read_reply(plain_answer(attempt))
    summary = Summary()
    _listen(events, summary, context.lost)
    attempt.observed = summary.observed()
    if summary.failure is not None:
        status, told_error = client.write_error(summary.failure.error(), exchange.id)
        return Reply(status, headers, told_error)
    if restore is not None:
        events = [told for event in events for told in restore(event)]
    if exchange.streams:  # a provider that was asked to stream and answered whole
        headers["Content-Type"] = "application/json" if context.array else "text/event-stream"
        return Reply(200, headers, _streamed(client.writer(context), events))
    return Reply(200, headers, client.write_reply(events, context))


def _as_it_is(event: Event) -> list[Event]:
    return [event]


def _heard(restore: Callable[[Event], list[Event]], hear: Callable[[Event], Event]) -> Callable[[Event], list[Event]]:
    def told(event: Event) -> list[Event]:
        return [hear(said) for said in restore(event)]

    return told


def _streamed(writer: ReplyWriter, events: list[Event]) -> bytes:
    return b"".join([writer.feed(event) for event in events]) + writer.close()


# What a reply is made of, and what its summary need not hear.
_SAID = frozenset({TextDelta, ReasoningDelta, ToolDelta})


def _listen(events: list[Event], summary: Summary, lost: Callable[[str], None]) -> None:
    """What a reply says of itself into `summary`; `lost` hears what the provider said and no event holds."""
    for event in events:
        if type(event) is Unsaid:
            lost(event.what)
        elif type(event) not in _SAID:
            summary.feed(event)


class Retell:
    """A step that takes the provider's frames and gives the caller's, each chunk at once.

    `restore` says events in the caller's names. `judge` is asked at a clean end, when all was heard, and raises if it was none. `lost`
    hears what the provider said and no event holds.
    """

    __slots__ = ("_judge", "_last", "_lost", "_reader", "_restore", "_summary", "_writer")

    def __init__(
        self,
        provider: Dialect,
        restore: Callable[[Event], list[Event]] | None,
        writer: ReplyWriter,
        judge: Callable[[], None] | None = None,
        lost: Callable[[str], None] = lambda what: None,
    ) -> None:
        self._judge = judge
        self._lost = lost
        self._reader = provider.reader()
        self._restore = restore
        self._writer = writer
        self._summary = Summary()
        self._last: list[Event] | None = None  # what the end of the bytes meant

    def feed(self, chunk: bytes) -> bytes:
        return self._told(self._heard(self._reader.feed(chunk)))

    def end(self, error: UpstreamInterrupted | None) -> bytes:
        if error is not None:
            return b""
        last = self._ended()
        if self._judge is not None:
            self._judge()
        return self._told(last) + self._writer.close()

    def heard(self) -> Observed | None:
        """What the stream said of itself, once the last of its bytes was fed: nobody need read it again."""
        self._ended()
        return self._summary.observed(self._reader.unread) if self._reader.complete else None

    def last_words(self, error: UpstreamInterrupted) -> bytes:
        return self._writer.feed(Failure.of(error)) + self._writer.close()

    def _ended(self) -> list[Event]:
        if self._last is None:
            self._last = self._heard(self._reader.close())
        return self._last

    def _heard(self, events: list[Event]) -> list[Event]:
        _listen(events, self._summary, self._lost)
        return events

    def _told(self, events: list[Event]) -> bytes:
        feed = self._writer.feed
        if self._restore is None:
            return feed(events[0]) if len(events) == 1 else b"".join([feed(event) for event in events])
        return b"".join([feed(told) for event in events for told in self._restore(event)])
