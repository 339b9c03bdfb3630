"""Spans that were acknowledged are in the database, whatever becomes of the process."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import aiohttp

from tests.process.conftest import Start
from tests.telemetry.otlp_bodies import request, span


async def test_what_was_acknowledged_survives_kill_9(start: Start, tmp_path: Path) -> None:
    proxy = await start()
    async with aiohttp.ClientSession() as client:
        for number in range(1, 6):
            body = request(*[span(spanId=f"{number:08x}{one:08x}") for one in range(1, 41)])
            async with client.post(f"{proxy.base}/v2/traces", json=body) as response:
                assert response.status == 200
    proxy.signal(signal.SIGKILL)
    await proxy.ended()
    database = sqlite3.connect(tmp_path / "calls.db")
    try:
        assert database.execute("SELECT count(*) FROM span").fetchone() == (200,)
        assert database.execute("SELECT count(*) FROM log").fetchone() == (200,)
    finally:
        database.close()
