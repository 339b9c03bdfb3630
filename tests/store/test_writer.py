"""What is handed to the writer is in the file, whatever becomes of the file or the process meanwhile."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from respan_proxy.errors import ConfigError
from respan_proxy.respan.spans import Content, Row
from respan_proxy.store.bodies import unpack
from respan_proxy.store.queue import BATCH_ROWS, ROW_BYTES
from respan_proxy.store.retention import Retention
from respan_proxy.store.writer import Writer, WriterStatus

CANARY = "the canary sings in the coal mine"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "calls.db"


def read(path: Path, sql: str, *parameters: Any) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql, parameters).fetchall()
    finally:
        connection.close()


def ids(path: Path) -> list[str]:
    return [unique_id for (unique_id,) in read(path, "SELECT unique_id FROM log ORDER BY seq")]


async def until(writer: Writer, holds: Callable[[WriterStatus], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds(writer.status()):
            await asyncio.sleep(0)


async def test_a_finished_call_is_there_after_the_barrier(path: Path) -> None:
    async with Writer(path) as writer:
        row = Row("one", status="success", model="gpt-4.1", cost=1_250, metadata={"team": "blue", "n": 1}, stream=True)
        writer.finish(row, Content(request_body=b'{"q":1}', answer=[(10.5, b"data: a\n\n"), (11.0, b"data: b\n\n")], started_at=10.0))
        assert await writer.barrier(30)
        assert read(path, "SELECT unique_id, status, model, cost, metadata, stream, error_message FROM log") == [
            ("one", "success", "gpt-4.1", 1250, '{"team":"blue","n":1}', 1, None)
        ]
        [(encoding, data)] = read(path, "SELECT enc, data FROM body JOIN log USING (seq) WHERE unique_id = 'one'")
        kept = unpack(encoding, data)
        assert kept.request_body == b'{"q":1}'
        assert kept.frames == [(0.5, b"data: a\n\n"), (1.0, b"data: b\n\n")]


async def test_a_call_that_ends_before_its_start_was_taken_is_written_once(path: Path) -> None:
    async with Writer(path) as writer:
        row = Row("one")
        writer.begin(row)
        row.status = "success"
        writer.finish(row, None)
        assert await writer.barrier(30)
        assert (writer.status().written_rows, writer.status().batches) == (1, 1)
        assert read(path, "SELECT unique_id, status FROM log") == [("one", "success")]


async def test_what_only_begins_is_written_soon_also_when_nobody_reads(path: Path) -> None:
    async with Writer(path) as writer:
        writer.begin(Row("one"))
        await until(writer, lambda status: status.written_rows == 1)
        assert read(path, "SELECT unique_id, status FROM log") == [("one", "running")]


async def test_a_short_call_is_written_once_though_others_end_meanwhile(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("respan_proxy.store.writer.BEGINNING_S", 3600.0)
    async with Writer(path) as writer:
        short = Row("short")
        writer.begin(short)
        writer.finish(Row("other", status="success"), None)
        await until(writer, lambda status: status.written_rows == 1)
        assert ids(path) == ["other"]
        short.status = "success"
        writer.finish(short, None)
        await until(writer, lambda status: status.written_rows == 2)
        assert read(path, "SELECT unique_id, status FROM log ORDER BY seq") == [("other", "success"), ("short", "success")]
        assert writer.status().queued_rows == 0


async def test_who_reads_sees_what_only_begins_among_what_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("respan_proxy.store.writer.BEGINNING_S", 3600.0)
    async with Writer(path) as writer:
        writer.begin(Row("open"))
        writer.finish(Row("done", status="success"), None)
        await until(writer, lambda status: status.written_rows == 1)
        assert await writer.barrier(30)
        assert sorted(ids(path)) == ["done", "open"]


async def test_a_running_call_is_seen_and_later_completed_in_place(path: Path) -> None:
    async with Writer(path) as writer:
        row = Row("one", model="gpt-4.1")
        writer.begin(row)
        assert await writer.barrier(30)
        assert read(path, "SELECT unique_id, status, instance_id FROM log") == [("one", "running", writer.instance_id)]
        row.status = "failed"
        writer.finish(row, Content(request_body=b"{}"))
        assert await writer.barrier(30)
        assert read(path, "SELECT unique_id, status, model FROM log") == [("one", "failed", "gpt-4.1")]
        assert len(read(path, "SELECT seq FROM body")) == 1


async def test_without_content_nothing_of_the_conversation_reaches_the_disk(path: Path) -> None:
    async with Writer(path) as writer:
        row = Row("one", error_message=CANARY, variables={"v": CANARY}, response_format={"name": CANARY}, note="kept")
        row.attempts = [{"provider": "openai", "status": 400, "error": CANARY}]
        writer.begin(row)
        assert await writer.barrier(30)
        row.status = "failed"
        writer.finish(row, None)
        assert await writer.barrier(30)
        everything = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert b"kept" in everything
        assert CANARY.encode() not in everything
        assert read(path, "SELECT attempts FROM log") == [('[{"provider":"openai","status":400}]',)]


async def test_a_begun_call_shows_no_content_before_it_is_known_to_be_kept(path: Path) -> None:
    async with Writer(path) as writer:
        writer.begin(Row("one", variables={"v": CANARY}))
        assert await writer.barrier(30)
        assert read(path, "SELECT variables FROM log") == [(None,)]


async def test_closing_writes_what_waits(path: Path) -> None:
    async with Writer(path) as writer:
        for number in range(1000):
            writer.finish(Row(f"call-{number}"), Content(request_body=b"{}"))
    assert ids(path) == [f"call-{number}" for number in range(1000)]
    assert not path.with_name("calls.db-wal").exists()


async def test_a_batch_holds_at_most_256_rows(path: Path) -> None:
    async with Writer(path) as writer:
        for number in range(2 * BATCH_ROWS + 1):
            writer.finish(Row(f"call-{number}"), None)
        assert await writer.barrier(30)
        assert writer.status().batches == 3


async def test_a_barrier_with_nothing_waiting_returns_at_once(path: Path) -> None:
    async with Writer(path) as writer:
        assert await writer.barrier(0)


async def test_database_and_its_new_directory_are_their_owners_alone(path: Path) -> None:
    async with Writer(path) as writer:
        writer.finish(Row("one"), None)
        assert await writer.barrier(30)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


async def test_a_locked_database_is_waited_out_and_said_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Writer(path, busy_timeout_s=0) as writer:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writer.finish(Row("one"), Content(request_body=b"{}"))
        await until(writer, lambda status: status.failures >= 2)
        assert "locked" in str(writer.status().last_error)
        assert not await writer.barrier(0)
        assert writer.status().queued_rows == 1
        other.execute("COMMIT")
        other.close()
        assert await writer.barrier(30)
        assert ids(path) == ["one"]
        assert writer.status().last_error is None
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert str(path) in errors[0].getMessage()


async def test_a_deleted_database_is_made_anew(path: Path) -> None:
    async with Writer(path) as writer:
        writer.finish(Row("before"), None)
        assert await writer.barrier(30)
        for file in path.parent.iterdir():
            file.unlink()
        writer.finish(Row("after"), None)
        assert await writer.barrier(30)
        assert ids(path) == ["after"]


async def test_a_call_that_runs_while_the_database_is_replaced_is_whole_in_the_new_one(path: Path) -> None:
    async with Writer(path) as writer:
        row = Row("one", model="gpt-4.1")
        writer.begin(row)
        assert await writer.barrier(30)
        path.unlink()
        row.status = "success"
        writer.finish(row, None)
        assert await writer.barrier(30)
        assert read(path, "SELECT unique_id, status, model FROM log") == [("one", "success", "gpt-4.1")]


async def test_a_full_disk_is_waited_out(path: Path) -> None:
    async with Writer(path) as writer:
        await writer._database.run(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall())
        writer.finish(Row("one"), Content(request_body=os.urandom(100_000)))
        await until(writer, lambda status: status.last_error is not None)
        assert "full" in str(writer.status().last_error)
        await writer._database.run(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchall())
        assert await writer.barrier(30)
        assert ids(path) == ["one"]


async def test_a_place_that_cannot_be_written_does_not_stop_the_start(tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.write_text("a file where the directory should be")
    async with Writer(place / "calls.db") as writer:
        writer.finish(Row("one"), None)
        await until(writer, lambda status: status.last_error is not None)
        place.unlink()
        assert await writer.barrier(30)
        assert ids(place / "calls.db") == ["one"]


async def test_what_cannot_be_written_by_the_end_is_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "data").write_text("in the way")
    writer = Writer(tmp_path / "data" / "calls.db")
    await writer.start()
    writer.finish(Row("one"), None)
    await writer.close()
    assert writer.status().dropped_rows == 1
    assert "1 calls could not be written" in caplog.text


async def test_a_row_that_sqlite_cannot_hold_is_mended_and_does_not_stop_the_others(path: Path) -> None:
    async with Writer(path) as writer:
        writer.finish(Row("one"), None)
        writer.finish(Row("two", prompt_tokens=1 << 70, completion_tokens=5), None)
        writer.finish(Row("three", model="caf\udce9", metadata={"team": ["\ud800"], "n": 1 << 70}), Content(request_body=b"{}"))
        writer.finish(Row("four"), None)
        assert await writer.barrier(30)
        assert read(path, "SELECT unique_id, prompt_tokens, completion_tokens, model, metadata FROM log ORDER BY seq") == [
            ("one", None, None, None, None),
            ("two", None, 5, None, None),
            ("three", None, None, "caf?", '{"team":["?"],"n":null}'),
            ("four", None, None, None, None),
        ]
        assert read(path, "SELECT count(*) FROM body") == [(1,)]
        assert writer.status().dropped_rows == 0


async def test_a_row_that_cannot_be_mended_is_counted(path: Path) -> None:
    async with Writer(path) as writer:
        writer.finish(Row("one", model=object()), None)  # type: ignore[arg-type]
        writer.finish(Row("two"), None)
        assert await writer.barrier(30)
        assert ids(path) == ["two"]
        assert writer.status().dropped_rows == 1


async def test_when_memory_is_short_content_goes_first_and_rows_last(path: Path) -> None:
    writer = Writer(path, queue_bytes=3 * ROW_BYTES)  # not started: nothing leaves the queue
    writer.finish(Row("one"), Content(request_body=b"x" * ROW_BYTES))
    writer.finish(Row("two"), Content(request_body=b"x" * ROW_BYTES))
    assert (writer.status().queued_rows, writer.status().dropped_bodies, writer.status().dropped_rows) == (2, 1, 0)
    writer.finish(Row("three"), None)
    assert (writer.status().queued_rows, writer.status().dropped_bodies, writer.status().dropped_rows) == (3, 2, 0)
    writer.finish(Row("four"), None)
    assert (writer.status().queued_rows, writer.status().dropped_bodies, writer.status().dropped_rows) == (3, 2, 1)
    assert writer.status().queued_bytes <= 3 * ROW_BYTES
    async with writer:
        assert await writer.barrier(30)
        assert read(path, "SELECT unique_id, bodies_dropped FROM log ORDER BY seq") == [("one", 1), ("two", 1), ("three", None)]
        assert writer.status().queued_bytes == 0


async def test_content_that_is_being_written_takes_no_rows_place(path: Path) -> None:
    async with Writer(path, busy_timeout_s=0, queue_bytes=10 * ROW_BYTES) as writer:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writer.finish(Row("in hand"), Content(request_body=b"x" * 8 * ROW_BYTES))
        await until(writer, lambda status: status.failures >= 1)
        for number in range(9):
            writer.finish(Row(f"call-{number}"), Content(request_body=b"x"))
        assert (writer.status().queued_rows, writer.status().dropped_bodies, writer.status().dropped_rows) == (10, 9, 0)
        other.close()
        assert await writer.barrier(30)
        assert ids(path) == ["in hand", *(f"call-{number}" for number in range(9))]


async def test_a_call_that_is_lost_counts_once_and_the_last_places_are_for_calls_that_end(path: Path) -> None:
    writer = Writer(path, queue_bytes=10 * ROW_BYTES)  # not started: nothing leaves the queue
    for number in range(10):
        writer.begin(Row(f"begun-{number}"))
    assert (writer.status().queued_rows, writer.status().dropped_rows) == (9, 0)
    writer.finish(Row("begun-9", status="success"), None)
    assert (writer.status().queued_rows, writer.status().dropped_rows) == (10, 0)
    late = Row("late")
    writer.begin(late)
    writer.finish(late, None)
    assert (writer.status().queued_rows, writer.status().dropped_rows) == (10, 1)
    for number in range(9):
        writer.finish(Row(f"begun-{number}", status="success"), None)
    async with writer:
        assert await writer.barrier(30)
        assert read(path, "SELECT DISTINCT status, count(*) FROM log") == [("success", 10)]


def test_many_small_chunks_weigh_more_than_their_bytes() -> None:
    chunks = [(0.0, b"x")] * 1000
    assert Content(answer=chunks).size_bytes > sum(sys.getsizeof((at, chunk)) + sys.getsizeof(chunk) for at, chunk in chunks)


async def test_a_broken_database_costs_no_row_and_is_said_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Writer(path) as writer:
        writer.finish(Row("before"), None)
        assert await writer.barrier(30)
        await writer._database.run(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        await writer._database.close()
        page = path.read_bytes()
        path.write_bytes(b"this is not a database " * (len(page) // 23))
        for number in range(3):
            writer.finish(Row(f"call-{number}"), None)
        await until(writer, lambda status: status.failures >= 2)
        assert writer.status().dropped_rows == 0
        for file in path.parent.glob("calls.db*"):
            file.unlink()
        assert await writer.barrier(30)
        assert ids(path) == ["call-0", "call-1", "call-2"]
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1


async def test_old_calls_are_forgotten_while_new_ones_come_without_a_pause(path: Path) -> None:
    seen: list[int] = []

    def clock() -> float:
        seen.append(writer.status().queued_rows)
        return 1_000_000.0

    writer = Writer(path, retention=Retention(max_age_s=60), clock=clock)
    for number in range(4 * BATCH_ROWS):
        writer.finish(Row(f"call-{number}", status="success", timestamp=1.0), None)
    async with writer:
        assert await writer.barrier(30)
        await until(writer, lambda status: status.forgotten == 4 * BATCH_ROWS)
    assert seen[0] > 0


async def test_starting_does_not_wait_for_whoever_holds_the_database(path: Path) -> None:
    async with Writer(path):
        pass
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    async with Writer(path) as writer:  # whose own limit for a lock is five seconds
        assert "locked" in str(writer.status().last_error)
        assert writer._database._busy_timeout_s < 1
        other.close()
        writer.finish(Row("one"), None)
        assert await writer.barrier(30)
        waits = await writer._database.run(lambda connection: connection.execute("PRAGMA busy_timeout").fetchone())
        assert waits == (5000,)


async def test_a_second_proxy_on_the_same_database_is_refused_by_name(path: Path) -> None:
    async with Writer(path):
        second = Writer(path)
        with pytest.raises(ConfigError) as refusal:
            await second.start()
        assert str(path) in str(refusal.value)
        assert f"process {os.getpid()}" in str(refusal.value)
    async with second:
        pass


async def test_a_database_of_a_newer_program_is_refused_by_name(path: Path) -> None:
    async with Writer(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(ConfigError, match="schema version 999"):
        await Writer(path).start()


async def test_calls_that_a_dead_proxy_left_running_read_interrupted(path: Path) -> None:
    async with Writer(path) as writer:
        writer.begin(Row("left"))
        writer.finish(Row("done", status="success"), None)
    async with Writer(path):
        assert read(path, "SELECT unique_id, status FROM log ORDER BY seq") == [("left", "interrupted"), ("done", "success")]


LOAD = """
import asyncio, sys
from pathlib import Path
from respan_proxy.respan.spans import Content, Row
from respan_proxy.store.retention import Retention
from respan_proxy.store.writer import Writer

async def main():
    async with Writer(Path(sys.argv[1])) as writer:
        writer.begin(Row("never-finished"))
        number = 0
        while True:
            for _ in range(50):
                writer.finish(Row(f"call-{number}", status="success"), Content(request_body=b"x" * 2000, answer=b"y" * 2000))
                number += 1
            if await writer.barrier(30):
                print(number, flush=True)

asyncio.run(main())
"""


async def test_kill_9_in_the_middle_of_load_keeps_every_committed_call(path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", LOAD, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    confirmed = [int(child.stdout.readline()) for _ in range(20)][-1]
    child.send_signal(signal.SIGKILL)
    confirmed = max([confirmed, *(int(line) for line in child.stdout.read().split("\n")[:-1])])
    child.stdout.close()
    child.wait()
    async with Writer(path):
        assert read(path, "PRAGMA integrity_check") == [("ok",)]
        finished = set(ids(path)) - {"never-finished"}
        assert {f"call-{number}" for number in range(confirmed)} <= finished
        assert len(finished) <= confirmed + 50
        assert read(path, "SELECT status FROM log WHERE unique_id = 'never-finished'") == [("interrupted",)]
        assert read(path, "SELECT count(*) FROM log LEFT JOIN body USING (seq) WHERE body.seq IS NULL AND unique_id LIKE 'call-%'") == [
            (0,)
        ]
