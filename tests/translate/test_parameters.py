"""The nine OpenAI-compatible parameters of Respan's API page: what of each reaches a provider of each dialect, sent by OpenAI's SDK.

They are messages, model, stream, temperature, max_tokens, top_p, tools, tool_choice, response_format.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest

from tests.conftest import StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider

CHAT, RESPONSES, CLAUDE, GEMINI = "openai.chat", "openai.responses", "anthropic.messages", "gemini"
MODELS = {CHAT: "gpt-4o", RESPONSES: "gpt-4.1", CLAUDE: "claude-sonnet-4-6", GEMINI: "gemini-2.5-flash"}
PATHS = {CHAT: "/v1/chat/completions", RESPONSES: "/v1/responses", CLAUDE: "/v1/messages"}
USER = {"role": "user", "content": "hi"}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": PARAMETERS, "strict": True}}
TOLD = {"name": "look", "description": "Looks."}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": PARAMETERS, "strict": True}}
HISTORY: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}],
    },
    {
        "role": "assistant",
        "content": "looking",
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"city":"Bern"}'}}],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Claim:
    """`reaches`: the members that the provider gets for the parameter, beyond what it gets without; `lost`: what the caller is told."""

    dialect: str
    reaches: Mapping[str, Any]
    lost: list[str] = field(default_factory=list)
    model: str = ""


TEMPERATURE = [
    Claim(CHAT, {"temperature": 1.5}),
    Claim(RESPONSES, {"temperature": 1.5}),
    Claim(RESPONSES, {}, ["temperature:dropped"], model="gpt-5.1-codex"),
    Claim(CLAUDE, {"temperature": 1.0}, ["temperature:clamped"]),
    Claim(CLAUDE, {}, ["temperature:dropped"], model="claude-opus-4-7"),
    Claim(GEMINI, {"generationConfig": {"temperature": 1.5}}),
]
MAX_TOKENS = [
    Claim(CHAT, {"max_tokens": 50}),
    Claim(RESPONSES, {"max_output_tokens": 50}),
    Claim(CLAUDE, {"max_tokens": 50}),
    Claim(GEMINI, {"generationConfig": {"maxOutputTokens": 50}}),
]
TOP_P = [
    Claim(CHAT, {"top_p": 0.5}),
    Claim(RESPONSES, {"top_p": 0.5}),
    Claim(RESPONSES, {}, ["top_p:dropped"], model="gpt-5.1-codex"),
    Claim(CLAUDE, {"top_p": 0.5}),
    Claim(CLAUDE, {}, ["top_p:dropped"], model="claude-opus-4-7"),
    Claim(GEMINI, {"generationConfig": {"topP": 0.5}}),
]
TOOLS: Mapping[str, Mapping[str, Any]] = {
    CHAT: {"tools": [TOOL]},
    RESPONSES: {"tools": [{"type": "function", **TOLD, "parameters": PARAMETERS, "strict": True}]},
    CLAUDE: {"tools": [{**TOLD, "input_schema": PARAMETERS, "strict": True}]},
    GEMINI: {"tools": [{"functionDeclarations": [{**TOLD, "parametersJsonSchema": PARAMETERS}]}]},
}
CHOICES: list[tuple[Any, Mapping[str, Any]]] = [
    ("auto", {RESPONSES: "auto", CLAUDE: {"type": "auto"}, GEMINI: {"mode": "AUTO"}}),
    ("none", {RESPONSES: "none", CLAUDE: {"type": "none"}, GEMINI: {"mode": "NONE"}}),
    ("required", {RESPONSES: "required", CLAUDE: {"type": "any"}, GEMINI: {"mode": "ANY"}}),
    (
        {"type": "function", "function": {"name": "look"}},
        {
            RESPONSES: {"type": "function", "name": "look"},
            CLAUDE: {"type": "tool", "name": "look"},
            GEMINI: {"mode": "ANY", "allowedFunctionNames": ["look"]},
        },
    ),
]
RESPONSE_FORMAT = [
    Claim(CHAT, {"response_format": FORMAT}),
    Claim(RESPONSES, {"text": {"format": {"type": "json_schema", "name": "place", "schema": PARAMETERS, "strict": True}}}),
    Claim(CLAUDE, {"output_config": {"format": {"type": "json_schema", "schema": PARAMETERS}}}),
    Claim(GEMINI, {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": PARAMETERS}}),
]
JSON_OBJECT = [
    Claim(CHAT, {"response_format": {"type": "json_object"}}),
    Claim(RESPONSES, {"text": {"format": {"type": "json_object"}}}),
    Claim(
        CLAUDE, {"system": "Respond with a single valid JSON value and nothing else."}, ["response_format.json_object:instructed"]
    ),
    Claim(GEMINI, {"generationConfig": {"responseMimeType": "application/json"}}),
]  # fmt: skip
MESSAGES = [
    Claim(CHAT, {"messages": HISTORY}),
    Claim(
        RESPONSES,
        {
            "instructions": "Be brief.",
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "see"},
                        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
                    ],
                },
                {"type": "message", "role": "assistant", "content": "looking"},
                {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"city":"Bern"}'},
                {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
            ],
        },
    ),
    Claim(
        CLAUDE,
        {
            "system": "Be brief.",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "see"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "looking"},
                        {"type": "tool_use", "id": "call_1", "name": "look", "input": {"city": "Bern"}},
                    ],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"}]},
            ],
        },
    ),
    Claim(
        GEMINI,
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "see"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]},
                {
                    "role": "model",
                    "parts": [{"text": "looking"}, {"functionCall": {"id": "call_1", "name": "look", "args": {"city": "Bern"}}}],
                },
                {"role": "user", "parts": [{"functionResponse": {"id": "call_1", "name": "look", "response": {"output": "sunny"}}}]},
            ],
        },
    ),
]  # fmt: skip


def rows(parameter: str, value: Any, claims: list[Claim], **beside: Any) -> list[Any]:
    named = f"{parameter}-{value}" if isinstance(value, str) else parameter
    return [
        pytest.param({parameter: value}, beside, claim, id=f"{named}-{claim.dialect}{f'-{claim.model}' * bool(claim.model)}")
        for claim in claims
    ]


def choices() -> list[Any]:
    written = []
    for value, said in CHOICES:
        claims = [Claim(CHAT, {"tool_choice": value}), *(Claim(name, {"tool_choice": said[name]}) for name in (RESPONSES, CLAUDE))]
        claims.append(Claim(GEMINI, {"toolConfig": {"functionCallingConfig": said[GEMINI]}}))
        written += rows("tool_choice", value, claims, tools=[TOOL])
    return written


@pytest.fixture
async def gpt(start_proxy: StartProxy, environ: dict[str, str], request: pytest.FixtureRequest) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI speaks both of its dialects, and is asked in the caller's; here it has the one that is claimed of."""
    claim = request.node.callspec.params.get("claim")
    dialect = claim.dialect if claim is not None else request.node.callspec.params["dialect"]
    only = {"providers": {"openai": {"dialects": [RESPONSES]}}} if dialect == RESPONSES else {}
    proxy = await start_proxy(only, environ)
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        yield client


async def asked(gpt: openai.AsyncOpenAI, provider: FakeProvider, **members: Any) -> tuple[dict[str, Any], list[str]]:
    """(the body that reached the provider, what the caller was told of losses)"""
    reply = await gpt.chat.completions.with_raw_response.create(**{"messages": [USER], **members})
    told = reply.headers.get("X-Respan-Warnings", "")
    return provider.last.json, told.split(", ") if told else []


@pytest.mark.parametrize(
    ("parameter", "beside", "claim"),
    [
        *rows("messages", HISTORY, MESSAGES, tools=[TOOL]),
        *rows("temperature", 1.5, TEMPERATURE),
        *rows("max_tokens", 50, MAX_TOKENS),
        *rows("top_p", 0.5, TOP_P),
        *rows("tools", [TOOL], [Claim(name, said, ["tools.strict:dropped"] if name == GEMINI else []) for name, said in TOOLS.items()]),
        *choices(),
        *rows("response_format", FORMAT, RESPONSE_FORMAT),
        *rows("response_format", {"type": "json_object"}, JSON_OBJECT),
    ],
)
async def test_a_parameter_reaches_the_provider_in_its_own_words(
    gpt: openai.AsyncOpenAI, provider: FakeProvider, parameter: dict[str, Any], beside: dict[str, Any], claim: Claim
) -> None:
    model = claim.model or MODELS[claim.dialect]
    without, told_anyway = await asked(gpt, provider, model=model, **beside)
    body, told = await asked(gpt, provider, model=model, **beside, **parameter)
    assert {name: value for name, value in body.items() if without.get(name) != value} == claim.reaches
    assert without.keys() <= body.keys()
    assert [notice for notice in told if notice not in told_anyway] == claim.lost
    assert provider.last.target == PATHS.get(claim.dialect, f"/v1beta/models/{model}:generateContent")


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("dialect", MODELS)
async def test_the_model_decides_who_is_asked_and_is_named_as_its_provider_does(
    gpt: openai.AsyncOpenAI, provider: FakeProvider, dialect: str, prefix: bool
) -> None:
    model = MODELS[dialect]
    company = {CLAUDE: "anthropic", GEMINI: "gemini"}.get(dialect, "openai")
    body, _ = await asked(gpt, provider, model=f"{company}/{model}" if prefix else model)
    assert body.get("model") == (None if dialect == GEMINI else model)
    assert provider.last.target == PATHS.get(dialect, f"/v1beta/models/{model}:generateContent")


@pytest.mark.parametrize("dialect", MODELS)
async def test_stream_is_asked_of_the_provider_and_arrives_piece_by_piece(
    gpt: openai.AsyncOpenAI, provider: FakeProvider, dialect: str
) -> None:
    model = MODELS[dialect]
    stream = await gpt.chat.completions.create(model=model, messages=[USER], stream=True)  # type: ignore[list-item]
    pieces = [choice.delta.content for part in [chunk async for chunk in stream] for choice in part.choices if choice.delta.content]
    assert "".join(pieces) == recordings.TEXT and len(pieces) > 1
    body = provider.last.json
    if dialect == GEMINI:
        assert provider.last.target == f"/v1beta/models/{model}:streamGenerateContent?alt=sse" and "stream" not in body
    else:
        assert body["stream"] is True
    assert body.get("stream_options") == ({"include_usage": True} if dialect == CHAT else None)
    whole, _ = await asked(gpt, provider, model=model, stream=False)
    assert not whole.get("stream")
