"""The first content of a stream is found in every dialect and spelling, and nothing that only opens a stream is taken for it."""

from __future__ import annotations

import pytest

from respan_proxy.dialects.first_words import first_words

DELTA = '{"choices":[{"index":0,"delta":%s,"finish_reason":null}]}'


@pytest.mark.parametrize(
    ("dialect", "frame", "says"),
    [
        ("openai.chat", DELTA % '{"role":"assistant","content":"","refusal":null}', False),
        ("openai.chat", DELTA % '{"role":"assistant","content":null,"tool_calls":[],"reasoning_content":null}', False),
        ("openai.chat", DELTA % '{"role": "assistant", "content": ""}', False),
        ("openai.chat", DELTA % '{"content":"a"}', True),
        ("openai.chat", DELTA % '{"content": "a"}', True),
        ("openai.chat", DELTA % '{"content":"\\""}', True),
        ("openai.chat", DELTA % '{"content":[{"type":"thinking"}]}', True),
        ("openai.chat", DELTA % '{"content":"","reasoning_content":"a"}', True),
        ("openai.chat", DELTA % '{"content":"","reasoning":"a"}', True),
        ("openai.chat", DELTA % '{"content":null,"refusal":"no"}', True),
        ("openai.chat", DELTA % '{"content":null,"tool_calls":[{"index":0}]}', True),
        ("openai.chat", DELTA % '{"content":""}' + "\n\ndata: " + DELTA % '{"content":"a"}', True),
        ("openai.responses", '{"type":"response.created","response":{"instructions":"be brief"}}', False),
        ("openai.responses", '{"type":"response.output_item.added","item":{"type":"message","content":[]}}', False),
        ("openai.responses", '{"type":"response.output_text.delta","delta":"a"}', True),
        ("openai.responses", '{"type":"response.function_call_arguments.delta","delta":"{"}', True),
        ("anthropic.messages", '{"type":"message_start","message":{"content":[]}}', False),
        ("anthropic.messages", '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}', False),
        ("anthropic.messages", '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}', True),
        ("gemini", '{"candidates":[{"content":{"parts":[{"text":""}]}}]}', False),
        ("gemini", '{"usageMetadata":{"promptTokenCount":4}}', False),
        ("gemini", '{"candidates": [{"content": {"parts": [{"text": "a"}]}}]}', True),
        ("gemini", '{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]}}]}', True),
    ],
)
def test_only_content_counts(dialect: str, frame: str, says: bool) -> None:
    chunks = [(1.0, b": ping\n\n"), (2.0, f"data: {frame}\n\n".encode())]
    assert first_words(dialect, chunks) == (2.0 if says else None)
