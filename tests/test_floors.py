"""The floors of the house: who may import whom, and what pure code may not do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "respan_proxy"

FLOOR = {
    "errors": 0,
    "wire": 1,
    "dialects": 2,
    "respan": 3,
    "config": 3,
    "exchange": 4,
    "policy": 5,
    "telemetry": 5,
    "upstream": 6,
    "echo": 6,
    "store": 6,
    "handlers": 6,
    "server": 7,
    "app": 8,
    "cli": 9,
    "__main__": 10,
}
PURE = {"errors", "wire", "dialects", "respan", "config", "policy", "telemetry"}
IMPURE = {"aiohttp", "aiosqlite", "asyncio", "os", "random", "secrets", "socket", "sqlite3", "subprocess", "threading", "time", "uvloop"}

# Who alone may import what.
OWNERS = {
    "aiohttp.web": {"server", "app"},
    "aiohttp": {"server", "app", "upstream", "echo"},
    "aiosqlite": {"store"},
    "sqlite3": {"store"},
    "cachetools": {"handlers", "policy"},
    "tenacity": {"handlers"},
    "click": {"cli"},
    "rich": {"cli"},
    "uvloop": {"app", "cli"},
}

MODULES = sorted(ROOT.rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def unit(path: Path) -> str:
    """The package or module under respan_proxy/ that a file belongs to: its place in FLOOR."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of all that a file imports, at its top or inside a function."""
    for node in ast.walk(tree(path)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.fixture(params=MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def module(request: pytest.FixtureRequest) -> Path:
    return request.param  # type: ignore[no-any-return]


def test_a_module_imports_only_from_floors_below(module: Path) -> None:
    here = unit(module)
    assert here == "__init__" or here in FLOOR, f"respan_proxy/{here} stands on no floor; add it to FLOOR"
    for line, name in imports(module):
        parts = name.split(".")
        if parts[0] != "respan_proxy" or parts[1:2] in ([], [here], ["__version__"]):
            continue
        assert FLOOR[parts[1]] < FLOOR.get(here, -1), f"{module.relative_to(ROOT)}:{line}: {here} may not import {parts[1]}"


def test_pure_code_neither_waits_nor_touches_the_outside(module: Path) -> None:
    if unit(module) not in PURE:
        return
    for line, name in imports(module):
        assert name.split(".")[0] not in IMPURE, f"{module.relative_to(ROOT)}:{line}: {unit(module)} is pure and may not import {name}"
    for node in ast.walk(tree(module)):
        assert not isinstance(node, (ast.AsyncFunctionDef, ast.Await)), f"{module.relative_to(ROOT)}:{node.lineno}: pure code does not wait"


def test_each_outside_part_has_its_owner(module: Path) -> None:
    for line, name in imports(module):
        package = next((package for package in OWNERS if within(name, package)), None)
        if package:
            assert unit(module) in OWNERS[package], f"{module.relative_to(ROOT)}:{line}: only {sorted(OWNERS[package])} import {package}"


def test_every_task_has_an_owner_and_a_name(module: Path) -> None:
    """Its owner is the TaskGroup or the `async with` object that keeps it; RUF006 alone would let `_ = create_task(...)` pass."""
    for node in ast.walk(tree(module)):
        match node:
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr="create_task" | "ensure_future", value=ast.Name(id="asyncio" | "loop")))):
                pytest.fail(f"{module.relative_to(ROOT)}:{node.lineno}: nobody keeps this task")
            case ast.Call(func=ast.Attribute(attr="create_task"), keywords=keywords):
                named = any(keyword.arg == "name" for keyword in keywords)
                assert named, f"{module.relative_to(ROOT)}:{node.lineno}: a task without a name is a riddle in a stack dump"


def test_every_module_says_what_it_owns(module: Path) -> None:
    assert ast.get_docstring(tree(module)), f"{module.relative_to(ROOT)} begins without a sentence on what it owns"
