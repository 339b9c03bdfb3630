"""A chat request for a model that spells things otherwise is edited where it must be, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import openai
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider

HI = [{"role": "user", "content": "hi"}]


async def chat(proxy: Proxy, body: bytes, path: str = "/chat/completions", status: int = 200) -> Mapping[str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(proxy.base + path, data=body, headers={"Content-Type": "application/json"}) as answer,
    ):
        assert answer.status == status, await answer.text()
        return dict(answer.headers)


@pytest.fixture
def elsewhere(environ: dict[str, str], provider: FakeProvider) -> dict[str, str]:
    """Servers that nearly speak OpenAI's chat, all of them the fake provider."""
    return environ | {
        "MISTRAL_API_KEY": "m-1234567890",
        "RESPAN_PROXY_MISTRAL_BASE_URL": f"{provider.url}/v1",
        "OLLAMA_HOST": f"{provider.url}/v1",
    }


async def test_a_reasoning_model_gets_its_own_name_for_the_limit_and_no_sampling(proxy: Proxy, provider: FakeProvider) -> None:
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="o3",
            messages=HI,
            max_tokens=50,
            temperature=0.2,
            top_p=0.5,
            stop=["X"],
            presence_penalty=1,
            seed=3,  # type: ignore[arg-type]
        )
    assert raw.parse().choices[0].message.content == recordings.TEXT
    assert provider.last.json == {"model": "o3", "messages": HI, "max_completion_tokens": 50, "seed": 3}
    told = set(raw.headers["X-Respan-Warnings"].split(", "))
    assert told == {"temperature:dropped", "top_p:dropped", "stop:dropped", "presence_penalty:dropped"}


async def test_what_need_not_change_keeps_its_bytes(proxy: Proxy, provider: FakeProvider) -> None:
    body = b'{ "model":"o3", "messages" : [{"role":"user","content":"\\u0068i"}],"temperature":0.2,  "x":1.50,\n "seed": null}'
    await chat(proxy, body)
    assert provider.last.body == body.replace(b'"temperature":0.2,  ', b"")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("gpt-4o", {"max_tokens": 5, "temperature": 0.2, "stop": ["X"]}),
        ("gpt-5-chat-latest", {"temperature": 0.2, "stop": ["X"]}),
        ("gpt-5.1", {"temperature": 0.2, "top_p": 0.3}),
        ("gpt-5.2", {"temperature": 0.2, "reasoning_effort": "none"}),
        ("gpt-5.6-luna", {"temperature": 0.2, "reasoning_effort": "none"}),
        ("o3", {"max_completion_tokens": 5, "reasoning_effort": "low"}),
        ("ollama/llama3", {"max_tokens": 5, "temperature": 0.2, "stop": ["X"], "service_tier": "auto", "verbosity": "low"}),
    ],
)
async def test_a_model_that_takes_it_is_left_alone(
    start_proxy: StartProxy, elsewhere: dict[str, str], provider: FakeProvider, model: str, said: dict[str, Any]
) -> None:
    proxy = await start_proxy({}, elsewhere)
    body = json.dumps({"model": model, "messages": HI, **said}).encode()
    headers = await chat(proxy, body)
    assert provider.last.body == body.replace(b"ollama/", b"")
    assert "X-Respan-Warnings" not in headers


@pytest.mark.parametrize(("model", "effort"), [("gpt-5.1", "low"), ("gpt-5.6-luna", None)])
async def test_a_model_that_reasons_does_not_sample(proxy: Proxy, provider: FakeProvider, model: str, effort: str | None) -> None:
    said = {"reasoning_effort": effort} if effort else {}
    headers = await chat(proxy, json.dumps({"model": model, "messages": HI, "temperature": 0.2, **said}).encode())
    assert provider.last.json == {"model": model, "messages": HI, **said}
    assert headers["X-Respan-Warnings"] == "temperature:dropped"


async def test_a_default_that_is_refused_is_no_loss(start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider) -> None:
    proxy = await start_proxy({"server": {"on_loss": "error"}}, environ)
    said = {"temperature": 1, "top_p": 1.0, "frequency_penalty": 0, "logprobs": False, "max_tokens": None}
    headers = await chat(proxy, json.dumps({"model": "o3", "messages": HI, **said}).encode())
    assert provider.last.json == {"model": "o3", "messages": HI} and "X-Respan-Warnings" not in headers


async def test_losses_are_refused_where_they_are_not_to_be_borne(
    start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider
) -> None:
    proxy = await start_proxy({"server": {"on_loss": "error"}}, environ)
    await chat(proxy, json.dumps({"model": "o3", "messages": HI, "temperature": 0.3}).encode(), status=400)
    assert not provider.received


async def test_a_relay_is_never_edited(proxy: Proxy, provider: FakeProvider) -> None:
    body = b'{"model":"o3","messages":[{"role":"user","content":"hi"}],"max_tokens":5,"temperature":0.2}'
    await chat(proxy, body, "/openai/v1/chat/completions")
    assert provider.last.body == body


async def test_mistral_is_told_in_its_own_words(start_proxy: StartProxy, elsewhere: dict[str, str], provider: FakeProvider) -> None:
    proxy = await start_proxy({}, elsewhere)
    said = {
        "max_completion_tokens": 9,
        "seed": 4,
        "user": "u",
        "logit_bias": {"1": 2},
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    headers = await chat(proxy, json.dumps({"model": "mistral-large-latest", "messages": HI, **said}).encode())
    assert provider.last.json == {"model": "mistral-large-latest", "messages": HI, "stream": True, "max_tokens": 9, "random_seed": 4}
    assert headers["X-Respan-Warnings"] == "logit_bias:dropped, user:dropped"


async def test_both_names_of_the_limit_are_one(proxy: Proxy, provider: FakeProvider) -> None:
    await chat(proxy, json.dumps({"model": "o3", "messages": HI, "max_tokens": 5, "max_completion_tokens": 6}).encode())
    assert provider.last.json == {"model": "o3", "messages": HI, "max_completion_tokens": 6}


async def test_a_users_profile_decides_here_too(start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider) -> None:
    proxy = await start_proxy({"profiles": [{"models": ["gpt-4o"], "rejects": ["seed", "max_tokens"]}]}, environ)
    headers = await chat(proxy, json.dumps({"model": "gpt-4o", "messages": HI, "seed": 4, "max_tokens": 5}).encode())
    assert provider.last.json == {"model": "gpt-4o", "messages": HI, "max_completion_tokens": 5}
    assert headers["X-Respan-Warnings"] == "seed:dropped"
