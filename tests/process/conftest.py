"""The proxy as a process of its own, as a user starts it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# So that nothing waits for ever. Three starts at once on two busy cores took more than 20.
LIMIT_S = 120


@dataclass(slots=True)
class Process:
    """`port` once it listens; `said` is what it wrote to standard error so far."""

    process: asyncio.subprocess.Process
    port: int = 0
    said: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    async def until(self, words: str) -> str:
        """Read what it says up to a line with these words."""
        assert self.process.stderr is not None
        async with asyncio.timeout(LIMIT_S):
            while line := (await self.process.stderr.readline()).decode():
                self.said.append(line)
                if words in line:
                    return line
        raise AssertionError(f"it ended without saying {words!r}:\n{''.join(self.said)}")

    async def ended(self) -> int:
        """Its exit status; all it said is in `said` then."""
        assert self.process.stderr is not None
        async with asyncio.timeout(LIMIT_S):
            self.said.append((await self.process.stderr.read()).decode())
            return await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """`await start("--flag", environ={...})`: a proxy in an empty folder of its own; `listens=False` for one that is to refuse."""
    started: list[Process] = []

    async def run(*arguments: str, environ: Mapping[str, str] | None = None, listens: bool = True) -> Process:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), **(environ or {})}
        environment.setdefault("RESPAN_PROXY_LISTEN", "127.0.0.1:0")
        environment.setdefault("RESPAN_PROXY_DATABASE", str(tmp_path / "calls.db"))
        process = Process(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "respan_proxy", *arguments, cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE
            )
        )
        started.append(process)
        if listens:
            line = await process.until(" listens on ")
            if "http://127.0.0.1:" in line:
                process.port = int(line.split("http://127.0.0.1:")[1].split("/")[0])
            if '"try"' not in line:  # as JSON it is all in one line
                await process.until("try ")
        return process

    yield run
    for process in started:
        if process.process.returncode is None:
            process.process.kill()
        await process.process.communicate()
