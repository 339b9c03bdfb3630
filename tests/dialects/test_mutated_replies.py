"""A provider's events with one value turned into something else: every reader goes on, and every client's own SDK reads what is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google.genai import errors as genai_errors
from google.genai import types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.events import End, Event, Failure
from respan_proxy.dialects.observe import glance, observe
from respan_proxy.wire.json_array import Decoder as Elements
from respan_proxy.wire.sse import Decoder
from tests.dialects import vectors
from tests.dialects.telling import context

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SDKs warn of the age of models

_DEEP = '{"x":[' * 130 + "7" + "]}" * 130  # deeper than orjson writes
_OTHER = ["null", "true", "7", "-1", str(2**70), "0.5", '""', '"x"', '"\\ud83d"', "[]", '["x"]', "[[]]", "{}", '{"x":null}', "[{}]", _DEEP]
OTHER = st.sampled_from(_OTHER).map(json.loads)  # each time anew: it may be changed again


def payloads(stream: bytes) -> list[Any]:
    """The JSON of each event of a recorded stream."""
    if stream.lstrip()[:1] == b"[":
        decoder = Elements()
        return [json.loads(text) for text in decoder.feed(stream) + decoder.close()]
    frames = Decoder()
    told = []
    for frame in frames.feed(stream) + frames.close():
        try:
            told.append(json.loads(frame.data))
        except ValueError:
            continue
    return told


def places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every member of every object and array inside, 20 levels down: where, and under which name."""
    if depth == 20:
        return
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, name
        yield from places(inner, depth + 1)


RECORDED = [
    (vectors.provider(case.values[0]).name, told)
    for case in vectors.STREAMED
    if (told := payloads(vectors.blob(case.values[0]["upstream_response"]["stream"])))
]


def change(draw: st.DrawFn, told: list[Any]) -> list[Any]:
    """A copy of what a provider said of which one value, or several, is not what it should be."""
    told = json.loads(json.dumps(told))
    for _ in range(draw(st.integers(1, 3))):
        event = draw(st.integers(0, len(told) - 1))
        found = list(places(told[event]))
        if found:
            holder, member = found[draw(st.integers(0, len(found) - 1))]
            holder[member] = draw(OTHER)
    return told


WHOLE = [
    (vectors.provider(case.values[0]).name, answer["body"])
    for case in vectors.ANSWERED
    if isinstance((answer := case.values[0]["upstream_response"]).get("body"), dict) and answer["status"] == 200
]


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """(dialect, a stream with such events, and perhaps with one that is nothing of the kind)"""
    name, told = draw(st.sampled_from(RECORDED))
    told = change(draw, told)
    if draw(st.booleans()):
        told.insert(draw(st.integers(0, len(told))), draw(OTHER))
    if draw(st.booleans()):
        told.insert(draw(st.integers(0, len(told))), {"type": "of tomorrow", "object": "x", "new": [1]})
    end = b"data: [DONE]\n\n" if name == "openai.chat" else b""
    return name, b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in told) + end


@st.composite
def mutated_whole(draw: st.DrawFn) -> tuple[str, bytes]:
    name, told = draw(st.sampled_from(WHOLE))
    return name, json.dumps(change(draw, [told])[0]).encode()


def read(name: str, pieces: list[bytes]) -> list[Event]:
    reader = DIALECTS[name].reader()
    return [event for piece in pieces for event in reader.feed(piece)] + reader.close()


def written(name: str, events: list[Event]) -> bytes:
    writer = DIALECTS[name].writer(context())
    return b"".join([writer.feed(event) for event in events]) + writer.close()


def answering(body: bytes) -> Any:
    """What an OpenAI or Anthropic client is made of, to be answered with this stream."""
    answer = httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, content=body)
    transport = httpx2.MockTransport(lambda request: answer)
    return {"api_key": "x", "base_url": "http://t", "max_retries": 0, "http_client": httpx2.Client(transport=transport)}


def by_chat(body: bytes) -> None:
    with openai.OpenAI(**answering(body)) as client, client.chat.completions.stream(model="m", messages=[]) as stream:
        try:
            stream.get_final_completion()
        except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError):
            return  # it read all of it, and does not like how it ended


def by_responses(body: bytes) -> None:
    with openai.OpenAI(**answering(body)) as client, client.responses.stream(model="m", input="x") as stream:
        for event in stream:
            if event.type == "response.failed":
                raise openai.OpenAIError("failed")
            if event.type == "response.incomplete":  # an end like any other, which the helper does not take for one
                return
        stream.get_final_response()


def by_messages(body: bytes) -> None:
    with anthropic.Anthropic(**answering(body)) as client, client.messages.stream(model="m", max_tokens=9, messages=[]) as stream:
        stream.get_final_message()


def by_gemini(body: bytes) -> None:
    """Its SDK looks at each event alone: an error in it is raised, the rest is validated."""
    for payload in payloads(body):
        if "error" in payload:
            raise genai_errors.APIError(payload["error"]["code"], payload)
        types.GenerateContentResponse.model_validate(payload)


CLIENTS: dict[str, tuple[Callable[[bytes], None], type[Exception]]] = {
    "openai.chat": (by_chat, openai.OpenAIError),
    "openai.responses": (by_responses, openai.OpenAIError),
    "anthropic.messages": (by_messages, anthropic.AnthropicError),
    "gemini": (by_gemini, genai_errors.APIError),
}


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(mutated(), st.lists(st.integers(0), max_size=4))
def test_a_value_of_another_type_makes_no_reader_raise_nor_end_without_a_word(told: tuple[str, bytes], at: list[int]) -> None:
    name, stream = told
    events = read(name, [stream])
    assert [type(event) in (End, Failure) for event in events] == [False] * (len(events) - 1) + [True]
    ends = sorted(place % (len(stream) + 1) for place in at)
    pieces = [stream[start:end] for start, end in zip([0, *ends], [*ends, len(stream)], strict=True)]
    assert repr(read(name, pieces)) == repr(events)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("client", CLIENTS)
@given(told=mutated())
def test_what_is_written_of_it_is_read_by_the_clients_own_sdk(client: str, told: tuple[str, bytes]) -> None:
    name, stream = told
    events = read(name, [stream])
    reads, refuses = CLIENTS[client]
    body = written(client, events)
    if isinstance(events[-1], Failure):
        with pytest.raises(refuses):
            reads(body)
    else:
        reads(body)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(mutated_whole())
def test_a_whole_answer_with_such_a_value_is_an_answer_or_a_failure_in_every_dialect(told: tuple[str, bytes]) -> None:
    name, body = told
    events = DIALECTS[name].read_reply(body)
    assert isinstance(events[-1], (End, Failure))
    if isinstance(events[-1], End):
        for dialect in DIALECTS.values():
            again = dialect.read_reply(dialect.write_reply(events, context()))
            assert isinstance(again[-1], End)
    observe(DIALECTS[name], "generate", body, streamed=False)
    glance(DIALECTS[name], body, streamed=False)
