"""Traces, read off the lines of `log`: every call and every span has its trace, and what is told of a trace is summed from them.

One pass over a trace's lines gives all of it. "The first that is found, roots first and then by time" is a minimum over texts that
begin with that order (`_PLACE`), so that it is one more sum beside the others and a filter like them.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from respan_proxy.respan.filters import Condition, Query
from respan_proxy.respan.spans import GENERATIONS, NANO, shown
from respan_proxy.respan.traces import OWN
from respan_proxy.store.conditions import COUNTED, LLM, NARROWING, Bound, Sees, meets, scope
from respan_proxy.store.database import Database
from respan_proxy.store.queries import Found, found_by_seq

# When a line began, in digits that sort: 17 characters, also for spans of impossible times.
_BEGAN_TEXT = "printf('%017.6f', max(0, min(coalesce(log.start_time, log.timestamp, 0), 9e9)))"
# Lines without a parent stand first, and of those workflows: what joined a trace later (results of a batch, whose times are the
# provider's) may claim to have begun before.
_RANK = "CASE WHEN coalesce(log.span_parent_id, '') <> '' THEN 2 WHEN log.log_type = 'workflow' THEN 0 ELSE 1 END"
# Where a line stands in its trace, in 53 characters that sort: by rank, then by time; of lines that began at once the longest is the
# outermost.
_PLACE = f"(({_RANK}) || {_BEGAN_TEXT} || printf('%017.6f%018d', 1e9 - max(0, min(coalesce(log.latency, 0), 9e8)), log.seq))"


# The same for whoever reads lines: a fifth of the time.
_ORDER = (
    f"{_RANK}, max(0, min(coalesce(log.start_time, log.timestamp, 0), 9e9)), max(0, min(coalesce(log.latency, 0), 9e8)) DESC,"
    " log.span_unique_id, log.seq"
)


def _first(value: str, among: str = "1") -> str:
    """The value of the first line of a trace that has one."""
    return f"substr(min({_PLACE} || {value}) FILTER (WHERE coalesce({value}, '') <> '' AND {among}), 54)"


def _of_root(value: str) -> str:
    """Of the first line alone, whether it has one or not."""
    return f"nullif(substr(min({_PLACE} || coalesce({value}, '')), 54), '')"


def _sum(column: str) -> str:
    return f"coalesce(sum(log.{column}) FILTER (WHERE {COUNTED}), 0)"


_NAME = "coalesce(nullif(log.trace_name, ''), nullif(log.entity_name, ''), log.span_name)"
_BEGAN = "min(coalesce(log.start_time, log.timestamp))"

# The first that is found, and of which lines.
_FIRSTS: Final = {
    **dict.fromkeys(("customer_identifier", "environment", "environment_tag", "organization_key_id", "service_name"), "1"),
    **dict.fromkeys(("trace_group_identifier", "session_identifier", "thread_identifier", "group_identifier"), "1"),
    "model": LLM,
}
# Of a call that failed, no cost is none.
_PRICED = f"{COUNTED} AND (log.cost IS NOT NULL OR log.status IS NOT 'failed')"
# Name -> SQL over the lines of one trace. A cost that nobody knows is NULL; where no model was called it is 0.
_NUMBERS: Final[Mapping[str, str]] = {
    "start_time": _BEGAN,
    "end_time": "max(log.timestamp)",
    "duration": f"max(log.timestamp) - {_BEGAN}",
    "span_count": "count(*)",
    "llm_call_count": f"count(*) FILTER (WHERE {LLM})",
    "error_count": "count(*) FILTER (WHERE log.status = 'failed')",
    "total_cost": f"CASE WHEN count(*) FILTER (WHERE {_PRICED}) THEN sum(log.cost) FILTER (WHERE {_PRICED}) ELSE 0 END",
    "unpriced_requests": f"count(*) FILTER (WHERE {_PRICED} AND log.cost IS NULL)",
    "total_prompt_tokens": _sum("prompt_tokens"),
    "total_completion_tokens": _sum("completion_tokens"),
    "total_request_tokens": _sum("total_request_tokens"),
}
_SUMS: Final[Mapping[str, str]] = {
    "trace_unique_id": "log.trace_unique_id",
    "root_span_unique_id": _of_root("log.span_unique_id"),
    "name": _of_root(_NAME),
    **{name: _first(f"log.{name}", among) for name, among in _FIRSTS.items()},
    **_NUMBERS,
    "root_seq": f"CAST(substr(min({_PLACE}), 36) AS INTEGER)",
}
# What a tree tells of each line.
LINE: Final = tuple(
    name
    for names in (
        ("unique_id", "trace_unique_id", "span_unique_id", "span_parent_id"),
        ("span_name", "entity_name", "span_workflow_name", "span_path", "trace_name", "span_links"),
        ("log_type", "log_method", "timestamp", "start_time", "latency", "time_to_first_token", "tokens_per_second"),
        ("status", "status_code", "error_code", "error_message", "outcome"),
        ("model", "provider_id", "dialect", "provider_dialect", "cache_bit", "service_name"),
        ("prompt_tokens", "completion_tokens", "total_request_tokens", "reasoning_tokens"),
        ("prompt_cache_hit_tokens", "prompt_cache_creation_tokens", "usage_estimated", "cost"),
        ("environment", "environment_tag", "organization_key_id", "customer_identifier", "thread_identifier"),
        ("session_identifier", "trace_group_identifier", "group_identifier", "metadata"),
    )
    for name in names
)
# A trace with more content than this (compressed; four to ten times as much plain) is told without its longest bodies: it would take
# seconds to open, and the log of each has them whole.
MOST_PACKED: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Trace:
    """What is told of one trace, in the column's own units (seconds of the epoch, nano-dollars), and its root, with what was said if
    that was asked for."""

    sums: dict[str, Any]
    root: Found


@dataclass(frozen=True, slots=True)
class TracePage:
    """`total` counts all traces that meet the query, on whatever page."""

    traces: list[Trace]
    total: int


@dataclass(frozen=True, slots=True)
class Line:
    """One call or span of a trace: its columns (`LINE`) as the API shows them, and what was said as it is stored, not yet unpacked.

    `is_left` says that there is more than was read: the trace has too much of it.
    """

    row: dict[str, Any]
    body: tuple[str, bytes] | None
    span: tuple[str, bytes] | None
    is_left: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """A trace with its lines in order, and by the ids that some had elsewhere the span ids that they have here."""

    sums: dict[str, Any]
    lines: list[Line]
    aliases: dict[str, str]
    is_public: bool


class Traces:
    """Reads the database at `path`. `sees` everywhere: only lines of these keys; a trace is what the reader sees of it.

    `ProxyError` 503 when the database cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(path, read_only=True)

    async def close(self) -> None:
        await self._database.close()

    async def find(self, query: Query, sees: Sees = None, *, content: bool = False) -> TracePage:
        """One page of traces; with `content`, each with what was said by its root."""
        return await self._database.read(partial(_find, query=query, sees=sees, content=content))

    async def ids(self, query: Query, most: int, sees: Sees = None) -> list[str]:
        """The traces that meet the query, `most` at the most."""
        return await self._database.read(partial(_ids, query=query, most=most, sees=sees))

    async def open(self, trace_id: str, sees: Sees = None) -> Opened | None:
        """One trace whole, its content not yet unpacked."""
        return await self._database.read(partial(_open, trace_id=trace_id, sees=sees))

    async def sharers(self, trace_id: str) -> Sees:
        """Whose lines of this trace anybody may read: those of the keys that made it public (an empty tuple: nobody's)."""
        return await self._database.read(partial(_sharers, trace_id=trace_id))

    async def summary(self, query: Query, sees: Sees = None) -> dict[str, Any]:
        """Sums and means over the traces that meet the query."""
        return await self._database.read(partial(_summary, query=query, sees=sees))


def _find(connection: sqlite3.Connection, query: Query, sees: Sees, content: bool) -> TracePage:
    bound = Bound()
    grouped = _grouped(query, sees, bound)
    (total,) = connection.execute(f"SELECT count(*) FROM (SELECT 1 {grouped})", bound.values).fetchone()
    order, direction = _SUMS["end_time" if query.sort.name == "timestamp" else query.sort.name], "DESC" if query.descending else "ASC"
    page = f"LIMIT {bound(query.page_size)} OFFSET {bound((query.page - 1) * query.page_size)}"
    sql = f"SELECT log.trace_unique_id {grouped} ORDER BY {order} {direction}, max(log.seq) {direction} {page}"
    ids = [trace_id for (trace_id,) in connection.execute(sql, bound.values).fetchall()]
    return TracePage(_told(connection, ids, sees, content), total)


def _ids(connection: sqlite3.Connection, query: Query, most: int, sees: Sees) -> list[str]:
    bound = Bound()
    sql = f"SELECT log.trace_unique_id {_grouped(query, sees, bound)} LIMIT {bound(most)}"
    return [trace_id for (trace_id,) in connection.execute(sql, bound.values).fetchall()]


def _told(connection: sqlite3.Connection, ids: Sequence[str], sees: Sees, content: bool) -> list[Trace]:
    """These traces, in this order."""
    bound = Bound()
    sums = ", ".join(_SUMS.values())
    among = f"log.trace_unique_id IN ({', '.join(map(bound, ids))}) AND {scope(sees, bound)}"
    rows = connection.execute(f"SELECT {sums} FROM log WHERE {among} GROUP BY log.trace_unique_id", bound.values).fetchall()
    told = {row[0]: dict(zip(_SUMS, row, strict=True)) for row in rows}
    roots = found_by_seq(connection, [sums["root_seq"] for sums in told.values()], content=content)
    return [Trace(sums, roots[sums["root_seq"]]) for sums in map(told.__getitem__, ids)]


def _summary(connection: sqlite3.Connection, query: Query, sees: Sees) -> dict[str, Any]:
    bound = Bound()
    names = ("total_cost", "total_prompt_tokens", "total_completion_tokens", "total_request_tokens", "duration")
    counts = ("span_count", "llm_call_count", "error_count", "unpriced_requests")
    inner = ", ".join(f"{_SUMS[name]} AS {name}" for name in (*names, *counts))
    outer = ", ".join(f"coalesce(sum({name}), 0)" for name in (*names, *counts))
    sql = f"SELECT count(*), count(*) FILTER (WHERE error_count > 0), {outer} FROM (SELECT {inner} {_grouped(query, sees, bound)})"
    total, failed, *values = connection.execute(sql, bound.values).fetchone()
    sums = dict(zip((*names, *counts), values, strict=True))
    sums["total_cost"] /= NANO
    mean = {name: value / total if total else 0 for name, value in sums.items()}
    return {
        "total_count": total,
        "total_cost": sums["total_cost"],
        "average_cost": mean["total_cost"],
        "total_prompt_tokens": sums["total_prompt_tokens"],
        "average_prompt_tokens": mean["total_prompt_tokens"],
        "total_completion_tokens": sums["total_completion_tokens"],
        "average_completion_tokens": mean["total_completion_tokens"],
        "total_tokens": sums["total_request_tokens"],
        "average_tokens": mean["total_request_tokens"],
        "total_duration": sums["duration"],
        "average_duration": mean["duration"],
        "total_span_count": sums["span_count"],
        "average_span_count": mean["span_count"],
        "total_llm_call_count": sums["llm_call_count"],
        "average_llm_call_count": mean["llm_call_count"],
        "total_error_count": sums["error_count"],
        "error_rate": failed / total if total else 0,
        "unpriced_requests": sums["unpriced_requests"],
    }


def _open(connection: sqlite3.Connection, trace_id: str, sees: Sees) -> Opened | None:
    bound = Bound()
    among = f"FROM log WHERE log.trace_unique_id = {bound(trace_id)} AND {scope(sees, bound)}"
    columns = ", ".join(f"log.{name}" for name in LINE)
    rows = connection.execute(f"SELECT log.seq, {columns} {among} ORDER BY {_ORDER}", bound.values).fetchall()
    if not rows:
        return None
    numbers = connection.execute(f"SELECT {', '.join(_NUMBERS.values())} {among}", bound.values).fetchone()
    this = f"(SELECT log.seq, log.unique_id, log.span_unique_id {among}) AS log"
    bodies, left = _content(connection, f"{this} JOIN body USING (seq)", "body", bound)
    spans, more = _content(
        connection, f"{this} JOIN span ON span.unique_id = log.unique_id AND span.role IN ('row', 'call')", "span", bound
    )
    lines = [
        Line(shown(LINE, row), bodies.get(seq), spans.get(seq), seq in left or (seq in more and seq not in bodies)) for seq, *row in rows
    ]
    sums = {**_identity([line.row for line in lines]), **dict(zip(_NUMBERS, numbers, strict=True))}
    return Opened(sums, lines, _aliases(connection, this, bound), _is_shared(connection, trace_id, sees))


def _identity(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `_SUMS` says beside numbers, read off lines that are in order: a tenth of the time where there are thousands."""
    root = rows[0]
    firsts = {
        name: next((row[name] for row in rows if row[name] and (among == "1" or row["log_type"] in GENERATIONS)), None)
        for name, among in _FIRSTS.items()
    }
    name = root["trace_name"] or root["entity_name"] or root["span_name"] or None
    return {"trace_unique_id": root["trace_unique_id"], "root_span_unique_id": root["span_unique_id"] or None, "name": name, **firsts}


def _content(connection: sqlite3.Connection, source: str, table: str, bound: Bound) -> tuple[dict[int, tuple[str, bytes]], set[int]]:
    """What was said in the lines of a trace, by number; and the numbers of those that were too many to be read: the longest."""
    source = f"FROM {source} WHERE {table}.data IS NOT NULL"
    sizes = connection.execute(f"SELECT log.seq, length({table}.data) {source}", bound.values).fetchall()
    left: set[int] = set()
    taken = sum(size for _, size in sizes)
    for seq, size in sorted(sizes, key=itemgetter(1), reverse=True):
        if taken <= MOST_PACKED:
            break
        taken -= size
        left.add(seq)
    among = f" AND log.seq NOT IN ({', '.join(map(str, left))})" if left else ""
    sql = f"SELECT log.seq, {table}.enc, {table}.data {source}{among}"
    return {seq: (encoding, data) for seq, encoding, data in connection.execute(sql, bound.values).fetchall()}, left


def _aliases(connection: sqlite3.Connection, this: str, bound: Bound) -> dict[str, str]:
    """Of a call that several spans tell of, the ids of those that are not shown; and the id that it had before a span was linked to it."""
    beside = f"SELECT span.span_id, log.span_unique_id FROM {this} JOIN span ON span.unique_id = log.unique_id AND span.role = 'beside'"
    own = f"SELECT json_extract(linked.own, '$.span_unique_id'), log.span_unique_id FROM {this} JOIN linked USING (unique_id)"
    return dict(connection.execute(f"{beside} UNION ALL {own}", bound.values).fetchall())


def _is_shared(connection: sqlite3.Connection, trace_id: str, sees: Sees) -> bool:
    """Whether anybody may read what this reader sees of the trace, or a part of it."""
    keys = _sharers(connection, trace_id)
    return keys is None or bool(set(keys) if sees is None else {*keys} & ({sees} if isinstance(sees, str) else {*sees}))


def _sharers(connection: sqlite3.Connection, trace_id: str) -> Sees:
    keys = tuple(key for (key,) in connection.execute("SELECT key_id FROM shared WHERE trace_id = ?", (trace_id,)).fetchall())
    return None if "" in keys else keys


def share(connection: sqlite3.Connection, trace_ids: Iterable[str], key_id: str | None, is_public: bool) -> None:
    """Let anybody read the lines of this key (None: all lines), or take that back; who sees all takes it back for all."""
    names = [(trace_id, key_id or "") for trace_id in trace_ids]
    if is_public:
        connection.executemany("INSERT OR IGNORE INTO shared (trace_id, key_id) VALUES (?, ?)", names)
    else:
        connection.executemany("DELETE FROM shared WHERE trace_id = ?1 AND ?2 IN (key_id, '')", names)


# A query over traces -> SQL. A condition is of the trace's own sums (HAVING), or of its lines: then one of them meets it, and one
# line meets all conditions on the same field.


def _grouped(query: Query, sees: Sees, bound: Bound) -> str:
    """From FROM to HAVING: the traces that meet the query, one group each."""
    rows, groups = [scope(sees, bound)], ["1"]
    of_lines: dict[tuple[str, str | None], list[Condition]] = defaultdict(list)
    for condition in query.every:
        if condition.field.name == "trace_unique_id":
            rows.append(meets(condition, bound))
        elif condition.field.name in OWN:
            groups.append(_own(condition, bound))
            if condition.field.name in _FIRSTS and condition.operator in NARROWING:
                rows.append(_among([condition], sees, bound))
        else:
            of_lines[condition.field.name, condition.field.key].append(condition)
    rows += [_among(conditions, sees, bound) for conditions in of_lines.values()]
    if query.some:
        either = [_own(one, bound) if one.field.name in OWN else _among([one], sees, bound) for one in query.some]
        groups.append(f"({' OR '.join(either)})")
    return (
        f"FROM log WHERE log.trace_unique_id IS NOT NULL AND {' AND '.join(rows)}"
        f" GROUP BY log.trace_unique_id HAVING {' AND '.join(groups)}"
    )


def _own(condition: Condition, bound: Bound) -> str:
    return meets(condition, bound, f"({_SUMS[condition.field.name]})")


def _among(conditions: Iterable[Condition], sees: Sees, bound: Bound) -> str:
    tests = " AND ".join([scope(sees, bound), *(meets(condition, bound) for condition in conditions)])
    return f"log.trace_unique_id IN (SELECT log.trace_unique_id FROM log WHERE {tests})"
