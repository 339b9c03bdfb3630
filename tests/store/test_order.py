"""Whatever comes in whatever order, as often as it likes and in whatever company: the same lines, the same tree."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from respan_proxy.respan.spans import BY_NAME, Row
from respan_proxy.store.bodies import Packer
from respan_proxy.store.ingest import Ingest
from respan_proxy.store.keeping import NOTHING
from respan_proxy.store.linking import link_rows
from respan_proxy.store.schema import migrate
from respan_proxy.store.transaction import Item, write
from respan_proxy.telemetry.spans import Claim, Told
from tests.store.spans import AT, TRACE, call, told

CALLS = ["c1", "c2", "c3"]
TRACES = ["a" * 32, "b" * 32]
SPANS = ["s1", "s2", "s3", "s4", "s5"]
SECONDS = st.integers(0, 4).map(lambda half: AT + half / 2)
KEYS = st.sampled_from([None, "ours", "ours", "ours", "theirs"])
RESPONSES = st.sampled_from([None, "r1", "r2"])
TOKENS = st.sampled_from([(None, None), (10, 5), (10, 5), (20, 5)])


@st.composite
def calls(draw: st.DrawFn, name: str) -> Row:
    start, tokens = draw(SECONDS), draw(TOKENS)
    columns: dict[str, Any] = {
        "organization_key_id": draw(KEYS),
        "start_time": start,
        "timestamp": start + draw(st.sampled_from([0.1, 1.0])),
        "response_id": draw(RESPONSES),
        "prompt_tokens": tokens[0],
        "completion_tokens": tokens[1],
        "customer_identifier": draw(st.sampled_from([None, "of the request"])),
        "metadata": draw(st.sampled_from([None, {"a": "request"}])),
    }
    if draw(st.booleans()):  # came with a traceparent
        columns |= {"trace_unique_id": draw(st.sampled_from(TRACES)), "span_parent_id": draw(st.sampled_from(SPANS)).ljust(16, "0")}
    return call(name, **columns)


@st.composite
def spans(draw: st.DrawFn, name: str) -> Told:
    start, tokens = draw(SECONDS), draw(TOKENS)
    claim = Claim(
        log_id=draw(st.sampled_from([None, None, None, *(name.ljust(32, "0") for name in (*CALLS, "elsewhere"))])),
        response_id=draw(RESPONSES),
        is_native=draw(st.booleans()),
        scope=draw(st.sampled_from(["", "library"])),
        is_generation=draw(st.booleans()),
    )
    return told(
        name,
        draw(st.sampled_from([*TRACES, "c1".ljust(32, "0")])),  # the last: told the call's own trace as its place
        parent=draw(st.sampled_from([None, *SPANS])),
        claim=claim,
        organization_key_id=draw(KEYS),
        start_time=start,
        timestamp=start + draw(st.sampled_from([0.0, 0.2, 1.5, 3.0])),
        model="gpt-4.1",
        prompt_tokens=tokens[0],
        completion_tokens=tokens[1],
        customer_identifier=draw(st.sampled_from([None, name])),
        span_workflow_name=draw(st.sampled_from([None, name])),
        metadata=draw(st.sampled_from([None, {"a": name, name: 1}])),
        error_message=f"{name} failed",
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Row], list[Told]]:
    rows = [draw(calls(name)) for name in CALLS]
    told = [draw(spans(name)) for name in SPANS]
    # The same span once more as it was before it ended.
    for one in draw(st.lists(st.sampled_from(told), max_size=2, unique_by=id)):
        early = deepcopy(one)
        early.row.timestamp = (early.row.start_time or AT) - 0.1  # what ended last is the newest, however long it took
        early.row.customer_email = "only@first.example"
        early.claim = draw(st.sampled_from([early.claim, Claim(log_id=rows[0].unique_id), Claim()]))
        told.append(early)
    return rows, told


class Store:
    """The database as the writer writes to it, without its queue."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.connection, Path("x.db"))
        self.ingest = Ingest(lambda: AT)
        self.packer = Packer()

    def rows(self, *rows: Row) -> None:
        has_spans = self.connection.execute("SELECT 1 FROM span LIMIT 1").fetchone() is not None
        link = partial(link_rows, by_likeness=True, changed=set()) if has_spans else None
        batch = [Item(0, replace(row, instance_id="this"), None, 0, 0.0) for row in rows]
        assert write(batch, NOTHING, self.packer, link, self.connection) == 0

    def spans(self, *told: Told) -> None:
        refused, _ = self.ingest.write([(one, "full") for one in deepcopy(told)], self.connection)
        assert refused == []

    def reads(self) -> tuple[list[Any], list[Any]]:
        names = ", ".join(BY_NAME)
        lines = self.connection.execute(f"SELECT {names} FROM log ORDER BY unique_id").fetchall()
        told = self.connection.execute("SELECT own_id, unique_id, role, enc, facts FROM span ORDER BY own_id").fetchall()
        self.each_is_counted_once()
        self.connection.close()
        return lines, told

    def each_is_counted_once(self) -> None:
        """A line is one of the gateway's calls or one span, a span is a line of its own or at one, and a call is one span at the most."""
        lines = dict(self.connection.execute("SELECT unique_id, instance_id IS NOT NULL FROM log"))
        spans = self.connection.execute("SELECT own_id, unique_id, role FROM span").fetchall()
        own = [id for id, unique_id, role in spans if role == "row" and id == unique_id]
        assert sorted(own) == sorted(id for id, is_call in lines.items() if not is_call)
        assert all(unique_id in lines for _, unique_id, _ in spans)
        calls = [unique_id for _, unique_id, role in spans if role == "call"]
        assert len(set(calls)) == len(calls)
        assert all(lines[id] for id in calls)


Step = tuple[str, Row | Told]


@st.composite
def orders(draw: st.DrawFn, world: tuple[list[Row], list[Told]]) -> list[list[Step]]:
    """Groups of what comes together: every call begins (or does not) and ends, every span comes, all at least once."""
    rows, told = world
    steps: list[Step] = [("end", row) for row in rows] + [("span", one) for one in told]
    steps += draw(st.lists(st.sampled_from(steps), max_size=4))
    steps = draw(st.permutations(steps))
    for row in rows:
        first = steps.index(("end", row))
        if draw(st.booleans()):
            began = replace(row, status="running", timestamp=row.start_time, response_id=None, prompt_tokens=None, completion_tokens=None)
            began.customer_identifier = began.metadata = None
            steps.insert(draw(st.integers(0, first)), ("begin", began))
    groups: list[list[Step]] = [[]]
    for step in steps:
        if draw(st.booleans()):
            groups.append([])
        groups[-1].append(step)
    return groups


def outcome(groups: Sequence[Sequence[Step]]) -> tuple[list[Any], list[Any]]:
    store = Store()
    for group in groups:
        rows = {step.unique_id: step for _, step in group if isinstance(step, Row)}  # of two that wait, the later is written
        if rows:
            store.rows(*rows.values())
        if told := [step for _, step in group if isinstance(step, Told)]:
            store.spans(*told)
    return store.reads()


@settings(max_examples=150)
@given(st.data())
def test_the_order_of_arrival_changes_nothing(data: st.DataObject) -> None:
    world = data.draw(worlds())
    rows, told = world
    straight: list[list[Step]] = [[("end", row)] for row in rows] + [[("span", one)] for one in told]
    assert outcome(data.draw(orders(world))) == outcome(straight)


USED = {"model": "gpt-4.1", "prompt_tokens": 10, "completion_tokens": 5}
SAME: dict[str, Any] = {"response_id": "chatcmpl-123"}
Crowd = tuple[list[Row], list[Told]]


def crowd(count: int, claim: Claim, every_s: float, lasts_s: float, parent: str | None = None, **facts: Any) -> Crowd:
    """Calls one after the other or all at once, and a span around each."""
    starts = [AT + number * every_s for number in range(count)]
    rows = [call(f"c{number}.", start_time=at, timestamp=at + lasts_s, **facts) for number, at in enumerate(starts)]
    used = {name: value for name, value in facts.items() if name in USED}
    around = [
        told(f"s{number}.", parent=parent, claim=claim, start_time=at - 0.0005, timestamp=at + lasts_s + 0.001, **used)
        for number, at in enumerate(starts)
    ]
    return rows, around


def repeated(count: int, **claim: Any) -> Crowd:
    """One call, and spans that all say that they are it."""
    rows, around = crowd(count, Claim(is_generation=True), 1e-5, 1.0)
    for number, one in enumerate(around):
        one.claim = Claim(is_generation=True, **{name: value(number) if callable(value) else value for name, value in claim.items()})
    rows[0].response_id = SAME["response_id"]
    return rows[:1], around


CROWDS: dict[str, Callable[[int], Crowd]] = {
    "each-in-turn-with-one-answers-id": lambda count: crowd(count, Claim(is_generation=True, **SAME), 0.03, 0.01, **SAME),
    "all-at-once-with-one-answers-id": lambda count: crowd(count, Claim(is_generation=True, **SAME), 1e-4, 1.0, **SAME),
    "all-at-once-and-alike": lambda count: crowd(count, Claim(is_generation=True), 1e-4, 1.0, **USED),
    "all-at-once-and-alike-in-a-tree": lambda count: crowd(count, Claim(is_generation=True), 1e-4, 1.0, "flow", **USED),
    "all-at-once-and-both": lambda count: crowd(count, Claim(is_generation=True, **SAME), 1e-4, 1.0, **SAME, **USED),
    "all-name-one-call": lambda count: repeated(count, log_id="c0.".ljust(32, "0")),
    "all-have-one-calls-answer": lambda count: repeated(count, **SAME),
    "each-of-another-library": lambda count: repeated(count, scope=str, **SAME),
    "all-below-the-place-that-one-call-had": lambda count: (
        crowd(1, Claim(), 0, 1.0)[0],
        [
            told("llm", claim=Claim(log_id="c0.".ljust(32, "0"))),
            *(told(f"s{number}.", "c0.".ljust(32, "0"), parent="x") for number in range(count)),
        ],
    ),
    "all-within-one-librarys-span": lambda count: (
        crowd(count, Claim(), 1e-4, 1.0, trace_unique_id=TRACE, span_parent_id="s0.".ljust(16, "0"))[0],
        repeated(count, is_native=True)[1],
    ),
}


@pytest.mark.parametrize("is_call_first", [True, False], ids=["calls-first", "spans-first"])
@pytest.mark.parametrize("name", CROWDS)
def test_what_comes_is_compared_with_a_few_however_many_are_like_it(name: str, is_call_first: bool) -> None:
    """Counted in steps of SQLite's machine, by the thousand: with three times as many there, the next ones are not dearer."""

    def steps_of_the_last(count: int) -> int:
        store, steps = Store(), 0

        def tick() -> int:
            nonlocal steps
            steps += 1
            return 0

        def come(rows: Sequence[Row], around: Sequence[Told]) -> None:
            writes: list[Callable[[], None]] = [partial(store.rows, *rows)] if rows else []
            writes += [partial(store.spans, *around[first : first + 50]) for first in range(0, len(around), 50)]
            for one in writes if is_call_first else reversed(writes):
                one()

        rows, around = CROWDS[name](count)
        early = rows[:-50] or rows
        come(early, around[:-50])
        store.connection.set_progress_handler(tick, 1000)
        come(rows[len(early) :], around[-50:])
        store.connection.set_progress_handler(None, 0)
        lines, spans = store.reads()
        assert len(lines) == len(rows) + sum(role == "row" for _, _, role, *_ in spans)
        return steps

    few, many = steps_of_the_last(300), steps_of_the_last(900)
    assert many < 1.25 * few + 5, few


def test_many_that_cannot_be_told_apart_do_not_keep_the_writer() -> None:
    """Each competes with all others; only those nearest by are looked at, and no line is lost."""
    store = Store()
    used = {"model": "gpt-4.1", "prompt_tokens": 10, "completion_tokens": 5}
    store.rows(*(call(f"c{number}.", start_time=AT + number / 1e4, **used) for number in range(600)))
    generation = Claim(is_generation=True)
    told_of = [
        told(f"s{number}.", claim=generation, start_time=AT + number / 1e4 - 0.001, timestamp=AT + 2, **used) for number in range(600)
    ]
    looked_at = 0

    def count(_: str) -> None:
        nonlocal looked_at
        looked_at += 1

    store.connection.set_trace_callback(count)
    for first in range(0, 600, 60):
        store.spans(*told_of[first : first + 60])
    store.connection.set_trace_callback(None)
    assert looked_at < 40 * 600
    lines, spans_now = store.reads()
    assert len(lines) == 600 + sum(role == "row" for _, _, role, *_ in spans_now)
    assert any(role == "call" for _, _, role, *_ in spans_now)
