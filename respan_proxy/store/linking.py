"""Spans and calls that are the same thing, in the database: what may be linked is read, what is linked is written.

What is linked follows from what is there (telemetry/linking.py). So whatever comes, all that competes for it is read, linked anew and
written where it differs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from respan_proxy.respan.spans import BY_NAME, COLUMNS, Row
from respan_proxy.store.transaction import upsert
from respan_proxy.telemetry.linking import (
    AROUND_S,
    LINKED,
    REACH_S,
    ROUNDING_S,
    SLACK_S,
    WITHIN_S,
    Call,
    Heard,
    Link,
    Usage,
    doubled,
    is_within,
    link,
    merged,
    usage,
)

# Where calls and spans cannot be told apart, as with one that is asked the same again and again all at once, those nearest by are
# looked at: so many of each, and so many together (2,000 at once kept the writer for minutes without it, measured).
NEAR = 16
MOST = 512
# Of two tellings of one generation, both by spans, few are compared: the next ones in time, and no more than so many in all.
NEAREST = 8
MOST_DOUBLES = 192

_INDEX = {name: index for index, name in enumerate(BY_NAME)}
_CONTENT_COLUMNS = tuple(column.name for column in COLUMNS if column.content)

_CALL = (
    "SELECT log.unique_id, log.organization_key_id, log.response_id, log.model, log.request_model, log.prompt_tokens,"
    " log.completion_tokens, log.reasoning_tokens, log.start_time, log.timestamp, log.status, log.endpoint, log.disable_log, linked.own,"
    f" {', '.join('log.' + name for name in LINKED)}"
    " FROM log LEFT JOIN linked USING (unique_id) WHERE log.instance_id IS NOT NULL AND"
)
_SPAN = (
    "SELECT own_id, unique_id, role, trace_id, span_id, parent_id, key_id, scope, log_id, response_id, native, likeness IS NOT NULL, facts"
    " FROM span WHERE"
)
_AMONG = "IN (SELECT value FROM json_each(?))"
_KEEP_OWN = (
    "INSERT INTO linked (unique_id, own, trace_id, span_id, parent_id) VALUES (?, ?, ?, ?, ?) ON CONFLICT (unique_id) DO UPDATE SET"
    " own = excluded.own, trace_id = excluded.trace_id, span_id = excluded.span_id, parent_id = excluded.parent_id"
)
_WRITE_CALL = f"UPDATE log SET {', '.join(f'{name} = ?' for name in LINKED)} WHERE unique_id = ?"
_FORGET_CONTENT = f"facts = json_remove(facts, {', '.join(repr('$.' + name) for name in _CONTENT_COLUMNS)}), enc = NULL, data = NULL"


@dataclass(slots=True)
class Span:
    """A span as it is to be stored: what linking looks at, its columns, and the row that tells of it."""

    heard: Heard
    facts: dict[str, Any]
    unique_id: str
    role: str
    is_stored: bool
    """As it is here; else it is only just being written."""


@dataclass(slots=True)
class _Known:
    """A call as it is stored: as it knew itself, and as it reads now."""

    call: Call
    endpoint: str | None
    forbids_content: bool
    is_running: bool
    own: dict[str, Any]
    now: dict[str, Any]
    is_linked: bool


@dataclass(slots=True)
class Knot:
    """Spans and calls that compete with each other."""

    spans: dict[str, Span] = field(default_factory=dict)
    calls: dict[str, _Known] = field(default_factory=dict)
    links: dict[str, list[Link]] = field(default_factory=dict)
    doubled: dict[str, str] = field(default_factory=dict)


def heard(own_id: str, facts: Mapping[str, Any], claim: Mapping[str, Any]) -> Heard:
    """A span by the columns that it knows and by what it claims (`key_id`, `scope`, `parent_id`, `log_id`, `response_id`, `is_native`,
    `is_generation`, `trace_id`, `span_id`)."""
    start = facts.get("start_time") or facts.get("timestamp") or 0.0
    told = None
    if claim["is_generation"] and not facts.get("usage_estimated"):  # nobody else comes to the same estimate
        models = (facts.get("model"), facts.get("request_model"))
        told = usage(models, facts.get("prompt_tokens"), facts.get("completion_tokens"))
    return Heard(
        id=own_id,
        trace_id=claim["trace_id"],
        span_id=claim["span_id"],
        start=start,
        end=facts.get("timestamp") or start,
        parent_id=claim["parent_id"],
        key_id=claim["key_id"],
        scope=claim["scope"] or "",
        log_id=claim["log_id"],
        response_id=claim["response_id"],
        is_native=bool(claim["is_native"]),
        usage=told,
    )


def likenesses(of: Heard | Call) -> list[str]:
    """What a generation and the call that it is have in common, as text. Of a call there are two where it counts reasoning."""
    return [] if of.usage is None else _likenesses(of.key_id, of.usage)


def _likenesses(key_id: str | None, used: Usage) -> list[str]:
    return [f"{key_id or ''}/{used.prompt}/{completion}" for completion in sorted(used.completions)]


def untie(connection: sqlite3.Connection, fresh: Collection[Span], call_ids: Iterable[str], *, by_likeness: bool) -> Knot:
    """All that competes with the spans `fresh` and with these calls, and how it is linked. Reads only."""
    knot = Knot(spans={span.heard.id: span for span in fresh})
    spans = list(knot.spans.values())
    calls = _read_calls(connection, knot, f"log.unique_id {_AMONG}", (_json(call_ids),))
    while (spans or calls) and len(knot.spans) + len(knot.calls) < MOST:
        more_calls = _calls_of(connection, knot, spans, by_likeness)
        more_spans = _spans_of(connection, knot, calls, by_likeness) + _doubles_of(connection, knot, spans, by_likeness)
        calls, spans = more_calls, more_spans
    knot.links = link([known.call for known in knot.calls.values()], [span.heard for span in knot.spans.values()], by_likeness=by_likeness)
    if by_likeness:
        linked = {found.span.id for links in knot.links.values() for found in links}
        knot.doubled = doubled(span.heard for id, span in knot.spans.items() if id not in linked)
    return knot


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
    stored = [(own_id,) for own_id in forbidden if knot.spans[own_id].is_stored]
    if stored:
        connection.executemany(f"UPDATE span SET {_FORGET_CONTENT} WHERE own_id = ? AND enc IS NOT NULL", stored)
    facts = {own_id: span.facts for own_id, span in knot.spans.items()}
    fresh: list[tuple[Any, ...]] = []
    left: list[tuple[str]] = []
    moved: list[tuple[Any, ...]] = []
    for call_id, known in knot.calls.items():
        links = knot.links.get(call_id, [])
        if not links and not known.is_linked:
            continue
        if not links:
            left.append((call_id,))
        elif not known.is_linked:
            fresh.append(_own(call_id, {name: value for name, value in known.own.items() if value is not None}))
        whole = merged(known.own, known.endpoint, links, facts)
        if whole != known.now:
            moved.append((*whole.values(), call_id))
            if not known.is_running:
                changed.add(call_id)
    connection.executemany(_KEEP_OWN, fresh)
    connection.executemany("DELETE FROM linked WHERE unique_id = ?", left)
    connection.executemany(_WRITE_CALL, moved)
    # Whoever was told that a call's own trace is its place goes with the call.
    left_traces = {call_id for *_, call_id in moved if knot.calls[call_id].own.get("trace_unique_id") == call_id}
    changed |= rehome(connection, left_traces | {knot.spans[own_id].heard.trace_id for own_id in appeared})
    return changed, forbidden


def rehome(connection: sqlite3.Connection, trace_ids: Collection[str]) -> set[str]:
    """Spans whose trace was a call's own: they are in the trace that the call is in. Returns those that moved."""
    moved: set[str] = set()
    for trace_id in trace_ids:
        sql = "SELECT log.trace_unique_id FROM log JOIN linked USING (unique_id) WHERE log.unique_id = ?1 AND linked.trace_id = ?1"
        (home,) = connection.execute(sql, (trace_id,)).fetchone() or (trace_id,)
        sql = (
            "UPDATE log SET trace_unique_id = ?1 WHERE unique_id IN (SELECT own_id FROM span WHERE trace_id = ?2 AND role = 'row')"
            " AND trace_unique_id <> ?1 AND organization_key_id IS (SELECT organization_key_id FROM log WHERE unique_id = ?2)"
            " RETURNING unique_id"
        )
        moved.update(id for (id,) in connection.execute(sql, (home, trace_id)).fetchall())
    return moved


def homeless(connection: sqlite3.Connection, trace_ids: Iterable[str]) -> list[str]:
    """Of these traces: those that were the own ones of calls which are elsewhere now."""
    sql = f"SELECT unique_id FROM linked WHERE unique_id {_AMONG} AND trace_id = unique_id"
    return [trace_id for (trace_id,) in connection.execute(sql, (_json(set(trace_ids)),)).fetchall()]


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
        connection.execute(f"DELETE FROM log WHERE unique_id {_AMONG}", (_json(gone),))
    return appeared


def without_content(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A span's columns without what may quote the conversation."""
    return {name: value for name, value in facts.items() if name not in _CONTENT_COLUMNS}


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
    ids = _json(rows)
    found = {id for (id,) in connection.execute(f"SELECT log_id FROM span WHERE log_id {_AMONG}", (ids,))}
    found.update(id for (id,) in connection.execute(f"SELECT unique_id FROM linked WHERE unique_id {_AMONG}", (ids,)))
    by_response: dict[str, list[str]] = {}
    by_parent: dict[str, list[str]] = {}
    alike: list[tuple[str, str, float]] = []
    for id, row in rows.items():
        if row.response_id is not None:
            by_response.setdefault(row.response_id, []).append(id)
        if row.span_parent_id is not None:
            by_parent.setdefault(row.span_parent_id, []).append(id)
        if by_likeness and row.completion_tokens is not None and row.status != "running" and id not in found:
            end = row.timestamp or 0.0
            alike += [(id, text, end) for text in _likenesses_of(row)]
    if by_response:
        for (name,) in connection.execute(f"SELECT DISTINCT response_id FROM span WHERE response_id {_AMONG}", (_json(by_response),)):
            found.update(by_response[name])
    if by_parent:
        for (name,) in connection.execute(f"SELECT span_id FROM span WHERE native AND span_id {_AMONG}", (_json(by_parent),)):
            found.update(by_parent[name])
    for id, text, end in alike:
        if connection.execute(_ALIKE, (text, end - SLACK_S, end + REACH_S)).fetchone() is not None:
            found.add(id)
    return [id for id in rows if id in found]


_ALIKE = "SELECT 1 FROM span WHERE likeness = ? AND ended_at BETWEEN ? AND ? LIMIT 1"


def _likenesses_of(row: Row) -> list[str]:
    told = usage((), row.prompt_tokens, row.completion_tokens, row.reasoning_tokens)
    return [] if told is None else _likenesses(row.organization_key_id, told)


def _renew_own(connection: sqlite3.Connection, known: Mapping[str, Mapping[str, Any]]) -> None:
    """Rows were just written over calls that spans are linked to: `known` is what each of them said, by column."""
    for unique_id, own in connection.execute(f"SELECT unique_id, own FROM linked WHERE unique_id {_AMONG}", (_json(known),)).fetchall():
        said = {name: value for name, value in known[unique_id].items() if name in _LINKED}
        renewed = {**orjson.loads(own), **said}
        connection.execute(_KEEP_OWN, _own(unique_id, renewed))


_LINKED = frozenset(LINKED)


# What competes.


def _calls_of(connection: sqlite3.Connection, knot: Knot, spans: Iterable[Span], by_likeness: bool) -> list[_Known]:
    """Calls that these spans may be, or are linked to now."""
    ids: set[str] = set()
    natives: dict[str, set[str]] = {}
    found: list[_Known] = []
    responses: dict[str, tuple[float, float]] = {}
    alike: list[Heard] = []
    for span in spans:
        one = span.heard
        if span.role != "row":
            ids.add(span.unique_id)
        if one.log_id is not None:
            ids.add(one.log_id)
        if one.is_native:
            natives.setdefault(one.trace_id, set()).add(one.span_id)
        if one.response_id is not None:
            first, last = responses.get(one.response_id, (one.start, one.start))
            responses[one.response_id] = (min(first, one.start), max(last, one.start))
        if by_likeness and one.usage is not None:
            alike.append(one)
    if ids := ids - knot.calls.keys():
        found += _read_calls(connection, knot, f"log.unique_id {_AMONG}", (_json(ids),))
    if natives:
        parents = _json({span_id for among in natives.values() for span_id in among})
        where = f"log.trace_unique_id {_AMONG} AND log.span_parent_id {_AMONG} AND linked.own IS NULL"
        found += _read_calls(connection, knot, where, (_json(natives), parents))
        sql = f"SELECT unique_id FROM linked WHERE trace_id {_AMONG} AND parent_id {_AMONG}"
        moved = {id for (id,) in connection.execute(sql, (_json(natives), parents))} - knot.calls.keys()
        if moved:
            found += _read_calls(connection, knot, f"log.unique_id {_AMONG}", (_json(moved),))
    if responses:
        # Found by an index that is made when it is first needed: most databases never hear of a span.
        connection.execute("CREATE INDEX IF NOT EXISTS log_response ON log (response_id) WHERE response_id IS NOT NULL")
        for response_id, (first, last) in responses.items():
            where = "log.response_id = ? AND log.start_time BETWEEN ? AND ?"
            found += _read_calls(connection, knot, where, (response_id, first - WITHIN_S, last + WITHIN_S))
    if alike:
        connection.execute(
            "CREATE INDEX IF NOT EXISTS log_usage ON log (prompt_tokens, start_time)"
            " WHERE prompt_tokens IS NOT NULL AND instance_id IS NOT NULL"
        )
        for one in alike:
            if len(knot.spans) + len(knot.calls) >= MOST:
                break
            assert one.usage is not None
            where = "log.prompt_tokens = ? AND log.start_time BETWEEN ? AND ? AND log.timestamp <= ? AND log.organization_key_id IS ?"
            until = one.end + SLACK_S
            bound = (one.usage.prompt, one.start - SLACK_S, until, until, one.key_id)
            found += _read_calls(connection, knot, f"{where} ORDER BY log.start_time LIMIT {NEAR}", bound)
    return found


def _spans_of(connection: sqlite3.Connection, knot: Knot, calls: Collection[_Known], by_likeness: bool) -> list[Span]:
    """Spans that may be these calls, or are linked to them now."""
    if not calls:
        return []
    ids = _json(known.call.id for known in calls)
    found = _read_spans(connection, knot, f"log_id {_AMONG}", (ids,))
    found += _read_spans(connection, knot, f"unique_id {_AMONG}", (ids,))
    if parents := [known.call.parent_id for known in calls if known.call.parent_id is not None]:
        found += _read_spans(connection, knot, f"native AND span_id {_AMONG}", (_json(parents),))
    if responses := {known.call.response_id for known in calls if known.call.response_id is not None}:
        found += _read_spans(connection, knot, f"response_id {_AMONG}", (_json(responses),))
    if by_likeness and (ends := [(text, known.call.end) for known in calls for text in likenesses(known.call)]):
        sql = f"SELECT DISTINCT likeness FROM span WHERE likeness {_AMONG}"
        there = {text for (text,) in connection.execute(sql, (_json({text for text, _ in ends}),))}
        for text, end in ends:
            if text in there and len(knot.spans) + len(knot.calls) < MOST:
                where = f"likeness = ? AND ended_at BETWEEN ? AND ? ORDER BY ended_at LIMIT {NEAR}"
                found += _read_spans(connection, knot, where, (text, end - SLACK_S, end + REACH_S))
    return found


def _doubles_of(connection: sqlite3.Connection, knot: Knot, spans: Iterable[Span], by_likeness: bool) -> list[Span]:
    """Spans that may tell of the same generation as these, from further inside or outside, or did so before."""
    hosts = [span.heard.id for span in spans if span.role == "row"]
    found = _read_spans(connection, knot, f"unique_id {_AMONG} AND role = 'beside'", (_json(hosts),)) if hosts else []
    for one in [span.heard for span in spans if by_likeness]:
        if len(knot.spans) >= MOST_DOUBLES:
            break
        for text in likenesses(one):
            if not one.is_native:
                inside = "(native OR parent_id IS NULL)" + (" AND native" if one.parent_id is None else "")
                where = f"likeness = ? AND {inside} AND ended_at BETWEEN ? AND ? ORDER BY ended_at DESC LIMIT {NEAREST}"
                between = (max(one.start - ROUNDING_S, one.end - AROUND_S), one.end + ROUNDING_S)
                found += _read_spans(connection, knot, where, (text, *between), partial(is_within, outer=one))
            if one.may_double:
                outside = "native IS NULL" if one.is_native else "native IS NULL AND parent_id IS NOT NULL"
                where = f"likeness = ? AND {outside} AND ended_at BETWEEN ? AND ? ORDER BY ended_at LIMIT {NEAREST}"
                between = (one.end - ROUNDING_S, one.end + AROUND_S)
                found += _read_spans(connection, knot, where, (text, *between), partial(is_within, one))
    return found


def _read_calls(connection: sqlite3.Connection, knot: Knot, where: str, bound: tuple[Any, ...]) -> list[_Known]:
    found = []
    for row in connection.execute(f"{_CALL} {where}", bound):
        id, key_id, response_id, model, asked, prompt, completion, reasoning, start, end, status, endpoint, forbids, own, *now = row
        if id in knot.calls:
            continue
        reads = dict(zip(LINKED, now, strict=True))
        knows = reads if own is None else orjson.loads(own)
        is_running = status == "running"
        call = Call(
            id=id,
            trace_id=knows.get("trace_unique_id"),
            start=start or 0.0,
            end=end or start or 0.0,
            parent_id=knows.get("span_parent_id"),
            key_id=key_id,
            response_id=response_id,
            usage=None if is_running else usage((model, asked), prompt, completion, reasoning),
        )
        knot.calls[id] = known = _Known(call, endpoint, bool(forbids), is_running, knows, reads, own is not None)
        found.append(known)
    return found


def _anything(_: Heard) -> bool:
    return True


def _read_spans(
    connection: sqlite3.Connection, knot: Knot, where: str, bound: tuple[Any, ...], concerns: Callable[[Heard], bool] = _anything
) -> list[Span]:
    found = []
    for row in connection.execute(f"{_SPAN} {where}", bound):
        own_id, unique_id, role, trace_id, span_id, parent_id, key_id, scope, log_id, response_id, native, is_alike, stored = row
        if own_id in knot.spans:
            continue
        facts = orjson.loads(stored)
        claim = {
            "trace_id": trace_id,
            "span_id": span_id,
            "parent_id": parent_id,
            "key_id": key_id,
            "scope": scope,
            "log_id": log_id,
            "response_id": response_id,
            "is_native": native,
            "is_generation": is_alike,
        }
        span = Span(heard(own_id, facts, claim), facts, unique_id, role, True)
        if concerns(span.heard):
            knot.spans[own_id] = span
            found.append(span)
    return found


def _json(values: Iterable[object]) -> str:
    return orjson.dumps(list(values)).decode()
