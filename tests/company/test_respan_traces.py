"""Respan's API client from PyPI parses every answer about traces, spans and groups."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.company.environments import python_with
from tests.conftest import Proxy
from tests.server.test_rest_traces import TRACE, workflow

pytestmark = pytest.mark.slow

DRIVER = Path(__file__).parent / "drivers" / "respan_traces.py"


async def test_respans_client_parses_what_it_asks_for(proxy: Proxy, tmp_path: Path) -> None:
    assert await proxy.house.writer.ingest(workflow(), 10_000, "full") == 0
    python = await asyncio.to_thread(python_with, "respan-api==0.1.49")
    process = await asyncio.create_subprocess_exec(
        str(python),
        str(DRIVER),
        proxy.root,
        TRACE,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert json.loads(out) == {
        "name": "answer",
        "started": True,
        "tokens": [15, 15, 15, 15, 15],
        "cost": [2.5e-6, 2.5e-6],
        "tree": [["workflow", ["task"]]],
        "shared": True,
        "spans": ["llm.gpt-4.1", "task", "workflow"],
        "models": ["gpt-4.1"],
        "deleted": 1,
        "gone": 404,
    }
