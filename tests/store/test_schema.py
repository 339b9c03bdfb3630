"""A database of an older program is brought up to date, and nothing in it is lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from respan_proxy.respan.spans import COLUMNS
from respan_proxy.store.schema import MIGRATIONS, migrate


@pytest.fixture
def connection() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


def columns(connection: sqlite3.Connection) -> set[str]:
    return {name for _, name, *_ in connection.execute("PRAGMA table_info(log)")}


def test_a_new_database_has_every_column_and_the_newest_version(connection: sqlite3.Connection) -> None:
    migrate(connection, Path("x.db"))
    assert columns(connection) == {"seq", *(column.name for column in COLUMNS)}
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    connection.close()


def test_a_column_that_is_new_is_added_and_rows_stay(connection: sqlite3.Connection) -> None:
    migrate(connection, Path("x.db"))
    connection.execute("INSERT INTO log (unique_id, model, status) VALUES ('one', 'gpt-4.1', 'success')")
    connection.execute("ALTER TABLE log DROP COLUMN reasoning_tokens")
    migrate(connection, Path("x.db"))
    assert connection.execute("SELECT unique_id, model, reasoning_tokens FROM log").fetchall() == [("one", "gpt-4.1", None)]
    connection.close()


def test_a_migration_that_fails_leaves_the_database_as_it_was(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        raise RuntimeError("halfway")

    migrate(connection, Path("x.db"))
    monkeypatch.setattr("respan_proxy.store.schema.MIGRATIONS", (*MIGRATIONS, broken))
    with pytest.raises(RuntimeError):
        migrate(connection, Path("x.db"))
    assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'half'").fetchall() == []
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    connection.close()


def test_a_database_from_before_there_were_spans_keeps_its_calls_and_takes_spans(connection: sqlite3.Connection) -> None:
    for migration in MIGRATIONS[:2]:
        migration(connection)
    connection.execute("PRAGMA user_version = 2")
    connection.execute("ALTER TABLE log DROP COLUMN environment_tag")
    connection.execute("INSERT INTO log (unique_id, model, status) VALUES ('one', 'gpt-4.1', 'success')")
    migrate(connection, Path("x.db"))
    assert connection.execute("SELECT unique_id, model, environment_tag FROM log").fetchall() == [("one", "gpt-4.1", None)]
    assert connection.execute("SELECT count(*) FROM span JOIN linked USING (unique_id)").fetchone() == (0,)
    connection.close()
