"""Every call of an SDK is a row, found under the id in its answer's headers, complete as soon as the answer is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from google import genai

from tests.conftest import Proxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, streamed, whole
from tests.sdk.conftest import CALLERS_KEY

HELLO: Any = [{"role": "user", "content": "Say hello"}]

Find = Callable[[str], Awaitable[dict[str, Any]]]


@pytest.fixture
async def find(proxy: Proxy) -> AsyncIterator[Find]:
    async with aiohttp.ClientSession() as session:

        async def row(log_id: str) -> dict[str, Any]:
            async with session.get(f"{proxy.base}/request-logs/{log_id}/") as answer:
                assert answer.status == 200
                found: dict[str, Any] = await answer.json()
                return found

        yield row


@pytest.fixture
async def openai_client(proxy: Proxy) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=proxy.base, api_key=CALLERS_KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def anthropic_client(proxy: Proxy) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=f"{proxy.base}/anthropic", api_key=CALLERS_KEY, max_retries=0) as client:
        yield client


COUNTED = {"prompt_tokens": 20, "completion_tokens": 5, "total_request_tokens": 25, "prompt_cache_hit_tokens": 8, "usage_estimated": False}


def counts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in COUNTED}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_chat_completion_is_a_row(openai_client: openai.AsyncOpenAI, find: Find, stream: bool) -> None:
    async with openai_client.chat.completions.with_streaming_response.create(model="gpt-4.1-nano", messages=HELLO, stream=stream) as answer:
        log_id = answer.headers["x-respan-log-id"]
        await answer.read()
    row = await find(log_id)
    assert (row["status"], row["status_code"], row["outcome"], row["stream"]) == ("success", 200, "complete", stream)
    assert (row["request_model"], row["model"], row["provider_id"]) == ("gpt-4.1-nano", "gpt-4.1-nano-2025-04-14", "openai")
    assert counts(row) == COUNTED
    assert row["reasoning_tokens"] == 2
    assert row["cost"] > 0
    assert row["upstream_request_id"] == "req_fake_openai"
    assert row["prompt_messages"] == HELLO
    assert row["completion_message"]["content"] == recordings.TEXT
    assert row["full_request"].get("stream", False) == stream
    assert len(row["attempts"]) == 1


async def test_a_streamed_tool_call_is_assembled_in_its_row(openai_client: openai.AsyncOpenAI, provider: FakeProvider, find: Find) -> None:
    provider.will(streamed(recordings.CHAT_TOOLS_STREAM))
    async with openai_client.chat.completions.with_streaming_response.create(model="gpt-4.1-nano", messages=HELLO, stream=True) as answer:
        await answer.read()
    row = await find(answer.headers["x-respan-log-id"])
    assert row["has_tool_calls"] is True
    assert row["tool_calls"] == [recordings.CALL]


async def test_a_response_is_a_row(openai_client: openai.AsyncOpenAI, find: Find) -> None:
    answer = await openai_client.responses.with_raw_response.create(model="gpt-4.1-nano", input="Say hello")
    row = await find(answer.headers["x-respan-log-id"])
    assert row["dialect"] == "openai.responses"
    assert row["response_id"] == "resp_fake"
    assert counts(row) == COUNTED


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_message_is_a_row(anthropic_client: anthropic.AsyncAnthropic, find: Find, stream: bool) -> None:
    async with anthropic_client.messages.with_streaming_response.create(
        model="claude-sonnet-4-6", max_tokens=64, messages=HELLO, stream=stream
    ) as answer:
        await answer.read()
    row = await find(answer.headers["x-respan-log-id"])
    assert (row["status"], row["outcome"], row["provider_id"], row["dialect"]) == ("success", "complete", "anthropic", "anthropic.messages")
    assert counts(row) == COUNTED
    assert row["upstream_request_id"] == "req_fake_anthropic"
    assert row["completion_message"]["content"] == recordings.TEXT


async def test_generated_content_is_a_row(proxy: Proxy, find: Find) -> None:
    options = genai.types.HttpOptions(base_url=f"{proxy.base}/google/gemini")
    async with genai.Client(api_key=CALLERS_KEY, http_options=options).aio as client:
        answer = await client.models.generate_content(model="gemini-2.5-flash", contents="Say hello")
    assert answer.sdk_http_response is not None
    headers = {name.lower(): value for name, value in (answer.sdk_http_response.headers or {}).items()}
    row = await find(headers["x-respan-log-id"])
    assert (row["provider_id"], row["dialect"], row["model"]) == ("gemini", "gemini", "gemini-2.5-flash")
    assert counts(row) == COUNTED
    assert row["completion_message"]["content"] == recordings.TEXT


async def test_an_error_is_a_row_that_says_so(openai_client: openai.AsyncOpenAI, provider: FakeProvider, find: Find) -> None:
    provider.will(whole(recordings.openai_error(429, "rate_limit_exceeded"), 429))
    with pytest.raises(openai.RateLimitError) as raised:
        await openai_client.chat.completions.create(model="gpt-4.1-nano", messages=HELLO)
    row = await find(raised.value.response.headers["x-respan-log-id"])
    assert (row["status"], row["status_code"]) == ("failed", 429)
    assert "scripted 429" in row["error_message"]


async def test_no_key_is_in_a_row(openai_client: openai.AsyncOpenAI, find: Find) -> None:
    answer = await openai_client.chat.completions.with_raw_response.create(model="gpt-4.1-nano", messages=HELLO)
    row = await find(answer.headers["x-respan-log-id"])
    assert CALLERS_KEY not in str(row)
    assert "the-providers-own" not in str(row)
