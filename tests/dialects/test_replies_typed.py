"""Whatever a provider says, what a client is told is of its own SDK's response types: nothing missing, nothing mistyped, every frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from hypothesis import given, settings
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.events import Event
from respan_proxy.wire.sse import Decoder
from tests.dialects import telling, vectors

WHOLE: dict[str, TypeAdapter[Any]] = {
    "openai.chat": TypeAdapter(ChatCompletion),
    "openai.responses": TypeAdapter(Response),
    "anthropic.messages": TypeAdapter(Message),
    "gemini": TypeAdapter(GenerateContentResponse),
}
FRAMES: dict[str, TypeAdapter[Any]] = {
    "openai.chat": TypeAdapter(ChatCompletionChunk),
    "openai.responses": TypeAdapter(ResponseStreamEvent),
    "anthropic.messages": TypeAdapter(RawMessageStreamEvent),
    "gemini": TypeAdapter(GenerateContentResponse),
}
# What a request may ask back: chat's usage chunk, encrypted reasoning, thoughts.
ASKED: dict[str, bool] = {"include_usage": True, "encrypted_reasoning": True, "include_thoughts": True}


def frames(stream: bytes) -> Iterator[bytes]:
    decoder = Decoder()
    for frame in [*decoder.feed(stream), *decoder.close()]:
        if frame.data != "[DONE]":
            yield frame.data.encode()


def fits(adapter: TypeAdapter[Any], document: bytes) -> None:
    """JSON mode is strict but for what JSON has no form of: bytes, enums, dates."""
    try:
        adapter.validate_json(document, strict=True)
    except ValueError as refused:
        raise AssertionError(f"{refused}\n{document.decode()}") from None


def told(dialect: str, events: list[Event], asked: dict[str, bool]) -> None:
    fits(WHOLE[dialect], DIALECTS[dialect].write_reply(events, telling.context(**asked)))
    writer = DIALECTS[dialect].writer(telling.context(**asked))
    stream = b"".join(writer.feed(event) for event in events) + writer.close()
    said = list(frames(stream))
    assert said
    for frame in said:
        fits(FRAMES[dialect], frame)


@pytest.mark.parametrize("asked", [{}, ASKED])
@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=40)  # each is written twice, and validated frame by frame
@given(events=telling.replies())
def test_any_reply_is_of_the_sdks_types(dialect: str, asked: dict[str, bool], events: list[Event]) -> None:
    told(dialect, events, asked)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_recorded_reply_is_of_the_sdks_types(dialect: str) -> None:
    seen = 0
    for case in vectors.ANSWERED:
        (vector,) = case.values
        answer = vector["upstream_response"]
        if answer["status"] != 200:
            continue
        provider = vectors.provider(vector)
        if "stream" in answer:
            reader = provider.reader()
            events = [*reader.feed(vectors.blob(answer["stream"])), *reader.close()]
        else:
            events = list(provider.read_reply(vectors.body(answer)))
        if not any(type(event).__name__ == "Failure" for event in events):
            told(dialect, events, ASKED)
            seen += 1
    assert seen > 50
