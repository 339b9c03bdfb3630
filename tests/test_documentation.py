"""What the documentation shows is what there is."""

from __future__ import annotations

import asyncio
import gc
import re
import shutil
import tomllib
import warnings
from typing import Any

import aiohttp
import pytest

from respan_proxy.echo.manners import MANNERS
from respan_proxy.respan.filters import ALIASES, OPERATORS
from respan_proxy.respan.spans import COLUMNS
from respan_proxy.telemetry.attributes import FACTS
from tests.blocks import ROOT, Script, blocks, curls, programs
from tests.conftest import Proxy, StartProxy

# What needs more than the tests' own packages is run in tests/company.
FOREIGN = ("langchain", "litellm", "respan")
PROGRAMS = [
    program
    for program in programs("python")
    if not any(f"import {name}" in program.text or f"from {name}" in program.text for name in FOREIGN)
]
# Those that only say where an SDK is to call.
SILENT = ("README", "openai-agents")


def test_the_recipe_for_tests_has_every_manner_of_echo() -> None:
    text = (ROOT / "docs" / "recipes" / "tests.md").read_text("utf-8")
    rows = "".join(f"| `echo/{word.name}` | {word.meaning} |\n" for word in MANNERS)
    assert rows in text


def test_reading_has_every_column_in_order_with_its_kind() -> None:
    text = (ROOT / "docs" / "reading.md").read_text("utf-8").partition("## Columns")[2].partition("\n## ")[0]
    rows = [tuple(cell.strip(" `") for cell in line.split("|")[1:3]) for line in text.splitlines() if line.startswith("| `")]
    assert rows == [(column.name, column.kind) for column in COLUMNS if column.public]


def test_reading_has_every_operator_and_alias() -> None:
    text = (ROOT / "docs" / "reading.md").read_text("utf-8")
    table = text.partition("| Operator |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z_=]+)`", table)) - {"true", "false"} == {*OPERATORS, "isnull"} - {""}
    assert "Aliases: " + ", ".join(f"`{alias}` ({name})" for alias, name in ALIASES.items()) + "." in text


def test_telemetry_has_every_attribute_that_is_understood_in_the_order_they_count() -> None:
    text = (ROOT / "docs" / "telemetry.md").read_text("utf-8")
    rows = {found[1]: tuple(re.findall(r"`([^`]+)`", found[2])) for found in re.finditer(r"^\| `(\w+)` \| (`.*`) \|$", text, re.MULTILINE)}
    assert rows == {fact.column: fact.names for fact in FACTS}


def test_every_page_of_recipes_has_blocks_that_are_run() -> None:
    run = {script.page.stem for script in [*programs("python"), *curls(), *blocks("js", "toml", "sh")]}
    assert {page.stem for page in (ROOT / "docs" / "recipes").glob("*.md")} <= run


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
async def test_a_program_of_the_documentation_is_answered_offline(program: Script, start_proxy: StartProxy) -> None:
    proxy = await start_proxy({"echo": {"pace_ms": 0}}, {})
    code = compile(program.at(proxy.base), str(program), "exec")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a program of a few lines leaves its sockets to its end
        # Here and not in a process of its own: the SDKs take seconds to import.
        await asyncio.to_thread(exec, code, {"__name__": "__main__"})
        gc.collect()
    statuses = [row["status_code"] for row in await rows(proxy)]
    assert statuses or program.page.stem in SILENT
    assert set(statuses) <= {200}


@pytest.mark.parametrize("curl", curls(), ids=str)
async def test_a_curl_of_the_documentation_is_answered_offline(curl: Script, start_proxy: StartProxy) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl, not on this machine")
    # What a page asks for that must be allowed, it says beside it.
    proxy = await start_proxy({"echo": {"pace_ms": 0}, "retry": {"enabled": True}, "faults": {"per_request": True}}, {})
    command = curl.at(proxy.base).replace("curl ", "curl -sS -w '\\n%{http_code}' ", 1)
    process = await asyncio.create_subprocess_exec("bash", "-c", command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, err = await process.communicate()
    text, _, status = out.decode().rpartition("\n")
    assert text and (status, err) == ("200", b""), (text, err)


@pytest.mark.parametrize("block", [*blocks("toml")], ids=str)
def test_a_piece_of_toml_in_the_documentation_is_toml(block: Script) -> None:
    assert tomllib.loads(block.text)


async def rows(proxy: Proxy) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{proxy.base}/request-logs/list/") as answer:
        found: list[dict[str, Any]] = (await answer.json())["results"]
    return found
