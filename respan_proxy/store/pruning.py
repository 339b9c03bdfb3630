"""Owns when what is old is forgotten: chunk after chunk while there is something to forget, then not again for a while."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial

from respan_proxy.errors import ConfigError
from respan_proxy.store.database import Database
from respan_proxy.store.outage import BACKOFF_S, Outage
from respan_proxy.store.retention import Retention, prune

EVERY_S = 300.0


class Pruning:
    """`retention` may be set anew at any time; `forgotten` counts the rows, contents and kept values that went."""

    def __init__(self, database: Database, retention: Retention, clock: Callable[[], float], outage: Outage) -> None:
        self.retention = retention
        self.forgotten = 0
        self._database = database
        self._clock = clock
        self._outage = outage
        self._due_at = 0.0

    @property
    def due_in_s(self) -> float:
        """Not above zero: now."""
        return self._due_at - asyncio.get_running_loop().time()

    async def forget_chunk(self) -> None:
        now = asyncio.get_running_loop().time
        try:
            gone = await self._database.run(partial(prune, retention=self.retention, now=self._clock()))
        except (sqlite3.Error, OSError, ConfigError) as error:
            self._outage.failed(error)
            self._due_at = now() + BACKOFF_S[-1]
        else:
            self._outage.is_over()
            self.forgotten += gone
            self._due_at = now() + (0 if gone else EVERY_S)
