"""Owns what is known of the database being away: it is said once when it goes and once when it is back."""

from __future__ import annotations

import logging
from pathlib import Path

from respan_proxy.store.queue import Queue

log = logging.getLogger(__name__)

# An outage is noticed to be over within the last of these; the first tries come faster.
BACKOFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Outage:
    """`last_error` is None while the database answers; `failures` counts all tries that failed, ever."""

    def __init__(self, path: Path, queue: Queue) -> None:
        self._path = path
        self._queue = queue
        self.failures = 0
        self.last_error: str | None = None

    def failed(self, error: Exception) -> None:
        if self.last_error is None:
            log.error("%s: cannot be written (%s); calls are served, rows wait in memory", self._path, error)
        self.failures += 1
        self.last_error = str(error) or type(error).__name__

    def is_over(self) -> None:
        """The database answered."""
        if self.last_error is not None:
            log.warning(
                "%s: written again; %d rows and %d contents were dropped meanwhile",
                self._path,
                self._queue.dropped_rows,
                self._queue.dropped_bodies,
            )
            self.last_error = None
