"""A plain HTTP client that changes nothing, and how a row is read back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.fixture
def row_of(client: aiohttp.ClientSession) -> Any:
    """`await row_of(proxy, response_or_id)`: the call's row as the read API gives it."""

    async def read(proxy: Any, call: Any) -> dict[str, Any]:
        log_id = call if isinstance(call, str) else call.headers["X-Respan-Log-Id"]
        async with client.get(f"{proxy.base}/request-logs/{log_id}/") as response:
            assert response.status == 200, await response.text()
            row: dict[str, Any] = await response.json()
            return row

    return read


@pytest.fixture
def finished(row_of: Any) -> Any:
    """`await finished(proxy, id)`: the row once it is no longer `running`, for calls whose end the caller does not see."""

    async def wait(proxy: Any, call: Any) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while (row := await row_of(proxy, call))["status"] == "running":
                await asyncio.sleep(0)
            return row  # type: ignore[no-any-return]

    return wait
