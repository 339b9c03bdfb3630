"""Owns the knot: spans and calls that compete with each other, read from the database until nothing more may belong to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

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
    usage,
)

# Where calls and spans cannot be told apart, as with one that is asked the same again and again all at once, those nearest by are
# looked at: so many of each, and so many together (2,000 at once kept the writer for minutes without it, measured).
NEAR = 16
MOST = 512
# Of two tellings of one generation, both by spans, few are compared: the next ones in time, and no more than so many in all.
NEAREST = 8
MOST_DOUBLES = 192

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


@dataclass(slots=True)
class Knot:
    """Spans and calls that compete with each other."""

    spans: dict[str, Span] = field(default_factory=dict)
    calls: dict[str, Known] = field(default_factory=dict)
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


def likenesses(key_id: str | None, used: Usage | None) -> list[str]:
    """What a generation and the call that it is have in common, as text. Of a call there are two where it counts reasoning."""
    return [] if used is None else [f"{key_id or ''}/{used.prompt}/{completion}" for completion in sorted(used.completions)]


def untie(connection: sqlite3.Connection, fresh: Collection[Span], call_ids: Iterable[str], *, by_likeness: bool) -> Knot:
    """All that competes with the spans `fresh` and with these calls, and how it is linked. Reads only."""
    knot = Knot(spans={span.heard.id: span for span in fresh})
    spans = list(knot.spans.values())
    calls = _read_calls(connection, knot, f"log.unique_id {AMONG}", (as_json(call_ids),))
    while (spans or calls) and len(knot.spans) + len(knot.calls) < MOST:
        more_calls = _calls_of(connection, knot, spans, by_likeness)
        more_spans = _spans_of(connection, knot, calls, by_likeness) + _doubles_of(connection, knot, spans, by_likeness)
        calls, spans = more_calls, more_spans
    knot.links = link([known.call for known in knot.calls.values()], [span.heard for span in knot.spans.values()], by_likeness=by_likeness)
    if by_likeness:
        linked = {found.span.id for links in knot.links.values() for found in links}
        knot.doubled = doubled(span.heard for id, span in knot.spans.items() if id not in linked)
    return knot


def _calls_of(connection: sqlite3.Connection, knot: Knot, spans: Iterable[Span], by_likeness: bool) -> list[Known]:
    """Calls that these spans may be, or are linked to now."""
    ids: set[str] = set()
    natives: dict[str, set[str]] = {}
    found: list[Known] = []
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
        found += _read_calls(connection, knot, f"log.unique_id {AMONG}", (as_json(ids),))
    if natives:
        parents = as_json({span_id for among in natives.values() for span_id in among})
        where = f"log.trace_unique_id {AMONG} AND log.span_parent_id {AMONG} AND linked.own IS NULL"
        found += _read_calls(connection, knot, where, (as_json(natives), parents))
        sql = f"SELECT unique_id FROM linked WHERE trace_id {AMONG} AND parent_id {AMONG}"
        moved = {id for (id,) in connection.execute(sql, (as_json(natives), parents))} - knot.calls.keys()
        if moved:
            found += _read_calls(connection, knot, f"log.unique_id {AMONG}", (as_json(moved),))
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


def _spans_of(connection: sqlite3.Connection, knot: Knot, calls: Collection[Known], by_likeness: bool) -> list[Span]:
    """Spans that may be these calls, or are linked to them now."""
    if not calls:
        return []
    ids = as_json(known.call.id for known in calls)
    found = _read_spans(connection, knot, f"log_id {AMONG}", (ids,))
    found += _read_spans(connection, knot, f"unique_id {AMONG}", (ids,))
    if parents := [known.call.parent_id for known in calls if known.call.parent_id is not None]:
        found += _read_spans(connection, knot, f"native AND span_id {AMONG}", (as_json(parents),))
    if responses := {known.call.response_id for known in calls if known.call.response_id is not None}:
        found += _read_spans(connection, knot, f"response_id {AMONG}", (as_json(responses),))
    if by_likeness and (ends := [(text, known.call.end) for known in calls for text in likenesses(known.call.key_id, known.call.usage)]):
        sql = f"SELECT DISTINCT likeness FROM span WHERE likeness {AMONG}"
        there = {text for (text,) in connection.execute(sql, (as_json({text for text, _ in ends}),))}
        for text, end in ends:
            if text in there and len(knot.spans) + len(knot.calls) < MOST:
                where = f"likeness = ? AND ended_at BETWEEN ? AND ? ORDER BY ended_at LIMIT {NEAR}"
                found += _read_spans(connection, knot, where, (text, end - SLACK_S, end + REACH_S))
    return found


def _doubles_of(connection: sqlite3.Connection, knot: Knot, spans: Iterable[Span], by_likeness: bool) -> list[Span]:
    """Spans that may tell of the same generation as these, from further inside or outside, or did so before."""
    hosts = [span.heard.id for span in spans if span.role == "row"]
    found = _read_spans(connection, knot, f"unique_id {AMONG} AND role = 'beside'", (as_json(hosts),)) if hosts else []
    for one in [span.heard for span in spans if by_likeness]:
        if len(knot.spans) >= MOST_DOUBLES:
            break
        for text in likenesses(one.key_id, one.usage):
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


def _read_calls(connection: sqlite3.Connection, knot: Knot, where: str, bound: tuple[Any, ...]) -> list[Known]:
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
        knot.calls[id] = known = Known(call, endpoint, bool(forbids), is_running, knows, reads, own is not None)
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


def as_json(values: Iterable[object]) -> str:
    """What stands behind `AMONG`."""
    return orjson.dumps(list(values)).decode()
