"""One merged list of models: what a name in it leads to is what is listed."""

from __future__ import annotations

import aiohttp

from tests.conftest import Proxy, StartProxy
from tests.fakes.provider import FakeProvider


async def ids(proxy: Proxy) -> list[str]:
    async with aiohttp.ClientSession() as client, client.get(f"{proxy.base}/models") as response:
        return [model["id"] for model in (await response.json())["data"]]


async def test_while_echo_stands_in_every_name_it_answers_to_is_listed(start_proxy: StartProxy) -> None:
    proxy = await start_proxy({"models": {"fast": "gpt-4.1-nano"}}, {})
    listed = await ids(proxy)
    assert listed[0] == "fast"
    assert {"gpt-4.1-nano", "claude-sonnet-4-5", "gemini-2.5-flash", "mistral/mistral-large-latest", "echo/hello"} <= set(listed)
    async with aiohttp.ClientSession() as client:
        for name in (name for name in listed if not name.startswith("echo/")):
            async with client.post(f"{proxy.base}/chat/completions", json={"model": name, "messages": []}) as response:
                assert response.status == 200, (name, await response.text())


async def test_a_moved_provider_without_a_key_is_stood_in_for(start_proxy: StartProxy, provider: FakeProvider) -> None:
    listed = await ids(await start_proxy({}, {"RESPAN_PROXY_OPENAI_BASE_URL": f"{provider.url}/v1"}))
    assert "gpt-4.1-nano" in listed
    assert "claude-sonnet-4-5" in listed


async def test_with_a_key_the_providers_own_list_and_echos_own_are_there(start_proxy: StartProxy, environ: dict[str, str]) -> None:
    listed = await ids(await start_proxy({}, environ))
    assert "echo/hello" in listed
    assert "mistral/mistral-large-latest" not in listed
