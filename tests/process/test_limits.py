"""Limits are counted in memory, and a restart does not forget them."""

from __future__ import annotations

import signal
from pathlib import Path

import aiohttp

from tests.fakes.provider import FakeProvider
from tests.process.conftest import Process, Start
from tests.process.test_life import CHAT, environ_of


async def ask(proxy: Process) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.post(f"{proxy.base}/chat/completions", json=CHAT) as response:
        return response.status, await response.text()


async def test_a_spent_budget_stays_spent_after_a_restart_and_after_kill_9(start: Start, provider: FakeProvider, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[budgets]\nmax_usd_per_day = 0.00001\n")
    proxy = await start(environ=environ_of(provider))
    while (answer := await ask(proxy))[0] == 200:
        assert len(provider.received) < 30
    answered = len(provider.received)
    assert answer[0] == 429 and "max_usd_per_day" in answer[1] and answered > 1
    for number in (signal.SIGTERM, signal.SIGKILL):
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{proxy.port}/api/request-logs/list/") as rows:
            assert len((await rows.json())["results"]) > answered
        proxy.signal(number)
        await proxy.ended()
        proxy = await start(environ=environ_of(provider))
        status, said = await ask(proxy)
        assert (status, len(provider.received)) == (429, answered)
        assert "the budget of this proxy for today is spent" in said
