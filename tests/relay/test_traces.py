"""A call has its place in the caller's trace, as far as the caller says where that is; providers hear nothing of it."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy
from tests.fakes.provider import FakeProvider

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1", "baggage": "user=alice"}
CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("headers", "params", "place"),
    [
        (HEADERS, {}, (TRACE, SPAN)),
        (HEADERS, {"span_parent_id": "mine"}, (TRACE, "mine")),
        (HEADERS, {"trace_unique_id": TRACE}, (TRACE, SPAN)),
        (HEADERS, {"trace_unique_id": TRACE.upper(), "span_parent_id": SPAN.upper()}, (TRACE, SPAN)),
        ({}, {"trace_unique_id": TRACE.upper(), "span_parent_id": SPAN.upper()}, (TRACE, SPAN)),
        (HEADERS, {"trace_unique_id": "Mine"}, ("Mine", None)),
        (HEADERS, {"trace_unique_id": "mine", "span_parent_id": "too"}, ("mine", "too")),
        ({"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, {}, (None, None)),
        ({}, {}, (None, None)),
    ],
    ids=["header", "own-parent", "same-trace", "capitals", "own-capitals", "own-trace", "own-both", "invalid", "nothing"],
)
async def test_what_the_request_says_wins_over_its_traceparent_and_that_over_a_trace_of_its_own(
    client: aiohttp.ClientSession,
    proxy: Proxy,
    row_of: Any,
    headers: dict[str, str],
    params: dict[str, str],
    place: tuple[str | None, str | None],
) -> None:
    response = await client.post(f"{proxy.base}/chat/completions", json={**CHAT, **params}, headers=headers)
    row = await row_of(proxy, response)
    own = response.headers["X-Respan-Log-Id"]
    assert (row["trace_unique_id"], row["span_parent_id"]) == (place[0] or own, place[1])
    assert row["span_unique_id"] == own[16:]


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash"])
async def test_providers_hear_nothing_of_traces(client: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, model: str) -> None:
    await client.post(f"{proxy.base}/chat/completions", json={**CHAT, "model": model}, headers=HEADERS)
    [request] = provider.received
    assert request.headers.keys().isdisjoint(HEADERS)
    assert TRACE not in request.body.decode()


async def test_a_call_that_may_not_be_logged_says_so(client: aiohttp.ClientSession, proxy: Proxy, row_of: Any) -> None:
    silent = await client.post(f"{proxy.base}/chat/completions", json={**CHAT, "disable_log": True})
    plain = await client.post(f"{proxy.base}/chat/completions", json=CHAT)
    assert [(await row_of(proxy, response))["disable_log"] for response in (silent, plain)] == [True, None]
