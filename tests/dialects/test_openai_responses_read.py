"""Responses replies as they are read: what the vectors do not show, told event by event."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from respan_proxy.dialects import DIALECTS
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
from respan_proxy.dialects.usage import Usage
from respan_proxy.wire.sse import Frame

R = DIALECTS["openai.responses"]
CREATED = {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-x", "created_at": 1_700_000_000.0, "output": []}}
BEGUN = Start("resp_1", "gpt-x", 1_700_000_000)
COMPLETED = {"type": "response.completed", "response": {"status": "completed", "output": []}}
DONE: list[Event] = [Finish("stop", "completed"), End()]


def read(*payloads: dict[str, Any]) -> list[Event]:
    """The events of a stream that starts as every stream does."""
    stream = b"".join(b"event: x\ndata: %b\n\n" % orjson.dumps(payload) for payload in (CREATED, *payloads))
    reader = R.reader()
    first, *events = reader.feed(stream) + reader.close()
    assert first == BEGUN
    return events


def item(kind: str, index: int = 0, **members: Any) -> dict[str, Any]:
    return {"type": f"response.output_item.{kind}", "output_index": index, "item": members}


def test_an_item_that_came_without_deltas_is_read_when_it_is_done() -> None:
    content = [{"type": "output_text", "text": "all at once", "annotations": []}, {"type": "refusal", "refusal": "no"}]
    assert read(item("done", type="message", content=content), COMPLETED) == [TextDelta("all at once"), RefusalDelta("no"), *DONE]


def test_an_item_that_only_the_terminal_event_shows_is_read_from_there() -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "late"}]}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
    last = {"type": "response.completed", "response": {"status": "completed", "output": [message, call]}}
    told = read(item("done", type="message", content=message["content"]), last)
    assert told == [
        TextDelta("late"), ToolStart(0, "c", "f"), ToolDelta(0, "{}"), ToolEnd(0), Finish("tool", "completed"), End(),
    ]  # fmt: skip


def test_deltas_stand_where_the_finished_item_says_otherwise() -> None:
    delta = {"type": "response.output_text.delta", "output_index": 0, "delta": "Hé"}
    assert read(delta, item("done", type="message", content=[{"text": "Hey"}]), COMPLETED) == [TextDelta("Hé"), *DONE]


def test_the_parts_of_a_summary_are_paragraphs() -> None:
    def delta(part: int, text: str) -> dict[str, Any]:
        return {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": part, "delta": text}

    streamed = read(delta(0, "one"), delta(1, "two"), item("done", type="reasoning", encrypted_content="ENC"), COMPLETED)
    end = ReasoningEnd(Opaque("openai", "ENC"))
    assert streamed == [ReasoningDelta("one"), ReasoningDelta("\n\ntwo"), end, *DONE]
    whole = {"type": "reasoning", "summary": [{"text": "one"}, {"text": "two"}], "encrypted_content": "ENC"}
    assert R.read_reply(orjson.dumps({**CREATED["response"], "output": [whole]}))[1:4] == streamed[:3]  # type: ignore[dict-item]


def test_open_weights_reasoning_is_read_from_its_content() -> None:
    assert read(item("done", type="reasoning", summary=[], content=[{"text": "hm"}]), COMPLETED)[0] == ReasoningDelta("hm")


def test_a_reasoning_item_that_says_nothing_is_nothing() -> None:
    assert read(item("added", type="reasoning", summary=[]), item("done", type="reasoning", summary=[]), COMPLETED) == DONE


def test_a_call_that_was_cut_off_is_not_completed_to_an_empty_object() -> None:
    events = read(item("done", type="function_call", call_id="c", name="f", arguments="", status="incomplete"), COMPLETED)
    assert events[:2] == [ToolStart(0, "c", "f"), ToolEnd(0)]


def test_a_custom_call_is_told_apart() -> None:
    events = read(
        item("added", type="custom_tool_call", call_id="c", name="run", input=""),
        {"type": "response.custom_tool_call_input.delta", "output_index": 0, "delta": "ls"},
        item("done", type="custom_tool_call", call_id="c", name="run", input="ls"),
        COMPLETED,
    )
    assert events[:3] == [ToolStart(0, "c", "run", custom=True), ToolDelta(0, "ls"), ToolEnd(0)]


def test_annotations_count_from_the_beginning_of_the_whole_text() -> None:
    cited = {"type": "url_citation", "start_index": 0, "end_index": 3, "url": "https://t.test", "title": "T"}
    events = read(
        {"type": "response.output_text.delta", "delta": "one "},
        {"type": "response.content_part.added", "content_index": 1},
        {"type": "response.output_text.delta", "content_index": 1, "delta": "two"},
        {"type": "response.output_text.annotation.added", "content_index": 1, "annotation": cited},
        {"type": "response.output_text.annotation.added", "annotation": {"type": "file_citation", "file_id": "f"}},
        COMPLETED,
    )
    assert events[2:] == [Citation(4, 7, "https://t.test", "T"), Unsaid("citations"), *DONE]


@pytest.mark.parametrize(("kind", "unsaid"), [("code_interpreter_call", [Unsaid("hosted_tools")]), ("web_search_call", [])])
def test_what_a_hosted_tool_did_is_not_said_but_for_a_search_which_is_in_its_citations(kind: str, unsaid: list[Event]) -> None:
    assert read({"type": "response.output_item.done", "output_index": 0, "item": {"type": kind, "id": "i"}}, COMPLETED) == [*unsaid, *DONE]


def test_probabilities_follow_their_text() -> None:
    token = {"token": "a", "logprob": -0.5}
    delta = {"type": "response.output_text.delta", "delta": "a", "logprobs": [token]}
    assert read(delta, COMPLETED)[:2] == [TextDelta("a"), Logprobs((token,))]


def test_a_generated_image_is_media() -> None:
    picture = item("done", type="image_generation_call", result="aGk=", output_format="webp")
    assert read(picture, COMPLETED)[0] == Media("image/webp", "aGk=")


@pytest.mark.parametrize(
    ("reason", "neutral"), [("max_output_tokens", "length"), ("content_filter", "filter"), ("steered", "stop"), (None, "stop")]
)
def test_an_incomplete_response_says_why(reason: str | None, neutral: str) -> None:
    last = {"type": "response.incomplete", "response": {"status": "incomplete", "incomplete_details": {"reason": reason}, "output": []}}
    finish = read(last)[0]
    assert isinstance(finish, Finish)
    assert (finish.reason, finish.native) == (neutral, reason or "incomplete")


def test_a_response_that_failed_tells_its_usage_and_its_error() -> None:
    error = {"code": "rate_limit_exceeded", "message": "slow down"}
    last = {"type": "response.failed", "response": {"status": "failed", "error": error, "usage": {"input_tokens": 3, "output_tokens": 1}}}
    assert read(last) == [UsageReport(Usage(prompt=3, output=1)), Failure("rate_limit", "slow down", 429, "rate_limit_exceeded")]


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "code": "server_error", "message": "oops", "param": None, "sequence_number": 3},
        {"type": "error", "error": {"type": "server_error", "code": "server_error", "message": "oops"}},
        {"error": {"code": "server_error", "message": "oops"}},
    ],
    ids=["flat", "nested", "without a type"],
)
def test_an_error_event_is_the_provider_s_last_word(error: dict[str, Any]) -> None:
    failure = Failure("server", "oops", 500, "server_error")
    assert read(error, COMPLETED) == [failure]
    told = R.first_error(Frame("error", orjson.dumps(error).decode()))
    assert told is not None
    assert Failure.of(told) == failure
    reader = R.reader()
    reader.feed(b"data: %b\n\n" % orjson.dumps(error))
    assert reader.complete


def test_a_first_event_that_is_no_error_is_none() -> None:
    assert R.first_error(orjson.dumps(CREATED)) is None
    assert R.first_error(b"[DONE]") is None
    failed = R.first_error(orjson.dumps({"type": "response.failed", "response": {"status": "failed", "error": None}}))
    assert str(failed) == "Upstream ended the response as failed"


def test_a_stream_that_ends_before_its_terminal_event_broke_off() -> None:
    reader = R.reader()
    events = reader.feed(b"data: %b\n\n" % orjson.dumps(CREATED)) + reader.close()
    assert events == [BEGUN, Failure("bad_gateway", "Upstream stream ended before a terminal event", 502)]
    assert not reader.complete


def test_a_background_response_that_waits_is_whole_but_not_finished() -> None:
    queued = {**CREATED["response"], "status": "queued"}  # type: ignore[dict-item]
    assert R.read_reply(orjson.dumps(queued)) == [BEGUN, End()]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "Upstream sent malformed JSON"),
        (b"{}", "Upstream sent a response without output"),
        (b'{"error":{"message":"no such model","code":"model_not_found"}}', "no such model"),
        (b'{"status":"failed","output":[],"error":{"code":"server_error","message":"oops"}}', "oops"),
        (b'{"status":"cancelled","output":[]}', "Upstream ended the response as cancelled"),
    ],
)
def test_a_body_that_is_no_response_is_a_failure(body: bytes, message: str) -> None:
    last = R.read_reply(body)[-1]
    assert isinstance(last, Failure)
    assert last.message == message


def test_tokens_are_read_from_a_body_and_from_a_count() -> None:
    usage = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2}, "output_tokens": 5}
    assert R.read_usage({"usage": {**usage, "output_tokens_details": {"reasoning_tokens": 3}}}) == Usage(9, 4, 2, 5, 3)
    assert R.read_count({"object": "response.input_tokens", "input_tokens": 7}) == 7
    assert R.read_usage({}) is None
    assert R.read_count({}) is None
