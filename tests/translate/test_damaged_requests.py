"""Damaged requests are refused before anyone is asked, as an error of the caller's own dialect that its SDK raises as a bad request.

A relay passes on what only its provider can judge: roles, parts and types in a body that is JSON. Those are asked of foreign models here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from google import genai

from tests.conftest import Proxy
from tests.fakes.provider import FakeProvider

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CHAT, RESPONSES, MESSAGES, GEMINI = "openai.chat", "openai.responses", "anthropic.messages", "gemini"
DOORS = {
    CHAT: "/chat/completions",
    RESPONSES: "/responses",
    MESSAGES: "/anthropic/v1/messages",
    GEMINI: "/google/gemini/v1beta/models/{model}:generateContent",
}
MODELS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-6", "gemini": "gemini-2.5-flash"}
AT_HOME = {CHAT: "openai", RESPONSES: "openai", MESSAGES: "anthropic", GEMINI: "gemini"}
ROUTES = [(client, provider) for client in DOORS for provider in MODELS]
FOREIGN = [(client, provider) for client, provider in ROUTES if AT_HOME[client] != provider]


def body(client: str, model: str, **more: Any) -> dict[str, Any]:
    said: Mapping[str, dict[str, Any]] = {
        CHAT: {"model": model, "messages": [{"role": "user", "content": "hi"}]},
        RESPONSES: {"model": model, "input": [{"role": "user", "content": "hi"}]},
        MESSAGES: {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]},
        GEMINI: {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
    }
    return {**said[client], **more}


def turns(client: str, *told: Any) -> dict[str, Any]:
    return {{CHAT: "messages", RESPONSES: "input", MESSAGES: "messages", GEMINI: "contents"}[client]: list(told)}


def limit(client: str, tokens: Any) -> dict[str, Any]:
    return {
        CHAT: {"max_tokens": tokens},
        RESPONSES: {"max_output_tokens": tokens},
        MESSAGES: {"max_tokens": tokens},
        GEMINI: {"generationConfig": {"maxOutputTokens": tokens}},
    }[client]


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"properties": {"a": value}}
    return value


def tool(client: str, schema: Any) -> dict[str, Any]:
    return {
        CHAT: {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]},
        RESPONSES: {"tools": [{"type": "function", "name": "f", "parameters": schema, "strict": False}]},
        MESSAGES: {"tools": [{"name": "f", "input_schema": schema}]},
        GEMINI: {"tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}]},
    }[client]


async def refused(proxy: Proxy, client: str, model: str, sent: bytes) -> str:
    """The message of a 400 in the caller's dialect."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(proxy.base + DOORS[client].format(model=model), data=sent, headers={"Content-Type": "application/json"}) as answer,
    ):
        told = await answer.json(content_type=None)
        assert answer.status == 400, told
    error = told["error"]
    if client == MESSAGES:
        assert told["type"] == "error" and error["type"] == "invalid_request_error"
    elif client == GEMINI:
        assert error["code"] == 400 and error["status"] == "INVALID_ARGUMENT"
    else:
        assert error["type"] == "invalid_request_error" and error.keys() >= {"param", "code"}
    message: str = error["message"]
    assert message
    return message


NOT_JSON: Mapping[str, bytes] = {
    "empty": b"",
    "cut": b'{"messages": [{"role": "us',
    "no object": b'["hi"]',
    "truncated UTF-8": b'{"x": "caf\xc3"}',
    "lone surrogate in bytes": b'{"x": "\xed\xa0\x80"}',
    "NaN": b'{"temperature": NaN}',
    "endless number": b'{"temperature": 1e}',
    "deeper than any reader goes": b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
}


@pytest.mark.parametrize("damage", NOT_JSON)
@pytest.mark.parametrize(("client", "name"), ROUTES)
async def test_what_is_no_json_object_goes_to_nobody(proxy: Proxy, provider: FakeProvider, client: str, name: str, damage: str) -> None:
    await refused(proxy, client, MODELS[name], NOT_JSON[damage])
    assert not provider.received


SMELL = {"type": "smell", "smell": "rose"}
UNKNOWN_PART = {CHAT: SMELL, RESPONSES: SMELL, MESSAGES: SMELL, GEMINI: {"smell": "rose"}}


def damaged(client: str, model: str, damage: str) -> tuple[dict[str, Any], str]:
    """The body, and what its refusal must name."""
    content = "parts" if client == GEMINI else "content"
    list_name = next(iter(turns(client)))
    match damage:
        case "turns of another type":
            return body(client, model, **{list_name: 7}), list_name
        case "a turn of another type":
            return body(client, model, **turns(client, 7)), list_name
        case "unknown role":
            return body(
                client, model, **turns(client, {"role": "wizard", content: [{"text": "hi"}] if client == GEMINI else "hi"})
            ), "wizard"
        case "unknown part":
            return body(client, model, **turns(client, {"role": "user", content: [UNKNOWN_PART[client]]})), "smell"
        case "content of another type":
            return body(client, model, **turns(client, {"role": "user", content: 7})), content
        case "a limit in words":
            return body(client, model, **limit(client, "many")), next(iter(limit(client, 0)))
        case "a limit of another type":
            return body(client, model, **limit(client, {"a": 1})), next(iter(limit(client, 0)))
        case _:
            return body(client, model, **tool(client, 7)), "tools"


DAMAGES = [
    "turns of another type",
    "a turn of another type",
    "unknown role",
    "unknown part",
    "content of another type",
    "a limit in words",
    "a limit of another type",
    "a schema of another type",
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("client", "name"), FOREIGN)
async def test_what_cannot_be_understood_is_refused_by_name(
    proxy: Proxy, provider: FakeProvider, client: str, name: str, damage: str
) -> None:
    sent, naming = damaged(client, MODELS[name], damage)
    assert naming in await refused(proxy, client, MODELS[name], json.dumps(sent).encode())
    assert not provider.received


@pytest.mark.parametrize(("client", "name"), FOREIGN)
async def test_a_schema_500_levels_deep_or_a_huge_number_ends_in_an_answer(
    proxy: Proxy, provider: FakeProvider, client: str, name: str
) -> None:
    for more in (tool(client, {"type": "object", **nested(250)}), limit(client, 10**30), limit(client, -1)):
        url = proxy.base + DOORS[client].format(model=MODELS[name])
        async with aiohttp.ClientSession() as session, session.post(url, json=body(client, MODELS[name], **more)) as answer:
            told = await answer.json(content_type=None)
        assert answer.status in (200, 400), told
        assert (answer.status == 400) == (told.get("error") is not None)


@pytest.mark.parametrize("name", MODELS)
async def test_each_sdk_raises_its_bad_request(proxy: Proxy, provider: FakeProvider, name: str) -> None:
    model, wizard = MODELS[name], [{"role": "wizard", "content": "hi"}]
    asked: Any
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as gpt:
        if name != "openai":
            with pytest.raises(openai.BadRequestError, match="wizard"):
                await gpt.chat.completions.create(model=model, messages=wizard)  # type: ignore[arg-type]
            with pytest.raises(openai.BadRequestError, match="wizard"):
                await gpt.responses.create(model=model, input=wizard)  # type: ignore[arg-type]
    if name != "anthropic":
        async with anthropic.AsyncAnthropic(api_key="any", base_url=f"{proxy.base}/anthropic", max_retries=0) as claude:
            with pytest.raises(anthropic.BadRequestError, match="wizard"):
                await claude.messages.create(model=model, max_tokens=9, messages=wizard)  # type: ignore[arg-type]
    if name != "gemini":
        client = genai.Client(api_key="any", http_options={"base_url": f"{proxy.base}/google/gemini"})
        with pytest.raises(genai.errors.ClientError, match="wizard") as caught:
            asked = [{"role": "wizard", "parts": [{"text": "hi"}]}]
            await client.aio.models.generate_content(model=model, contents=asked)
        assert caught.value.code == 400
        await client.aio.aclose()
    assert not provider.received
