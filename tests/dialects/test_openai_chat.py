"""The chat dialect, and what its many near-speakers do differently."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.dialects.chat import Choice, Reasoning, Text, ToolCall, assemble
from respan_proxy.dialects.dialect import WriteContext
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
    Signature,
    Start,
    TextDelta,
    ToolDelta,
    ToolStart,
    UsageReport,
)
from respan_proxy.dialects.openai_chat import DIALECT
from respan_proxy.dialects.usage import Usage
from respan_proxy.errors import ProxyError
from tests.dialects.vectors import counter

DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return frame({"id": "c1", "created": 7, "model": "m", "choices": [choice], **more})


def frame(payload: Any) -> bytes:
    return b"data: " + orjson.dumps(payload) + b"\n\n"


def stream(*frames: bytes) -> list[Event]:
    reader = DIALECT.reader()
    return reader.feed(b"".join(frames)) + reader.close()


def only(*frames: bytes) -> Choice:
    """The one choice of a stream that ends well."""
    reply = assemble(stream(*frames, chunk(finish="stop"), DONE))
    assert reply.complete
    [choice] = reply.choices
    return choice


def calls(*deltas: dict[str, Any]) -> list[tuple[str | None, str, str]]:
    choice = only(*(chunk({"tool_calls": [delta]}) for delta in deltas))
    return [(call.id, call.name, call.arguments) for call in choice.tool_calls]


def test_a_plain_stream_is_heard_word_for_word() -> None:
    frames = chunk({"role": "assistant", "content": ""}), chunk({"content": "Hé"}), chunk({"content": "llo"}), chunk(finish="length"), DONE
    assert stream(*frames) == [Start("c1", "m", 7), TextDelta("Hé"), TextDelta("llo"), Finish("length", "length"), End()]


def test_a_missing_done_is_tolerated_after_a_finish_reason() -> None:
    assert stream(chunk({"content": "x"}), chunk(finish="stop"))[-1] == End()


def test_an_end_without_a_finish_reason_is_a_break() -> None:
    assert isinstance(stream(chunk({"content": "x"}))[-1], Failure)


def test_a_tail_that_is_cut_off_is_a_break_even_after_a_finish_reason() -> None:
    assert isinstance(stream(chunk({"content": "x"}), chunk(finish="stop"), b'data: {"id":"c1","cho')[-1], Failure)


def test_one_malformed_event_does_not_lose_the_others() -> None:
    assert only(chunk({"content": "a"}), b"data: {oops\n\n", chunk({"content": "b"})).text == "ab"


def test_usage_of_groq_and_deepseek_is_found() -> None:
    groq = {"prompt_tokens": 20, "completion_tokens": 6, "prompt_cache_hit_tokens": 5}
    assert UsageReport(Usage(prompt=20, cached=5, output=6)) in stream(chunk(finish="stop", x_groq={"usage": groq}), DONE)


def test_the_last_of_many_usages_counts() -> None:
    first, last = {"prompt_tokens": 3, "completion_tokens": 1}, {"prompt_tokens": 3, "completion_tokens": 2}
    reply = assemble(stream(chunk({"content": "a"}, usage=first), chunk({"content": "b"}, usage=last), chunk(finish="stop"), DONE))
    assert reply.usage == Usage(prompt=3, output=2)


def test_usage_after_the_finish_reason_is_heard() -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    reply = assemble(stream(chunk(finish="stop"), frame({"id": "c1", "choices": [], "usage": usage}), DONE))
    assert reply.usage == Usage(9, 4, 2, 8, 5)


def test_interleaved_calls_are_told_apart_by_index() -> None:
    deltas = [
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": "["}},
        {"index": 0, "function": {"arguments": "}"}},
        {"index": 1, "function": {"arguments": "]"}},
    ]
    assert calls(*deltas) == [("a", "f", "{}"), ("b", "g", "[]")]


def test_calls_without_an_index_are_told_apart_by_id() -> None:
    deltas = [
        {"id": "a", "function": {"name": "f", "arguments": "1"}},
        {"function": {"arguments": "2"}},
        {"id": "b", "function": {"name": "f", "arguments": "3"}},
        {"id": "a", "function": {"arguments": "4"}},
    ]
    assert calls(*deltas) == [("a", "f", "124"), ("b", "f", "3")]


def test_another_id_under_the_same_index_is_another_call() -> None:
    deltas = [
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
        {"index": 0, "id": "b", "function": {"name": "f", "arguments": "[]"}},
    ]
    assert calls(*deltas) == [("a", "f", "{}"), ("b", "f", "[]")]


def test_id_and_name_repeated_on_every_delta_do_not_start_another_call() -> None:
    deltas = [{"index": 0, "id": "a", "function": {"name": "f", "arguments": piece}} for piece in ("{", "}")]
    assert calls(*deltas) == [("a", "f", "{}")]


def test_arguments_given_as_an_object_become_json_text() -> None:
    assert calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": "ü"}}}) == [("a", "f", '{"x":"ü"}')]


def test_stop_with_calls_is_a_tool_finish() -> None:
    assert only(chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]})).finish == "tool"


def test_the_legacy_function_call_is_a_call_without_id() -> None:
    choice = only(chunk({"function_call": {"name": "f", "arguments": "{"}}), chunk({"function_call": {"arguments": "}"}}))
    assert choice.tool_calls == (ToolCall(None, "f", "{}"),)


def test_a_custom_tool_keeps_its_free_text() -> None:
    choice = only(chunk({"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "x = 1"}}]}))
    assert choice.tool_calls == (ToolCall("a", "f", "x = 1", custom=True),)


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_is_heard_under_either_name(name: str) -> None:
    choice = only(chunk({name: "hm"}), chunk({"content": "x"}))
    assert (choice.reasoning, choice.text) == ("hm", "x")


def test_reasoning_details_that_repeat_the_text_do_not_double_it() -> None:
    details = [{"type": "reasoning.text", "text": "hm", "format": "anthropic-claude-v1", "signature": "S"}]
    choice = only(chunk({"reasoning": "hm", "reasoning_details": details}))
    assert choice.parts == (Reasoning("hm", Opaque("anthropic", "S")),)


def test_reasoning_details_alone_are_the_reasoning() -> None:
    choice = only(chunk({"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}]}))
    assert choice.reasoning == "hm"


def test_redacted_thinking_survives() -> None:
    detail = {"type": "reasoning.encrypted", "data": "D", "format": "anthropic-claude-v1"}
    assert only(chunk({"reasoning_details": [detail]})).parts == (Reasoning("", Opaque("anthropic", "D", redacted=True)),)


def test_googles_signature_stays_with_its_call_and_its_text() -> None:
    signed = {"google": {"thought_signature": "S"}}
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}, "extra_content": signed}
    choice = only(chunk({"content": "x", "extra_content": signed}), chunk({"tool_calls": [call]}))
    signature = Opaque("gemini", "S")
    assert choice.parts == (Text("x", signature), ToolCall("a", "f", "{}", signature=signature))


def test_the_matched_stop_string_of_vllm_is_kept() -> None:
    choice = frame({"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}]})
    assert Finish("stop_sequence", "stop", stop_sequence="END") in stream(choice, DONE)


@pytest.mark.parametrize(
    ("native", "reason"), [("eos", "stop"), ("model_length", "length"), ("function_call", "tool"), ("never_seen", "stop")]
)
def test_foreign_finish_reasons_are_understood_and_kept(native: str, reason: str) -> None:
    [finish] = [event for event in stream(chunk(finish=native), DONE) if isinstance(event, Finish)]
    assert (finish.reason, finish.native) == (reason, native)


def test_a_finish_reason_of_error_is_a_failure() -> None:
    events = stream(chunk({"content": "x"}), chunk(finish="error"), DONE)
    assert isinstance(events[-1], Failure)


def test_an_error_in_the_stream_keeps_its_words() -> None:
    error = {"message": "no", "type": "weird", "code": "boom", "param": "p"}
    assert stream(chunk({"content": "x"}), frame({"error": error}), DONE)[-1] == Failure("bad_gateway", "no", 502, "boom", "p")


def test_choices_are_told_apart() -> None:
    frames = (
        chunk({"content": "a"}),
        chunk({"content": "b"}, index=1),
        chunk({"content": "c"}),
        chunk(finish="stop"),
        chunk(finish="length", index=1),
    )
    reply = assemble(stream(*frames, DONE))
    assert [(choice.text, choice.finish) for choice in reply.choices] == [("ac", "stop"), ("b", "length")]


def test_pictures_sound_and_probabilities_are_heard() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    token = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}
    said = frame({"id": "c1", "choices": [{"index": 0, "delta": {"images": [image]}, "logprobs": {"content": [token], "refusal": None}}]})
    choice = only(said, chunk({"audio": {"id": "a", "transcript": "hi", "data": "AAAA"}}))
    assert choice.media == (Media("image/png", data="AAAA"),)
    assert choice.logprobs == (Logprobs((token,)),)
    assert choice.text == "hi"


def test_a_legacy_completion_is_heard() -> None:
    reply = assemble(DIALECT.read_reply(orjson.dumps({"id": "cmpl", "choices": [{"index": 0, "text": "hi", "finish_reason": "stop"}]})))
    assert reply.text == "hi"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices":null}', b'{"choices":[]}'])
def test_a_body_without_choices_is_a_failure(body: bytes) -> None:
    [failure] = DIALECT.read_reply(body)
    assert isinstance(failure, Failure)


def test_embeddings_count_what_was_read() -> None:
    assert DIALECT.read_usage({"usage": {"prompt_tokens": 4, "total_tokens": 4}}) == Usage(prompt=4)
    assert DIALECT.read_usage({"data": []}) is None


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
INDEX = st.just(0)
ANTHROPIC = st.builds(Opaque, st.just("anthropic"), TEXT, st.booleans())
GEMINI = st.builds(Opaque, st.just("gemini"), TEXT)
TOLD = st.one_of(
    st.builds(TextDelta, TEXT).map(lambda event: [event]),
    st.builds(RefusalDelta, TEXT).map(lambda event: [event]),
    st.builds(lambda text, opaque: [ReasoningDelta(text), ReasoningEnd(opaque)], TEXT, st.builds(Opaque, st.just("anthropic"), TEXT)),
    st.builds(lambda opaque: [ReasoningEnd(opaque)], ANTHROPIC),
    st.builds(lambda opaque, text: [Signature(opaque), TextDelta(text)], GEMINI, TEXT),
    st.builds(lambda data: [Media("image/png", data=data)], st.sampled_from(["AAAA", "AA=="])),
    st.builds(
        lambda name, pieces, custom, signature: [ToolStart(0, "id", name, custom=custom, signature=signature), *pieces],
        TEXT,
        st.lists(st.builds(ToolDelta, INDEX, TEXT), max_size=3),
        st.booleans(),
        st.none() | GEMINI,
    ),
)


def told(parts: list[list[Event]], usage: Usage | None) -> list[Event]:
    """A whole reply out of parts, its calls numbered."""
    events: list[Event] = [Start("id", "model")]
    ordinal = -1
    for event in (event for part in parts for event in part):
        if isinstance(event, ToolStart):
            ordinal += 1
            event = ToolStart(ordinal, f"id{ordinal}", event.name, custom=event.custom, signature=event.signature)
        elif isinstance(event, ToolDelta):
            event = ToolDelta(ordinal, event.arguments)
        events.append(event)
    events += [Citation(0, 1, "https://x.test", "X"), Finish("tool" if ordinal >= 0 else "length", None)]
    return [*events, *([UsageReport(usage)] if usage else []), End()]


USAGE = st.none() | st.builds(Usage, *[st.integers(0, 1000)] * 5)


@given(st.lists(TOLD, max_size=6), USAGE)
def test_what_is_written_as_a_stream_is_heard_again(parts: list[list[Event]], usage: Usage | None) -> None:
    events = told(parts, usage)
    writer = DIALECT.writer(WriteContext(now=1, new_id=counter()))
    heard = assemble(stream(*(writer.feed(event) for event in events)))
    meant = assemble(events)
    assert heard.usage == usage
    assert heard.complete
    [got], [want] = heard.choices, meant.choices
    assert (got.text, got.refusal, got.reasoning, got.tool_calls, got.media) == (
        want.text,
        want.refusal,
        want.reasoning,
        want.tool_calls,
        want.media,
    )
    assert (got.finish, got.citations) == (want.finish, want.citations)
    assert [part.opaque for part in got.parts if isinstance(part, Reasoning)] == [
        part.opaque for part in want.parts if isinstance(part, Reasoning)
    ]


@given(st.lists(TOLD, max_size=6), USAGE)
def test_what_is_written_whole_is_heard_again(parts: list[list[Event]], usage: Usage | None) -> None:
    events = told(parts, usage)
    heard = assemble(DIALECT.read_reply(DIALECT.write_reply(events, WriteContext(now=1, new_id=counter()))))
    [got], [want] = heard.choices, assemble(events).choices
    assert (got.text, got.refusal, got.reasoning, got.tool_calls, got.media) == (
        want.text,
        want.refusal,
        want.reasoning,
        want.tool_calls,
        want.media,
    )
    assert (got.finish, got.citations, heard.usage) == (want.finish, want.citations, usage)


def test_a_writer_that_is_closed_early_does_not_end_like_a_success() -> None:
    writer = DIALECT.writer(WriteContext(now=1, new_id=counter()))
    written = writer.feed(Start("id", "m")) + writer.feed(TextDelta("x")) + writer.close()
    assert isinstance(stream(written)[-1], Failure)
    assert b"[DONE]" not in written
    assert writer.close() == b""


def test_an_interruption_is_one_error_chunk() -> None:
    words = DIALECT.interruption(b"data: {}\n\n", ProxyError("gone", status=502, kind="bad_gateway"), "req_1")
    assert words == b'data: {"error":{"message":"gone","type":"server_error","param":null,"code":"bad_gateway"}}\n\n'
