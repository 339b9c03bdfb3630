"""Spans that are handed to the writer are rows, and those that are calls are no rows of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from respan_proxy.respan.spans import Content
from respan_proxy.store.span_content import raw, said
from respan_proxy.telemetry.spans import Claim, Said
from tests.store.spans import TRACE, call, read, told, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.db"


async def test_a_span_is_a_row_once_it_is_acknowledged(path: Path) -> None:
    async with writing(path) as writer:
        span = told("step", parent="flow", said=Said(input="hello"), raw={"name": "step"}, metadata={"team": "blue"})
        assert await writer.ingest([span], 1000, "full") == 0
        assert read(path, "SELECT unique_id, trace_unique_id, span_unique_id, span_parent_id, metadata FROM log") == [
            (span.row.unique_id, TRACE, "step000000000000", "flow000000000000", '{"team":"blue"}')
        ]
        [(role, encoding, data)] = read(path, "SELECT role, enc, data FROM span")
        assert (role, said(encoding, data), raw(encoding, data)) == ("row", Said(input="hello"), {"name": "step"})


async def test_a_span_with_the_calls_log_id_gives_the_call_its_place_and_is_no_row_of_its_own(path: Path) -> None:
    async with writing(path) as writer:
        writer.finish(call("c", metadata={"a": "request"}, prompt_tokens=7), Content(request_body=b"{}"))
        span = told(
            "llm",
            parent="step",
            claim=Claim(log_id="c".ljust(32, "0")),
            customer_identifier="u1",
            metadata={"a": "span", "b": "span"},
            span_path="openai.chat",
            prompt_tokens=99,
        )
        await writer.ingest([span], 1000, "full")
        assert read(
            path,
            "SELECT unique_id, trace_unique_id, span_unique_id, span_parent_id, span_name, span_path, customer_identifier, metadata,"
            " prompt_tokens FROM log",
        ) == [
            (
                "c".ljust(32, "0"),
                TRACE,
                "llm0000000000000",
                "step000000000000",
                "llm",
                "openai.chat",
                "u1",
                '{"a":"request","b":"span"}',
                7,
            )
        ]
        assert read(path, "SELECT unique_id, role FROM span") == [("c".ljust(32, "0"), "call")]


async def test_a_call_that_ends_after_its_span_came_keeps_its_place(path: Path) -> None:
    async with writing(path) as writer:
        row = call("c", status="running")
        writer.begin(row)
        await writer.ingest([told("llm", claim=Claim(log_id=row.unique_id), customer_identifier="u1")], 1000, "full")
        row.status, row.completion_tokens = "success", 5
        writer.finish(row, None)
        assert await writer.barrier(30)
        row_now = read(path, "SELECT trace_unique_id, status, completion_tokens, customer_identifier FROM log")
        assert row_now == [(TRACE, "success", 5, "u1")]


async def test_a_span_that_came_before_its_call_stops_being_a_row(path: Path) -> None:
    async with writing(path) as writer:
        await writer.ingest([told("llm", claim=Claim(log_id="c".ljust(32, "0")))], 1000, "full")
        assert read(path, "SELECT count(*) FROM log") == [(1,)]
        writer.finish(call("c"), None)
        assert await writer.barrier(30)
        assert read(path, "SELECT unique_id, trace_unique_id FROM log") == [("c".ljust(32, "0"), TRACE)]
