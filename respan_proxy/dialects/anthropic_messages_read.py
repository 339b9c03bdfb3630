"""Anthropic messages read into events, whole or streamed as content blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from respan_proxy.dialects.bulk import payloads
from respan_proxy.dialects.events import (
    Citation,
    End,
    Event,
    Failure,
    Finish,
    FinishReason,
    Opaque,
    ReasoningDelta,
    ReasoningEnd,
    Start,
    TextDelta,
    ToolDelta,
    ToolEnd,
    ToolStart,
    Unsaid,
    UsageReport,
)
from respan_proxy.dialects.faults import MALFORMED, TRUNCATED, broken, error_of
from respan_proxy.dialects.lenient import count, json_text, members, objects
from respan_proxy.dialects.lenient import text as text_of
from respan_proxy.dialects.usage import Usage
from respan_proxy.wire.sse import Decoder, Frame

# What a search of the web did on its way: the pages that the answer rests on are its citations.
_SEARCH = frozenset({"server_tool_use", "web_search_tool_result"})
_REASON: Mapping[object, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool",
    "max_tokens": "length",
    "model_context_window_exceeded": "context",
    "refusal": "filter",
    "pause_turn": "pause",
}


@dataclass(slots=True)
class _Block:
    """A content block being read."""

    kind: object
    start: int  # characters of text before it
    call: int
    signature: str = ""
    argued: bool = False
    cited: list[dict[str, Any]] = field(default_factory=list)


class _Reading:
    """One message being read: its open blocks, its length so far, its cumulative counters."""

    __slots__ = ("blocks", "calls", "counters", "length")

    def __init__(self) -> None:
        self.blocks: dict[object, _Block] = {}
        self.calls = 0
        self.length = 0
        self.counters: dict[str, Any] = {}

    def text(self, said: object, events: list[Event]) -> None:
        if text := text_of(said):
            self.length += len(text)
            events.append(TextDelta(text))

    def usage(self, usage: object, events: list[Event]) -> None:
        """Counters are cumulative and overwrite; null keeps what was there."""
        if isinstance(usage, dict):
            self.counters.update({name: value for name, value in usage.items() if value is not None})
            events.append(UsageReport(_usage(self.counters)))

    def open(self, index: object, block: Mapping[str, Any], events: list[Event]) -> None:
        """A block begins, with whatever it already holds. Blocks of unknown types and of hosted tools are opened, and say nothing."""
        kind = block.get("type")
        opened = self.blocks[index] = _Block(kind, self.length, self.calls)
        if kind == "tool_use":
            self.calls += 1
            events.append(ToolStart(opened.call, text_of(block.get("id")), text_of(block.get("name")) or ""))
            if given := block.get("input"):
                opened.argued = True
                events.append(ToolDelta(opened.call, json_text(given).decode()))
        elif kind == "redacted_thinking":
            if data := text_of(block.get("data")):
                events.append(ReasoningEnd(Opaque("anthropic", data, redacted=True)))
        elif kind == "text":
            self.text(block.get("text"), events)
            if cited := block.get("citations"):
                opened.cited.extend(objects(cited))
        elif kind == "thinking":
            if thinking := text_of(block.get("thinking")):
                events.append(ReasoningDelta(thinking))
            opened.signature = text_of(block.get("signature")) or ""
        elif isinstance(kind, str) and kind not in _SEARCH:
            events.append(Unsaid("hosted_tools"))

    def delta(self, index: object, delta: Mapping[str, Any], events: list[Event]) -> None:
        kind = delta.get("type")
        if kind == "text_delta":
            self.text(delta.get("text"), events)
            return
        block = self.blocks.get(_key(index))
        if kind == "thinking_delta":
            if thinking := text_of(delta.get("thinking")):
                events.append(ReasoningDelta(thinking))
        elif block is None:
            return
        elif kind == "input_json_delta":
            if block.kind == "tool_use" and (partial := text_of(delta.get("partial_json"))):
                block.argued = True
                events.append(ToolDelta(block.call, partial))
        elif kind == "signature_delta":
            block.signature = text_of(delta.get("signature")) or ""  # the whole value: it replaces
        elif kind == "citations_delta":
            block.cited.extend(objects([delta.get("citation")]))

    def close(self, index: object, events: list[Event]) -> None:
        block = self.blocks.pop(index, None)
        if block is None:
            return
        if block.kind == "tool_use":
            if not block.argued:  # a tool without parameters streams one empty partial_json
                events.append(ToolDelta(block.call, "{}"))
            events.append(ToolEnd(block.call))
        elif block.kind == "thinking":
            events.append(ReasoningEnd(Opaque("anthropic", block.signature) if block.signature else None))
        elif block.kind == "text":
            events += [_cited(cited, block.start, self.length) for cited in block.cited]


class Reader:
    """Reads a stream, with or without `event:` names: the payload's `type` decides. `message_stop` ends it."""

    __slots__ = ("_decoder", "_done", "_reading", "complete", "unread")

    def __init__(self) -> None:
        self._decoder: Decoder | None = None  # as long as every chunk was plain and whole
        self._reading = _Reading()
        self._done = False
        self.complete = False
        self.unread = 0

    def feed(self, chunk: bytes) -> list[Event]:
        events: list[Event] = []
        if self._decoder is None:
            if (found := payloads(chunk)) is not None:
                for payload in found:
                    self._event(payload, events)
                return events
            self._decoder = Decoder()
        for frame in self._decoder.feed(chunk):
            self._payload(frame.data, events)
        return events

    def _payload(self, data: str, events: list[Event]) -> None:
        """An event that nobody can read is skipped: the rest of the stream is not lost with it."""
        try:
            payload = orjson.loads(data)
        except orjson.JSONDecodeError:
            payload = None
        self._event(payload, events)

    def _event(self, payload: object, events: list[Event]) -> None:
        if self._done:
            return
        if not isinstance(payload, dict):
            self.unread += 1
            return
        reading = self._reading
        match payload.get("type"):
            case "content_block_delta":
                reading.delta(payload.get("index"), members(payload.get("delta")), events)
            case "content_block_start":
                reading.open(_key(payload.get("index")), members(payload.get("content_block")), events)
            case "content_block_stop":
                reading.close(_key(payload.get("index")), events)
            case "message_start":
                message = members(payload.get("message"))
                events.append(_start(message))
                reading.usage(message.get("usage"), events)
            case "message_delta":
                reading.usage(payload.get("usage"), events)
                _finish(members(payload.get("delta")), events)
            case "message_stop":
                self._done = self.complete = True
                events.append(End())
            case kind if kind == "error" or (kind is None and payload.get("error")):
                self._done = self.complete = True
                events.append(Failure.of(error_of(payload)))

    def close(self) -> list[Event]:
        events: list[Event] = []
        decoder = self._decoder or Decoder()
        for frame in decoder.close():
            self._payload(frame.data, events)
        if not self._done:
            self._done = True
            events.append(broken(MALFORMED if decoder.truncated else TRUNCATED.format(terminal="message_stop")))
        return events


def read_reply(body: bytes) -> list[Event]:
    """A whole message; an error body, or one that is no message, is a `Failure`."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return [broken("Upstream sent malformed JSON")]
    if not isinstance(message, dict):
        return [broken("Upstream sent a reply without content")]
    if message.get("error") or message.get("type") == "error":
        return [Failure.of(error_of(message))]
    if not isinstance(message.get("content"), list):
        return [broken("Upstream sent a reply without content")]
    reading = _Reading()
    events: list[Event] = [_start(message)]
    for index, block in enumerate(objects(message["content"])):
        if block.get("type") == "text" and not block.get("citations"):  # the usual block has nothing to be kept open for
            reading.text(block.get("text"), events)
        else:
            reading.open(index, block, events)
            reading.close(index, events)
    if (usage := read_usage(message)) is not None:
        events.append(UsageReport(usage))
    _finish(message, events)
    events.append(End())
    return events


def read_usage(body: Mapping[str, Any]) -> Usage | None:
    usage = body.get("usage")
    return _usage(usage) if isinstance(usage, dict) else None


def read_count(body: Mapping[str, Any]) -> int | None:
    tokens = body.get("input_tokens")
    return tokens if isinstance(tokens, int) else None


def _usage(counters: Mapping[str, Any]) -> Usage:
    """Anthropic's three input counters are disjoint: everything read is their sum."""
    told = counters.get
    cached, write = count(told("cache_read_input_tokens")), count(told("cache_creation_input_tokens"))
    return Usage(
        count(told("input_tokens")) + cached + write,
        cached,
        write,
        count(told("output_tokens")),
        count(details.get("thinking_tokens")) if isinstance(details := told("output_tokens_details"), dict) else 0,
    )


def _start(message: Mapping[str, Any]) -> Start:
    return Start(text_of(message.get("id")), text_of(message.get("model")))


def _finish(said: Mapping[str, Any], events: list[Event]) -> None:
    native = said.get("stop_reason")
    if not isinstance(native, str):
        return
    sequence = text_of(said.get("stop_sequence"))
    if details := members(said.get("stop_details")):
        explanation, category = text_of(details.get("explanation")), text_of(details.get("category"))
    else:
        explanation = category = None
    events.append(Finish(_REASON.get(native, "stop"), native, 0, sequence, explanation, category))


def _cited(cited: Mapping[str, Any], start: int, end: int) -> Citation | Unsaid:
    """A page of the web; a place in a document that the caller sent has no address."""
    url = text_of(cited.get("url"))
    return Citation(start, end, url, text_of(cited.get("title")) or "") if url else Unsaid("citations")


def _key(index: object) -> object:
    return index if isinstance(index, (int, str)) else None


def is_ping(frame: Frame | str | bytes) -> bool:
    """`event: ping`, or a payload that says so where the name is missing."""
    if isinstance(frame, Frame):
        return frame.event == "ping" or (frame.event is None and is_ping(frame.data))
    try:
        return bool(members(orjson.loads(frame)).get("type") == "ping")
    except orjson.JSONDecodeError:
        return False
