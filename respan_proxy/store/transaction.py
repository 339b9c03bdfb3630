"""One transaction of the writer's: rows, their content and what is kept for clients, in the connection's thread."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from respan_proxy.respan.spans import COLUMNS, Content, Row, Shape, bind, storable
from respan_proxy.store import keeping
from respan_proxy.store.bodies import ENCODING, Packer
from respan_proxy.store.keeping import NOTHING, Taken

T = TypeVar("T")

log = logging.getLogger(__name__)

OF_A_ROW = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.ProgrammingError)
"""What SQLite says of a row, not of the database."""

_BODY = "INSERT OR REPLACE INTO body (seq, enc, data) SELECT seq, ?, ? FROM log WHERE unique_id = ?"


@dataclass(slots=True)
class Item:
    """A row on its way: `number` grows in the order of hand-over, so that a barrier knows what to wait for. `due_at`: loop time."""

    number: int
    row: Row
    content: Content | None
    bytes: int
    due_at: float


Link = Callable[[sqlite3.Connection, Mapping[str, Row], Mapping[str, Mapping[str, Any]]], None]
"""Links spans to rows that were just written, within their transaction: the rows by id, and what each of them said by column."""


def write(
    batch: Sequence[Item], kept: Taken, packer: Packer, link: Link | None, connection: sqlite3.Connection, *, mended: bool = False
) -> int:
    """One transaction. A row that SQLite cannot hold is mended and must not stop the others. Returns how many were not to be mended."""
    try:
        _write(batch, kept, packer, link, connection)
    except Exception as error:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, OF_A_ROW):
            raise  # the database is away, full or broken: whatever row came next would fare no better
        if kept:
            _write((), kept, packer, None, connection)
        if len(batch) > 1:
            return sum(write([item], NOTHING, packer, link, connection) for item in batch)
        if not mended:
            storable(batch[0].row)
            return write(batch, NOTHING, packer, link, connection, mended=True)
        log.error("call %s cannot be stored: %s: %s", batch[0].row.unique_id, type(error).__name__, error)
        return 1
    return 0


def _write(batch: Sequence[Item], kept: Taken, packer: Packer, link: Link | None, connection: sqlite3.Connection) -> None:
    # Compression before BEGIN: readers and checkpoints are held up by the shortest possible transaction.
    values = keeping.packed(kept)
    bodies = []
    for item in batch:
        if item.content is not None:
            data, cut = packer.pack(item.content)
            item.row.content_cut = cut or None
            bodies.append((ENCODING, data, item.row.unique_id))
    rows: dict[Shape, list[list[Any]]] = {}
    for item in batch:
        shape, bound = bind(item.row, content=item.content is not None)
        rows.setdefault(shape, []).append(bound)

    def work(connection: sqlite3.Connection) -> None:
        for shape, group in rows.items():
            connection.executemany(upsert(shape), group)
        connection.executemany(_BODY, bodies)
        if kept:
            keeping.write(connection, kept, values)
        if link is not None and batch:
            _link(batch, rows, link, connection)

    transaction(connection, work)


def transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """`work` done whole, or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return done


def _link(batch: Sequence[Item], rows: Mapping[Shape, list[list[Any]]], link: Link, connection: sqlite3.Connection) -> None:
    said: dict[str, dict[str, Any]] = {}
    for shape, group in rows.items():
        names = [COLUMNS[index].name for index in shape]
        for bound in group:
            columns = dict(zip(names, bound, strict=True))
            said[columns["unique_id"]] = columns
    link(connection, {item.row.unique_id: item.row for item in batch}, said)


@lru_cache(maxsize=1024)
def upsert(shape: Shape) -> str:
    """Writes the columns of `shape`; on a row that is there already, the other columns keep what they have."""
    names = [COLUMNS[index].name for index in shape]
    renewed = ", ".join(f"{name} = excluded.{name}" for name in names)
    return f"INSERT INTO log ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) ON CONFLICT (unique_id) DO UPDATE SET {renewed}"
