"""Anthropic messages written from events, whole or streamed as strictly sequential content blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from respan_proxy.dialects.anthropic_citations import cut, write_citation
from respan_proxy.dialects.chat import Choice, Part, Reasoning, Refusal, Text, ToolCall, arguments_object, assemble
from respan_proxy.dialects.dialect import WriteContext
from respan_proxy.dialects.events import (
    Citation,
    End,
    Event,
    Failure,
    Finish,
    FinishReason,
    Logprobs,
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
from respan_proxy.dialects.faults import TRUNCATED, anthropic_error, anthropic_http_status, broken
from respan_proxy.dialects.usage import Usage
from respan_proxy.errors import ProxyError

_STOP_REASON: Mapping[FinishReason, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "tool": "tool_use",
    "length": "max_tokens",
    "context": "model_context_window_exceeded",
    "filter": "refusal",
    "pause": "pause_turn",
}


@dataclass(slots=True)
class _Call:
    """A tool call being written: the open block, or waiting for the one before it to end."""

    start: ToolStart
    held: list[str] = field(default_factory=list)
    ended: bool = False


class Writer:
    """Writes a stream of blocks, one open at a time: deltas of another call wait until the open call ends, or the reply finishes.

    `message_start` goes with the first content; usage and stop reason wait for `End`, because chat providers count last.
    Only the first choice can be said here, and generated media and logprobs cannot.
    """

    def __init__(self, context: WriteContext) -> None:
        self._context = context
        self._start = Start(None, None)
        self._usage = Usage()
        self._finish: Finish | None = None
        self._index = -1  # of the latest block
        self._open: str | None = None  # its type, while it is open; `_CITED` of a text that something was cited for
        self._written = 0  # characters of text so far
        self._since = 0  # how many of them precede the latest block
        self._calls: list[_Call] = []  # the open one, then those that wait
        self._begun = False
        self._over = False

    def feed(self, event: Event) -> bytes:
        if self._over:
            return b""
        if getattr(event, "choice", None):
            self._context.lost("choices")
            return b""
        match event:
            case TextDelta(text):
                opened = b"" if self._open == "text" else self._open_text(text)
                self._written += len(text)
                return opened + self._delta({"type": "text_delta", "text": text})
            case RefusalDelta(text):
                return self._open_text(text) + self._delta({"type": "text_delta", "text": text})
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
            case Citation():
                return self._cite(event)
            case Logprobs():
                self._context.lost("logprobs")
            case Media():
                self._context.lost(event.kind)
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

    def _open_text(self, text: str) -> bytes:
        """What follows a citation is a block of its own, but for white space: Claude refuses a block of nothing else in a history."""
        return b"" if self._open == _CITED and text.isspace() else self._in("text")

    def _cite(self, citation: Citation) -> bytes:
        """A citation belongs to its block, and can only be said while that is open: then for all of it."""
        if self._open not in ("text", _CITED) or max(citation.within(self._written)) <= self._since:
            self._context.lost("citations")
            return b""
        self._open = _CITED
        return self._delta({"type": "citations_delta", "citation": write_citation(citation)})

    def _block(self, block: dict[str, Any]) -> bytes:
        self._index += 1
        self._since = self._written
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


_CITED = "text, cited"
_EMPTY: Mapping[str, dict[str, Any]] = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}


def write_reply(events: Iterable[Event], context: WriteContext) -> bytes:
    reply = assemble(events)
    choice = reply.choices[0] if reply.choices else Choice()
    content = list(_content(choice, context))
    if choice.logprobs:
        context.lost("logprobs")
    if len(reply.choices) > 1:
        context.lost("choices")
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


def _content(choice: Choice, context: WriteContext) -> Iterator[dict[str, Any]]:
    begins, length = 0, len(choice.text) if choice.citations else 0
    if choice.citations and not length:
        context.lost("citations")
    for part in choice.parts:
        if isinstance(part, Text) and choice.citations and part.text:
            yield from _signed(part.signature)
            for piece, cited in cut(part.text, begins, choice.citations, length):
                yield {"type": "text", "text": piece, **({"citations": [write_citation(citation) for citation in cited]} if cited else {})}
            begins += len(part.text)
        else:
            yield from _blocks(part, context)


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
            context.lost(part.kind)
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
