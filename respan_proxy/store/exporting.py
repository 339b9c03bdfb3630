"""Rows read back to be passed on, with what was said and the app's span that each is, over a connection of its own.

What is read at once is bounded in bytes: a batch of calls with images must not fill the memory.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from respan_proxy.respan.spans import COLUMNS, Row, shown
from respan_proxy.store import span_content
from respan_proxy.store.bodies import unpack
from respan_proxy.store.database import Database
from respan_proxy.store.queries import Found
from respan_proxy.store.views import content_of
from respan_proxy.telemetry.spans import Remembered, Said

# Compressed, as they lie in the database: some tens of megabytes of text, of which orjson makes objects one row at a time.
READ_BYTES = 2_000_000

_NAMES = tuple(column.name for column in COLUMNS)
_PUBLIC = tuple(column.name for column in COLUMNS if column.public)
_JSON = frozenset(column.name for column in COLUMNS if column.kind == "json")
_BOOLEAN = frozenset(column.name for column in COLUMNS if column.kind == "boolean")

_ROW = (
    f"SELECT log.seq, span.role, span.log_id, span.trace_id, span.enc, span.data, {', '.join(f'log.{name}' for name in _NAMES)} FROM log"
    " LEFT JOIN span ON span.unique_id = log.unique_id AND span.role IN ('row', 'call') WHERE log.unique_id = ?"
)
_BODY = "SELECT enc, data FROM body WHERE seq = ?"
# A span that is another telling of a call is not passed on, nor is the place that a call had before it was linked: what hangs there hangs
# on the call; of the same key, for ids are chosen by whoever sends.
_PARENT = (
    "SELECT log.span_unique_id FROM span JOIN log ON log.unique_id = span.unique_id"
    " WHERE span.trace_id = ?1 AND span.span_id = ?2 AND span.role = 'beside' AND log.organization_key_id IS ?3"
    " UNION ALL SELECT log.span_unique_id FROM linked JOIN log ON log.unique_id = linked.unique_id"
    " WHERE linked.trace_id = ?1 AND linked.span_id = ?2 AND log.organization_key_id IS ?3 LIMIT 1"
)
# The trace of a call that nobody told of is called like the call. What a provider of our own says below it goes where the call goes.
_MAY_MOVE = "SELECT 1 FROM log LEFT JOIN linked USING (unique_id) WHERE log.unique_id = ? AND linked.unique_id IS NULL"


@dataclass(slots=True)
class Batch:
    """`found` by id; `held` are calls that no span of an app is about yet, and spans about calls that are not here yet; `left` were not
    looked at: too much at once."""

    found: dict[str, Remembered] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


class Exporting:
    """Reads the database at `path`. Rows that are gone, or still running, are found nowhere."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, read_only=True)

    async def close(self) -> None:
        await self._database.close()

    async def read(self, ids: Sequence[str], *, patient: Collection[str], content: bool) -> Batch:
        """The rows of `ids`, in that order; with `content`, what was said in each. Of `patient`, those are held that may yet be linked.

        `ProxyError` 503 when the database cannot be read.
        """
        return await self._database.read(partial(_read, ids=ids, patient=frozenset(patient), content=content))


def _read(connection: sqlite3.Connection, ids: Sequence[str], patient: frozenset[str], content: bool) -> Batch:
    batch, size = Batch(), 0
    for place, unique_id in enumerate(ids):
        if size > READ_BYTES:
            batch.left = list(ids[place:])
            break
        found = connection.execute(_ROW, (unique_id,)).fetchone()
        if found is None:
            continue
        seq, role, log_id, trace_id, encoding, data, *stored = found
        columns = dict(zip(_NAMES, stored, strict=True))
        if columns["status"] == "running":
            continue
        if unique_id in patient and (columns["log_method"] == "inference" if role is None else role == "row" and log_id is not None):
            batch.held.append(unique_id)
            continue
        if unique_id in patient and role and connection.execute(_MAY_MOVE, (columns["trace_unique_id"],)).fetchone():
            batch.held.append(unique_id)
            continue
        one = Remembered(_row(columns))
        if data is not None:
            size += len(data)
            with contextlib.suppress(ValueError):  # of a newer program, or damaged: the columns are still worth passing on
                one.raw = span_content.raw(encoding, data)
                one.said = span_content.said(encoding, data) if content else None
        if content and (body := connection.execute(_BODY, (seq,)).fetchone()) is not None:
            size += len(body[1])
            with contextlib.suppress(ValueError):
                one.said = _said(seq, columns, *body)
        if one.row.span_parent_id is not None:
            above = (trace_id or one.row.trace_unique_id, one.row.span_parent_id, one.row.organization_key_id)
            hung = connection.execute(_PARENT, above).fetchone()
            one.parent_id = hung[0] if hung is not None else None
        batch.found[unique_id] = one
    return batch


def _row(columns: dict[str, Any]) -> Row:
    return Row(**{name: _value(name, value) for name, value in columns.items() if value is not None})


def _value(name: str, stored: Any) -> Any:
    if name in _JSON:
        return orjson.loads(stored)
    return bool(stored) if name in _BOOLEAN else stored


def _said(seq: int, columns: dict[str, Any], encoding: str, data: bytes) -> Said:
    found = Found(seq, shown(_PUBLIC, [columns[name] for name in _PUBLIC]), unpack(encoding, data))
    told = content_of(found)
    return Said(
        input=told["input"],
        output=told["output"],
        prompt_messages=told["prompt_messages"],
        completion_messages=told["completion_messages"],
        tools=told["tools"],
        tool_calls=told["tool_calls"],
    )
