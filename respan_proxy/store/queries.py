"""What was remembered, read back: lists, single calls and sums, over connections that can only read.

Every read is one short piece of work: a reader left open lets the write-ahead log grow without bound (5 to 107 MB in 10,000
rows, measured).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from respan_proxy.respan.filters import Query
from respan_proxy.respan.spans import COLUMNS, NANO, shown
from respan_proxy.store.bodies import Kept, unpack
from respan_proxy.store.conditions import COUNTED, Bound, column, expression, scope, where
from respan_proxy.store.database import Database
from respan_proxy.store.groups import Groups, groups
from respan_proxy.store.span_content import raw, said
from respan_proxy.telemetry.spans import Said

T = TypeVar("T")

_NAMES = tuple(column.name for column in COLUMNS if column.public)
_COLUMNS = ", ".join(map(column, _NAMES))


@dataclass(frozen=True, slots=True)
class Found:
    """One remembered call or span: its columns as the API shows them, and its content when it was asked for and kept.

    `kept` is what went through the gateway, `said` what an app's span tells was said. `spans` are the spans that tell of it as they
    were exported, the one whose place it has first; for a single call alone.
    """

    seq: int
    row: dict[str, Any]
    kept: Kept | None = None
    said: Said | None = None
    spans: tuple[dict[str, Any], ...] = ()


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

    async def groups(self, query: Query, by: Sequence[str], sort: str, descending: bool, key_id: str | None = None) -> Groups:
        """One page of sums over the calls that have the columns `by` in common, in the order of one of them (store/groups.py)."""
        return await self._database.read(partial(groups, query=query, by=by, sort=sort, descending=descending, sees=key_id))

    async def follow(self, tail: Tail | None, query: Query, key_id: str | None = None) -> tuple[list[Found], Tail]:
        """Calls that ended since `tail`, in the order they began, and where to go on. None: from now on, running calls included."""
        return await self._database.read(partial(_follow, tail=tail, query=query, key_id=key_id))


def _find(connection: sqlite3.Connection, query: Query, key_id: str | None, content: bool) -> Page:
    bound = Bound()
    chosen = where(query, key_id, bound)
    (total,) = connection.execute(f"SELECT count(*) FROM log WHERE {chosen}", bound.values).fetchone()
    order, direction = expression(query.sort, bound), "DESC" if query.descending else "ASC"
    page = f"LIMIT {bound(query.page_size)} OFFSET {bound((query.page - 1) * query.page_size)}"
    sql = f"{_select(content)} WHERE {chosen} ORDER BY {order} {direction}, log.seq {direction} {page}"
    return Page([_found(row) for row in connection.execute(sql, bound.values).fetchall()], total)


def _get(connection: sqlite3.Connection, unique_id: str, key_id: str | None) -> Found | None:
    bound = Bound()
    sql = f"{_select(True)} WHERE log.unique_id = {bound(unique_id)} AND {scope(key_id, bound)}"
    row = connection.execute(sql, bound.values).fetchone()
    if row is None:
        return None
    sql = "SELECT enc, data FROM span WHERE unique_id = ? AND data IS NOT NULL ORDER BY role = 'beside', seq"
    spans = [_unpacked(raw, *packed) for packed in connection.execute(sql, (unique_id,)).fetchall()]
    return replace(_found(row), spans=tuple(span for span in spans if span is not None))


def found_by_seq(connection: sqlite3.Connection, seqs: Sequence[int], *, content: bool) -> dict[int, Found]:
    """These lines, by their number."""
    sql = f"{_select(content)} WHERE log.seq IN (SELECT value FROM json_each(?))"
    return {row[0]: _found(row) for row in connection.execute(sql, (str(list(seqs)),)).fetchall()}


def _follow(connection: sqlite3.Connection, tail: Tail | None, query: Query, key_id: str | None) -> tuple[list[Found], Tail]:
    newest, newest_id = connection.execute("SELECT seq, unique_id FROM log ORDER BY seq DESC LIMIT 1").fetchone() or (0, None)
    running = frozenset(seq for (seq,) in connection.execute("SELECT seq FROM log WHERE status = 'running'").fetchall())
    if tail is None:
        return [], Tail(newest, running, newest_id)
    since = 0 if _is_made_anew(connection, tail, newest) else tail.seq
    fresh = {seq for (seq,) in connection.execute("SELECT seq FROM log WHERE seq > ?", (since,)).fetchall()}
    ended = sorted((fresh | tail.running) - running)
    bound = Bound()
    among = f"log.seq IN (SELECT value FROM json_each({bound(str(ended))}))"
    sql = f"{_select(False)} WHERE {among} AND {where(query, key_id, bound)} ORDER BY log.seq"
    return [_found(row) for row in connection.execute(sql, bound.values).fetchall()], Tail(newest, running, newest_id)


def _is_made_anew(connection: sqlite3.Connection, tail: Tail, newest: int) -> bool:
    """Whether this is another database than the one that `tail` is of: it ends earlier, or has another call under that number."""
    found = connection.execute("SELECT unique_id FROM log WHERE seq = ?", (tail.seq,)).fetchone()
    return newest < tail.seq or (found is not None and found[0] != tail.unique_id)


def _summary(connection: sqlite3.Connection, query: Query, key_id: str | None) -> dict[str, Any]:
    bound = Bound()
    sums = ", ".join(f"{expression} AS {name}" for name, expression in _SUMS.items())
    cursor = connection.execute(f"SELECT {sums} FROM log WHERE {where(query, key_id, bound)}", bound.values)
    summary = dict(zip(_SUMS, cursor.fetchone(), strict=True))
    return {**summary, "total_cost": summary["total_cost"] / NANO, "scores": {}}


_SUMS: Mapping[str, str] = {
    "number_of_requests": "count(*)",
    "total_cost": f"coalesce(sum(cost) FILTER (WHERE {COUNTED}), 0)",
    "unpriced_requests": f"count(*) FILTER (WHERE {COUNTED} AND cost IS NULL)",
    "total_tokens": f"coalesce(sum(total_request_tokens) FILTER (WHERE {COUNTED}), 0)",
    "total_prompt_tokens": f"coalesce(sum(prompt_tokens) FILTER (WHERE {COUNTED}), 0)",
    "total_completion_tokens": f"coalesce(sum(completion_tokens) FILTER (WHERE {COUNTED}), 0)",
    "avg_latency": f"coalesce(avg(latency) FILTER (WHERE {COUNTED}), 0.0)",
    "avg_tps": f"coalesce(avg(tokens_per_second) FILTER (WHERE {COUNTED}), 0.0)",
    "avg_ttft": f"coalesce(avg(time_to_first_token) FILTER (WHERE {COUNTED}), 0.0)",
    "error_count": "count(*) FILTER (WHERE status = 'failed')",
}


def _select(content: bool) -> str:
    if content:
        return (
            f"SELECT log.seq, body.enc, body.data, span.enc, span.data, {_COLUMNS} FROM log LEFT JOIN body USING (seq)"
            " LEFT JOIN span ON span.unique_id = log.unique_id AND span.role IN ('row', 'call')"
        )
    return f"SELECT log.seq, NULL, NULL, NULL, NULL, {_COLUMNS} FROM log"


def _found(row: tuple[Any, ...]) -> Found:
    seq, encoding, data, span_encoding, span_data, *values = row
    return Found(seq, shown(_NAMES, values), _unpacked(unpack, encoding, data), _unpacked(said, span_encoding, span_data))


def _unpacked(how: Callable[[str, bytes], T], encoding: str | None, data: bytes | None) -> T | None:
    """What was said may be in a form of a newer program, or damaged; the columns are still worth showing."""
    if encoding is None or data is None:
        return None
    with contextlib.suppress(ValueError):
        return how(encoding, data)
    return None
