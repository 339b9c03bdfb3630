"""The manners of servers that nearly speak OpenAI's chat, as their bytes were seen or documented, through the real clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes.provider import FakeProvider, streamed, whole

HI: Any = [{"role": "user", "content": "hi"}]
TOOL: Any = {"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}
USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def chunk(delta: Mapping[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk; `more` are members beside `choices`, `in_choice` those of the choice."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish, **more.pop("in_choice", {})}
    return {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}


def sse(*chunks: Mapping[str, Any] | str) -> list[bytes]:
    return [
        one.encode() if isinstance(one, str) else b"data: " + json.dumps(one).encode() + b"\n\n" for one in (*chunks, "data: [DONE]\n\n")
    ]


def call(**members: Any) -> dict[str, Any]:
    return {"id": "call-1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}, **members}


FILTERED = {"content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}


@dataclass(frozen=True)
class Manner:
    """What a server sends, and what it comes to."""

    model: str
    stream: list[bytes]
    text: str = "Hello"
    thinking: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    stop: str = "end_turn"
    cached: int = 0


MANNERS = {
    "azure begins with a chunk without choices, and tells of its filters": Manner(
        "azure_openai/gpt-4o",
        sse(
            {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [{"prompt_index": 0, **FILTERED}]},
            chunk({"role": "assistant", "content": ""}, in_choice=FILTERED),
            chunk({"content": "Hello"}, in_choice=FILTERED),
            chunk(finish="stop", in_choice=FILTERED),
            {**chunk(usage=USAGE), "choices": []},
        ),
    ),
    "groq reasons, and tells its usage in x_groq": Manner(
        "groq/openai/gpt-oss-20b",
        sse(
            chunk({"role": "assistant", "content": ""}, x_groq={"id": "req_1"}),
            chunk({"reasoning": "Hmm.", "channel": "analysis"}),
            chunk({"content": "Hello"}),
            chunk(finish="stop", x_groq={"id": "req_1", "usage": {**USAGE, "queue_time": 0.1}}),
        ),
        thinking="Hmm.",
    ),
    "mistral stops at the model's length": Manner(
        "mistral/mistral-large-latest",
        sse(chunk({"role": "assistant", "content": ""}), chunk({"content": "Hello"}), chunk({"content": ""}, "model_length", usage=USAGE)),
        stop="max_tokens",
    ),
    "mistral calls with an object for arguments": Manner(
        "mistral/mistral-large-latest",
        sse(
            chunk({"role": "assistant", "content": ""}),
            chunk(
                {"tool_calls": [{"id": "aB3dE6gH9", "index": 0, "function": {"name": "f", "arguments": {"a": 1}}}]},
                "tool_calls",
                usage=USAGE,
            ),
        ),
        text="",
        calls=[("f", {"a": 1})],
        stop="tool_use",
    ),
    "deepseek reasons, and has its own name for cached tokens": Manner(
        "deepseek/deepseek-reasoner",
        sse(
            chunk({"role": "assistant", "content": None, "reasoning_content": "Hmm."}),
            chunk({"content": "Hello", "reasoning_content": None}),
            chunk({"content": ""}, "stop", usage={**USAGE, "prompt_cache_hit_tokens": 12, "prompt_cache_miss_tokens": 8}),
        ),
        thinking="Hmm.",
        cached=12,
    ),
    "xai reasons": Manner(
        "xai/grok-4",
        sse(
            chunk({"role": "assistant", "reasoning_content": "Hmm."}),
            chunk({"content": "Hello"}),
            chunk(finish="stop"),
            {**chunk(usage=USAGE), "choices": []},
        ),
        thinking="Hmm.",
    ),
    "together ends with eos": Manner(
        "together/meta-llama/Llama-3.3-70B",
        sse(chunk({"role": "assistant", "content": "Hello", "token_id": 1}), chunk({"content": ""}, "eos", usage=USAGE)),
    ),
    "openrouter comments, repeats its reasoning and tells its price": Manner(
        "openrouter/openai/gpt-4o",
        sse(
            ": OPENROUTER PROCESSING\n\n",
            ": OPENROUTER PROCESSING\n\n",
            chunk(
                {
                    "role": "assistant",
                    "content": "",
                    "reasoning": "Hmm.",
                    "reasoning_details": [{"type": "reasoning.text", "text": "Hmm.", "format": "unknown", "index": 0}],
                },
                provider="OpenAI",
            ),
            chunk({"content": "Hello"}),
            ": OPENROUTER PROCESSING\n\n",
            chunk({"content": ""}, "stop", in_choice={"native_finish_reason": "completed"}),
            chunk({"role": "assistant", "content": ""}, usage={**USAGE, "cost": 0.0012, "is_byok": False}),
        ),
        thinking="Hmm.",
    ),
    "ollama leaves out the call's index and says stop": Manner(
        "vllm/llama3",
        sse(chunk({"role": "assistant", "content": "", "tool_calls": [call()]}), chunk({"content": ""}, "stop", usage=USAGE)),
        text="",
        calls=[("f", {"a": 1})],
        stop="tool_use",
    ),
    "vllm says stop beside calls": Manner(
        "vllm/qwen3",
        sse(
            chunk({"role": "assistant", "content": ""}),
            chunk({"reasoning_content": "Hmm."}),
            chunk({"tool_calls": [call(index=0)]}),
            chunk({"content": ""}, "stop", in_choice={"stop_reason": None}),
            {**chunk(usage=USAGE), "choices": []},
        ),
        text="",
        thinking="Hmm.",
        calls=[("f", {"a": 1})],
        stop="tool_use",
    ),
    "vllm names the stop string that it met": Manner(
        "vllm/qwen3",
        sse(chunk({"role": "assistant", "content": "Hello"}), chunk(finish="stop", in_choice={"stop_reason": "END"}, usage=USAGE)),
        stop="stop_sequence",
    ),
    "gemini's compatible endpoint counts every call as its first": Manner(
        "vllm/gemini-3-pro-preview",
        sse(
            chunk({"role": "assistant", "tool_calls": [call(index=0, extra_content={"google": {"thought_signature": "c2ln"}})]}),
            chunk({"tool_calls": [call(index=0, id="call-2")]}, "stop", usage=USAGE),
        ),
        text="",
        calls=[("f", {"a": 1}), ("f", {"a": 1})],
        stop="tool_use",
    ),
}


@pytest.fixture
async def proxy(start_proxy: StartProxy, provider: FakeProvider) -> Proxy:
    """All of these servers are the fake provider."""
    names = ("groq", "mistral", "deepseek", "xai", "together", "openrouter", "vllm", "azure_openai")
    places = {f"RESPAN_PROXY_{name.upper()}_BASE_URL": f"{provider.url}/v1" for name in (*names, "ollama")}
    keys = {f"{name.upper()}_API_KEY": f"{name}-key-1" for name in names}
    return await start_proxy({}, places | keys)


def claude(proxy: Proxy) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(api_key="any", base_url=f"{proxy.base}/anthropic", max_retries=0)


def gpt(proxy: Proxy) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0)


@pytest.mark.parametrize("manner", MANNERS.values(), ids=MANNERS)
async def test_anthropics_client_understands_it(proxy: Proxy, provider: FakeProvider, manner: Manner) -> None:
    provider.will(streamed(manner.stream))
    async with claude(proxy) as client, client.messages.stream(model=manner.model, max_tokens=99, messages=HI, tools=[TOOL]) as stream:
        final = await stream.get_final_message()
    assert "".join(block.text for block in final.content if block.type == "text") == manner.text
    assert "".join(block.thinking for block in final.content if block.type == "thinking") == manner.thinking
    calls = [block for block in final.content if block.type == "tool_use"]
    assert [(block.name, block.input) for block in calls] == manner.calls
    assert len({block.id for block in calls}) == len(calls)
    assert final.stop_reason == manner.stop
    used = final.usage
    assert (used.input_tokens, used.cache_read_input_tokens or 0, used.output_tokens) == (20 - manner.cached, manner.cached, 5)


@pytest.mark.parametrize("manner", MANNERS.values(), ids=MANNERS)
async def test_a_chat_client_that_takes_the_first_choice_unguarded_reads_it(proxy: Proxy, provider: FakeProvider, manner: Manner) -> None:
    provider.will(streamed(manner.stream))
    async with gpt(proxy) as client:
        stream = await client.chat.completions.create(model=manner.model, messages=HI, stream=True)
        said = [(chunk.choices[0].delta.content or "", chunk.choices[0].finish_reason) async for chunk in stream]
    assert "".join(text for text, _ in said) == manner.text
    assert sum(finish is not None for _, finish in said) == 1


@pytest.mark.parametrize("manner", MANNERS.values(), ids=MANNERS)
async def test_the_row_knows_what_it_cost_in_tokens(proxy: Proxy, provider: FakeProvider, manner: Manner) -> None:
    provider.will(streamed(manner.stream))
    async with gpt(proxy) as client:
        raw = await client.chat.completions.with_raw_response.create(model=manner.model, messages=HI, stream=True)
        async for _ in raw.parse():
            pass
    row: dict[str, Any] = {"status": "running"}
    async with aiohttp.ClientSession() as session, asyncio.timeout(10):
        while row["status"] == "running":
            async with session.get(f"{proxy.base}/request-logs/{raw.headers['X-Respan-Log-Id']}/") as answer:
                row = await answer.json()
    assert (row["prompt_tokens"], row["completion_tokens"]) == (20, 5)


FAILURES = {
    "openrouter breaks off with an error of its own": (
        "openrouter/openai/gpt-4o",
        sse(
            chunk({"role": "assistant", "content": "Hel"}),
            chunk({"content": ""}, "error", error={"code": 429, "message": "slow down", "metadata": {"provider_name": "X"}}),
        ),
        "slow down",
    ),
    "mistral finishes with an error": (
        "mistral/mistral-large-latest",
        sse(chunk({"content": "Hel"}), chunk({"content": ""}, "error")),
        "error",
    ),
    "deepseek runs out of resources": (
        "deepseek/deepseek-chat",
        sse(chunk({"content": "Hel"}), chunk({"content": ""}, "insufficient_system_resource", usage=USAGE)),
        "insufficient_system_resource",
    ),
}


@pytest.mark.parametrize(("model", "frames", "told"), FAILURES.values(), ids=FAILURES)
async def test_a_failure_in_mid_stream_is_never_an_answer(
    proxy: Proxy, provider: FakeProvider, model: str, frames: list[bytes], told: str
) -> None:
    provider.will(streamed(frames))
    async with claude(proxy) as client:
        with pytest.raises(anthropic.APIStatusError, match=told):
            async with client.messages.stream(model=model, max_tokens=99, messages=HI) as stream:
                await stream.get_final_message()


async def test_openrouters_200_with_only_an_error_has_its_status(proxy: Proxy, provider: FakeProvider) -> None:
    only = {"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-min.", "metadata": {}}, "user_id": "u"}
    provider.will(whole(only), whole(only))
    async with gpt(proxy) as client:
        with pytest.raises(openai.RateLimitError, match="free-models"):
            await client.chat.completions.create(model="openrouter/openai/gpt-4o", messages=HI)
    async with claude(proxy) as client:
        with pytest.raises(anthropic.RateLimitError, match="free-models"):
            await client.messages.create(model="openrouter/openai/gpt-4o", max_tokens=9, messages=HI)


async def test_azures_filter_refuses_as_a_bad_request(proxy: Proxy, provider: FakeProvider) -> None:
    error = {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
    }
    provider.will(whole({"error": error}, 400), whole({"error": error}, 400))
    async with gpt(proxy) as client:
        with pytest.raises(openai.BadRequestError, match="content management policy") as caught:
            await client.chat.completions.create(model="azure_openai/gpt-4o", messages=HI)
    assert caught.value.code == "content_filter" and isinstance(caught.value.body, dict) and "innererror" in caught.value.body
    async with claude(proxy) as client:
        with pytest.raises(anthropic.BadRequestError, match="content management policy"):
            await client.messages.create(model="azure_openai/gpt-4o", max_tokens=9, messages=HI)


async def test_mistral_is_told_calls_by_ids_of_nine(proxy: Proxy, provider: FakeProvider) -> None:
    history: Any = [
        *HI,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_01A09q90qw90lq917835lq9", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_01A09q90qw90lq917835lq9", "content": "1"}]},
    ]
    async with claude(proxy) as client:
        await client.messages.create(model="mistral/mistral-large-latest", max_tokens=9, messages=history, tools=[TOOL])
    sent = provider.last.json
    made, answered = sent["messages"][1]["tool_calls"][0]["id"], sent["messages"][2]["tool_call_id"]
    assert made == answered and len(made) == 9 and made.isalnum()
    assert sent["max_tokens"] == 9 and "max_completion_tokens" not in sent


async def test_together_is_not_told_of_tools_that_must_not_be_called(proxy: Proxy, provider: FakeProvider) -> None:
    async with claude(proxy) as client:
        await client.messages.create(
            model="together/meta-llama/Llama-3.3-70B", max_tokens=9, messages=HI, tools=[TOOL], tool_choice={"type": "none"}
        )
    assert not {"tools", "tool_choice"} & provider.last.json.keys()


async def test_deepseek_is_asked_for_json_and_told_the_schema(proxy: Proxy, provider: FakeProvider) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
    async with claude(proxy) as client:
        await client.messages.create(
            model="deepseek/deepseek-chat",
            max_tokens=9,
            messages=HI,
            extra_body={"output_config": {"format": {"type": "json_schema", "schema": schema}}},
        )
    assert provider.last.json["response_format"] == {"type": "json_object"} and '"city"' in provider.last.json["messages"][0]["content"]


THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "Hmm."}]}


async def test_mistrals_typed_content_is_text_and_reasoning_for_chat_clients(proxy: Proxy, provider: FakeProvider) -> None:
    model = "mistral/magistral-medium-latest"
    plain = sse(chunk({"content": " w\u00f6rld"}), chunk({"content": ""}, "stop", usage=USAGE))
    provider.will(
        streamed(
            sse(chunk({"role": "assistant", "content": [THOUGHT]}), chunk({"content": [{"type": "text", "text": "Hello"}]}))[:-1] + plain
        )
    )
    async with gpt(proxy) as client:
        raw = await client.chat.completions.with_raw_response.create(model=model, messages=HI, stream=True)
        deltas = [chunk.choices[0].delta async for chunk in raw.parse()]
        assert "".join([delta.content or "" for delta in deltas]) == "Hello w\u00f6rld"
        assert deltas[0].model_extra == {"reasoning_content": "Hmm."}
        message = {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "Hello"}]}
        whole_one = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE}
        provider.will(whole({**whole_one, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}))
        reply = await client.chat.completions.create(model=model, messages=HI)
    assert reply.choices[0].message.content == "Hello"
    provider.will(whole({**whole_one, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}))
    async with claude(proxy) as anthropics:
        final = await anthropics.messages.create(model=model, max_tokens=9, messages=HI)
    assert [block.type for block in final.content] == ["thinking", "text"]
