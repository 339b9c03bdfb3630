"""Calls and spans for tests, and a database as it reads."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from respan_proxy.respan.spans import Row
from respan_proxy.store.writer import Writer
from respan_proxy.telemetry.spans import Claim, Said, Told, row_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
AT = 1_700_000_000.0


def writing(path: Path, **options: Any) -> Writer:
    """A writer of the days of these calls: nothing of theirs is old to it."""
    return Writer(path, clock=lambda: AT + 60, **options)


def call(name: str, **columns: Any) -> Row:
    """A finished call of the gateway's as it knows itself: in a trace of its own."""
    id = name.ljust(32, "0")
    values: dict[str, Any] = {"trace_unique_id": id, "span_unique_id": id[16:], "span_name": "chat", "endpoint": "chat"}
    values |= {"start_time": AT, "timestamp": AT + 1, "status": "success", "log_type": "chat", "model": "gpt-4.1"}
    return Row(id, **{**values, **columns})


def told(
    name: str,
    trace_id: str = TRACE,
    *,
    parent: str | None = None,
    claim: Claim | None = None,
    said: Said | None = None,
    raw: dict[str, Any] | None = None,
    **columns: Any,
) -> Told:
    """A span called `name`, whose id that is too."""
    span_id = name.ljust(16, "0")
    key_id = columns.get("organization_key_id")
    values: dict[str, Any] = {"span_name": name, "start_time": AT, "timestamp": AT + 1, "status": "success", "log_type": "task"}
    values |= {"trace_unique_id": trace_id, "span_unique_id": span_id, "span_parent_id": parent and parent.ljust(16, "0")}
    row = Row(row_id(trace_id, span_id, key_id), **{**values, **columns})
    return Told(row, said or Said(), raw or {}, claim or Claim())


def read(path: Path, sql: str, *parameters: Any) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql, parameters).fetchall()
    finally:
        connection.close()
