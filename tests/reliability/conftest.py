"""What the tests of retry, fallback and their like share: calls of all four dialects, and the row of a call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy

CLIENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    "responses": ("/responses", {"input": "hi"}),
    "messages": ("/anthropic/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}),
    "gemini": ("/google/gemini/v1/models/{model}:{verb}", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
}

RowOf = Callable[[Proxy, aiohttp.ClientResponse], Awaitable[dict[str, Any]]]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def row_of(http: aiohttp.ClientSession) -> RowOf:
    async def read(proxy: Proxy, response: aiohttp.ClientResponse) -> dict[str, Any]:
        async with http.get(f"{proxy.base}/request-logs/{response.headers['X-Respan-Log-Id']}/") as answer:
            row: dict[str, Any] = await answer.json()
        return row

    return read


async def ask(
    http: aiohttp.ClientSession, proxy: Proxy, client: str, model: str, *, streams: bool = False, **params: Any
) -> tuple[aiohttp.ClientResponse, bytes]:
    """One call of this client's, read to its end. `params` are Respan's."""
    path, body = CLIENTS[client]
    if client == "gemini":
        path = path.format(model=model, verb="streamGenerateContent?alt=sse" if streams else "generateContent")
    else:
        body = {"model": model, **body, **({"stream": True} if streams else {})}
    if params:
        body = {**body, "respan_params": params}
    async with http.post(f"{proxy.base}{path}", json=body) as response:
        return response, await response.read()
