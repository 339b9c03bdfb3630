"""What a client cannot carry from call to call, kept for it: small named values, bounded in age and size, each its owner's alone.

Values are handed over without waiting and written by the one writer, in the transactions of its rows. Until then they are found in
memory, so that a value can be read as soon as it was put, also while the database is locked or away.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from respan_proxy.store.database import Database

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# What waits for the disk and what may not reach it, together: as much as rows may take that wait (`store.queue_bytes`).
MEMORY_BYTES = 64 * 1024 * 1024
BATCH_BYTES = 8 * 1024 * 1024
BATCH_ENTRIES = 256
# An entry beside its value: the key twice (the table and its index), the columns, the Python objects while it waits.
ENTRY_BYTES = 200
# Below it a zstd frame saves nothing: signatures are a few hundred bytes of noise.
PACKED_FROM_BYTES = 512
LEVEL = 3
# An entry that is read lives on; noting that at every reading would be a write per call.
TOUCH_S = 3600.0
READ_TIMEOUT_S = 1.0

_PUT = (
    "INSERT INTO kept (kind, owner, key, created_at, used_at, bytes, enc, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (kind, owner, key) DO UPDATE SET"
    " used_at = excluded.used_at, bytes = excluded.bytes, enc = excluded.enc, data = excluded.data"
)
_DELETE = "DELETE FROM kept WHERE kind = ? AND owner = ? AND key = ?"
_TOUCH = "UPDATE kept SET used_at = ? WHERE kind = ? AND owner = ? AND key = ?"
_GET = "SELECT enc, data, used_at FROM kept WHERE kind = ? AND owner = ? AND key = ?"

_Name = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Taken:
    """What one transaction is to write: values (None: to be forgotten) with the time they were put, and the times of what was read."""

    entries: Mapping[_Name, tuple[bytes | None, float]]
    touched: Mapping[_Name, float]

    def __bool__(self) -> bool:
        return bool(self.entries or self.touched)


NOTHING = Taken({}, {})


class Keeping:
    """Values by kind, owner and key. `owner` is the caller's key id or "": nobody reads what is another's.

    Belongs to the event loop's thread, and to the writer, which calls `take` and `written`. `wake` tells it that something is
    about to wait.
    """

    def __init__(self, path: Path, wake: Callable[[], None], *, memory_bytes: int = MEMORY_BYTES) -> None:
        self.max_age_s: float | None = None
        self.clock: Callable[[], float] = time.time
        self._wake = wake
        self._limit_bytes = memory_bytes
        self._database = Database(path, read_only=True, busy_timeout_s=READ_TIMEOUT_S)
        self._waiting: dict[_Name, tuple[bytes | None, float]] = {}
        self._writing: dict[_Name, tuple[bytes | None, float]] = {}
        self._memory: dict[_Name, tuple[bytes, float]] = {}
        self._touched: dict[_Name, float] = {}
        self._bytes = 0
        self.dropped = 0
        """Values that never reached the disk because it was away for too long, or that memory had no room for."""

    def put(self, kind: str, owner: str, entries: Mapping[str, bytes], *, on_disk: bool = True) -> None:
        """Keep `entries` by their keys, in place of what is there. With `on_disk` False they end with this process.

        Beyond the bound of memory the oldest go, and are counted in `dropped`.
        """
        now = self.clock()
        for key, data in entries.items():
            name = (kind, owner, _storable(key))
            if on_disk:
                self._forget(self._memory, name)
                self._wait(name, data)
            else:
                self._forget(self._memory, name)
                if self._makes_room(_size(name, data)):
                    self._memory[name] = (data, now)

    async def get(self, kind: str, owner: str, keys: Collection[str]) -> Mapping[str, bytes]:
        """What is kept under `keys`; what is not there is left out. ProxyError 503 when the database cannot be read."""
        found: dict[str, bytes] = {}
        unseen: dict[str, _Name] = {}
        for key in keys:
            name = (kind, owner, _storable(key))
            if (held := self._held(name)) is None:
                unseen[key] = name
            elif held[0] is not None:
                found[key] = held[0]
        if unseen:
            now = self.clock()
            read = await self._database.read(partial(_read, names=list(unseen.values())))
            for key, name in unseen.items():
                if (row := read.get(name)) is not None:
                    found[key], used_at = row
                    if used_at < now - TOUCH_S:
                        self._wake()
                        self._touched[name] = now
        return found

    async def delete(self, kind: str, owner: str, keys: Collection[str]) -> int:
        """Forget what is kept under `keys`; how many of them there were. ProxyError 503 when the database cannot be read."""
        found = await self.get(kind, owner, keys)
        for key in found:
            name = (kind, owner, _storable(key))
            self._touched.pop(name, None)
            if not self._forget(self._memory, name):
                self._wait(name, None)
        return len(found)

    async def close(self) -> None:
        await self._database.close()

    # For the writer.

    @property
    def waits(self) -> bool:
        return bool(self._waiting or self._touched)

    @property
    def lost(self) -> int:
        """How many values are not on the disk, of those that should be."""
        return len(self._waiting) + len(self._writing)

    def take(self) -> Taken:
        """The next entries to write: the oldest, up to 256 or 8 MB. They stay readable until `written`."""
        size = 0
        for name, entry in self._waiting.items():
            size += _size(name, entry[0])
            if self._writing and (size > BATCH_BYTES or len(self._writing) >= BATCH_ENTRIES):
                break
            self._writing[name] = entry
        for name in self._writing:
            del self._waiting[name]
        touched, self._touched = self._touched, {}
        return Taken(self._writing, touched)

    def written(self) -> None:
        for name, (data, _) in self._writing.items():
            self._bytes -= _size(name, data)
        self._writing = {}

    def _held(self, name: _Name) -> tuple[bytes | None, float] | None:
        """A value in memory, with (None, ...) for one that was forgotten; None when only the database may know."""
        if (entry := self._memory.pop(name, None)) is not None:
            data, at = entry
            if self.max_age_s and at < self.clock() - self.max_age_s:
                self._bytes -= _size(name, data)
                return None
            self._memory[name] = (data, self.clock())
            return entry
        return self._waiting.get(name) or self._writing.get(name)

    def _wait(self, name: _Name, data: bytes | None) -> None:
        self._forget(self._waiting, name)
        if self._makes_room(_size(name, data)):
            self._wake()
            self._waiting[name] = (data, self.clock())

    def _forget(self, place: dict[_Name, tuple[bytes, float]] | dict[_Name, tuple[bytes | None, float]], name: _Name) -> bool:
        entry = place.pop(name, None)
        if entry is not None:
            self._bytes -= _size(name, entry[0])
        return entry is not None

    def _makes_room(self, size: int) -> bool:
        """Whether `size` bytes fit. What may not reach the disk goes first, then what waited longest for it."""
        if size > self._limit_bytes:
            self.dropped += 1
            return False
        for place in (self._memory, self._waiting):
            while self._bytes + size > self._limit_bytes and place:
                self._forget(place, next(iter(place)))
                self.dropped += 1
        if self._bytes + size > self._limit_bytes:
            self.dropped += 1
            return False
        self._bytes += size
        return True


# In the connections' threads.


def packed(taken: Taken) -> list[tuple[object, ...]]:
    """The rows of the table `kept`, compressed: outside the transaction, which is to be short."""
    rows: list[tuple[object, ...]] = []
    for name, (data, at) in taken.entries.items():
        if data is not None:
            is_packed = len(data) >= PACKED_FROM_BYTES
            kept = zstd.compress(data, LEVEL) if is_packed else data
            rows.append((*name, at, at, _size(name, kept), "zstd" if is_packed else "", kept))
    return rows


def write(connection: sqlite3.Connection, taken: Taken, rows: list[tuple[object, ...]]) -> None:
    """Write `rows` and what else was taken; the caller's transaction."""
    connection.executemany(_PUT, rows)
    connection.executemany(_DELETE, [name for name, (data, _) in taken.entries.items() if data is None])
    connection.executemany(_TOUCH, [(at, *name) for name, at in taken.touched.items()])


def _read(connection: sqlite3.Connection, names: list[_Name]) -> dict[_Name, tuple[bytes, float]]:
    found: dict[_Name, tuple[bytes, float]] = {}
    for name in names:
        if (row := connection.execute(_GET, name).fetchone()) is not None:
            encoding, data, used_at = row
            found[name] = (zstd.decompress(data) if encoding == "zstd" else bytes(data), used_at)
    return found


def _size(name: _Name, data: bytes | None) -> int:
    return ENTRY_BYTES + len(name[2]) + len(data or b"")


def _storable(key: str) -> str:
    """Keys come from outside: half a surrogate pair is no text to SQLite."""
    return key if key.isascii() else key.encode("utf-8", "replace").decode()
