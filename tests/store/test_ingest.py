"""Spans that are handed to the writer are rows, and those that are calls are no rows of their own."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest

from respan_proxy.errors import ProxyError
from respan_proxy.respan.spans import Content
from respan_proxy.store.annotating import annotate
from respan_proxy.store.ingest import AT_ONCE, WAITING_BYTES
from respan_proxy.store.retention import CHUNK_ROWS, Retention
from respan_proxy.store.span_content import raw, said
from respan_proxy.store.writer import Writer
from respan_proxy.telemetry.spans import Claim, Said, Told
from tests.store.spans import AT, TRACE, call, read, told, writing

CANARY = "the canary sings in the coal mine"


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


async def test_without_content_a_span_brings_neither_what_was_said_nor_its_attributes(path: Path) -> None:
    async with writing(path) as writer:
        for number, (content, status) in enumerate([("none", "failed"), ("errors", "success"), ("errors", "failed")]):
            span = told(f"s{number}", said=Said(input=CANARY), raw={"attributes": CANARY}, error_message=CANARY, status=status)
            await writer.ingest([span], 1000, content)
        assert read(path, "SELECT span_name, error_message, enc IS NULL FROM log JOIN span USING (unique_id)") == [
            ("s0", None, 1),
            ("s1", None, 1),
            ("s2", CANARY, 0),
        ]


QUOTING = {"retrieval.documents.0.document.content": CANARY, "my.question": [CANARY], "my.question.tokens": 7, "http.route": "/v1/messages"}


@pytest.mark.parametrize(("content", "status"), [("none", "failed"), ("errors", "success")])
async def test_without_content_no_attribute_that_may_quote_is_metadata_and_what_the_user_said_is(
    path: Path, content: Literal["errors", "none"], status: Any
) -> None:
    async with writing(path) as writer:
        attributes = {**QUOTING, "question": CANARY, "respan.metadata": "{}"}
        metadata = {**QUOTING, "question": CANARY, "query": "the user's own"}
        await writer.ingest([told("s", raw={"attributes": attributes}, metadata=metadata, status=status)], 1000, content)
        kept = '{"my.question.tokens":7,"http.route":"/v1/messages","query":"the user\'s own"}'
        assert read(path, "SELECT log.metadata, instr(facts, 'canary') FROM log JOIN span USING (unique_id)") == [(kept, 0)]


async def both(writer: Writer, span: Told, is_first: bool) -> None:
    """A span, and its call that may not be logged."""
    if is_first:
        await writer.ingest([span], 1000, "full")
    writer.finish(call("c", disable_log=True), None)
    if not is_first:
        await writer.ingest([span], 1000, "full")
    assert await writer.barrier(30)


@pytest.mark.parametrize("is_first", [True, False], ids=["span-first", "call-first"])
async def test_a_call_that_may_not_be_logged_learns_no_quoting_attribute_of_its_span(path: Path, is_first: bool) -> None:
    async with writing(path) as writer:
        span = told("llm", claim=Claim(log_id="c".ljust(32, "0")), metadata=QUOTING | {"plan": "pro"})
        await both(writer, span, is_first)
        kept = '{"my.question.tokens":7,"http.route":"/v1/messages","plan":"pro"}'
        assert read(path, "SELECT log.metadata, instr(facts, 'canary') FROM log JOIN span USING (unique_id)") == [(kept, 0)]


@pytest.mark.parametrize("is_first", [True, False], ids=["span-first", "call-first"])
async def test_a_span_of_a_call_that_may_not_be_logged_brings_no_content(path: Path, is_first: bool) -> None:
    async with writing(path) as writer:
        span = told("llm", claim=Claim(log_id="c".ljust(32, "0")), said=Said(input=CANARY), error_message=CANARY, customer_identifier="u1")
        await both(writer, span, is_first)
        assert read(path, "SELECT customer_identifier, error_message FROM log") == [("u1", None)]
        assert read(path, "SELECT role, enc, data, instr(facts, 'canary') FROM span") == [("call", None, None, 0)]


async def test_a_call_that_may_not_be_logged_lets_nothing_of_its_span_reach_the_disk(path: Path) -> None:
    async with writing(path) as writer:
        writer.begin(call("c", status="running", disable_log=True))
        assert await writer.barrier(30)
        noise = "".join(f"{CANARY}{number} " for number in range(5000))  # more than a page, however well it packs
        span = told("llm", claim=Claim(log_id="c".ljust(32, "0")), said=Said(input=noise), raw={"kept": noise}, error_message=CANARY)
        await writer.ingest([span], 1000, "full")
        assert CANARY.encode() not in b"".join(file.read_bytes() for file in path.parent.iterdir())


async def test_a_key_can_neither_link_to_nor_write_over_what_is_anothers(path: Path) -> None:
    async with writing(path) as writer:
        writer.finish(call("c", organization_key_id="theirs"), None)
        mine = told("llm", claim=Claim(log_id="c".ljust(32, "0")), organization_key_id="ours", customer_identifier="u1")
        assert await writer.ingest([mine], 1000, "full") == 0
        forged = told("forged", organization_key_id="ours", status="failed")
        forged.row.unique_id = "c".ljust(32, "0")
        same = told("llm", organization_key_id="theirs", customer_identifier="another")
        same.row.unique_id = mine.row.unique_id
        assert await writer.ingest([forged, told("fine"), same], 1000, "full") == 2
        assert read(path, "SELECT organization_key_id, span_name, status, customer_identifier FROM log ORDER BY seq") == [
            ("theirs", "chat", "success", None),
            ("ours", "llm", "success", "u1"),
            (None, "fine", "success", None),
        ]


async def test_whoever_logs_under_the_id_of_anothers_span_beforehand_neither_keeps_it_out_nor_is_written_over(path: Path) -> None:
    async with writing(path) as writer:
        span = told("llm", organization_key_id="theirs", metadata={"a": 1})
        forged = told("forged", organization_key_id="ours")
        forged.row.unique_id = wanted = span.row.unique_id
        assert await writer.ingest([forged], 1000, "full") == 0
        for metadata in ({"a": 1}, {"a": 1}, {"a": 2}):  # it comes again, and in a newer version
            again = told("llm", organization_key_id="theirs", metadata=metadata)
            assert await writer.ingest([again, told("task", organization_key_id="theirs")], 1000, "full") == 0
        lines = read(path, "SELECT unique_id = ?, organization_key_id, span_name, metadata FROM log ORDER BY seq", wanted)
        assert lines == [(1, "ours", "forged", None), (0, "theirs", "task", None), (0, "theirs", "llm", '{"a":2}')]
        assert read(path, "SELECT count(*) FROM log JOIN span USING (unique_id) WHERE own_id = unique_id AND role = 'row'") == [(3,)]
        assert read(path, "SELECT unique_id FROM log WHERE span_name = 'llm'") == [(again.row.unique_id,)]  # as its sender hears it


async def test_a_span_that_comes_again_changes_nothing_and_a_newer_one_replaces_it(path: Path) -> None:
    async with writing(path) as writer:
        first = told("step", status="success", customer_identifier="u1")
        await writer.ingest([first, first], 1000, "full")
        before = read(path, "SELECT * FROM log"), read(path, "SELECT * FROM span")
        await writer.ingest([told("step", status="success", customer_identifier="u1")], 1000, "full")
        assert (read(path, "SELECT * FROM log"), read(path, "SELECT * FROM span")) == before
        await writer.ingest([told("step", status="failed", timestamp=AT + 2)], 1000, "full")
        await writer.ingest([first], 1000, "full")
        assert read(path, "SELECT seq, status, timestamp, customer_identifier FROM log") == [(1, "failed", AT + 2, None)]


async def test_spans_that_sqlite_cannot_hold_are_mended_and_those_that_cannot_be_are_told(path: Path) -> None:
    async with writing(path) as writer:
        odd = told("odd", said=Said(input="\ud800"), raw={"n": 1 << 70}, prompt_tokens=1 << 70, model="caf\udce9")
        broken = told("broken", model=object())
        assert await writer.ingest([told("one"), odd, broken, told("two")], 1000, "full") == 1
        assert read(path, "SELECT span_name, model, prompt_tokens FROM log ORDER BY seq") == [
            ("one", None, None),
            ("odd", "caf?", None),
            ("two", None, None),
        ]


async def test_while_the_database_is_away_spans_wait_and_beyond_the_bound_are_refused_for_now(path: Path) -> None:
    async with writing(path, busy_timeout_s=0) as writer:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waits = asyncio.create_task(writer.ingest([told("one")], WAITING_BYTES, "full"))
        async with asyncio.timeout(30):
            while not writer.status().failures:
                await asyncio.sleep(0)
        with pytest.raises(ProxyError) as refusal:
            await writer.ingest([told("two")], 1, "full")
        assert (refusal.value.status, refusal.value.headers["Retry-After"]) == (429, "5")
        assert (writer.status().queued_spans, writer.status().refused_spans) == (1, 1)
        assert not waits.done()
        other.execute("COMMIT")
        other.close()
        assert await waits == 0
        assert await writer.ingest([told("two")], 1, "full") == 0
        assert writer.status().queued_spans == 0


async def test_what_was_taken_is_written_though_its_sender_left(path: Path) -> None:
    async with writing(path, busy_timeout_s=0) as writer:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waits = asyncio.create_task(writer.ingest([told("one")], 1000, "full"))
        async with asyncio.timeout(30):
            while not writer.status().failures:
                await asyncio.sleep(0)
        waits.cancel()
        await asyncio.wait([waits])
        assert waits.cancelled()
        other.close()
    assert read(path, "SELECT span_name FROM log") == [("one",)]


async def test_senders_hear_when_the_proxy_stops_before_their_spans_are_written(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with writing(path, busy_timeout_s=0) as writer:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waits = [asyncio.create_task(writer.ingest([told(name)], 1000, "full")) for name in ("one", "two")]
        async with asyncio.timeout(30):
            while not writer.status().failures:
                await asyncio.sleep(0)
    other.close()
    for one in waits:
        with pytest.raises(ProxyError) as refusal:
            await one
        assert refusal.value.status == 503
    assert "2 spans could not be written" in caplog.text
    with pytest.raises(ProxyError):
        await writer.ingest([told("late")], 1000, "full")


async def test_many_spans_are_written_without_anybody_pressing(path: Path) -> None:
    async with writing(path) as writer:
        async with asyncio.timeout(30):
            assert await writer.ingest([told(f"s{number}.") for number in range(3 * AT_ONCE + 1)], 1_000_000, "full") == 0
        assert read(path, "SELECT count(*) FROM span") == [(3 * AT_ONCE + 1,)]


async def test_a_row_that_comes_among_many_spans_does_not_wait_for_all_of_them(path: Path) -> None:
    async with writing(path) as writer:
        spans = asyncio.create_task(writer.ingest([told(f"s{number}.") for number in range(20 * AT_ONCE)], 1_000_000, "full"))
        async with asyncio.timeout(30):
            while not writer.status().written_spans:
                await asyncio.sleep(0)
        writer.finish(call("c"), None)
        assert await writer.barrier(30)
        assert not spans.done()
        assert await spans == 0
        assert read(path, "SELECT count(*) FROM log") == [(20 * AT_ONCE + 1,)]


async def test_who_wants_to_know_hears_of_rows_that_are_complete(path: Path) -> None:
    async with writing(path) as writer:
        heard: list[set[str]] = []
        writer.settled.append(lambda ids: heard.append(set(ids)))
        row = call("c", status="running")
        writer.begin(row)
        assert await writer.barrier(30)
        span = told("llm", claim=Claim(log_id=row.unique_id))
        await writer.ingest([span], 1000, "full")
        assert heard == []
        row.status = "success"
        writer.finish(row, None)
        assert await writer.barrier(30)
        step = told("step")
        await writer.ingest(
            [step, told("llm", claim=Claim(log_id=row.unique_id), customer_identifier="late", timestamp=AT + 2)], 1000, "full"
        )
        assert heard == [{row.unique_id}, {row.unique_id, step.row.unique_id}]


async def test_a_trace_is_forgotten_whole_and_nothing_else(path: Path) -> None:
    async with writing(path) as writer:
        writer.finish(call("c"), Content(request_body=b"{}"))
        writer.finish(call("d", organization_key_id="theirs", trace_unique_id=TRACE), Content(request_body=b"{}"))
        writer.finish(call("e", status="running", trace_unique_id=TRACE), None)
        beside = told("other", "f" * 32, claim=Claim(log_id="c".ljust(32, "0")))
        steps = [told(f"s{number}.", organization_key_id="ours") for number in range(2 * CHUNK_ROWS)]
        await writer.ingest([told("llm", parent="step", claim=Claim(log_id="c".ljust(32, "0"))), beside, *steps], 1000, "full")
        await writer.ingest([told("elsewhere", "b" * 32)], 1000, "full")
        assert await writer.forget([TRACE, "no such trace"], "ours") == 1
        assert read(path, "SELECT count(*) FROM log") == [(4,)]
        assert await writer.forget([TRACE, "no such trace"], None) == 1
        assert await writer.forget([TRACE], "ours") == 0
        assert read(path, "SELECT span_name, status FROM log ORDER BY seq") == [("chat", "running"), ("elsewhere", "success")]
        for table, left in (("body", 0), ("span", 1), ("linked", 0)):
            assert read(path, f"SELECT count(*) FROM {table}") == [(left,)]


@pytest.mark.parametrize("is_late", [True, False], ids=["after", "before"])
async def test_who_was_told_the_calls_own_trace_as_its_place_goes_with_the_call(path: Path, is_late: bool) -> None:
    """A provider of one's own is sent `traceparent` while nobody knows yet where the call stands; its spans come by themselves."""
    async with writing(path) as writer:
        own = "c".ljust(32, "0")
        writer.finish(call("c"), None)
        inner, outer = told("inner", own, parent=own[16:]), told("llm", parent="flow", claim=Claim(log_id=own))
        for span in (outer, inner) if is_late else (inner, outer):
            await writer.ingest([span], 1000, "full")
        assert sorted(read(path, "SELECT span_name, trace_unique_id FROM log")) == [("inner", TRACE), ("llm", TRACE)]
        assert read(path, "SELECT trace_id FROM span JOIN log USING (unique_id) WHERE span_name = 'inner'") == [(own,)]


async def test_a_call_that_ends_in_its_own_trace_after_all_brings_back_what_had_gone_with_it(path: Path) -> None:
    async with writing(path) as writer:
        row = call("c", status="running", timestamp=None)
        writer.begin(row)
        assert await writer.barrier(30)
        own = row.unique_id
        named = told("root", claim=Claim(log_id=own))
        await writer.ingest([named, told("inner", own, parent=own[16:])], 1000, "full")
        assert read(path, "SELECT DISTINCT trace_unique_id FROM log") == [(TRACE,)]
        inside = Claim(response_id="r", is_generation=True, scope="library")
        await writer.ingest([told("llm", own, parent="flow", claim=inside)], 1000, "full")
        row.status, row.timestamp, row.response_id = "success", AT + 1, "r"
        writer.finish(row, None)
        assert await writer.barrier(30)
        assert read(path, "SELECT span_name, trace_unique_id FROM log ORDER BY span_name") == [("inner", own), ("llm", own)]


async def test_what_was_said_of_a_span_meanwhile_stays_when_it_comes_again(path: Path) -> None:
    async with writing(path) as writer:
        span = told("step", metadata={"a": 1})
        await writer.ingest([span], 1000, "full")
        await writer.change(lambda connection: connection.execute("UPDATE log SET metadata = '{\"a\":2}'"))
        await writer.ingest([told("step", metadata={"a": 1})], 1000, "full")
        assert read(path, "SELECT metadata FROM log") == [('{"a":2}',)]


async def test_likeness_links_only_while_it_is_asked_for(path: Path) -> None:
    used = {"model": "gpt-4.1", "prompt_tokens": 10, "completion_tokens": 5}
    async with writing(path, by_likeness=False) as writer:
        writer.finish(call("c", **used), None)
        span = told("turn", parent="agent", claim=Claim(is_generation=True), start_time=AT - 0.1, timestamp=AT + 1.1, **used)
        await writer.ingest([span], 1000, "full")
        assert read(path, "SELECT role FROM span") == [("row",)]
        writer.adopt(retention=Retention(), queue_bytes=1 << 26, body_bytes=1 << 20, by_likeness=True)
        await writer.ingest([span], 1000, "full")
        assert read(path, "SELECT role, unique_id FROM span") == [("call", "c".ljust(32, "0"))]
        assert read(path, "SELECT trace_unique_id, span_parent_id, prompt_tokens FROM log") == [(TRACE, "agent00000000000", 10)]


async def test_a_stream_that_ends_after_its_framework_told_of_it_is_that_generation(path: Path) -> None:
    used = {"model": "gpt-4.1", "prompt_tokens": 10, "completion_tokens": 5}
    async with writing(path) as writer:
        row = call("c", status="running", timestamp=None)
        writer.begin(row)
        span = told("turn", parent="agent", claim=Claim(is_generation=True), start_time=AT - 0.1, timestamp=AT + 1.1, **used)
        await writer.ingest([span], 1000, "full")
        assert read(path, "SELECT count(*) FROM log") == [(2,)]
        row.status, row.timestamp, row.prompt_tokens, row.completion_tokens = "success", AT + 1, 10, 5
        writer.finish(row, None)
        assert await writer.barrier(30)
        assert read(path, "SELECT unique_id, trace_unique_id, status FROM log") == [("c".ljust(32, "0"), TRACE, "success")]


async def test_a_librarys_own_span_and_an_instrumentations_tell_of_one_call_and_are_one_line(path: Path) -> None:
    """Anthropic's client traces itself and sends the id of its span; Respan's instrumentation of it knows our log id."""
    async with writing(path) as writer:
        native = told("native", parent="task", claim=Claim(is_native=True, is_generation=True, response_id="msg_1", scope="anthropic"))
        writer.finish(call("c", trace_unique_id=TRACE, span_parent_id=native.row.span_unique_id, response_id="msg_1"), None)
        await writer.ingest([native], 1000, "full")
        assert read(path, "SELECT span_unique_id, span_parent_id FROM log") == [(native.row.span_unique_id, "task000000000000")]
        await writer.ingest([told("llm", parent="task", claim=Claim(log_id="c".ljust(32, "0"))), told("task")], 1000, "full")
        lines = read(path, "SELECT span_unique_id, span_parent_id FROM log ORDER BY seq")
        assert lines == [("llm0000000000000", "task000000000000"), ("task000000000000", None)]
        assert read(path, "SELECT span_id, role FROM span ORDER BY seq") == [
            (native.row.span_unique_id, "beside"),
            ("llm0000000000000", "call"),
            ("task000000000000", "row"),
        ]


async def test_an_answer_out_of_the_cache_and_the_first_one_have_a_span_each(path: Path) -> None:
    async with writing(path) as writer:
        for number in range(3):
            writer.finish(call(f"c{number}.", start_time=AT + number, timestamp=AT + number + 0.5, response_id="r"), None)
        spans = [
            told(f"s{number}.", claim=Claim(response_id="r", is_generation=True), start_time=AT + number - 0.1, timestamp=AT + number + 0.6)
            for number in range(3)
        ]
        for number in (2, 0, 1):
            await writer.ingest([spans[number]], 1000, "full")
        assert read(path, "SELECT unique_id, span_unique_id FROM log ORDER BY seq") == [
            (f"c{number}.".ljust(32, "0"), f"s{number}.".ljust(16, "0")) for number in range(3)
        ]


async def test_what_was_said_of_a_span_outlives_a_newer_version_of_it(path: Path) -> None:
    """A note, or feedback, for a span that still ran was gone when its end came."""
    async with writing(path) as writer:
        first = told("s", timestamp=AT, metadata={"plan": "free", "step": 1, "old": 1}, customer_identifier="of the app")
        await writer.ingest([first], 1000, "full")
        changes = {
            "note": "look",
            "positive_feedback": True,
            "metadata": {"plan": "pro", "seen": True, "old": None},
            "thread_identifier": "t",
        }
        assert await writer.change(partial(annotate, [(first.row.unique_id, changes)], None)) == [True]
        await writer.ingest([told("s", span_path="a/b", metadata={"plan": "free", "step": 2, "old": 1})], 1000, "full")
        said = "note, positive_feedback, thread_identifier, customer_identifier, span_path"
        assert read(path, f"SELECT {said} FROM log") == [("look", 1, "t", None, "a/b")]
        assert [orjson.loads(text) for (text,) in read(path, "SELECT metadata FROM log")] == [{"plan": "pro", "step": 2, "seen": True}]
