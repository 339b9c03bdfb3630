"""Older majors of the vendors' SDKs, and their npm clients, cannot tell the proxy from a provider; nor is `echo` less than one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.company.driving import Driver, Said, driven
from tests.fakes import recordings
from tests.fakes.provider import Act, Answer, FakeProvider, Received, recorded, streamed, whole
from tests.process.conftest import Process, Start

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Case:
    """One scene: which model plays it, what the provider answers, what the caller is to see of it (a subset)."""

    scene: str
    model: str
    said: Mapping[str, Any]
    answer: Answer | Callable[[Received], Answer] = recorded


@dataclass(frozen=True, slots=True)
class Vendor:
    """`direct`, `through`: what an SDK wants behind the address of a provider, of the proxy. `twins`: scenes that are to say the same.

    `failing`: the scenes that are tried with every status of `errors`. `broken`: streams that break off. `leaves`: a stream's first chunk.
    """

    direct: str
    through: str
    cases: Sequence[Case]
    listed: str
    twins: Mapping[str, str]
    failing: Sequence[str]
    errors: Mapping[int, str]
    error_body: Callable[[int], Mapping[str, Any]]
    broken: Sequence[Case]
    leaves: bytes


ERRORS = {401: "AuthenticationError", 404: "NotFoundError", 429: "RateLimitError", 500: "InternalServerError"}
GPT, CLAUDE, GEMINI = "gpt-4.1-nano", "claude-sonnet-4-6", "gemini-2.5-flash"
PARIS: Said = {"text": "", "calls": [["get_weather", {"city": "Zürich"}]]}

OPENAI = Vendor(
    direct="/v1",
    through="",
    cases=(
        Case("chat", GPT, {"text": recordings.TEXT, "finish": "stop", "usage": [20, 5], "calls": []}),
        Case("chat_streamed", GPT, {"text": recordings.TEXT, "usage": [20, 5], "calls": []}),
        Case("chat_tools", GPT, {**PARIS, "finish": "tool_calls"}, whole(recordings.CHAT_TOOLS)),
        Case("chat_tools_streamed", GPT, {**PARIS, "finish": "tool_calls"}, streamed(recordings.CHAT_TOOLS_STREAM)),
        Case("response", GPT, {"text": recordings.TEXT, "finish": "completed", "usage": [20, 5], "calls": []}),
        Case("response_streamed", GPT, {"text": recordings.TEXT, "finish": "completed", "usage": [20, 5], "same": True}),
        Case("response_tools", GPT, {**PARIS, "finish": "completed"}, whole(recordings.RESPONSE_TOOLS)),
        Case("response_tools_streamed", GPT, {**PARIS, "finish": "completed"}, streamed(recordings.RESPONSES_TOOLS_STREAM)),
        Case("embeddings", "text-embedding-3-small", {"vector": recordings.EMBEDDED}),
    ),
    listed=GPT,
    twins={"chat": "chat_streamed", "response": "response_streamed"},
    failing=("chat", "chat_streamed", "response", "response_streamed", "embeddings"),
    errors=ERRORS,
    error_body=recordings.openai_error,
    broken=(
        Case(
            "chat_streamed", GPT, {"text": "Héllo ", "error": "APIError"}, streamed(*recordings.CHAT_STREAM[:2], b'data: {"id":', Act.CUT)
        ),
        Case("response_streamed", GPT, {"text": "Héllo ", "finish": "failed"}, streamed(*recordings.RESPONSES_STREAM[:5], Act.CUT)),
    ),
    leaves=recordings.CHAT_STREAM[0],
)

ANTHROPIC = Vendor(
    direct="",
    through="/anthropic",
    cases=(
        Case("message", CLAUDE, {"text": recordings.TEXT, "finish": "end_turn", "usage": [12, 5], "calls": []}),
        Case("message_streamed", CLAUDE, {"text": recordings.TEXT, "finish": "end_turn", "usage": [12, 5], "same": True}),
        Case("message_tools", CLAUDE, {**PARIS, "finish": "tool_use"}, whole(recordings.MESSAGE_TOOLS)),
        Case("message_tools_streamed", CLAUDE, {**PARIS, "finish": "tool_use"}, streamed(recordings.MESSAGES_TOOLS_STREAM)),
        Case("count", CLAUDE, {"tokens": 14}),
    ),
    listed=CLAUDE,
    twins={"message": "message_streamed"},
    failing=("message", "message_streamed"),
    errors=ERRORS,
    error_body=recordings.anthropic_error,
    broken=(
        Case(
            "message_streamed",
            CLAUDE,
            {"text": "Héllo ", "error": "APIStatusError"},
            streamed(*recordings.MESSAGES_STREAM[:4], b"event: content_bl", Act.CUT),
        ),
    ),
    leaves=recordings.MESSAGES_STREAM[0],
)
# An error that comes as an event has no status there.
ANTHROPIC_NPM = replace(ANTHROPIC, broken=[replace(case, said={**case.said, "error": "APIError"}) for case in ANTHROPIC.broken])

GOOGLE = Vendor(
    direct="",
    through="/google/gemini",
    cases=(
        Case("content", GEMINI, {"text": recordings.TEXT, "finish": "STOP", "usage": [20, 3], "calls": []}),
        Case("content_streamed", GEMINI, {"text": recordings.TEXT, "finish": "STOP", "usage": [20, 3], "calls": []}),
        Case("content_tools", GEMINI, {**PARIS, "finish": "STOP"}, whole(recordings.GEMINI_TOOLS)),
        Case("content_tools_streamed", GEMINI, {**PARIS, "finish": "STOP"}, streamed(recordings.GEMINI_TOOLS_STREAM)),
        Case("count", GEMINI, {"tokens": 4}),
        Case("embeddings", "gemini-embedding-001", {"vector": recordings.EMBEDDED}),
    ),
    listed=GEMINI,
    twins={"content": "content_streamed"},
    failing=("content", "content_streamed", "embeddings"),
    errors={401: "ClientError", 404: "ClientError", 429: "ClientError", 500: "ServerError"},
    error_body=recordings.gemini_error,
    broken=(
        Case(
            "content_streamed",
            GEMINI,
            {"text": "Héllo ", "error": "ServerError"},
            streamed(recordings.GEMINI_STREAM[0], b'data: {"candid', Act.CUT),
        ),
    ),
    leaves=recordings.GEMINI_STREAM[0],
)


@dataclass(frozen=True, slots=True)
class Client:
    """One client in an environment of its own."""

    vendor: Vendor
    driver: Driver

    async def plays(self, base_url: str, calls: Sequence[tuple[str, str]]) -> list[Said]:
        return await self.driver.plays(base_url, calls)


CLIENTS: dict[str, tuple[Vendor, str]] = {
    "openai==1.109.1": (OPENAI, "openai_sdk.py"),
    "openai==2.54.0": (OPENAI, "openai_sdk.py"),
    "anthropic==0.125.0": (ANTHROPIC, "anthropic_sdk.py"),
    "anthropic==1.17.0": (ANTHROPIC, "anthropic_sdk.py"),
    "google-genai==1.75.0": (GOOGLE, "google_sdk.py"),
    "google-genai==2.34.0": (GOOGLE, "google_sdk.py"),
    "npm openai==7.57.0": (OPENAI, "openai_sdk.cjs"),
    "npm openai==6.49.0": (OPENAI, "openai_sdk.cjs"),
    "npm @anthropic-ai/sdk==1.13.0": (ANTHROPIC_NPM, "anthropic_sdk.cjs"),
    "npm @anthropic-ai/sdk==0.137.0": (ANTHROPIC_NPM, "anthropic_sdk.cjs"),
}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    vendor, driver = CLIENTS[request.param]
    return Client(vendor, driven(request.param, driver, tmp_path))


@pytest.fixture
async def proxy(start: Start, environ: Mapping[str, str], tmp_path: Path) -> Process:
    """In front of the fake provider, which is all three vendors. It asks once: an error is to arrive as it was sent."""
    (tmp_path / "once.toml").write_text("[retry]\nenabled = false\n", "utf-8")
    return await start("--config", str(tmp_path / "once.toml"), environ=environ)


def seen(case: Case, found: Said) -> Said:
    """What the case speaks of in what was found, and any error."""
    return {name: found.get(name) for name in {**case.said, "error": None}}


async def test_it_cannot_tell_the_proxy_from_its_provider(client: Client, proxy: Process, provider: FakeProvider) -> None:
    vendor = client.vendor
    failures = [
        Case(scene, vendor.cases[0].model, {"error": name, "status": status}, whole(vendor.error_body(status), status))
        for scene in vendor.failing
        for status, name in vendor.errors.items()
    ]
    cases = [*vendor.cases, *failures]
    calls = [(case.scene, case.model) for case in cases]
    provider.will(*(case.answer for case in cases))
    direct = await client.plays(f"{provider.url}{vendor.direct}", calls)
    provider.will(*(case.answer for case in cases))
    through = await client.plays(f"{proxy.base}{vendor.through}", calls)
    for case, expected, found in zip(cases, direct, through, strict=True):
        assert seen(case, found) == {"error": None, **case.said}, case.scene
        assert found == expected, case.scene
    assert len(provider.received) == 2 * len(cases)
    async with aiohttp.ClientSession() as session, session.get(f"{proxy.base}/request-logs/list/?page_size=100") as answer:
        rows = (await answer.json())["results"]
    assert sorted(row["status_code"] for row in rows) == sorted(case.said.get("status", 200) for case in cases)


async def test_it_lists_the_models_of_its_provider_and_of_echo(client: Client, proxy: Process) -> None:
    (found,) = await client.plays(f"{proxy.base}{client.vendor.through}", [("models", "")])
    assert {client.vendor.listed, "echo/hello"} <= set(found["ids"])


async def test_it_is_told_of_a_stream_that_broke(client: Client, proxy: Process, provider: FakeProvider) -> None:
    broken = client.vendor.broken
    provider.will(*(case.answer for case in broken))
    played = await client.plays(f"{proxy.base}{client.vendor.through}", [(case.scene, case.model) for case in broken])
    for case, found in zip(broken, played, strict=True):
        assert seen(case, found) == {"error": None, **case.said}, case.scene


async def test_its_leaving_closes_the_connection_to_the_provider(client: Client, proxy: Process, provider: FakeProvider) -> None:
    provider.will(streamed(client.vendor.leaves, Act.HANG))
    (found,) = await client.plays(f"{proxy.base}{client.vendor.through}", [("leave", client.vendor.cases[0].model)])
    assert found["first"]
    async with asyncio.timeout(5):
        await provider.last.gone.wait()


async def test_echo_is_a_provider_to_it(client: Client, start: Start) -> None:
    vendor = client.vendor
    proxy = await start()  # without a key, so that `echo` answers under every known name
    failures = [(scene, status) for scene in vendor.failing for status in vendor.errors]
    calls = [(case.scene, case.model) for case in vendor.cases] + [(scene, f"echo/status-{status}") for scene, status in failures]
    played = await client.plays(f"{proxy.base}{vendor.through}", calls)
    answered, failed = played[: len(vendor.cases)], played[len(vendor.cases) :]
    assert [(found.get("error"), found.get("status")) for found in failed] == [(vendor.errors[status], status) for _, status in failures]
    assert not [found["message"] for found in answered if "error" in found]
    scenes = {case.scene: found for case, found in zip(vendor.cases, answered, strict=True)}
    for at_once, in_pieces in vendor.twins.items():
        assert "Say hello" in scenes[at_once]["text"]
        for member in ("text", "usage"):
            assert scenes[in_pieces][member] == scenes[at_once][member]
    for scene, found in scenes.items():
        assert found.get("calls", []) == ([["get_weather", {"city": "city"}]] if "_tools" in scene else []), scene
        assert "vector" not in found or found["vector"], scene
        assert "tokens" not in found or found["tokens"] > 0, scene
