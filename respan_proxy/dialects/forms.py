"""An answer in one form told in another, within its dialect: whole, as SSE, or as Gemini's JSON array. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import orjson

from respan_proxy.dialects.dialect import Dialect, WriteContext
from respan_proxy.dialects.events import End, Event, Failure, Start, UsageReport
from respan_proxy.dialects.usage import Usage
from respan_proxy.wire import json_array, sse

Form = Literal["whole", "sse", "array"]


def form_of(dialect: str, content_type: str, *, streamed: bool, begins_with: bytes = b"") -> Form:
    """The form of an answer: what its type says, and what it begins with where an array and an object have one type."""
    if content_type.startswith("text/event-stream"):
        return "sse"
    if dialect == "gemini" and (streamed or begins_with.lstrip()[:1] == b"["):
        return "array"
    return "whole"


def recast(dialect: Dialect, body: bytes, form: Form, wanted: Form, context: WriteContext, usage: Usage | None = None) -> bytes | None:
    """A complete and successful answer as `wanted`; None when it cannot be told so.

    `usage` is told where the answer itself says nothing of it (a chat stream whose caller did not ask).
    """
    if form == wanted == "whole" or (form == wanted and dialect.name != "openai.chat"):
        return body
    if {form, wanted} == {"sse", "array"}:
        return _as_array(body) if wanted == "array" else _as_sse(body)
    if dialect.name == "openai.responses" and wanted == "whole" and (response := _last_response(body)) is not None:
        return response
    events = read_events(dialect, body, form, usage)
    if any(isinstance(event, Failure) for event in events):
        return None
    if (created := next((event.created for event in events if isinstance(event, Start)), None)) is not None:
        context = replace(context, now=created)
    if wanted == "whole":
        return dialect.write_reply(events, context)
    writer = dialect.writer(context)
    return b"".join([writer.feed(event) for event in events]) + writer.close()


def read_events(dialect: Dialect, body: bytes, form: Form, usage: Usage | None = None) -> list[Event]:
    if form == "whole":
        events = dialect.read_reply(body)
    else:
        reader = dialect.reader()
        events = [*reader.feed(body), *reader.close()]
    if usage is not None and not any(isinstance(event, UsageReport) for event in events):
        at = next((place for place, event in enumerate(events) if isinstance(event, End)), len(events))
        events.insert(at, UsageReport(usage))
    return events


def _as_array(body: bytes) -> bytes:
    decoder = sse.Decoder()
    frames = [frame.data.encode() for frame in (*decoder.feed(body), *decoder.close())]
    return b"[" + b",\r\n".join(frames) + b"]"


def _as_sse(body: bytes) -> bytes:
    texts = json_array.Decoder().feed(body)
    # The array's elements are written over several lines; SSE wants one.
    return b"".join([b"data: " + orjson.dumps(orjson.loads(text)) + b"\r\n\r\n" for text in texts])


def _last_response(body: bytes) -> bytes | None:
    """The whole response, which the terminal event of a Responses stream carries."""
    decoder = sse.Decoder()
    for frame in reversed([*decoder.feed(body), *decoder.close()]):
        try:
            event: Any = orjson.loads(frame.data)
        except orjson.JSONDecodeError:
            continue
        if isinstance(event, dict) and isinstance(response := event.get("response"), dict):
            return orjson.dumps(response)
    return None
