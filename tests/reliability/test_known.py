"""A model that was asked for before has its way remembered, and each request is still sent where it says itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from tests.conftest import OPENAI_KEY, Proxy, StartProxy
from tests.fakes.provider import FakeProvider, silent, whole
from tests.reliability.conftest import RowOf, ask
from tests.reliability.test_balance import keys_of
from tests.reliability.test_breaker import LONG, SICK, models
from tests.reliability.test_fallback import CLAUDE, GPT, ONLY_ONCE

MINE = "sk-mine-and-nobody-elses"


async def known(http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider) -> None:
    for _ in range(2):
        response, _ = await ask(http, proxy, "chat", GPT)
        assert response.status == 200
    assert models(provider) == [GPT, GPT]


@pytest.mark.parametrize(
    ("params", "asked", "key"),
    [
        ({}, [GPT], OPENAI_KEY),
        ({"customer_identifier": "somebody", "metadata": {"of": "theirs"}}, [GPT], OPENAI_KEY),
        ({"fallback_models": [CLAUDE], "retry_params": ONLY_ONCE}, [GPT, CLAUDE], OPENAI_KEY),
        ({"models": [CLAUDE], "retry_params": ONLY_ONCE}, [GPT, CLAUDE], OPENAI_KEY),
        ({"load_balance_models": [{"model": "gpt-4.1", "weight": 1}]}, ["gpt-4.1"], OPENAI_KEY),
        ({"load_balance_group": {"models": [{"model": "gpt-4.1", "weight": 1}]}}, ["gpt-4.1"], OPENAI_KEY),
        ({"model_name_map": {GPT: "gpt-4o-2024-11-20"}}, ["gpt-4o-2024-11-20"], OPENAI_KEY),
        ({"customer_credentials": {"openai": MINE}}, [GPT], MINE),
        ({"credential_override": {GPT: {"api_key": MINE}}}, [GPT], MINE),
        ({"customer_api_keys": {GPT: MINE}}, [GPT], MINE),
        ({"mock_response": "hi"}, [], None),
    ],
)
async def test_a_known_model_is_asked_as_the_request_says(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, params: dict[str, Any], asked: list[str], key: str | None
) -> None:
    await known(http, proxy, provider)
    if len(asked) > 1:
        provider.will(SICK)
    response, body = await ask(http, proxy, "chat", GPT, **params)
    assert response.status == 200, body
    assert key is None or keys_of(provider.received[0]) == f"Bearer {key}"
    assert models(provider) == asked


async def test_a_known_model_is_waited_for_as_long_as_the_request_says(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    await known(http, proxy, provider)
    provider.will(silent())
    response, body = await ask(http, proxy, "chat", GPT, first_token_timeout=0.2)
    assert response.status == 504 and b"first_token_timeout" in body


async def test_a_known_model_takes_no_body_that_is_too_large_for_it(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"providers": {"openai": {"request_bytes": 2000}}}, environ)
    await known(http, proxy, provider)
    body = {"model": GPT, "messages": [{"role": "user", "content": "x" * 2000}]}
    async with http.post(f"{proxy.base}/chat/completions", json=body) as response:
        assert response.status == 413 and "request_bytes" in (await response.json())["error"]["message"]
    assert not provider.received


async def test_a_known_model_that_fails_is_told_of_and_comes_to_rest(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, row_of: RowOf
) -> None:
    proxy = await start_proxy({**LONG, "retry": {"enabled": False}}, environ)
    await known(http, proxy, provider)
    provider.will(SICK, SICK)
    for _ in range(2):
        response, body = await ask(http, proxy, "chat", GPT)
        assert response.status == 503 and json.loads(body)["error"]["message"] == "oops"
        row = await row_of(proxy, response)
        assert (row["status"], row["status_code"], [attempt["status_code"] for attempt in row["attempts"]]) == ("failed", 503, [503])
    models(provider)
    await ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE])
    assert models(provider) == [CLAUDE]
    response, _ = await ask(http, proxy, "chat", GPT)
    assert response.status == 200 and models(provider) == [GPT]  # which ends its rest
    await ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE])
    assert models(provider) == [GPT]


async def test_rules_of_a_known_models_name_hold_each_time(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"routes": {"gpt-*": {"fallback_models": [CLAUDE]}}, "retry": {"enabled": False}}, environ)
    await known(http, proxy, provider)
    provider.will(whole({"error": {"message": "no"}}, 500))
    response, _ = await ask(http, proxy, "chat", GPT)
    assert response.status == 200 and models(provider) == [GPT, CLAUDE]


async def test_a_known_model_is_asked_in_the_dialect_that_each_request_needs(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
    body = {"model": "gpt-5.6", "messages": [{"role": "user", "content": "hi"}]}
    paths = []
    for more in ({}, {"tools": tools, "reasoning_effort": "low"}, {}):
        async with http.post(f"{proxy.base}/chat/completions", json={**body, **more}) as response:
            assert response.status == 200
        paths.append(provider.last.target.rpartition("/v1")[2])
    assert paths == ["/chat/completions", "/responses", "/chat/completions"]


async def test_a_known_target_gets_the_url_and_the_headers_of_each_request(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"providers": {"gemini": {"headers": {"X-Team": "ours"}}}}, environ)
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    for sent, headers in (
        ("v1beta/models/gemini-2.5-flash:generateContent", {}),
        ("v1/models/gemini-2.5-flash:generateContent", {"X-Team": "theirs", "X-Respan-Hop": "another"}),
        ("v1beta/models/gemini-2.5-flash:generateContent?beta=1", {"X-Only": "once"}),
        ("v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", {}),
        ("v1beta/models/gemini-2.5-flash:generateContent", {}),
    ):
        async with http.post(f"{proxy.base}/google/gemini/{sent}", json=body, headers=headers) as response:
            assert response.status == 200, await response.read()
        told = provider.last
        assert told.target.endswith(f"/{sent}")
        assert told.headers.getall("X-Team") == ["ours"] and told.headers.get("X-Only") == headers.get("X-Only")
        assert told.headers["X-Respan-Hop"].startswith("another, ") == ("X-Respan-Hop" in headers)
        assert keys_of(told) == environ["GEMINI_API_KEY"] and told.headers["Accept-Encoding"] == "identity"


async def test_a_known_target_is_streamed_from_or_not_as_each_request_says_across_dialects(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    for streams in (False, True, False, True):
        response, _ = await ask(http, proxy, "chat", "gemini-2.5-flash", streams=streams)
        assert response.status == 200
        assert provider.last.target.endswith(":streamGenerateContent?alt=sse" if streams else ":generateContent")
