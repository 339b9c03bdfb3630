"""Replies that a provider might give, as hypothesis strategies of neutral events, and contexts to write them in."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson
from hypothesis import strategies as st

from respan_proxy.dialects.dialect import WriteContext
from respan_proxy.dialects.events import (
    Citation,
    End,
    Event,
    Finish,
    FinishReason,
    Opaque,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    Start,
    TextDelta,
    ToolDelta,
    ToolEnd,
    ToolStart,
    UsageReport,
)
from respan_proxy.dialects.usage import Usage
from tests.dialects import vectors

# Characters that encoders and line splitters get wrong: quotes, line ends of ASCII and of Unicode, two to four bytes of UTF-8.
SAID = st.text(st.sampled_from('ab"\\\n\r\u2028\u0085 ü☃😀'), min_size=1, max_size=6)
SEALED = st.binary(min_size=1, max_size=6).map(lambda state: b64encode(state).decode())
OPAQUE = st.builds(Opaque, st.sampled_from(["anthropic", "gemini", "openai"]), SEALED)
ARGUMENTS = st.dictionaries(SAID, st.none() | st.integers(-9, 9) | SAID, max_size=3).map(lambda args: orjson.dumps(args).decode())


def context(**more: Any) -> WriteContext:
    return WriteContext(now=1_700_000_000, new_id=vectors.counter(), model="m", **more)


def call(index: int, arguments: str, signature: Opaque | None, ends: bool) -> list[Event]:
    cut = len(arguments) // 2
    said: list[Event] = [ToolStart(index, f"call_{index}", "look_up", signature=signature)]
    said += [ToolDelta(index, piece) for piece in (arguments[:cut], arguments[cut:]) if piece]
    return [*said, ToolEnd(index)] if ends else said


@st.composite
def replies(draw: st.DrawFn) -> list[Event]:
    """A whole reply of one choice, in the order that readers promise."""
    events: list[Event] = [Start(draw(st.sampled_from([None, "resp_x", "msg_x"])), "model-1")]
    calls, text = 0, ""
    for kind in draw(st.lists(st.sampled_from(["text", "refusal", "thought", "sealed", "call"]), max_size=6)):
        if kind == "text":
            pieces = draw(st.lists(SAID, min_size=1, max_size=3))
            events += [TextDelta(piece) for piece in pieces]
            text += "".join(pieces)
            if draw(st.booleans()):
                events.append(Citation(len(text) - 1, len(text), "https://page.test", "Page"))
        elif kind == "refusal":
            events.append(RefusalDelta(draw(SAID)))
        elif kind == "thought":
            events += [ReasoningDelta(draw(SAID)), ReasoningEnd(draw(st.none() | OPAQUE))]
        elif kind == "sealed":
            events.append(ReasoningEnd(draw(OPAQUE)))
        else:
            events += call(calls, draw(ARGUMENTS), draw(st.none() | OPAQUE), draw(st.booleans()))
            calls += 1
    reasons: list[FinishReason] = ["tool"] if calls else ["stop", "length", "filter"]
    events.append(Finish(draw(st.sampled_from(reasons)), None))
    if draw(st.booleans()):
        reasoning = draw(st.integers(0, 5))
        events.append(UsageReport(Usage(prompt=9, cached=draw(st.integers(0, 9)), output=reasoning + 3, reasoning=reasoning)))
    return [*events, End()]
