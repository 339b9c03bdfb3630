"""A target that fails again and again is asked last for a while, and never not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from respan_proxy.cli import main
from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Act, Answer, FakeProvider, silent, streamed, whole
from tests.reliability.conftest import CLIENTS, RowOf, ask
from tests.reliability.test_fallback import CLAUDE, GPT, NEXT, OWN

SICK = whole({"error": {"message": "oops", "type": "server_error"}}, 503)
REFUSED = whole({"error": {"message": "never heard of it", "type": "invalid_request_error"}}, 400)
# A rest that no test sees the end of, and one that is over at once.
LONG = {"breaker": {"failures": 2, "span_s": 3600, "rest_s": 3600}}
SHORT = {"breaker": {"failures": 2, "span_s": 3600, "rest_s": 1e-9}}


def models(provider: FakeProvider) -> list[str]:
    """Who was asked since the last time."""
    found = [request.json.get("model") or request.target.rpartition("/")[2].partition(":")[0] for request in provider.received]
    provider.received.clear()
    return found


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_after_failures_in_a_row_the_next_one_is_asked_first(
    start_proxy: StartProxy,
    provider: FakeProvider,
    environ: Mapping[str, str],
    http: aiohttp.ClientSession,
    row_of: RowOf,
    client: str,
    streams: bool,
) -> None:
    proxy = await start_proxy(LONG, environ)
    own, other = OWN[client], NEXT[client]
    provider.will(SICK, SICK)
    for _ in range(2):
        await ask(http, proxy, client, own, streams=streams)
    models(provider)
    response, _ = await ask(http, proxy, client, own, streams=streams, fallback_models=[other])
    assert response.status == 200 and models(provider) == [other]
    assert "answered_by_fallback" in response.headers["X-Respan-Warnings"]
    row = await row_of(proxy, response)
    (attempt,) = row["attempts"]
    assert f"{own} rests for another" in attempt["notes"][0] and "2 times in a row" in attempt["notes"][0]
    assert row["status"] == "warning"


async def test_a_target_that_rests_is_asked_when_no_other_is_left_and_its_success_ends_the_rest(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(LONG, environ)
    provider.will(SICK, SICK)
    for _ in range(2):
        await ask(http, proxy, "chat", GPT)
    models(provider)
    provider.will(REFUSED)
    response, _ = await ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE])
    assert response.status == 200 and models(provider) == [CLAUDE, GPT], "asked last"
    await ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE])
    assert models(provider) == [GPT], "it is well again"


async def test_alone_it_is_asked_every_time(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(LONG, environ)
    provider.will(SICK, SICK, SICK, SICK)
    assert [(await ask(http, proxy, "chat", GPT))[0].status for _ in range(5)] == [503, 503, 503, 503, 200]


async def test_if_all_fail_the_caller_hears_the_first_in_the_order_although_it_was_asked_last(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, row_of: RowOf
) -> None:
    proxy = await start_proxy(LONG, environ)
    provider.will(SICK, SICK, REFUSED, whole({"error": {"message": "still ill", "type": "server_error"}}, 503))
    for _ in range(2):
        await ask(http, proxy, "chat", GPT)
    response, body = await ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE])
    assert response.status == 503 and b"still ill" in body
    row = await row_of(proxy, response)
    assert [(attempt["model"], attempt["status_code"]) for attempt in row["attempts"]] == [(CLAUDE, 400), (GPT, 503)]
    assert row["model"] == GPT


async def test_after_the_rest_one_call_tries_and_its_success_ends_it(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(SHORT, environ)
    provider.will(SICK, SICK)
    for _ in range(2):
        await ask(http, proxy, "chat", GPT)
    models(provider)
    await ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE])
    assert models(provider) == [GPT]


BROKEN: dict[str, Answer] = {
    "cut": streamed(recordings.CHAT_STREAM[:2], Act.CUT),
    "reset": streamed(recordings.CHAT_STREAM[:2], Act.RESET),
    "just ends": streamed(recordings.CHAT_STREAM[:2]),
    "an error inside": streamed(
        recordings.CHAT_STREAM[:2], [b'data: {"error":{"message":"no","type":"server_error","code":null}}\n\n', b"data: [DONE]\n\n"]
    ),
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("client", ["chat", "messages"])
async def test_streams_that_break_in_the_middle_count(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, how: str, client: str
) -> None:
    proxy = await start_proxy(LONG, environ)
    provider.will(BROKEN[how], BROKEN[how])
    for _ in range(2):
        response, _ = await ask(http, proxy, client, GPT, streams=True)
        assert response.status == 200
    models(provider)
    await ask(http, proxy, client, GPT, streams=True, fallback_models=[CLAUDE])
    assert models(provider) == [CLAUDE]


@pytest.mark.parametrize(
    ("trouble", "params"),
    [
        (REFUSED, {}),
        (silent(), {"first_token_timeout": 0.05}),
        (SICK, {"customer_credentials": {"openai": "sk-of-a-customer"}}),
    ],
    ids=["a refusal", "a caller in a hurry", "a customer's own key"],
)
async def test_what_tells_nothing_of_our_target_is_not_counted(
    start_proxy: StartProxy,
    provider: FakeProvider,
    environ: Mapping[str, str],
    http: aiohttp.ClientSession,
    trouble: Answer,
    params: dict[str, Any],
) -> None:
    proxy = await start_proxy(LONG, environ)
    provider.will(trouble, trouble)
    for _ in range(2):
        await ask(http, proxy, "chat", GPT, **params)
    models(provider)
    await ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE])
    assert models(provider) == [GPT]


async def test_one_deployment_rests_and_the_other_does_all(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    deployments = [{"name": "one", "key": "sk-one", "weight": 1e9}, {"name": "two", "key": "sk-two", "weight": 1}]
    without = {name: value for name, value in environ.items() if name != "OPENAI_API_KEY"}
    proxy = await start_proxy({**LONG, "providers": {"openai": {"deployments": deployments}}}, without)
    fine = whole(recordings.CHAT)
    provider.will(SICK, fine, SICK, fine)
    for _ in range(4):
        assert (await ask(http, proxy, "chat", GPT))[0].status == 200
    assert [request.headers["Authorization"][-3:] for request in provider.received] == ["one", "two", "one", "two", "two", "two"]


async def test_who_rests_is_told_by_health_and_explain(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(LONG, environ)

    async def told() -> str:
        arguments = ["explain", GPT, "--listen", f"127.0.0.1:{proxy.house.address.port}"]
        return (await asyncio.to_thread(CliRunner().invoke, main, arguments, env=dict(environ))).stdout

    assert "rests" not in await told()
    provider.will(SICK, SICK)
    for _ in range(2):
        await ask(http, proxy, "chat", GPT)
    async with http.get(f"{proxy.root}/health/ready") as health:
        (rest,) = (await health.json())["resting"]
    assert (rest["provider"], rest["model"], rest["failures"]) == ("openai", GPT, 2) and 3500 < rest["left_s"] <= 3600
    assert "rests, and is asked last: failed 2 times in a row, for another 3" in await told()
    await ask(http, proxy, "chat", GPT)
    assert "rests" not in await told()
    provider.will(SICK, SICK)
    for _ in range(2):
        await ask(http, proxy, "chat", GPT, customer_credentials={"openai": "sk-of-a-customer"})
    async with http.get(f"{proxy.root}/health/ready") as health:
        assert (await health.json())["resting"] == [], "what a caller brought is nobody else's business"


async def test_a_reload_keeps_who_rests(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy: Proxy = await start_proxy(LONG, environ)
    provider.will(SICK, SICK)
    for _ in range(2):
        await ask(http, proxy, "chat", GPT)
    proxy.house.adopt(proxy.house.config)
    models(provider)
    await ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE])
    assert models(provider) == [CLAUDE]
