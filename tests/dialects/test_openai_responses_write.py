"""Responses replies as they are written: what OpenAI's own types accept, and what can be read back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.chat import assemble
from respan_proxy.dialects.events import (
    Citation,
    End,
    Event,
    Failure,
    Finish,
    Logprobs,
    Media,
    Opaque,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    ToolDelta,
    ToolEnd,
    ToolStart,
)
from respan_proxy.errors import UpstreamInterrupted
from respan_proxy.wire.sse import Decoder, Frame
from tests.dialects import telling

R = DIALECTS["openai.responses"]
STREAM_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def written(events: list[Event], **more: Any) -> bytes:
    writer = R.writer(telling.context(**more))
    return b"".join(writer.feed(event) for event in events) + writer.close()


def frames(stream: bytes) -> list[dict[str, Any]]:
    """The payloads, once each has been held against the SDK's type and the rules that hold for every stream."""
    decoder = Decoder()
    told: list[Frame] = decoder.feed(stream)
    assert decoder.close() == []
    payloads = [orjson.loads(frame.data) for frame in told]
    for payload, frame in zip(payloads, told, strict=True):
        assert payload["type"] == frame.event
        STREAM_EVENT.validate_python(payload)
        for item in (payload.get("item"), *payload.get("response", {}).get("output", ())):
            # the union of items would also take a damaged one for another kind
            assert item is None or item["type"] in ("message", "reasoning", "function_call", "custom_tool_call", "image_generation_call")
    assert [payload["sequence_number"] for payload in payloads] == list(range(len(payloads)))
    return payloads


def of(payloads: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [payload for payload in payloads if payload["type"] == kind]


@given(telling.replies())
def test_every_stream_is_what_the_sdk_expects(events: list[Event]) -> None:
    payloads = frames(written(events))
    assert [payload["type"] for payload in payloads[:2]] == ["response.created", "response.in_progress"]
    added, done = of(payloads, "response.output_item.added"), of(payloads, "response.output_item.done")
    assert [payload["output_index"] for payload in added] == list(range(len(added)))
    assert sorted(payload["output_index"] for payload in done) == list(range(len(added)))
    response = payloads[-1]["response"]
    assert [item["id"] for item in response["output"]] == [payload["item"]["id"] for payload in added]
    for payload in done:
        item = response["output"][payload["output_index"]]
        assert {**payload["item"], "content": None} == {**item, "content": None}


@given(telling.replies())
def test_a_whole_reply_is_what_its_stream_ends_with(events: list[Event]) -> None:
    whole = orjson.loads(R.write_reply(events, telling.context()))
    Response.model_validate(whole)
    assert whole == frames(written(events))[-1]["response"]


@given(telling.replies(), st.booleans())
def test_what_is_written_reads_back_as_what_was_said(events: list[Event], streamed: bool) -> None:
    if streamed:
        reader = R.reader()
        heard = assemble(reader.feed(written(events)) + reader.close())
    else:
        heard = assemble(R.read_reply(R.write_reply(events, telling.context())))
    said = assemble(events)
    assert heard.complete
    assert heard.usage == said.usage
    if not said.choices[0].parts:
        return
    expected, got = said.choices[0], heard.choices[0]
    assert (got.text, got.refusal, got.reasoning) == (expected.text, expected.refusal, expected.reasoning)
    calls = [(call.id, call.name, orjson.loads(call.arguments)) for call in expected.tool_calls]
    assert [(call.id, call.name, orjson.loads(call.arguments)) for call in got.tool_calls] == calls
    assert got.finish == expected.finish
    if not streamed:
        assert got.citations == expected.citations


@given(telling.replies(), st.integers(0))
def test_a_failure_hands_over_what_was_said_and_ends_the_stream(events: list[Event], at: int) -> None:
    place = at % len(events)
    before = events[:place]
    payloads = frames(written([*before, Failure("rate_limit", "slow down", 429), TextDelta("never said"), End()]))
    last = payloads[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": "rate_limit_exceeded", "message": "slow down"}
    texts = "".join(payload["delta"] for payload in of(payloads, "response.output_text.delta"))
    parts = [part for item in last["response"]["output"] if item["type"] == "message" for part in item["content"]]
    assert "".join(part.get("text", "") for part in parts) == texts
    finished = {payload["item"]["id"] for payload in of(payloads, "response.output_item.done")}
    unfinished = [item for item in last["response"]["output"] if item["id"] not in finished]
    assert all(item["status"] == "incomplete" for item in unfinished)


def test_a_stream_that_nobody_ended_is_told_as_failed() -> None:
    last = frames(written([Start("r", "m"), TextDelta("half")]))[-1]
    assert (last["type"], last["response"]["output"][0]["status"]) == ("response.failed", "incomplete")


def test_calls_that_interleave_are_told_one_after_the_other() -> None:
    events: list[Event] = [
        Start("r", "m"),
        ToolStart(0, "a", "f"),
        ToolStart(1, "b", "g"),
        ToolDelta(1, '{"x":'),
        ToolDelta(0, "{}"),
        ToolDelta(1, "1}"),
        ToolEnd(1),
        ToolEnd(0),
        Finish("tool", None),
        End(),
    ]
    payloads = frames(written(events))
    order = [payload["type"].rsplit(".", 2)[-2:] for payload in payloads if payload.get("output_index") is not None]
    one = [["output_item", "added"], ["function_call_arguments", "delta"], ["function_call_arguments", "done"], ["output_item", "done"]]
    assert order == one + one
    assert [call["arguments"] for call in payloads[-1]["response"]["output"]] == ["{}", '{"x":1}']


def test_only_the_call_that_was_cut_off_is_incomplete() -> None:
    events: list[Event] = [
        ToolStart(0, "a", "f"),
        ToolDelta(0, "{}"),
        ToolStart(1, "b", "f"),
        ToolDelta(1, '{"x'),
        Finish("length", None),
        End(),
    ]
    output = frames(written(events))[-1]["response"]["output"]
    assert [(call["status"], call["arguments"]) for call in output] == [("completed", "{}"), ("incomplete", '{"x')]


def test_a_call_without_arguments_is_called_with_an_empty_object() -> None:
    payloads = frames(written([ToolStart(0, "a", "f"), Finish("tool", None), End()]))
    assert [payload["delta"] for payload in of(payloads, "response.function_call_arguments.delta")] == ["{}"]


def test_a_custom_call_keeps_its_free_form_input() -> None:
    events: list[Event] = [
        ToolStart(0, "a", "run", custom=True),
        ToolDelta(0, "x ="),
        ToolDelta(0, " 1"),
        ToolEnd(0),
        Finish("tool", None),
        End(),
    ]
    payloads = frames(written(events))
    assert of(payloads, "response.custom_tool_call_input.done")[0]["input"] == "x = 1"
    assert assemble(R.reader().feed(written(events))).tool_calls[0].custom


def test_annotations_count_from_the_part_they_are_in() -> None:
    events: list[Event] = [
        TextDelta("one "),
        ReasoningDelta("hm"),
        TextDelta("two"),
        Citation(4, 7, "https://t.test", "T"),
        Finish("stop", None),
        End(),
    ]
    payloads = frames(written(events))
    added = of(payloads, "response.output_text.annotation.added")
    assert [(note["output_index"], note["annotation"]["start_index"], note["annotation"]["end_index"]) for note in added] == [(2, 0, 3)]
    reader = R.reader()
    assert [event for event in reader.feed(written(events)) if isinstance(event, Citation)] == [events[3]]


def test_probabilities_are_told_with_the_finished_text() -> None:
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    payloads = frames(written([TextDelta("a"), Logprobs((token,)), Finish("stop", None), End()]))
    assert of(payloads, "response.output_text.done")[0]["logprobs"] == [token]
    assert payloads[-1]["response"]["output"][0]["content"][0]["logprobs"] == [token]


def test_a_picture_is_the_result_of_an_image_generation_call() -> None:
    events: list[Event] = [Media("image/webp", "aGk="), Finish("stop", None), End()]
    payloads = frames(written(events))
    assert payloads[-1]["response"]["output"][0]["result"] == "aGk="
    assert R.reader().feed(written(events))[1] == events[0]


def test_encrypted_reasoning_is_only_shown_to_who_asked() -> None:
    events: list[Event] = [*telling.call(0, "{}", Opaque("gemini", "SIG"), True), Finish("tool", None), End()]
    shown = frames(written(events))[-1]["response"]["output"]
    assert [item.get("encrypted_content") for item in shown] == ["gw1.gemini.SIG", None]
    hidden = frames(written(events, encrypted_reasoning=False))[-1]["response"]["output"]
    assert [item["type"] for item in hidden] == ["function_call"]


def test_the_response_repeats_what_the_request_asked() -> None:
    asked = {"instructions": "Be kind.", "metadata": {"k": "v"}, "reasoning": {"effort": "low"}, "store": True, "input": "hi"}
    whole = orjson.loads(R.write_reply([TextDelta("x"), Finish("stop", None), End()], telling.context(echo=asked)))
    assert {name: whole[name] for name in ("instructions", "metadata", "reasoning", "store")} == {
        "instructions": "Be kind.",
        "metadata": {"k": "v"},
        "reasoning": {"effort": "low", "summary": None},
        "store": False,
    }
    assert "input" not in whole


BROKE = UpstreamInterrupted("the provider went away")


@given(telling.replies(), st.integers(0))
def test_last_words_after_any_frame_continue_the_stream(events: list[Event], at: int) -> None:
    stream = written(events)
    pieces = [piece + b"\n\n" for piece in stream.split(b"\n\n") if piece]
    sent = b"".join(pieces[: at % len(pieces)])
    words = R.interruption(sent, BROKE, "req_1")
    payloads = frames(sent + words)
    last = payloads[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"] == {"code": "server_error", "message": "the provider went away"}
    texts = "".join(payload["delta"] for payload in of(payloads, "response.output_text.delta"))
    reader = R.reader()
    heard = reader.feed(sent + words) + reader.close()
    assert isinstance(heard[-1], Failure)
    assert assemble(heard).text == texts
    parts = [part for item in last["response"]["output"] if item["type"] == "message" for part in item["content"]]
    assert "".join(part.get("text", "") for part in parts) == texts
    finished = {payload["item"]["id"] for payload in of(payloads, "response.output_item.done")}
    for item in last["response"]["output"]:
        assert item["id"] in finished or item["status"] == "incomplete"


def test_last_words_keep_items_that_no_neutral_event_can_hold() -> None:
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}}
    payloads: list[dict[str, Any]] = [
        {"type": "response.created", "sequence_number": 0, "response": orjson.loads(R.write_reply([], telling.context()))},
        {"type": "response.output_item.done", "sequence_number": 4, "output_index": 0, "item": search},
    ]
    sent = b"".join(b"data: %b\n\n" % orjson.dumps(payload) for payload in payloads)
    last = orjson.loads(Decoder().feed(R.interruption(sent, BROKE, "req_1"))[0].data)
    assert (last["sequence_number"], last["response"]["output"]) == (5, [search])


def test_last_words_come_even_after_what_cannot_be_repeated() -> None:
    nested = b'{"a":' * 400 + b"1" + b"}" * 400
    sent = b'data: {"type":"response.created","response":{"id":"r","metadata":%b}}\n\n' % nested
    assert frames(R.interruption(sent, BROKE, "req_1"))[-1]["type"] == "response.failed"


def test_nothing_follows_a_terminal_event() -> None:
    stream = written([TextDelta("all"), Finish("stop", None), End()])
    assert R.interruption(stream, BROKE, "req_1") == b""


def test_a_stream_that_broke_before_its_first_event_is_still_a_stream() -> None:
    payloads = frames(R.interruption(b"", BROKE, "req_1"))
    assert [payload["type"] for payload in payloads] == ["response.created", "response.in_progress", "response.failed"]


@pytest.mark.parametrize("event", [RefusalDelta("no", 1), TextDelta("yes", 1), ReasoningDelta("hm", 1), ToolStart(0, "a", "f", 1)])
def test_only_the_first_choice_is_told(event: Event) -> None:
    assert frames(written([event, Finish("stop", None), End()]))[-1]["response"]["output"] == []
