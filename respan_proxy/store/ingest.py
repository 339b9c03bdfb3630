"""Spans on their way into the database: handed over in groups, written a few dozen at a time between the rows of calls.

Whoever brings spans waits until they are committed. While the database is away they wait in memory, within a bound; beyond it the next
ones are refused for now, which every exporter understands.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import orjson

from respan_proxy.errors import ProxyError
from respan_proxy.respan.spans import COLUMNS, Row, Shape, bind, mended, storable
from respan_proxy.store import linking, span_content
from respan_proxy.store.annotating import annotate, said_later
from respan_proxy.store.knot import AMONG, Span, as_json, heard, likenesses, untie
from respan_proxy.store.transaction import OF_A_ROW, transaction, upsert
from respan_proxy.telemetry.quoting import unquoted
from respan_proxy.telemetry.spans import Told, row_id

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

log = logging.getLogger(__name__)

KeptContent = Literal["full", "errors", "none"]

WAITING_BYTES = 64 * 1024 * 1024
# Spans written in one go: a call's row that comes meanwhile waits for no more than that (64 take 10 ms, measured).
AT_ONCE = 64
AT_ONCE_BYTES = 8 * 1024 * 1024
RETRY_AFTER_S = 5

_NAMES = tuple(column.name for column in COLUMNS)
_UNIQUE_ID = _NAMES.index("unique_id")
_SPAN = (
    "INSERT INTO span (own_id, unique_id, role, trace_id, span_id, parent_id, key_id, scope, log_id, response_id, native, likeness,"
    " ended_at, facts, enc, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (own_id) DO UPDATE SET"
    " unique_id = excluded.unique_id, role = excluded.role, parent_id = excluded.parent_id, scope = excluded.scope,"
    " log_id = excluded.log_id, response_id = excluded.response_id, native = excluded.native, likeness = excluded.likeness,"
    " ended_at = excluded.ended_at, facts = excluded.facts, enc = excluded.enc, data = excluded.data"
)
# A newer version of a span may say less: what it does not say any more must not stay.
_BLANK = f"UPDATE log SET {', '.join(f'{name} = NULL' for name in _NAMES if name != 'unique_id')} WHERE unique_id = ?"


@dataclass(slots=True)
class _Group:
    """Spans that came together. `written` of them are, `refused` could not be; `done` tells who waits."""

    told: Sequence[Told]
    bytes: int
    content: KeptContent
    done: asyncio.Future[int]
    taken: int = 0
    written: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Portion:
    """What one transaction is to write."""

    told: list[tuple[Told, KeptContent]]
    of: list[tuple[_Group, int]]


class Waiting:
    """Spans that wait for the writer. Belongs to the event loop's thread."""

    def __init__(self, limit_bytes: int = WAITING_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._groups: deque[_Group] = deque()
        self._writing: Portion | None = None
        self._error: ProxyError | None = None
        self.bytes = 0
        self.spans = 0
        self.refused = 0
        """Spans that were refused because too many waited."""

    def __bool__(self) -> bool:
        return bool(self._groups)

    def put(self, told: Sequence[Told], size_bytes: int, content: KeptContent) -> asyncio.Future[int]:
        """The future tells, after the commit, how many of them could not be stored. ProxyError 429 when too much waits already."""
        if self._error is not None:
            raise self._error
        if self.bytes and self.bytes + size_bytes > self._limit_bytes:
            self.refused += len(told)
            raise ProxyError(
                f"{self.bytes} bytes of telemetry wait to be written, {self._limit_bytes} at most may: send it again later",
                status=429,
                kind="rate_limit",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            )
        group = _Group(told, size_bytes, content, asyncio.get_running_loop().create_future())
        self._groups.append(group)
        self.bytes += size_bytes
        self.spans += len(told)
        return group.done

    def take(self) -> Portion:
        portion = Portion([], [])
        size = 0
        while self._groups and len(portion.told) < AT_ONCE and size < AT_ONCE_BYTES:
            group = self._groups[0]
            each = group.bytes // len(group.told) + 1
            count = min(len(group.told) - group.taken, AT_ONCE - len(portion.told), max(1, (AT_ONCE_BYTES - size) // each))
            portion.told.extend((told, group.content) for told in group.told[group.taken : group.taken + count])
            portion.of.append((group, count))
            group.taken += count
            size += count * each
            if group.taken == len(group.told):
                self._groups.popleft()
        self._writing = portion
        return portion

    def written(self, refused: Sequence[int]) -> None:
        """The portion in hand is committed, but for those of these places in it."""
        portion, self._writing = self._writing, None
        first = 0
        for group, count in portion.of if portion is not None else ():
            group.written += count
            group.refused += sum(first <= place < first + count for place in refused)
            first += count
            self.spans -= count
            if group.written == len(group.told):
                self.bytes -= group.bytes
                if not group.done.done():
                    group.done.set_result(group.refused)

    def give_up(self, error: ProxyError) -> int:
        """Nothing more will be written; how many spans are lost, whose senders hear why."""
        self._error = error
        groups = [group for group, _ in self._writing.of] if self._writing is not None else []
        for group in (*groups, *self._groups):
            if not group.done.done():
                group.done.set_exception(error)
                group.done.exception()  # whoever waited for it may have left
        lost, self.spans, self.bytes = self.spans, 0, 0
        self._groups.clear()
        self._writing = None
        return lost


# In the connection's thread.


@dataclass(slots=True)
class _Fresh:
    """A span made ready: its columns as SQL values, and its content packed."""

    place: int
    row: Row
    span: Span
    shape: Shape
    bound: list[Any]
    data: bytes | None
    is_native: bool


class Ingest:
    """Writes spans. Keeps its compression context: making one costs as much as packing 500 bytes."""

    def __init__(self, clock: Callable[[], float], *, by_likeness: bool = True) -> None:
        self._clock = clock
        self._compressor = zstd.ZstdCompressor(span_content.LEVEL)
        self.by_likeness = by_likeness

    def write(self, portion: Sequence[tuple[Told, KeptContent]], connection: sqlite3.Connection) -> tuple[list[int], set[str]]:
        """One transaction; a span that cannot be stored does not stop the others. Returns the places of those, and the ids of rows that
        are complete and were written or changed. Raises when the database is away."""
        try:
            return self._all(list(enumerate(portion)), connection)
        except Exception as error:
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, OF_A_ROW):
                raise
        refused: list[int] = []
        settled: set[str] = set()
        for place, (told, content) in enumerate(portion):
            try:
                _mend(told)
                gone, ids = self._all([(place, (told, content))], connection)
            except Exception as error:
                if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, OF_A_ROW):
                    raise
                log.error("span %s cannot be stored: %s: %s", told.row.unique_id, type(error).__name__, error)
                gone, ids = [place], set()
            refused += gone
            settled |= ids
        return refused, settled

    def _all(self, portion: Iterable[tuple[int, tuple[Told, KeptContent]]], connection: sqlite3.Connection) -> tuple[list[int], set[str]]:
        # Compression before BEGIN: readers and checkpoints are held up by the shortest possible transaction.
        ready = [self._made_ready(place, told, content) for place, (told, content) in portion]
        return transaction(connection, partial(self._write, ready))

    def _made_ready(self, place: int, told: Told, content: KeptContent) -> _Fresh:
        row, claim = told.row, told.claim
        row.instance_id = None  # what marks the gateway's own calls
        if row.timestamp is None:
            row.timestamp = row.start_time = row.start_time or self._clock()  # lists are sorted by it
        is_kept = content == "full" or (content == "errors" and row.status == "failed")
        if not is_kept and row.metadata:
            row.metadata = unquoted(row.metadata, told.raw.get("attributes") or ()) or None
        shape, bound = bind(row, content=is_kept)
        facts = {_NAMES[index]: value for index, value in zip(shape, bound, strict=True)}
        said = {
            "trace_id": row.trace_unique_id or row.unique_id,
            "span_id": row.span_unique_id or row.unique_id,
            "parent_id": row.span_parent_id,
            "key_id": row.organization_key_id,
            "scope": claim.scope,
            "log_id": claim.log_id,
            "response_id": claim.response_id if claim.is_generation or claim.is_native else None,
            "is_native": claim.is_native,
            "is_generation": claim.is_generation,
        }
        span = Span(heard(row.unique_id, facts, said), facts, row.unique_id, "row", is_stored=False)
        return _Fresh(place, row, span, shape, bound, span_content.pack(told, self._compressor) if is_kept else None, claim.is_native)

    def _write(self, ready: Sequence[_Fresh], connection: sqlite3.Connection) -> tuple[list[int], set[str]]:
        fresh, refused, stored, renewed = _admitted(connection, ready)
        # What is here already as it comes again stays as it is, with what was said of it meanwhile.
        same = {own_id for own_id in stored - renewed.keys() if fresh[own_id].span.role == "row"}
        claiming = [one.span for own_id, one in fresh.items() if one.span.heard.claims or own_id in stored]
        forbidden: set[str] = set()
        settled: set[str] = set()
        if claiming:
            knot = untie(connection, claiming, (), by_likeness=self.by_likeness)
            settled, forbidden = linking.tie(connection, knot)
        rows: dict[Shape, list[list[Any]]] = {}
        for own_id, one in fresh.items():
            if one.span.role == "row" and own_id not in same:
                rows.setdefault(one.shape, []).append(one.bound)
                if one.span.facts.get("status") != "running":
                    settled.add(own_id)
        made = {own_id: orjson.loads(facts) for own_id, facts in renewed.items() if fresh[own_id].span.role == "row"}
        later = said_later(connection, made) if made else []
        connection.executemany(_BLANK, [(own_id,) for own_id in made])
        for shape, group in rows.items():
            connection.executemany(upsert(shape), group)
        annotate(later, None, connection)
        connection.executemany(_SPAN, [_values(one, own_id in forbidden) for own_id, one in fresh.items()])
        if moved := linking.homeless(connection, [one.span.heard.trace_id for one in fresh.values()]):
            settled |= linking.rehome(connection, moved, fresh.keys())
        return refused, settled


def _admitted(connection: sqlite3.Connection, ready: Sequence[_Fresh]) -> tuple[dict[str, _Fresh], list[int], set[str], dict[str, str]]:
    """The spans to be written by id, each once and in its newest version; the places of those that would write over what is another's;
    the ids of those that are here already, and of those that are here in another version."""
    fresh: dict[str, _Fresh] = {}
    for one in ready:
        own_id = one.span.heard.id
        if own_id not in fresh or one.span.heard.end >= fresh[own_id].span.heard.end:
            fresh[own_id] = one
    refused: list[int] = []
    for own_id in _others(connection, fresh):
        one = fresh.pop(own_id)
        if row_id(one.span.heard.trace_id, one.span.heard.span_id, one.span.heard.key_id) == own_id:
            _move(connection, one)
            fresh[one.span.heard.id] = one
        else:
            log.warning("span %s is not stored: a row of that id is there, which is another's", own_id)
            refused += [other.place for other in ready if other.span.heard.id == own_id]
    stored: set[str] = set()
    renewed: dict[str, str] = {}
    sql = f"SELECT own_id, unique_id, role, ended_at, facts FROM span WHERE own_id {AMONG}"
    for own_id, unique_id, role, ended_at, facts in connection.execute(sql, (as_json(fresh),)).fetchall():
        span = fresh[own_id].span
        if (ended_at or 0.0) > span.heard.end:
            del fresh[own_id]
        else:
            span.unique_id, span.role = unique_id, role
            stored.add(own_id)
            if facts != _json(span.facts):
                renewed[own_id] = facts
    return fresh, refused, stored, renewed


def _others(connection: sqlite3.Connection, fresh: Mapping[str, _Fresh]) -> list[str]:
    """Of these ids, those of what is here and another's: of spans and rows of another key, and of calls."""
    ids = as_json(fresh)
    spans = f"SELECT own_id, key_id, NULL FROM span WHERE own_id {AMONG}"
    rows = f"SELECT unique_id, organization_key_id, instance_id FROM log WHERE unique_id {AMONG}"
    found = [*connection.execute(spans, (ids,)), *connection.execute(rows, (ids,))]
    others = {own_id for own_id, key_id, instance_id in found if instance_id is not None or key_id != fresh[own_id].span.heard.key_id}
    return [own_id for own_id in fresh if own_id in others]


def _move(connection: sqlite3.Connection, one: _Fresh) -> None:
    """Give a span whose id somebody else chose for a row of theirs another one: the one that it has here already, or one that nobody
    can know beforehand. What a span is called by must not depend on who was first."""
    heard = one.span.heard
    sql = "SELECT own_id FROM span WHERE trace_id = ? AND span_id = ? AND key_id IS ? ORDER BY seq LIMIT 1"
    (id,) = connection.execute(sql, (heard.trace_id, heard.span_id, heard.key_id)).fetchone() or (uuid.uuid4().hex,)
    log.warning("span %s is stored as %s: a row of that id is there, which is another's", heard.id, id)
    one.row.unique_id = one.span.unique_id = one.span.facts["unique_id"] = one.bound[one.shape.index(_UNIQUE_ID)] = id
    one.span.heard = replace(heard, id=id)


def _values(one: _Fresh, is_forbidden: bool) -> tuple[Any, ...]:
    span, told, data = one.span, one.span.heard, one.data
    facts = span.facts
    if is_forbidden:
        data, facts = None, linking.without_content(facts)
    return (
        told.id,
        span.unique_id,
        span.role,
        told.trace_id,
        told.span_id,
        told.parent_id,
        told.key_id,
        told.scope or None,
        told.log_id,
        told.response_id,
        1 if told.is_native else None,
        next(iter(likenesses(told.key_id, told.usage)), None),
        told.end,
        _json(facts),
        span_content.ENCODING if data is not None else None,
        data,
    )


def _mend(told: Told) -> None:
    storable(told.row)
    told.raw = mended(told.raw)
    said, claim = told.said, told.claim
    for name in ("input", "output", "prompt_messages", "completion_messages", "tools", "tool_calls"):
        setattr(said, name, mended(getattr(said, name)))
    claim.log_id, claim.response_id, claim.scope = mended(claim.log_id), mended(claim.response_id), mended(claim.scope)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
