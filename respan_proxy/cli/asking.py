"""What the commands that read have in common: how a person writes filters and times, and how lines are written."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


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
    return since


def write(*lines: str) -> None:
    for line in lines:
        click.echo(line)
    sys.stdout.flush()
