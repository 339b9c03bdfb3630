"""The Messages dialect: blocks that open and close, counters that overwrite, one call at a time."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.dialects.anthropic_messages import DIALECT
from respan_proxy.dialects.chat import Reasoning, Text, ToolCall, assemble
from respan_proxy.dialects.dialect import WriteContext
from respan_proxy.dialects.events import (
    Citation,
    End,
    Event,
    Failure,
    Finish,
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
from respan_proxy.dialects.usage import Usage
from respan_proxy.errors import ProxyError
from respan_proxy.wire.sse import Decoder, Frame
from tests.dialects.vectors import counter


def named(*payloads: dict[str, Any]) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (payload["type"].encode(), orjson.dumps(payload)) for payload in payloads)


def unnamed(*payloads: dict[str, Any]) -> bytes:
    return b"".join(b"data: %s\n\n" % orjson.dumps(payload) for payload in payloads)


START = {"type": "message_start", "message": {"id": "m1", "model": "c", "usage": {"input_tokens": 5, "output_tokens": 1}}}
STOP = {"type": "message_stop"}


def opened(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, **said: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": said}


def closed(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ended(reason: str, **more: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason, **more}, "usage": {"output_tokens": 9}}


def heard(*payloads: dict[str, Any]) -> list[Event]:
    reader = DIALECT.reader()
    return reader.feed(named(*payloads)) + reader.close()


TEXT = (START, opened(0, type="text", text=""), delta(0, type="text_delta", text="hi"), closed(0), ended("end_turn"), STOP)


def test_a_text_is_heard() -> None:
    assert heard(*TEXT) == [
        Start("m1", "c"),
        UsageReport(Usage(prompt=5, output=1)),
        TextDelta("hi"),
        UsageReport(Usage(prompt=5, output=9)),
        Finish("stop", "end_turn"),
        End(),
    ]


def test_events_without_names_are_heard_the_same() -> None:
    reader = DIALECT.reader()
    assert reader.feed(unnamed(*TEXT)) + reader.close() == heard(*TEXT)


def test_counters_are_disjoint_cumulative_and_kept_by_null() -> None:
    first = {"input_tokens": 5, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 200, "output_tokens": 1}
    last = {"input_tokens": None, "output_tokens": 40, "output_tokens_details": {"thinking_tokens": 35}}
    start = {"type": "message_start", "message": {"id": "m1", "usage": first}}
    reply = assemble(heard(start, {**ended("end_turn"), "usage": last}, STOP))
    assert reply.usage == Usage(prompt=235, cached=30, write=200, output=40, reasoning=35)


def test_a_call_without_arguments_is_completed_to_an_empty_object() -> None:
    call = opened(0, type="tool_use", id="t", name="now", input={}), delta(0, type="input_json_delta", partial_json=""), closed(0)
    assert [event for event in heard(START, *call, ended("tool_use"), STOP) if isinstance(event, (ToolStart, ToolDelta, ToolEnd))] == [
        ToolStart(0, "t", "now"),
        ToolDelta(0, "{}"),
        ToolEnd(0),
    ]


def test_arguments_that_come_with_the_block_are_kept() -> None:
    reply = assemble(heard(START, opened(0, type="tool_use", id="t", name="f", input={"a": 1}), closed(0), ended("tool_use"), STOP))
    assert reply.tool_calls == (ToolCall("t", "f", '{"a":1}'),)


def test_calls_of_hosted_tools_are_not_calls_for_the_client() -> None:
    hosted = opened(0, type="server_tool_use", id="s", name="web_search", input={}), delta(0, type="input_json_delta", partial_json='{"q"')
    found = opened(1, type="web_search_tool_result", tool_use_id="s", content=[])
    own = opened(2, type="tool_use", id="t", name="f", input={})
    reply = assemble(heard(START, *hosted, closed(0), found, closed(1), own, closed(2), ended("tool_use"), STOP))
    assert reply.tool_calls == (ToolCall("t", "f", "{}"),)


def test_the_signature_replaces_and_closes_the_thinking() -> None:
    thinking = (
        opened(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="hm"),
        delta(0, type="signature_delta", signature="OLD"),
        delta(0, type="signature_delta", signature="NEW"),
        closed(0),
    )
    reply = assemble(heard(START, *thinking, opened(1, type="redacted_thinking", data="D"), closed(1), ended("end_turn"), STOP))
    assert reply.choices[0].parts == (Reasoning("hm", Opaque("anthropic", "NEW")), Reasoning("", Opaque("anthropic", "D", redacted=True)))


def test_citations_cover_their_block_within_the_joined_text() -> None:
    page = {"type": "web_search_result_location", "url": "https://x.test", "title": "X"}
    reply = assemble(
        heard(
            START,
            *(opened(0, type="text", text=""), delta(0, type="text_delta", text="Über: "), closed(0)),
            opened(1, type="text", text=""),
            delta(1, type="citations_delta", citation=page),
            delta(1, type="text_delta", text="rain"),
            closed(1),
            *(ended("end_turn"), STOP),
        )
    )
    assert reply.choices[0].citations == (Citation(6, 10, "https://x.test", "X"),)


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "policy"}
    [finish] = [event for event in heard(START, ended("refusal", stop_details=details), STOP) if isinstance(event, Finish)]
    assert finish == Finish("filter", "refusal", explanation="policy", category="bio")


def test_a_matched_stop_sequence_is_named() -> None:
    [finish] = [event for event in heard(START, ended("stop_sequence", stop_sequence="END"), STOP) if isinstance(event, Finish)]
    assert finish == Finish("stop_sequence", "stop_sequence", stop_sequence="END")


def test_an_end_without_message_stop_is_a_break() -> None:
    assert isinstance(heard(*TEXT[:-1])[-1], Failure)


def test_an_error_event_is_the_last_word() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert heard(*TEXT[:3], error, *TEXT[3:])[-1] == Failure("overloaded", "Overloaded", 503)


def test_an_error_without_a_type_is_heard() -> None:
    assert DIALECT.reader().feed(unnamed({"error": {"type": "api_error", "message": "no"}})) == [Failure("server", "no", 500)]


@pytest.mark.parametrize(
    ("stream", "ping"),
    [
        (b"event: ping\ndata: {}\n\n", True),
        (b'data: {"type": "ping"}\n\n', True),
        (named(START), False),
        (b"data: {oops\n\n", False),
    ],
)
def test_pings_are_known(stream: bytes, ping: bool) -> None:
    [frame] = Decoder().feed(stream)
    assert DIALECT.is_ping(frame) is ping


def test_an_error_in_the_place_of_a_reply_is_known_with_its_status() -> None:
    error = DIALECT.first_error(Frame("error", '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'))
    assert error is not None
    assert (error.status, error.kind) == (503, "overloaded")
    assert DIALECT.first_error(Frame("message_start", orjson.dumps(START).decode())) is None


def test_a_token_count_is_read() -> None:
    assert DIALECT.read_count({"input_tokens": 12}) == 12
    assert DIALECT.read_count({}) is None


# Writing


def written(*events: Event) -> list[dict[str, Any]]:
    writer = DIALECT.writer(WriteContext(now=1, new_id=counter()))
    stream = b"".join(writer.feed(event) for event in events)
    frames = Decoder().feed(stream)
    payloads = [orjson.loads(frame.data) for frame in frames]
    assert [payload["type"] for payload in payloads] == [frame.event for frame in frames]
    return payloads


def test_overload_is_529_here() -> None:
    status, body = DIALECT.write_error(ProxyError("busy", status=503, kind="overloaded"), "req_1")
    assert status == 529
    assert orjson.loads(body) == {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}, "request_id": "req_1"}


def test_state_of_another_provider_travels_as_tagged_thinking_before_its_call() -> None:
    payloads = written(
        Start("r", "g"), ReasoningDelta("plan"), ToolStart(0, None, "f", signature=Opaque("gemini", "S")), ToolDelta(0, "{}"), ToolEnd(0)
    )
    blocks = [payload["content_block"]["type"] for payload in payloads if payload["type"] == "content_block_start"]
    signatures = [payload["delta"].get("signature") for payload in payloads if "signature" in payload.get("delta", {})]
    assert blocks == ["thinking", "thinking", "tool_use"]
    assert signatures == ["", "gw1.gemini.S"]


def test_the_next_call_opens_as_soon_as_the_one_before_it_ends() -> None:
    events = ToolStart(0, "a", "f"), ToolStart(1, "b", "f"), ToolDelta(1, "["), ToolDelta(0, "{}"), ToolEnd(0), ToolDelta(1, "]")
    said = [
        (payload["index"], payload.get("delta", {}).get("partial_json", payload["type"]))
        for payload in written(Start("r", "g"), *events)
        if "index" in payload
    ]
    assert said == [
        *((0, "content_block_start"), (0, "{}"), (0, "content_block_stop")),
        *((1, "content_block_start"), (1, "["), (1, "]")),
    ]


SAID = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
OPAQUE = st.builds(Opaque, st.sampled_from(["anthropic", "gemini", "openai"]), SAID)
ORDINAL = st.integers(0, 3)
ANY = st.one_of(
    st.builds(TextDelta, SAID),
    st.builds(RefusalDelta, SAID),
    st.builds(ReasoningDelta, SAID),
    st.builds(ReasoningEnd, st.none() | OPAQUE | st.builds(Opaque, st.just("anthropic"), SAID, st.just(True))),
    st.builds(Signature, OPAQUE),
    st.builds(ToolStart, ORDINAL, st.none() | SAID, SAID, signature=st.none() | OPAQUE),
    st.builds(ToolDelta, ORDINAL, SAID),
    st.builds(ToolEnd, ORDINAL),
    st.builds(TextDelta, SAID, st.just(1)),
)


@given(st.lists(ANY, max_size=12))
def test_blocks_are_strictly_sequential_whatever_comes(events: list[Event]) -> None:
    payloads = written(Start("r", "m"), *events, Finish("stop", None), End())
    assert [payload["type"] for payload in payloads[-2:]] == ["message_delta", "message_stop"]
    assert [payload["type"] for payload in payloads].count("message_start") == 1
    assert payloads[0]["type"] == "message_start"
    current, following = None, 0
    for payload in payloads:
        match payload["type"]:
            case "content_block_start":
                assert (current, payload["index"]) == (None, following)
                current, following = following, following + 1
            case "content_block_delta":
                assert payload["index"] == current
            case "content_block_stop":
                assert payload["index"] == current
                current = None
    assert current is None


@given(
    st.lists(
        st.one_of(
            st.builds(TextDelta, SAID),
            st.builds(ReasoningDelta, SAID),
            st.builds(ReasoningEnd, OPAQUE.filter(lambda o: o.provider == "anthropic")),
        ),
        max_size=8,
    )
)
def test_what_is_written_is_heard_again_streamed_and_whole(events: list[Event]) -> None:
    usage = UsageReport(Usage(prompt=10, cached=3, write=2, output=7, reasoning=1))
    meant = [Start("r", "m"), *events, Finish("length", "max_tokens"), usage, End()]
    writer = DIALECT.writer(WriteContext(now=1, new_id=counter()))
    reader = DIALECT.reader()
    streamed = assemble(reader.feed(b"".join(writer.feed(event) for event in meant)) + reader.close())
    whole = assemble(DIALECT.read_reply(DIALECT.write_reply(meant, WriteContext(now=1, new_id=counter()))))
    want = assemble(meant)
    for got in (streamed, whole):
        assert (got.usage, got.complete, got.choices[0].finish) == (want.usage, True, "length")
        assert [part for part in got.choices[0].parts if isinstance(part, Text)] == [
            part for part in want.choices[0].parts if isinstance(part, Text)
        ]
        assert got.choices[0].reasoning == want.choices[0].reasoning


def test_arguments_that_are_no_object_are_kept_whole() -> None:
    reply = orjson.loads(
        DIALECT.write_reply([ToolStart(0, "a", "f"), ToolDelta(0, '{"x": "Par'), End()], WriteContext(now=1, new_id=counter()))
    )
    assert reply["content"][0]["input"] == {"__raw_arguments": '{"x": "Par'}
