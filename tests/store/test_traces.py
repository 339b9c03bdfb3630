"""A trace is what its lines say together: summed once, found by its own fields and by its spans', one tree whatever came."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from respan_proxy.errors import RequestRejected
from respan_proxy.respan.filters import read
from respan_proxy.respan.spans import NANO, Row
from respan_proxy.respan.traces import TRACES
from respan_proxy.store import trace_views
from respan_proxy.store import traces as trace_store
from respan_proxy.store.trace_views import in_list, whole
from respan_proxy.store.traces import Traces
from respan_proxy.store.writer import Writer
from respan_proxy.telemetry.spans import Claim, Said, Told

NOW = 1_800_000_000.0


def line(trace: str, span: str, parent: str | None = None, at: float = 0.0, took: float = 1.0, **columns: Any) -> Row:
    start = NOW - 1000 + at
    said: dict[str, Any] = {"status": "success", "log_type": "task", "log_method": "python_tracing", "span_name": "task", **columns}
    row = Row(f"{trace}-{span}", trace_unique_id=trace, span_unique_id=span, span_parent_id=parent, start_time=start, **said)
    row.timestamp, row.latency = start + took, took
    return row


def call(trace: str, span: str, parent: str | None = None, at: float = 0.0, took: float = 1.0, **columns: Any) -> Row:
    said = {"log_type": "chat", "model": "gpt-4.1", "prompt_tokens": 10, "completion_tokens": 5, "total_request_tokens": 15, "cost": 1_000}
    return line(trace, span, parent, at, took, **{**said, **columns})


UNKNOWN = dict.fromkeys(("cost", "prompt_tokens", "completion_tokens", "total_request_tokens"))

# An agent's turn and workflow repeat what its calls used; customer and thread are stamped inside; one call failed.
AGENT = [
    call("agent", "call-1", "turn", 2, customer_identifier="u1", thread_identifier="t1", environment="prod"),
    call("agent", "call-2", "turn", 4, status="failed", **UNKNOWN),
    line("agent", "turn", "flow", 1, 6, log_type="agent", total_request_tokens=15, prompt_tokens=10, cost=1_000, session_identifier="s2"),
    line(
        "agent", "flow", None, 0, 8, log_type="workflow", span_name="workflow", entity_name="answer", metadata={"team": "blue", "_v": "1"}
    ),
    line("agent", "tool", "turn", 3, log_type="tool", customer_identifier="u2", metadata={"tool": "search"}),
]
PLAIN = [call("plain", "only", None, 20, 0.5, span_name="chat.completions", log_method="inference", model="claude", cost=5_000)]
OTHERS = [line("idle", "only", None, 30, 2, entity_name="wait", environment="test", organization_key_id="k2")]


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    async with Writer(tmp_path / "calls.db", clock=lambda: NOW) as writer:
        yield writer


@pytest.fixture
async def traces(writer: Writer) -> AsyncIterator[Traces]:
    await remember(writer, [*AGENT, *PLAIN, *OTHERS])
    traces = Traces(writer.path)
    yield traces
    await traces.close()


async def remember(writer: Writer, rows: list[Row]) -> None:
    for row in rows:
        row.organization_key_id = row.organization_key_id or "k1"
        writer.finish(row, None)
    assert await writer.barrier(30)


async def found(traces: Traces, filters: dict[str, Any] | None = None, sees: Any = None, **asked: Any) -> list[str]:
    page = await traces.find(read({"filters": filters or {}, **asked}, (), NOW, TRACES), sees)
    assert page.total == len(page.traces) or "page_size" in asked
    return [trace.sums["trace_unique_id"] for trace in page.traces]


async def shown(traces: Traces, trace_id: str, sees: Any = None) -> dict[str, Any]:
    opened = await traces.open(trace_id, sees)
    assert opened is not None
    return whole(opened)


def drawn(nodes: list[dict[str, Any]]) -> Any:
    return [(node["span_unique_id"], drawn(node["children"])) if node["children"] else node["span_unique_id"] for node in nodes]


async def test_tokens_and_cost_are_summed_over_calls_of_a_model_alone(traces: Traces) -> None:
    seen = await shown(traces, "agent")
    assert (seen["total_prompt_tokens"], seen["total_completion_tokens"], seen["total_tokens"], seen["total_cost"]) == (10, 5, 15, 1e-6)
    assert (seen["span_count"], seen["llm_call_count"], seen["error_count"], seen["unpriced_requests"]) == (5, 2, 1, 0)
    assert (seen["duration"], seen["name"], seen["root_span_unique_id"], seen["model"]) == (8, "answer", "flow", "gpt-4.1")
    assert drawn(seen["span_tree"]) == [("flow", [("turn", ["call-1", "tool", "call-2"])])]


async def test_whose_it_is_is_what_is_found_first_roots_first(traces: Traces) -> None:
    seen = await shown(traces, "agent")
    names = ("customer_identifier", "thread_identifier", "session_identifier", "environment", "metadata")
    assert [seen[name] for name in names] == ["u1", "t1", "s2", "prod", {"team": "blue"}]


async def test_a_plain_call_is_a_trace_of_one_span(traces: Traces) -> None:
    seen = await shown(traces, "plain")
    assert (seen["name"], seen["span_count"], seen["llm_call_count"], seen["total_cost"]) == ("chat.completions", 1, 1, 5e-6)
    assert drawn(seen["span_tree"]) == ["only"]


async def test_list_and_tree_say_the_same(traces: Traces) -> None:
    page = await traces.find(read({}, (), NOW, TRACES), content=True)
    for trace in page.traces:
        listed = in_list(trace)
        opened = await shown(traces, listed["id"])
        assert listed == {name: opened[name] for name in listed}


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["idle", "plain", "agent"]),
    ({"trace_unique_id": ["plain", "agent"]}, ["plain", "agent"]),
    ({"name": "answer"}, ["agent"]),
    ({"name": {"operator": "contains", "value": "a"}}, ["idle", "plain", "agent"]),
    ({"customer_identifier": "u1"}, ["agent"]),
    ({"customer_identifier": "u2"}, []),  # of a span of it, but not the trace's
    ({"customer_identifier": {"operator": "not", "value": "u1"}}, ["idle", "plain"]),
    ({"customer_identifier": {"operator": "empty"}}, ["idle", "plain"]),
    ({"span_count": {"operator": "gt", "value": 1}}, ["agent"]),
    ({"error_count": 0}, ["idle", "plain"]),
    ({"total_cost": {"operator": "gte", "value": 0.000005}}, ["plain"]),
    ({"total_request_tokens": 15}, ["plain", "agent"]),
    ({"total_tokens": 15}, ["plain", "agent"]),
    ({"duration": {"operator": "lt", "value": 3}}, ["idle", "plain"]),
    ({"model": "claude"}, ["plain"]),
    ({"log_type": "tool"}, ["agent"]),
    ({"status": "failed", "log_type": "tool"}, ["agent"]),  # two spans
    ({"latency": [{"operator": "gt", "value": 1}, {"operator": "lt", "value": 6}]}, ["idle"]),  # one span between
    ({"metadata__tool": "search"}, ["agent"]),
    ({"environment": "test"}, ["idle"]),
    ({"model": {"operator": "", "value": "claude", "connector": "OR"}, "name": {"value": "wait", "connector": "OR"}}, ["idle", "plain"]),
    ({"start_time": {"operator": "gt", "value": NOW - 985}}, ["idle", "plain"]),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS)
async def test_a_trace_is_found_by_its_own_fields_and_by_those_of_any_span(
    traces: Traces, filters: dict[str, Any], expected: list[str]
) -> None:
    assert await found(traces, filters) == expected
    summary = await traces.summary(read({"filters": filters}, (), NOW, TRACES))
    assert summary["total_count"] == len(expected)


@pytest.mark.parametrize("field", ["costs", "behaviour", "metadata__", "attempts"])
async def test_a_field_that_nobody_knows_is_named(field: str) -> None:
    with pytest.raises(RequestRejected, match=field):
        read({"filters": {field: 1}}, (), NOW, TRACES)


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("-timestamp", ["idle", "plain", "agent"]),
        ("id", ["agent", "plain", "idle"]),
        ("-total_cost", ["plain", "agent", "idle"]),
        ("-duration", ["agent", "idle", "plain"]),
        ("-error_count", ["agent", "idle", "plain"]),
        ("name", ["agent", "plain", "idle"]),
        ("-total_tokens", ["plain", "agent", "idle"]),
    ],
)
async def test_traces_come_in_the_order_of_any_of_their_sums(traces: Traces, sort: str, expected: list[str]) -> None:
    assert await found(traces, sort_by=sort) == expected
    assert [*await found(traces, sort_by=sort, page_size=2), *await found(traces, sort_by=sort, page_size=2, page=2)] == expected


async def test_there_is_no_order_by_what_only_spans_have() -> None:
    with pytest.raises(RequestRejected, match="total_cost"):
        read({"sort_by": "-model"}, (), NOW, TRACES)


async def test_a_trace_is_in_the_window_when_one_of_its_spans_is_and_is_told_whole(writer: Writer, traces: Traces) -> None:
    submitted = line("batch", "submit", None, -90_000, 2, entity_name="submit")
    await remember(
        writer, [submitted, line("batch", "results", None, 100, 3, entity_name="batch_results"), call("batch", "x", "results", 100)]
    )
    assert await found(traces, {"name": "submit"}) == ["batch"]
    seen = await shown(traces, "batch")
    assert (seen["span_count"], seen["duration"], seen["name"]) == (3, 90_103, "submit")
    # Joined later by a root of its own: one is displayed, and what was sent stays in the node.
    assert drawn(seen["span_tree"]) == [("submit", [("results", ["x"])])]
    assert seen["span_tree"][0]["children"][0]["span_parent_id"] is None


async def test_a_workflow_is_the_root_whatever_times_what_joined_it_claims(writer: Writer, traces: Traces) -> None:
    await remember(writer, [line("w", "results", None, 5, 0), line("w", "flow", None, 60, 1, log_type="workflow", entity_name="submit")])
    seen = await shown(traces, "w")
    assert (seen["name"], seen["root_span_unique_id"], drawn(seen["span_tree"])) == ("submit", "flow", [("flow", ["results"])])
    assert await found(traces, {"name": "submit"}) == ["w"]


async def test_sums_over_traces_are_those_of_the_list(traces: Traces) -> None:
    seen = await traces.summary(read({}, (), NOW, TRACES))
    page = await traces.find(read({}, (), NOW, TRACES))
    listed = [in_list(trace) for trace in page.traces]
    assert seen["total_count"] == len(listed) == 3
    sums = ("total_cost", "total_prompt_tokens", "total_completion_tokens", "total_tokens")
    for name in sums:
        assert seen[name] == pytest.approx(sum(row[name] for row in listed))
    for name in ("duration", "span_count", "llm_call_count", "error_count"):
        assert seen[f"total_{name}"] == pytest.approx(sum(row[name] for row in listed))
    assert seen["average_duration"] == pytest.approx(seen["total_duration"] / 3)
    assert seen["error_rate"] == pytest.approx(1 / 3)
    nothing = await traces.summary(read({"filters": {"name": "none"}}, (), NOW, TRACES))
    assert (nothing["total_count"], nothing["total_cost"], nothing["average_cost"], nothing["error_rate"]) == (0, 0, 0, 0)


async def test_a_key_sees_of_a_trace_its_own_lines(writer: Writer, traces: Traces) -> None:
    await remember(writer, [line("agent", "theirs", "flow", 2, organization_key_id="k2", customer_identifier="secret")])
    assert await found(traces, sees="k2") == ["idle", "agent"]
    seen = await shown(traces, "agent", "k2")
    assert (seen["span_count"], seen["customer_identifier"], seen["total_cost"], drawn(seen["span_tree"])) == (1, "secret", 0, ["theirs"])
    assert (await shown(traces, "agent", "k1"))["span_count"] == 5
    assert (await shown(traces, "agent"))["span_count"] == 6
    assert await traces.open("agent", "k3") is None
    assert await found(traces, {"customer_identifier": "secret"}, sees="k1") == []
    assert (await traces.summary(read({}, (), NOW, TRACES), "k2"))["total_span_count"] == 2


async def test_an_unknown_cost_is_not_zero_and_no_calls_cost_nothing(writer: Writer, traces: Traces) -> None:
    await remember(writer, [call("unpriced", "a", cost=None), line("nothing", "a"), call("refused", "a", cost=None, status="failed")])
    assert (await shown(traces, "unpriced"))["total_cost"] is None
    assert (await shown(traces, "unpriced"))["unpriced_requests"] == 1
    assert (await shown(traces, "nothing"))["total_cost"] == 0
    assert (await shown(traces, "refused"))["total_cost"] == 0


async def test_spans_of_impossible_times_do_not_garble_what_is_told(writer: Writer, traces: Traces) -> None:
    far = line("far", "a", None, entity_name="far", customer_identifier="u9")
    far.start_time = far.timestamp = 18_446_744_073.7
    early = line("far", "b", None, entity_name="early")
    early.start_time = early.timestamp = 0.0
    early.latency = 1e12
    await remember(writer, [far, early])
    seen = await shown(traces, "far")
    assert (seen["name"], seen["customer_identifier"], seen["span_count"]) == ("early", "u9", 2)


async def said(writer: Writer, *texts: str) -> None:
    spans = [line("long", f"{place}", "0" if place else None, place) for place in range(len(texts))]
    told = [Told(row, Said(input=text, output="ok"), {}, Claim()) for row, text in zip(spans, texts, strict=True)]
    assert await writer.ingest(told, 1000, "full") == 0


async def test_the_longest_texts_of_a_tree_are_cut_with_a_mark(writer: Writer, traces: Traces, monkeypatch: pytest.MonkeyPatch) -> None:
    await said(writer, "short", "x" * 9000, "y" * 500)
    monkeypatch.setattr(trace_views, "TREE_CHARS", 2000)
    seen = await shown(traces, "long")
    short, long, middle = seen["span_tree"][0], *seen["span_tree"][0]["children"]
    assert (short["input"], short["cut"], middle["input"], middle["cut"]) == ("short", [], "y" * 500, [])
    assert long["cut"] == ["input"]
    assert long["input"].startswith("x" * 1000)
    assert long["input"].endswith("more characters, see the log")
    assert len(long["input"]) < 1600


async def test_a_body_that_is_too_much_for_a_tree_is_left_out_and_said_so(
    writer: Writer, traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    await said(writer, "short", random.Random(1).randbytes(20_000).hex(), "y" * 500)
    monkeypatch.setattr(trace_store, "MOST_PACKED", 5000)
    seen = await shown(traces, "long")
    short, long, middle = seen["span_tree"][0], *seen["span_tree"][0]["children"]
    assert (short["input"], middle["input"], long["input"], long["cut"]) == ("short", "y" * 500, None, ["input", "output"])


async def test_random_traces_are_told_alike_by_list_tree_and_a_plain_count(writer: Writer, traces: Traces) -> None:
    chance = random.Random(7)
    rows: list[Row] = []
    for number in range(40):
        trace = f"r{number}"
        for span in range(chance.randint(1, 30)):
            parent = chance.choice([None, *(f"{place}" for place in range(span)), "gone", f"{span}", f"{span + 1}"])
            make = call if chance.random() < 0.4 else line
            columns: dict[str, Any] = {
                "status": chance.choice(["success", "failed"]),
                "customer_identifier": chance.choice([None, "", "a", "b"]),
            }
            rows.append(make(trace, f"{span}", parent, chance.choice([0.0, 1.0, chance.random() * 50]), chance.random(), **columns))
    await remember(writer, rows)
    page = await traces.find(read({"page_size": 1000}, (), NOW, TRACES), content=True)
    for trace in page.traces:
        listed = in_list(trace)
        mine = sorted(
            (row for row in rows if row.trace_unique_id == listed["id"]),
            key=lambda row: (bool(row.span_parent_id), row.start_time, -(row.latency or 0)),
        )
        if not mine:
            continue
        opened = await shown(traces, listed["id"])
        assert listed == {name: opened[name] for name in listed}
        calls = [row for row in mine if row.log_type == "chat"]
        assert listed["span_count"] == len(mine) == len(list(flat(opened["span_tree"])))
        assert listed["total_cost"] == pytest.approx(sum(row.cost or 0 for row in calls) / NANO)
        assert listed["total_tokens"] == sum(row.total_request_tokens or 0 for row in calls)
        assert listed["error_count"] == sum(row.status == "failed" for row in mine)
        assert listed["customer_identifier"] == next((row.customer_identifier for row in mine if row.customer_identifier), None)
        assert len(opened["span_tree"]) == 1


def flat(nodes: list[dict[str, Any]]) -> Any:
    for node in nodes:
        yield node["span_unique_id"]
        yield from flat(node["children"])


async def test_a_list_of_a_hundred_thousand_traces_is_read_in_a_moment(writer: Writer, traces: Traces) -> None:
    # Not a measurement: whoever makes the list quadratic, or runs a subquery for each trace, does not get past it.
    def fill(connection: Any) -> None:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
            " INSERT INTO log (unique_id, trace_unique_id, span_unique_id, status, log_type, start_time, timestamp, latency, cost)"
            " SELECT 'n' || i, 'n' || (i / 2), 's' || i, 'success', 'chat', ? - i / 100.0, ? - i / 100.0 + 1, 1, 5 FROM n",
            (NOW, NOW),
        )

    await writer.change(fill)
    began = time.monotonic()
    page = await traces.find(read({"filters": {"name": {"operator": "empty"}}, "sort_by": "-total_cost"}, (), NOW, TRACES))
    assert page.total > 50_000
    assert time.monotonic() - began < 10
