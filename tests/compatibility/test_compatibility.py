"""The page of what works with what says what happens."""

from __future__ import annotations

import pytest

from tests.compatibility.running import LOST, PAGE, Table, markdown, run


@pytest.fixture
async def table() -> Table:
    return await run()


async def test_the_page_is_what_a_run_gives_and_nothing_is_lost_in_silence(table: Table) -> None:
    expected = markdown(table)
    assert PAGE.read_text("utf-8") == expected, "run `make compatibility` and look at what changed"
    silent = [(client, name) for client, rows in table.items() for name, words in rows.items() if any(LOST in word for word in words)]
    assert silent == []
    odd = [(client, name, word) for client, rows in table.items() for name, words in rows.items() for word in words if "status" in word]
    assert odd == []
