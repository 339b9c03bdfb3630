"""A client that is not ours, run by its driver in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.company.environments import node_with, python_with, tool

DRIVERS = Path(__file__).parent / "drivers"

Said = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Driver:
    """`command` plays scenes when told a base URL and calls, and prints what it saw."""

    command: Sequence[str]
    environ: Mapping[str, str]

    async def plays(self, base_url: str, calls: Sequence[tuple[str, str]]) -> list[Said]:
        """What it sees of each call (scene, model), in order."""
        task = json.dumps({"base_url": base_url, "calls": calls})
        process = await asyncio.create_subprocess_exec(
            *self.command, task, env=self.environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(120):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, err.decode()
        found: list[Said] = json.loads(out)
        return found


def driven(requirement: str, script: str, home: Path) -> Driver:
    """The script with `openai==3.57.0` of PyPI, or with `npm openai==7.57.0`."""
    if not requirement.startswith("npm "):
        return in_python(requirement, script, home)
    package, _, version = requirement.removeprefix("npm ").partition("==")
    return in_node({package: version}, f"npm-{package.strip('@').replace('/', '-')}-{version}", script, home)


def in_python(requirement: str, script: str, home: Path, environ: Mapping[str, str] | None = None) -> Driver:
    """The script in an environment that holds this requirement; `home` is its home directory."""
    return Driver([str(python_with(requirement)), str(DRIVERS / script)], {**_environ(home), **(environ or {})})


def in_node(packages: Mapping[str, str], folder: str, script: str, home: Path) -> Driver:
    """The script beside these npm packages, which are kept in the folder of this name."""
    modules = node_with(packages, folder) / "node_modules"
    return Driver([tool("node"), str(DRIVERS / script)], {**_environ(home), "NODE_PATH": str(modules)})


def _environ(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home)}
