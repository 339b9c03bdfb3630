"""OpenAI chat completions, and the many providers that nearly speak it: replies read into events and written from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from respan_proxy.dialects.bulk import payloads
from respan_proxy.dialects.chat import Choice, Reasoning, Text, ToolCall, assemble
from respan_proxy.dialects.dialect import Dialect, Outline, WriteContext
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
from respan_proxy.dialects.faults import (
    MALFORMED,
    TRUNCATED,
    broken,
    error_of,
    openai_error,
    payload_error,
    read_error,
    write_openai_error,
)
from respan_proxy.dialects.lenient import count, members, objects
from respan_proxy.dialects.lenient import text as text_of
from respan_proxy.dialects.openai_chat_request_read import read_request
from respan_proxy.dialects.openai_chat_request_write import write_request
from respan_proxy.dialects.openai_chat_state import detail, detail_state, google_extra, google_signature
from respan_proxy.dialects.usage import Usage, openai_usage
from respan_proxy.errors import ProxyError
from respan_proxy.wire.sse import Decoder

_REASON: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool",
    "content_filter": "filter",
    "function_call": "tool",
    "eos": "stop",  # Together
    "model_length": "length",  # Mistral
}
FINISH_REASONS: Mapping[FinishReason, str] = {"tool": "tool_calls", "length": "length", "context": "length", "filter": "content_filter"}


# ---------------------------------------------------------------------------------------------------------------- reading


@dataclass(slots=True)
class _Calls:
    """Which call a tool delta belongs to: by index where the provider gives one, else by id, else the latest."""

    ordinals: dict[object, int] = field(default_factory=dict)
    ids: list[str | None] = field(default_factory=list)

    def place(self, index: object, id: str | None, named: bool) -> tuple[int, bool]:
        """(ordinal, whether the call is new). An index that comes back with another id is another call (Gemini's compatible endpoint)."""
        key = index if isinstance(index, int) else id
        known = self.ordinals.get(key) if key is not None else None
        if known is None and not isinstance(index, int) and not id and not named and self.ids:
            known = len(self.ids) - 1
        if known is not None and (not id or not named or self.ids[known] in (None, id)):
            return known, False
        self.ids.append(id)
        ordinal = len(self.ids) - 1
        if key is not None:
            self.ordinals[key] = ordinal
        return ordinal, True


class _Reading:
    """One reply being read: what earlier deltas said that later ones depend on."""

    __slots__ = ("calls", "finished", "started", "thought")

    def __init__(self) -> None:
        self.started = False
        self.calls: dict[int, _Calls] = {}
        self.finished: set[int] = set()
        self.thought: set[int] = set()  # choices whose thinking came as plain text: their reasoning_details repeat it

    def chunk(self, chunk: Mapping[str, Any], events: list[Event]) -> bool:
        """Append what a chunk, or a whole completion, says; False if it says that the reply failed."""
        if chunk.get("error"):
            events.append(Failure.of(error_of(chunk)))
            return False
        choices = chunk.get("choices")
        if not self.started and (choices or chunk.get("id")):  # Azure's first chunk has neither
            self.started = True
            created = chunk.get("created")
            events.append(Start(text_of(chunk.get("id")), text_of(chunk.get("model")), created if isinstance(created, int) else None))
        if isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict) and not self._choice(choice, events):
                    return False
        usage = chunk.get("usage")
        if usage is None and "x_groq" in chunk:
            usage = members(chunk["x_groq"]).get("usage")
        if isinstance(usage, dict):
            events.append(UsageReport(openai_usage(usage)))
        return True

    def _choice(self, choice: dict[str, Any], events: list[Event]) -> bool:
        index = choice.get("index")
        if type(index) is not int:
            index = 0
        said = choice.get("delta")
        if said is None:
            said = choice.get("message")
        if type(said) is dict:
            content = said.get("content")
            if len(said) == 1 and type(content) is str:  # the usual delta: nothing but text
                if content:
                    events.append(TextDelta(content, index))
            else:
                self._before(said, index, events)
                if content:
                    self._content(content, index, events)
                self._after(said, index, events)
        elif isinstance(text := choice.get("text"), str) and text:  # the legacy completions endpoint
            events.append(TextDelta(text, index))
        if logprobs := choice.get("logprobs"):
            events.extend(_logprobs(logprobs, index))
        finish = choice.get("finish_reason")
        if finish is None or index in self.finished:
            return True
        if finish == "error":
            events.append(Failure("bad_gateway", "Upstream finished with an error", 502))
            return False
        self.finished.add(index)
        events.append(self._finish(choice, str(finish), index))
        return True

    def _before(self, said: dict[str, Any], choice: int, events: list[Event]) -> None:
        """What precedes the text of a delta: thinking and signatures."""
        thinking = said.get("reasoning_content") or said.get("reasoning")
        if isinstance(thinking, str) and thinking:
            self.thought.add(choice)
            events.append(ReasoningDelta(thinking, choice))
        for entry in objects(said.get("reasoning_details")):
            text = entry.get("text") or entry.get("summary")
            if isinstance(text, str) and text and choice not in self.thought:
                events.append(ReasoningDelta(text, choice))
            if opaque := detail_state(entry):
                events.append(ReasoningEnd(opaque, choice))
        if (extra := said.get("extra_content")) and (signature := google_signature(extra)):
            events.append(Signature(signature, choice))

    def _content(self, content: object, choice: int, events: list[Event]) -> None:
        if isinstance(content, str):
            events.append(TextDelta(content, choice))
            return
        for part in objects(content):  # Mistral's typed chunks
            thinking = part.get("thinking")
            if isinstance(thinking, str) and thinking:
                events.append(ReasoningDelta(thinking, choice))
            pieces = [text_of(piece.get("text")) for piece in objects(thinking)]
            events.extend(ReasoningDelta(piece, choice) for piece in pieces if piece)
            if isinstance(text := part.get("text"), str) and text:
                events.append(TextDelta(text, choice))
            elif isinstance(text := part.get("refusal"), str) and text:
                events.append(RefusalDelta(text, choice))

    def _after(self, said: dict[str, Any], choice: int, events: list[Event]) -> None:
        """What follows the text of a delta: refusal, sound, pictures, calls, citations."""
        if isinstance(refusal := said.get("refusal"), str) and refusal:
            events.append(RefusalDelta(refusal, choice))
        if (audio := said.get("audio")) and (transcript := text_of(members(audio).get("transcript"))):
            events.append(TextDelta(transcript, choice))  # what was spoken, as far as other dialects can hold it
        urls = [text_of(members(image.get("image_url")).get("url")) for image in objects(said.get("images"))]
        events.extend(_media(url, choice) for url in urls if url)
        for call in objects(said.get("tool_calls")):
            self._call(call, choice, events)
        if isinstance(legacy := said.get("function_call"), dict):
            self._call({"index": 0, "function": legacy}, choice, events)
        citations = [_citation(annotation, choice) for annotation in objects(said.get("annotations"))]
        events.extend(citation for citation in citations if citation)

    def _call(self, call: dict[str, Any], choice: int, events: list[Event]) -> None:
        custom = "custom" in call
        function = members(call.get("custom") if custom else call.get("function"))
        name, id = function.get("name"), text_of(call.get("id"))
        calls = self.calls.setdefault(choice, _Calls())
        ordinal, new = calls.place(call.get("index"), id, bool(name))
        if new:
            extra = call.get("extra_content")
            signature = google_signature(extra) if extra else None
            events.append(ToolStart(ordinal, id, name if isinstance(name, str) else "", choice, custom, signature))
        arguments = function.get("input" if custom else "arguments")
        if isinstance(arguments, dict):  # Mistral, Ollama
            arguments = orjson.dumps(arguments).decode()
        if isinstance(arguments, str) and arguments:
            events.append(ToolDelta(ordinal, arguments, choice))

    def _finish(self, choice: dict[str, Any], finish: str, index: int) -> Finish:
        native = choice.get("native_finish_reason")  # OpenRouter
        native = native if isinstance(native, str) else finish
        reason = _REASON.get(finish, "stop")
        stopped_by = choice.get("stop_reason")  # vLLM: the matched stop string
        if reason == "stop" and index in self.calls:  # Ollama, vLLM
            return Finish("tool", native, index)
        if reason == "stop" and isinstance(stopped_by, str):
            return Finish("stop_sequence", native, index, stopped_by)
        return Finish(reason, native, index)


class Reader:
    """Reads a stream. `[DONE]` ends it; where that is missing, the end of the bytes does, if a choice finished before it."""

    __slots__ = ("_decoder", "_done", "_reading", "complete")

    def __init__(self) -> None:
        self._decoder: Decoder | None = None  # as long as every chunk was plain and whole
        self._reading = _Reading()
        self._done = False  # nothing is said after the terminal or a failure
        self.complete = False

    def feed(self, chunk: bytes) -> list[Event]:
        events: list[Event] = []
        if self._decoder is None:
            if (found := payloads(chunk)) is not None:
                self._bulk(found, chunk.endswith(b"[DONE]\n\n"), events)
                return events
            self._decoder = Decoder()
        for frame in self._decoder.feed(chunk):
            self._payload(frame.data, events)
        return events

    def _bulk(self, chunks: list[Any], done: bool, events: list[Event]) -> None:
        for chunk in chunks:
            if not self._done:
                self._chunk(chunk, events)
        if done:
            self._end(events)

    def _payload(self, data: str, events: list[Event]) -> None:
        """An event that nobody can read is skipped: the rest of the stream is not lost with it."""
        if self._done:
            return
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            if data.lstrip().startswith("[DONE]"):
                self._end(events)
            return
        self._chunk(chunk, events)

    def _chunk(self, chunk: object, events: list[Event]) -> None:
        if isinstance(chunk, dict):
            self._done = not self._reading.chunk(chunk, events)
            self.complete = self._done or bool(self._reading.finished)

    def _end(self, events: list[Event]) -> None:
        if not self._done:
            self._done = self.complete = True
            events.append(End())

    def close(self) -> list[Event]:
        events: list[Event] = []
        decoder = self._decoder or Decoder()
        for frame in decoder.close():
            self._payload(frame.data, events)
        if not self._done:
            self._done = True
            truncated = decoder.truncated
            self.complete = self.complete and not truncated
            events.append(End() if self.complete else broken(MALFORMED if truncated else TRUNCATED.format(terminal="finish_reason")))
        return events


def read_reply(body: bytes) -> list[Event]:
    """A whole completion. Some aggregators answer 200 with only an error: that is a `Failure`, as is a body without choices."""
    try:
        completion = orjson.loads(body)
    except orjson.JSONDecodeError:
        return [broken("Upstream sent malformed JSON")]
    events: list[Event] = []
    if not isinstance(completion, dict) or not (completion.get("error") or completion.get("choices")):
        return [broken("Upstream sent a reply without choices")]
    if _Reading().chunk(completion, events):
        events.append(End())
    return events


def outline(value: Any) -> Outline | None:
    """The usual whole completion: one choice, a plain reason to stop, its usage."""
    if type(value) is not dict or value.get("error"):
        return None
    choices, usage = value.get("choices"), value.get("usage")
    if type(usage) is not dict or type(choices) is not list or len(choices) != 1 or type(choices[0]) is not dict:
        return None
    message, finish = choices[0].get("message"), _REASON.get(choices[0].get("finish_reason") or "")
    if type(message) is not dict or finish is None or "stop_reason" in choices[0]:
        return None
    calls_tools = bool(message.get("tool_calls"))
    finish = "tool" if calls_tools and finish == "stop" else finish
    return Outline(text_of(value.get("id")), text_of(value.get("model")), finish, openai_usage(usage), calls_tools)


def read_usage(body: Mapping[str, Any]) -> Usage | None:
    usage = body.get("usage")
    return openai_usage(usage) if isinstance(usage, dict) else None


def _media(url: str, choice: int) -> Media:
    if url.startswith("data:") and ";base64," in url:
        head, data = url[5:].split(";base64,", 1)
        return Media(head.split(";")[0] or None, data=data, choice=choice)
    return Media(None, url=url, choice=choice)


def _citation(annotation: dict[str, Any], choice: int) -> Citation | None:
    cited = members(annotation.get("url_citation"))
    start, end, url = cited.get("start_index"), cited.get("end_index"), text_of(cited.get("url"))
    if url is None:
        return None
    return Citation(count(start), count(end), url, text_of(cited.get("title")) or "", choice)


def _logprobs(logprobs: object, choice: int) -> Iterator[Logprobs]:
    for member, refusal in (("content", False), ("refusal", True)):
        if tokens := tuple(objects(members(logprobs).get(member))):
            yield Logprobs(tokens, choice, refusal)


# ---------------------------------------------------------------------------------------------------------------- writing


@dataclass(slots=True)
class _Writing:
    """One choice being written."""

    thoughts: list[str] = field(default_factory=list)
    details: int = 0
    images: int = 0
    signature: Opaque | None = None
    refused: bool = False
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
            "id": start.id or self._context.new_id("chatcmpl-"),
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
        if self._usage is None or not self._context.include_usage:
            return b"data: [DONE]\n\n"
        head = self._head or self._begin(Start(None, None))
        return _frame({**head, "choices": [], "usage": write_usage(self._usage)}) + b"data: [DONE]\n\n"


def write_reply(events: Iterable[Event], context: WriteContext) -> bytes:
    reply = assemble(events)
    completion: dict[str, Any] = {
        "id": reply.id or context.new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": context.now,
        "model": reply.model or context.model or "",
        "choices": [_choice(choice, context) for choice in reply.choices or (Choice(),)],
    }
    if reply.usage is not None:
        completion["usage"] = write_usage(reply.usage)
    return orjson.dumps(completion)


def _choice(choice: Choice, context: WriteContext) -> dict[str, Any]:
    filtered = choice.finish == "filter"
    message: dict[str, Any] = {
        "role": "assistant",
        "content": choice.text or None,
        "refusal": choice.refusal or (choice.explanation if filtered else None) or None,
    }
    if reasoning := choice.reasoning:
        message["reasoning_content"] = reasoning
    signed = [part for part in choice.parts if isinstance(part, Reasoning) and part.opaque is not None]
    if signed:
        message["reasoning_details"] = [detail(part.text, part.opaque, index) for index, part in enumerate(signed) if part.opaque]
    if choice.tool_calls:
        message["tool_calls"] = [_call(call, context) for call in choice.tool_calls]
    if choice.citations:
        message["annotations"] = [_annotation(citation) for citation in choice.citations]
    if choice.media:
        message["images"] = [_image(media) for media in choice.media]
    for part in choice.parts:
        if isinstance(part, Text) and part.signature is not None:
            message["extra_content"] = google_extra(part.signature)
    return {
        "index": choice.index,
        "message": message,
        "logprobs": _all_logprobs(choice.logprobs),
        "finish_reason": FINISH_REASONS.get(choice.finish or "stop", "stop"),
    }


def _call(call: ToolCall, context: WriteContext) -> dict[str, Any]:
    kind, body = "function", {"name": call.name, "arguments": call.arguments}
    if call.custom:
        kind, body = "custom", {"name": call.name, "input": call.arguments}
    written: dict[str, Any] = {"id": call.id or context.new_id("call_"), "type": kind, kind: body}
    if call.signature is not None:
        written["extra_content"] = google_extra(call.signature)
    return written


def _all_logprobs(logprobs: tuple[Logprobs, ...]) -> dict[str, Any] | None:
    if not logprobs:
        return None
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
    return b"data: " + orjson.dumps(payload) + b"\n\n"


def interruption(received: bytes, error: ProxyError, request_id: str) -> bytes:
    """An error chunk and no `[DONE]`. A chat stream needs nothing of what was already sent."""
    return _frame({"error": openai_error(error)})


DIALECT = Dialect(
    name="openai.chat",
    reader=Reader,
    writer=Writer,
    read_reply=read_reply,
    write_reply=write_reply,
    read_error=read_error,
    write_error=write_openai_error,
    first_error=payload_error,
    interruption=interruption,
    read_usage=read_usage,
    read_count=lambda body: None,
    outline=outline,
    read_request=read_request,
    write_request=write_request,
)
