"""Structured output crosses every pair: each SDK's own helper parses what any provider's model answered, whole and streamed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from pydantic import BaseModel

from tests.conftest import Proxy, StartProxy
from tests.fakes.provider import FakeProvider
from tests.fakes.turns import Turn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class City(BaseModel):
    name: str
    people: int


BERN = City(name="Bern ☃", people=134_506)
ANSWER = '{"name":"Bern ☃","people":134506}'
TOOL = "json_tool_call"

Parse = Callable[[str, str, bool], Awaitable[City | None]]
"""(base, model, streams): what the SDK's helper parsed."""


async def chat(base: str, model: str, streams: bool) -> City | None:
    async with openai.AsyncOpenAI(api_key="any", base_url=base, max_retries=0) as client:
        ask: Any = {"model": model, "messages": [{"role": "user", "content": "Which city?"}], "response_format": City}
        if streams:
            async with client.chat.completions.stream(**ask) as stream:
                said: Any = await stream.get_final_completion()
        else:
            said = await client.chat.completions.parse(**ask)
        [choice] = said.choices
        assert choice.finish_reason == "stop" and not choice.message.tool_calls
        return cast("City | None", choice.message.parsed)


async def responses(base: str, model: str, streams: bool) -> City | None:
    async with openai.AsyncOpenAI(api_key="any", base_url=base, max_retries=0) as client:
        if streams:
            async with client.responses.stream(model=model, input="Which city?", text_format=City) as stream:
                said = await stream.get_final_response()
        else:
            said = await client.responses.parse(model=model, input="Which city?", text_format=City)
        assert said.status == "completed" and [item.type for item in said.output] == ["message"]
        return said.output_parsed


async def messages(base: str, model: str, streams: bool) -> City | None:
    async with anthropic.AsyncAnthropic(api_key="any", base_url=f"{base}/anthropic", max_retries=0) as client:
        ask: Any = {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": "Which city?"}], "output_format": City}
        if streams:
            async with client.messages.stream(**ask) as stream:
                said: Any = await stream.get_final_message()
        else:
            said = await client.messages.parse(**ask)
        assert said.stop_reason == "end_turn" and [block.type for block in said.content] == ["text"]
        return cast("City | None", said.parsed_output)


async def generate_content(base: str, model: str, streams: bool) -> City | None:
    client = genai.Client(api_key="any", http_options={"base_url": f"{base}/google/gemini"})
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=City)
    try:
        if streams:
            pieces = await client.aio.models.generate_content_stream(model=model, contents="Which city?", config=config)
            return City.model_validate_json("".join([piece.text or "" async for piece in pieces]))
        said = await client.aio.models.generate_content(model=model, contents="Which city?", config=config)
        assert said.function_calls is None and said.candidates is not None
        assert said.candidates[0].finish_reason == types.FinishReason.STOP
        return cast("City | None", said.parsed)
    finally:
        await client.aio.aclose()


CLIENTS: Mapping[str, Parse] = {"chat": chat, "responses": responses, "messages": messages, "generate_content": generate_content}

# By model, where the body says the schema: a server of chat alone, OpenAI in Responses, Claude with schemas and before, Gemini.
SCHEMAS: Mapping[str, tuple[str, ...]] = {
    "mine/qwen3": ("response_format", "json_schema", "schema"),
    "gpt-5-codex": ("text", "format", "schema"),
    "claude-sonnet-4-6": ("output_config", "format", "schema"),
    "claude-sonnet-4-20250514": ("tools", "0", "input_schema"),
    "gemini-2.5-flash": ("generationConfig", "responseJsonSchema"),
}
NATIVE = {("messages", "claude-sonnet-4-20250514"), ("messages", "claude-sonnet-4-6"), ("generate_content", "gemini-2.5-flash")}


@pytest.fixture
async def proxy(start_proxy: StartProxy, environ: Mapping[str, str], provider: FakeProvider) -> Proxy:
    return await start_proxy({"providers": {"mine": {"base_url": f"{provider.url}/v1", "auth": "none"}}}, environ)


def schema_in(body: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        body = body[int(name)] if name.isdigit() else body[name]
    return body


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("model", SCHEMAS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_schema_is_asked_for_and_its_answer_parsed(
    proxy: Proxy, provider: FakeProvider, client: str, model: str, streams: bool
) -> None:
    by_tool = model == "claude-sonnet-4-20250514" and client != "messages"
    provider.will(Turn(calls=[(TOOL, BERN.model_dump())]) if by_tool else Turn(text=ANSWER))
    assert await CLIENTS[client](proxy.base, model, streams) == BERN
    if (client, model) in NATIVE:
        return  # the caller's own bytes; who speaks a provider's dialect is told what it takes by the provider
    schema = schema_in(provider.last.json, SCHEMAS[model])
    assert (
        schema["type"] == "object" and schema["properties"].keys() == {"name", "people"} and set(schema["required"]) == {"name", "people"}
    )
    if by_tool:
        assert provider.last.json["tool_choice"] == {"type": "tool", "name": TOOL}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", ["chat", "responses", "generate_content"])
async def test_thoughts_before_the_answer_do_not_get_into_it(proxy: Proxy, provider: FakeProvider, client: str, streams: bool) -> None:
    provider.will(Turn(thought="Bern it is.", text=ANSWER))
    if client == "responses":
        async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as gpt:
            said = await gpt.responses.parse(model="claude-sonnet-4-6", input="Which city?", text_format=City)
            assert said.output_parsed == BERN and [item.type for item in said.output] == ["reasoning", "message"]
        return
    assert await CLIENTS[client](proxy.base, "claude-sonnet-4-6", streams) == BERN


OBJECT = {
    "mine/qwen3": ("response_format", {"type": "json_object"}),
    "gpt-5-codex": ("text", {"format": {"type": "json_object"}}),
    "claude-sonnet-4-6": ("system", "Respond with a single valid JSON value and nothing else."),
    "claude-sonnet-4-20250514": ("system", "Respond with a single valid JSON value and nothing else."),
    "gemini-2.5-flash": ("generationConfig", {"responseMimeType": "application/json"}),
}


async def json_by_chat(base: str, model: str) -> tuple[str | None, str | None]:
    async with openai.AsyncOpenAI(api_key="any", base_url=base, max_retries=0) as client:
        ask: Any = {"model": model, "messages": [{"role": "user", "content": "JSON!"}], "response_format": {"type": "json_object"}}
        raw = await client.chat.completions.with_raw_response.create(**ask)
        return raw.parse().choices[0].message.content, raw.headers.get("X-Respan-Warnings")


async def json_by_responses(base: str, model: str) -> tuple[str | None, str | None]:
    async with openai.AsyncOpenAI(api_key="any", base_url=base, max_retries=0) as client:
        raw = await client.responses.with_raw_response.create(model=model, input="JSON!", text={"format": {"type": "json_object"}})
        return raw.parse().output_text, raw.headers.get("X-Respan-Warnings")


async def json_by_gemini(base: str, model: str) -> tuple[str | None, str | None]:
    client = genai.Client(api_key="any", http_options={"base_url": f"{base}/google/gemini"})
    config = types.GenerateContentConfig(response_mime_type="application/json")
    try:
        said = await client.aio.models.generate_content(model=model, contents="JSON!", config=config)
        assert said.sdk_http_response is not None and said.sdk_http_response.headers is not None
        headers = {name.lower(): value for name, value in said.sdk_http_response.headers.items()}
        return said.text, headers.get("x-respan-warnings")
    finally:
        await client.aio.aclose()


@pytest.mark.parametrize("model", OBJECT)
@pytest.mark.parametrize("ask", [json_by_chat, json_by_responses, json_by_gemini])  # Claude's dialect has no such mode
async def test_json_without_a_schema_is_asked_for_as_each_provider_knows_it(
    proxy: Proxy, provider: FakeProvider, ask: Callable[[str, str], Awaitable[tuple[str | None, str | None]]], model: str
) -> None:
    provider.will(Turn(text=ANSWER))
    said, warned = await ask(proxy.base, model)
    assert said == ANSWER
    name, value = OBJECT[model]
    assert provider.last.json[name] == value
    assert warned == ("response_format.json_object:instructed" if name == "system" else None)
