"""What was remembered, read back: lists, single calls and sums, over connections that can only read.

Every read is one short piece of work: a reader left open lets the write-ahead log grow without bound (5 to 107 MB in 10,000
rows, measured).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from respan_proxy.respan.filters import Condition, Field, Operator, Query
from respan_proxy.respan.spans import COLUMNS, NANO, shown
from respan_proxy.store.bodies import Kept, unpack
from respan_proxy.store.database import Database

T = TypeVar("T")

_NAMES = tuple(column.name for column in COLUMNS if column.public)
_COLUMNS = ", ".join(f"log.{name}" for name in _NAMES)


@dataclass(frozen=True, slots=True)
class Found:
    """One remembered call: its columns as the API shows them, and its content when it was asked for and kept."""

    seq: int
    row: dict[str, Any]
    kept: Kept | None


@dataclass(frozen=True, slots=True)
class Page:
    """`total` counts all rows that meet the query, on whatever page."""

    found: list[Found]
    total: int


@dataclass(frozen=True, slots=True)
class Tail:
    """How far a follower has come: the newest call it knows of (its number and its id), and those that were still running."""

    seq: int
    running: frozenset[int]
    unique_id: str | None = None


class Queries:
    """Reads the database at `path`. `key_id` everywhere: only the rows of this key; None: all rows.

    `ProxyError` 503 when the database cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(path, read_only=True)

    async def close(self) -> None:
        await self._database.close()

    async def find(self, query: Query, key_id: str | None = None, *, content: bool = False) -> Page:
        """One page of calls; with `content`, each with what was said."""
        return await self._database.read(partial(_find, query=query, key_id=key_id, content=content))

    async def get(self, unique_id: str, key_id: str | None = None) -> Found | None:
        """One call with its content."""
        return await self._database.read(partial(_get, unique_id=unique_id, key_id=key_id))

    async def summary(self, query: Query, key_id: str | None = None) -> dict[str, Any]:
        """Sums and means over the calls that meet the query. What is unknown is left out of both; `unpriced_requests` says how many."""
        return await self._database.read(partial(_summary, query=query, key_id=key_id))

    async def follow(self, tail: Tail | None, query: Query, key_id: str | None = None) -> tuple[list[Found], Tail]:
        """Calls that ended since `tail`, in the order they began, and where to go on. None: from now on, running calls included."""
        return await self._database.read(partial(_follow, tail=tail, query=query, key_id=key_id))


def _find(connection: sqlite3.Connection, query: Query, key_id: str | None, content: bool) -> Page:
    bound = _Bound()
    where = _where(query, key_id, bound)
    (total,) = connection.execute(f"SELECT count(*) FROM log WHERE {where}", bound.values).fetchone()
    order, direction = _expression(query.sort, bound), "DESC" if query.descending else "ASC"
    page = f"LIMIT {bound(query.page_size)} OFFSET {bound((query.page - 1) * query.page_size)}"
    sql = f"{_select(content)} WHERE {where} ORDER BY {order} {direction}, log.seq {direction} {page}"
    return Page([_found(row) for row in connection.execute(sql, bound.values).fetchall()], total)


def _get(connection: sqlite3.Connection, unique_id: str, key_id: str | None) -> Found | None:
    bound = _Bound()
    sql = f"{_select(True)} WHERE log.unique_id = {bound(unique_id)} AND {_scope(key_id, bound)}"
    row = connection.execute(sql, bound.values).fetchone()
    return None if row is None else _found(row)


def _follow(connection: sqlite3.Connection, tail: Tail | None, query: Query, key_id: str | None) -> tuple[list[Found], Tail]:
    newest, newest_id = connection.execute("SELECT seq, unique_id FROM log ORDER BY seq DESC LIMIT 1").fetchone() or (0, None)
    running = frozenset(seq for (seq,) in connection.execute("SELECT seq FROM log WHERE status = 'running'").fetchall())
    if tail is None:
        return [], Tail(newest, running, newest_id)
    since = 0 if _is_made_anew(connection, tail, newest) else tail.seq
    fresh = {seq for (seq,) in connection.execute("SELECT seq FROM log WHERE seq > ?", (since,)).fetchall()}
    ended = sorted((fresh | tail.running) - running)
    bound = _Bound()
    among = f"log.seq IN (SELECT value FROM json_each({bound(str(ended))}))"
    sql = f"{_select(False)} WHERE {among} AND {_where(query, key_id, bound)} ORDER BY log.seq"
    return [_found(row) for row in connection.execute(sql, bound.values).fetchall()], Tail(newest, running, newest_id)


def _is_made_anew(connection: sqlite3.Connection, tail: Tail, newest: int) -> bool:
    """Whether this is another database than the one that `tail` is of: it ends earlier, or has another call under that number."""
    found = connection.execute("SELECT unique_id FROM log WHERE seq = ?", (tail.seq,)).fetchone()
    return newest < tail.seq or (found is not None and found[0] != tail.unique_id)


def _summary(connection: sqlite3.Connection, query: Query, key_id: str | None) -> dict[str, Any]:
    bound = _Bound()
    sums = ", ".join(f"{expression} AS {name}" for name, expression in _SUMS.items())
    cursor = connection.execute(f"SELECT {sums} FROM log WHERE {_where(query, key_id, bound)}", bound.values)
    summary = dict(zip(_SUMS, cursor.fetchone(), strict=True))
    return {**summary, "total_cost": summary["total_cost"] / NANO, "scores": {}}


_SUMS: Mapping[str, str] = {
    "number_of_requests": "count(*)",
    "total_cost": "coalesce(sum(cost), 0)",
    "unpriced_requests": "count(*) - count(cost)",
    "total_tokens": "coalesce(sum(total_request_tokens), 0)",
    "total_prompt_tokens": "coalesce(sum(prompt_tokens), 0)",
    "total_completion_tokens": "coalesce(sum(completion_tokens), 0)",
    "avg_latency": "coalesce(avg(latency), 0.0)",
    "avg_tps": "coalesce(avg(tokens_per_second), 0.0)",
    "avg_ttft": "coalesce(avg(time_to_first_token), 0.0)",
    "error_count": "count(*) FILTER (WHERE status = 'failed')",
}


def _select(content: bool) -> str:
    if content:
        return f"SELECT log.seq, body.enc, body.data, {_COLUMNS} FROM log LEFT JOIN body USING (seq)"
    return f"SELECT log.seq, NULL, NULL, {_COLUMNS} FROM log"


def _found(row: tuple[Any, ...]) -> Found:
    seq, encoding, data, *values = row
    kept = None
    if data is not None:
        # What was said may be in a form of a newer program, or damaged; the columns are still worth showing.
        with contextlib.suppress(ValueError):
            kept = unpack(encoding, data)
    return Found(seq, shown(_NAMES, values), kept)


# Conditions -> SQL. Names of columns come from the column table alone, everything the reader wrote is a parameter.


class _Bound:
    """The parameters of a statement: `bound(value)` is the mark that stands for it, as often as it is needed."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def __call__(self, value: Any) -> str:
        self.values.append(value)
        return f"?{len(self.values)}"


_VIRTUAL: Mapping[str, str] = {
    "is_root_span": "(log.span_parent_id IS NULL OR log.span_parent_id = '')",
    "fault_domain": (
        "CASE WHEN log.status IS NOT 'failed' THEN NULL"
        " WHEN log.outcome IN ('upstream_broke', 'unavailable') OR log.status_code >= 500 THEN 'provider'"
        " WHEN log.outcome IN ('client_left', 'rejected') OR log.status_code >= 400 THEN 'user' ELSE 'respan' END"
    ),
}

# {x} is the field, {v} the value. LIKE is not used: it ignores case, and % and _ mean something.
_TESTS: Mapping[Operator, str] = {
    "lt": "{x} < {v}",
    "lte": "{x} <= {v}",
    "gt": "{x} > {v}",
    "gte": "{x} >= {v}",
    "contains": "instr({x}, {v}) > 0",
    "icontains": "instr(lower({x}), lower({v})) > 0",
    "startswith": "substr({x}, 1, length({v})) = {v}",
    "endswith": "substr({x}, length({x}) - length({v}) + 1) = {v}",
    "iexact": "lower({x}) = lower({v})",
}
_NEGATED: Mapping[Operator, Operator] = {
    "not_contains": "contains",
    "not_startswith": "startswith",
    "not_endswith": "endswith",
}


def _where(query: Query, key_id: str | None, bound: _Bound) -> str:
    every = [_scope(key_id, bound), *(_test(condition, bound) for condition in query.every)]
    some = [_test(condition, bound) for condition in query.some]
    return " AND ".join([*every, f"({' OR '.join(some)})"] if some else every)


def _scope(key_id: str | None, bound: _Bound) -> str:
    return "1" if key_id is None else f"log.organization_key_id = {bound(key_id)}"


def _test(condition: Condition, bound: _Bound) -> str:
    """A NULL is no value: it meets `empty` and everything that says "not"."""
    operator = condition.operator
    x = _expression(condition.field, bound, numeric=operator in ("lt", "lte", "gt", "gte"))
    marks = [bound(value) for value in condition.values]
    match operator:
        case "empty":
            return f"coalesce({x}, '') = ''"
        case "not_empty":
            return f"coalesce({x}, '') <> ''"
        case "in":
            return f"{x} IN ({', '.join(marks)})"
        case "not_in":
            return f"coalesce({x} NOT IN ({', '.join(marks)}), 1)"
    form = _TESTS[_NEGATED.get(operator, operator)]
    test = f"({' OR '.join(form.format(x=x, v=mark) for mark in marks)})"
    return f"coalesce(NOT {test}, 1)" if operator in _NEGATED else test


def _expression(field: Field, bound: _Bound, *, numeric: bool = False) -> str:
    if field.key is None:
        return _VIRTUAL.get(field.name) or f"log.{field.name}"
    path = bound('$."' + field.key.replace('"', "") + '"')
    value = f"json_extract(log.{field.name}, {path})"
    if numeric:
        return f"CAST({value} AS REAL)"
    return f"CASE json_type(log.{field.name}, {path}) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST({value} AS TEXT) END"
