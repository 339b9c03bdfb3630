"""A call too many is refused before it costs anything, in words that the caller's SDK understands, and limits outlive a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from google import genai

from respan_proxy.config import parse
from respan_proxy.handlers.limits import Limits
from respan_proxy.policy.limits import Taken
from respan_proxy.respan.spans import NANO
from respan_proxy.store.spending import spending
from tests.conftest import Proxy, StartProxy
from tests.fakes.provider import FakeProvider, recorded, whole
from tests.reliability.conftest import CLIENTS, RowOf, ask
from tests.reliability.test_fallback import OWN

KEYS = {"alice": "sk-proxy-alice-0001", "bob": "sk-proxy-bob-0002"}
ONE_CUSTOMER = {"customer_params": {"customer_identifier": "acme", "rate_limit": 2}}
# Gpt-4o, as the fake provider counts: what one call costs.
PRICED = "gpt-4o"


class Clock:
    """Seconds of the epoch, in the middle of a day that begins at 20 000 * 86 400."""

    def __init__(self) -> None:
        self.now = 20_000 * 86_400 + 43_200.0

    def __call__(self) -> float:
        return self.now


def at(proxy: Proxy, clock: Clock) -> Proxy:
    proxy.house.spending._now = clock
    return proxy


async def statuses(http: aiohttp.ClientSession, proxy: Proxy, calls: int, client: str = "chat", **params: Any) -> list[int]:
    return [(await ask(http, proxy, client, OWN[client], **params))[0].status for _ in range(calls)]


def keyed(**allowances: Mapping[str, object]) -> dict[str, Any]:
    return {"keys": [{"name": name, "key": key, **allowances.get(name, {})} for name, key in KEYS.items()]}


async def by(key: str, proxy: Proxy, **body: Any) -> tuple[aiohttp.ClientResponse, dict[str, Any]]:
    message = {"model": PRICED, "messages": [{"role": "user", "content": "hi"}], **body}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{proxy.base}/chat/completions", json=message, headers={"Authorization": f"Bearer {KEYS[key]}"}) as response,
    ):
        return response, await response.json()


async def health(http: aiohttp.ClientSession, proxy: Proxy, key: str = "") -> dict[str, Any]:
    async with http.get(f"{proxy.root}/health/ready", headers={"Authorization": f"Bearer {key}"} if key else {}) as answer:
        told: dict[str, Any] = (await answer.json())["limits"]
    return told


# what the caller is told


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_customers_call_too_many_is_refused_in_the_callers_dialect_and_is_a_row(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str, streams: bool
) -> None:
    clock = Clock()
    at(proxy, clock)
    for _ in range(2):
        response, _ = await ask(http, proxy, client, OWN[client], streams=streams, **ONE_CUSTOMER)
        assert response.status == 200
        clock.now += 20
    response, body = await ask(http, proxy, client, OWN[client], streams=streams, **ONE_CUSTOMER)
    assert (response.status, response.headers["Retry-After"], response.content_type) == (429, "21", "application/json")
    assert "x-should-retry" not in response.headers
    assert len(provider.received) == 2
    for words in (b"requests_per_minute", b"customer 'acme'", b"2 of 2", b"21 s"):
        assert words in body
    row = await row_of(proxy, response)
    assert (row["status"], row["status_code"], row["error_code"], row["outcome"]) == ("failed", 429, "rate_limit_exceeded", "rejected")
    assert (row["customer_identifier"], row["attempts"], row["model"], row["stream"]) == ("acme", None, OWN[client], streams)
    clock.now += 21
    response, _ = await ask(http, proxy, client, OWN[client], streams=streams, **ONE_CUSTOMER)
    assert response.status == 200, "as promised"


async def test_a_refusal_has_respans_members_beside_openais(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    await statuses(http, proxy, 2, **ONE_CUSTOMER)
    response, _ = await ask(http, proxy, "chat", OWN["chat"], **ONE_CUSTOMER)
    body = await response.json()
    assert body["error"]["type"] == "rate_limit_error" and body["error"]["code"] == "rate_limit_exceeded"
    assert body["detail"] == body["error"]["message"] and str(body["retry_after"]) == response.headers["Retry-After"]


async def openai_sdk(proxy: Proxy) -> None:
    async with openai.AsyncOpenAI(base_url=proxy.base, api_key="any") as client:
        await client.chat.completions.create(model=PRICED, messages=[{"role": "user", "content": "hi"}])


async def responses_sdk(proxy: Proxy) -> None:
    async with (
        openai.AsyncOpenAI(base_url=proxy.base, api_key="any") as client,
        client.responses.stream(model=PRICED, input="hi") as stream,
    ):
        await stream.get_final_response()


async def anthropic_sdk(proxy: Proxy) -> None:
    async with anthropic.AsyncAnthropic(base_url=f"{proxy.base}/anthropic", api_key="any") as client:
        await client.messages.create(model=OWN["messages"], max_tokens=9, messages=[{"role": "user", "content": "hi"}])


async def google_sdk(proxy: Proxy) -> None:
    http_options = genai.types.HttpOptions(base_url=f"{proxy.base}/google/gemini")
    async with genai.Client(api_key="any", http_options=http_options).aio as client:
        await client.models.generate_content(model=OWN["gemini"], contents="hi")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (openai_sdk, openai.RateLimitError),
        (responses_sdk, openai.RateLimitError),
        (anthropic_sdk, anthropic.RateLimitError),
        (google_sdk, genai.errors.ClientError),
    ],
)
async def test_sdks_raise_their_class_for_a_spent_budget_at_once_and_do_not_ask_again(
    start_proxy: StartProxy,
    environ: Mapping[str, str],
    http: aiohttp.ClientSession,
    call: Callable[[Proxy], Awaitable[None]],
    error: type[Exception],
) -> None:
    proxy = at(await start_proxy({"budgets": {"max_usd_per_day": 0.000001}}, environ), Clock())
    await call(proxy)
    before = proxy.house.gateway.counters.requests
    with pytest.raises(error, match="max_usd_per_day") as caught:
        await call(proxy)  # Anthropic's would wait until midnight if it were not told
    assert proxy.house.gateway.counters.requests == before + 1
    if isinstance(caught.value, genai.errors.ClientError):
        assert caught.value.code == 429
        assert caught.value.details["error"]["details"][0]["retryDelay"] == "43200s"
        assert caught.value.details["error"]["status"] == "RESOURCE_EXHAUSTED"
    else:
        assert isinstance(caught.value, openai.RateLimitError | anthropic.RateLimitError)
        assert caught.value.response.headers["retry-after"] == "43200"
        assert caught.value.response.headers["x-should-retry"] == "false"
        assert "2024-10-05T00:00:00Z" in str(caught.value)


# budgets


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_looping_agent_is_stopped_where_the_days_budget_ends(
    start_proxy: StartProxy,
    environ: Mapping[str, str],
    provider: FakeProvider,
    http: aiohttp.ClientSession,
    row_of: RowOf,
    client: str,
    streams: bool,
) -> None:
    clock = Clock()
    once = at(await start_proxy({}, environ), clock)
    response, _ = await ask(http, once, client, OWN[client], streams=streams)
    cost = (await row_of(once, response))["cost"]
    assert cost > 0
    once.house.adopt(parse({"budgets": {"max_usd_per_day": cost * 4.5}}, environ))
    answered = 1
    while (call := await ask(http, once, client, OWN[client], streams=streams))[0].status == 200:
        answered += 1
        assert answered < 20, "nobody stops it"
    assert answered == len(provider.received) == 5, "the call that ends above the budget is the last"
    refused, body = call
    assert refused.status == 429 and b"this proxy" in body and refused.headers["x-should-retry"] == "false"
    row = await row_of(once, refused)
    assert (row["error_code"], row["cost"], row["attempts"]) == ("budget_exceeded", None, None)
    told = await health(http, once)
    assert told["spent_usd"] == pytest.approx(cost * 5) and told["max_usd_per_day"] == cost * 4.5 and told["refused"] == 1
    clock.now += 43_200
    assert await statuses(http, once, 1, client) == [200], "a day later"
    assert (await health(http, once))["spent_usd"] == pytest.approx(cost, rel=0.5)


async def test_each_key_has_its_own_limits(
    start_proxy: StartProxy, environ: Mapping[str, str], provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    proxy = at(await start_proxy(keyed(alice={"requests_per_minute": 1}), environ), Clock())
    assert (await by("alice", proxy))[0].status == 200
    refused, body = await by("alice", proxy)
    assert refused.status == 429 and "key 'alice'" in body["detail"]
    assert [(await by("bob", proxy))[0].status for _ in range(3)] == [200] * 3
    assert not any(secret.encode() in str(body).encode() for secret in KEYS.values())


async def test_tokens_of_a_key_count_when_they_are_known(
    start_proxy: StartProxy, environ: Mapping[str, str], provider: FakeProvider
) -> None:
    clock = Clock()
    proxy = at(await start_proxy(keyed(alice={"tokens_per_minute": 20}), environ), clock)
    _, body = await by("alice", proxy)
    tokens = body["usage"]["total_tokens"]
    calls = 1
    while (call := await by("alice", proxy))[0].status == 200:
        calls += 1
    assert (calls - 1) * tokens < 20 <= calls * tokens
    assert f"tokens_per_minute of key 'alice' reached: {calls * tokens} of 20" in call[1]["detail"]
    clock.now += int(call[0].headers["Retry-After"])
    assert (await by("alice", proxy))[0].status == 200


async def test_what_two_keys_spent_is_told_to_an_admin_alone(
    start_proxy: StartProxy, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(keyed(alice={"max_usd_per_day": 1, "is_admin": True}), environ)
    await by("alice", proxy)
    await by("bob", proxy)
    assert await health(http, proxy) == await health(http, proxy, KEYS["bob"]) == {"refused": 0, "unpriced": 0}
    told = await health(http, proxy, KEYS["alice"])
    assert told["keys"]["alice"]["spent_usd"] == told["keys"]["bob"]["spent_usd"] == told["spent_usd"] / 2 > 0
    assert (told["keys"]["alice"]["max_usd_per_day"], told["keys"]["bob"]["max_usd_per_day"], told["max_usd_per_day"]) == (1, None, None)


async def test_each_customer_has_what_the_first_glob_that_fits_says(
    start_proxy: StartProxy, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    customers = {"vip-*": {"requests_per_minute": 3}, "*": {"requests_per_minute": 1}}
    proxy = await start_proxy({"customers": customers}, environ)
    assert await statuses(http, proxy, 4, customer_identifier="vip-1") == [200, 200, 200, 429]
    assert await statuses(http, proxy, 2, customer_identifier="joe") == [200, 429]
    assert await statuses(http, proxy, 2, customer_identifier="ann") == [200, 429]
    assert await statuses(http, proxy, 3) == [200] * 3, "nobody in particular"


async def test_a_request_may_lower_its_customers_limit_and_not_raise_it(
    start_proxy: StartProxy, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"customers": {"*": {"requests_per_minute": 2}}}, environ)
    generous = {"customer_identifier": "joe", "rate_limit": 100}
    assert await statuses(http, proxy, 3, customer_params=generous) == [200, 200, 429]
    assert await statuses(http, proxy, 2, customer_params={"customer_identifier": "ann", "rate_limit": 1}) == [200, 429]


@pytest.mark.parametrize("said", [0, -1, 1.5, "many", True, [1]])
async def test_a_rate_limit_that_is_none_is_refused_by_name(proxy: Proxy, http: aiohttp.ClientSession, said: object) -> None:
    response, body = await ask(http, proxy, "chat", PRICED, customer_params={"customer_identifier": "joe", "rate_limit": said})
    assert response.status == 400 and b"customer_params.rate_limit" in body and b"whole number" in body


async def test_a_rate_limit_without_a_customer_is_told_and_limits_nobody(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    response, _ = await ask(http, proxy, "chat", PRICED, customer_params={"rate_limit": 1})
    assert "rate_limit:ignored_without_customer_identifier" in response.headers["X-Respan-Warnings"]
    assert await statuses(http, proxy, 2, customer_params={"rate_limit": 1}) == [200, 200]


async def test_a_cache_hit_is_a_request_and_costs_nothing(
    start_proxy: StartProxy, environ: Mapping[str, str], provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    customers = {"*": {"requests_per_minute": 3, "tokens_per_minute": 1000}}
    proxy = await start_proxy({"customers": customers, "cache": {"enabled": True}}, environ)
    assert await statuses(http, proxy, 1, customer_identifier="joe") == [200]
    first, account = await health(http, proxy), proxy.house.spending.accounts.customers["joe"]
    tokens = account.tokens.used(proxy.house.spending._now())
    assert await statuses(http, proxy, 3, customer_identifier="joe") == [200, 200, 429]
    assert len(provider.received) == 1 and (await health(http, proxy))["spent_usd"] == first["spent_usd"]
    assert account.tokens.used(proxy.house.spending._now()) == tokens > 0


async def test_counting_tokens_is_free(start_proxy: StartProxy, environ: Mapping[str, str], http: aiohttp.ClientSession) -> None:
    proxy = await start_proxy({"budgets": {"max_usd_per_day": 0.000001}}, environ)
    assert await statuses(http, proxy, 2) == [200, 429]
    body = {"model": OWN["messages"], "messages": [{"role": "user", "content": "hi"}]}
    async with http.post(f"{proxy.base}/anthropic/v1/messages/count_tokens", json=body) as response:
        assert response.status == 200


async def test_calls_at_the_same_time_do_not_pass_a_requests_limit(
    start_proxy: StartProxy, environ: Mapping[str, str], provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"customers": {"*": {"requests_per_minute": 5}}}, environ)
    calls = await asyncio.gather(*[ask(http, proxy, "chat", PRICED, customer_identifier="joe") for _ in range(20)])
    assert sorted(response.status for response, _ in calls) == [200] * 5 + [429] * 15
    assert len(provider.received) == 5


async def test_calls_at_the_same_time_overdraw_a_budget_by_what_they_cost_and_no_more(
    start_proxy: StartProxy, environ: Mapping[str, str], provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"budgets": {"max_usd_per_day": 0.000001}}, environ)
    go = asyncio.Event()
    provider.will(*[lambda request: replace(recorded(request), before=[go])] * 5)
    calls = [asyncio.create_task(ask(http, proxy, "chat", PRICED)) for _ in range(5)]
    while len(provider.received) < 5:
        await asyncio.sleep(0)
    go.set()
    assert [response.status for response, _ in await asyncio.gather(*calls)] == [200] * 5
    assert await statuses(http, proxy, 3) == [429] * 3 and len(provider.received) == 5


async def test_a_call_that_fails_is_a_request_too(
    start_proxy: StartProxy, environ: Mapping[str, str], provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"customers": {"*": {"requests_per_minute": 2}}}, environ)
    provider.will(whole({"error": {"message": "no"}}, 500))
    assert await statuses(http, proxy, 3, customer_identifier="joe") == [500, 200, 429]


async def test_a_providers_own_429_is_no_refusal_of_ours(proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    provider.will(whole({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, 429))
    assert await statuses(http, proxy, 1, customer_params={"customer_identifier": "joe", "rate_limit": 2}) == [429]
    told = await health(http, proxy)
    assert (told["refused"], told["customers"]) == (0, 1)


# reload and restart


async def test_a_reload_keeps_what_was_counted(start_proxy: StartProxy, environ: Mapping[str, str], http: aiohttp.ClientSession) -> None:
    settings = {"customers": {"*": {"requests_per_minute": 2}}}
    proxy = await start_proxy(settings, environ)
    assert await statuses(http, proxy, 2, customer_identifier="joe") == [200, 200]
    proxy.house.adopt(parse({"customers": {"*": {"requests_per_minute": 3}}}, environ))
    assert await statuses(http, proxy, 2, customer_identifier="joe") == [200, 429]


async def test_a_budget_that_a_reload_brings_knows_what_was_spent(
    start_proxy: StartProxy, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({}, environ)
    assert await statuses(http, proxy, 1) == [200]
    proxy.house.adopt(parse({"budgets": {"max_usd_per_day": 0.000001}}, environ))
    assert await statuses(http, proxy, 1) == [429]


async def test_a_proxy_that_begins_goes_on_where_the_last_one_was(
    start_proxy: StartProxy, environ: Mapping[str, str], http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    settings = {
        **keyed(alice={"requests_per_minute": 3, "is_admin": True}, bob={"tokens_per_minute": 10**6}),
        "budgets": {"max_usd_per_day": 100},
        "customers": {"*": {"requests_per_minute": 3}},
    }
    proxy = await start_proxy(settings, environ)
    for _ in range(3):
        assert (await by("alice", proxy, customer_identifier="joe"))[0].status == 200
    assert (await by("alice", proxy, customer_identifier="joe"))[0].status == 429
    assert (await by("bob", proxy))[0].status == 200
    assert await proxy.house.writer.barrier(30)
    lived, now = proxy.house.spending, proxy.house.spending._now()
    async with Limits(partial(spending, tmp_path / "calls.db", "another instance")) as anew:
        await anew.restored()
    for mine, other in [
        (lived.accounts.whole, anew.accounts.whole),
        *((account, anew.accounts.keys[key]) for key, account in lived.accounts.keys.items()),
        *((account, anew.accounts.customers[who]) for who, account in lived.accounts.customers.items()),
    ]:
        assert mine.spent(now) == other.spent(now) > 0
        assert mine.requests.used(now) == other.requests.used(now) > 0
        assert mine.tokens.used(now) == other.tokens.used(now) > 0
    async with Limits(partial(spending, tmp_path / "calls.db", proxy.house.writer.instance_id)) as itself:
        await itself.restored()
    assert itself.accounts.whole.spent(now) == 0, "what this instance took is counted already"


async def test_calls_that_a_limit_could_refuse_wait_for_what_was_taken_earlier(
    start_proxy: StartProxy,
    environ: Mapping[str, str],
    provider: FakeProvider,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = asyncio.Event()

    async def slowly(path: Path, instance_id: str, now: float) -> list[Taken]:
        await read.wait()
        return [Taken(None, None, now, cost=10 * NANO), Taken(None, "joe", now, requests=2)]

    monkeypatch.setattr("respan_proxy.app.spending", slowly)
    proxy = await start_proxy({"customers": {"joe": {"requests_per_minute": 2}}}, environ)
    proxy.house.adopt(parse({}, environ))
    assert await statuses(http, proxy, 1) == [200], "no limit, nothing to wait for"
    proxy.house.adopt(parse({"customers": {"joe": {"requests_per_minute": 2}}}, environ))
    late = asyncio.create_task(statuses(http, proxy, 1, customer_identifier="joe"))
    while proxy.house.gateway.counters.requests < 2:
        await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert (late.done(), len(provider.received)) == (False, 1)
    read.set()
    assert await late == [429]
    assert (await health(http, proxy))["spent_usd"] > 10, "and what was spent meanwhile"


async def test_a_disk_that_hangs_stops_no_calls(
    start_proxy: StartProxy, environ: Mapping[str, str], http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(path: Path, instance_id: str, now: float) -> list[Taken]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr("respan_proxy.app.spending", never)
    monkeypatch.setattr("respan_proxy.handlers.limits.RESTORING_S", 0)
    proxy = await start_proxy({"customers": {"*": {"requests_per_minute": 1}}}, environ)
    assert await statuses(http, proxy, 2, customer_identifier="joe") == [200, 429]


async def test_a_database_that_cannot_be_read_is_told_and_limits_begin_at_zero(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "calls.db").write_bytes(b"no database" * 1000)
    assert await spending(tmp_path / "calls.db", "x", 1e9) == []
    assert "limits and budgets begin at zero" in caplog.text


# what people hear


async def test_the_log_says_once_that_a_budget_is_nearly_spent_and_once_that_it_is(
    start_proxy: StartProxy, environ: Mapping[str, str], http: aiohttp.ClientSession, row_of: RowOf, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = at(await start_proxy({}, environ), Clock())
    response, _ = await ask(http, proxy, "chat", PRICED)
    cost = (await row_of(proxy, response))["cost"]
    proxy.house.adopt(parse({"budgets": {"max_usd_per_day": cost * 10}}, environ))
    assert await statuses(http, proxy, 12) == [200] * 9 + [429] * 3
    said = [record.getMessage() for record in caplog.records if "budget" in record.getMessage()]
    assert said == [f"{share} % of the budget of this proxy for today is spent" for share in (80, 100)]


async def test_calls_whose_price_nobody_knows_are_counted_as_such(
    start_proxy: StartProxy, environ: Mapping[str, str], provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"models": {"mine": "openai/nobody-knows-it"}}, environ)
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    message = {"role": "assistant", "content": "hi"}
    provider.will(
        whole(
            {"id": "x", "object": "chat.completion", "model": "nobody-knows-it", "usage": usage}
            | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        )
    )
    response, _ = await ask(http, proxy, "chat", "mine")
    told = await health(http, proxy)
    assert (response.status, told["unpriced"], told["spent_usd"]) == (200, 1, 0)
    await ask(http, proxy, "chat", "echo/hello")
    assert (await health(http, proxy))["unpriced"] == 1, "the built-in provider costs nothing, and that is known"
