"""A glance at an answer, for its row, never contradicts the reading of all of it."""

from __future__ import annotations

from typing import Any

import pytest

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.dialect import Dialect
from respan_proxy.dialects.observe import Observed, glance, observe
from tests.dialects import vectors
from tests.fakes import recordings

STREAMS = {
    "openai.chat": [
        recordings.CHAT_STREAM,
        recordings.CHAT_TOOLS_STREAM,
        [*recordings.CHAT_STREAM[:-1], recordings.CHAT_USAGE, b"data: [DONE]\n\n"],
    ],
    "openai.responses": [recordings.RESPONSES_STREAM, recordings.RESPONSES_TOOLS_STREAM],
    "anthropic.messages": [recordings.MESSAGES_STREAM, recordings.MESSAGES_TOOLS_STREAM],
    "gemini": [recordings.GEMINI_STREAM, recordings.GEMINI_TOOLS_STREAM],
}


def agree(seen: Observed, full: Observed) -> None:
    assert full.complete and not full.truncated and full.error is None
    assert (seen.usage, seen.model, seen.response_id) == (full.usage, full.model, full.response_id)
    assert (seen.finish, seen.calls_tools) == (full.finish, full.calls_tools)


@pytest.mark.parametrize("vector", vectors.ANSWERED)
def test_of_every_recorded_answer(vector: dict[str, Any]) -> None:
    dialect, told = vectors.provider(vector), vector["upstream_response"]
    if told["status"] >= 400:
        return
    streamed = "stream" in told and b"data:" in vectors.blob(told["stream"])
    answer = vectors.blob(told["stream"]) if "stream" in told else vectors.body(told)
    seen = glance(dialect, answer, streamed=streamed)
    if seen is not None:
        agree(seen, observe(dialect, "generate", answer, streamed=streamed))


@pytest.mark.parametrize(("dialect", "stream"), [(DIALECTS[name], stream) for name, streams in STREAMS.items() for stream in streams])
@pytest.mark.parametrize("padding", [0, 100])
def test_of_streams_of_any_length(dialect: Dialect, stream: list[bytes], padding: int) -> None:
    """Long ones: with one delta in the middle said a hundred times."""
    middle = len(stream) // 2
    chunks = [*stream[:middle], *[stream[middle - 1]] * padding, *stream[middle:]]
    seen = glance(dialect, b"".join(chunks), streamed=True)
    if seen is not None:
        agree(seen, observe(dialect, "generate", b"".join(chunks), streamed=True))


def test_the_usual_answers_need_no_more_than_a_glance() -> None:
    chat = DIALECTS["openai.chat"]
    long = [
        recordings.CHAT_STREAM[0],
        *[recordings.CHAT_STREAM[1]] * 20,
        *recordings.CHAT_STREAM[-2:-1],
        recordings.CHAT_USAGE,
        b"data: [DONE]\n\n",
    ]
    assert glance(chat, b"".join(long), streamed=True) is not None
    assert glance(chat, vectors.json.dumps(recordings.CHAT).encode(), streamed=False) is not None


def test_an_error_in_the_middle_is_not_overlooked() -> None:
    chat = DIALECTS["openai.chat"]
    error = b'data: {"error":{"message":"boom","type":"server_error"}}\n\n'
    chunks = [
        recordings.CHAT_STREAM[0],
        *[recordings.CHAT_STREAM[1]] * 5,
        error,
        *[recordings.CHAT_STREAM[1]] * 5,
        *recordings.CHAT_STREAM[-2:],
    ]
    assert glance(chat, b"".join(chunks), streamed=True) is None
