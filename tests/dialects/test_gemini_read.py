"""Gemini replies as they are read: what the vectors do not show, told document by document."""

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
from respan_proxy.dialects.usage import Usage
from respan_proxy.wire.sse import Frame

G = DIALECTS["gemini"]
SIG = Opaque("gemini", "U0lH")


def candidate(*parts: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "index": 0, **members}]}


def read(*documents: object, array: bool = False) -> list[Event]:
    """The events of a stream, without its start; the same whether it comes as one chunk or byte by byte."""
    if array:
        stream = b"[" + b"\n,\r\n".join(orjson.dumps(told, option=orjson.OPT_INDENT_2) for told in documents) + b"]\n"
    else:
        stream = b"".join(b"data: %b\r\n\r\n" % orjson.dumps(told) for told in documents)
    whole, bytewise = G.reader(), G.reader()
    events = whole.feed(stream) + whole.close()
    assert [event for place in range(len(stream)) for event in bytewise.feed(stream[place : place + 1])] + bytewise.close() == events
    assert whole.complete == bytewise.complete
    return [event for event in events if not isinstance(event, Start)]


STOPPED = candidate(finishReason="STOP")
DONE: list[Event] = [Finish("stop", "STOP"), End()]


@pytest.mark.parametrize("array", [False, True])
def test_both_forms_of_a_stream_say_the_same(array: bool) -> None:
    assert read(candidate({"text": "Zü"}), candidate({"text": "☃[{\\\""}), STOPPED, array=array) == [
        TextDelta("Zü"), TextDelta("☃[{\\\""), *DONE,
    ]  # fmt: skip


def test_thoughts_and_signatures_are_told_apart_from_text() -> None:
    told = read(
        candidate({"text": "hm", "thought": True}),
        candidate({"text": "a", "thoughtSignature": "U0lH"}),
        candidate({"text": "", "thought": True, "thoughtSignature": "U0lH"}),
        candidate({"text": "", "thoughtSignature": "U0lH"}, finishReason="STOP"),
    )
    assert told == [ReasoningDelta("hm"), Signature(SIG), TextDelta("a"), ReasoningEnd(SIG), Signature(SIG), *DONE]


def test_a_call_comes_whole_with_its_signature_and_perhaps_without_an_id() -> None:
    call = {"functionCall": {"name": "f", "args": {"city": "Ä"}}, "thoughtSignature": "U0lH"}
    told = read(candidate(call, {"functionCall": {"id": "x", "name": "g"}}), STOPPED)
    assert told == [
        ToolStart(0, None, "f", signature=SIG), ToolDelta(0, '{"city":"Ä"}'), ToolEnd(0),
        ToolStart(1, "x", "g"), ToolDelta(1, "{}"), ToolEnd(1),
        Finish("tool", "STOP"), End(),
    ]  # fmt: skip


def test_arguments_that_vertex_streams_are_told_when_they_are_whole() -> None:
    def piece(*args: dict[str, Any], **members: Any) -> dict[str, Any]:
        return candidate({"functionCall": {"partialArgs": list(args), **members}})

    told = read(
        candidate({"functionCall": {"id": "x", "name": "f", "willContinue": True}, "thoughtSignature": "U0lH"}),
        piece({"jsonPath": "$.stops[0].city", "stringValue": "New ", "willContinue": True}, willContinue=True),
        piece(
            {"jsonPath": "$.stops[0].city", "stringValue": "York"}, {"jsonPath": "$.stops[1]['a b']", "numberValue": 2}, willContinue=True
        ),
        piece({"jsonPath": "$.fast", "boolValue": True}, {"jsonPath": "$.via", "nullValue": "NULL_VALUE"}, willContinue=True),
        candidate({"functionCall": {}}),
        STOPPED,
    )
    start, delta, *_ = told
    assert start == ToolStart(0, "x", "f", signature=SIG)
    assert isinstance(delta, ToolDelta)
    assert orjson.loads(delta.arguments) == {"stops": [{"city": "New York"}, {"a b": 2}], "fast": True, "via": None}


def test_a_streamed_call_that_nobody_ended_is_told_with_the_finish() -> None:
    told = read(candidate({"functionCall": {"name": "f", "willContinue": True}}), STOPPED)
    assert told[:3] == [ToolStart(0, None, "f"), ToolDelta(0, "{}"), ToolEnd(0)]


@pytest.mark.parametrize("path", [None, 7, "", "$", "$[0]", "$.a.b", "$.l[9].x", "$.l.x", "$.s[0]"])
def test_a_path_that_leads_nowhere_is_harmless(path: object) -> None:
    pieces = [{"jsonPath": "$.s", "stringValue": "s"}, {"jsonPath": "$.l[0]", "numberValue": 1}, {"jsonPath": path, "stringValue": "x"}]
    told = read(candidate({"functionCall": {"name": "f", "partialArgs": pieces}}), STOPPED)
    assert isinstance(told[0], ToolStart)


def test_pictures_have_the_standard_alphabet_and_those_of_thoughts_are_not_shown() -> None:
    told = read(
        candidate({"inlineData": {"mimeType": "image/png", "data": "AP_-"}}, {"inlineData": {"data": "AP_-"}, "thought": True}),
        candidate({"inlineData": {"mimeType": "image/png", "data": "AP_"}}, {"fileData": {"fileUri": "gs://b/o"}}, finishReason="STOP"),
    )
    assert told == [Media("image/png", "AP/+"), Media("image/png", "AP/="), Media(None, url="gs://b/o"), *DONE]


def test_citations_are_told_once_in_characters_of_the_whole_text() -> None:
    grounding = {
        "groundingChunks": [{"web": {"uri": "https://g.test", "title": "g"}}, {"retrievedContext": {}}],
        "groundingSupports": [{"segment": {"startIndex": 3, "endIndex": 8}, "groundingChunkIndices": [0, 1, 9, "x"]}],
    }
    told = read(candidate({"text": "Zü"}), candidate({"text": "☃!"}, groundingMetadata=grounding), {**STOPPED}, {**STOPPED})
    assert told[2:] == [Citation(2, 4, "https://g.test", "g"), Unsaid("citations"), *DONE]
    again = read(candidate({"text": "Zü☃!"}, groundingMetadata=grounding), candidate(groundingMetadata=grounding, finishReason="STOP"))
    assert again[1:] == told[2:]


@pytest.mark.parametrize("member", ["citationSources", "citations"])
def test_a_source_that_is_recited_is_cited(member: str) -> None:
    recited = {member: [{"startIndex": 3, "endIndex": 8, "uri": "https://g.test", "license": "mit"}, {"startIndex": 0, "endIndex": 1}]}
    told = read(candidate({"text": "Zü☃!"}, citationMetadata=recited, finishReason="STOP"))
    assert told[1:] == [Citation(2, 4, "https://g.test", ""), Unsaid("citations"), *DONE]


def test_a_program_that_google_ran_is_not_said() -> None:
    told = read(candidate({"executableCode": {"code": "1"}}, {"codeExecutionResult": {"output": "1"}}, {"text": "a"}, finishReason="STOP"))
    assert told == [Unsaid("hosted_tools"), Unsaid("hosted_tools"), TextDelta("a"), *DONE]


@pytest.mark.parametrize(
    ("reason", "neutral", "explanation"),
    [("MAX_TOKENS", "length", None), ("RECITATION", "filter", "why"), ("STOP", "stop", None), ("OTHER", "stop", None)],
)
def test_a_finish_keeps_the_provider_s_own_word(reason: str, neutral: str, explanation: str | None) -> None:
    told = read(candidate({"text": "a"}, finishReason=reason, finishMessage="why"))
    assert told[1:] == [Finish(neutral, reason, explanation=explanation), End()]  # type: ignore[arg-type]


def test_a_model_that_lost_its_way_before_it_said_anything_failed() -> None:
    told = read(candidate(finishReason="MALFORMED_FUNCTION_CALL", finishMessage="bad call"))
    assert told == [Failure("bad_gateway", "bad call", 502)]


def test_a_blocked_prompt_is_a_filtered_answer() -> None:
    told = read({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}})
    explained = Finish("filter", "SAFETY", explanation="Prompt blocked by the provider (SAFETY)")
    assert told == [explained, UsageReport(Usage(prompt=3)), End()]


def test_the_last_usage_counts_and_comes_once() -> None:
    first, last = {"promptTokenCount": 9, "totalTokenCount": 9}, {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11}
    told = read({**candidate({"text": "a"}), "usageMetadata": first}, STOPPED, {"usageMetadata": last})
    assert told[1:] == [Finish("stop", "STOP"), UsageReport(Usage(prompt=9, output=2)), End()]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 30, "totalTokenCount": 37},
            Usage(5, output=32, reasoning=30),
        ),
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 32, "thoughtsTokenCount": 30, "totalTokenCount": 37},
            Usage(5, output=32, reasoning=30),
        ),
        ({"promptTokenCount": 5, "toolUsePromptTokenCount": 4, "candidatesTokenCount": 1, "totalTokenCount": 10}, Usage(9, output=1)),
        ({"promptTokenCount": 5, "cachedContentTokenCount": 3, "candidatesTokenCount": "?"}, Usage(5, cached=3)),
    ],
    ids=["thoughts apart", "thoughts included", "tool prompts", "damaged"],
)
def test_thoughts_are_output_whether_or_not_candidates_include_them(usage: dict[str, Any], expected: Usage) -> None:
    assert G.read_usage({"usageMetadata": usage}) == expected


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("array", [False, True])
def test_an_error_is_the_provider_s_last_word(array: bool, wrapped: bool) -> None:
    error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
    told = read(candidate({"text": "a"}), [error] if wrapped and not array else error, STOPPED, array=array)
    assert told == [TextDelta("a"), Failure("overloaded", "overloaded", 503)]
    reader = G.reader()
    reader.feed(b"data: %b\r\n\r\n" % orjson.dumps(error))
    assert reader.complete
    first = G.first_error(Frame(None, orjson.dumps([error] if wrapped else error).decode()))
    assert first is not None
    assert first.status == 503


def test_an_error_that_comes_bare_instead_of_a_stream_is_read() -> None:
    reader = G.reader()
    body = orjson.dumps({"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}, option=orjson.OPT_INDENT_2)
    assert reader.feed(body[:20]) + reader.feed(body[20:]) + reader.close() == [Failure("rate_limit", "slow", 429)]


@pytest.mark.parametrize("documents", [[], [candidate({"text": "a"})], [{"usageMetadata": {}}]])
@pytest.mark.parametrize("array", [False, True])
def test_a_stream_without_a_finish_broke_off(documents: list[dict[str, Any]], array: bool) -> None:
    last = read(*documents, array=array)[-1]
    assert last == Failure("bad_gateway", "Upstream stream ended before a finishReason", 502)


def test_a_stream_that_ends_inside_a_document_is_damaged() -> None:
    for stream in (b'data: {"candidates": [', b'[{"candidates": ['):
        reader = G.reader()
        assert reader.feed(stream) + reader.close() == [Failure("bad_gateway", "Upstream sent malformed stream data", 502)]
        assert not reader.complete


def test_arguments_nested_beyond_measure_are_damage() -> None:
    args = b'{"a":' * 400 + b"1" + b"}" * 400
    body = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":%b}}]},"finishReason":"STOP"}]}' % args
    assert G.read_reply(body)[1:] == [Failure("bad_gateway", "Upstream sent malformed stream data", 502)]


def test_a_stream_read_whole_is_read_like_a_reply() -> None:
    body = orjson.dumps([candidate({"text": "a"}), STOPPED])
    assert G.read_reply(body)[1:] == [TextDelta("a"), *DONE]
    assert G.read_reply(b"<html>") == [Failure("bad_gateway", "Upstream sent malformed JSON", 502)]


def test_a_count_is_read() -> None:
    assert G.read_count({"totalTokens": 31}) == 31
    assert G.read_count({}) is None
    assert G.read_usage({}) is None
