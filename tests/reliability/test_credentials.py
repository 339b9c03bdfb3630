"""Credentials that a request brings, and several of one provider's: each to its own place, for this one call, and nowhere else."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import OPENAI_KEY, Proxy, StartProxy
from tests.fakes.provider import FakeProvider, whole
from tests.reliability.conftest import CLIENTS, RowOf, ask

GPT, CLAUDE, GEMINI = "gpt-4o", "claude-sonnet-4-6", "gemini-2.5-flash"
MODELS = {"chat": GPT, "responses": GPT, "messages": CLAUDE, "gemini": GEMINI}
OWNERS = {GPT: "openai", CLAUDE: "anthropic", GEMINI: "gemini"}
MINE = "sk-mine-and-nobody-elses"


def keys_of(request: Any) -> str:
    return " ".join(
        value for name, value in request.headers.items() if name.lower() in ("authorization", "x-api-key", "x-goog-api-key", "api-key")
    )


@pytest.mark.parametrize("form", ["text", "object", "list", "override", "by model"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_customers_key_is_used_in_every_form(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str, form: str
) -> None:
    model = MODELS[client]
    owner = OWNERS[model]
    params: dict[str, Any] = {
        "text": {"customer_credentials": {owner: MINE}},
        "object": {"customer_credentials": {owner: {"api_key": MINE}}},
        "list": {"customer_credentials": [{"credentials": {owner: {"api_key": MINE}}, "weight": 0.5}]},
        "override": {"credential_override": {model: {"api_key": MINE}}, "customer_credentials": {owner: "sk-another-one"}},
        "by model": {"customer_api_keys": {model: MINE}, "customer_credentials": {owner: "sk-another-one"}},
    }[form]
    response, _ = await ask(http, proxy, client, model, **params)
    assert response.status == 200
    assert keys_of(provider.last).removeprefix("Bearer ") == MINE
    row = await row_of(proxy, response)
    assert row["used_custom_credential"] is True and row["deployment_name"] == "customer"
    assert MINE not in json.dumps(row) and "sk-another-one" not in json.dumps(row)


async def test_the_order_is_override_then_model_then_provider_then_ours(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    everything = {
        "credential_override": {GPT: {"api_key": "sk-override"}},
        "customer_api_keys": {GPT: "sk-by-model"},
        "customer_credentials": {"openai": {"api_key": "sk-by-provider"}},
    }
    for name, key in (
        ("", "sk-override"),
        ("credential_override", "sk-by-model"),
        ("customer_api_keys", "sk-by-provider"),
        ("customer_credentials", OPENAI_KEY),
    ):
        everything.pop(name, None)
        await ask(http, proxy, "chat", GPT, **everything)
        assert keys_of(provider.last) == f"Bearer {key}"


async def test_each_fallback_model_resolves_its_own(proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    provider.will(whole({"error": {"message": "oops", "type": "server_error"}}, 500))
    await ask(
        http, proxy, "chat", GPT, fallback_models=[CLAUDE], customer_credentials={"openai": "sk-mine-1", "anthropic": "sk-ant-mine-2"}
    )
    assert [keys_of(request) for request in provider.received] == ["Bearer sk-mine-1", "sk-ant-mine-2"]


async def test_a_provider_that_is_not_configured_is_there_for_who_brings_its_credentials(
    start_proxy: StartProxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf
) -> None:
    proxy = await start_proxy({}, {"GEMINI_API_KEY": "AIza-1", "RESPAN_PROXY_GEMINI_BASE_URL": provider.url})
    azure = {"api_key": MINE, "api_base": provider.url, "api_version": "2099-01-01"}
    response, body = await ask(
        http, proxy, "chat", "azure/gpt-4o", customer_credentials={"azure_openai": azure}, model_name_map={"azure/gpt-4o": "azure/mine"}
    )
    assert response.status == 200, body
    assert provider.last.target == "/openai/deployments/mine/chat/completions?api-version=2099-01-01"
    assert provider.last.headers["api-key"] == MINE
    (attempt,) = (await row_of(proxy, response))["attempts"]
    assert (attempt["provider_id"], attempt["model"]) == ("azure_openai", "mine")
    response, body = await ask(http, proxy, "chat", "azure/gpt-4o")
    assert response.status == 424 and b"AZURE_OPENAI" in body


async def test_an_override_makes_an_unconfigured_model_payable(
    start_proxy: StartProxy, provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({}, {"GEMINI_API_KEY": "AIza-1", "RESPAN_PROXY_ANTHROPIC_BASE_URL": provider.url})
    response, _ = await ask(http, proxy, "chat", CLAUDE, credential_override={CLAUDE: {"api_key": "sk-ant-mine"}})
    assert response.status == 200 and provider.last.headers["x-api-key"] == "sk-ant-mine"


async def test_a_place_of_the_callers_gets_the_callers_key_and_nothing_of_ours(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"providers": {"openai": {"headers": {"X-Ours": "secret-of-ours"}}}}, environ)
    elsewhere = {"openai": {"api_key": MINE, "api_base": f"{provider.url}/elsewhere/v1"}}
    response, _ = await ask(http, proxy, "chat", GPT, customer_credentials=elsewhere)
    assert response.status == 200 and provider.last.target == "/elsewhere/v1/chat/completions"
    assert keys_of(provider.last) == f"Bearer {MINE}" and "X-Ours" not in provider.last.headers
    response, body = await ask(http, proxy, "chat", GPT, customer_credentials={"openai": {"api_base": f"{provider.url}/elsewhere/v1"}})
    assert response.status == 424 and b"api_key" in body
    assert len(provider.received) == 1, "our own key goes to nobody's place"


OURS = {"keys": [{"name": "ci", "key": "our-key"}, {"name": "boss", "key": "boss-key", "is_admin": True}]}


async def test_only_an_admin_says_where_a_provider_is(start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str]) -> None:
    proxy = await start_proxy(OURS, environ)
    body = {
        "model": GPT,
        "messages": [{"role": "user", "content": "hi"}],
        "customer_credentials": {"openai": {"api_key": MINE, "api_base": provider.url}},
    }
    for key, status in (("our-key", 403), ("boss-key", 200)):
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http,
            http.post(f"{proxy.base}/chat/completions", json=body) as answer,
        ):
            assert answer.status == status


async def test_a_key_of_the_proxys_own_goes_to_no_provider(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str]
) -> None:
    proxy = await start_proxy(OURS, environ)
    body = {"model": GPT, "messages": [], "customer_credentials": {"openai": "our-key"}}
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Bearer our-key"}) as http,
        http.post(f"{proxy.base}/chat/completions", json=body) as answer,
    ):
        assert answer.status == 400
        assert "our-key" not in await answer.text()
    assert not provider.received


@pytest.mark.parametrize(
    ("credentials", "status", "said"),
    [
        ({"openai": 7}, 400, "customer_credentials[0].openai"),
        ({"openai": {"api_key": "two words"}}, 400, "printable ASCII"),
        ({"openai": {"api_key": MINE, "api_base": "file:///etc"}}, 400, "api_base"),
        ({"openai": {"api_key": MINE, "api_base": f"http://me:{MINE}@127.0.0.1/v1"}}, 400, "api_base"),
        ({"openai": {"api_key": MINE, "api_base": f"http://127.0.0.1/v1?key={MINE}"}}, 400, "api_base"),
        ({"openai": {"api_key": MINE, "api_base": "http://[::1/v1"}}, 400, "api_base"),
        ({"openai": {"api_key": MINE, "api_base": 7}}, 400, "api_base"),
        (MINE, 400, "customer_credentials: found something else, expected an object or an array"),
        ([{"credentials": {"openai": MINE}, "weight": 0}], 400, "customer_credentials[0].weight"),
        ([{"credentials": {"openai": MINE}, "available_models": "gpt"}], 400, "available_models"),
        ({"bedrock": {"aws_access_key_id": "AKIA", "aws_secret_access_key": MINE}}, 424, "AWS_BEARER_TOKEN_BEDROCK"),
        ({"google_vertex_ai": {"vertex_ai_credentials": {"private_key": MINE}}}, 424, "gcloud auth print-access-token"),
        ({"openai": {}}, 424, "api_key"),
        ({"openai": {"api_key": MINE, "vertex_ai_project": "p/../../other"}}, 400, "names of a version"),
        ({"openai": {"api_key": MINE, "api_version": "1&x=y"}}, 400, "names of a version"),
    ],
)
async def test_what_is_no_credential_is_refused_by_name_and_never_quoted(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, credentials: Any, status: int, said: str
) -> None:
    response, body = await ask(http, proxy, "chat", GPT, customer_credentials=credentials)
    assert response.status == status and said in body.decode()
    assert MINE not in body.decode() and not provider.received


async def test_a_customers_deployments_serve_what_they_say(proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    deployments = [
        {"credentials": {"openai": "sk-no-4o"}, "exclude_models": ["gpt-4o*"]},
        {"credentials": {"openai": "sk-only-4o"}, "available_models": ["gpt-4o"]},
    ]
    await ask(http, proxy, "chat", GPT, customer_credentials=deployments)
    assert keys_of(provider.last) == "Bearer sk-only-4o"
    await ask(http, proxy, "chat", "gpt-4.1", customer_credentials=deployments)
    assert keys_of(provider.last) == "Bearer sk-no-4o"


async def test_configured_deployments_are_asked_in_turn(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, row_of: RowOf
) -> None:
    deployments = [
        {"name": "one", "key": "sk-one", "available_models": ["gpt-4o"]},
        {"name": "two", "key": "sk-two", "base_url": f"{provider.url}/two/v1", "available_models": ["gpt-4o"]},
    ]
    without = {name: value for name, value in environ.items() if name != "OPENAI_API_KEY"}
    proxy = await start_proxy({"providers": {"openai": {"deployments": deployments}}}, without)
    limit = whole({"error": {"message": "slow down", "type": "rate_limit_error"}}, 429)
    provider.will(limit)
    response, _ = await ask(http, proxy, "chat", GPT)
    assert response.status == 200 and "X-Respan-Warnings" not in response.headers
    assert {keys_of(request) for request in provider.received} == {"Bearer sk-one", "Bearer sk-two"}
    row = await row_of(proxy, response)
    assert {attempt["deployment_name"] for attempt in row["attempts"]} == {"one", "two"} and row["deployment_name"] in ("one", "two")
    response, body = await ask(http, proxy, "chat", "gpt-4.1")
    assert response.status == 424 and b"one, two" in body


async def test_nothing_that_was_brought_is_kept_anywhere(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider.will(whole({"error": {"message": f"Incorrect API key provided: {MINE}", "type": "invalid_request_error"}}, 401))
    response, body = await ask(
        http, proxy, "chat", GPT, customer_credentials={"openai": MINE}, credential_override={"x": {"api_key": MINE}}
    )
    assert response.status == 401 and MINE.encode() not in body
    assert MINE not in str(response.headers) and MINE not in caplog.text
    async with http.get(f"{proxy.base}/request-logs/{response.headers['X-Respan-Log-Id']}/") as row:
        assert MINE not in await row.text()
    with closing(sqlite3.connect(tmp_path / "calls.db")) as database:
        assert MINE not in "\n".join(database.iterdump())
