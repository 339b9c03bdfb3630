"""What holds for the readers of all dialects: no bytes make them raise, and no cut makes them hear anything else."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.events import End, Event, Failure
from respan_proxy.dialects.observe import observe
from respan_proxy.errors import ProxyError
from tests.dialects import vectors

# Words that dialects look for, so that garbage gets past the first test of a reader.
VOCABULARY = """
choices delta message content text role tool_calls index id type function name arguments finish_reason usage error code reasoning
reasoning_content reasoning_details format data signature refusal logprobs annotations url_citation images image_url url x_groq
extra_content google thought_signature audio transcript function_call custom input message_start message_delta message_stop
content_block_start content_block_delta content_block_stop content_block text_delta thinking thinking_delta signature_delta
input_json_delta partial_json citations_delta citation stop_reason stop_details tool_use redacted_thinking citations
anthropic-claude-v1 stop prompt_tokens ping details reason candidates parts functionCall args finishReason STOP usageMetadata
promptFeedback groundingMetadata response output item part output_index content_index response.created response.completed
response.failed response.output_item.added response.output_item.done response.output_text.delta summary
"""
WORD = st.sampled_from(VOCABULARY.split())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats(allow_nan=False) | WORD | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORD, inner, max_size=5),
    max_leaves=25,
)
OBJECT = st.dictionaries(WORD, JSON, min_size=1, max_size=6)
FRAME = st.builds(
    lambda payload, named: (f"event: {named}\n" if named else "") + "data: " + json.dumps(payload) + "\n\n",
    OBJECT,
    st.none() | WORD,
)
NAME = st.sampled_from(sorted(DIALECTS))
STREAMS = [(vectors.provider(case.values[0]).name, case.values[0]["upstream_response"]["stream"]) for case in vectors.STREAMED]


def read(name: str, pieces: list[bytes]) -> tuple[list[Event], bool]:
    reader = DIALECTS[name].reader()
    events = [event for piece in pieces for event in reader.feed(piece)] + reader.close()
    return events, reader.complete


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    return [text for inner in value for text in strings(inner)] if isinstance(value, list) else [value] if isinstance(value, str) else []


def cut(data: bytes, at: list[int]) -> list[bytes]:
    return [data[start:end] for start, end in pairwise([0, *sorted(place % (len(data) + 1) for place in at), len(data)])]


@given(NAME, st.binary(max_size=200))
def test_bytes_that_are_no_stream_are_a_failure(name: str, garbage: bytes) -> None:
    events, complete = read(name, [garbage])
    if not complete:
        assert isinstance(events[-1], Failure)


@given(NAME, st.lists(FRAME, max_size=5).map("".join), st.lists(st.integers(0), max_size=4))
def test_json_that_is_no_reply_never_raises_and_reads_the_same_under_any_cut(name: str, stream: str, at: list[int]) -> None:
    data = stream.encode()
    assert repr(read(name, cut(data, at))) == repr(read(name, [data]))
    observe(DIALECTS[name], "generate", data, streamed=True)


@given(st.sampled_from(STREAMS), st.lists(st.integers(0), max_size=6))
def test_a_stream_reads_the_same_under_any_cut(told: tuple[str, dict[str, Any]], at: list[int]) -> None:
    name, stream = told
    data = vectors.blob(stream)
    assert read(name, cut(data, at)) == read(name, [data])


@given(st.sampled_from(STREAMS), st.integers(0), st.binary(max_size=8))
def test_a_damaged_stream_never_raises(told: tuple[str, dict[str, Any]], place: int, damage: bytes) -> None:
    name, stream = told
    data = vectors.blob(stream)
    place %= len(data)
    events, complete = read(name, [data[:place] + damage + data[place + len(damage) :]])
    assert complete or isinstance(events[-1], Failure)


@pytest.mark.parametrize(("name", "stream"), STREAMS)
def test_a_stream_is_complete_when_its_provider_had_the_last_word(name: str, stream: dict[str, Any]) -> None:
    events, complete = read(name, [vectors.blob(stream)])
    broke_off = isinstance(events[-1], Failure) and events[-1].message.startswith(("Upstream stream ended", "Upstream sent malformed"))
    assert complete is not broke_off


@pytest.mark.parametrize(("name", "stream"), STREAMS)
def test_nothing_is_said_after_the_last_word(name: str, stream: dict[str, Any]) -> None:
    events, _ = read(name, [vectors.blob(stream) * 2])
    last = [event for event in events if isinstance(event, (End, Failure))]
    assert len(last) == 1
    assert events[-1] is last[0]


@given(NAME, JSON | st.binary(max_size=50))
def test_a_whole_body_that_is_no_reply_never_raises(name: str, body: Any) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    dialect = DIALECTS[name]
    events = dialect.read_reply(data)
    assert isinstance(events[-1], (End, Failure))
    for kind in ("generate", "embed", "count", "passthrough"):
        for status in (200, 500):
            observe(dialect, kind, data, status=status, streamed=False)


@given(NAME, st.integers(100, 700), JSON | st.binary(max_size=50))
def test_an_error_of_any_shape_becomes_an_answer_of_every_dialect(name: str, status: int, body: Any) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = DIALECTS[name].read_error(status, data)
    assert 400 <= error.status <= 599
    assert error.message
    for dialect in DIALECTS.values():
        answered, told = dialect.write_error(error, "req_1")
        assert 400 <= answered <= 599
        assert error.message in strings(orjson.loads(told))


@given(NAME, st.binary(max_size=60) | FRAME.map(str.encode))
def test_last_words_can_be_read_by_the_dialect_itself(name: str, received: bytes) -> None:
    dialect = DIALECTS[name]
    words = dialect.interruption(received, ProxyError("the provider went away", status=502, kind="bad_gateway"), "req_1")
    reader = dialect.reader()
    failure = (reader.feed(words) + reader.close())[-1]
    assert isinstance(failure, Failure)
    assert failure.message == "the provider went away"
