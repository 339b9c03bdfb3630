"""Gemini replies as they are written: what google-genai's own types and stream parser accept, and what can be read back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

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
from respan_proxy.errors import ProxyError, UpstreamInterrupted
from tests.dialects import telling

G = DIALECTS["gemini"]
END: list[Event] = [Finish("stop", None), End()]
BROKE = UpstreamInterrupted("the provider went away")
RPC = {"error": {"code": 502, "message": "the provider went away", "status": "INTERNAL"}}


def written(events: list[Event], **more: Any) -> bytes:
    writer = G.writer(telling.context(**more))
    return b"".join(writer.feed(event) for event in events) + writer.close()


def documents(stream: bytes) -> list[dict[str, Any]]:
    """The documents of an event stream, once it has been held against everything that google-genai cannot take."""
    assert stream.isascii()
    *frames, rest = stream.decode().split("\r\n\r\n")
    assert rest == ""
    told = []
    for frame in frames:
        assert frame.startswith("data: {")
        assert len(frame.splitlines()) == 1
        told.append(orjson.loads(frame.removeprefix("data: ")))
        if "error" not in told[-1]:
            types.GenerateContentResponse.model_validate(told[-1])
    return told


def parts(events: list[Event], **more: Any) -> list[dict[str, Any]]:
    return [part for told in documents(written(events, **more)) for part in told["candidates"][0]["content"]["parts"]]


@given(telling.replies())
def test_every_stream_is_what_the_sdk_expects(events: list[Event]) -> None:
    *before, last = documents(written(events))
    assert all("finishReason" not in told["candidates"][0] for told in before)
    assert last["candidates"][0]["finishReason"] in ("STOP", "MAX_TOKENS", "SAFETY")
    assert last["usageMetadata"]["totalTokenCount"] >= 0
    assert len({told["responseId"] for told in (*before, last)}) == 1


@given(telling.replies())
def test_the_array_holds_the_documents_of_the_event_stream(events: list[Event]) -> None:
    assert orjson.loads(written(events, array=True)) == documents(written(events))


@given(telling.replies(), st.sampled_from(["sse", "array", "whole"]))
def test_what_is_written_reads_back_as_what_was_said(events: list[Event], form: str) -> None:
    if form == "whole":
        whole = G.write_reply(events, telling.context())
        types.GenerateContentResponse.model_validate(orjson.loads(whole))
        heard = assemble(G.read_reply(whole))
    else:
        reader = G.reader()
        heard = assemble(reader.feed(written(events, array=form == "array")) + reader.close())
    said = assemble(events)
    assert heard.complete
    assert heard.usage == Usage(**{name: getattr(said.usage or Usage(), name) for name in ("prompt", "cached", "output", "reasoning")})
    expected, got = said.choices[0], heard.choices[0]
    assert got.reasoning == expected.reasoning
    # a refusal is text here
    assert sorted(got.text) == sorted(expected.text + expected.refusal)
    calls = sorted((call.id or "", call.name, orjson.loads(call.arguments)) for call in expected.tool_calls) if expected.tool_calls else []
    assert sorted((call.id or "", call.name, orjson.loads(call.arguments)) for call in got.tool_calls) == calls
    native = [call.signature for call in expected.tool_calls if call.signature and call.signature.provider == "gemini"]
    assert {call.signature for call in got.tool_calls if call.signature} == set(native)
    assert got.finish == expected.finish
    if not expected.refusal:
        assert got.citations == tuple(dict.fromkeys(expected.citations))


@pytest.mark.parametrize(("start", "end"), [(0, 0), (3, 3), (9, 12), (3, 1)])
def test_a_page_whose_place_says_nothing_stands_behind_all_of_the_text(start: int, end: int) -> None:
    events: list[Event] = [TextDelta("Zü☃"), Citation(start, end, "https://g.test", "g"), Citation(1, 9, "https://g.test", "g"), *END]
    for last in (documents(written(events))[-1], orjson.loads(G.write_reply(events, telling.context()))):
        assert last["candidates"][0]["groundingMetadata"] == {
            "groundingChunks": [{"web": {"uri": "https://g.test", "title": "g"}}],
            "groundingSupports": [
                {"segment": {"startIndex": 0, "endIndex": 6, "text": "Zü☃"}, "groundingChunkIndices": [0]},
                {"segment": {"startIndex": 1, "endIndex": 6, "text": "ü☃"}, "groundingChunkIndices": [0]},
            ],
        }


@given(telling.replies(), st.integers(0), st.booleans())
def test_last_words_after_any_document_end_the_stream_in_its_own_form(events: list[Event], at: int, array: bool) -> None:
    writer = G.writer(telling.context(array=array))
    pieces = [piece for event in events[:-1] if (piece := writer.feed(event))]
    sent = b"".join(pieces[: at % (len(pieces) + 1)])
    words = G.interruption(sent, BROKE, "req_1")
    if sent and array:
        assert orjson.loads(sent + words)[-1] == RPC
    else:
        assert documents(sent + words)[-1] == RPC
    assert words.lstrip(b",\r\n").startswith((b'{"error":', b'data: {"error":'))
    reader = G.reader()
    last = (reader.feed(sent + words) + reader.close())[-1]
    assert isinstance(last, Failure)
    assert last.message == "the provider went away"


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"[", b'{"error":'),
        (b"[{}", b',\r\n{"error":'),
        (b"[{}\n,\r\n", b'{"error":'),
        (b" \r\n[{}\n", b',\r\n{"error":'),
        (b"", b'data: {"error":'),
    ],
)
def test_last_words_fit_what_stands_before_them(sent: bytes, words: bytes) -> None:
    assert G.interruption(sent, BROKE, "req_1").startswith(words)


def test_nothing_follows_a_closed_array() -> None:
    assert G.interruption(b"[{}]\n", BROKE, "req_1") == b""


@pytest.mark.parametrize("array", [False, True])
def test_a_failure_is_an_error_object_in_the_form_of_the_stream(array: bool) -> None:
    stream = written([Start("r", "m"), TextDelta("half"), Failure("bad_gateway", "the provider went away", 502), *END], array=array)
    assert (orjson.loads(stream) if array else documents(stream))[1:] == [RPC]


@pytest.mark.parametrize("array", [False, True])
def test_a_stream_that_nobody_ended_is_told_as_failed(array: bool) -> None:
    stream = written([Start("r", "m"), TextDelta("half")], array=array)
    assert (orjson.loads(stream) if array else documents(stream))[-1]["error"]["code"] == 502


def test_a_call_waits_until_it_is_whole() -> None:
    writer = G.writer(telling.context())
    assert writer.feed(ToolStart(0, "a", "f")) + writer.feed(ToolDelta(0, '{"x":')) + writer.feed(ToolDelta(0, "1}")) == b""
    told = documents(writer.feed(ToolEnd(0)))
    assert told[0]["candidates"][0]["content"]["parts"] == [{"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}}]


def test_a_call_that_nobody_ended_is_told_with_the_finish() -> None:
    events: list[Event] = [ToolStart(0, None, "f"), ToolDelta(0, "not json"), Finish("tool", None), End()]
    assert parts(events)[0] == {"functionCall": {"name": "f", "args": {"__raw_arguments": "not json"}}}


def test_free_form_input_becomes_one_string_argument() -> None:
    events: list[Event] = [ToolStart(0, "a", "run", custom=True), ToolDelta(0, "ls"), ToolEnd(0), *END]
    assert parts(events)[0] == {"functionCall": {"id": "a", "name": "run", "args": {"input": "ls"}}}


def test_a_signature_travels_with_the_text_it_belongs_to_or_with_the_last_part() -> None:
    first, second = Opaque("gemini", "U0lH"), Opaque("gemini", "TEFT")
    told = parts([Signature(first), TextDelta("a"), TextDelta("b"), Signature(second), *END])
    assert told == [{"text": "a", "thoughtSignature": "U0lH"}, {"text": "b"}, {"text": "", "thoughtSignature": "TEFT"}]


def test_the_state_of_another_provider_is_left_out() -> None:
    sealed = ReasoningEnd(Opaque("anthropic", "SIG"))
    assert parts([ReasoningDelta("hm"), sealed, *END]) == [{"text": "hm", "thought": True}, {"text": ""}]


def test_thoughts_are_only_shown_to_who_asked() -> None:
    events: list[Event] = [ReasoningDelta("hm"), TextDelta("a"), *END]
    assert parts(events, include_thoughts=False) == [{"text": "a"}, {"text": ""}]
    whole = orjson.loads(G.write_reply(events, telling.context(include_thoughts=False)))
    assert whole["candidates"][0]["content"]["parts"] == [{"text": "a"}]


def test_every_candidate_is_told_with_its_own_finish() -> None:
    events: list[Event] = [TextDelta("a"), TextDelta("b", 1), Finish("length", None, 1), Finish("filter", None, explanation="no"), End()]
    last = documents(written(events))[-1]["candidates"]
    assert [(told["index"], told["finishReason"], told.get("finishMessage")) for told in last] == [
        (0, "SAFETY", "no"),
        (1, "MAX_TOKENS", None),
    ]
    whole = orjson.loads(G.write_reply(events, telling.context()))["candidates"]
    assert [(told["index"], told["finishReason"]) for told in whole] == [(0, "SAFETY"), (1, "MAX_TOKENS")]


def test_thinking_is_counted_apart_from_what_was_said() -> None:
    events: list[Event] = [TextDelta("a"), UsageReport(Usage(prompt=9, cached=4, output=8, reasoning=5)), *END]
    assert documents(written(events))[-1]["usageMetadata"] == {
        "promptTokenCount": 9,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 5,
        "totalTokenCount": 17,
    }


def test_files_are_parts_by_value_or_by_address() -> None:
    told = parts([Media("image/png", "aGk="), Media(None, url="https://t.test/a"), RefusalDelta("no"), *END])
    assert told[:3] == [
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"fileData": {"mimeType": "application/octet-stream", "fileUri": "https://t.test/a"}},
        {"text": "no"},
    ]


def test_probabilities_are_told_with_the_finish() -> None:
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -1.0, "bytes": [98]}]}
    events: list[Event] = [TextDelta("a"), Logprobs((token,)), *END]
    for last in (documents(written(events))[-1], orjson.loads(G.write_reply(events, telling.context()))):
        types.GenerateContentResponse.model_validate(last)
        assert last["candidates"][0]["logprobsResult"] == {
            "chosenCandidates": [{"token": "a", "logProbability": -0.5}],
            "topCandidates": [{"candidates": [{"token": "b", "logProbability": -1.0}]}],
        }
        assert [event for event in G.read_reply(orjson.dumps(last)) if isinstance(event, Logprobs)] == [Logprobs((token,))]


def test_an_error_says_how_long_to_wait() -> None:
    status, body = G.write_error(ProxyError("slow", status=429, kind="rate_limit", headers={"Retry-After": "9"}), "req_1")
    assert (status, orjson.loads(body)["error"]["details"][0]["retryDelay"]) == (429, "9s")
