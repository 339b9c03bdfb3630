"""One of several models or deployments is picked for each call, and the others are asked when it fails."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from respan_proxy.config import parse
from respan_proxy.errors import ConfigError
from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, streamed, whole
from tests.reliability.conftest import CLIENTS, RowOf, ask
from tests.reliability.test_credentials import keys_of
from tests.reliability.test_fallback import CLAUDE, GEMINI, GPT, ONLY_ONCE, OWN, said

BAD = whole({"error": {"message": "never heard of it", "type": "invalid_request_error"}}, 400)
GROUPS = {
    "everyday": {"models": [{"model": GPT, "weight": 1e9}, {"model": CLAUDE, "weight": 1}]},
    "turns": {"models": [GPT, CLAUDE], "pick": "round_robin"},
}


def both(*models: str) -> list[dict[str, Any]]:
    """The first nearly always comes first."""
    return [{"model": model, "weight": 10.0 ** (9 - 9 * place)} for place, model in enumerate(models)]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("form", ["load_balance_group", "load_balance_models", "loadbalance_models"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_request_names_models_and_one_is_picked_whatever_its_model_says(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str, form: str, streams: bool
) -> None:
    models = both(GEMINI, GPT)
    params = {form: {"group_id": "mine", "models": models} if form == "load_balance_group" else models}
    response, body = await ask(http, proxy, client, "gpt-4.1", streams=streams, **params)
    assert response.status == 200 and said(client, body, streams) == recordings.TEXT
    assert f"/{GEMINI}:" in provider.last.target
    assert response.headers["X-Respan-Warnings"] == "model:overridden_by_load_balance"
    row = await row_of(proxy, response)
    assert (row["request_model"], row["provider_id"]) == ("gpt-4.1", "gemini")
    assert row["load_balance_group_id"] == ("mine" if form == "load_balance_group" else None)
    assert row["routing_time"] >= 0


async def test_a_model_that_is_one_of_them_is_not_overridden(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    response, _ = await ask(http, proxy, "chat", GPT, load_balance_models=both(CLAUDE, GPT))
    assert response.status == 200 and "X-Respan-Warnings" not in response.headers


async def test_no_model_is_needed_beside_them(proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "load_balance_models": both(GPT, CLAUDE)}
    async with http.post(f"{proxy.base}/chat/completions", json=body) as response:
        assert response.status == 200
    assert provider.last.json["model"] == GPT and "load_balance_models" not in provider.last.json


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_after_the_picked_one_the_others_are_asked_and_then_the_fallback_models(
    start_proxy: StartProxy,
    provider: FakeProvider,
    environ: Mapping[str, str],
    http: aiohttp.ClientSession,
    row_of: RowOf,
    client: str,
    streams: bool,
) -> None:
    proxy = await start_proxy({"groups": GROUPS}, environ)
    provider.will(BAD, BAD)
    group = {"load_balance_group": {"group_id": "everyday"}, "retry_params": ONLY_ONCE}
    response, body = await ask(http, proxy, client, OWN[client], streams=streams, fallback_models=[GEMINI], **group)
    assert response.status == 200 and said(client, body, streams) == recordings.TEXT
    row = await row_of(proxy, response)
    assert [attempt["model"] for attempt in row["attempts"]] == [GPT, CLAUDE, GEMINI]
    assert row["attempts"][0]["error"] and row["load_balance_group_id"] is None, "none of the group answered"
    assert "answered_by_fallback" in response.headers["X-Respan-Warnings"]
    provider.will(BAD)
    response, _ = await ask(http, proxy, client, GPT, streams=streams, **group)
    assert response.status == 200 and "answered_by_fallback" not in response.headers.get("X-Respan-Warnings", "")


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_group_may_be_asked_for_as_a_model(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, row_of: RowOf, client: str
) -> None:
    proxy = await start_proxy({"groups": GROUPS}, environ)
    response, _ = await ask(http, proxy, client, "everyday")
    assert response.status == 200 and "X-Respan-Warnings" not in response.headers
    row = await row_of(proxy, response)
    assert (row["attempts"][0]["model"], row["request_model"], row["load_balance_group_id"]) == (GPT, "everyday", "everyday")
    assert provider.last.json["model"] == GPT
    async with http.get(f"{proxy.base}/models") as listed:
        assert {"everyday", "turns"} <= {model["id"] for model in (await listed.json())["data"]}
    provider.will(BAD)
    response, _ = await ask(http, proxy, client, GEMINI, fallback_models=["everyday"], retry_params=ONLY_ONCE)
    assert response.status == 200 and provider.last.json["model"] == GPT
    assert (await row_of(proxy, response))["load_balance_group_id"] == "everyday"


async def test_models_in_the_request_stand_for_the_stored_ones(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"groups": GROUPS}, environ)
    await ask(http, proxy, "chat", GPT, load_balance_group={"group_id": "everyday", "models": both("gpt-4.1", GPT)})
    assert provider.last.json["model"] == "gpt-4.1"


async def test_a_group_is_asked_one_after_the_other(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"groups": GROUPS}, environ)
    for _ in range(4):
        await ask(http, proxy, "chat", "turns")
    assert [request.json["model"] for request in provider.received] == [GPT, CLAUDE, GPT, CLAUDE]


@pytest.mark.parametrize(
    ("params", "status", "named"),
    [
        ({"load_balance_group": {"group_id": "nobody"}}, 404, "everyday, turns"),
        ({"load_balance_group": {"group_id": 7}}, 400, "load_balance_group.group_id"),
        ({"load_balance_group": {"name": "everyday"}}, 400, "group_id or models"),
        ({"load_balance_group": {"models": "gpt"}}, 400, "load_balance_group.models"),
        ({"load_balance_group": {"models": [{"model": GPT}, "gpt"]}}, 400, "load_balance_group.models[1]"),
        ({"load_balance_models": [{"weight": 1}]}, 400, "load_balance_models[0].model"),
        ({"load_balance_models": [{"model": GPT, "weight": 0}]}, 400, "load_balance_models[0].weight"),
        ({"load_balance_models": [{"model": GPT, "weight": "2"}]}, 400, "load_balance_models[0].weight"),
        ({"load_balance_models": [{"model": GPT, "credentials": {"api_key": "two words"}}]}, 400, "load_balance_models[0].credentials"),
        ({"load_balance_models": [{"model": GPT}] * 33}, 400, "32 at the most"),
    ],
)
async def test_what_is_no_choice_is_refused_by_its_place(
    start_proxy: StartProxy,
    provider: FakeProvider,
    environ: Mapping[str, str],
    http: aiohttp.ClientSession,
    params: dict[str, Any],
    status: int,
    named: str,
) -> None:
    proxy = await start_proxy({"groups": GROUPS}, environ)
    response, body = await ask(http, proxy, "chat", GPT, **params)
    assert response.status == status and named in json.loads(body)["error"]["message"]
    assert not provider.received and b"two words" not in body


@pytest.mark.parametrize("form", ["one", "by provider"])
async def test_an_item_brings_credentials_of_its_own(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, form: str
) -> None:
    own: dict[str, Any] = {"api_key": "sk-the-items-own"}
    models = both(GPT, CLAUDE)
    models[0]["credentials"] = own if form == "one" else {"openai": own}
    less = {"customer_credentials": {"openai": "sk-customer"}, "customer_api_keys": {GPT: "sk-by-model"}}
    provider.will(BAD)
    response, _ = await ask(http, proxy, "chat", GPT, load_balance_models=models, **less)
    assert response.status == 200
    first, second = provider.received
    assert keys_of(first) == "Bearer sk-the-items-own" and "sk-the-items-own" not in keys_of(second)
    row = await row_of(proxy, response)
    assert "sk-the-items-own" not in json.dumps(row)
    await ask(http, proxy, "chat", GPT, load_balance_models=models, credential_override={GPT: "sk-override"})
    assert keys_of(provider.last) == "Bearer sk-override"


async def test_deployments_share_by_weight_or_one_after_the_other(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    deployments = [{"name": "one", "key": "sk-one", "weight": 1e9}, {"name": "two", "key": "sk-two", "weight": 1}]
    without = {name: value for name, value in environ.items() if name != "OPENAI_API_KEY"}
    proxy = await start_proxy({"providers": {"openai": {"deployments": deployments}}}, without)
    for _ in range(5):
        await ask(http, proxy, "chat", GPT)
    assert Counter(keys_of(request) for request in provider.received) == {"Bearer sk-one": 5}


async def test_deployments_take_turns_when_the_provider_says_so(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    deployments = [{"name": "one", "key": "sk-one", "weight": 1e9}, {"name": "two", "key": "sk-two"}]
    without = {name: value for name, value in environ.items() if name != "OPENAI_API_KEY"}
    proxy = await start_proxy({"providers": {"openai": {"pick": "round_robin", "deployments": deployments}}}, without)
    for _ in range(4):
        await ask(http, proxy, "chat", GPT)
    assert [keys_of(request) for request in provider.received] == ["Bearer sk-one", "Bearer sk-two"] * 2


async def test_the_least_busy_deployment_is_asked(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    deployments = [{"name": "one", "key": "sk-one", "weight": 1e9}, {"name": "two", "key": "sk-two", "weight": 1}]
    without = {name: value for name, value in environ.items() if name != "OPENAI_API_KEY"}
    proxy = await start_proxy({"providers": {"openai": {"pick": "least_busy", "deployments": deployments}}}, without)
    go_on = asyncio.Event()
    provider.will(streamed(recordings.CHAT_STREAM[:2], go_on, recordings.CHAT_STREAM[2:]))
    long_one = asyncio.create_task(ask(http, proxy, "chat", GPT, streams=True))
    await provider.arrival()
    for _ in range(3):
        await ask(http, proxy, "chat", GPT)
    go_on.set()
    await long_one
    await ask(http, proxy, "chat", GPT)
    assert [keys_of(request)[-3:] for request in provider.received] == ["one", "two", "two", "two", "one"]


async def test_a_customers_deployments_are_weighted(proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    own = [{"credentials": {"openai": "sk-rarely"}, "weight": 1e-9}, {"credentials": {"openai": "sk-often"}, "weight": 0.5}]
    for _ in range(5):
        await ask(http, proxy, "chat", GPT, customer_credentials=own)
    assert Counter(keys_of(request) for request in provider.received) == {"Bearer sk-often": 5}


async def test_the_router_leaves_out_what_is_excluded_and_fallback_models_stay(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    async def sent(**params: Any) -> tuple[int, list[str]]:
        provider.received.clear()
        body = {"messages": [{"role": "user", "content": "hi"}], "respan_params": {**params, "retry_params": ONLY_ONCE}}
        async with http.post(f"{proxy.base}/chat/completions", json=body) as response:
            return response.status, [request.json["model"] for request in provider.received]

    assert await sent(models=[GPT, CLAUDE], exclude_models=[GPT]) == (200, [CLAUDE])
    assert await sent(models=[GPT, CLAUDE], exclude_providers=["openai"], disable_fallback=True) == (200, [CLAUDE])
    assert await sent(models=["openai/gpt-4o", CLAUDE], exclude_models=[GPT]) == (200, [CLAUDE])
    provider.will(BAD)
    assert await sent(models=[CLAUDE], exclude_models=[GPT], exclude_providers=["openai"], fallback_models=[GPT]) == (200, [CLAUDE, GPT])
    provider.will(BAD)
    assert await sent(models=[GPT, CLAUDE], disable_fallback=True) == (400, [GPT])
    assert await sent(models=[GPT], exclude_models=[GPT]) == (400, [])
    assert (await sent(models=[GPT], exclude_providers=["openai"]))[1] == []


async def test_a_models_own_name_is_never_excluded(proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    response, _ = await ask(http, proxy, "chat", GPT, exclude_models=[GPT], exclude_providers=["openai"])
    assert response.status == 200 and provider.last.json["model"] == GPT


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"g": {}}, "groups.g.models: found nothing, expected a list of models"),
        ({"g": {"models": []}}, "groups.g.models: found a list"),
        ({"g": {"models": [{"model": "gpt-4o", "weight": -1}]}}, "groups.g.models"),
        ({"g": {"models": ["gpt-4o"], "pick": "best"}}, "groups.g.pick: found a string 'best', expected one of \"weighted\""),
        ({"g": {"models": ["h"]}, "h": {"models": ["gpt-4o"]}}, "a group holds no groups"),
        ({"g": {"models": ["gpt-4o"], "pik": "weighted"}}, "did you mean pick?"),
    ],
)
def test_a_group_that_is_none_is_told_by_file_and_key(table: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"groups": table}, {}, "test.toml")
    assert any(problem.startswith("test.toml: ") and complaint in problem for problem in caught.value.problems), caught.value.problems
