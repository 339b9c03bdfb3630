"""An exporter by itself, between rows that are made up and a collector that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from respan_proxy.errors import ProxyError
from respan_proxy.exports.exporter import Exporter
from respan_proxy.respan.spans import Row
from respan_proxy.telemetry.spans import Remembered
from tests.fakes.collector import FakeCollector


def id_of(number: int) -> str:
    return f"{number:032x}"


@dataclass
class Rows:
    """Rows as the database has them: all there are, but for those that are `held` until a span claims them."""

    held: set[str] = field(default_factory=set)
    away: int = 0
    most: int = 1000
    contents: list[bool] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)

    async def read(self, ids: Sequence[str], *, patient: Collection[str], content: bool) -> Any:
        self.asked.append(list(ids))
        self.contents.append(content)
        if self.away:
            self.away -= 1
            raise ProxyError("the database is away", status=503)
        held = [one for one in ids if one in self.held and one in patient]
        found = [one for one in ids if one not in held]
        return Found({one: remembered(one) for one in found[: self.most]}, held, found[self.most :])


@dataclass
class Found:
    found: dict[str, Remembered]
    held: list[str]
    left: list[str]


def remembered(unique_id: str) -> Remembered:
    return Remembered(
        Row(
            unique_id=unique_id,
            trace_unique_id=unique_id,
            span_unique_id=unique_id[16:],
            log_type="chat",
            log_method="inference",
            status="success",
            model="m",
            start_time=1.0,
            timestamp=2.0,
        )
    )


class House:
    """An exporter that runs, its collector and its rows."""

    def __init__(self, collector: FakeCollector, rows: Rows, exporter: Exporter, task: asyncio.Task[None]) -> None:
        self.collector, self.rows, self.exporter, self.task = collector, rows, exporter, task

    @property
    def sent(self) -> list[str]:
        return [span["trace_id"] for span in self.collector.spans]

    def lost(self) -> dict[str, int]:
        status = self.exporter.status()
        return {name: status[name] for name in ("dropped", "refused", "rejected", "given_up") if status[name]}

    async def end(self) -> None:
        self.exporter.stop()
        async with asyncio.timeout(5):
            await self.task


Make = Callable[..., House]
