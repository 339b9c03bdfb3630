"""The programs of the recipes that need other packages than the tests' own run as they stand, with `echo`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.blocks import Script, blocks, programs
from tests.company.driving import Said
from tests.company.environments import node_with, python_with, tool
from tests.company.test_exporters import NODE
from tests.company.test_frameworks import AI, FRAMEWORKS, LITELLM, rows
from tests.process.conftest import Start

pytestmark = pytest.mark.slow

REQUIREMENTS = {framework.package.partition("==")[0]: framework.package for framework in FRAMEWORKS.values() if framework.package != "ai"}


def requirement(program: Script) -> str | None:
    """The package that it imports, if that is none of the tests' own."""
    modules = (line.split()[1].replace("_", "-") for line in program.text.splitlines() if line.startswith(("from ", "import ")))
    return next((REQUIREMENTS[module] for module in modules if module in REQUIREMENTS), None)


@pytest.mark.parametrize("program", [program for program in programs("python") if requirement(program)], ids=str)
async def test_a_python_program_of_the_recipes_is_answered(program: Script, start: Start, tmp_path: Path) -> None:
    proxy = await start()
    needs = requirement(program)
    assert needs is not None
    await runs([str(python_with(needs)), "-c", program.at(proxy.base)], tmp_path, LITELLM)
    answered(program, await rows(proxy.base))


@pytest.mark.parametrize("program", [*blocks("js")], ids=str)
async def test_a_javascript_program_of_the_recipes_is_answered(program: Script, start: Start, tmp_path: Path) -> None:
    proxy = await start()
    packages = node_with(NODE, "npm-opentelemetry") if "opentelemetry" in program.text else node_with(AI, "ai-sdk")
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")
    (tmp_path / "recipe.mjs").write_text(program.at(proxy.base), "utf-8")
    await runs([tool("node"), "recipe.mjs"], tmp_path, {})
    answered(program, await rows(proxy.base))


def answered(program: Script, rows: list[Said]) -> None:
    assert {row["status_code"] for row in rows} == {200}
    assert ("user_123" in program.text) == ("user_123" in {row["customer_identifier"] for row in rows})


async def runs(command: list[str], folder: Path, environ: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(120):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, out.decode()
