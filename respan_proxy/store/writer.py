"""The one writer: rows are handed over without waiting, and written in groups, one transaction and one thread hop each.

Why groups: at 1,500 calls a second, writing each at once cost 233 us a call, waiting 10 ms for company 106 us (measured). A call that
only begins waits 100 ms, so that a short one is written once; whoever reads ends either wait. What a kill -9 can take is the
transaction in flight and those waits; a proper stop takes nothing.

When the database is away (locked, full, deleted, on a disk that went) rows wait in memory within a bound, nobody else waits, the
trouble is said once, and writing is tried again. Beyond the bound content is dropped first, then rows; both are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sqlite3
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from respan_proxy.errors import ConfigError, ProxyError
from respan_proxy.respan.spans import Content, Row
from respan_proxy.store.barriers import Barriers
from respan_proxy.store.bodies import BODY_BYTES, Packer
from respan_proxy.store.database import BUSY_TIMEOUT_S, Database, Replaced
from respan_proxy.store.ingest import Ingest, KeptContent, Waiting
from respan_proxy.store.keeping import NOTHING, Keeping
from respan_proxy.store.linking import link_rows
from respan_proxy.store.lock import Lock
from respan_proxy.store.outage import BACKOFF_S, Outage
from respan_proxy.store.pruning import Pruning
from respan_proxy.store.queue import Queue
from respan_proxy.store.retention import Retention, forget
from respan_proxy.store.schema import migrate
from respan_proxy.store.transaction import transaction, write
from respan_proxy.telemetry.spans import Told

T = TypeVar("T")

log = logging.getLogger(__name__)

Durability = Literal["normal", "full"]

QUEUE_BYTES = 64 * 1024 * 1024
COMPANY_S = 0.010
# A call that begins has little to tell yet. Embeddings, hits and refusals are over within this, most calls of a model are not.
BEGINNING_S = 0.100
# Starting does not wait for whoever holds the database; writing does, off the event loop.
OPENING_S = 0.25
# Chunks forgotten between two batches while there is no idle time; one less than that and full batches outrun them.
CHUNKS_UNDER_LOAD = 2

_INTERRUPT = (
    "UPDATE log SET status = 'interrupted', error_message = 'the proxy ended before this call did'"
    " WHERE status = 'running' AND instance_id IS NOT ?"
)


@dataclass(frozen=True, slots=True)
class WriterStatus:
    """What health, metrics and pages say about remembering. `last_error` is None while the database answers; `forgotten` counts
    the rows, contents and kept values that retention removed, `refused_spans` those that were told to come again later."""

    queued_rows: int
    queued_bytes: int
    dropped_bodies: int
    dropped_rows: int
    dropped_kept: int
    written_rows: int
    batches: int
    forgotten: int
    failures: int
    queued_spans: int
    written_spans: int
    refused_spans: int
    last_error: str | None


class Writer:
    """Owns the database file from `start` to `close` (or as an async context). `begin` and `finish` belong to the event loop's thread."""

    def __init__(
        self,
        path: Path,
        *,
        durability: Durability = "normal",
        retention: Retention | None = None,
        queue_bytes: int = QUEUE_BYTES,
        body_bytes: int = BODY_BYTES,
        by_likeness: bool = True,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        instance_id: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.instance_id = instance_id or uuid.uuid4().hex
        self.keeping = Keeping(path, self._wake)
        self._durability = durability
        retention = retention or Retention()
        self.keeping.clock = clock
        self.keeping.max_age_s = retention.kept_max_age_s
        self._lock = Lock(path)
        self._packer = Packer(body_bytes)
        self._busy_timeout_s = busy_timeout_s
        self._database = Database(path, prepare=self._prepare, busy_timeout_s=min(busy_timeout_s, OPENING_S))
        self._task: asyncio.Task[None] | None = None
        self._closing = False

        self._queue = Queue(queue_bytes)
        self._outage = Outage(path, self._queue)
        self._pruning = Pruning(self._database, retention, clock, self._outage)
        self._kept = NOTHING
        self._spans = Waiting()
        self._ingest = Ingest(clock, by_likeness=by_likeness)
        self._has_spans = False
        self.settled: list[Callable[[Collection[str]], None]] = []
        """Called after a commit, on the loop, with the ids of the rows that are complete and were written or changed by it."""
        self._due_at = math.inf
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._barriers = Barriers()

        self._written = 0
        self._written_spans = 0
        self._batches = 0

    async def __aenter__(self) -> Writer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def adopt(self, *, retention: Retention, queue_bytes: int, body_bytes: int, by_likeness: bool) -> None:
        """From now on these limits hold."""
        self._packer.body_bytes = body_bytes
        self._pruning.retention = retention
        self._queue.limit_bytes = queue_bytes
        self.keeping.max_age_s = retention.kept_max_age_s
        self._ingest.by_likeness = by_likeness

    async def start(self) -> None:
        """Open the database and begin to write. `ConfigError` when another proxy writes to it or a newer one shaped it;
        any other trouble with the file is logged and waited out."""
        try:
            await self._database.run(lambda _: None)
        except ConfigError:
            await self._shut()
            raise
        except (sqlite3.Error, OSError) as error:
            self._outage.failed(error)
        self._task = asyncio.create_task(self._write_all(), name="store writer")

    async def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, fold the write-ahead log into the file, let go. What cannot be written in `timeout_s` is counted and lost."""
        task, self._task = self._task, None
        self._closing = True
        self._work.set()
        self._hurry.set()
        if task is not None:
            await asyncio.wait([task], timeout=timeout_s)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            if lost := len(self._queue):
                self._queue.dropped_rows += lost
                log.error("%s: %d calls could not be written before the end: %s", self.path, lost, self._outage.last_error)
            if lost := self._spans.give_up(ProxyError("the proxy stops before these spans could be written", status=503)):
                log.error("%s: %d spans could not be written before the end: %s", self.path, lost, self._outage.last_error)
            if lost := self.keeping.lost:
                log.error("%s: %d kept values could not be written before the end: %s", self.path, lost, self._outage.last_error)
        await self._shut()

    def begin(self, row: Row) -> None:
        """Remember that a call has started. Nothing of its content is written before `finish`."""
        self._submit(row, None, ends=False)

    def finish(self, row: Row, content: Content | None) -> None:
        """Remember the whole call. With `content` None, nothing that may quote the conversation is written, in any column."""
        self._submit(row, content, ends=True)

    async def ingest(self, told: Sequence[Told], size_bytes: int, content: KeptContent) -> int:
        """Remember spans, and link them to calls. Returns after the commit how many of them could not be stored (each is logged).

        `size_bytes` is what they take in memory, about. Whoever waits may leave: what was taken is written. ProxyError 429 when more than
        64 MB wait already, 503 when the writer stops before they are written.
        """
        if not told:
            return 0
        done = self._spans.put(told, size_bytes, content)
        self._wake()
        return await asyncio.shield(done)

    async def change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """A small change of what is remembered, in a transaction of its own; returns after its commit. ProxyError 503 when the database
        cannot be written."""
        try:
            return await self._database.run(partial(transaction, work=work))
        except (sqlite3.Error, OSError, Replaced) as error:
            raise ProxyError(f"the database {self.path} cannot be written: {error}", status=503) from error

    async def forget(self, trace_ids: Sequence[str], key_id: str | None) -> int:
        """Forget all that is complete in these traces, as far as it is this key's (None: whosever it is); how many of them there were.
        ProxyError 503 when the database cannot be written."""
        await self.barrier()
        gone: set[str] = set()
        while True:
            found, is_more = await self.change(partial(forget, trace_ids=trace_ids, key_id=key_id))
            gone |= found
            if not is_more:
                return len(gone)

    async def barrier(self, timeout_s: float = 0.25) -> bool:
        """Wait until everything handed over so far can be read; False when that takes longer than `timeout_s`."""
        number = self._queue.handed_over
        if self._barriers.committed >= number or self._task is None:
            return self._barriers.committed >= number
        done = self._barriers.at(number)
        self._hurry.set()
        try:
            await asyncio.wait([done], timeout=timeout_s)
        finally:
            self._barriers.drop(done)
        return done.done()

    def status(self) -> WriterStatus:
        return WriterStatus(
            queued_rows=len(self._queue),
            queued_bytes=self._queue.bytes,
            dropped_bodies=self._queue.dropped_bodies,
            dropped_rows=self._queue.dropped_rows,
            dropped_kept=self.keeping.dropped,
            written_rows=self._written,
            batches=self._batches,
            forgotten=self._pruning.forgotten,
            failures=self._outage.failures,
            queued_spans=self._spans.spans,
            written_spans=self._written_spans,
            refused_spans=self._spans.refused,
            last_error=self._outage.last_error,
        )

    # Handing over: on the event loop, about a microsecond, never waiting.

    def _submit(self, row: Row, content: Content | None, *, ends: bool) -> None:
        row.instance_id = self.instance_id
        if row.timestamp is None:
            row.timestamp = row.start_time  # lists are sorted by it, and what runs stands in them too
        due_at = asyncio.get_running_loop().time() + (COMPANY_S if ends else BEGINNING_S)
        if self._queue.put(row, content, due_at, ends=ends):
            self._write_by(due_at)
            if self._queue.is_full:
                self._hurry.set()

    def _wake(self) -> None:
        self._write_by(asyncio.get_running_loop().time() + COMPANY_S)

    def _write_by(self, due_at: float) -> None:
        """Something waits from now on, and is to be written by then (the loop's time)."""
        if due_at < self._due_at:
            self._due_at = due_at
            self._work.set()
            self._hurry.set()

    # Writing: one task, one transaction at a time.

    async def _write_all(self) -> None:
        while True:
            if not self._waits and not self._closing:
                self._work.clear()
                self._due_at = math.inf
                await self._idle()
            if not self._waits and self._closing:
                return
            if self._waits:
                await self._company()
                self._take()
                if not await self._write_batch() or not await self._write_spans():
                    return
                await self._prune_under_load()

    @property
    def _waits(self) -> bool:
        return bool(self._queue) or self.keeping.waits or bool(self._spans)

    @property
    def _presses(self) -> bool:
        """Whether what waits is to be written at once, in order: there is much of it, somebody reads, the end is near, or there are spans,
        whose sender waits, and whose calls should be there before them."""
        return self._queue.is_full or bool(self._barriers) or self._closing or bool(self._spans)

    async def _idle(self) -> None:
        """Wait for work; forget what is old meanwhile, a chunk at a time, stopping as soon as there is work."""
        while not self._work.is_set():
            if (pause_s := self._pruning.due_in_s) > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._work.wait(), pause_s)
                continue
            await self._pruning.forget_chunk()

    async def _prune_under_load(self) -> None:
        """Where calls come without a pause the database must not outgrow its limit: what is due is forgotten between two batches."""
        for _ in range(CHUNKS_UNDER_LOAD):
            if self._closing or not self._waits or self._pruning.due_in_s > 0:
                return
            await self._pruning.forget_chunk()

    async def _company(self) -> None:
        """Let a batch gather until the first that waits is due, or it presses."""
        while not self._presses:
            self._hurry.clear()
            seconds = self._due_at - asyncio.get_running_loop().time()
            if seconds <= 0:
                return
            await self._pause(seconds)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)

    def _take(self) -> None:
        """The next batch: what is due, and with it what has ended. What only begins waits on."""
        now = asyncio.get_running_loop().time()
        self._due_at = self._queue.take(math.inf if self._presses else now + COMPANY_S, now)
        self._kept = self.keeping.take()
        if self.keeping.waits:
            self._due_at = now

    async def _insist(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Do it again and again until it is done; while closing only once, None when it was not."""
        for attempt in range(1 << 62):
            try:
                done = await self._database.run(work)
            except Exception as error:  # noqa: BLE001 - the edge of remembering; whatever it was, calls go on
                self._outage.failed(error)
                if self._closing:
                    return None
                self._hurry.clear()
                await self._pause(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                continue
            self._outage.is_over()
            return done
        return None

    async def _write_batch(self) -> bool:
        """Write the batch in hand; False when the writer closes and could not."""
        batch = self._queue.batch
        if not batch and not self._kept:
            return True
        changed: set[str] = set()
        link = partial(link_rows, by_likeness=self._ingest.by_likeness, changed=changed) if self._has_spans else None
        refused = await self._insist(partial(write, batch, self._kept, self._packer, link))
        if refused is None:
            return False
        self._batches += 1
        self._written += len(batch) - refused
        self._queue.dropped_rows += refused
        self.keeping.written()
        self._queue.written()
        self._barriers.reached(self._queue.committed)
        if self.settled:
            self._tell_settled(changed.union(item.row.unique_id for item in batch if item.row.status != "running"))
        return True

    async def _write_spans(self) -> bool:
        """Write some of the spans that wait; False when the writer closes and could not."""
        if not self._spans:
            return True
        portion = self._spans.take()
        found = await self._insist(partial(self._ingest.write, portion.told))
        if found is None:
            return False
        self._has_spans = True
        refused, settled = found
        self._written_spans += len(portion.told) - len(refused)
        self._spans.written(refused)
        if self._spans:
            self._write_by(asyncio.get_running_loop().time())
        if self.settled:
            self._tell_settled(settled)
        return True

    def _tell_settled(self, ids: Collection[str]) -> None:
        for tell in self.settled if ids else ():
            try:
                tell(ids)
            except Exception:
                log.exception("what was written is written, but somebody who wanted to know could not be told")

    async def _shut(self) -> None:
        with contextlib.suppress(sqlite3.Error, OSError):
            await self._database.close()
        await self.keeping.close()
        self._lock.release()

    # In the connection's thread.

    def _prepare(self, connection: sqlite3.Connection) -> None:
        self._lock.acquire()
        # Both must precede the first table; on an existing file they do nothing.
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self._durability}")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        migrate(connection, self.path)
        connection.execute(_INTERRUPT, (self.instance_id,))
        self._has_spans = connection.execute("SELECT 1 FROM span LIMIT 1").fetchone() is not None
        connection.execute(f"PRAGMA busy_timeout = {round(self._busy_timeout_s * 1000)}")
