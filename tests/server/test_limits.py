"""Named limits of what a caller may send: one for all, one per provider, one for headers."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.conftest import StartProxy
from tests.fakes.provider import FakeProvider

CHAT = {"model": "gpt-4.1-nano", "messages": [{"role": "user", "content": "x" * 3000}]}


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_body_beyond_its_providers_limit_is_413_in_the_callers_dialect(
    start_proxy: StartProxy, environ: dict[str, str], client: aiohttp.ClientSession, provider: FakeProvider
) -> None:
    proxy = await start_proxy({"providers": {"anthropic": {"request_bytes": "2 KB"}}}, environ)
    asked = {**CHAT, "model": "claude-sonnet-4-5", "max_tokens": 1}
    async with client.post(f"{proxy.base}/anthropic/v1/messages", json=asked) as response:
        told = await response.json()
        log_id = response.headers["X-Respan-Log-Id"]
    assert (response.status, told["type"], told["error"]["type"]) == (413, "error", "request_too_large")
    assert "providers.anthropic.request_bytes" in told["error"]["message"]
    assert provider.received == []
    async with client.get(f"{proxy.base}/request-logs/{log_id}/") as response:
        assert (await response.json())["status_code"] == 413
    async with client.post(f"{proxy.base}/chat/completions", json=CHAT) as response:
        assert response.status == 200


async def test_a_provider_may_take_more_than_the_others(
    start_proxy: StartProxy, environ: dict[str, str], client: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"limits": {"request_bytes": "2 KB"}, "providers": {"openai": {"request_bytes": "1 MB"}}}, environ)
    async with client.post(f"{proxy.base}/chat/completions", json=CHAT) as response:
        assert response.status == 200
    async with client.post(f"{proxy.base}/anthropic/v1/messages", json={**CHAT, "model": "claude-x", "max_tokens": 1}) as response:
        assert response.status == 413


async def test_a_bomb_is_413_whatever_its_compressed_size(
    start_proxy: StartProxy, environ: dict[str, str], client: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"limits": {"request_bytes": "100 KB"}}, environ)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    async with client.post(f"{proxy.base}/chat/completions", data=gzip.compress(b" " * 10_000_000), headers=headers) as response:
        assert response.status == 413


async def test_headers_may_be_as_long_as_configured(
    start_proxy: StartProxy, environ: dict[str, str], client: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"limits": {"header_bytes": 100_000}}, environ)
    async with client.get(f"{proxy.base}/models", headers={"X-Long": "x" * 90_000}) as response:
        assert response.status == 200
    async with client.get(f"{proxy.base}/models", headers={"X-Long": "x" * 110_000}) as response:
        assert response.status == 431
        assert "limits.header_bytes" in await response.text()


async def test_what_a_row_keeps_of_a_body_is_configured_and_what_passes_is_not_touched(
    start_proxy: StartProxy, environ: dict[str, str], client: aiohttp.ClientSession, provider: FakeProvider
) -> None:
    proxy = await start_proxy({"store": {"body_bytes": "1 KB"}}, environ)
    async with client.post(f"{proxy.base}/chat/completions", json=CHAT) as response:
        log_id = response.headers["X-Respan-Log-Id"]
    assert len(provider.received[0].body) > 3000
    async with client.get(f"{proxy.base}/request-logs/{log_id}/") as response:
        row = await response.json()
    assert "request" in row["cut"]
    assert row["body_bytes"] == len(provider.received[0].body)
