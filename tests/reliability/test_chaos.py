"""Two hundred callers at once, a provider that fails one call in five in mixed ways: everybody hears something true, nothing is left."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.provider import Act, Answer, FakeProvider, Received, garbage, html, recorded, silent, streamed, whole
from tests.reliability.conftest import CLIENTS
from tests.reliability.test_fallback import CLAUDE, GEMINI, GPT, NEXT, OWN, said
from tests.reliability.test_misbehaviour import BEGINNINGS, HALF, broken, message_of, same

CALLS = 200
SHARE = 0.2
OPEN_FILES = Path("/proc/self/fd")


def refusal(status: int, headers: Mapping[str, str] | None = None) -> Answer:
    """A refusal that is one in every dialect."""
    error = {"message": "not now", "type": "api_error", "code": status, "status": "UNAVAILABLE"}
    return whole({"type": "error", "error": error}, status, headers)


FAILURES: list[Answer] = [
    Answer(before=[Act.RESET]),
    Answer(before=[Act.CUT]),
    silent(),
    html(502),
    html(200),
    garbage(),
    whole(b""),
    whole(b"{not json"),
    whole({"error": {"message": "inside", "type": "server_error"}}),
    refusal(429, {"Retry-After": "0"}),
    refusal(429, {"Retry-After": "3600"}),
    refusal(529),
    refusal(400),
    Answer(200, HALF, [b'{"id":', Act.RESET]),
]
ENDINGS = (Act.RESET, Act.CUT, Act.HANG)


class Chaos:
    """Who fails and how, by dice whose seed is known."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self.failed = 0

    def __call__(self, request: Received) -> Answer:
        if self._dice.random() >= SHARE:
            return recorded(request)
        self.failed += 1
        if self._dice.random() < 0.3:
            return streamed(BEGINNINGS[dialect_of(request)], self._dice.choice(ENDINGS))
        return self._dice.choice(FAILURES)


def dialect_of(request: Received) -> str:
    path = request.target.partition("?")[0]
    endings = {"/completions": "chat", "/responses": "responses", "/messages": "messages"}
    return next((name for end, name in endings.items() if path.endswith(end)), "gemini")


async def one(http: aiohttp.ClientSession, base: str, number: int) -> tuple[str, str | None]:
    """(how a call ended, the id of its row): `answered`, `refused` with an error of its dialect, or `broken` in mid-stream."""
    client = list(CLIENTS)[number % 4]
    streams = bool(number // 4 % 2)
    model = (OWN[client], NEXT[client])[number // 8 % 2]
    path, body = CLIENTS[client]
    if client == "gemini":
        path = path.format(model=model, verb="streamGenerateContent?alt=sse" if streams else "generateContent")
    else:
        body = {"model": model, **body, **({"stream": True} if streams else {})}
    params: dict[str, Any] = {"retry_params": {"retry_enabled": False}}
    if number % 3:  # the others have nobody to help them
        params = {
            "retry_params": {"retry_enabled": True, "num_retries": 1, "retry_after": 0},
            "fallback_models": [next(other for other in (GPT, CLAUDE, GEMINI) if other != model)],
        }
    async with http.post(f"{base}{path}", json={**body, "respan_params": params}) as response:
        told = await response.read()
        log_id = response.headers.get("X-Respan-Log-Id")
    if response.status != 200:
        assert message_of(client, response.status, told)
        return "refused", log_id
    if streams and b"error" in told and broken(client, told):
        return "broken", log_id
    assert same(said(client, told, streams)), told
    return "answered", log_id


async def rows(http: aiohttp.ClientSession, base: str) -> list[dict[str, Any]]:
    """Every row, once none is running any more."""
    async with asyncio.timeout(10):
        while True:
            async with http.get(f"{base}/request-logs/list/?page_size=1000") as response:
                found: list[dict[str, Any]] = (await response.json())["results"]
            if len(found) >= CALLS and not any(row["status"] == "running" for row in found):
                return found


async def test_two_hundred_callers_and_a_provider_that_fails_one_call_in_five(
    provider: FakeProvider, environ: Mapping[str, str], tmp_path: Path
) -> None:
    from respan_proxy.app import running
    from respan_proxy.config import parse

    impatient = {name: {"first_byte_s": 1.5, "silence_s": 1.5} for name in ("openai", "anthropic", "gemini")}
    config = parse({"providers": impatient}, environ, "test.toml", {"listen": "127.0.0.1:0", "database": str(tmp_path / "chaos.db")})
    chaos = Chaos(seed=1916)
    provider.will(*[chaos] * CALLS * 4)
    tasks_before, files_before = asyncio.all_tasks(), open_files()
    async with running(config) as house, asyncio.timeout(14):
        base = f"http://127.0.0.1:{house.address.port}/api"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            idle = len(asyncio.all_tasks())
            ended = await asyncio.gather(*[one(http, base, number) for number in range(CALLS)])
            while house.gateway.counters.active:
                await asyncio.sleep(0)
            await asyncio.gather(*[busy.closed.wait() for busy in provider.connections if busy.current is not None])
            how = Counter(outcome for outcome, _ in ended)
            assert chaos.failed > CALLS * SHARE / 2 and all(how[end] for end in ("answered", "refused", "broken")), (how, chaos.failed)
            assert how["answered"] > CALLS * (1 - SHARE), how
            logged = await rows(http, base)
            assert sorted(row["unique_id"] for row in logged) == sorted(str(log_id) for _, log_id in ended)
            statuses = Counter(row["status"] for row in logged)
            assert statuses["failed"] == how["refused"] + how["broken"], (statuses, how)
            assert statuses["success"] + statuses["warning"] == how["answered"]
            assert statuses["warning"], "what went wrong and was mended is told"
        async with asyncio.timeout(5):
            while len(asyncio.all_tasks()) > idle:
                await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while provider.connections or asyncio.all_tasks() - tasks_before or open_files() > files_before:
            await asyncio.sleep(0)


def open_files() -> int:
    """How many files and sockets this process has open; 0 where the system does not tell."""
    return len(os.listdir(OPEN_FILES)) if OPEN_FILES.exists() else 0
