"""One connection to the database file that does a whole piece of work per hop into its thread, and notices when the file is replaced."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import aiosqlite

from respan_proxy.errors import ProxyError

T = TypeVar("T")

BUSY_TIMEOUT_S = 5.0
# One statement for each set of columns that comes together; compiling one costs 50 us.
CACHED_STATEMENTS = 256


class Replaced(Exception):
    """The file at the path is not the one that was opened: deleted, or moved and made anew."""


class _Connection(sqlite3.Connection):
    """aiosqlite has no call for "run this in your thread". A `commit` that does the work set beforehand is one, by its public face."""

    path: Path
    identity: tuple[int, int] | None = None
    trouble: Exception | None = None
    work: Callable[[sqlite3.Connection], Any] | None = None
    result: Any = None

    def commit(self) -> None:
        if self.identity is not None and _identity(self.path) != self.identity:
            raise Replaced(str(self.path))
        work, self.work = self.work, None
        if work is not None:
            self.result = work(self)


class Database:
    """A file opened when first needed, closed by `close`, opened again when it was replaced. One piece of work at a time.

    `prepare` runs once per opening, in the connection's thread. Read-only readers never create the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        prepare: Callable[[sqlite3.Connection], None] | None = None,
        read_only: bool = False,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self.path = path
        self._prepare = prepare
        self._read_only = read_only
        self._busy_timeout_s = busy_timeout_s
        self._connection: aiosqlite.Connection | None = None
        self._inner: _Connection | None = None
        self._one_at_a_time = asyncio.Lock()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work(connection)` in the connection's thread. Raises what it raises, `sqlite3.Error` or `OSError`."""
        async with self._one_at_a_time:
            if self._inner is not None:
                try:
                    return await self._hop(work)
                except Replaced:
                    await self.close()
            await self._open()
            return await self._hop(work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """As `run`, for readers. `ProxyError` 503 when the database cannot be read."""
        try:
            return await self.run(work)
        except (sqlite3.Error, OSError, Replaced) as error:
            # Looking for the file now would tell of another moment: the writer may have made it anew.
            is_closed = getattr(error, "sqlite_errorname", "") == "SQLITE_CANTOPEN" or isinstance(error, FileNotFoundError | Replaced)
            why = "there is no such file yet, or it may not be opened" if is_closed else str(error)
            raise ProxyError(f"the database {self.path} cannot be read: {why}", status=503) from error

    async def close(self) -> None:
        # aiosqlite's worker is not a daemon: a connection left open keeps the process from ending.
        connection, self._connection, self._inner = self._connection, None, None
        if connection is not None:
            await _to_the_end(connection.close())

    async def _hop(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection, inner = self._connection, self._inner  # `close` may come meanwhile, and waits for this
        assert connection is not None
        assert inner is not None
        inner.work = work
        await connection.commit()
        result, inner.result = inner.result, None
        return cast(T, result)

    async def _open(self) -> None:
        name = self.path.absolute().as_uri() + "?mode=ro" if self._read_only else str(self.path)
        opened: list[_Connection] = []

        def factory(name: str, *arguments: Any, **named: Any) -> _Connection:
            # An opening that fails leaves aiosqlite's worker talking to a loop that may have closed by then: it must not fail.
            try:
                if not self._read_only:
                    _create(self.path)
                connection = _Connection(name, *arguments, **named)
            except (sqlite3.Error, OSError) as error:
                connection = _Connection(":memory:", *arguments, **named)
                connection.trouble = error
            connection.path = self.path
            opened.append(connection)
            return connection

        connection = aiosqlite.connect(
            name,
            factory=factory,
            uri=self._read_only,
            isolation_level=None,
            timeout=self._busy_timeout_s,
            cached_statements=CACHED_STATEMENTS,
        )
        try:
            await _to_the_end(connection)
        except asyncio.CancelledError:
            await _to_the_end(connection.close())
            raise
        self._connection = connection
        self._inner = opened[0]
        try:
            if self._inner.trouble is not None:
                raise self._inner.trouble
            await self._hop(self._made_ready)
        except BaseException:
            await self.close()
            raise

    def _made_ready(self, connection: sqlite3.Connection) -> None:
        assert isinstance(connection, _Connection)
        if self._prepare is not None:
            self._prepare(connection)
        connection.identity = _identity(self.path)


async def _to_the_end(going: Awaitable[object]) -> None:
    """Wait for it, also when cancelled meanwhile: aiosqlite's worker goes on in any case, and would tell a loop that is closed by then."""
    task = asyncio.ensure_future(going)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _create(path: Path) -> None:
    """Prompts are private: the file is its owner's alone from its first moment, and so is a directory made for it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino
