"""Old calls are forgotten in small pieces, their content first."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from respan_proxy.respan.spans import Content, Row
from respan_proxy.store.retention import CHUNK_ROWS, Retention, prune, used_bytes
from respan_proxy.store.schema import migrate
from respan_proxy.store.writer import Writer

DAY_S = 86400.0
NOW = 1_000_000_000.0


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    migrate(connection, tmp_path / "x.db")
    yield connection
    connection.close()


def add(connection: sqlite3.Connection, count: int, *, age_s: float, status: str = "success", size: int = 100) -> None:
    connection.execute("BEGIN")
    (start,) = connection.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone()
    for seq in range(start + 1, start + count + 1):
        connection.execute("INSERT INTO log (seq, unique_id, status, timestamp) VALUES (?, ?, ?, ?)", (seq, f"r{seq}", status, NOW - age_s))
        connection.execute("INSERT INTO body (seq, enc, data) VALUES (?, 'zstd/1', ?)", (seq, os.urandom(size)))
    connection.execute("COMMIT")


def counts(connection: sqlite3.Connection) -> tuple[int, int]:
    [(rows, bodies)] = connection.execute("SELECT (SELECT count(*) FROM log), (SELECT count(*) FROM body)").fetchall()
    return rows, bodies


def prune_all(connection: sqlite3.Connection, retention: Retention) -> int:
    steps = 0
    while prune(connection, retention, NOW):
        steps += 1
    return steps


def test_calls_beyond_the_age_go_and_younger_ones_stay(connection: sqlite3.Connection) -> None:
    add(connection, 5, age_s=31 * DAY_S)
    add(connection, 3, age_s=29 * DAY_S)
    prune_all(connection, Retention(max_age_s=30 * DAY_S))
    assert counts(connection) == (3, 3)


def test_content_may_go_earlier_than_rows(connection: sqlite3.Connection) -> None:
    add(connection, 5, age_s=8 * DAY_S)
    add(connection, 3, age_s=1 * DAY_S)
    prune_all(connection, Retention(max_age_s=30 * DAY_S, bodies_max_age_s=7 * DAY_S))
    assert counts(connection) == (8, 3)


def test_no_piece_is_larger_than_a_chunk(connection: sqlite3.Connection) -> None:
    add(connection, 2 * CHUNK_ROWS + 1, age_s=31 * DAY_S)
    assert prune(connection, Retention(), NOW) == CHUNK_ROWS
    prune_all(connection, Retention())
    assert counts(connection) == (0, 0)


def test_beyond_the_size_the_oldest_content_goes_and_every_row_stays(connection: sqlite3.Connection) -> None:
    add(connection, 3 * CHUNK_ROWS, age_s=DAY_S, size=4000)
    limit = used_bytes(connection) - CHUNK_ROWS * 2000
    prune_all(connection, Retention(max_bytes=limit))
    rows, bodies = counts(connection)
    assert (rows, bodies) == (3 * CHUNK_ROWS, 2 * CHUNK_ROWS)
    assert connection.execute("SELECT min(seq) FROM body").fetchone() == (CHUNK_ROWS + 1,)
    assert used_bytes(connection) <= limit


def test_when_no_content_is_left_the_oldest_rows_go(connection: sqlite3.Connection) -> None:
    add(connection, 10 * CHUNK_ROWS, age_s=DAY_S, size=1)
    prune_all(connection, Retention(max_bytes=200_000))
    rows, bodies = counts(connection)
    assert bodies == 0
    assert 0 < rows < 10 * CHUNK_ROWS


def test_the_file_shrinks(connection: sqlite3.Connection) -> None:
    add(connection, CHUNK_ROWS, age_s=31 * DAY_S, size=4000)
    (before,) = connection.execute("PRAGMA page_count").fetchone()
    prune_all(connection, Retention())
    (after,) = connection.execute("PRAGMA page_count").fetchone()
    assert after < before / 2


def test_a_limit_of_zero_is_no_limit(connection: sqlite3.Connection) -> None:
    add(connection, 3, age_s=9999 * DAY_S)
    prune_all(connection, Retention(max_age_s=0, bodies_max_age_s=0, max_bytes=0))
    assert counts(connection) == (3, 3)


def test_a_running_call_is_never_forgotten(connection: sqlite3.Connection) -> None:
    add(connection, 1, age_s=31 * DAY_S, status="running")
    prune_all(connection, Retention(max_bytes=1))
    assert counts(connection)[0] == 1


def add_spans(connection: sqlite3.Connection, count: int, *, age_s: float, size: int = 100) -> None:
    """Each with a row of its own."""
    add(connection, count, age_s=age_s)
    connection.execute("DELETE FROM body WHERE seq IN (SELECT seq FROM log ORDER BY seq DESC LIMIT ?)", (count,))
    connection.execute(
        "INSERT INTO span (own_id, unique_id, role, trace_id, span_id, ended_at, facts, enc, data)"
        " SELECT unique_id, unique_id, 'row', 't', unique_id, timestamp, '{}', 'zstd/span1', randomblob(?)"
        " FROM log ORDER BY seq DESC LIMIT ?",
        (size, count),
    )


def of_spans(connection: sqlite3.Connection) -> tuple[int, int]:
    [(spans, contents)] = connection.execute("SELECT count(*), count(data) FROM span").fetchall()
    return spans, contents


def test_spans_go_with_their_rows(connection: sqlite3.Connection) -> None:
    add_spans(connection, CHUNK_ROWS + 5, age_s=31 * DAY_S)
    add_spans(connection, 3, age_s=29 * DAY_S)
    connection.execute("INSERT INTO linked (unique_id, own) VALUES ('r1', '{}')")
    prune_all(connection, Retention(max_age_s=30 * DAY_S))
    assert counts(connection) == (3, 0)
    assert of_spans(connection) == (3, 3)
    assert connection.execute("SELECT count(*) FROM linked").fetchone() == (0,)


def test_content_of_spans_may_go_earlier_than_their_rows(connection: sqlite3.Connection) -> None:
    add_spans(connection, 5, age_s=8 * DAY_S)
    add(connection, 2, age_s=8 * DAY_S)
    add_spans(connection, 3, age_s=1 * DAY_S)
    prune_all(connection, Retention(max_age_s=30 * DAY_S, bodies_max_age_s=7 * DAY_S))
    assert counts(connection) == (10, 0)
    assert of_spans(connection) == (8, 3)


def test_beyond_the_size_the_oldest_content_goes_be_it_of_calls_or_of_spans(connection: sqlite3.Connection) -> None:
    add(connection, CHUNK_ROWS, age_s=4 * DAY_S, size=4000)
    add_spans(connection, CHUNK_ROWS, age_s=3 * DAY_S, size=4000)
    add(connection, CHUNK_ROWS, age_s=2 * DAY_S, size=4000)
    limit = used_bytes(connection) - CHUNK_ROWS * 6000
    prune_all(connection, Retention(max_bytes=limit))
    assert counts(connection) == (3 * CHUNK_ROWS, CHUNK_ROWS)
    assert of_spans(connection) == (CHUNK_ROWS, 0)
    prune_all(connection, Retention(max_bytes=100_000))
    assert counts(connection)[1] == 0
    assert connection.execute("SELECT count(*) FROM span LEFT JOIN log USING (unique_id) WHERE log.seq IS NULL").fetchone() == (0,)


async def test_the_writer_forgets_when_it_is_idle(tmp_path: Path) -> None:
    async with Writer(tmp_path / "x.db") as writer:
        writer.finish(Row("old", status="success", timestamp=NOW - 31 * DAY_S), Content(request_body=b"{}"))
        writer.finish(Row("young", status="success", timestamp=NOW), Content(request_body=b"{}"))
    async with Writer(tmp_path / "x.db", clock=lambda: NOW) as writer:
        async with asyncio.timeout(30):
            while writer.status().forgotten < 2:
                await asyncio.sleep(0)
    connection = sqlite3.connect(tmp_path / "x.db")
    assert connection.execute("SELECT unique_id FROM log").fetchall() == [("young",)]
    connection.close()
