"""Whatever a client of any dialect wishes, what leaves for a provider of any dialect is what that company's own SDK could send."""

from __future__ import annotations

from typing import Any

import pytest

from respan_proxy.dialects import DIALECTS
from tests.dialects.crossing import assert_typed, swept
from tests.dialects.sound import assert_sound, complaints_of

# Wishes that change what is said or asked and have no counterpart; all others are carried, if with losses.
REFUSED = {
    ("openai.chat", "openai.responses"): {"history.sound"},
    ("openai.chat", "anthropic.messages"): {"history.sound"},
    ("gemini", "openai.responses"): {"history.sound"},
    ("gemini", "anthropic.messages"): {"history.sound"},
    ("openai.responses", "openai.chat"): {"history.pdf_link"},
    ("anthropic.messages", "openai.chat"): {"history.pdf_link"},
}


@pytest.mark.parametrize("target", DIALECTS)
@pytest.mark.parametrize("source", DIALECTS)
def test_every_outgoing_body_is_of_the_sdks_own_types_and_sound(source: str, target: str) -> None:
    refused = set()
    for name, model, body in swept(source, target):
        if body is not None:
            assert_typed(target, body, f"{name} for {model}")
            assert_sound(target, body, f"{name} for {model}")
        elif " " not in name:
            refused.add(name)
    assert refused == REFUSED.get((source, target), set())


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
OPEN = {"type": "object"}
USE = {"type": "tool_use", "id": "a", "name": "f", "input": {}}


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai.chat", {"messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}]}),
        ("openai.chat", {"messages": [{"role": "tool", "tool_call_id": "a", "content": "r"}]}),
        ("openai.chat", {"messages": [], "tool_choice": "auto"}),
        ("openai.responses", {"input": [{"type": "function_call", "call_id": "a"}]}),
        (
            "openai.responses",
            {"input": "a", "tools": [{"type": "function", "name": "f", "strict": True, "parameters": {"type": "object"}}]},
        ),
        ("anthropic.messages", {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": [USE]}]}),
        ("anthropic.messages", {"messages": [{"role": "user", "content": " "}]}),
        ("anthropic.messages", {"messages": [{"role": "user", "content": "a"}], "thinking": {"type": "adaptive"}, "temperature": 1}),
        (
            "gemini",
            {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f"}}]}, {"role": "user", "parts": [{"text": "a"}]}]},
        ),
    ],
)
def test_what_a_provider_would_refuse_is_found(dialect: str, body: dict[str, Any]) -> None:
    assert complaints_of(dialect, body)
