"""What is forgotten, and when: by age and by size, content before rows, in pieces small enough that nobody waits for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

# One DELETE of half the table stalled other writers for 130 ms, chunks of 200 for 3 ms (measured at 12,000 rows of 8 KB).
CHUNK_ROWS = 200
VACUUM_PAGES = 256


@dataclass(frozen=True, slots=True)
class Retention:
    """None or 0: no limit. The size counts pages in use, without what is kept for clients, which has limits of its own (`kept_`)."""

    max_age_s: float | None = 30 * 86400.0
    bodies_max_age_s: float | None = None
    max_bytes: int | None = 2 * 1024**3
    kept_max_age_s: float | None = 30 * 86400.0
    kept_max_bytes: int | None = 256 * 1024**2


def prune(connection: sqlite3.Connection, retention: Retention, now: float) -> int:
    """Forget one chunk; returns how many bodies, rows and kept values went (0: nothing is left). `now` is seconds of the epoch."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        gone = _forget(connection, retention, now)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    if gone:
        # Not `execute`: this pragma takes a step per page, and sqlite3 gives up after the first because it has no columns.
        connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
    return gone


def used_bytes(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)


def _forget(connection: sqlite3.Connection, retention: Retention, now: float) -> int:
    ages = [age for age in (retention.bodies_max_age_s, retention.max_age_s) if age]
    if ages and (gone := _bodies_before(connection, now - min(ages))):
        return gone
    if retention.max_age_s and (gone := _rows_before(connection, now - retention.max_age_s)):
        return gone
    kept = _kept_bytes(connection)
    if gone := _kept(connection, retention, kept, now):
        return gone
    if not retention.max_bytes or used_bytes(connection) - kept <= retention.max_bytes:
        return 0
    if gone := _oldest_content(connection):
        return gone
    return _delete(connection, connection.execute(f"{_ENDED} ORDER BY seq LIMIT ?", (CHUNK_ROWS,)).fetchall())


def _kept_bytes(connection: sqlite3.Connection) -> int:
    """Read off an index, 50 ms for 400,000 values (measured)."""
    (size,) = connection.execute("SELECT total(bytes) FROM kept").fetchone()
    return int(size)


def _kept(connection: sqlite3.Connection, retention: Retention, size: int, now: float) -> int:
    """What nobody has used for longest goes first: conversations that go on keep what they began with."""
    oldest = connection.execute("SELECT rowid, used_at, bytes FROM kept ORDER BY used_at LIMIT ?", (CHUNK_ROWS,)).fetchall()
    gone: list[tuple[int]] = []
    for rowid, used_at, octets in oldest:
        is_old = retention.kept_max_age_s and used_at < now - retention.kept_max_age_s
        if not is_old and not (retention.kept_max_bytes and size > retention.kept_max_bytes):
            break
        gone.append((rowid,))
        size -= octets
    connection.executemany("DELETE FROM kept WHERE rowid = ?", gone)
    return len(gone)


def _oldest_content(connection: sqlite3.Connection) -> int:
    """Of calls, or of spans: whichever is older."""
    call = "SELECT coalesce(log.timestamp, 0) FROM body LEFT JOIN log USING (seq) ORDER BY body.seq LIMIT 1"
    of_calls = connection.execute(call).fetchone()
    of_spans = connection.execute("SELECT ended_at FROM span WHERE enc IS NOT NULL ORDER BY ended_at LIMIT 1").fetchone()
    if of_spans is not None and (of_calls is None or of_spans < of_calls):
        return _span_content_before(connection, float("inf"))
    return connection.execute("DELETE FROM body WHERE seq IN (SELECT seq FROM body ORDER BY seq LIMIT ?)", (CHUNK_ROWS,)).rowcount


_BARE = "seq, own_id, unique_id, role, trace_id, span_id, parent_id, key_id, scope, log_id, response_id, native, likeness, ended_at, facts"


def _span_content_before(connection: sqlite3.Connection, limit: float) -> int:
    # Deleted and written anew: a line that only shrinks leaves its page as large as it was (measured).
    oldest = "seq IN (SELECT seq FROM span WHERE enc IS NOT NULL AND ended_at < ? ORDER BY ended_at LIMIT ?)"
    bare = connection.execute(f"SELECT {_BARE} FROM span WHERE {oldest}", (limit, CHUNK_ROWS)).fetchall()
    connection.executemany("DELETE FROM span WHERE seq = ?", [row[:1] for row in bare])
    connection.executemany(f"INSERT INTO span ({_BARE}) VALUES ({', '.join('?' * len(_BARE.split(', ')))})", bare)
    return len(bare)


def _bodies_before(connection: sqlite3.Connection, limit: float) -> int:
    """Only the oldest chunk of bodies is looked at: rows are numbered as they come, so behind a young one there are only younger ones."""
    oldest = connection.execute(
        "SELECT body.seq FROM (SELECT seq FROM body ORDER BY seq LIMIT ?) AS body LEFT JOIN log USING (seq)"
        " WHERE log.seq IS NULL OR log.timestamp < ?",
        (CHUNK_ROWS, limit),
    ).fetchall()
    connection.executemany("DELETE FROM body WHERE seq = ?", oldest)
    return len(oldest) or _span_content_before(connection, limit)


def _rows_before(connection: sqlite3.Connection, limit: float) -> int:
    oldest = connection.execute(f"{_ENDED} AND timestamp < ? ORDER BY timestamp LIMIT ?", (limit, CHUNK_ROWS)).fetchall()
    return _delete(connection, oldest)


_ENDED = "SELECT seq, unique_id FROM log WHERE status <> 'running'"


def _delete(connection: sqlite3.Connection, rows: Sequence[tuple[int, str]]) -> int:
    """Rows with what was said in them and the spans that they tell of; how many rows."""
    numbers, ids = ((orjson.dumps([row[column] for row in rows]).decode(),) for column in (0, 1))
    for table in ("span", "linked"):
        connection.execute(f"DELETE FROM {table} WHERE unique_id IN (SELECT value FROM json_each(?))", ids)
    for table in ("body", "log"):
        connection.execute(f"DELETE FROM {table} WHERE seq IN (SELECT value FROM json_each(?))", numbers)
    return len(rows)


def forget(connection: sqlite3.Connection, trace_ids: Sequence[str], key_id: str | None) -> tuple[set[str], bool]:
    """Forget a chunk of what is complete in these traces, of this key (None: of all). Returns the traces that there were, and whether
    more of them is left. The caller's transaction."""
    found = connection.execute(
        "SELECT seq, unique_id, trace_unique_id FROM log WHERE trace_unique_id IN (SELECT value FROM json_each(?1))"
        " AND status <> 'running' AND (?2 IS NULL OR organization_key_id = ?2) LIMIT ?3",
        (orjson.dumps(list(trace_ids)).decode(), key_id, CHUNK_ROWS),
    ).fetchall()
    _delete(connection, [(seq, unique_id) for seq, unique_id, _ in found])
    return {trace_id for *_, trace_id in found}, len(found) == CHUNK_ROWS
