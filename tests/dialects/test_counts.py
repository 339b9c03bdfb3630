"""Token counts across dialects: what is asked of a provider that can count, and what its client is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import MessageCountTokensParams, MessageTokensCount
from google.genai import types
from openai.types.responses import InputTokenCountParams
from openai.types.responses.input_token_count_response import InputTokenCountResponse

from respan_proxy.dialects.counts import Count, can_count, estimated, read_count, read_count_request, write_count, write_count_request
from respan_proxy.dialects.request import Profile
from tests.dialects.crossing import assert_typed
from tests.dialects.typed import complaints

TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
ASKED: dict[str, dict[str, Any]] = {
    "anthropic.messages": {"model": "m", "messages": [{"role": "user", "content": "hi"}], "system": "S", "tools": [TOOL]},
    "openai.responses": {
        "model": "m",
        "input": "hi",
        "instructions": "S",
        "tools": [{"type": "function", "name": "f", "parameters": TOOL["input_schema"], "strict": False}],
    },
    "gemini": {
        "generateContentRequest": {
            "model": "models/m",
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "systemInstruction": {"parts": [{"text": "S"}]},
            "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": TOOL["input_schema"]}]}],
        }
    },
}
TYPES: dict[str, Any] = {"anthropic.messages": MessageCountTokensParams, "openai.responses": InputTokenCountParams}


@pytest.mark.parametrize("client", ASKED)
@pytest.mark.parametrize("provider", ASKED)
def test_a_count_is_asked_as_each_provider_is_asked(client: str, provider: str) -> None:
    body = write_count_request(provider, read_count_request(client, ASKED[client], "m" if client == "gemini" else None), Profile())
    told = json.loads(json.dumps(body))
    if provider == "openai.responses":
        assert told.pop("input")[0]["content"] == [{"type": "input_text", "text": "hi"}]
        expected = dict(ASKED[provider])
        del expected["input"]
        assert told == expected
    else:
        assert told == ASKED[provider]
    if provider in TYPES:
        assert complaints(body, TYPES[provider]) == []
    else:
        assert_typed("gemini", {name: value for name, value in body["generateContentRequest"].items() if name != "model"})


def test_what_vertex_counts_is_not_wrapped() -> None:
    request = read_count_request("gemini", {"contents": [{"parts": [{"text": "hi"}]}]}, "m")
    body = write_count_request("gemini", request, Profile(refuses=frozenset(("generateContentRequest",))))
    assert body == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def test_limits_and_sampling_are_not_asked() -> None:
    request = read_count_request("anthropic.messages", {**ASKED["anthropic.messages"], "max_tokens": 5, "temperature": 0.5, "stream": True})
    assert write_count_request("anthropic.messages", request, Profile()).keys() == {"model", "messages", "system", "tools"}
    assert write_count_request("openai.responses", request, Profile()).keys() == {"model", "input", "instructions", "tools"}


def test_chat_cannot_be_asked() -> None:
    assert not can_count("openai.chat")
    with pytest.raises(LookupError):
        write_count_request("openai.chat", read_count_request("openai.responses", ASKED["openai.responses"]), Profile())


def test_each_answer_is_read_and_written_as_the_sdks_expect_it() -> None:
    said = {dialect: write_count(dialect, Count(7)) for dialect in ASKED}
    assert {dialect: read_count(dialect, body) for dialect, body in said.items()} == dict.fromkeys(ASKED, Count(7))
    assert MessageTokensCount.model_validate_json(said["anthropic.messages"], strict=True).input_tokens == 7
    assert InputTokenCountResponse.model_validate_json(said["openai.responses"], strict=True).input_tokens == 7
    assert types.CountTokensResponse.model_validate_json(said["gemini"]).total_tokens == 7


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"input_tokens":"7"}'])
def test_an_answer_without_a_count_is_none(body: bytes) -> None:
    assert read_count("anthropic.messages", body) is None


def test_what_nobody_can_count_is_estimated_and_says_so() -> None:
    assert estimated({"model": "m", "messages": [{"role": "user", "content": "12345678"}]}) == Count(3, estimated=True)
