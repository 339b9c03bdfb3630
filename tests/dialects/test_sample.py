"""Long streams are read at both ends: what they say of themselves is found there, and the tokens between are estimated."""

from __future__ import annotations

import pytest

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.observe import READ_BYTES, observe, sample
from tests.fakes import recordings

# In each dialect: a beginning, one frame of text to repeat, an end without usage and one with it.
LONG = {
    "openai.chat": (recordings.CHAT_STREAM[0], recordings.CHAT_STREAM[1], b"".join(recordings.CHAT_STREAM[-2:])),
    "anthropic.messages": (
        b"".join(recordings.MESSAGES_STREAM[:2]),
        recordings.MESSAGES_STREAM[3],
        b"".join(recordings.MESSAGES_STREAM[-3:]),
    ),
    "gemini": (recordings.GEMINI_STREAM[0], recordings.GEMINI_STREAM[0], recordings.GEMINI_STREAM[-1]),
}


@pytest.mark.parametrize("name", LONG)
def test_a_sample_says_what_reading_all_of_it_says(name: str) -> None:
    head, frame, tail = LONG[name]
    stream = head + frame * (READ_BYTES // len(frame) * 2) + tail
    whole = observe(DIALECTS[name], "generate", stream, streamed=True)
    seen = sample(DIALECTS[name], stream, len(stream))
    assert (seen.model, seen.response_id, seen.finish, seen.complete, seen.truncated) == (
        whole.model,
        whole.response_id,
        whole.finish,
        whole.complete,
        whole.truncated,
    )
    assert seen.usage is not None and whole.usage is not None and seen.usage.estimated == whole.usage.estimated
    assert seen.usage.output == pytest.approx(whole.usage.output, rel=0.02)


def test_a_stream_that_ends_in_the_middle_is_truncated_and_its_tokens_estimated() -> None:
    head, frame, _ = LONG["openai.chat"]
    stream = head + frame * (READ_BYTES // len(frame) * 2)
    seen = sample(DIALECTS["openai.chat"], stream, len(stream))
    whole = observe(DIALECTS["openai.chat"], "generate", stream, streamed=True)
    assert seen.truncated and seen.usage is not None and whole.usage is not None and seen.usage.estimated
    assert seen.usage.output == pytest.approx(whole.usage.output, rel=0.02)


def test_an_error_at_the_end_is_found() -> None:
    head, frame, _ = LONG["openai.chat"]
    error = b'data: {"error":{"message":"boom","type":"server_error","code":"boom"}}\n\n'
    seen = sample(DIALECTS["openai.chat"], head + frame * (READ_BYTES // len(frame) * 2) + error, READ_BYTES * 2)
    assert seen.error == "boom"


def test_of_a_list_of_megabytes_the_end_is_read() -> None:
    vectors = b'{"object":"list","data":[' + b",".join([b'{"embedding":[0.1,0.2]}'] * (READ_BYTES // 20)) + b"]"
    body = vectors + b',"model":"text-embedding-3-small","usage":{"prompt_tokens":7,"total_tokens":7}}'
    seen = observe(DIALECTS["openai.chat"], "embed", body, streamed=False)
    assert seen.usage is not None and (seen.model, seen.usage.prompt) == ("text-embedding-3-small", 7)
    assert observe(DIALECTS["gemini"], "embed", b'{"embeddings":[' + b"[0.1]," * READ_BYTES, streamed=False).usage is None
