"""Calls summed by what they have in common: a model, a customer, a thread, a session."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from respan_proxy.respan.filters import Query
from respan_proxy.respan.spans import NANO, iso_time
from respan_proxy.store.conditions import COUNTED, Bound, Sees, where

# Name -> SQL over the lines of a group. Spans around calls of a model are lines of it, and not in its sums.
SUMS: Final[Mapping[str, str]] = {
    "number_of_requests": f"count(*) FILTER (WHERE {COUNTED})",
    "span_count": "count(*)",
    "log_count": "count(*)",
    "trace_count": "count(DISTINCT log.trace_unique_id)",
    "total_cost": f"coalesce(sum(log.cost) FILTER (WHERE {COUNTED}), 0)",
    "total_tokens": f"coalesce(sum(log.total_request_tokens) FILTER (WHERE {COUNTED}), 0)",
    "error_count": "count(*) FILTER (WHERE log.status = 'failed')",
    "error_percentage": "100.0 * count(*) FILTER (WHERE log.status = 'failed') / count(*)",
    "average_cost": f"avg(log.cost) FILTER (WHERE {COUNTED})",
    "average_tokens": f"CAST(round(avg(log.total_request_tokens) FILTER (WHERE {COUNTED})) AS INTEGER)",
    "average_latency": f"avg(log.latency) FILTER (WHERE {COUNTED})",
    "average_ttft": f"avg(log.time_to_first_token) FILTER (WHERE {COUNTED})",
    "average_tps": f"avg(log.tokens_per_second) FILTER (WHERE {COUNTED})",
    "cache_hit_percentage": f"100.0 * count(*) FILTER (WHERE {COUNTED} AND log.cache_bit) / max(1, count(*) FILTER (WHERE {COUNTED}))",
    "first_seen": "min(coalesce(log.start_time, log.timestamp))",
    "last_seen": "max(log.timestamp)",
}
_MONEY: Final = ("total_cost", "average_cost")
_TIMES: Final = ("first_seen", "last_seen")


@dataclass(frozen=True, slots=True)
class Groups:
    """One page of groups, each with what its lines have in common and its sums; `total` counts all groups, on whatever page."""

    rows: list[dict[str, Any]]
    total: int


def groups(connection: sqlite3.Connection, query: Query, by: Sequence[str], sort: str, descending: bool, sees: Sees) -> Groups:
    """The lines that meet the query, by the columns `by`; those that have nothing in the first of them are in no group.

    `sort` is one of `SUMS`; the query's own order is that of lines.
    """
    bound = Bound()
    columns = ", ".join(f"log.{name}" for name in by)
    grouped = f"FROM log WHERE {where(query, sees, bound)} AND coalesce(log.{by[0]}, '') <> '' GROUP BY {columns}"
    (total,) = connection.execute(f"SELECT count(*) FROM (SELECT 1 {grouped})", bound.values).fetchone()
    page = f"LIMIT {bound(query.page_size)} OFFSET {bound((query.page - 1) * query.page_size)}"
    order = f"ORDER BY {SUMS[sort]} {'DESC' if descending else 'ASC'}, {columns}"
    sql = f"SELECT {columns}, {', '.join(SUMS.values())} {grouped} {order} {page}"
    rows = [dict(zip((*by, *SUMS), row, strict=True)) for row in connection.execute(sql, bound.values).fetchall()]
    for row in rows:
        for name in _MONEY:
            row[name] = None if row[name] is None else row[name] / NANO
        for name in _TIMES:
            row[name] = None if row[name] is None else iso_time(row[name])
    return Groups(rows, total)
