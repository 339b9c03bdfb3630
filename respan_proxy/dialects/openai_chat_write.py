"""Chat completions written from events, whole or streamed, as every OpenAI SDK reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from respan_proxy.dialects.chat import Choice, Reasoning, Refusal, Text, ToolCall, assemble
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
from respan_proxy.dialects.faults import TRUNCATED, broken, openai_error
from respan_proxy.dialects.lenient import json_text
from respan_proxy.dialects.openai_chat_state import detail, google_extra
from respan_proxy.dialects.usage import Usage
from respan_proxy.errors import ProxyError

FINISH_REASONS: Mapping[FinishReason, str] = {"tool": "tool_calls", "length": "length", "context": "length", "filter": "content_filter"}


@dataclass(slots=True)
class _Writing:
    """One choice being written."""

    thoughts: list[str] = field(default_factory=list)
    details: int = 0
    images: int = 0
    signature: Opaque | None = None
    refused: bool = False
    finished: bool = False
    custom: set[int] = field(default_factory=set)
    citations: list[Citation] = field(default_factory=list)


class Writer:
    """Writes a stream: the role in each choice's first delta, one chunk per event, the finish reason in a chunk of its own."""

    def __init__(self, context: WriteContext) -> None:
        self._context = context
        self._choices: dict[int, _Writing] = {}
        self._head: dict[str, Any] | None = None
        self._usage: Usage | None = None
        self._over = False

    def feed(self, event: Event) -> bytes:
        if self._over:
            return b""
        match event:
            case Start():
                self._begin(event)
            case UsageReport(usage):
                self._usage = usage
            case ToolEnd():
                pass
            case Failure():
                self._over = True
                return _frame({"error": openai_error(event.error())})
            case End():
                self._over = True
                return self._last()
            case Logprobs(tokens, choice, refusal):
                told = {"content": None if refusal else tokens, "refusal": tokens if refusal else None}
                return self._opened(choice) + self._chunk({}, choice, logprobs=told)
            case Finish():
                return self._finish(event)
            case _:
                opened = self._opened(event.choice)
                return opened + b"".join(self._chunk(delta, event.choice) for delta in self._deltas(event))
        return b""

    def close(self) -> bytes:
        return self.feed(broken(TRUNCATED.format(terminal="finish_reason")))

    def _deltas(self, event: Event) -> Iterator[dict[str, Any]]:
        """The deltas that say what a content event says: usually one."""
        writing = self._choices[event.choice]  # type: ignore[union-attr]  # only events of a choice come here
        signature, writing.signature = writing.signature, None
        if signature is not None and not isinstance(event, TextDelta):
            yield {"extra_content": google_extra(signature)}
        match event:
            case TextDelta(text):
                yield {"content": text} if signature is None else {"content": text, "extra_content": google_extra(signature)}
            case RefusalDelta(text):
                writing.refused = True
                yield {"refusal": text}
            case ReasoningDelta(text):
                writing.thoughts.append(text)
                yield {"reasoning_content": text}
            case ReasoningEnd(opaque):
                text = "".join(writing.thoughts)
                writing.thoughts.clear()
                if opaque is not None:
                    yield {"reasoning_details": [detail(text, opaque, writing.details)]}
                    writing.details += 1
            case Signature(opaque):
                writing.signature = opaque
            case ToolStart(index, id, name, _, custom):
                body = {"custom": {"name": name, "input": ""}} if custom else {"function": {"name": name, "arguments": ""}}
                call = {"index": index, "id": id or self._context.new_id("call_"), "type": "custom" if custom else "function", **body}
                if event.signature is not None:
                    call["extra_content"] = google_extra(event.signature)
                if custom:
                    writing.custom.add(index)
                yield {"tool_calls": [call]}
            case ToolDelta(index, arguments):
                said = {"custom": {"input": arguments}} if index in writing.custom else {"function": {"arguments": arguments}}
                yield {"tool_calls": [{"index": index, **said}]}
            case Citation():
                writing.citations.append(event)
            case Media():
                yield {"images": [{"index": writing.images, **_image(event)}]}
                writing.images += 1

    def _finish(self, event: Finish) -> bytes:
        pieces = [self._opened(event.choice)]
        writing = self._choices[event.choice]
        writing.finished = True
        if writing.signature is not None:
            pieces.append(self._chunk({"extra_content": google_extra(writing.signature)}, event.choice))
        if event.reason == "filter" and event.explanation and not writing.refused:
            pieces.append(self._chunk({"refusal": event.explanation}, event.choice))
        if writing.citations:  # all in one: a second delta of a list without indexes breaks the SDK's accumulator
            pieces.append(self._chunk({"annotations": [_annotation(citation) for citation in writing.citations]}, event.choice))
        pieces.append(self._chunk({}, event.choice, finish=FINISH_REASONS.get(event.reason, "stop")))
        return b"".join(pieces)

    def _begin(self, start: Start) -> dict[str, Any]:
        self._head = {
            "id": _id(start.id, self._context),
            "object": "chat.completion.chunk",
            "created": self._context.now,
            "model": start.model or self._context.model or "",
        }
        return self._head

    def _opened(self, choice: int) -> bytes:
        if choice in self._choices:
            return b""
        self._choices[choice] = _Writing()
        return self._chunk({"role": "assistant", "content": ""}, choice)

    def _chunk(self, delta: dict[str, Any], choice: int, finish: str | None = None, logprobs: object = None) -> bytes:
        head = self._head or self._begin(Start(None, None))
        said: dict[str, Any] = {"index": choice, "delta": delta}
        if logprobs is not None:
            said["logprobs"] = logprobs
        said["finish_reason"] = finish
        chunk = {**head, "choices": [said]}
        if self._context.include_usage:
            chunk["usage"] = None
        return _frame(chunk)

    def _last(self) -> bytes:
        """What ends the stream; the SDKs' helpers want a reason of every choice, also where the provider gave none."""
        unfinished = [choice for choice, writing in self._choices.items() if not writing.finished] if self._choices else [0]
        ends = b"".join([self._finish(Finish("stop", None, choice)) for choice in unfinished])
        if self._usage is None or not self._context.include_usage:
            return ends + b"data: [DONE]\n\n"
        head = self._head or self._begin(Start(None, None))
        return ends + _frame({**head, "choices": [], "usage": write_usage(self._usage)}) + b"data: [DONE]\n\n"


def _id(id: str | None, context: WriteContext) -> str:
    """Ids of completions begin with `chatcmpl-`, whoever answered (Respan's own page shows it of Claude)."""
    if id is None:
        return context.new_id("chatcmpl-")
    return id if id.startswith("chatcmpl-") else f"chatcmpl-{id}"


def write_reply(events: Iterable[Event], context: WriteContext) -> bytes:
    """A whole completion, with the members of Respan's own page and no others, but for what has more to say than null or zero."""
    reply = assemble(events)
    completion: dict[str, Any] = {
        "id": _id(reply.id, context),
        "object": "chat.completion",
        "created": context.now,
        "model": reply.model or context.model or "",
        "choices": [_choice(choice, context) for choice in reply.choices or (Choice(),)],
    }
    if reply.usage is not None:
        usage = completion["usage"] = write_usage(reply.usage)
        for details in ("prompt_tokens_details", "completion_tokens_details"):
            if not any(usage[details].values()):
                del usage[details]
    return json_text(completion)


def _choice(choice: Choice, context: WriteContext) -> dict[str, Any]:
    text = refusal = reasoning = ""
    details: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    signature: Opaque | None = None
    for part in choice.parts:
        match part:
            case Text():
                text += part.text
                signature = part.signature or signature
            case Refusal():
                refusal += part.text
            case Reasoning():
                reasoning += part.text
                if part.opaque is not None:
                    details.append(detail(part.text, part.opaque, len(details)))
            case ToolCall():
                calls.append(_call(part, context))
            case Media():
                images.append(_image(part))
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if refusal := refusal or (choice.explanation or "" if choice.finish == "filter" else ""):
        message["refusal"] = refusal
    if reasoning:
        message["reasoning_content"] = reasoning
    if details:
        message["reasoning_details"] = details
    if calls:
        message["tool_calls"] = calls
    if choice.citations:
        message["annotations"] = [_annotation(citation) for citation in choice.citations]
    if images:
        message["images"] = images
    if signature is not None:
        message["extra_content"] = google_extra(signature)
    written = {"index": choice.index, "message": message, "finish_reason": FINISH_REASONS.get(choice.finish or "stop", "stop")}
    if choice.logprobs:
        written["logprobs"] = _all_logprobs(choice.logprobs)
    return written


def _call(call: ToolCall, context: WriteContext) -> dict[str, Any]:
    kind, body = "function", {"name": call.name, "arguments": call.arguments}
    if call.custom:
        kind, body = "custom", {"name": call.name, "input": call.arguments}
    written: dict[str, Any] = {"id": call.id or context.new_id("call_"), "type": kind, kind: body}
    if call.signature is not None:
        written["extra_content"] = google_extra(call.signature)
    return written


def _all_logprobs(logprobs: tuple[Logprobs, ...]) -> dict[str, Any]:
    content = [token for told in logprobs if not told.refusal for token in told.tokens]
    refusal = [token for told in logprobs if told.refusal for token in told.tokens]
    return {"content": content or None, "refusal": refusal or None}


def _annotation(citation: Citation) -> dict[str, Any]:
    cited = {"start_index": citation.start, "end_index": citation.end, "title": citation.title, "url": citation.url}
    return {"type": "url_citation", "url_citation": cited}


def _image(media: Media) -> dict[str, Any]:
    url = media.url or f"data:{media.media_type or 'application/octet-stream'};base64,{media.data or ''}"
    return {"type": "image_url", "image_url": {"url": url}}


def write_usage(usage: Usage) -> dict[str, Any]:
    read = {"cached_tokens": usage.cached}
    if usage.write:
        read["cache_write_tokens"] = usage.write
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": read,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def _frame(payload: dict[str, Any]) -> bytes:
    return b"data: " + json_text(payload) + b"\n\n"


def interruption(received: bytes, error: ProxyError, request_id: str) -> bytes:
    """An error chunk and no `[DONE]`. A chat stream needs nothing of what was already sent."""
    return _frame({"error": openai_error(error)})
