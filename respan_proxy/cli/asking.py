"""What the commands that read have in common: how a person chooses and names what is remembered."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from respan_proxy.cli.settings import Command
from respan_proxy.errors import ProxyError
from respan_proxy.wire.trace_context import as_id

Found = TypeVar("Found")


class Closing(Protocol):
    async def close(self) -> None: ...


Reader = TypeVar("Reader", bound=Closing)

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def choosing(what: str, model: str, failed: str, example: str) -> Callable[[Command], Command]:
    """`--limit`, `--since`, `--model`, `--failed`, `--where`, in the words of the command."""

    def decorate(command: Command) -> Command:
        for option in (
            click.option("-w", "--where", metavar="FIELD=VALUE", multiple=True, help=f"Any filter of the API: {example}."),
            click.option("--failed", is_flag=True, help=failed),
            click.option("-m", "--model", metavar="TEXT", help=model),
            click.option("-s", "--since", metavar="TIME", default="24h", show_default=True, help="90s, 15m, 2h, 7d, an ISO time, or all."),
            click.option(
                *("-n", "--limit"), default=20, show_default=True, type=click.IntRange(1, 1000), help=f"How many {what}, newest last."
            ),
        ):
            command = option(command)
        return command

    return decorate


def chosen(failing: Mapping[str, Any], limit: int, since: str, model: str | None, failed: bool, where: tuple[str, ...]) -> dict[str, Any]:
    """The body of a request for what `choosing` was told; `failing` are the filters of `--failed`."""
    filters = conditions(where)
    if model:
        filters.setdefault("model", []).append({"operator": "icontains", "value": model})
    for name, condition in failing.items() if failed else ():
        filters.setdefault(name, []).append(condition)
    return {"filters": filters, "start_time": start(since, time.time()), "page_size": limit}


async def only_one(
    what: str,
    given: str,
    field: str,
    database: Path,
    get: Callable[[str], Awaitable[Found | None]],
    beginning: Callable[[dict[str, Any]], Awaitable[tuple[list[str], int]]],
) -> Found:
    """What has that id, else the only one whose id begins so; `beginning` gives the first ids that meet a request, and how many do.

    `ProxyError` when there is none, or more than one.
    """
    if (found := await get(as_id(given))) is not None:
        return found
    begins = {"filters": {field: {"operator": "startswith", "value": given}}, "start_time": 0, "page_size": 2}
    ids, total = await beginning(begins)
    if len(ids) == 1 and (found := await get(ids[0])) is not None:
        return found
    said = f"no {what} has an id that begins" if not ids else f"{total} {what}s have ids that begin"
    raise ProxyError(f"{said} with {given!r} in {database}", status=404)


@asynccontextmanager
async def closing(reader: Reader) -> AsyncIterator[Reader]:
    try:
        yield reader
    finally:
        await reader.close()


def conditions(where: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    """`FIELD=VALUE` and `FIELD__OPERATOR=VALUE` as filters of the API."""
    filters: dict[str, list[dict[str, Any]]] = {}
    for said in where:
        name, equals, value = said.partition("=")
        if not equals:
            raise click.BadParameter(f"found {said!r}, expected FIELD=VALUE or FIELD__OPERATOR=VALUE", param_hint="--where")
        field, operator = _field_and_operator(name)
        filters.setdefault(field, []).append({"operator": operator, "value": value})
    return filters


def _field_and_operator(name: str) -> tuple[str, str]:
    """`latency__gt` -> latency, gt; `metadata__team` is a field."""
    from respan_proxy.respan.filters import OPERATORS

    field, _, operator = name.rpartition("__")
    if operator in OPERATORS and field not in ("", "metadata", "properties"):
        return field, operator
    return name, ""


def start(since: str, now: float) -> float | str:
    """When `--since` began: seconds of the epoch, or a time as it was written."""
    if since == "all":
        return 0.0
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", since):
        return now - float(found[1]) * _UNITS_S[found[2]]
    try:
        datetime.fromisoformat(since)
    except ValueError:
        expected = "90s, 15m, 2h, 7d, 4w, an ISO 8601 time such as 2026-11-21T09:30:00Z, or all"
        raise click.BadParameter(f"found {since!r}, expected {expected}", param_hint="--since") from None
    return since
