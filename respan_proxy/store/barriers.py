"""Owns the barriers: readers who wait until everything handed over before them is committed."""

from __future__ import annotations

import asyncio


class Barriers:
    """Belongs to the event loop's thread. Numbers are those of `Queue`, in the order of hand-over."""

    def __init__(self) -> None:
        self.committed = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def at(self, number: int) -> asyncio.Future[None]:
        """Done once `number` is committed. To be taken back with `drop`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((number, done))
        return done

    def drop(self, done: asyncio.Future[None]) -> None:
        self._waiting = [waiting for waiting in self._waiting if waiting[1] is not done]

    def reached(self, number: int) -> None:
        """All that was handed over up to `number` is committed."""
        self.committed = number
        for waits_for, done in self._waiting:
            if waits_for <= number and not done.done():
                done.set_result(None)
        self._waiting = [waiting for waiting in self._waiting if waiting[0] > number]
