"""Chat requests for Gemini, and requests for OpenAI's reasoning models. Each test names the number of its case; where each is claimed:

| case | in | claimed |
| --- | --- | --- |
| 51 | a schema with everything that JSON Schema has | here; tests/dialects/test_schemas.py for models that take OpenAPI only |
| 52 | properties that are named like keywords | here; tests/dialects/test_schemas.py |
| 53 | a call without arguments | here |
| 57 | images by URL | tests/translate/test_images.py |
| 59 | more stop words than Gemini takes | here |
| 60 | a schema for the answer | here |
| 61 | google-genai with nothing but a base URL | here |
| 63 | limits and sampling for reasoning models | here (from `/v1/messages` and Gemini) |
| 64 | system messages for reasoning models | here |

Cases 54, 58 and 62 do not exist.
"""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from google import genai

from tests.cases.conftest import USER, Ask, asking
from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider

GEMINI = "gemini-2.5-flash"
EVERYTHING: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "where": {"$ref": "#/$defs/Place"},
        "unit": {"const": "C"},
        "days": {"type": "integer", "exclusiveMinimum": 0, "multipleOf": 1, "default": 3},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "note": {"type": ["string", "null"]},
        "at": {"type": "string", "format": "date-time"},
    },
    "required": ["where"],
    "additionalProperties": False,
    "$defs": {"Place": {"type": "object", "properties": {"name": {"type": "string"}, "within": {"$ref": "#/$defs/Place"}}}},
}
NAMED = {"type": "object", "properties": {name: {"type": "string"} for name in ("default", "format", "$schema", "strict", "$ref")}}


def function(parameters: Any, **more: Any) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "look", "parameters": parameters, **more}}]


@pytest.mark.parametrize("model", [GEMINI, "gemini-3-pro-preview"])
async def test_c4_51_a_schema_is_told_in_the_member_that_takes_json_schema(ask: Ask, model: str) -> None:
    told = await ask("openai.chat", model, tools=function(EVERYTHING, strict=True))
    whole = {keyword: value for keyword, value in EVERYTHING.items() if keyword != "$schema"}
    assert told.sent["tools"] == [{"functionDeclarations": [{"name": "look", "parametersJsonSchema": whole}]}]
    assert told.warnings == ["tools.strict:dropped"]


async def test_c4_52_properties_that_are_named_like_keywords_are_kept(ask: Ask) -> None:
    told = await ask("openai.chat", GEMINI, tools=function(NAMED))
    assert told.sent["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == NAMED
    told = await ask("openai.chat", "claude-sonnet-4-6", tools=function({**NAMED, "additionalProperties": False}, strict=True))
    assert told.sent["tools"][0]["input_schema"]["properties"].keys() == NAMED["properties"].keys()


@pytest.mark.parametrize("arguments", ["", "{}"])
async def test_c4_53_no_arguments_are_an_empty_object(ask: Ask, arguments: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "look", "arguments": arguments}}
    messages = [USER, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "a", "content": "x"}]
    told = await ask("openai.chat", GEMINI, messages=messages, tools=function(NAMED))
    assert told.sent["contents"][1]["parts"] == [{"functionCall": {"id": "a", "name": "look", "args": {}}}]


async def test_c4_59_the_first_five_stop_words_are_kept_and_the_caller_is_told(ask: Ask) -> None:
    told = await ask("openai.chat", GEMINI, stop=list("abcdef"))
    assert told.sent["generationConfig"]["stopSequences"] == list("abcde") and told.warnings == ["stop:truncated"]


async def test_c4_60_a_schema_for_the_answer_is_kept(ask: Ask) -> None:
    format = {"type": "json_schema", "json_schema": {"name": "n", "schema": EVERYTHING, "strict": True}}
    config = (await ask("openai.chat", GEMINI, response_format=format)).sent["generationConfig"]
    whole = {keyword: value for keyword, value in EVERYTHING.items() if keyword != "$schema"}
    assert config == {"responseMimeType": "application/json", "responseJsonSchema": whole}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of aiohttp, in the SDK
@pytest.mark.parametrize("version", ["v1", "v1beta", None])
@pytest.mark.parametrize("model", [GEMINI, "gpt-4o", "claude-sonnet-4-6"])
async def test_c4_61_google_genai_is_answered_under_each_of_its_prefixes(
    proxy: Proxy, provider: FakeProvider, version: str | None, model: str
) -> None:
    options: Any = {"base_url": f"{proxy.base}/google/gemini", **({"api_version": version} if version else {})}
    client = genai.Client(api_key="any", http_options=options)
    reply = await client.aio.models.generate_content(model=model, contents="hi")
    assert reply.text == recordings.TEXT
    await client.aio.aclose()
    if model == GEMINI:
        assert provider.last.target.startswith(f"/{version or 'v1'}/models/")


REASONING = ["o3", "o4-mini", "gpt-5", "gpt-5-mini"]
SAMPLING = {"temperature", "top_p", "top_k", "stop", "frequency_penalty", "presence_penalty"}


@pytest.mark.parametrize("model", REASONING)
async def test_c4_63_reasoning_models_are_given_their_own_limit_and_no_sampling(ask: Ask, model: str) -> None:
    told = await ask("anthropic.messages", model, max_tokens=99, temperature=0.5, top_p=0.9, top_k=4, stop_sequences=["X"])
    assert told.sent["max_completion_tokens"] == 99
    assert not told.sent.keys() & (SAMPLING | {"max_tokens"})
    assert told.warnings == ["stop:dropped", "temperature:dropped", "top_p:dropped", "top_k:dropped"]
    config = {"maxOutputTokens": 99, "temperature": 0.5, "topP": 0.9, "stopSequences": ["X"], "presencePenalty": 0.5, "frequencyPenalty": 1}
    told = await ask("gemini", model, generationConfig=config)
    assert told.sent["max_completion_tokens"] == 99 and not told.sent.keys() & (SAMPLING | {"max_tokens"})


async def test_c4_63_chat_models_keep_their_sampling(ask: Ask) -> None:
    told = await ask("anthropic.messages", "gpt-4.1", max_tokens=99, temperature=0.5, top_p=0.9, stop_sequences=["X"])
    assert {name: told.sent[name] for name in ("max_completion_tokens", "temperature", "top_p", "stop")} == {
        "max_completion_tokens": 99,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["X"],
    }
    assert told.warnings == []


@pytest.mark.parametrize("model", REASONING)
async def test_c4_64_instructions_for_reasoning_models_stay_instructions(ask: Ask, model: str) -> None:
    told = await ask("anthropic.messages", model, system="Be brief.")
    assert told.sent["messages"][0]["role"] in ("system", "developer") and told.sent["messages"][0]["content"] == "Be brief."
    told = await ask("gemini", model, systemInstruction={"parts": [{"text": "Be brief."}]})
    assert told.sent["messages"][0]["role"] in ("system", "developer") and told.sent["messages"][0]["content"] == "Be brief."
    native = [{"role": "system", "content": "Be brief."}, USER]
    assert (await ask("openai.chat", model, messages=native)).sent["messages"] == native


async def test_c4_63_a_local_server_keeps_the_old_word(
    start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"providers": {"vllm": {"base_url": f"{provider.url}/v1"}}}, environ)
    told = await asking(proxy, provider, client)("anthropic.messages", "vllm/qwen3", max_tokens=99, temperature=0.5, top_k=4)
    assert (told.sent["max_tokens"], told.sent["temperature"], told.sent["top_k"]) == (99, 0.5, 4)
    assert "max_completion_tokens" not in told.sent and told.warnings == []
