"""The floors of the house: who may import whom, and what pure code may not do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1] / "respan_proxy"

FLOOR = {
    "errors": 0,
    "frozen": 0,
    "wire": 1,
    "dialects": 2,
    "respan": 3,
    "config": 3,
    "exchange": 4,
    "loading": 4,
    "reporting": 4,
    "policy": 5,
    "telemetry": 5,
    "pool": 5,
    "upstream": 6,
    "images": 6,
    "tokens": 6,
    "echo": 6,
    "store": 6,
    "handlers": 6,
    "exports": 6,
    "server": 7,
    "app": 8,
    "cli": 9,
    "__main__": 10,
}
PURE = {"errors", "frozen", "wire", "dialects", "respan", "config", "policy", "telemetry"}
IMPURE = {"aiohttp", "aiosqlite", "asyncio", "os", "random", "secrets", "socket", "sqlite3", "subprocess", "threading", "time", "uvloop"}

# Who alone may import what.
OWNERS = {
    "aiohttp.web": {"server", "app"},
    "aiohttp": {"server", "app", "pool", "upstream", "images", "echo", "exports"},
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


def all_imports() -> Iterator[tuple[Path, int, str]]:
    return ((path, line, name) for path in MODULES for line, name in imports(path))


def place(path: Path, line: int) -> str:
    return f"respan_proxy/{path.relative_to(ROOT)}:{line}:"


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def test_a_module_imports_only_from_floors_below() -> None:
    offenders = []
    for path, line, name in all_imports():
        here, parts = unit(path), name.split(".")
        if parts[0] != "respan_proxy" or parts[1:2] in ([], [here], ["__version__"]):
            continue
        if FLOOR[parts[1]] >= FLOOR.get(here, -1):
            offenders.append(f"{place(path, line)} {here} may not import {parts[1]}")
    assert not offenders, "\n".join(offenders)


def test_every_module_stands_on_a_floor() -> None:
    assert not {unit(path) for path in MODULES} - FLOOR.keys() - {"__init__"}


def test_pure_code_neither_waits_nor_touches_the_outside() -> None:
    offenders = [
        f"{place(path, line)} {unit(path)} is pure and may not import {name}"
        for path, line, name in all_imports()
        if unit(path) in PURE and name.split(".")[0] in IMPURE
    ]
    offenders += [
        f"{place(path, node.lineno)} pure code does not wait"
        for path in MODULES
        if unit(path) in PURE
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.AsyncFunctionDef, ast.Await))
    ]
    assert not offenders, "\n".join(offenders)


def test_each_outside_part_has_its_owner() -> None:
    offenders = []
    for path, line, name in all_imports():
        package = next((package for package in OWNERS if within(name, package)), None)
        if package and unit(path) not in OWNERS[package]:
            offenders.append(f"{place(path, line)} only {', '.join(sorted(OWNERS[package]))} may import {package}")
    assert not offenders, "\n".join(offenders)


def test_every_task_has_an_owner_and_a_name() -> None:
    """Its owner is the TaskGroup or the `async with` object that keeps it; RUF006 alone would let `_ = create_task(...)` pass."""
    offenders = []
    for path in MODULES:
        for node in ast.walk(tree(path)):
            match node:
                case ast.Expr(
                    value=ast.Call(func=ast.Attribute(attr="create_task" | "ensure_future", value=ast.Name(id="asyncio" | "loop")))
                ):
                    offenders.append(f"{place(path, node.lineno)} nobody keeps this task")
                case ast.Call(func=ast.Attribute(attr="create_task"), keywords=keywords) if all(word.arg != "name" for word in keywords):
                    offenders.append(f"{place(path, node.lineno)} a task without a name is a riddle in a stack dump")
    assert not offenders, "\n".join(offenders)


def test_every_module_says_what_it_owns() -> None:
    assert not [str(path.relative_to(ROOT)) for path in MODULES if not ast.get_docstring(tree(path))]
