"""`mock_response` is the answer, for any model and without any provider, in every dialect and form."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import openai
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes.provider import FakeProvider
from tests.reliability.conftest import CLIENTS, RowOf, ask
from tests.reliability.test_fallback import said

TEXT = 'Thirty-two  degrees,\nand a "sun" – so they say. '


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_the_text_is_the_answer_and_nobody_is_asked(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str, streams: bool
) -> None:
    response, body = await ask(http, proxy, client, "gpt-4o", streams=streams, mock_response=TEXT)
    assert response.status == 200 and said(client, body, streams) == TEXT
    assert not provider.received
    row = await row_of(proxy, response)
    assert (row["provider_id"], row["simulated"], row["model"], row["cost"]) == ("mock", True, "gpt-4o", 0)
    assert row["usage_estimated"] is True and row["completion_tokens"] == 13 and row["prompt_tokens"] > 0
    assert b"gpt-4o" in body or client == "gemini"


async def test_no_key_is_needed_and_any_model_will_do(start_proxy: StartProxy, http: aiohttp.ClientSession, row_of: RowOf) -> None:
    proxy = await start_proxy({})
    for model in ("nobody/knows-it", "echo/status-500", "claude-sonnet-4-6"):
        response, body = await ask(http, proxy, "chat", model, mock_response="hi")
        answer = json.loads(body)
        assert (answer["choices"][0]["message"]["content"], answer["model"]) == ("hi", model)
        assert "X-Respan-Warnings" not in response.headers


async def test_the_sdk_reads_it_with_usage_and_tools_are_not_called(proxy: Proxy, provider: FakeProvider) -> None:
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base) as client:
        answer = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "f"}], tools=[tool], n=2, extra_body={"mock_response": "hi"}
        )
    assert [choice.message.content for choice in answer.choices] == ["hi", "hi"]
    assert answer.choices[0].finish_reason == "stop" and answer.usage is not None and answer.usage.total_tokens > 0
    assert not provider.received


async def test_it_is_kept_broken_down_and_tried_like_any_answer(
    start_proxy: StartProxy, http: aiohttp.ClientSession, row_of: RowOf
) -> None:
    proxy = await start_proxy({"faults": {"per_request": True}})
    for seen in ("MISS", "HIT"):
        response, _ = await ask(http, proxy, "messages", "claude-sonnet-4-6", mock_response="hi", cache_enabled=True)
        assert response.headers["X-Respan-Cache"] == seen
    response, body = await ask(http, proxy, "chat", "gpt-4o", mock_response="hi", request_breakdown=True)
    assert json.loads(body)["request_breakdown"]["cost"] == 0
    retry = {"retry_enabled": True, "num_retries": 1, "retry_after": 0}
    response, body = await ask(
        http, proxy, "chat", "gpt-4o", mock_response="hi", simulate={"status": 503, "first_tries": 1}, retry_params=retry
    )
    assert response.status == 200 and json.loads(body)["choices"][0]["message"]["content"] == "hi"
    assert len((await row_of(proxy, response))["attempts"]) == 2


async def test_a_response_that_was_mocked_can_be_gone_on_from(proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    _, body = await ask(http, proxy, "responses", "gpt-4o", mock_response="hi")
    request = {"model": "gpt-4o", "input": "and?", "previous_response_id": json.loads(body)["id"], "mock_response": "so"}
    async with http.post(f"{proxy.base}/responses", json=request) as response:
        assert response.status == 200 and (await response.json())["output"][0]["content"][0]["text"] == "so"


async def test_what_is_no_text_is_passed_over_with_a_word(proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    response, _ = await ask(http, proxy, "chat", "gpt-4o", mock_response={"content": "hi"})
    assert "mock_response:ignored_not_a_string" in response.headers["X-Respan-Warnings"] and provider.received
