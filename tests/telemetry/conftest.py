"""A collector, and exporters that post to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from respan_proxy.config import Export
from respan_proxy.exports.collector import Collector
from respan_proxy.exports.exporter import Exporter
from tests.conftest import Host
from tests.fakes.collector import FakeCollector
from tests.telemetry.exporting import House, Make, Rows


@pytest.fixture
async def collector(host: Host[FakeCollector]) -> FakeCollector:
    return await host(FakeCollector())


@pytest.fixture
async def make(collector: FakeCollector) -> AsyncIterator[Make]:
    tasks: list[asyncio.Task[None]] = []
    async with aiohttp.ClientSession() as session:

        def start(rows: Rows | None = None, first_wait_s: float = 0.0, body_s: float = 5.0, **options: Any) -> House:
            rows = rows or Rows()
            export = Export(**{"name": "ours", "endpoint": collector.endpoint, **options})
            # A wait of nothing, so that no test waits for the clock; what the waits are is asked for by itself.
            posts = Collector(session, {"X-Respan-Hop": "me"}, dice=lambda: 0.5, first_wait_s=first_wait_s, body_s=body_s)
            exporter = Exporter(export, rows.read, posts, "me", company_s=0.0)
            task = asyncio.create_task(exporter.run())
            tasks.append(task)
            return House(collector, rows, exporter, task)

        yield start
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
