"""Web pages that are allowed to call us from a browser are told so, on every answer; nobody else is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from respan_proxy.config import parse
from respan_proxy.errors import ConfigError
from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, streamed, whole

PAGE = "https://app.example.org"
CHAT = {"model": "gpt-4.1-nano", "messages": []}


@pytest.fixture
async def proxy(start_proxy: StartProxy, environ: dict[str, str]) -> Proxy:
    return await start_proxy({"server": {"allowed_origins": [PAGE]}}, environ)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def exposed(response: aiohttp.ClientResponse) -> set[str]:
    return {name.strip().lower() for name in response.headers["Access-Control-Expose-Headers"].split(",")}


@pytest.mark.parametrize("path", ["/chat/completions", "/anthropic/v1/messages", "/request-logs/list/", "/models"])
async def test_a_browsers_question_is_answered_for_every_path(proxy: Proxy, client: aiohttp.ClientSession, path: str) -> None:
    asks = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-stainless-os",
        "Access-Control-Request-Private-Network": "true",
    }
    async with client.options(proxy.base + path, headers=asks) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert response.headers["Access-Control-Allow-Headers"] == "authorization,x-stainless-os"
        assert "POST" in response.headers["Access-Control-Allow-Methods"]
        assert response.headers["Access-Control-Allow-Private-Network"] == "true"
        assert "Access-Control-Allow-Credentials" not in response.headers


async def test_answers_streams_and_errors_may_be_read_with_all_their_headers(
    proxy: Proxy, client: aiohttp.ClientSession, provider: FakeProvider
) -> None:
    provider.will(whole(recordings.CHAT, headers={"Access-Control-Allow-Origin": "*", "x-request-id": "req_1"}))
    provider.will(streamed(recordings.CHAT_STREAM))
    for body, status in (({**CHAT}, 200), ({**CHAT, "stream": True}, 200), ({"model": "no-such-model"}, 404)):
        async with client.post(f"{proxy.base}/chat/completions", json=body, headers={"Origin": PAGE}) as response:
            await response.read()
            assert response.status == status
            assert response.headers.getall("Access-Control-Allow-Origin") == [PAGE]
            assert "x-respan-log-id" in exposed(response)
            assert "Origin" in response.headers["Vary"]
    async with client.get(f"{proxy.base}/no/such/path", headers={"Origin": PAGE}) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (404, PAGE)
    async with client.get(f"{proxy.base}/request-logs/list/", headers={"Origin": PAGE}) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (200, PAGE)


async def test_another_page_is_told_nothing(proxy: Proxy, client: aiohttp.ClientSession) -> None:
    asks = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    async with client.options(f"{proxy.base}/chat/completions", headers=asks) as response:
        assert response.status == 403
        assert "Access-Control-Allow-Origin" not in response.headers
    async with client.post(f"{proxy.base}/chat/completions", json=CHAT, headers={"Origin": "https://evil.example"}) as response:
        assert response.status == 403
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_page_needs_a_key_where_there_are_keys(start_proxy: StartProxy, client: aiohttp.ClientSession) -> None:
    proxy = await start_proxy({"server": {"allowed_origins": [PAGE]}}, {"RESPAN_PROXY_KEYS": "me:our-own-key"})
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
    async with client.options(f"{proxy.base}/models", headers=asks) as response:
        assert response.status == 204
    async with client.get(f"{proxy.base}/models", headers={"Origin": PAGE}) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (401, PAGE)
    async with client.get(f"{proxy.base}/models", headers={"Origin": PAGE, "Authorization": "Bearer our-own-key"}) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (200, PAGE)


@pytest.mark.parametrize("origin", ["*", "app.example.org", "https://app.example.org/", "https://*.example.org", "https://App.example.org"])
def test_what_no_browser_sends_as_an_origin_is_a_mistake(origin: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.allowed_origins"):
        parse({"server": {"allowed_origins": [origin]}}, {})
