"""Coding agents, as their vendors ship them, do their work through the proxy: with `echo`, and with any provider of any dialect."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.company.answering import calling
from tests.company.environments import node_with, tool
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider
from tests.process.conftest import Process, Start

pytestmark = pytest.mark.slow

NPM = {"@anthropic-ai/claude-code": "2.1.197", "@openai/codex": "0.169.0", "@google/gemini-cli": "0.61.0"}
MODELS = ("gpt-4o", "claude-sonnet-4-6", "gemini-2.5-flash")
NOTE = "the note was read"


@dataclass(frozen=True, slots=True)
class Agent:
    """`script` is run by Node with `arguments` and the model's name. `reads` calls the tool that reads a file: name, parameter, value."""

    script: str
    arguments: Callable[[str, str], Sequence[str]]
    environ: Callable[[str], Mapping[str, str]]
    said: Callable[[str], str]
    reads: tuple[str, str, str]
    settings: Mapping[str, str]


def _codex(base: str, model: str) -> list[str]:
    provider = {"name": "Respan", "base_url": base, "wire_api": "responses", "env_key": "RESPAN_API_KEY"}
    settings = {"model_provider": "respan", **{f"model_providers.respan.{name}": value for name, value in provider.items()}}
    # The sandbox of its commands needs what a container may not give; the only command here reads a file.
    flags = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json", "--model", model]
    return ["exec", *flags, *(part for name, value in settings.items() for part in ("-c", f"{name}={json.dumps(value)}")), "hello"]


def _codex_said(out: str) -> str:
    items = [event["item"] for line in out.splitlines() if (event := json.loads(line))["type"] == "item.completed"]
    return str([item["text"] for item in items if item["type"] == "agent_message"][-1])


AGENTS = {
    "claude": Agent(
        "@anthropic-ai/claude-code/cli-wrapper.cjs",
        lambda _, model: ["-p", "hello", "--output-format", "json", "--model", model, "--tools", "Read"],
        lambda base: {
            "ANTHROPIC_BASE_URL": f"{base}/anthropic",
            "ANTHROPIC_API_KEY": "any",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
        lambda out: str(json.loads(out)["result"]),
        ("Read", "file_path", "note.txt"),
        {},
    ),
    "codex": Agent(
        "@openai/codex/bin/codex.js",
        _codex,
        lambda _: {"RESPAN_API_KEY": "any"},
        _codex_said,
        ("exec_command", "cmd", "cat note.txt"),
        {".codex/config.toml": "[analytics]\nenabled = false\n"},
    ),
    "gemini": Agent(
        "@google/gemini-cli/bundle/gemini.js",
        lambda _, model: ["-p", "hello", "--output-format", "json", "--model", model],
        lambda base: {
            "GOOGLE_GEMINI_BASE_URL": f"{base}/google/gemini",
            "GEMINI_API_KEY": "any",
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
        },
        lambda out: str(json.loads(out)["response"]),
        ("read_file", "file_path", "note.txt"),
        {
            ".gemini/settings.json": json.dumps(
                {
                    "security": {"auth": {"selectedType": "gemini-api-key"}},
                    "privacy": {"usageStatisticsEnabled": False},
                    "general": {"enableAutoUpdate": False},
                }
            )
        },
    ),
}


@pytest.fixture(params=AGENTS)
def agent(request: pytest.FixtureRequest) -> Agent:
    return AGENTS[request.param]


async def answers(agent: Agent, base: str, model: str, home: Path) -> str:
    """What it says to one "hello" in a folder with a note, at a home of its own."""
    node, packages = tool("node"), node_with(NPM, "agents") / "node_modules"
    folder = home / "work"
    folder.mkdir()
    (folder / "note.txt").write_text(NOTE, "utf-8")
    for name, text in agent.settings.items():
        (home / name).parent.mkdir()
        (home / name).write_text(text, "utf-8")
    process = await asyncio.create_subprocess_exec(
        node,
        str(packages / agent.script),
        *agent.arguments(base, model),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **agent.environ(base)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # it starts programs of its own, which are to go with it
    )
    try:
        async with asyncio.timeout(120):
            out, err = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, f"{out.decode()}\n{err.decode()}"
    return agent.said(out.decode())


async def rows(proxy: Process) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{proxy.base}/request-logs/list/?page_size=100") as answer:
        found: list[dict[str, Any]] = (await answer.json())["results"]
    return found


async def test_it_is_answered_by_echo(agent: Agent, start: Start, tmp_path: Path) -> None:
    proxy = await start()  # without a key
    assert "This is echo" in await answers(agent, proxy.base, "echo/hello", tmp_path)
    assert {row["status_code"] for row in await rows(proxy)} == {200}


@pytest.mark.parametrize("model", MODELS)
async def test_it_uses_a_tool_as_any_model_says(
    agent: Agent, model: str, start: Start, environ: Mapping[str, str], provider: FakeProvider, tmp_path: Path
) -> None:
    proxy = await start(environ=environ)
    name, parameter, value = agent.reads
    provider.will(lambda request: calling(request, name, parameter, value.replace("note.txt", str(tmp_path / "work" / "note.txt"))))
    assert await answers(agent, proxy.base, model, tmp_path) == recordings.TEXT
    asked, told = provider.received
    assert NOTE not in asked.body.decode()
    assert NOTE in told.body.decode()
    assert [row["status_code"] for row in await rows(proxy)] == [200, 200]
