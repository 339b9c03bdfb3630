"""Anthropic Messages: replies read into events and written from them, as strictly sequential content blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from respan_proxy.dialects.anthropic_request_read import read_request
from respan_proxy.dialects.anthropic_request_write import write_request
from respan_proxy.dialects.bulk import payloads
from respan_proxy.dialects.chat import Choice, Part, Reasoning, Refusal, Text, ToolCall, arguments_object, assemble
from respan_proxy.dialects.dialect import Dialect, WriteContext
from respan_proxy.dialects.events import (
    Citation,
    End,
    Event,
    Failure,
    Finish,
    FinishReason,
    Media,
    Opaque,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    Signature,
    Start,
    TextDelta,
    ToolDelta,
    ToolEnd,
    ToolStart,
    UsageReport,
)
from respan_proxy.dialects.faults import (
    MALFORMED,
    TRUNCATED,
    anthropic_error,
    anthropic_http_status,
    broken,
    error_of,
    payload_error,
    read_error,
)
from respan_proxy.dialects.lenient import count, members, objects
from respan_proxy.dialects.lenient import text as text_of
from respan_proxy.dialects.usage import Usage
from respan_proxy.errors import ProxyError
from respan_proxy.wire.sse import Decoder, Frame

_REASON: Mapping[object, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool",
    "max_tokens": "length",
    "model_context_window_exceeded": "context",
    "refusal": "filter",
    "pause_turn": "pause",
}
_STOP_REASON: Mapping[FinishReason, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "tool": "tool_use",
    "length": "max_tokens",
    "context": "model_context_window_exceeded",
    "filter": "refusal",
    "pause": "pause_turn",
}


# ---------------------------------------------------------------------------------------------------------------- reading


@dataclass(slots=True)
class _Block:
    """A content block being read."""

    kind: object
    start: int  # characters of text before it
    call: int = 0
    signature: str = ""
    argued: bool = False
    cited: list[dict[str, Any]] = field(default_factory=list)


class _Reading:
    """One message being read: its open blocks, its length so far, its cumulative counters."""

    __slots__ = ("blocks", "calls", "counters", "length", "started")

    def __init__(self) -> None:
        self.started = False
        self.blocks: dict[object, _Block] = {}
        self.calls = 0
        self.length = 0
        self.counters: dict[str, Any] = {}

    def begin(self, message: Mapping[str, Any], events: list[Event]) -> None:
        self.started = True
        events.append(Start(text_of(message.get("id")), text_of(message.get("model"))))

    def usage(self, usage: object, events: list[Event]) -> None:
        """Counters are cumulative and overwrite; null keeps what was there."""
        if isinstance(usage, dict):
            self.counters.update((name, value) for name, value in usage.items() if value is not None)
            events.append(UsageReport(_usage(self.counters)))

    def open(self, index: object, block: Mapping[str, Any], events: list[Event]) -> None:
        """A block begins, with whatever it already holds. Blocks of unknown types and of hosted tools are opened, and say nothing."""
        kind = block.get("type")
        opened = self.blocks[index] = _Block(kind, self.length, self.calls)
        if kind == "tool_use":
            self.calls += 1
            events.append(ToolStart(opened.call, text_of(block.get("id")), text_of(block.get("name")) or ""))
            if given := block.get("input"):
                self.delta(index, {"type": "input_json_delta", "partial_json": orjson.dumps(given).decode()}, events)
        elif kind == "redacted_thinking":
            if data := text_of(block.get("data")):
                events.append(ReasoningEnd(Opaque("anthropic", data, redacted=True)))
        elif kind == "text":
            self.delta(index, {"type": "text_delta", "text": block.get("text")}, events)
            opened.cited.extend(objects(block.get("citations")))
        elif kind == "thinking":
            self.delta(index, {"type": "thinking_delta", "thinking": block.get("thinking")}, events)
            opened.signature = text_of(block.get("signature")) or ""

    def delta(self, index: object, delta: Mapping[str, Any], events: list[Event]) -> None:
        kind = delta.get("type")
        if kind == "text_delta":
            if text := text_of(delta.get("text")):
                self.length += len(text)
                events.append(TextDelta(text))
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
            pages = [(text_of(cited.get("url")), text_of(cited.get("title")) or "") for cited in block.cited]
            events.extend(Citation(block.start, self.length, url, title) for url, title in pages if url)

    def finish(self, said: Mapping[str, Any], events: list[Event]) -> None:
        native = said.get("stop_reason")
        if not isinstance(native, str):
            return
        details = members(said.get("stop_details"))
        events.append(
            Finish(
                _REASON.get(native, "stop"),
                native,
                stop_sequence=text_of(said.get("stop_sequence")),
                explanation=text_of(details.get("explanation")),
                category=text_of(details.get("category")),
            )
        )


class Reader:
    """Reads a stream, with or without `event:` names: the payload's `type` decides. `message_stop` ends it."""

    __slots__ = ("_decoder", "_done", "_reading", "complete")

    def __init__(self) -> None:
        self._decoder: Decoder | None = None  # as long as every chunk was plain and whole
        self._reading = _Reading()
        self._done = False
        self.complete = False

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
            return
        self._event(payload, events)

    def _event(self, payload: object, events: list[Event]) -> None:
        if self._done or not isinstance(payload, dict):
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
                reading.begin(message, events)
                reading.usage(message.get("usage"), events)
            case "message_delta":
                reading.usage(payload.get("usage"), events)
                reading.finish(members(payload.get("delta")), events)
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
    events: list[Event] = []
    reading = _Reading()
    reading.begin(message, events)
    for index, block in enumerate(objects(message["content"])):
        reading.open(index, block, events)
        reading.close(index, events)
    reading.usage(message.get("usage"), events)
    reading.finish(message, events)
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
    cached, write = count(counters.get("cache_read_input_tokens")), count(counters.get("cache_creation_input_tokens"))
    return Usage(
        prompt=count(counters.get("input_tokens")) + cached + write,
        cached=cached,
        write=write,
        output=count(counters.get("output_tokens")),
        reasoning=count(members(counters.get("output_tokens_details")).get("thinking_tokens")),
    )


def _key(index: object) -> object:
    return index if isinstance(index, (int, str)) else None


# ---------------------------------------------------------------------------------------------------------------- writing


@dataclass(slots=True)
class _Call:
    """A tool call being written: the open block, or waiting for the one before it to end."""

    start: ToolStart
    held: list[str] = field(default_factory=list)
    ended: bool = False


class Writer:
    """Writes a stream of blocks, one open at a time: deltas of another call wait until the open call ends, or the reply finishes.

    `message_start` goes with the first content; usage and stop reason wait for `End`, because chat providers count last.
    Only the first choice can be said here, and generated media, citations and logprobs cannot.
    """

    def __init__(self, context: WriteContext) -> None:
        self._context = context
        self._start = Start(None, None)
        self._usage = Usage()
        self._finish: Finish | None = None
        self._index = -1  # of the latest block
        self._open: str | None = None  # its type, while it is open
        self._calls: list[_Call] = []  # the open one, then those that wait
        self._begun = False
        self._over = False

    def feed(self, event: Event) -> bytes:
        if self._over or getattr(event, "choice", None):
            return b""
        match event:
            case TextDelta(text) | RefusalDelta(text):
                return self._in("text") + self._delta({"type": "text_delta", "text": text})
            case ReasoningDelta(text):
                return self._in("thinking") + self._delta({"type": "thinking_delta", "thinking": text})
            case ReasoningEnd(opaque):
                return self._end_thinking(opaque)
            case Signature(opaque):
                return self._close_all() + self._end_thinking(opaque)
            case ToolStart():
                return self._start_call(event)
            case ToolDelta(index, arguments):
                return self._argue(index, arguments)
            case ToolEnd(index):
                return self._end_call(index)
            case Start():
                self._start = event
            case UsageReport(usage):
                self._usage = usage
            case Finish():
                self._finish = event
                return self._message_start() + self._close_all()
            case Failure():
                self._over = True
                return _frame({"type": "error", "error": anthropic_error(event.error())})
            case End():
                self._over = True
                return self._message_start() + self._close_all() + self._message_end()
        return b""

    def close(self) -> bytes:
        return self.feed(broken(TRUNCATED.format(terminal="message_stop")))

    def _message_start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return _frame({"type": "message_start", "message": _message(self._start, self._context, [], None, self._usage)})

    def _message_end(self) -> bytes:
        delta = _stop(self._finish or Finish("stop", None))
        return _frame({"type": "message_delta", "delta": delta, "usage": write_usage(self._usage)}) + _frame({"type": "message_stop"})

    def _in(self, kind: str) -> bytes:
        """See to it that a block of this kind is open."""
        if self._open == kind:
            return b""
        return self._close_all() + self._block({"type": kind, **_EMPTY[kind]})

    def _block(self, block: dict[str, Any]) -> bytes:
        self._index += 1
        self._open = block["type"]
        return self._message_start() + _frame({"type": "content_block_start", "index": self._index, "content_block": block})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _frame({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _stop_block(self) -> bytes:
        self._open = None
        return _frame({"type": "content_block_stop", "index": self._index})

    def _close_all(self) -> bytes:
        """Nothing stays open; calls that waited are said whole."""
        if self._open == "thinking":
            return self._end_thinking(None)
        out = self._stop_block() if self._open else b""
        waiting, self._calls = self._calls[1:], []
        for call in waiting:
            out += self._call_block(call) + self._stop_block()
        return out

    def _end_thinking(self, opaque: Opaque | None) -> bytes:
        """Every thinking block has a signature, even an empty one; state of other providers travels there under its tag."""
        if opaque is not None and opaque.redacted and opaque.provider == "anthropic":
            return self._close_all() + self._block({"type": "redacted_thinking", "data": opaque.data}) + self._stop_block()
        if opaque is None and self._open != "thinking":
            return b""
        return self._in("thinking") + self._delta({"type": "signature_delta", "signature": _signature(opaque)}) + self._stop_block()

    def _start_call(self, start: ToolStart) -> bytes:
        out = self._close_all() + self._end_thinking(start.signature) if start.signature is not None else b""
        call = _Call(start)
        if self._calls:
            self._calls.append(call)
            return out
        out += self._close_all()
        self._calls = [call]
        return out + self._call_block(call)

    def _call_block(self, call: _Call) -> bytes:
        id = call.start.id or self._context.new_id("call_")
        out = self._block({"type": "tool_use", "id": id, "name": call.start.name, "input": {}})
        if held := "".join(call.held):
            out += self._delta({"type": "input_json_delta", "partial_json": held})
        return out

    def _argue(self, index: int, arguments: str) -> bytes:
        for position, call in enumerate(self._calls):
            if call.start.index == index:
                if position == 0:
                    return self._delta({"type": "input_json_delta", "partial_json": arguments})
                call.held.append(arguments)
        return b""

    def _end_call(self, index: int) -> bytes:
        for call in self._calls:
            if call.start.index == index:
                call.ended = True
        out = b""
        while self._calls and self._calls[0].ended:
            out += self._stop_block()
            self._calls.pop(0)
            if self._calls:
                out += self._call_block(self._calls[0])
        return out


_EMPTY: Mapping[str, dict[str, Any]] = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}


def write_reply(events: Iterable[Event], context: WriteContext) -> bytes:
    reply = assemble(events)
    choice = reply.choices[0] if reply.choices else Choice()
    content = [block for part in choice.parts for block in _blocks(part, context)]
    finish = Finish(
        choice.finish or "stop",
        choice.native_finish,
        stop_sequence=choice.stop_sequence,
        explanation=choice.explanation,
        category=choice.category,
    )
    start = Start(reply.id, reply.model)
    return orjson.dumps(_message(start, context, content, finish, reply.usage or Usage()))


def _message(start: Start, context: WriteContext, content: list[dict[str, Any]], finish: Finish | None, usage: Usage) -> dict[str, Any]:
    return {
        "id": start.id or context.new_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": start.model or context.model or "",
        "content": content,
        **(_stop(finish) if finish else {"stop_reason": None, "stop_sequence": None}),
        "usage": write_usage(usage),
    }


def _blocks(part: Part, context: WriteContext) -> list[dict[str, Any]]:
    match part:
        case Text(text, signature):
            return _signed(signature) + ([{"type": "text", "text": text}] if text else [])
        case Refusal(text):
            return [{"type": "text", "text": text}]
        case Reasoning(text, opaque):
            if opaque is not None and opaque.redacted and opaque.provider == "anthropic":
                return [{"type": "redacted_thinking", "data": opaque.data}]
            return [{"type": "thinking", "thinking": text, "signature": _signature(opaque)}]
        case ToolCall(id, name, arguments, _, signature):
            block = {"type": "tool_use", "id": id or context.new_id("call_"), "name": name, "input": arguments_object(arguments)}
            return [*_signed(signature), block]
        case Media():
            return []


def _signed(signature: Opaque | None) -> list[dict[str, Any]]:
    """State that another provider put on a part, as a thinking block before it: what a client of ours hands back."""
    return [] if signature is None else [{"type": "thinking", "thinking": "", "signature": _signature(signature)}]


def _signature(opaque: Opaque | None) -> str:
    if opaque is None:
        return ""
    return opaque.data if opaque.provider == "anthropic" else opaque.tagged()


def _stop(finish: Finish) -> dict[str, Any]:
    stopped: dict[str, Any] = {"stop_reason": _STOP_REASON[finish.reason], "stop_sequence": finish.stop_sequence}
    if finish.reason == "filter":
        stopped["stop_details"] = {"type": "refusal", "category": finish.category, "explanation": finish.explanation}
    return stopped


def write_usage(usage: Usage) -> dict[str, Any]:
    written: dict[str, Any] = {
        "input_tokens": usage.fresh,
        "cache_creation_input_tokens": usage.write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    }
    if usage.reasoning:
        written["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return written


def write_error(error: ProxyError, request_id: str) -> tuple[int, bytes]:
    return anthropic_http_status(error), orjson.dumps(_told(error, request_id))


def _told(error: ProxyError, request_id: str) -> dict[str, Any]:
    told: dict[str, Any] = {"type": "error", "error": anthropic_error(error)}
    return {**told, "request_id": request_id} if request_id else told


def _frame(payload: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (payload["type"].encode(), orjson.dumps(payload))


def interruption(received: bytes, error: ProxyError, request_id: str) -> bytes:
    """An error event; SDKs take a stream that merely ends for a success."""
    return _frame(_told(error, request_id))


def is_ping(frame: Frame | str | bytes) -> bool:
    """`event: ping`, or a payload that says so where the name is missing."""
    if isinstance(frame, Frame):
        return frame.event == "ping" or (frame.event is None and is_ping(frame.data))
    try:
        return bool(members(orjson.loads(frame)).get("type") == "ping")
    except orjson.JSONDecodeError:
        return False


DIALECT = Dialect(
    name="anthropic.messages",
    reader=Reader,
    writer=Writer,
    read_reply=read_reply,
    write_reply=write_reply,
    read_error=read_error,
    write_error=write_error,
    first_error=payload_error,
    interruption=interruption,
    read_usage=read_usage,
    read_count=read_count,
    is_ping=is_ping,
    names_events=True,
    request_id_header="request-id",
    read_request=read_request,
    write_request=write_request,
)
