"""OpenAI chat completions read into events: whole or streamed, and from the many providers that nearly speak it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from respan_proxy.dialects.bulk import payloads
from respan_proxy.dialects.dialect import Outline
from respan_proxy.dialects.events import (
    Citation,
    End,
    Event,
    Failure,
    Finish,
    FinishReason,
    Logprobs,
    Media,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    Signature,
    Start,
    TextDelta,
    ToolDelta,
    ToolStart,
    Unsaid,
    UsageReport,
)
from respan_proxy.dialects.faults import MALFORMED, TRUNCATED, broken, error_of
from respan_proxy.dialects.lenient import count, json_text, members, objects
from respan_proxy.dialects.lenient import text as text_of
from respan_proxy.dialects.openai_chat_state import detail_state, google_signature
from respan_proxy.dialects.usage import Usage, openai_usage
from respan_proxy.wire.sse import Decoder

_NO_CHOICES = "Upstream sent a reply without choices"
_REASON: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool",
    "content_filter": "filter",
    "function_call": "tool",
    "eos": "stop",  # Together
    "model_length": "length",  # Mistral
}
# Reasons that are none: the answer broke off.
_FAILED: Mapping[str, Failure] = {
    "error": Failure("bad_gateway", "Upstream finished with an error", 502),  # Mistral, OpenRouter
    "insufficient_system_resource": Failure("overloaded", "Upstream broke off: insufficient_system_resource", 503),  # DeepSeek
}


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

    __slots__ = ("answered", "calls", "cited", "finished", "started", "thought")

    def __init__(self) -> None:
        self.started = False
        self.answered = False  # a choice was there
        self.calls: dict[int, _Calls] = {}
        self.cited = False  # as annotations
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
            # Perplexity, xAI: pages without a place in the text, told (again) in the last chunk, as is the usage
            if (chunk.get("citations") or chunk.get("search_results")) and not self.cited:
                events.append(Unsaid("citations"))
        return True

    def _choice(self, choice: dict[str, Any], events: list[Event]) -> bool:
        self.answered = True
        index = choice.get("index")
        if type(index) is not int:
            index = 0
        said = choice.get("delta")
        if said is None:
            said = choice.get("message")
        if type(said) is dict:
            content = said.get("content")
            if type(content) is str and (len(said) == 1 or _only_text(said)):  # the usual delta, or message
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
        finish = text_of(choice.get("finish_reason"))  # some servers say "" as long as it goes on
        if finish is None or index in self.finished:
            return True
        if finish in _FAILED:
            events.append(_FAILED[finish])
            return False
        self.finished.add(index)
        events.append(self._finish(choice, finish, index))
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
        if audio := members(said.get("audio")):
            if transcript := text_of(audio.get("transcript")):
                events.append(TextDelta(transcript, choice))  # what was spoken, as far as other dialects can hold it
            if audio.get("data"):
                events.append(Unsaid("audio"))
        urls = [text_of(members(image.get("image_url")).get("url")) for image in objects(said.get("images"))]
        events.extend(_media(url, choice) for url in urls if url)
        for call in objects(said.get("tool_calls")):
            self._call(call, choice, events)
        if isinstance(legacy := said.get("function_call"), dict):
            self._call({"index": 0, "function": legacy}, choice, events)
        for annotation in objects(said.get("annotations")):
            self.cited = True
            events.append(_citation(annotation, choice))

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
            arguments = json_text(arguments).decode()
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


def _only_text(said: dict[str, Any]) -> bool:
    return not [name for name, value in said.items() if name not in _TEXT and value not in _NOTHING]


# What a message of text holds, and how servers write of all else that there is none.
_TEXT = frozenset({"role", "content"})
_NOTHING: tuple[object, ...] = (None, [], "")


class Reader:
    """Reads a stream. `[DONE]` ends it; where that is missing, the end of the bytes does, if a choice finished before it."""

    __slots__ = ("_decoder", "_done", "_reading", "complete", "unread")

    def __init__(self) -> None:
        self._decoder: Decoder | None = None  # as long as every chunk was plain and whole
        self._reading = _Reading()
        self._done = False  # nothing is said after the terminal or a failure
        self.complete = False
        self.unread = 0

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
            else:
                self.unread += 1
            return
        self._chunk(chunk, events)

    def _chunk(self, chunk: object, events: list[Event]) -> None:
        if isinstance(chunk, dict):
            self._done = not self._reading.chunk(chunk, events)
            self.complete = self._done or bool(self._reading.finished)
        else:
            self.unread += 1

    def _end(self, events: list[Event]) -> None:
        if not self._done:
            self._done = self.complete = True
            events.append(End() if self._reading.answered else broken(_NO_CHOICES))

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
        return [broken(_NO_CHOICES)]
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
    message, finish = choices[0].get("message"), _REASON.get(text_of(choices[0].get("finish_reason")) or "")
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


def _citation(annotation: dict[str, Any], choice: int) -> Citation | Unsaid:
    cited = members(annotation.get("url_citation"))
    start, end, url = cited.get("start_index"), cited.get("end_index"), text_of(cited.get("url"))
    if url is None:
        return Unsaid("citations")
    return Citation(count(start), count(end), url, text_of(cited.get("title")) or "", choice)


def _logprobs(logprobs: object, choice: int) -> Iterator[Logprobs]:
    for member, refusal in (("content", False), ("refusal", True)):
        if tokens := tuple(objects(members(logprobs).get(member))):
            yield Logprobs(tokens, choice, refusal)
