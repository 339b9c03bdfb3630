"""`/api/caches/` over real sockets: kept answers are listed, looked at, given another time, and forgotten, by those who may."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider

RED, BLUE, BOSS = ({"Authorization": f"Bearer {name}-key-0123456789"} for name in ("red", "blue", "boss"))
KEYS = {
    "keys": [
        {"name": "red", "key": "red-key-0123456789"},
        {"name": "blue", "key": "blue-key-0123456789"},
        {"name": "boss", "key": "boss-key-0123456789", "is_admin": True},
    ]
}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def call(http: aiohttp.ClientSession, proxy: Proxy, said: str, headers: Mapping[str, str] | None = None, **more: Any) -> str:
    """The key under which the answer is kept."""
    body = {"model": "gpt-4.1-nano", "messages": [{"role": "user", "content": said}], "cache_enabled": True, **more}
    async with http.post(f"{proxy.base}/chat/completions", json=body, headers=headers) as response:
        assert response.status == 200
        log_id = response.headers["X-Respan-Log-Id"]
    async with http.get(f"{proxy.base}/request-logs/{log_id}/", headers=headers) as response:
        key: str = (await response.json())["cache_key"]
    return key


async def read(
    http: aiohttp.ClientSession, method: str, url: str, status: int = 200, json: Any = None, headers: Mapping[str, str] | None = None
) -> Any:
    async with http.request(method, url, json=json, headers=headers) as response:
        assert response.status == status, await response.text()
        return await response.json() if status != 204 else None


async def test_a_kept_answer_is_shown_in_respans_shape(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    long = "hi " * 60
    key = await call(http, proxy, long, cache_ttl=60)
    await call(http, proxy, long)
    seen = await read(http, "GET", f"{proxy.base}/caches/{key}/")
    assert seen["cache_key"] == key
    assert (len(seen["prompt_content"]), seen["prompt_content"][-3:]) == (100, "...")
    assert seen["response_content"] == recordings.TEXT
    assert seen["request_content"] == seen["prompt_content"]
    assert seen["prompt_messages"] == [{"role": "user", "content": long}]
    assert seen["full_response"] == recordings.CHAT
    assert seen["hit_count"] == 1
    assert seen["response_time"] > 0
    assert seen["timestamp"] == seen["updated_at"] < seen["expiry_date"]
    assert seen["timestamp"].endswith("Z")


async def test_the_list_has_sums_pages_filters_and_an_order(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    keys = [await call(http, proxy, said) for said in ("a", "b", "c")]
    for _ in range(2):
        await call(http, proxy, "b")
    listed = await read(http, "POST", f"{proxy.base}/caches/")
    assert [row["cache_key"] for row in listed["data"]["results"]] == keys[::-1]
    assert (listed["data"]["count"], listed["data"]["total_count"], listed["data"]["next"]) == (3, 3, None)
    cost = listed["data"]["results"][0]["cost"]
    assert listed["summary"]["total_hit_count"] == 2
    assert listed["summary"]["total_tokens"] == 50
    assert listed["summary"]["total_cost"] == pytest.approx(2 * cost)
    assert listed["summary"]["total_time"] > 0
    page = await read(http, "GET", f"{proxy.base}/caches?page=2&page_size=2&sort_by=timestamp")
    assert [row["cache_key"] for row in page["data"]["results"]] == keys[2:]
    assert page["data"]["previous"].endswith("page=1&page_size=2&sort_by=timestamp")
    used = await read(
        http, "POST", f"{proxy.base}/caches/?sort_by=-hit_count", json={"filters": {"hit_count": {"operator": "gt", "value": [0]}}}
    )
    assert [row["cache_key"] for row in used["data"]["results"]] == [keys[1]]
    assert used["data"]["current_filters"] == {"hit_count": [0]}
    by_key = await read(
        http, "POST", f"{proxy.base}/caches/", json={"filters": {"cache_key_by_org_uuid": {"operator": "", "value": keys[0]}}}
    )
    assert [row["cache_key"] for row in by_key["data"]["results"]] == [keys[0]]
    later = await read(http, "GET", f"{proxy.base}/caches/?expiry_date[operator]=lt&expiry_date[value]=2001-01-01T00:00:00Z")
    assert later["data"]["results"] == []
    assert (await read(http, "POST", f"{proxy.base}/caches/summary/"))["total_count"] == 3
    wrong = await read(http, "POST", f"{proxy.base}/caches/", 400, json={"filters": {"timestmp": {"value": 1}}})
    assert wrong["detail"] == "unknown filter field 'timestmp'; did you mean 'timestamp'?"


async def test_an_expiry_date_is_changed_taken_away_or_over(proxy: Proxy, http: aiohttp.ClientSession, provider: FakeProvider) -> None:
    key = await call(http, proxy, "a")
    url = f"{proxy.base}/caches/{key}/"
    changed = await read(http, "PATCH", url, json={"expiry_date": "2099-01-01T00:00:00Z"})
    assert changed["expiry_date"] == "2099-01-01T00:00:00.000000Z"
    assert changed["updated_at"] > changed["timestamp"]
    assert (await read(http, "PATCH", url, json={"expiry_date": None}))["expiry_date"] is None
    assert (await read(http, "GET", url))["expiry_date"] is None
    refused = await read(http, "PATCH", url, 400, json={"hit_count": 3})
    assert refused["detail"] == "expected the member 'expiry_date' and no other, found hit_count"
    await read(http, "PATCH", url, 400, json={"expiry_date": "tomorrow"})
    await call(http, proxy, "a")
    assert len(provider.received) == 1
    await read(http, "PATCH", url, json={"expiry_date": "2001-01-01T00:00:00Z"})
    await read(http, "GET", url, 404)
    await call(http, proxy, "a")
    assert len(provider.received) == 2


async def test_answers_are_forgotten_one_by_one_or_in_bulk(proxy: Proxy, http: aiohttp.ClientSession, provider: FakeProvider) -> None:
    keys = [await call(http, proxy, said) for said in "abcd"]
    await read(http, "DELETE", f"{proxy.base}/caches/{keys[0]}/", 204)
    gone = await read(http, "DELETE", f"{proxy.base}/caches/{keys[0]}/", 404)
    assert gone["error"]["code"] == "cache_not_found"
    some = await read(http, "DELETE", f"{proxy.base}/caches/bulk/", json={"cache_keys": [keys[1], "none"]})
    assert (some["success_count"], some["error_count"], some["deleted_count"]) == (1, 1, 1)
    assert some["errors"] == [{"cache_key": "none", "error": "not found"}]
    for wrong in ({}, {"all": True, "cache_keys": []}, {"ids": ["1"]}, {"cache_keys": "x"}):
        await read(http, "DELETE", f"{proxy.base}/caches/bulk/", 400, json=wrong)
    await read(http, "DELETE", f"{proxy.base}/caches/bulk/", 422, json={"cache_keys": ["x"] * 1001})
    rest = await read(http, "DELETE", f"{proxy.base}/caches/bulk/", json={"all": True})
    assert rest["deleted_count"] == 2
    assert (await read(http, "GET", f"{proxy.base}/caches/"))["data"]["results"] == []
    await call(http, proxy, "d")
    assert len(provider.received) == 5


async def test_each_key_has_its_own_answers_and_sees_no_others(
    start_proxy: StartProxy, http: aiohttp.ClientSession, provider: FakeProvider, environ: dict[str, str]
) -> None:
    proxy = await start_proxy(KEYS, environ)
    red, blue = await call(http, proxy, "a", RED), await call(http, proxy, "a", BLUE)
    assert red != blue
    assert len(provider.received) == 2

    async def listed(headers: Mapping[str, str]) -> list[str]:
        seen = await read(http, "POST", f"{proxy.base}/caches/", headers=headers)
        return [row["cache_key"] for row in seen["data"]["results"]]

    assert (await listed(RED), await listed(BLUE), await listed(BOSS)) == ([red], [blue], [blue, red])
    await read(http, "GET", f"{proxy.base}/caches/{blue}/", 404, headers=RED)
    await read(http, "DELETE", f"{proxy.base}/caches/{blue}/", 404, headers=RED)
    assert (await read(http, "DELETE", f"{proxy.base}/caches/bulk/", json={"cache_keys": [blue]}, headers=RED))["deleted_count"] == 0
    assert (await read(http, "DELETE", f"{proxy.base}/caches/bulk/", json={"all": True}, headers=RED))["deleted_count"] == 1
    assert await listed(BOSS) == [blue]
    await read(http, "POST", f"{proxy.base}/caches/", 401)


async def test_no_secret_and_nothing_that_was_to_be_forgotten_is_shown(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    secret = {"customer_credentials": {"openai": {"api_key": "sk-customers-own-secret"}}}
    key = await call(http, proxy, "a", **secret)
    assert "sk-customers-own-secret" not in str(await read(http, "GET", f"{proxy.base}/caches/{key}/"))
    key = await call(http, proxy, "b", disable_log=True)
    seen = await read(http, "GET", f"{proxy.base}/caches/{key}/")
    assert recordings.TEXT not in str(seen)
    assert [seen[name] for name in ("prompt_content", "response_content", "prompt_messages", "full_response")] == [None] * 4
    embedded = {"model": "text-embedding-3-small", "input": "a", "cache_enabled": True}
    async with http.post(f"{proxy.base}/embeddings", json=embedded) as response:
        assert response.status == 200
    assert (await read(http, "GET", f"{proxy.base}/caches/"))["data"]["results"][0]["response_content"] is None
