"""The vendors' own clients, in pairs: one talks to the fake provider directly, its twin through the proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import anthropic
import openai
import pytest
from google import genai

from tests.conftest import Proxy
from tests.fakes.provider import Answer, FakeProvider

C = TypeVar("C")
T = TypeVar("T")

CALLERS_KEY = "a-key-of-our-own"


@dataclass(frozen=True, slots=True)
class Twins(Generic[C]):
    direct: C
    through: C
    provider: FakeProvider

    async def same(self, ask: Callable[[C], Awaitable[T]], *answers: Answer) -> T:
        """What both are given when they ask the same and the provider answers the same; AssertionError where they differ."""
        self.provider.will(*answers)
        expected = await ask(self.direct)
        self.provider.will(*answers)
        found = await ask(self.through)
        assert found == expected
        return found

    async def fails_the_same(self, ask: Callable[[C], Awaitable[object]], *answers: Answer) -> tuple[type[Exception], str]:
        """The class and the words of the exception that both raise."""

        async def failure(client: C) -> tuple[type[Exception], str]:
            try:
                await ask(client)
            except Exception as error:  # noqa: BLE001 - whatever it is, the twin must raise the same
                return type(error), str(error)
            raise AssertionError("the call went well")

        return await self.same(failure, *answers)


@pytest.fixture
async def openai_twins(provider: FakeProvider, proxy: Proxy) -> AsyncIterator[Twins[openai.AsyncOpenAI]]:
    async with (
        openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key=CALLERS_KEY, max_retries=0) as direct,
        openai.AsyncOpenAI(base_url=proxy.base, api_key=CALLERS_KEY, max_retries=0) as through,
    ):
        yield Twins(direct, through, provider)


@pytest.fixture
async def anthropic_twins(provider: FakeProvider, proxy: Proxy) -> AsyncIterator[Twins[anthropic.AsyncAnthropic]]:
    async with (
        anthropic.AsyncAnthropic(base_url=provider.url, api_key=CALLERS_KEY, max_retries=0) as direct,
        anthropic.AsyncAnthropic(base_url=f"{proxy.base}/anthropic", api_key=CALLERS_KEY, max_retries=0) as through,
    ):
        yield Twins(direct, through, provider)


@pytest.fixture
async def gemini_twins(provider: FakeProvider, proxy: Proxy) -> AsyncIterator[Twins[genai.client.AsyncClient]]:
    def client(base: str) -> genai.client.AsyncClient:
        return genai.Client(api_key=CALLERS_KEY, http_options=genai.types.HttpOptions(base_url=base)).aio

    async with client(provider.url) as direct, client(f"{proxy.base}/google/gemini") as through:
        yield Twins(direct, through, provider)
