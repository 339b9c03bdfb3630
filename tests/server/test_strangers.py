"""A keyless proxy answers to this machine's programs and to nobody's website; with keys, only keys count."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes.provider import FakeProvider

CHAT = {"model": "gpt-4.1-nano", "messages": []}


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


STRANGERS = [
    {"Host": "evil.example"},
    {"Host": "evil.example:7776"},
    {"Host": "localhost.evil.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", STRANGERS, ids=str)
async def test_a_stranger_is_refused_everywhere_and_leaves_no_row(
    proxy: Proxy, client: aiohttp.ClientSession, provider: FakeProvider, headers: dict[str, str]
) -> None:
    async with client.post(f"{proxy.base}/chat/completions", json=CHAT, headers=headers) as response:
        assert response.status == 403
        assert (await response.json())["error"]["type"]
    for path in ("/api/request-logs/list/", "/api/models", "/ui/", "/"):
        async with client.get(proxy.root + path, headers=headers, allow_redirects=False) as response:
            assert response.status == 403, path
    async with client.get(f"{proxy.base}/request-logs/list/") as response:
        assert (await response.json())["results"] == []
    assert provider.received == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost"},
        {"Host": "LOCALHOST.:1234"},
        {"Host": "[::1]:7776"},
        {"Host": "127.8.9.1"},
        {"Host": "app.localhost"},
        {"Host": "my-box:7776"},
        {"Host": "localhost:1", "Origin": "http://localhost:1", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://app.example.org", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
async def test_this_machine_and_who_was_allowed_are_no_strangers(
    start_proxy: StartProxy, environ: dict[str, str], client: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    proxy = await start_proxy({"server": {"allowed_hosts": ["my-box"], "allowed_origins": ["https://app.example.org"]}}, environ)
    async with client.post(f"{proxy.base}/chat/completions", json=CHAT, headers=headers) as response:
        assert response.status == 200


async def test_with_keys_a_name_of_this_machine_is_not_asked_for(start_proxy: StartProxy, client: aiohttp.ClientSession) -> None:
    proxy = await start_proxy({}, {"RESPAN_PROXY_KEYS": "me:our-own-key"})
    headers = {"Host": "gateway.internal", "Authorization": "Bearer our-own-key"}
    async with client.post(f"{proxy.base}/chat/completions", json=CHAT, headers=headers) as response:
        assert response.status == 200
