"""The shape of the database: numbered migrations, and the columns of `log` that follow `Row`.

`PRAGMA user_version` is the number of migrations applied. A new column of `Row` is added to an existing table by itself (an older
program does not mind it); what an older program would misread is a migration.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from respan_proxy.errors import ConfigError
from respan_proxy.respan.spans import COLUMNS


def m001_log_and_body(connection: sqlite3.Connection) -> None:
    """One row per call, its content in a table of its own (filters and sums are 15 to 45 % faster that way when cold, measured)."""
    columns = ", ".join(column.sql for column in COLUMNS if column.name != "unique_id")
    connection.execute(f"CREATE TABLE log (seq INTEGER PRIMARY KEY, unique_id TEXT NOT NULL UNIQUE, {columns})")
    connection.execute("CREATE TABLE body (seq INTEGER PRIMARY KEY, enc TEXT NOT NULL, data BLOB NOT NULL)")
    connection.execute("CREATE INDEX log_timestamp ON log (timestamp)")
    connection.execute("CREATE INDEX log_trace ON log (trace_unique_id) WHERE trace_unique_id IS NOT NULL")
    connection.execute("CREATE INDEX log_thread ON log (thread_identifier) WHERE thread_identifier IS NOT NULL")
    connection.execute("CREATE INDEX log_customer ON log (customer_identifier) WHERE customer_identifier IS NOT NULL")
    connection.execute("CREATE INDEX log_running ON log (status) WHERE status = 'running'")


def m002_kept(connection: sqlite3.Connection) -> None:
    """What a client cannot carry from call to call. The second index is what forgetting walks: the oldest first, and their bytes."""
    connection.execute(
        "CREATE TABLE kept (kind TEXT NOT NULL, owner TEXT NOT NULL, key TEXT NOT NULL, created_at REAL NOT NULL, used_at REAL NOT NULL,"
        " bytes INTEGER NOT NULL, enc TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (kind, owner, key))"
    )
    connection.execute("CREATE INDEX kept_used ON kept (used_at, bytes)")


def m003_span(connection: sqlite3.Connection) -> None:
    """Every span that was exported to us, whole, beside the row that tells of it (`unique_id`).

    `role` is `row` (a row of its own, whose id is `own_id`), `call` (the gateway's call is this span: it has its place in the trace) or
    `beside` (another telling of the same call). `facts` are the columns that the span itself knows, as JSON; `linked.own` are those that
    a call knew before spans were linked to it, so that whatever comes in whatever order ends in the same row. The ids beside them are
    what spans are found by. `data` stands last: who looks for a span does not read past it.
    """
    connection.execute(
        "CREATE TABLE span (seq INTEGER PRIMARY KEY, own_id TEXT NOT NULL UNIQUE, unique_id TEXT NOT NULL, role TEXT NOT NULL,"
        " trace_id TEXT NOT NULL, span_id TEXT NOT NULL, parent_id TEXT, key_id TEXT, scope TEXT, log_id TEXT, response_id TEXT,"
        " native INTEGER, likeness TEXT, ended_at REAL, facts TEXT NOT NULL, enc TEXT, data BLOB)"
    )
    connection.execute("CREATE INDEX span_ids ON span (trace_id, span_id)")
    connection.execute("CREATE INDEX span_unique ON span (unique_id)")
    connection.execute("CREATE INDEX span_log ON span (log_id) WHERE log_id IS NOT NULL")
    connection.execute("CREATE INDEX span_response ON span (response_id) WHERE response_id IS NOT NULL")
    connection.execute("CREATE INDEX span_native ON span (span_id) WHERE native")
    connection.execute("CREATE INDEX span_likeness ON span (likeness, ended_at) WHERE likeness IS NOT NULL")
    connection.execute("CREATE INDEX span_double ON span (likeness, ended_at) WHERE likeness IS NOT NULL AND (native OR parent_id IS NULL)")
    connection.execute("CREATE INDEX span_content ON span (ended_at) WHERE enc IS NOT NULL")
    connection.execute(
        "CREATE TABLE linked (unique_id TEXT PRIMARY KEY, own TEXT NOT NULL, trace_id TEXT, span_id TEXT, parent_id TEXT) WITHOUT ROWID"
    )
    connection.execute("CREATE INDEX linked_trace ON linked (trace_id)")


def m004_shared(connection: sqlite3.Connection) -> None:
    """Traces that anybody may read, and whose lines of them: those of the key that said so (`''`: all)."""
    connection.execute("CREATE TABLE shared (trace_id TEXT NOT NULL, key_id TEXT NOT NULL, PRIMARY KEY (trace_id, key_id)) WITHOUT ROWID")


TIED = "(role = 'call' OR role = 'beside' AND log_id IS NOT unique_id)"
"""Of the spans with one `unique_id`, those that may be something else tomorrow; the others name it."""


BEGAN = "coalesce(nullif(json_extract(facts, '$.start_time'), 0), ended_at)"
"""When a span began."""


def m005_near(connection: sqlite3.Connection) -> None:
    """Whatever is alike is looked up by the key and by the time, a few at once, however much of it there is.

    An answer's id may be every answer's (`chatcmpl-123` of a test), and one call may be named by every span that comes.
    """
    for name in ("span_unique", "span_log", "span_response", "span_native", "linked_trace", "log_response", "log_usage"):
        connection.execute(f"DROP INDEX IF EXISTS {name}")
    connection.execute("CREATE INDEX span_unique ON span (unique_id, role)")
    connection.execute(f"CREATE INDEX span_tied ON span (unique_id) WHERE {TIED}")
    connection.execute("CREATE INDEX span_named ON span (log_id, key_id, parent_id IS NULL, ended_at, own_id) WHERE log_id IS NOT NULL")
    for name, columns in (("span_answer", "response_id, key_id"), ("span_alike", "likeness")):
        mine = f"{columns.partition(',')[0]} IS NOT NULL AND log_id IS NULL"
        connection.execute(f"CREATE INDEX {name} ON span ({columns}, {BEGAN}, ended_at) WHERE {mine}")
    connection.execute("CREATE INDEX linked_place ON linked (trace_id, parent_id)")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (m001_log_and_body, m002_kept, m003_span, m004_shared, m005_near)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the database to this program's shape in one transaction; `ConfigError` when a newer program wrote it."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise ConfigError(
            [
                f"{path}: the database has schema version {version}, this program knows up to {len(MIGRATIONS)}: "
                "update respan-proxy, or choose another file with --database FILE"
            ]
        )
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
            migration(connection)
            connection.execute(f"PRAGMA user_version = {number}")
        present = {name for _, name, *_ in connection.execute("PRAGMA table_info(log)")}
        for column in COLUMNS:
            if column.name not in present:
                connection.execute(f"ALTER TABLE log ADD COLUMN {column.sql}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
