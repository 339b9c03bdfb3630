"""What every test may ask for: an environment without secrets, a fake provider, and the proxy in front of it, on real sockets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.provider import FakeProvider

if TYPE_CHECKING:
    from respan_proxy.server.house import House

# Deterministic, and nothing is judged by the clock: the machine may be busy.
settings.register_profile("house", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

T = TypeVar("T")

Host = Callable[[AbstractAsyncContextManager[T]], Awaitable[T]]

OPENAI_KEY, ANTHROPIC_KEY, GEMINI_KEY = "sk-the-providers-own", "sk-ant-the-providers-own", "AIza-the-providers-own"


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxy as a caller sees it: `base` is what an SDK is given where Respan's documentation has its address."""

    house: House
    root: str

    @property
    def base(self) -> str:
        return f"{self.root}/api"


StartProxy = Callable[..., Awaitable[Proxy]]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, address or outgoing proxy of this machine reaches a test."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL", "_ACCESS_TOKEN", "_AUTH_TOKEN")) or name.lower().endswith("_proxy") or "RESPAN" in name:
            monkeypatch.delenv(name)


@pytest.fixture
async def host() -> AsyncIterator[Host[Any]]:
    """Opens async contexts and closes them at the end, each in one task of its own (a fixture's two halves run in two)."""
    open_contexts: list[tuple[asyncio.Event, asyncio.Task[None]]] = []

    async def enter(context: AbstractAsyncContextManager[T]) -> T:
        ready: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        over = asyncio.Event()

        async def live() -> None:
            try:
                async with context as value:
                    ready.set_result(value)
                    await over.wait()
            except Exception as error:
                if ready.done():
                    raise
                ready.set_exception(error)

        open_contexts.append((over, asyncio.create_task(live())))
        return await ready

    yield enter
    for over, task in reversed(open_contexts):
        over.set()
        await task


@pytest.fixture
async def provider(host: Host[FakeProvider]) -> FakeProvider:
    return await host(FakeProvider())


@pytest.fixture
def environ(provider: FakeProvider) -> dict[str, str]:
    """An environment in which all three vendors are the fake provider, and have keys."""
    return {
        "OPENAI_API_KEY": OPENAI_KEY,
        "RESPAN_PROXY_OPENAI_BASE_URL": f"{provider.url}/v1",
        "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
        "RESPAN_PROXY_ANTHROPIC_BASE_URL": provider.url,
        "GEMINI_API_KEY": GEMINI_KEY,
        "RESPAN_PROXY_GEMINI_BASE_URL": provider.url,
    }


@pytest.fixture
def start_proxy(host: Host[House], tmp_path: Path) -> StartProxy:
    """`await start_proxy(mapping, environ)`: a proxy with that configuration file and environment, on a port and a database of its own."""

    # Imported here: a pure test does not wait for the server's libraries.
    from respan_proxy.app import running
    from respan_proxy.config import parse

    async def start(mapping: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Proxy:
        flags = {"listen": "127.0.0.1:0", "database": str(tmp_path / "calls.db")}
        # Who tests that a provider fails does not want to wait for three more tries; whoever tests those says so.
        settings = {"retry": {"enabled": False}, **(mapping or {})}
        house = await host(running(parse(settings, environ or {}, "test.toml", flags)))
        return Proxy(house, f"http://127.0.0.1:{house.address.port}")

    return start


@pytest.fixture
async def proxy(start_proxy: StartProxy, environ: Mapping[str, str]) -> Proxy:
    """The proxy with its default configuration, but for retries, in front of the fake provider."""
    return await start_proxy({}, environ)
