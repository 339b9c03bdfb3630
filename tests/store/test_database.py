"""One connection that is opened when needed and leaves nothing behind, whenever its user goes."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from respan_proxy.errors import ProxyError
from respan_proxy.store.database import Database


def test_who_is_cancelled_while_it_opens_leaves_no_worker_talking_to_a_closed_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opens, goes_on = threading.Event(), threading.Event()
    lost: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", lost.append)

    def slowly(path: Path) -> None:
        opens.set()
        goes_on.wait(5)

    monkeypatch.setattr("respan_proxy.store.database._create", slowly)

    async def cancelled() -> None:
        database = Database(tmp_path / "calls.db")
        using = asyncio.create_task(database.run(lambda connection: connection.execute("SELECT 1").fetchone()))
        await asyncio.to_thread(opens.wait, 5)
        using.cancel()
        asyncio.get_running_loop().call_later(0.05, goes_on.set)  # a loop that does not wait for the opening is closed by then
        with pytest.raises(asyncio.CancelledError):
            await using

    before = set(threading.enumerate())
    asyncio.run(cancelled())
    goes_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert not lost
    assert not [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]


def test_who_is_cancelled_while_it_closes_leaves_no_worker_talking_to_a_closed_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closes, goes_on = threading.Event(), threading.Event()
    lost: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", lost.append)
    before = set(threading.enumerate())

    def slowly(_: sqlite3.Connection) -> None:
        closes.set()
        goes_on.wait(5)

    async def cancelled() -> None:
        database = Database(tmp_path / "calls.db")
        await database.run(lambda _: None)
        working = asyncio.create_task(database.run(slowly))
        await asyncio.to_thread(closes.wait, 5)
        closing = asyncio.create_task(database.close())
        await asyncio.sleep(0)
        closing.cancel()
        asyncio.get_running_loop().call_later(0.05, goes_on.set)
        with pytest.raises(asyncio.CancelledError):
            await closing
        await working

    asyncio.run(cancelled())
    goes_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert not lost


async def test_an_opening_that_fails_is_told_and_tried_again(tmp_path: Path) -> None:
    database = Database(tmp_path / "none" / "calls.db", read_only=True)
    for _ in range(2):
        with pytest.raises((sqlite3.Error, OSError)):
            await database.run(lambda _: None)
    await database.close()


async def test_a_file_replaced_again_and_again_while_a_reader_opens_it_is_told_as_one_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_files = iter(range(100))
    monkeypatch.setattr("respan_proxy.store.database._identity", lambda path: (1, next(other_files)))
    (tmp_path / "calls.db").touch()
    reader = Database(tmp_path / "calls.db", read_only=True)
    try:
        with pytest.raises(ProxyError) as told:
            await reader.read(lambda connection: connection.execute("SELECT 1").fetchone())
    finally:
        await reader.close()
    assert told.value.status == 503
    assert "no such file" in str(told.value)
