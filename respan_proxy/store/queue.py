"""Rows on their way to the writer: bounded in bytes, each call once, taken in the order of hand-over.

Beyond the bound content is dropped first, then rows; both are counted. Nobody ever waits.
"""

from __future__ import annotations

import math
from collections import deque

from respan_proxy.respan.spans import Content, Row
from respan_proxy.store.transaction import Item

BATCH_ROWS = 256
BATCH_BYTES = 8 * 1024 * 1024
# A row without content: 81 slots, and the strings most of them point to.
ROW_BYTES = 2048
# The last tenth of the queue is for calls that end: one that only begins can still be told whole when it ends.
BEGINNINGS = 0.9


class Queue:
    """Belongs to the event loop's thread. What is in hand (`batch`) counts until it is written. Times are the loop's."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.batch: list[Item] = []
        self.handed_over = 0
        """The number of the last row that was handed over."""
        self.dropped_bodies = 0
        self.dropped_rows = 0
        self._waiting: dict[str, Item] = {}  # in the order of hand-over
        self._bodied: deque[Item] = deque()
        self._bytes = 0
        self._batch_bytes = 0

    def __bool__(self) -> bool:
        """Whether rows wait beside those in hand."""
        return bool(self._waiting)

    def __len__(self) -> int:
        """Rows that are not written, those in hand too."""
        return len(self._waiting) + len(self.batch)

    @property
    def bytes(self) -> int:
        return self._bytes + self._batch_bytes

    @property
    def is_full(self) -> bool:
        """Whether a batch is."""
        return len(self._waiting) >= BATCH_ROWS or self._bytes >= BATCH_BYTES

    @property
    def committed(self) -> int:
        """With nothing in hand: the number of the last row before which none waits."""
        return next(iter(self._waiting.values())).number - 1 if self._waiting else self.handed_over

    def put(self, row: Row, content: Content | None, due_at: float, *, ends: bool) -> bool:
        """Take a row, in the place of the one that waits of its call; False when there is no room. About a microsecond."""
        limit = self.limit_bytes if ends else int(self.limit_bytes * BEGINNINGS)
        size = 0 if content is None else content.size_bytes
        item = self._waiting.get(row.unique_id)
        added = size if item is not None else ROW_BYTES + size
        if self._bytes + self._batch_bytes + added > limit:
            if content is not None:
                content, added = None, added - size
                row.bodies_dropped = True
                self.dropped_bodies += 1
            # Content in hand is being written and cannot be given up, but it takes no row's place either.
            taken = len(self.batch) * ROW_BYTES + added
            while self._bytes + taken > limit and self._shed_body():
                pass
            if item is None and self._bytes + taken > limit:
                self.dropped_rows += ends
                return False
        if item is None:
            self.handed_over += 1
            item = self._waiting[row.unique_id] = Item(self.handed_over, row, content, added, due_at)
        else:
            item.row, item.content, item.due_at = row, content, min(item.due_at, due_at)
            item.bytes += added
        if content is not None:
            self._bodied.append(item)
        self._bytes += added
        return True

    def take(self, soon: float, now: float) -> float:
        """Put the next batch in hand: what is due by `soon`. Returns when the first of what waits on is due."""
        due_at, size = math.inf, 0
        for item in self._waiting.values():
            if item.due_at > soon:
                due_at = min(due_at, item.due_at)
                continue
            if self.batch and (len(self.batch) >= BATCH_ROWS or size + item.bytes > BATCH_BYTES):
                due_at = now
                break
            size += item.bytes
            self.batch.append(item)
        for item in self.batch:
            del self._waiting[item.row.unique_id]
        self._batch_bytes = size
        self._bytes -= size
        if not self._waiting:
            self._bodied.clear()
        return due_at

    def written(self) -> None:
        """What was in hand is."""
        self.batch = []
        self._batch_bytes = 0

    def _shed_body(self) -> bool:
        """Drop the content that has waited longest; False when there is none."""
        while self._bodied:
            item = self._bodied.popleft()
            if item.content is not None and self._waiting.get(item.row.unique_id) is item:
                freed = item.content.size_bytes
                item.content = None
                item.row.bodies_dropped = True
                item.bytes -= freed
                self._bytes -= freed
                self.dropped_bodies += 1
                return True
        return False
