"""Spans and calls that are the same thing, in the database: what is linked is written.

What is linked follows from what is there (telemetry/linking.py). So whatever comes, all that competes for it is read (knot.py), linked
anew and written where it differs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import orjson

from respan_proxy.respan.spans import BY_NAME, COLUMNS, Row
from respan_proxy.store.knot import AMONG, Knot, as_json, likenesses, untie
from respan_proxy.store.schema import BEGAN
from respan_proxy.store.transaction import upsert
from respan_proxy.telemetry.linking import LINKED, REACH_S, SLACK_S, WITHIN_S, merged, usage
from respan_proxy.telemetry.quoting import unquoted

_LINKED = frozenset(LINKED)
_INDEX = {name: index for index, name in enumerate(BY_NAME)}
_CONTENT_COLUMNS = tuple(column.name for column in COLUMNS if column.content)

_KEEP_OWN = (
    "INSERT INTO linked (unique_id, own, trace_id, span_id, parent_id) VALUES (?, ?, ?, ?, ?) ON CONFLICT (unique_id) DO UPDATE SET"
    " own = excluded.own, trace_id = excluded.trace_id, span_id = excluded.span_id, parent_id = excluded.parent_id"
)
_THERE = f"log_id IS NULL AND {BEGAN} BETWEEN ? AND ? LIMIT 1"
_SAME_ANSWER = f"SELECT 1 FROM span WHERE response_id = ? AND key_id IS ? AND {_THERE}"
_ALIKE = f"SELECT 1 FROM span WHERE likeness = ? AND {_THERE}"
_NATIVE = "SELECT 1 FROM span WHERE trace_id = ? AND span_id = ? AND native LIMIT 1"
_WRITE_CALL = f"UPDATE log SET {', '.join(f'{name} = ?' for name in LINKED)} WHERE unique_id = ?"


def tie(connection: sqlite3.Connection, knot: Knot) -> tuple[set[str], set[str]]:
    """Write what is linked: calls, and the spans that are stored. Of the spans that are only just being written, role and `unique_id` are
    set here. Returns the rows that changed and are complete, and the ids of spans whose content may not be kept."""
    changed: set[str] = set()
    forbidden: set[str] = set()
    placed = {id: (host_id, "beside") for id, host_id in knot.doubled.items()}
    for call_id, links in knot.links.items():
        for found, role in zip(links, ("call", *["beside"] * (len(links) - 1)), strict=True):
            placed[found.span.id] = (call_id, role)
            if knot.calls[call_id].forbids_content:
                forbidden.add(found.span.id)
    appeared = _move_spans(connection, knot, placed)
    changed |= appeared
    facts = {own_id: without_content(span.facts) if own_id in forbidden else span.facts for own_id, span in knot.spans.items()}
    if stored := [(orjson.dumps(facts[own_id]).decode(), own_id) for own_id in forbidden if knot.spans[own_id].is_stored]:
        connection.executemany("UPDATE span SET facts = ?, enc = NULL, data = NULL WHERE own_id = ? AND enc IS NOT NULL", stored)
    fresh: list[tuple[Any, ...]] = []
    left: list[tuple[str]] = []
    moved: list[tuple[Any, ...]] = []
    left_traces: set[str] = set()
    for call_id, known in knot.calls.items():
        links = knot.links.get(call_id, [])
        if not links and not known.is_linked:
            continue
        if not links:
            left.append((call_id,))
        elif not known.is_linked:
            fresh.append(_own(call_id, {name: value for name, value in known.own.items() if value is not None}))
        whole = merged(known.own, known.endpoint, links, facts)
        if known.own.get("trace_unique_id") == call_id and (known.is_fresh or whole["trace_unique_id"] != known.now["trace_unique_id"]):
            left_traces.add(call_id)
        if whole != known.now:
            moved.append((*whole.values(), call_id))
            if not known.is_running:
                changed.add(call_id)
    connection.executemany(_KEEP_OWN, fresh)
    connection.executemany("DELETE FROM linked WHERE unique_id = ?", left)
    connection.executemany(_WRITE_CALL, moved)
    # Whoever was told that a call's own trace is its place goes with the call.
    changed |= rehome(connection, left_traces)
    changed |= rehome(connection, homeless(connection, (knot.spans[own_id].heard.trace_id for own_id in appeared)), appeared)
    return changed, forbidden


def rehome(connection: sqlite3.Connection, trace_ids: Iterable[str], own_ids: Collection[str] | None = None) -> set[str]:
    """Spans (`own_ids` alone, or all) whose trace was a call's own: they are in the trace that the call is in. Returns those that moved."""
    moved: set[str] = set()
    among = "trace_id = ?2" if own_ids is None else f"+trace_id = ?2 AND own_id {AMONG.replace('?', '?3')}"  # by own_id, not by trace
    for trace_id in trace_ids:
        sql = "SELECT log.trace_unique_id FROM log JOIN linked USING (unique_id) WHERE log.unique_id = ?1 AND linked.trace_id = ?1"
        (home,) = connection.execute(sql, (trace_id,)).fetchone() or (trace_id,)
        sql = (
            f"UPDATE log SET trace_unique_id = ?1 WHERE unique_id IN (SELECT own_id FROM span WHERE {among} AND role = 'row')"
            " AND trace_unique_id <> ?1 AND organization_key_id IS (SELECT organization_key_id FROM log WHERE unique_id = ?2)"
            " RETURNING unique_id"
        )
        bound = (home, trace_id) if own_ids is None else (home, trace_id, as_json(own_ids))
        moved.update(id for (id,) in connection.execute(sql, bound).fetchall())
    return moved


def homeless(connection: sqlite3.Connection, trace_ids: Iterable[str]) -> list[str]:
    """Of these traces: those that were the own ones of calls which are elsewhere now."""
    sql = f"SELECT unique_id FROM linked WHERE unique_id {AMONG} AND trace_id = unique_id"
    return [trace_id for (trace_id,) in connection.execute(sql, (as_json(set(trace_ids)),)).fetchall()]


def _own(call_id: str, own: Mapping[str, Any]) -> tuple[Any, ...]:
    place = (own.get("trace_unique_id"), own.get("span_unique_id"), own.get("span_parent_id"))
    return (call_id, orjson.dumps(own).decode(), *place)


def _move_spans(connection: sqlite3.Connection, knot: Knot, placed: Mapping[str, tuple[str, str]]) -> set[str]:
    appeared: set[str] = set()
    moved: list[tuple[str, str, str]] = []
    gone: list[str] = []
    for own_id, span in knot.spans.items():
        unique_id, role = placed.get(own_id, (own_id, "row"))
        if (unique_id, role) == (span.unique_id, span.role):
            continue
        if span.is_stored:
            moved.append((unique_id, role, own_id))
            if role == "row":
                write_row(connection, span.facts)
                appeared.add(own_id)
        if span.role == "row":
            gone.append(own_id)
        span.unique_id, span.role = unique_id, role
    connection.executemany("UPDATE span SET unique_id = ?, role = ? WHERE own_id = ?", moved)
    if gone:
        connection.execute(f"DELETE FROM log WHERE unique_id {AMONG}", (as_json(gone),))
    return appeared


def without_content(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A span's columns without what may quote the conversation."""
    kept = {name: value for name, value in facts.items() if name not in _CONTENT_COLUMNS}
    if metadata := kept.get("metadata"):
        kept["metadata"] = orjson.dumps(unquoted(orjson.loads(metadata))).decode()
    return kept


def write_row(connection: sqlite3.Connection, facts: Mapping[str, Any]) -> None:
    """A span's own row, by the columns that it knows."""
    shape = tuple(_INDEX[name] for name in facts)
    connection.execute(upsert(shape), list(facts.values()))


def link_rows(
    connection: sqlite3.Connection, rows: Mapping[str, Row], said: Mapping[str, Mapping[str, Any]], *, by_likeness: bool, changed: set[str]
) -> None:
    """Link spans to rows that were just written; `said` is what each of them said, by column. What else changed by it goes to `changed`."""
    if ids := _concerned(connection, rows, by_likeness=by_likeness):
        _renew_own(connection, {id: said[id] for id in ids})
        changed |= tie(connection, untie(connection, (), ids, by_likeness=by_likeness))[0]


def _concerned(connection: sqlite3.Connection, rows: Mapping[str, Row], *, by_likeness: bool) -> list[str]:
    """Of rows that were just written: those that spans are linked to, or may be."""
    sql = "SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM span WHERE log_id = value) OR value IN (SELECT unique_id FROM linked)"
    found = {id for (id,) in connection.execute(sql, (as_json(rows),))}
    return [id for id, row in rows.items() if id in found or _is_told_of(connection, row, by_likeness=by_likeness)]


def _is_told_of(connection: sqlite3.Connection, row: Row, *, by_likeness: bool) -> bool:
    """Whether there are spans that may be this call, without naming it."""
    end = row.timestamp or row.start_time or 0.0
    start = row.start_time or end
    asked: list[tuple[str, tuple[object, ...]]] = []
    if row.span_parent_id is not None:
        asked.append((_NATIVE, (row.trace_unique_id, row.span_parent_id)))
    if row.response_id is not None:
        asked.append((_SAME_ANSWER, (row.response_id, row.organization_key_id, start - REACH_S, end + WITHIN_S)))
    if by_likeness and row.status != "running":
        used = usage((), row.prompt_tokens, row.completion_tokens, row.reasoning_tokens, failed=row.status == "failed")
        asked += [(_ALIKE, (text, start - REACH_S, start + SLACK_S)) for text in likenesses(row.organization_key_id, used)]
    return any(connection.execute(sql, bound).fetchone() is not None for sql, bound in asked)


def _renew_own(connection: sqlite3.Connection, known: Mapping[str, Mapping[str, Any]]) -> None:
    """Rows were just written over calls that spans are linked to: `known` is what each of them said, by column."""
    for unique_id, own in connection.execute(f"SELECT unique_id, own FROM linked WHERE unique_id {AMONG}", (as_json(known),)).fetchall():
        said = {name: value for name, value in known[unique_id].items() if name in _LINKED}
        renewed = {**orjson.loads(own), **said}
        connection.execute(_KEEP_OWN, _own(unique_id, renewed))
