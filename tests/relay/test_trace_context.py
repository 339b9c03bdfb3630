"""Third parties hear nothing of traces; a provider of our own hears of which span of ours its call is a part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from tests.conftest import StartProxy
from tests.fakes.provider import FakeProvider

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FROM_CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1", "baggage": "user=me"}
CHAT = {"model": "ours/m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def ours(provider: FakeProvider) -> dict[str, Any]:
    return {"providers": {"ours": {"base_url": f"{provider.url}/v1", "models": ["m"], "auth": "none", "trace_context": True}}}


async def called(client: aiohttp.ClientSession, base: str, headers: Mapping[str, str], body: Mapping[str, Any] = CHAT) -> str:
    async with client.post(f"{base}/chat/completions", json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        return response.headers["X-Respan-Log-Id"]


async def test_nothing_of_a_trace_goes_to_a_third_party(
    start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({}, environ)
    await called(client, proxy.base, FROM_CALLER, {**CHAT, "model": "gpt-4o"})
    assert not {"traceparent", "tracestate", "baggage"} & {name.lower() for name in provider.last.headers}


async def test_a_provider_of_our_own_is_told_our_span(
    start_proxy: StartProxy, ours: dict[str, Any], provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(ours)
    log_id = await called(client, proxy.base, {})
    assert provider.last.headers["traceparent"] == f"00-{log_id}-{log_id[16:]}-01"
    assert "tracestate" not in provider.last.headers


async def test_the_state_of_the_callers_trace_goes_with_it_and_baggage_stays(
    start_proxy: StartProxy, ours: dict[str, Any], provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(ours)
    log_id = await called(client, proxy.base, FROM_CALLER)
    _, _, span_id, flags = provider.last.headers["traceparent"].split("-")
    assert (span_id, flags) == (log_id[16:], "01"), "our span, not the caller's"
    assert provider.last.headers["tracestate"] == "vendor=1"
    assert "baggage" not in provider.last.headers


async def test_a_state_without_a_good_traceparent_says_nothing(
    start_proxy: StartProxy, ours: dict[str, Any], provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(ours)
    await called(client, proxy.base, {"traceparent": "00-bad", "tracestate": "vendor=1"})
    assert "tracestate" not in provider.last.headers
