"""Respan's own client logs here as it does there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.company.driving import in_python
from tests.conftest import Proxy

pytestmark = pytest.mark.slow


async def test_respans_client_reads_every_answer_of_the_logging_api(proxy: Proxy, tmp_path: Path) -> None:
    driver = in_python("respan-api==0.1.49", "respan_api.py", tmp_path)
    (seen,) = await driver.plays(proxy.base, [])
    assert seen == {
        "made": ["success", (10 * 100 + 5 * 400) / 1e9, 1.5, "u1"],
        "found": [True, "gpt-4.1-nano", 15],
        "bulk": [1, 1, [[1, "latency: found -1.0, expected seconds, 0 or more"]]],
        "trace": "2 of 2 spans were taken",
        "refused": ["BadRequestError", 400],
    }
