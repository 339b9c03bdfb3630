"""What was remembered is found by what was asked, and only by who may see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from respan_proxy.errors import ProxyError
from respan_proxy.respan.filters import FIELDS, OPERATORS, TEXT_OPERATORS, VIRTUAL, Query, read
from respan_proxy.respan.spans import NANO, Content, Row, Status
from respan_proxy.store import conditions as module
from respan_proxy.store.queries import Queries, Tail
from respan_proxy.store.writer import Writer

NOW = 1_800_000_000.0

ROWS = (
    Row("a", status="success", status_code=200, model="gpt-4.1", latency=1.0, cost=1_000, metadata={"team": "blue", "n": 1, "paid": True}),
    Row(
        "b",
        status="failed",
        status_code=500,
        model="GPT-4.1-mini",
        latency=2.0,
        metadata={"team": "red", "n": 20},
        outcome="upstream_broke",
    ),
    Row("c", status="success", status_code=200, model="claude-sonnet", latency=3.0, stream=True, span_parent_id="p", note="100% _sure_"),
    Row("d", status="failed", status_code=400, latency=4.0, organization_key_id="k2", outcome="rejected"),
)


@pytest.fixture
async def queries(tmp_path: Path) -> AsyncIterator[Queries]:
    path = tmp_path / "calls.db"
    async with Writer(path) as writer:
        for number, row in enumerate(ROWS):
            row.timestamp = NOW - 100 + number
            row.organization_key_id = row.organization_key_id or "k1"
            writer.finish(row, Content(request_body=b'{"id":"%s"}' % row.unique_id.encode()) if row.unique_id == "a" else None)
        assert await writer.barrier(30)
        queries = Queries(path)
        yield queries
        await queries.close()


def asked(filters: dict[str, Any] | None = None, **body: Any) -> Query:
    return read({"filters": filters or {}, "sort_by": "timestamp", **body}, (), NOW)


async def found(queries: Queries, filters: dict[str, Any], key_id: str | None = None) -> str:
    page = await queries.find(asked(filters), key_id)
    assert page.total == len(page.found)
    return "".join(found.row["unique_id"] for found in page.found)


def test_every_virtual_field_means_something_in_sql() -> None:
    assert set(module._VIRTUAL) == set(VIRTUAL)


@pytest.mark.parametrize(
    ("field", "operator", "value", "expected"),
    [
        ("model", "", ["gpt-4.1", "claude-sonnet"], "ac"),
        ("model", "not", ["gpt-4.1"], "bcd"),
        ("model", "contains", ["gpt"], "a"),
        ("model", "icontains", ["gpt"], "ab"),
        ("model", "not_contains", ["gpt", "GPT"], "cd"),
        ("model", "startswith", ["gpt-4", "cl"], "ac"),
        ("model", "not_startswith", ["gpt-4"], "bcd"),
        ("model", "endswith", ["4.1", "mini"], "ab"),
        ("model", "endswith", [""], "abc"),
        ("model", "not_endswith", ["4.1"], "bcd"),
        ("model", "iexact", ["gpt-4.1-MINI"], "b"),
        ("model", "empty", None, "d"),
        ("model", "not_empty", None, "abc"),
        ("model", "in", [], ""),
        ("note", "contains", ["% _"], "c"),
        ("note", "contains", ["%"], "c"),
        ("note", "contains", ["' OR 1=1 --"], ""),
        ("latency", "gte", [3], "cd"),
        ("latency", "lt", [2], "a"),
        ("status_code", "", [500], "b"),
        ("cost", "", [1_000 / NANO], "a"),
        ("stream", "", [True], "c"),
        ("metadata__team", "", ["blue"], "a"),
        ("metadata__team", "not", ["blue"], "bcd"),
        ("metadata__n", "", [1], "a"),
        ("metadata__n", "gt", ["3"], "b"),
        ("metadata__paid", "", ["true"], "a"),
        ("metadata__paid", "empty", None, "bcd"),
        ("metadata__a.b\"'$[0]", "empty", None, "abcd"),
        ("is_root_span", "", [True], "abd"),
        ("fault_domain", "", ["provider"], "b"),
        ("fault_domain", "", ["user"], "d"),
        ("id", "", ["b"], "b"),
    ],
)
async def test_operators_find_what_they_say(queries: Queries, field: str, operator: str, value: Any, expected: str) -> None:
    assert await found(queries, {field: {"operator": operator, "value": value}}) == expected


VALUES: dict[str, Sequence[Any]] = {"boolean": [True], "time": [NOW], "text": ["x"], "json": ["x"]}


@pytest.mark.parametrize("name", [*FIELDS, "metadata__k", "properties__k"])
async def test_every_field_takes_every_operator_that_fits_it(queries: Queries, name: str) -> None:
    kind = FIELDS.get(name, "text")
    for said, operator in OPERATORS.items():
        if operator in TEXT_OPERATORS and kind != "text":
            continue
        value = ["1"] if "__" in name else VALUES.get(kind, [1])
        page = await queries.find(asked({name: {"operator": said, "value": value}}, sort_by=name.replace("metadata__k", "-metadata__k")))
        assert page.total == len(page.found)


async def test_alternatives_are_joined_by_or(queries: Queries) -> None:
    either = [{"value": "gpt-4.1", "connector": "OR"}, {"value": "claude-sonnet", "connector": "OR"}]
    assert await found(queries, {"model": either, "status": "success"}) == "ac"


async def test_pages_follow_one_another_without_gap_or_overlap(queries: Queries) -> None:
    pages = [await queries.find(asked(page=number, page_size=3)) for number in (1, 2, 3)]
    assert ["".join(found.row["unique_id"] for found in page.found) for page in pages] == ["abc", "d", ""]
    assert {page.total for page in pages} == {4}


async def test_a_key_sees_its_own_rows_alone(queries: Queries) -> None:
    assert await found(queries, {}, key_id="k1") == "abc"
    assert (await queries.summary(asked(), "k2"))["number_of_requests"] == 1
    assert await queries.get("a", "k2") is None
    assert await queries.get("a", "k1") is not None


async def test_a_call_is_found_with_its_content(queries: Queries) -> None:
    call = await queries.get("a")
    assert call is not None
    assert call.row["cost"] == 1_000 / NANO
    assert call.row["metadata"] == {"team": "blue", "n": 1, "paid": True}
    assert call.kept is not None
    assert call.kept.request_body == b'{"id":"a"}'
    without = await queries.get("b")
    assert without is not None
    assert without.kept is None


async def test_sums_leave_out_what_is_unknown_and_say_so(queries: Queries) -> None:
    summary = await queries.summary(asked())
    assert summary["number_of_requests"] == 4
    assert summary["total_cost"] == 1_000 / NANO
    assert summary["unpriced_requests"] == 3
    assert summary["avg_latency"] == 2.5
    assert summary["error_count"] == 2


async def test_sums_of_nothing_are_zero(queries: Queries) -> None:
    summary = await queries.summary(asked({"model": "nobody's"}))
    assert (summary["number_of_requests"], summary["total_cost"], summary["avg_latency"]) == (0, 0, 0)


async def test_calls_are_followed_as_they_end_each_once(tmp_path: Path) -> None:
    async with Writer(tmp_path / "calls.db") as writer:
        queries = Queries(tmp_path / "calls.db")

        async def followed(tail: Tail | None) -> tuple[list[str], Tail]:
            assert await writer.barrier(30)
            ended, tail = await queries.follow(tail, asked({"status": {"operator": "not", "value": "failed"}}))
            return [found.row["unique_id"] for found in ended], tail

        def end(unique_id: str, status: Status = "success") -> None:
            writer.finish(Row(unique_id, status=status, timestamp=NOW), None)

        end("before")
        writer.begin(Row("long"))
        seen, tail = await followed(None)
        assert seen == []
        end("one")
        writer.begin(Row("two"))
        seen, tail = await followed(tail)
        assert seen == ["one"]
        end("long")
        end("two", "failed")
        end("three")
        seen, tail = await followed(tail)
        assert seen == ["long", "three"]
        assert (await followed(tail))[0] == []
        await queries.close()


async def test_a_follower_stays_on_when_the_database_is_made_anew(tmp_path: Path) -> None:
    path, tail = tmp_path / "calls.db", Tail(1000, frozenset())
    async with Writer(path) as writer:
        writer.finish(Row("one", status="success", timestamp=NOW), None)
        assert await writer.barrier(30)
        queries = Queries(path)
        ended, _ = await queries.follow(tail, asked())
        assert [found.row["unique_id"] for found in ended] == ["one"]
        await queries.close()


async def test_a_reader_cannot_write(queries: Queries) -> None:
    with pytest.raises(ProxyError, match="readonly"):
        await queries._database.read(lambda connection: connection.execute("DELETE FROM log"))


async def test_a_missing_database_is_said(tmp_path: Path) -> None:
    queries = Queries(tmp_path / "none.db")
    with pytest.raises(ProxyError, match="no such file") as trouble:
        await queries.find(asked())
    assert trouble.value.status == 503
    await queries.close()
    assert not (tmp_path / "none.db").exists()


async def test_a_database_that_was_made_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    queries = Queries(path)
    for unique_id in ("before", "after"):
        async with Writer(path) as writer:
            writer.finish(Row(unique_id, timestamp=NOW), None)
        assert [found.row["unique_id"] for found in (await queries.find(asked())).found] == [unique_id]
        path.unlink()
    await queries.close()
