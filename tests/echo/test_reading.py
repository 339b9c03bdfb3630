from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.echo.reading import Reading, Tool, Turn, read

DIALECTS = ["openai.chat", "openai.responses", "anthropic.messages", "gemini"]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

# The same conversation as each dialect's SDK writes it: system, question, call, result.
TOLD: dict[str, Any] = {
    "openai.chat": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Weather?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "w", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "1", "content": "Sunny"},
        ],
        "tools": [{"type": "function", "function": {"name": "w", "parameters": SCHEMA}}],
    },
    "openai.responses": {
        "instructions": "Be brief.",
        "input": [
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "Weather?"}, {"type": "input_image", "image_url": "data:image/png;base64,AA"}],
            },
            {"type": "function_call", "call_id": "1", "name": "w", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": "Sunny"},
        ],
        "tools": [{"type": "function", "name": "w", "parameters": SCHEMA}, {"type": "web_search"}],
    },
    "anthropic.messages": {
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "Weather?"}, {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}],
            },
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "w", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "Sunny"}]}]},
        ],
        "tools": [{"name": "w", "input_schema": SCHEMA}, {"type": "web_search_20250305", "name": "web_search"}],
    },
    "gemini": {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Weather?"}, {"inlineData": {"mime_type": "image/png", "data": "AA"}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "w", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "w", "response": {"result": "Sunny"}}}]},
        ],
        "tools": [
            {"functionDeclarations": [{"name": "w", "parameters": {**SCHEMA, "type": "OBJECT"}}]},
            {"googleSearch": {}},
        ],
    },
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_same_conversation_reads_the_same_in_every_dialect(dialect: str) -> None:
    reading = read(dialect, TOLD[dialect])
    assert [turn.role for turn in reading.turns] == ["system", "user", "assistant", "tool"]
    assert (reading.turns[0].text, reading.question, reading.results) == ("Be brief.", "Weather?", ("Sunny",))
    assert reading.tools == (Tool("w", SCHEMA),)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai.chat", {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}),
        ("openai.responses", {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}}),
        ("anthropic.messages", {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
        ("gemini", {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}}),
        ("gemini", {"generation_config": {"response_mime_type": "application/json", "response_json_schema": SCHEMA}}),
        (
            "gemini",
            {"generationConfig": {"responseSchema": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}}},
        ),
    ],
)
def test_the_form_of_the_answer_is_found_where_the_dialect_asks_for_it(dialect: str, body: Any) -> None:
    assert read(dialect, body).schema == SCHEMA


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai.chat", {"response_format": {"type": "json_object"}}),
        ("openai.responses", {"text": {"format": {"type": "json_object"}}}),
        ("gemini", {"generationConfig": {"responseMimeType": "application/json"}}),
    ],
)
def test_any_object_is_a_form_too(dialect: str, body: Any) -> None:
    assert read(dialect, body).schema is True
    assert read(dialect, {}).schema is None


@pytest.mark.parametrize(
    ("dialect", "body", "choice", "allowed"),
    [
        ("openai.chat", {"tool_choice": "required"}, "required", set()),
        ("openai.chat", {"tool_choice": "none"}, "none", set()),
        ("openai.chat", {"tool_choice": {"type": "function", "function": {"name": "w"}}}, "required", {"w"}),
        (
            "openai.chat",
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "w"}}]},
                }
            },
            "auto",
            {"w"},
        ),
        ("openai.responses", {"tool_choice": {"type": "function", "name": "w"}}, "required", {"w"}),
        ("openai.responses", {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"name": "w"}]}}, "required", {"w"}),
        ("anthropic.messages", {"tool_choice": {"type": "any"}}, "required", set()),
        ("anthropic.messages", {"tool_choice": {"type": "tool", "name": "w"}}, "required", {"w"}),
        ("anthropic.messages", {"tool_choice": {"type": "auto"}}, "auto", set()),
        ("gemini", {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["w"]}}}, "required", {"w"}),
        ("gemini", {"tool_config": {"function_calling_config": {"mode": "NONE"}}}, "none", set()),
    ],
)
def test_the_tool_choice_is_read_in_every_spelling(dialect: str, body: Any, choice: str, allowed: set[str]) -> None:
    reading = read(dialect, body)
    assert (reading.choice, set(reading.allowed)) == (choice, allowed)


def test_a_remark_beside_a_tool_result_is_not_a_new_question() -> None:
    body = {
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "w", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "1", "content": "Sunny"},
                    {"type": "text", "text": "Remember to be brief."},
                ],
            },
        ]
    }
    reading = read("anthropic.messages", body)
    assert (reading.question, reading.results) == ("Weather?", ("Sunny",))


def test_results_before_a_new_question_no_longer_count() -> None:
    reading = Reading((Turn("user", "one"), Turn("tool", "Sunny"), Turn("assistant", "ok"), Turn("user", "two")))
    assert (reading.question, reading.results) == ("two", ())


def test_custom_tools_take_text() -> None:
    assert read("openai.chat", {"tools": [{"type": "custom", "custom": {"name": "sql"}}]}).tools == (Tool("sql", True, True),)
    assert read("openai.responses", {"tools": [{"type": "custom", "name": "sql"}]}).tools == (Tool("sql", True, True),)


def test_input_that_is_one_string_is_the_question() -> None:
    assert read("openai.responses", {"input": "Hello"}).question == "Hello"


def test_tokens_are_a_quarter_of_the_utf8_bytes() -> None:
    assert read("openai.responses", {"input": "日本語です"}).tokens == 4
    assert read("openai.chat", {}).tokens == 1


MEMBERS = """
    messages input contents system instructions tools tool_choice response_format text format output_config generationConfig toolConfig role
    content parts type function name parameters functionResponse tool_calls tool_result n stream_options functionDeclarations allowed_tools
"""
members = st.sampled_from(MEMBERS.split())
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | members | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(members, inner, max_size=4),
    max_leaves=15,
)


@given(st.sampled_from(DIALECTS), junk)
def test_any_json_reads_as_something(dialect: str, body: Any) -> None:
    reading = read(dialect, body)
    assert reading.tokens >= 1
    assert isinstance(reading.question, str)
