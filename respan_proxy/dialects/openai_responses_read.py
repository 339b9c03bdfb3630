"""OpenAI Responses replies read into events: the stream's typed events and the whole object alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    RefusalDelta,
    Start,
    TextDelta,
    ToolDelta,
    ToolEnd,
    ToolStart,
    Unsaid,
    UsageReport,
)
from respan_proxy.dialects.faults import MALFORMED, TRUNCATED, broken, error_of, payload_error
from respan_proxy.dialects.lenient import count, members, objects, text
from respan_proxy.dialects.usage import Usage, openai_usage
from respan_proxy.errors import ProxyError
from respan_proxy.wire.sse import Frame

TERMINALS = frozenset(("response.completed", "response.incomplete", "response.failed", "response.cancelled"))
_UNFINISHED = frozenset(("queued", "in_progress"))  # what a background response is when it is created
_REASON: Mapping[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "filter"}


class Reader:
    """Reads a stream. A terminal event ends it, and carries the whole response: what no delta said is read from there.

    Where deltas and the finished item disagree the deltas stand, because they are what a client has already shown.
    """

    __slots__ = ("_called", "_calls", "_ended", "_over", "_paragraph", "_part_at", "_payloads", "_said", "_started", "_written", "complete")

    def __init__(self) -> None:
        self._payloads = Payloads()
        self._started = False
        self._over = False  # nothing is said after the terminal or a failure
        self._said: set[int] = set()  # output indexes whose content came as deltas
        self._ended: set[int] = set()  # output indexes whose item is done
        self._calls: dict[int, int] = {}  # output index -> how many calls came before this one
        self._called: set[int] = set()  # output indexes of calls whose arguments came as deltas
        self._paragraph: tuple[int, int] | None = None  # (output index, summary index) of the thinking said last
        self._written = 0  # characters of text so far
        self._part_at = 0  # how many of them precede the open content part: annotations count from there
        self.complete = False

    @property
    def unread(self) -> int:
        return self._payloads.unread

    def feed(self, chunk: bytes) -> list[Event]:
        events: list[Event] = []
        for payload in self._payloads.feed(chunk):
            self._payload(payload, events)
        if self._payloads.truncated:
            self._fail(MALFORMED, events)
        return events

    def close(self) -> list[Event]:
        events: list[Event] = []
        for payload in self._payloads.close():
            self._payload(payload, events)
        self._fail(MALFORMED if self._payloads.truncated else TRUNCATED.format(terminal="terminal event"), events)
        return events

    def whole(self, response: Mapping[str, Any]) -> list[Event]:
        """A response that came in one piece."""
        events: list[Event] = []
        self._terminal({"response": response}, events)
        return events

    def _payload(self, event: object, events: list[Event]) -> None:
        if self._over:
            return
        if not isinstance(event, dict):
            self._payloads.unread += 1
            return
        kind = event.get("type")
        if isinstance(kind, str) and (read := _EVENTS.get(kind)) is not None:
            read(self, event, events)
        elif event.get("error"):
            self._error(event, events)

    def _fail(self, message: str, events: list[Event]) -> None:
        if not self._over:
            self._over = True
            events.append(broken(message))

    # ------------------------------------------------------------------------------------------------ the response as a whole

    def _response(self, event: Mapping[str, Any], events: list[Event]) -> None:
        if not self._started:
            self._started = True
            response = members(event.get("response"))
            created = count(response.get("created_at"))
            events.append(Start(text(response.get("id")), text(response.get("model")), created or None))

    def _terminal(self, event: Mapping[str, Any], events: list[Event]) -> None:
        self._response(event, events)
        response = members(event.get("response"))
        output = response.get("output")
        for index, item in enumerate(output if isinstance(output, list) else ()):
            if index not in self._ended and isinstance(item, dict):
                self._finished(item, index, events)
        self.complete = self._over = True
        usage = response.get("usage")
        report = [UsageReport(openai_usage(usage))] if isinstance(usage, dict) else []
        status = text(response.get("status")) or (text(event.get("type")) or "").removeprefix("response.")
        if status in ("failed", "cancelled"):
            events += report
            events.append(Failure.of(response_error(response)))
            return
        if status not in _UNFINISHED:
            events.append(self._finish(response, status))
        events += report
        events.append(End())

    def _finish(self, response: Mapping[str, Any], status: str) -> Finish:
        if status == "incomplete":
            native = text(members(response.get("incomplete_details")).get("reason")) or status
            return Finish(_REASON.get(native, "stop"), native)
        return Finish("tool" if self._calls else "stop", status or "completed")

    def _error(self, event: Mapping[str, Any], events: list[Event]) -> None:
        """`error` occurs flat, as the schema has it, and nested, as OpenAI's own SDK expects it."""
        self.complete = self._over = True
        events.append(Failure.of(error_of(event)))

    # ------------------------------------------------------------------------------------------------ deltas

    def _text_delta(self, event: dict[str, Any], events: list[Event]) -> None:
        delta = event.get("delta")
        if isinstance(delta, str) and delta:
            self._said.add(_index(event))
            self._written += len(delta)
            events.append(TextDelta(delta))
        if logprobs := event.get("logprobs"):
            events += _logprobs(logprobs)

    def _refusal_delta(self, event: dict[str, Any], events: list[Event]) -> None:
        if delta := text(event.get("delta")):
            self._said.add(_index(event))
            events.append(RefusalDelta(delta))

    def _reasoning_delta(self, event: dict[str, Any], events: list[Event]) -> None:
        if delta := text(event.get("delta")):
            index = _index(event)
            self._said.add(index)
            self._think(delta, index, _index(event, "summary_index"), events)

    def _think(self, said: str, index: int, paragraph: int, events: list[Event]) -> None:
        """The parts of a summary are paragraphs of one thought."""
        before, self._paragraph = self._paragraph, (index, paragraph)
        apart = before is not None and before[0] == index and before[1] != paragraph
        events.append(ReasoningDelta(f"\n\n{said}" if apart else said))

    def _arguments_delta(self, event: dict[str, Any], events: list[Event]) -> None:
        call = self._calls.get(_index(event))
        if call is not None and (delta := text(event.get("delta"))):
            self._called.add(_index(event))
            events.append(ToolDelta(call, delta))

    def _part_added(self, event: dict[str, Any], events: list[Event]) -> None:
        self._part_at = self._written

    def _annotation(self, event: dict[str, Any], events: list[Event]) -> None:
        self._cite(members(event.get("annotation")), events)

    def _cite(self, annotation: Mapping[str, Any], events: list[Event]) -> None:
        if annotation.get("type") == "url_citation" and (url := text(annotation.get("url"))):
            start, end = (self._part_at + _index(annotation, name) for name in ("start_index", "end_index"))
            events.append(Citation(start, end, url, text(annotation.get("title")) or ""))
        else:
            events.append(Unsaid("citations"))

    # ------------------------------------------------------------------------------------------------ output items

    def _item_added(self, event: dict[str, Any], events: list[Event]) -> None:
        item = members(event.get("item"))
        if text(item.get("type")) in _CALLS:
            self._call(item, _index(event), events)

    def _call(self, item: Mapping[str, Any], index: int, events: list[Event]) -> int:
        """The ordinal of the call at this output index, which begins when it is first heard of."""
        ordinal = self._calls.get(index)
        if ordinal is None:
            ordinal = self._calls[index] = len(self._calls)
            id = text(item.get("call_id")) or text(item.get("id"))
            events.append(ToolStart(ordinal, id, text(item.get("name")) or "", custom=item.get("type") == "custom_tool_call"))
        return ordinal

    def _item_done(self, event: dict[str, Any], events: list[Event]) -> None:
        item, index = event.get("item"), _index(event)
        if isinstance(item, dict) and index not in self._ended:
            self._finished(item, index, events)

    def _finished(self, item: dict[str, Any], index: int, events: list[Event]) -> None:
        self._ended.add(index)
        kind = text(item.get("type")) or ""
        if kind == "message":
            if index not in self._said:
                for part in objects(item.get("content")):
                    self._part(part, events)
        elif kind in _CALLS:
            ordinal = self._call(item, index, events)
            arguments = text(item.get(_CALLS[kind]))
            # a call that ends without arguments was called with none; one that is cut off was not
            if kind == "function_call" and not arguments and item.get("status") != "incomplete":
                arguments = "{}"
            if arguments and index not in self._called:
                events.append(ToolDelta(ordinal, arguments))
            events.append(ToolEnd(ordinal))
        elif kind == "reasoning":
            self._thought(item, index, events)
        elif kind == "image_generation_call" and (data := text(item.get("result"))):
            events.append(Media(f"image/{text(item.get('output_format')) or 'png'}", data))
        elif kind.endswith("_call") and kind != "web_search_call":  # of a search the pages that the answer rests on are told
            events.append(Unsaid("hosted_tools"))

    def _part(self, part: dict[str, Any], events: list[Event]) -> None:
        self._part_at = self._written
        if said := text(part.get("text")):
            self._written += len(said)
            events.append(TextDelta(said))
        elif refusal := text(part.get("refusal")):
            events.append(RefusalDelta(refusal))
        events += _logprobs(part.get("logprobs"))
        for annotation in objects(part.get("annotations")):
            self._cite(annotation, events)

    def _thought(self, item: dict[str, Any], index: int, events: list[Event]) -> None:
        thought = index in self._said
        if not thought:
            for paragraph, part in enumerate(objects(item.get("summary")) or objects(item.get("content"))):
                if said := text(part.get("text")):
                    thought = True
                    self._think(said, index, paragraph, events)
        encrypted = text(item.get("encrypted_content"))
        if encrypted or thought:
            events.append(ReasoningEnd(Opaque("openai", encrypted, id=text(item.get("id"))) if encrypted else None))


_CALLS: Mapping[str, str] = {"function_call": "arguments", "custom_tool_call": "input"}
_EVENTS: Mapping[str, Callable[[Reader, dict[str, Any], list[Event]], None]] = {
    "response.output_text.delta": Reader._text_delta,
    "response.function_call_arguments.delta": Reader._arguments_delta,
    "response.custom_tool_call_input.delta": Reader._arguments_delta,
    "response.reasoning_summary_text.delta": Reader._reasoning_delta,
    "response.reasoning_text.delta": Reader._reasoning_delta,
    "response.refusal.delta": Reader._refusal_delta,
    "response.output_text.annotation.added": Reader._annotation,
    "response.content_part.added": Reader._part_added,
    "response.output_item.added": Reader._item_added,
    "response.output_item.done": Reader._item_done,
    "response.created": Reader._response,
    "response.queued": Reader._response,
    "response.in_progress": Reader._response,
    **dict.fromkeys(TERMINALS, Reader._terminal),
    "error": Reader._error,
}  # every other type says nothing that an event could hold


def read_reply(body: bytes) -> list[Event]:
    """A whole response. One that failed, or that is no response at all, is a `Failure`; one still queued has no `Finish`."""
    try:
        response = orjson.loads(body)
    except orjson.JSONDecodeError:
        return [broken("Upstream sent malformed JSON")]
    if isinstance(response, dict) and isinstance(response.get("output"), list):
        return Reader().whole(response)
    if isinstance(response, dict) and response.get("error"):
        return [Failure.of(error_of(response))]
    return [broken("Upstream sent a response without output")]


def read_usage(body: Mapping[str, Any]) -> Usage | None:
    usage = body.get("usage")
    return openai_usage(usage) if isinstance(usage, dict) else None


def read_count(body: Mapping[str, Any]) -> int | None:
    """The answer of `/responses/input_tokens`."""
    tokens = body.get("input_tokens")
    return tokens if isinstance(tokens, int) else None


def first_error(frame: Frame | str | bytes) -> ProxyError | None:
    """`error`, flat or nested, or `response.failed`, as the first event of a stream."""
    if error := payload_error(frame):
        return error
    try:
        event = members(orjson.loads(frame.data if isinstance(frame, Frame) else frame))
    except orjson.JSONDecodeError:
        return None
    return response_error(members(event.get("response"))) if event.get("type") == "response.failed" else None


def response_error(response: Mapping[str, Any]) -> ProxyError:
    """Why a response failed."""
    return error_of({"error": response.get("error") or {"message": f"Upstream ended the response as {response.get('status') or 'failed'}"}})


def _logprobs(logprobs: object) -> list[Logprobs]:
    tokens = tuple(objects(logprobs))
    return [Logprobs(tokens)] if tokens else []


def _index(event: Mapping[str, Any], name: str = "output_index") -> int:
    value = event.get(name)
    return value if isinstance(value, int) else 0
