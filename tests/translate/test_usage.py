"""Tokens in every direction: in the answer as the client's SDK reads it, in the row, and in the cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from google import genai

from respan_proxy.dialects.usage import Usage
from respan_proxy.respan.pricing import price
from respan_proxy.respan.spans import NANO
from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, streamed, whole

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SDKs warn of the age of models and of aiohttp

# 100 read at the full price, 30 from the cache, 20 into it; 30 said, 10 thought. Gemini does not tell what it writes to its cache.
ALL = Usage(prompt=150, cached=30, write=20, output=40, reasoning=10)
GEMINIS = Usage(prompt=150, cached=30, output=40, reasoning=10)

_CHAT = {
    "prompt_tokens": 150,
    "completion_tokens": 40,
    "total_tokens": 190,
    "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 10},
}
_RESPONSE = {
    "input_tokens": 150,
    "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20},
    "output_tokens": 40,
    "output_tokens_details": {"reasoning_tokens": 10},
    "total_tokens": 190,
}
_MESSAGE = {
    "input_tokens": 100,
    "cache_creation_input_tokens": 20,
    "cache_read_input_tokens": 30,
    "output_tokens": 40,
    "output_tokens_details": {"thinking_tokens": 10},
}
_GEMINI = {
    "promptTokenCount": 150,
    "cachedContentTokenCount": 30,
    "candidatesTokenCount": 30,
    "thoughtsTokenCount": 10,
    "totalTokenCount": 190,
}


def _swapped(value: Any, old: Any, new: Any) -> Any:
    """A recording with other counts."""
    if value == old:
        return new
    if isinstance(value, dict):
        return {name: _swapped(inner, old, new) for name, inner in value.items()}
    return [_swapped(inner, old, new) for inner in value] if isinstance(value, list) else value


def _message_stream() -> list[bytes]:
    start = {**recordings.MESSAGE, "content": [], "stop_reason": None, "usage": {**_MESSAGE, "output_tokens": 1}}
    return recordings.sse(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": recordings.TEXT}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": _MESSAGE},
        {"type": "message_stop"},
        named=True,
    )


_RESPONDED = _swapped(recordings.RESPONSE, recordings.RESPONSE_USAGE, _RESPONSE)
_LAST_CHAT = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o", "choices": [], "usage": _CHAT}

# provider dialect -> model asked for, a whole answer, a stream, what both of them count
PROVIDERS: dict[str, tuple[str, Any, list[bytes], Usage]] = {
    "openai.chat": (
        "gpt-4o",
        {**recordings.CHAT, "usage": _CHAT},
        [*recordings.CHAT_STREAM[:-1], *recordings.sse(_LAST_CHAT), recordings.CHAT_STREAM[-1]],
        ALL,
    ),
    "openai.responses": (
        "gpt-4o",
        _RESPONDED,
        [
            *recordings.RESPONSES_STREAM[:-1],
            *recordings.sse({"type": "response.completed", "sequence_number": 9, "response": _RESPONDED}, named=True),
        ],
        ALL,
    ),
    "anthropic.messages": ("claude-sonnet-4-6", {**recordings.MESSAGE, "usage": _MESSAGE}, _message_stream(), ALL),
    "gemini": (
        "gemini-2.5-flash",
        {**recordings.GEMINI, "usageMetadata": _GEMINI},
        recordings.sse(*_swapped(recordings.GEMINI_EVENTS, recordings.GEMINI_USAGE, _GEMINI), end="\r\n\r\n"),
        GEMINIS,
    ),
}


async def _chat(proxy: Proxy, model: str, streams: bool) -> Usage:
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        ask: Any = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        if streams:
            async with client.chat.completions.stream(**ask, stream_options={"include_usage": True}) as stream:
                told: Any = (await stream.get_final_completion()).usage
        else:
            told = (await client.chat.completions.create(**ask)).usage
    assert told.total_tokens == told.prompt_tokens + told.completion_tokens
    read = told.prompt_tokens_details
    return Usage(
        prompt=told.prompt_tokens,
        cached=read.cached_tokens,
        write=getattr(read, "cache_write_tokens", None) or 0,
        output=told.completion_tokens,
        reasoning=told.completion_tokens_details.reasoning_tokens,
    )


async def _responses(proxy: Proxy, model: str, streams: bool) -> Usage:
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        ask: Any = {"model": model, "input": "hi"}
        if streams:
            async with client.responses.stream(**ask) as stream:
                told: Any = (await stream.get_final_response()).usage
        else:
            told = (await client.responses.create(**ask)).usage
    assert told.total_tokens == told.input_tokens + told.output_tokens
    read = told.input_tokens_details
    return Usage(
        prompt=told.input_tokens,
        cached=read.cached_tokens,
        write=getattr(read, "cache_write_tokens", None) or 0,
        output=told.output_tokens,
        reasoning=told.output_tokens_details.reasoning_tokens,
    )


async def _messages(proxy: Proxy, model: str, streams: bool) -> Usage:
    async with anthropic.AsyncAnthropic(api_key="any", base_url=f"{proxy.base}/anthropic", max_retries=0) as client:
        ask: Any = {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}
        if streams:
            async with client.messages.stream(**ask) as stream:
                told: Any = (await stream.get_final_message()).usage
        else:
            told = (await client.messages.create(**ask)).usage
    cached, written = told.cache_read_input_tokens, told.cache_creation_input_tokens
    thought = told.output_tokens_details.thinking_tokens
    return Usage(told.input_tokens + cached + written, cached, written, told.output_tokens, thought)


async def _generate(proxy: Proxy, model: str, streams: bool) -> Usage:
    client = genai.Client(api_key="any", http_options={"base_url": f"{proxy.base}/google/gemini"})
    told: Any = None
    if streams:
        async for piece in await client.aio.models.generate_content_stream(model=model, contents="hi"):
            told = piece.usage_metadata or told
    else:
        told = (await client.aio.models.generate_content(model=model, contents="hi")).usage_metadata
    await client.aio.aclose()
    thoughts = told.thoughts_token_count
    output = told.candidates_token_count + thoughts
    assert told.total_token_count == told.prompt_token_count + output
    return Usage(told.prompt_token_count, told.cached_content_token_count, 0, output, thoughts)


CLIENTS: dict[str, Callable[[Proxy, str, bool], Awaitable[Usage]]] = {
    "openai.chat": _chat,
    "openai.responses": _responses,
    "anthropic.messages": _messages,
    "gemini": _generate,
}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("spoken", PROVIDERS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_tokens_are_the_same_in_the_answer_the_row_and_the_cost(
    start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider, client: str, spoken: str, streams: bool
) -> None:
    model, body, stream, usage = PROVIDERS[spoken]
    only = {"providers": {"openai": {"dialects": [spoken]}}} if spoken.startswith("openai.") else {}
    proxy = await start_proxy(only, environ)
    provider.will(streamed(stream) if streams else whole(body))
    told = await CLIENTS[client](proxy, model, streams)
    written = 0 if client == "gemini" else usage.write  # which has no member for it
    assert told == Usage(usage.prompt, usage.cached, written, usage.output, usage.reasoning)
    async with aiohttp.ClientSession() as http, http.post(f"{proxy.base}/request-logs/list/", json={}) as listed:
        [row] = (await listed.json())["results"]
    assert (row["dialect"], row["provider_dialect"]) == (client, spoken)
    columns = ("prompt_tokens", "prompt_cache_hit_tokens", "prompt_cache_creation_tokens", "completion_tokens", "reasoning_tokens")
    assert tuple(row[column] or 0 for column in columns) == (usage.prompt, usage.cached, usage.write, usage.output, usage.reasoning)
    assert row["total_request_tokens"] == usage.total
    cost, _ = price(row["model"], row["provider_id"], usage, 1.8e9)
    assert cost is not None and row["cost"] == pytest.approx(cost / NANO)
