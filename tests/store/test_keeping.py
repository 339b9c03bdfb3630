"""What is kept for clients is theirs alone, is there as soon as it was put, outlives the process, and is bounded."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from respan_proxy.errors import ProxyError
from respan_proxy.respan.spans import Content, Row
from respan_proxy.store.keeping import BATCH_ENTRIES, ENTRY_BYTES, TOUCH_S, Keeping
from respan_proxy.store.retention import CHUNK_ROWS, Retention, prune
from respan_proxy.store.writer import Writer

NOW = 1_000_000_000.0
DAY_S = 86_400.0
SAID = b'{"said": "' + b"a long sentence " * 100 + b'"}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.db"


def keys(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [key for (key,) in connection.execute("SELECT key FROM kept ORDER BY key").fetchall()]
    finally:
        connection.close()


async def settled(writer: Writer) -> None:
    async with asyncio.timeout(30):
        while writer.keeping.lost or writer.keeping.waits:
            await asyncio.sleep(0)


async def test_a_value_is_there_at_once_and_after_it_was_written(path: Path) -> None:
    async with Writer(path) as writer:
        writer.keeping.put("response", "me", {"a": SAID, "b": b"short"})
        assert await writer.keeping.get("response", "me", ["a", "b", "c"]) == {"a": SAID, "b": b"short"}
        await settled(writer)
        assert keys(path) == ["a", "b"]
        assert await writer.keeping.get("response", "me", ["a", "b", "c"]) == {"a": SAID, "b": b"short"}


async def test_a_value_outlives_the_process(path: Path) -> None:
    async with Writer(path) as writer:
        writer.keeping.put("response", "", {"a": SAID})
    async with Writer(path) as writer:
        assert await writer.keeping.get("response", "", ["a"]) == {"a": SAID}


async def test_a_written_value_outlives_kill_9(path: Path) -> None:
    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom respan_proxy.store.writer import Writer\n"
        "async def main():\n"
        "    async with Writer(Path(sys.argv[1])) as writer:\n"
        "        writer.keeping.put('response', '', {'a': b'said'})\n"
        "        while writer.keeping.lost: await asyncio.sleep(0)\n"
        "        print('written', flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"written\n"
        os.kill(process.pid, signal.SIGKILL)
    async with Writer(path) as writer:
        assert await writer.keeping.get("response", "", ["a"]) == {"a": b"said"}


async def test_kinds_and_owners_do_not_see_each_others_values(path: Path) -> None:
    async with Writer(path) as writer:
        writer.keeping.put("response", "me", {"a": b"mine"})
        writer.keeping.put("response", "you", {"a": b"yours"})
        for _ in range(2):
            assert await writer.keeping.get("response", "me", ["a"]) == {"a": b"mine"}
            assert await writer.keeping.get("response", "you", ["a"]) == {"a": b"yours"}
            assert await writer.keeping.get("response", "", ["a"]) == {}
            assert await writer.keeping.get("call", "me", ["a"]) == {}
            await settled(writer)
        assert await writer.keeping.delete("response", "me", ["a"]) == 1
        assert await writer.keeping.get("response", "you", ["a"]) == {"a": b"yours"}


async def test_a_deleted_value_is_gone_at_once_and_stays_gone(path: Path) -> None:
    async with Writer(path) as writer:
        writer.keeping.put("response", "", {"a": SAID, "b": b"stays", "fresh": b"too"})
        await settled(writer)
        writer.keeping.put("response", "", {"fresh": b"still waiting"})
        assert await writer.keeping.delete("response", "", ["a", "fresh", "never"]) == 2
        assert await writer.keeping.get("response", "", ["a", "b", "fresh"]) == {"b": b"stays"}
        assert await writer.keeping.delete("response", "", ["a"]) == 0
    assert keys(path) == ["b"]


async def test_a_later_value_takes_the_place_of_an_earlier_one(path: Path) -> None:
    async with Writer(path) as writer:
        writer.keeping.put("response", "", {"a": SAID})
        await settled(writer)
        writer.keeping.put("response", "", {"a": b"first"})
        writer.keeping.put("response", "", {"a": b"second"})
        assert await writer.keeping.get("response", "", ["a"]) == {"a": b"second"}
        await settled(writer)
        assert await writer.keeping.get("response", "", ["a"]) == {"a": b"second"}


async def test_values_and_rows_go_in_one_transaction(path: Path) -> None:
    async with Writer(path) as writer:
        writer.finish(Row("one", status="success"), Content(request_body=b"{}"))
        writer.keeping.put("response", "", {"a": SAID})
        await settled(writer)
        assert (writer.status().batches, writer.status().written_rows) == (1, 1)


async def test_many_values_are_written_in_groups(path: Path) -> None:
    async with Writer(path) as writer:
        writer.keeping.put("call", "", {str(number): b"x" for number in range(2 * BATCH_ENTRIES + 1)})
        await settled(writer)
        assert writer.status().batches == 3
        assert len(keys(path)) == 2 * BATCH_ENTRIES + 1


async def test_a_row_that_cannot_be_stored_takes_no_value_with_it(path: Path) -> None:
    async with Writer(path) as writer:
        writer.finish(Row("bad", status="success", prompt_tokens=1 << 80), None)
        writer.finish(Row("good", status="success"), None)
        writer.keeping.put("response", "", {"a": SAID})
        await settled(writer)
    assert keys(path) == ["a"]


async def test_any_key_can_be_kept(path: Path) -> None:
    async with Writer(path) as writer:
        odd = {"": b"1", "\ud800": b"2", "a\x00b": b"3", "schlüssel": b"4"}
        writer.keeping.put("call", "", odd)
        await settled(writer)
        assert await writer.keeping.get("call", "", list(odd)) == odd


async def test_a_locked_database_keeps_nobody_from_reading_what_was_just_put(path: Path) -> None:
    async with Writer(path, busy_timeout_s=0.01) as writer:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        writer.keeping.put("response", "", {"a": SAID})
        async with asyncio.timeout(30):
            while not writer.status().failures:
                await asyncio.sleep(0)
        assert await writer.keeping.get("response", "", ["a"]) == {"a": SAID}
        other.execute("ROLLBACK")
        other.close()
        await settled(writer)
        assert keys(path) == ["a"]


async def test_a_database_that_is_away_is_told_and_no_value_is_made_out_to_be_missing(tmp_path: Path) -> None:
    keeping = Keeping(tmp_path / "nowhere" / "calls.db", lambda: None)
    keeping.put("response", "", {"a": SAID})
    assert await keeping.get("response", "", ["a"]) == {"a": SAID}
    with pytest.raises(ProxyError) as caught:
        await keeping.get("response", "", ["b"])
    assert caught.value.status == 503
    await keeping.close()


async def test_what_waits_is_bounded_and_the_oldest_goes(path: Path) -> None:
    keeping = Keeping(path, lambda: None, memory_bytes=3 * (ENTRY_BYTES + 100))
    for key in "abcd":
        keeping.put("response", "", {key: bytes(99)})
    keeping.put("response", "", {"too large": bytes(10_000)})
    assert (keeping.dropped, keeping.lost) == (2, 3)
    assert set(await keeping.get("response", "", "bcd")) == {"b", "c", "d"}


async def test_what_may_not_reach_the_disk_is_readable_and_does_not(path: Path) -> None:
    async with Writer(path) as writer:
        writer.keeping.put("response", "", {"a": b"the canary sings"}, on_disk=False)
        writer.keeping.put("response", "", {"b": b"the cat sings"})
        assert await writer.keeping.get("response", "", ["a"]) == {"a": b"the canary sings"}
        await settled(writer)
        everything = b"".join(file.read_bytes() for file in path.parent.iterdir())
        assert b"the cat sings" in everything
        assert b"the canary sings" not in everything
        assert await writer.keeping.delete("response", "", ["a"]) == 1
        assert await writer.keeping.get("response", "", ["a"]) == {}


async def test_what_may_not_reach_the_disk_is_forgotten_by_age_too(path: Path) -> None:
    now = NOW
    async with Writer(path, clock=lambda: now, retention=Retention(kept_max_age_s=DAY_S)) as writer:
        writer.keeping.put("response", "", {"a": SAID}, on_disk=False)
        now += 2 * DAY_S
        assert await writer.keeping.get("response", "", ["a"]) == {}


async def test_a_value_that_is_used_lives_on(path: Path) -> None:
    now = NOW
    async with Writer(path, clock=lambda: now, retention=Retention(kept_max_age_s=DAY_S)) as writer:
        writer.keeping.put("response", "", {"used": SAID, "forgotten": SAID})
        await settled(writer)
        now += TOUCH_S + 1
        await writer.keeping.get("response", "", ["used"])
        await settled(writer)
    connection = sqlite3.connect(path, isolation_level=None)
    prune(connection, Retention(kept_max_age_s=DAY_S), NOW + DAY_S + 1)
    connection.close()
    assert keys(path) == ["used"]


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    asyncio.run(opened(path))
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


async def opened(path: Path) -> None:
    async with Writer(path):
        pass


def add(connection: sqlite3.Connection, key: str, *, age_s: float, octets: int = 100) -> None:
    at = NOW - age_s
    connection.execute("INSERT INTO kept VALUES ('response', '', ?, ?, ?, ?, '', ?)", (key, at, at, octets, bytes(octets)))


def test_values_beyond_the_age_go_in_chunks(connection: sqlite3.Connection, path: Path) -> None:
    for number in range(CHUNK_ROWS + 1):
        add(connection, f"old{number}", age_s=31 * DAY_S)
    add(connection, "young", age_s=29 * DAY_S)
    limits = Retention(kept_max_age_s=30 * DAY_S)
    assert [prune(connection, limits, NOW) for _ in range(3)] == [CHUNK_ROWS, 1, 0]
    assert keys(path) == ["young"]


def test_beyond_the_size_what_was_not_used_for_longest_goes(connection: sqlite3.Connection, path: Path) -> None:
    for number in range(5):
        add(connection, str(number), age_s=number, octets=1000)
    assert [prune(connection, Retention(kept_max_bytes=2500), NOW) for _ in range(2)] == [3, 0]
    assert keys(path) == ["0", "1"]


def test_values_cost_no_row_its_place(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO log (unique_id, status, timestamp) VALUES ('one', 'success', ?)", (NOW,))
    add(connection, "large", age_s=0, octets=1_000_000)
    assert prune(connection, Retention(max_bytes=500_000), NOW) == 0
    assert connection.execute("SELECT count(*) FROM log").fetchone() == (1,)
