"""Providers of every kind behind the proxy: one keeps Responses, two speak Responses and keep none, three speak other dialects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import openai
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes.provider import FakeProvider

# A model of each provider that keeps nothing.
FORGETFUL = {"anthropic": "claude-sonnet-4-6", "gemini": "gemini-2.5-flash", "chat": "chatty", "native": "qwen3", "echo": "echo/echo"}
KEEPS_ITSELF = "gpt-4o"

Sdk = Callable[..., Awaitable[openai.AsyncOpenAI]]


@pytest.fixture
def providers(provider: FakeProvider) -> dict[str, Any]:
    return {
        "chat_only": {"base_url": f"{provider.url}/v1", "models": ["chatty"], "key": "of-chat-only"},
        "native": {
            "base_url": f"{provider.url}/v1",
            "models": ["qwen3"],
            "key": "of-native",
            "dialects": ["openai.chat", "openai.responses"],
        },
    }


@pytest.fixture
async def proxy(start_proxy: StartProxy, environ: dict[str, str], providers: dict[str, Any]) -> Proxy:
    return await start_proxy({"providers": providers, "echo": {"pace_ms": 0}}, environ)


@pytest.fixture
async def sdk() -> AsyncIterator[Sdk]:
    """`await sdk(proxy, key)`: the official SDK, pointed at a proxy."""
    async with AsyncExitStack() as stack:

        async def client(proxy: Proxy, key: str = "any") -> openai.AsyncOpenAI:
            return await stack.enter_async_context(openai.AsyncOpenAI(api_key=key, base_url=proxy.base, max_retries=0))

        yield client


@pytest.fixture
async def client(sdk: Sdk, proxy: Proxy) -> openai.AsyncOpenAI:
    return await sdk(proxy)
