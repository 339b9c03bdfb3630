"""Gemini replies written from events: parts as increments, calls whole, one last document with the finish and the usage."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

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
from respan_proxy.dialects.faults import TRUNCATED, broken, google_error, google_http_status
from respan_proxy.dialects.gemini_grounding import write_pages
from respan_proxy.dialects.lenient import json_text
from respan_proxy.dialects.usage import Usage
from respan_proxy.errors import ProxyError

_FINISH: Mapping[FinishReason, str] = {"length": "MAX_TOKENS", "context": "MAX_TOKENS", "filter": "SAFETY"}
_ASCII = json.JSONEncoder(separators=(",", ":")).encode


def dumps(document: object) -> bytes:
    """Compact JSON in ASCII: google-genai 1.x splits its stream at any line end that Unicode knows, inside strings too."""
    written = json_text(document)
    return written if written.isascii() else _ASCII(document).encode()


def frame(document: object) -> bytes:
    """One server-sent event as google-genai reads them: a single data line, CRLF line ends, nothing else ever."""
    return b"data: %b\r\n\r\n" % dumps(document)


@dataclass(slots=True)
class _Writing:
    """A candidate being written: what must wait for something else."""

    signature: Opaque | None = None
    calls: dict[int, tuple[ToolStart, list[str]]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    logprobs: list[Logprobs] = field(default_factory=list)
    citations: list[Citation] = field(default_factory=list)
    finish: Finish | None = None


class Writer:
    """Writes a stream, as server-sent events or, as the context says, as a JSON array."""

    __slots__ = ("_array", "_choices", "_context", "_head", "_over", "_sent", "_usage")

    def __init__(self, context: WriteContext) -> None:
        self._context = context
        self._array = context.array
        self._head: dict[str, Any] = {}
        self._choices: dict[int, _Writing] = {}
        self._usage = Usage()
        self._sent = False
        self._over = False

    def feed(self, event: Event) -> bytes:
        if self._over:
            return b""
        match event:
            case Start():
                self._begin(event)
            case UsageReport(usage):
                self._usage = usage
            case Failure():
                self._over = True
                return self._document({"error": google_error(event.error())}) + self._closing()
            case End():
                self._over = True
                return self._last() + self._closing()
            case Finish():
                return self._finish(event)
            case _:
                writing = self._writing(event.choice)
                return b"".join([self._part(part, event.choice) for part in self._parts(event, writing)])
        return b""

    def close(self) -> bytes:
        finished = any(writing.finish for writing in self._choices.values())
        return self.feed(End() if finished else broken(TRUNCATED.format(terminal="finishReason")))

    def _parts(self, event: Event, writing: _Writing) -> list[dict[str, Any]]:
        """The parts that say what a content event says: usually one; none while a call is incomplete."""
        match event:
            case TextDelta(text):
                signature, writing.signature = writing.signature, None
                writing.texts.append(text)
                return [_signed({"text": text}, signature)]
            case ToolDelta(index, arguments):
                if index in writing.calls:
                    writing.calls[index][1].append(arguments)
            case ReasoningDelta(text) if self._context.include_thoughts:
                return [{"text": text, "thought": True}]
            case ReasoningEnd(opaque) if self._context.include_thoughts and opaque and opaque.provider == "gemini":
                return [_signed({"text": "", "thought": True}, opaque)]
            case RefusalDelta(text):
                return [{"text": text}]
            case Signature(opaque):
                before, writing.signature = writing.signature, opaque
                return [_signed({"text": ""}, before)] if before else []
            case ToolStart():
                writing.calls[event.index] = (event, [])
            case ToolEnd(index):
                if index in writing.calls:
                    return [_called(*writing.calls.pop(index))]
            case Logprobs():
                writing.logprobs.append(event)
            case Citation():
                writing.citations.append(event)
            case Media():
                return [_media(event)]
        return []

    def _finish(self, event: Finish) -> bytes:
        writing = self._writing(event.choice)
        writing.finish = event
        calls = [self._part(_called(*call), event.choice) for call in writing.calls.values()]
        writing.calls.clear()
        return b"".join(calls)

    def _writing(self, choice: int) -> _Writing:
        writing = self._choices.get(choice)
        if writing is None:
            writing = self._choices[choice] = _Writing()
        return writing

    def _begin(self, start: Start) -> dict[str, Any]:
        self._head = _head(start.id, start.model, self._context)
        return self._head

    def _part(self, part: dict[str, Any], choice: int) -> bytes:
        head = self._head or self._begin(Start(None, None))
        return self._document({"candidates": [{"content": {"role": "model", "parts": [part]}, "index": choice}], **head})

    def _last(self) -> bytes:
        """Every candidate's finish, with what belongs to all of its text, and the usage."""
        candidates = [
            {
                **_candidate([_signed({"text": ""}, writing.signature)], index, writing.finish or Finish("stop", None)),
                **_about("".join(writing.texts), writing.citations, writing.logprobs, self._context),
            }
            for index, writing in sorted((self._choices or {0: _Writing()}).items())
        ]
        head = self._head or self._begin(Start(None, None))
        return self._document({"candidates": candidates, "usageMetadata": write_usage(self._usage), **head})

    def _document(self, document: dict[str, Any]) -> bytes:
        if not self._array:
            return frame(document)
        before, self._sent = b",\r\n" if self._sent else b"[", True
        return before + dumps(document)

    def _closing(self) -> bytes:
        return b"]" if self._array else b""


def write_reply(events: Iterable[Event], context: WriteContext) -> bytes:
    reply = assemble(events)
    candidates = []
    for choice in reply.choices or (Choice(),):
        parts = [written for part in choice.parts if (written := _whole_part(part, context)) is not None]
        finish = Finish(choice.finish or "stop", choice.native_finish, explanation=choice.explanation)
        about = _about(choice.text, choice.citations, choice.logprobs, context)
        candidates.append({**_candidate(parts, choice.index, finish), **about})
    document = {
        "candidates": candidates,
        "usageMetadata": write_usage(reply.usage or Usage()),
        **_head(reply.id, reply.model, context),
    }
    return json_text(document)


def _whole_part(part: Part, context: WriteContext) -> dict[str, Any] | None:
    match part:
        case Text(text, signature):
            return _signed({"text": text}, signature)
        case Refusal(text):
            return {"text": text}
        case Reasoning(text, opaque):
            native = opaque if opaque and opaque.provider == "gemini" else None
            shown = context.include_thoughts and (text or native)
            return _signed({"text": text, "thought": True}, native) if shown else None
        case ToolCall(id, name, arguments, custom, signature):
            return _called(ToolStart(0, id, name, custom=custom, signature=signature), [arguments])
        case Media():
            return _media(part)


def _head(id: str | None, model: str | None, context: WriteContext) -> dict[str, Any]:
    return {"modelVersion": model or context.model or "", "responseId": id or context.new_id("resp_")}


def _candidate(parts: list[dict[str, Any]], index: int, finish: Finish) -> dict[str, Any]:
    candidate: dict[str, Any] = {
        "content": {"role": "model", "parts": parts},
        "finishReason": _FINISH.get(finish.reason, "STOP"),
        "index": index,
    }
    if finish.reason == "filter" and finish.explanation:
        candidate["finishMessage"] = finish.explanation
    return candidate


def _about(said: str, citations: Sequence[Citation], logprobs: Iterable[Logprobs], context: WriteContext) -> dict[str, Any]:
    """Members of a candidate about the text it said: the pages behind it, the probabilities of its tokens."""
    about: dict[str, Any] = {"groundingMetadata": write_pages(citations, said)} if citations else {}
    tokens: list[Mapping[str, Any]] = []
    for told in logprobs:
        if told.refusal:
            context.lost("logprobs")
        else:
            tokens += told.tokens
    if tokens:
        tops = [{"candidates": [_token(top) for top in token.get("top_logprobs") or ()]} for token in tokens]
        about["logprobsResult"] = {"chosenCandidates": [_token(token) for token in tokens], "topCandidates": tops}
    return about


def _token(told: Mapping[str, Any]) -> dict[str, Any]:
    return {"token": told.get("token"), "logProbability": told.get("logprob")}


def _called(start: ToolStart, pieces: list[str]) -> dict[str, Any]:
    """A call whole. Free-form input becomes the one string argument its tool was given as."""
    arguments = "".join(pieces)
    named = {"name": start.name, "args": {"input": arguments} if start.custom else arguments_object(arguments)}
    return _signed({"functionCall": {"id": start.id, **named} if start.id else named}, start.signature)


def _signed(part: dict[str, Any], signature: Opaque | None) -> dict[str, Any]:
    """Another provider's state means nothing to Google, and is left out."""
    return {**part, "thoughtSignature": signature.data} if signature and signature.provider == "gemini" else part


def _media(media: Media) -> dict[str, Any]:
    mime = media.media_type or "application/octet-stream"
    if media.data is not None:
        return {"inlineData": {"mimeType": mime, "data": media.data}}
    return {"fileData": {"mimeType": mime, "fileUri": media.url}}


def write_usage(usage: Usage) -> dict[str, int]:
    """Google counts what was said and what was thought apart."""
    written = {"promptTokenCount": usage.prompt}
    if usage.cached:
        written["cachedContentTokenCount"] = usage.cached
    written["candidatesTokenCount"] = max(0, usage.output - usage.reasoning)
    if usage.reasoning:
        written["thoughtsTokenCount"] = usage.reasoning
    written["totalTokenCount"] = usage.total
    return written


def write_error(error: ProxyError, request_id: str) -> tuple[int, bytes]:
    """google.rpc.Status under `error`. The request id travels as a header."""
    return google_http_status(error), orjson.dumps({"error": google_error(error)})


def interruption(received: bytes, error: ProxyError, request_id: str) -> bytes:
    """An error object in the form of the stream: one more event, or one more element and the end of the array.

    `{"error":` must come first, or google-genai does not raise.
    """
    failure = {"error": google_error(error)}
    said = received.strip()
    if not said.startswith(b"["):
        return frame(failure)
    if said.endswith(b"]"):
        return b""
    return (b"" if said in (b"[",) or said.endswith(b",") else b",\r\n") + dumps(failure) + b"]"
