"""Gemini replies read into events: whole, as server-sent events, and as the JSON array that a stream without `alt=sse` is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from respan_proxy.dialects.bulk import Payloads
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
    Signature,
    Start,
    TextDelta,
    ToolDelta,
    ToolEnd,
    ToolStart,
    Unsaid,
    UsageReport,
)
from respan_proxy.dialects.faults import MALFORMED, TRUNCATED, broken, error_of
from respan_proxy.dialects.gemini_grounding import read_pages
from respan_proxy.dialects.gemini_partial import PartialCall
from respan_proxy.dialects.lenient import count, members, text
from respan_proxy.dialects.usage import Usage
from respan_proxy.wire import json_array

_NO_FINISH = TRUNCATED.format(terminal="finishReason")
_REASON: Mapping[str, FinishReason] = {
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT",
         "IMAGE_RECITATION", "MODEL_ARMOR", "ESCALATION", "PUP_LIMITED_DISABLED"),
        "filter",
    ),
}  # fmt: skip
# The model lost its way: a failure unless it had said something before.
_STRAYED = frozenset(
    ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE",
     "OTHER", "IMAGE_OTHER", "NO_IMAGE")
)  # fmt: skip


@dataclass(slots=True)
class _Choice:
    """A candidate being read."""

    texts: list[str] = field(default_factory=list)
    calls: int = 0
    partial: PartialCall | None = None
    citations: list[Citation | Unsaid] = field(default_factory=list)
    spoke: bool = False
    finished: bool = False


class _Reading:
    """One reply being read, document by document: what earlier ones said that later ones depend on."""

    __slots__ = ("choices", "ended", "over", "started", "unread", "usage")

    def __init__(self) -> None:
        self.started = False
        self.over = False  # nothing is said after the end or a failure
        self.ended = False  # over by the provider's own word
        self.choices: dict[int, _Choice] = {}
        self.usage: dict[str, Any] | None = None
        self.unread = 0  # documents that are none

    @property
    def complete(self) -> bool:
        """Whether the end of the bytes, now, would be the end of the reply."""
        if self.over:
            return self.ended
        return bool(self.choices) and all(choice.finished for choice in self.choices.values())

    def document(self, document: object, events: list[Event]) -> None:
        """Append what one GenerateContentResponse says: parts are increments, usage is cumulative."""
        if isinstance(document, list):  # errors come wrapped in a list of one
            document = document[0] if document else None
        if self.over:
            return
        if not isinstance(document, dict):
            self.unread += 1
            return
        usage = document.get("usageMetadata")
        if isinstance(usage, dict):
            self.usage = usage
        if document.get("error"):
            self.ended = True
            self.fail(Failure.of(error_of(document)), events)
            return
        candidates = document.get("candidates")
        if not self.started and (candidates or usage or document.get("responseId") or document.get("promptFeedback")):
            self.started = True
            events.append(Start(text(document.get("responseId")), text(document.get("modelVersion"))))
        if isinstance(candidates, list):
            for candidate in candidates:
                if isinstance(candidate, dict) and not self.over:
                    self._candidate(candidate, events)
        if not candidates and (reason := text(members(document.get("promptFeedback")).get("blockReason"))):
            self._blocked(reason, members(document["promptFeedback"]), events)

    def end(self, truncation: str, events: list[Event]) -> None:
        """The bytes ended: that is the end of the reply if every candidate begun has finished."""
        if self.complete and not self.over:
            self.over = self.ended = True
            self._report(events)
            events.append(End())
        else:
            self.fail(broken(truncation), events)

    def fail(self, failure: Failure, events: list[Event]) -> None:
        if not self.over:
            self.over = True
            self._report(events)
            events.append(failure)

    def _report(self, events: list[Event]) -> None:
        """Usage comes with nearly every document, and the last one counts: told once, at the end."""
        if self.usage is not None:
            events.append(UsageReport(usage_of(self.usage)))

    def _blocked(self, reason: str, feedback: Mapping[str, Any], events: list[Event]) -> None:
        explanation = text(feedback.get("blockReasonMessage")) or f"Prompt blocked by the provider ({reason})"
        choice = self.choices.setdefault(0, _Choice())
        if not choice.finished:
            choice.finished = True
            events.append(Finish("filter", reason, explanation=explanation))

    def _candidate(self, candidate: dict[str, Any], events: list[Event]) -> None:
        index = candidate.get("index")
        index = index if isinstance(index, int) else 0
        choice = self.choices.get(index)
        if choice is None:
            choice = self.choices[index] = _Choice()
        if choice.finished:
            return
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        if isinstance(parts, list):
            for part in parts:
                if type(part) is not dict or self.over:
                    continue
                if len(part) == 1 and type(said := part.get("text")) is str:  # the usual part, spared a call
                    if said:
                        choice.spoke = True
                        choice.texts.append(said)
                        events.append(TextDelta(said, index))
                else:
                    self._part(part, choice, index, events)
        if self.over:
            return
        if len(candidate) == 2 and "content" in candidate and "index" in candidate:  # the usual increment
            return
        if logprobs := candidate.get("logprobsResult"):
            events += _logprobs(members(logprobs), index)
        if "groundingMetadata" in candidate or "citationMetadata" in candidate:
            cited = read_pages(candidate, "".join(choice.texts), index)
            choice.citations += [citation for citation in cited if citation not in choice.citations]
        reason = candidate.get("finishReason")
        if isinstance(reason, str) and reason:
            self._finish(reason, text(candidate.get("finishMessage")), choice, index, events)

    def _part(self, part: dict[str, Any], choice: _Choice, index: int, events: list[Event]) -> None:
        said = part.get("text")
        signature = Opaque("gemini", signed) if (signed := part.get("thoughtSignature")) and isinstance(signed, str) else None
        if isinstance(said, str):
            if part.get("thought"):
                if said:
                    choice.spoke = True
                    events.append(ReasoningDelta(said, index))
                if signature:
                    events.append(ReasoningEnd(signature, index))
                return
            if signature:
                events.append(Signature(signature, index))
            if said:
                choice.spoke = True
                choice.texts.append(said)
                events.append(TextDelta(said, index))
        elif isinstance(call := part.get("functionCall"), dict):
            choice.spoke = True
            self._call(call, signature, choice, index, events)
        elif not part.get("thought") and (media := _media(part, index)):
            choice.spoke = True
            events.append(media)
        elif "executableCode" in part or "codeExecutionResult" in part:
            events.append(Unsaid("hosted_tools"))

    def _call(self, call: dict[str, Any], signature: Opaque | None, choice: _Choice, index: int, events: list[Event]) -> None:
        """A call is one part, but for Vertex, which may stream its arguments piece by piece: then it is told when it is whole."""
        partial, choice.partial = choice.partial, None
        if partial is None and not (call.get("willContinue") or "partialArgs" in call):
            self._whole_call(call, signature, choice, index, events)
            return
        partial = partial or PartialCall(call, signature)
        partial.add(call.get("partialArgs"))
        if call.get("willContinue"):
            choice.partial = partial
        else:
            self._whole_call({**partial.call, "args": partial.args}, partial.signature, choice, index, events)

    def _whole_call(self, call: dict[str, Any], signature: Opaque | None, choice: _Choice, index: int, events: list[Event]) -> None:
        args = call.get("args")
        try:
            arguments = orjson.dumps(args).decode() if isinstance(args, dict) else "{}"
        except orjson.JSONEncodeError:  # nested deeper than orjson writes (254), though not deeper than it reads (1024)
            self.fail(broken(MALFORMED), events)
            return
        ordinal, choice.calls = choice.calls, choice.calls + 1
        events.append(ToolStart(ordinal, text(call.get("id")), text(call.get("name")) or "", index, signature=signature))
        events.append(ToolDelta(ordinal, arguments, index))
        events.append(ToolEnd(ordinal, index))

    def _finish(self, reason: str, message: str | None, choice: _Choice, index: int, events: list[Event]) -> None:
        if choice.partial is not None:
            self._call({}, None, choice, index, events)
        if reason in _STRAYED and not choice.spoke:
            self.ended = True
            self.fail(broken(message or f"Upstream finished without content ({reason})"), events)
            return
        choice.finished = True
        events += choice.citations
        neutral = _REASON.get(reason, "tool" if choice.calls else "stop")
        events.append(Finish(neutral, reason, index, explanation=message if neutral == "filter" else None))


class _Elements:
    """Bytes of a JSON array in any cut to its parsed elements. One that is not JSON is left out; nothing raises."""

    __slots__ = ("_decoder", "unread")

    def __init__(self) -> None:
        self._decoder: json_array.Decoder | None = None
        self.unread = 0

    @property
    def truncated(self) -> bool:
        return self._decoder is not None and self._decoder.truncated

    def feed(self, chunk: bytes) -> list[Any]:
        if self._decoder is None:
            self._decoder = json_array.Decoder()
            if chunk.endswith((b"]", b"]\n")):  # the whole array at once: a tenth of the time
                try:
                    elements = orjson.loads(chunk)
                except orjson.JSONDecodeError:
                    pass
                else:
                    self._decoder.feed(b"[]")
                    return elements if isinstance(elements, list) else []
        return self._parsed(self._decoder.feed(chunk))

    def close(self) -> list[Any]:
        return self._parsed(self._decoder.close()) if self._decoder else []

    def _parsed(self, texts: list[str]) -> list[Any]:
        elements = []
        for element in texts:
            try:
                elements.append(orjson.loads(element))
            except orjson.JSONDecodeError:
                self.unread += 1
        return elements


class Reader:
    """Reads a stream, in the form its first byte tells. Gemini has no terminal event: the end of the bytes is one."""

    __slots__ = ("_documents", "_reading")

    def __init__(self) -> None:
        self._documents: Payloads | _Elements | None = None
        self._reading = _Reading()

    @property
    def complete(self) -> bool:
        return self._reading.complete

    @property
    def unread(self) -> int:
        return self._reading.unread + (self._documents.unread if self._documents is not None else 0)

    def feed(self, chunk: bytes) -> list[Event]:
        events: list[Event] = []
        if self._documents is None:
            chunk = chunk.lstrip(b"\xef\xbb\xbf \t\r\n")
            if not chunk:
                return events
            self._documents = _Elements() if chunk[:1] in b"[{," else Payloads()
        for document in self._documents.feed(chunk):
            self._reading.document(document, events)
        if self._documents.truncated:
            self._reading.fail(broken(MALFORMED), events)
        return events

    def close(self) -> list[Event]:
        events: list[Event] = []
        if self._documents is not None:
            for document in self._documents.close():
                self._reading.document(document, events)
            if self._documents.truncated:
                self._reading.fail(broken(MALFORMED), events)
        self._reading.end(_NO_FINISH, events)
        return events


def read_reply(body: bytes) -> list[Event]:
    """A whole reply, or the array of a stream that was read whole. One that says nothing at all is a `Failure`."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return [broken("Upstream sent malformed JSON")]
    events: list[Event] = []
    reading = _Reading()
    for part in document if isinstance(document, list) else [document]:
        reading.document(part, events)
    reading.end(_NO_FINISH, events)
    return events


def read_usage(body: Mapping[str, Any]) -> Usage | None:
    usage = body.get("usageMetadata")
    return usage_of(usage) if isinstance(usage, dict) else None


def read_count(body: Mapping[str, Any]) -> int | None:
    """The answer of `:countTokens`."""
    tokens = body.get("totalTokens")
    return tokens if isinstance(tokens, int) else None


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """`candidatesTokenCount` leaves thoughts out, except where the total shows that it does not (older Vertex models)."""
    prompt = count(usage.get("promptTokenCount")) + count(usage.get("toolUsePromptTokenCount"))
    said, thoughts = count(usage.get("candidatesTokenCount")), count(usage.get("thoughtsTokenCount"))
    included = prompt + said == count(usage.get("totalTokenCount"))
    return Usage(
        prompt=prompt,
        cached=count(usage.get("cachedContentTokenCount")),
        output=said if included else said + thoughts,
        reasoning=thoughts,
    )


def _media(part: Mapping[str, Any], index: int) -> Media | None:
    blob, file = members(part.get("inlineData")), members(part.get("fileData"))
    if data := text(blob.get("data")):
        # Google accepts and sends both alphabets; everyone else wants the standard one with its padding
        standard = data.replace("-", "+").replace("_", "/").rstrip("=")
        return Media(text(blob.get("mimeType")), standard + "=" * (-len(standard) % 4), choice=index)
    if url := text(file.get("fileUri")):
        return Media(text(file.get("mimeType")), url=url, choice=index)
    return None


def _logprobs(result: Mapping[str, Any], index: int) -> list[Logprobs]:
    tops = _list(result.get("topCandidates"))
    tokens = []
    for position, chosen in enumerate(_list(result.get("chosenCandidates"))):
        alternatives = _list(members(tops[position]).get("candidates")) if position < len(tops) else []
        tokens.append({**_token(chosen), "top_logprobs": [_token(alternative) for alternative in alternatives]})
    return [Logprobs(tuple(tokens), index)] if tokens else []


def _token(candidate: object) -> dict[str, Any]:
    told = members(candidate)
    token = text(told.get("token")) or ""
    return {"token": token, "logprob": told.get("logProbability"), "bytes": list(token.encode("utf-8", "surrogatepass"))}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
