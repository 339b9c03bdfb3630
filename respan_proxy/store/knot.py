"""Owns the knot: spans and calls that compete with each other, read from the database until nothing more may belong to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from respan_proxy.store.schema import BEGAN, TIED
from respan_proxy.telemetry.linking import (
    AROUND_S,
    LINKED,
    MOST_TOLD,
    NEAR,
    REACH_S,
    ROUNDING_S,
    SLACK_S,
    WITHIN_S,
    Call,
    Heard,
    Link,
    Usage,
    alike,
    doubled,
    fits,
    is_within,
    link,
    usage,
)

# Of what competes with each other, so many are looked at together, and what is tied to them (2,000 at once kept the writer for minutes
# without it, 64 spans take 20 ms with it, measured).
MOST = 256
# Of two tellings of one generation, both by spans, few are compared: the next ones in time among so many, and no more than so many in all.
NEAREST = 8
AMONG_NEAR = 64
MOST_DOUBLES = 192

_CALL = (
    "SELECT log.seq, log.unique_id, log.organization_key_id, log.response_id, log.model, log.request_model, log.prompt_tokens,"
    " log.completion_tokens, log.reasoning_tokens, log.start_time, log.timestamp, log.status, log.endpoint, log.disable_log, linked.own,"
    f" {', '.join('log.' + name for name in LINKED)}"
    " FROM log LEFT JOIN linked USING (unique_id) WHERE log.instance_id IS NOT NULL AND"
)
_SPAN = (
    "SELECT seq, own_id, unique_id, role, trace_id, span_id, parent_id, key_id, scope, log_id, response_id, native,"
    " likeness IS NOT NULL, facts"
    " FROM span WHERE"
)
AMONG = "IN (SELECT value FROM json_each(?))"


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
class Known:
    """A call as it is stored: as it knew itself, and as it reads now."""

    call: Call
    endpoint: str | None
    forbids_content: bool
    is_running: bool
    own: dict[str, Any]
    now: dict[str, Any]
    is_linked: bool
    is_fresh: bool = False
    """It was written just now: how it reads is not how it did."""


@dataclass(slots=True)
class Knot:
    """Spans and calls that compete with each other."""

    spans: dict[str, Span] = field(default_factory=dict)
    calls: dict[str, Known] = field(default_factory=dict)
    links: dict[str, list[Link]] = field(default_factory=dict)
    doubled: dict[str, str] = field(default_factory=dict)
    read: dict[int, Span] = field(default_factory=dict)
    """Spans that were read, by number, whether they compete or not."""
    seen: set[int] = field(default_factory=set)
    """The numbers of the calls."""

    @property
    def is_full(self) -> bool:
        return len(self.spans) + len(self.calls) >= MOST


def heard(own_id: str, facts: Mapping[str, Any], claim: Mapping[str, Any]) -> Heard:
    """A span by the columns that it knows and by what it claims (`key_id`, `scope`, `parent_id`, `log_id`, `response_id`, `is_native`,
    `is_generation`, `trace_id`, `span_id`)."""
    start = facts.get("start_time") or facts.get("timestamp") or 0.0
    told = None
    if claim["is_generation"] and not facts.get("usage_estimated"):  # nobody else comes to the same estimate
        models = (facts.get("model"), facts.get("request_model"))
        told = usage(models, facts.get("prompt_tokens"), facts.get("completion_tokens"), failed=facts.get("status") == "failed")
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


def likenesses(key_id: str | None, used: Usage | None) -> list[str]:
    """What a generation and the call that it is have in common, as text. Of a call there are two where it counts reasoning."""
    return [] if used is None else [f"{key_id or ''}/{used.prompt}/{completion}" for completion in sorted(used.completions)]


def untie(connection: sqlite3.Connection, fresh: Collection[Span], call_ids: Iterable[str], *, by_likeness: bool) -> Knot:
    """All that competes with the spans `fresh` and with these calls, which were just written, and how it is linked. Reads only."""
    knot = Knot(spans={span.heard.id: span for span in fresh})
    for name, columns in _INDEXES.items():
        # Made when they are first needed: most databases never hear of a span.
        connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON log {columns}")
    spans = list(knot.spans.values())
    calls = _read_calls(connection, knot, f"log.unique_id {AMONG}", as_json(call_ids))
    for known in calls:
        known.is_fresh = True
        # Each once, when the call that it names appears.
        spans += _read_spans(connection, knot, "log_id = ? AND key_id IS ? AND unique_id <> log_id", known.call.id, known.call.key_id)
    while spans or calls:
        more_calls, more_spans = _tied(connection, knot, calls, spans)
        if not knot.is_full:
            more_calls += _calls_of(connection, knot, spans, by_likeness)
            more_spans += _spans_of(connection, knot, calls, by_likeness)
            if by_likeness:
                more_spans += _doubles_of(connection, knot, spans)
        calls, spans = more_calls, more_spans
    knot.links = link([known.call for known in knot.calls.values()], [span.heard for span in knot.spans.values()], by_likeness=by_likeness)
    if by_likeness:
        linked = {found.span.id for links in knot.links.values() for found in links}
        knot.doubled = doubled(span.heard for id, span in knot.spans.items() if id not in linked)
    return knot


# What failed before anything was counted is looked up like what was.
_USED = "coalesce(prompt_tokens, CASE WHEN status = 'failed' THEN 0 END)"
_INDEXES = {
    "log_within": "(trace_unique_id, span_parent_id, start_time) WHERE span_parent_id IS NOT NULL AND instance_id IS NOT NULL",
    "log_answer": "(response_id, organization_key_id, start_time) WHERE response_id IS NOT NULL AND instance_id IS NOT NULL",
    "log_used": f"({_USED}, organization_key_id, start_time) WHERE {_USED} IS NOT NULL AND instance_id IS NOT NULL",
}


def _tied(connection: sqlite3.Connection, knot: Knot, calls: Collection[Known], spans: Collection[Span]) -> tuple[list[Known], list[Span]]:
    """What these are linked to now. It is read however much there is already: half a link would be taken for none."""
    ids = {known.call.id for known in calls} | {span.heard.id if span.role == "row" else span.unique_id for span in spans}
    tied = _read_spans(connection, knot, f"unique_id {AMONG} AND {TIED}", as_json(ids)) if ids else []
    hosts = {span.unique_id for span in spans if span.role != "row"} - knot.spans.keys() - knot.calls.keys()
    if hosts:
        tied += _read_spans(connection, knot, f"own_id {AMONG}", as_json(hosts))
    return _read_calls(connection, knot, f"log.unique_id {AMONG}", as_json(hosts)) if hosts else [], tied


def _calls_of(connection: sqlite3.Connection, knot: Knot, spans: Iterable[Span], by_likeness: bool) -> list[Known]:
    """Calls that these spans may be."""
    heard = [span.heard for span in spans]
    found: list[Known] = []
    if ids := {one.log_id for one in heard if one.log_id is not None} - knot.calls.keys():
        found += _read_calls(connection, knot, f"log.unique_id {AMONG}", as_json(ids))
    near: set[int] = set()
    for one in heard:
        if len(near) + len(knot.spans) + len(knot.calls) >= MOST:
            break
        if one.is_native:
            near |= _numbers(connection, _WITHIN, one.trace_id, one.span_id)
            ids = {id for (id,) in connection.execute(_MOVED, (one.trace_id, one.span_id))} - knot.calls.keys()
            found += _read_calls(connection, knot, f"log.unique_id {AMONG}", as_json(ids)) if ids else []
        if one.log_id is not None:
            continue
        if one.response_id is not None:
            late_s = SLACK_S if one.end > one.start else WITHIN_S
            until = (one.start - late_s, _EVER)
            near |= _numbers(connection, _AFTER["response_id"], one.response_id, one.key_id, one.start, one.end + SLACK_S, *until)
            near |= _numbers(connection, _BEFORE["response_id"], one.response_id, one.key_id, one.start, one.start - REACH_S, *until)
        if by_likeness and one.usage is not None:
            until = (0.0, one.end + SLACK_S)
            near |= _numbers(connection, _AFTER[_USED], one.usage.prompt, one.key_id, one.start, one.end + SLACK_S, *until)
            near |= _numbers(connection, _BEFORE[_USED], one.usage.prompt, one.key_id, one.start, one.start - SLACK_S, *until)
    near -= knot.seen
    return found + (_read_calls(connection, knot, f"log.seq {AMONG}", as_json(near)) if near else [])


_EVER = 1e12
_WITHIN = (
    "SELECT seq FROM log WHERE trace_unique_id = ? AND span_parent_id = ? AND instance_id IS NOT NULL"
    f" ORDER BY start_time DESC LIMIT {NEAR}"
)
_MOVED = f"SELECT unique_id FROM linked WHERE trace_id = ? AND parent_id = ? LIMIT {NEAR}"


def _next(column: str, started: str, order: str) -> str:
    """The calls that began next to a time, of those the ones that ended between two others."""
    near = (
        f"SELECT seq, timestamp FROM log WHERE {column} = ? AND organization_key_id IS ? AND instance_id IS NOT NULL AND {started}"
        f" ORDER BY start_time {order} LIMIT {NEAR}"
    )
    return f"SELECT seq FROM ({near}) WHERE coalesce(timestamp, {_EVER}) BETWEEN ? AND ?"


_AFTER = {name: _next(name, "start_time >= ? AND start_time <= ?", "ASC") for name in ("response_id", _USED)}
_BEFORE = {name: _next(name, "start_time < ? AND start_time >= ?", "DESC") for name in ("response_id", _USED)}


def _spans_of(connection: sqlite3.Connection, knot: Knot, calls: Iterable[Known], by_likeness: bool) -> list[Span]:
    """Spans that may be these calls."""
    found: list[Span] = []
    for call in [known.call for known in calls]:
        found += _read_spans(connection, knot, _NAMED, call.id, call.key_id)
        if knot.is_full:
            break
        if call.parent_id is not None and call.trace_id is not None:
            found += _read_spans(connection, knot, "trace_id = ? AND span_id = ? AND native", call.trace_id, call.parent_id)
        asked: list[tuple[str, tuple[object, ...], float, Callable[[Heard], bool]]] = []
        if call.response_id is not None:
            asked.append((_OF_ANSWER, (call.response_id, call.key_id), call.start, partial(fits, call=call)))
        if by_likeness:
            asked += [(_ALIKE, (text,), call.end, partial(alike, call=call)) for text in likenesses(call.key_id, call.usage)]
        for where, bound, ended_at, concerns in asked:
            near = _numbers(connection, _BEGAN_BEFORE[where], *bound, call.start, call.start - REACH_S, ended_at - SLACK_S)
            near |= _numbers(connection, _BEGAN_AFTER[where], *bound, call.start, call.end + WITHIN_S, ended_at - SLACK_S)
            found += _read_numbered(connection, knot, near, concerns)
    return found


_NAMED = f"log_id = ? AND key_id IS ? ORDER BY parent_id IS NULL, ended_at, own_id LIMIT {MOST_TOLD}"
_OF_ANSWER = "response_id = ? AND key_id IS ?"
_ALIKE = "likeness = ?"


def _begun(where: str, began: str, order: str) -> str:
    """The spans that began next to a time, of those the ones that ended no earlier than another."""
    near = f"SELECT seq, ended_at FROM span WHERE {where} AND log_id IS NULL AND {began} ORDER BY {BEGAN} {order} LIMIT {NEAR}"
    return f"SELECT seq FROM ({near}) WHERE ended_at >= ?"


_BEGAN_BEFORE = {where: _begun(where, f"{BEGAN} <= ? AND {BEGAN} >= ?", "DESC") for where in (_OF_ANSWER, _ALIKE)}
_BEGAN_AFTER = {where: _begun(where, f"{BEGAN} > ? AND {BEGAN} <= ?", "ASC") for where in (_OF_ANSWER, _ALIKE)}


def _doubles_of(connection: sqlite3.Connection, knot: Knot, spans: Iterable[Span]) -> list[Span]:
    """Spans that may tell of the same generation as these, from further inside or outside."""
    found: list[Span] = []
    for one in [span.heard for span in spans]:
        if len(knot.spans) >= MOST_DOUBLES:
            break
        for text in likenesses(one.key_id, one.usage):
            if not one.is_native:
                where = "native" if one.parent_id is None else "1"
                between = (max(one.start - ROUNDING_S, one.end - AROUND_S), one.end + ROUNDING_S)
                near = _numbers(connection, _inside(where), text, *between)
                found += _read_numbered(connection, knot, near, partial(is_within, outer=one))
            if one.may_double:
                where = "native IS NULL" if one.is_native else "native IS NULL AND parent_id IS NOT NULL"
                between = (one.end - ROUNDING_S, one.end + AROUND_S)
                near = _numbers(connection, _outside(where), text, *between)
                found += _read_numbered(connection, knot, near, partial(is_within, one))
    return found


def _inside(where: str) -> str:
    near = (
        "SELECT seq, native FROM span WHERE likeness = ? AND (native OR parent_id IS NULL) AND ended_at BETWEEN ? AND ?"
        f" ORDER BY ended_at DESC LIMIT {AMONG_NEAR}"
    )
    return f"SELECT seq FROM ({near}) WHERE {where} LIMIT {NEAREST}"


def _outside(where: str) -> str:
    near = f"SELECT seq, native, parent_id FROM span WHERE likeness = ? AND ended_at BETWEEN ? AND ? ORDER BY ended_at LIMIT {AMONG_NEAR}"
    return f"SELECT seq FROM ({near}) WHERE {where} LIMIT {NEAREST}"


def _numbers(connection: sqlite3.Connection, sql: str, *bound: object) -> set[int]:
    return {number for (number,) in connection.execute(sql, bound)}


def _read_calls(connection: sqlite3.Connection, knot: Knot, where: str, *bound: Any) -> list[Known]:
    found = []
    for row in connection.execute(f"{_CALL} {where}", bound):
        seq, id, key_id, response_id, model, asked, prompt, completion, reasoning, start, end, status, endpoint, forbids, own, *now = row
        if id in knot.calls:
            continue
        knot.seen.add(seq)
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
            usage=None if is_running else usage((model, asked), prompt, completion, reasoning, failed=status == "failed"),
        )
        knot.calls[id] = known = Known(call, endpoint, bool(forbids), is_running, knows, reads, own is not None)
        found.append(known)
    return found


def _read_numbered(connection: sqlite3.Connection, knot: Knot, numbers: set[int], concerns: Callable[[Heard], bool]) -> list[Span]:
    """Of the spans of these numbers, those that are of concern."""
    if missing := numbers - knot.read.keys():
        _read(connection, knot, f"seq {AMONG}", as_json(missing))
    return _joining(knot, (knot.read[number] for number in numbers if concerns(knot.read[number].heard)))


def _read_spans(connection: sqlite3.Connection, knot: Knot, where: str, *bound: Any) -> list[Span]:
    return _joining(knot, _read(connection, knot, where, *bound))


def _joining(knot: Knot, spans: Iterable[Span]) -> list[Span]:
    found = []
    for span in spans:
        if span.heard.id not in knot.spans:
            knot.spans[span.heard.id] = span
            found.append(span)
    return found


def _read(connection: sqlite3.Connection, knot: Knot, where: str, *bound: Any) -> list[Span]:
    found = []
    for row in connection.execute(f"{_SPAN} {where}", bound):
        seq, own_id, unique_id, role, trace_id, span_id, parent_id, key_id, scope, log_id, response_id, native, is_alike, stored = row
        if seq not in knot.read:
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
            knot.read[seq] = Span(heard(own_id, facts, claim), facts, unique_id, role, True)
        found.append(knot.read[seq])
    return found


def as_json(values: Iterable[object]) -> str:
    """What stands behind `AMONG`."""
    return orjson.dumps(list(values)).decode()
