"""Models that their provider serves in one of its dialects only are asked in that one, and the caller hears their own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, streamed, whole

HI: Any = [{"role": "user", "content": "hi"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
async def gpt(proxy: Proxy) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        yield client


@pytest.mark.parametrize(
    "model",
    [
        "gpt-5-codex",
        "gpt-5.1-codex-max",
        "gpt-5.3-codex",
        "codex-mini-latest",
        "gpt-5-pro",
        "gpt-5.2-pro-2025-12-11",
        "o1-pro",
        "o3-pro",
        "o4-mini-deep-research",
    ],
)
async def test_a_chat_client_reaches_models_of_responses(gpt: openai.AsyncOpenAI, provider: FakeProvider, model: str) -> None:
    said = await gpt.chat.completions.create(model=model, messages=HI, max_completion_tokens=50)
    assert said.choices[0].message.content == recordings.TEXT and said.id.startswith("chatcmpl-")
    assert provider.last.target.endswith("/v1/responses") and provider.last.json["store"] is False
    assert provider.last.json["max_output_tokens"] == 50
    stream = await gpt.chat.completions.create(model=model, messages=HI, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == recordings.TEXT
    assert provider.last.target.endswith("/v1/responses") and provider.last.json["stream"] is True


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5", "gpt-5.1", "gpt-5.4", "gpt-5.6-luna", "gpt-5.2-chat-latest", "o3"])
async def test_models_of_chat_are_relayed(gpt: openai.AsyncOpenAI, provider: FakeProvider, model: str) -> None:
    await gpt.chat.completions.create(model=model, messages=HI)
    assert provider.last.target.endswith("/v1/chat/completions") and provider.last.json == {"model": model, "messages": HI}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(("model", "effort"), [("gpt-5.4", "low"), ("gpt-5.6-luna", "high"), ("gpt-5.6-luna", None), ("gpt-6", None)])
async def test_tools_to_reason_about_are_asked_through_responses(
    gpt: openai.AsyncOpenAI, provider: FakeProvider, model: str, effort: Any, streams: bool
) -> None:
    ask: Any = {"model": model, "messages": HI, "tools": TOOLS, **({"reasoning_effort": effort} if effort else {})}
    provider.will(streamed(recordings.RESPONSES_TOOLS_STREAM) if streams else whole(recordings.RESPONSE_TOOLS))
    if streams:
        async with gpt.chat.completions.stream(**ask) as stream:
            message: Any = (await stream.get_final_completion()).choices[0].message
    else:
        message = (await gpt.chat.completions.create(**ask)).choices[0].message
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Zürich"}
    assert provider.last.target.endswith("/v1/responses")
    assert provider.last.json.get("reasoning", {}).get("effort") == effort
    assert [tool["name"] for tool in provider.last.json["tools"]] == ["get_weather"]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("gpt-5.6-luna", {"tools": TOOLS, "reasoning_effort": "none"}),
        ("gpt-5.6-luna", {"reasoning_effort": "high"}),
        ("gpt-5.4", {"tools": TOOLS}),
        ("gpt-5.1", {"tools": TOOLS, "reasoning_effort": "high"}),
        ("gpt-5.6-luna", {"tools": []}),
    ],
)
async def test_what_chat_serves_stays_as_it_was_said(gpt: openai.AsyncOpenAI, provider: FakeProvider, model: str, said: Any) -> None:
    await gpt.chat.completions.create(model=model, messages=HI, **said)
    assert provider.last.target.endswith("/v1/chat/completions")
    assert provider.last.json == {"model": model, "messages": HI, **said}


async def test_a_raw_relay_is_never_said_anew(proxy: Proxy, provider: FakeProvider) -> None:
    async with openai.AsyncOpenAI(api_key="any", base_url=f"{proxy.base}/openai/v1", max_retries=0) as client:
        await client.chat.completions.create(model="gpt-5-codex", messages=HI)
        assert provider.last.target.endswith("/v1/chat/completions")
        await client.chat.completions.create(model="gpt-5.6-luna", messages=HI, tools=TOOLS)
        assert provider.last.target.endswith("/v1/chat/completions")


async def test_an_error_of_the_other_dialect_is_the_callers_kind(gpt: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    provider.will(whole({"error": {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}}, 429))
    with pytest.raises(openai.RateLimitError, match="slow down"):
        await gpt.chat.completions.create(model="gpt-5-codex", messages=HI)
    with pytest.raises(openai.BadRequestError, match="'n' greater than 1"):
        await gpt.chat.completions.create(model="gpt-5-codex", messages=HI, n=2)
    assert len(provider.received) == 1


async def test_a_user_says_for_a_server_of_theirs_which_dialect_it_insists_on(
    start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider
) -> None:
    mapping = {
        "providers": {"mine": {"base_url": f"{provider.url}/v1", "auth": "none", "dialects": ["openai.chat", "openai.responses"]}},
        "profiles": [{"models": ["m-*"], "providers": ["mine"], "dialect": "openai.chat", "dialect_for": "all"}],
    }
    proxy = await start_proxy(mapping, environ)
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        said = await client.responses.create(model="mine/m-1", input="hi")
        assert said.output_text == recordings.TEXT and provider.last.target.endswith("/chat/completions")
        await client.responses.create(model="mine/n-1", input="hi")
        assert provider.last.target.endswith("/responses")


@pytest.mark.parametrize(
    ("model", "said", "sent"),
    [
        ("gpt-5.1", {}, {"temperature": 0.5}),
        ("gpt-5.1", {"thinking": {"type": "disabled"}}, {"temperature": 0.5, "reasoning_effort": "none"}),
        ("gpt-5.1", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning_effort": "low"}),
        ("gpt-5.4", {}, {"temperature": 0.5}),  # asked in Responses
        ("gpt-5.6-luna", {}, {}),
        ("gpt-5.6-luna", {"thinking": {"type": "disabled"}}, {"temperature": 0.5, "reasoning": {"effort": "none"}}),
    ],
)
async def test_a_translated_request_samples_where_the_model_does(
    proxy: Proxy, provider: FakeProvider, model: str, said: Any, sent: dict[str, Any]
) -> None:
    async with anthropic.AsyncAnthropic(api_key="any", base_url=f"{proxy.base}/anthropic", max_retries=0) as client:
        ask: Any = {"model": model, "max_tokens": 2000, "messages": HI, "extra_body": {"temperature": 0.5}, **said}
        raw = await client.messages.with_raw_response.create(**ask)
    told = {name: provider.last.json[name] for name in ("temperature", "reasoning_effort", "reasoning") if name in provider.last.json}
    assert told == sent
    assert raw.headers.get("X-Respan-Warnings") == (None if "temperature" in sent else "temperature:dropped")
