"""Which span is which call, and what the call takes from it."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import orjson
import pytest

from respan_proxy.telemetry.linking import LINKED, MOST_TOLD, Call, Heard, Link, Rank, doubled, link, merged, usage

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
USED = usage(["gpt-4.1"], 10, 5)


def call(id: str = "c", at: float = 100.0, **facts: Any) -> Call:
    return Call(id, id, at, at + 1.0, **facts)


def span(id: str = "s", at: float = 99.9, **facts: Any) -> Heard:
    return Heard(id, facts.pop("trace_id", TRACE), id, at, facts.pop("end", at + 1.2), **facts)


def linked(calls: list[Call], spans: list[Heard], **options: Any) -> dict[str, list[tuple[str, Rank]]]:
    """The outcome, which no order of the input changes."""
    [outcome] = {
        tuple(
            sorted(
                (call_id, tuple((found.span.id, found.rank) for found in links)) for call_id, links in link(some, others, **options).items()
            )
        )
        for some in permutations(calls)
        for others in permutations(spans)
    }
    return {call_id: list(links) for call_id, links in outcome}


def test_the_log_id_tells_whatever_else_differs() -> None:
    assert linked([call("c"), call("d")], [span(log_id="d", at=9e8)]) == {"d": [("s", Rank.LOG_ID)]}


def test_a_log_id_of_another_keys_call_tells_nothing() -> None:
    assert (
        linked([call("c", key_id="theirs", response_id="r", usage=USED)], [span(key_id="ours", log_id="c", response_id="r", usage=USED)])
        == {}
    )
    assert linked([call("c", key_id="theirs")], [span(log_id="c")]) == {}


def test_a_librarys_own_span_whose_id_the_call_came_with_is_the_call() -> None:
    came = replace(call(), trace_id=TRACE, parent_id="s")
    assert linked([came], [span(is_native=True)]) == {"c": [("s", Rank.NATIVE)]}
    assert linked([came], [span()]) == {}  # any other parent is the call's parent, not the call
    assert linked([came], [span(is_native=True, trace_id="f" * 32)]) == {}
    assert linked([replace(came, key_id="theirs")], [span(is_native=True)]) == {}


def test_of_tries_within_one_span_the_last_is_what_the_span_tells_of() -> None:
    tries = [replace(call(id, at), trace_id=TRACE, parent_id="s") for id, at in (("first", 100.0), ("second", 101.0))]
    assert linked(tries, [span(is_native=True)]) == {"second": [("s", Rank.NATIVE)]}


def test_an_answers_id_tells_by_the_nearest_time_one_span_a_call() -> None:
    """The second call was answered out of the cache."""
    calls = [call("asked", 100.0, response_id="r"), call("cached", 160.0, response_id="r")]
    spans = [span("first", 99.9, response_id="r"), span("second", 159.9, response_id="r")]
    assert linked(calls, spans) == {"asked": [("first", Rank.RESPONSE_ID)], "cached": [("second", Rank.RESPONSE_ID)]}


def test_an_answer_out_of_a_cache_that_left_no_row_stays_a_line_of_its_own() -> None:
    spans = [span("first", 99.9, response_id="r"), span("second", 159.9, response_id="r")]
    assert linked([call("asked", 100.0, response_id="r")], spans) == {"asked": [("first", Rank.RESPONSE_ID)]}


def test_two_instrumentations_tell_of_one_call() -> None:
    spans = [span("one", 99.9, response_id="r", scope="a"), span("other", 99.8, response_id="r", scope="b")]
    assert linked([call(response_id="r")], spans) == {"c": [("one", Rank.RESPONSE_ID), ("other", Rank.RESPONSE_ID)]}


def test_the_same_id_of_another_day_or_another_key_is_another_answer() -> None:
    for at in (90.0, 102.0, 1000.0):  # as of a provider that answers the same with the same id, asked directly before or after
        assert linked([call(response_id="r")], [span(at=at, response_id="r")]) == {}
    assert linked([call(response_id="r", key_id="ours")], [span(response_id="r")]) == {}


def test_a_log_that_says_only_when_is_of_the_call_that_had_just_ended() -> None:
    said = span(at=130.0, end=130.0, response_id="r")
    calls = [call("first", 100.0, response_id="r"), call("last", 120.0, response_id="r")]
    assert linked(calls, [said]) == {"last": [("s", Rank.RESPONSE_ID)]}
    assert linked(calls, [replace(said, start=1000.0, end=1000.0)]) == {}
    assert linked(calls, [replace(said, start=90.0, end=90.0)]) == {}


def test_the_same_answer_three_times_in_one_workflow_is_three_calls_each_in_its_place() -> None:
    """The second span begins nearer to the first call than the first span does: but nobody asks after the call has begun."""
    calls = [call(f"c{at}", 100.0 + at / 100, response_id="r", usage=USED) for at in range(3)]
    for facts in ({"response_id": "r"}, {"usage": USED}):
        spans = [span(f"s{at}", 99.993 + at / 100, end=101.5, **facts) for at in range(3)]
        rank = Rank.RESPONSE_ID if "response_id" in facts else Rank.LIKENESS
        assert linked(calls, spans) == {f"c{at}": [(f"s{at}", rank)] for at in range(3)}


def test_a_span_that_names_a_call_is_no_other_call() -> None:
    """Another gateway's, with an answer that ours got too."""
    assert linked([call(response_id="r", usage=USED)], [span(log_id="elsewhere", response_id="r", usage=USED)]) == {}


def test_of_many_that_name_one_call_few_are_asked_and_none_is_another_line() -> None:
    spans = [span(f"s{number}", parent_id="flow", end=101.0 + number, log_id="c") for number in range(MOST_TOLD + 2)]
    [links] = link([call()], spans[::-1]).values()
    assert [found.span.id for found in links] == [one.id for one in spans]
    assert [found.rank for found in links] == [Rank.LOG_ID] * MOST_TOLD + [Rank.REPEATED] * 2
    facts = {one.id: {"customer_identifier": "last" if one is spans[-1] else None} for one in spans}
    assert merged({}, "chat", links, facts)["customer_identifier"] is None


def test_of_many_instrumentations_few_are_believed_that_one_answer_is_theirs() -> None:
    spans = [span(f"s{number}", scope=str(number), response_id="r") for number in range(MOST_TOLD + 2)]
    [links] = link([call(response_id="r")], spans).values()
    assert len(links) == MOST_TOLD


@pytest.mark.parametrize(
    "changed",
    [
        {"usage": usage(["gpt-4.1"], 10, 6)},
        {"usage": usage(["gpt-4.1"], 11, 5)},
        {"usage": usage(["gpt-4.1-mini"], 10, 5)},
        {"usage": None},
        {"key_id": "another"},
        {"at": 100.1},
        {"end": 100.9},
    ],
    ids=["completion", "prompt", "model", "no-usage", "key", "begun-later", "ended-earlier"],
)
def test_alike_are_a_call_and_the_generation_around_it_and_nothing_less(changed: dict[str, Any]) -> None:
    facts: dict[str, Any] = {"usage": USED}
    assert linked([call(usage=USED)], [span(**facts)]) == {"c": [("s", Rank.LIKENESS)]}
    assert linked([call(usage=USED)], [span(**facts)], by_likeness=False) == {}
    assert linked([call(usage=USED)], [span(**{**facts, **changed})]) == {}


def test_models_are_alike_however_they_are_spelt_and_completions_with_or_without_reasoning() -> None:
    answered = call(usage=usage(["gemini-2.5-flash", None], 10, 9, 4))
    assert linked([answered], [span(usage=usage(["models/gemini-2.5-flash"], 10, 5))]) == {"c": [("s", Rank.LIKENESS)]}
    assert linked([answered], [span(usage=usage(["google/Gemini-2.5-flash"], 10, 9))]) == {"c": [("s", Rank.LIKENESS)]}


def test_of_calls_that_are_alike_each_span_has_the_one_that_began_next_to_it() -> None:
    calls = [call(f"c{at}", 100.0 + at / 100, usage=USED) for at in range(3)]
    spans = [span(f"s{at}", 99.999 + at / 100, end=102.0, usage=USED) for at in range(3)]
    assert linked(calls, spans) == {f"c{at}": [(f"s{at}", Rank.LIKENESS)] for at in range(3)}


def test_a_call_that_nobody_has_told_of_is_the_likelier_one() -> None:
    calls = [call("known", 100.0, usage=USED), call("unknown", 100.5, usage=USED)]
    spans = [span("sure", 99.9, log_id="known"), span("maybe", 99.95, end=102.0, usage=USED)]
    assert linked(calls, spans) == {"known": [("sure", Rank.LOG_ID)], "unknown": [("maybe", Rank.LIKENESS)]}


def test_the_surest_span_is_the_call_but_for_one_that_stands_in_no_tree() -> None:
    """OpenAI's instrumentation does not see the Agents SDK around it: its span is the root of a trace with nothing else in it."""
    sure, maybe = span("sure", log_id="c"), span("maybe", parent_id="turn", usage=USED)
    assert linked([call(usage=USED)], [sure, maybe]) == {"c": [("maybe", Rank.LIKENESS), ("sure", Rank.LOG_ID)]}
    within = replace(sure, parent_id="flow")
    assert linked([call(usage=USED)], [within, maybe]) == {"c": [("sure", Rank.LOG_ID), ("maybe", Rank.LIKENESS)]}


def test_no_usage_is_like_no_usage() -> None:
    assert usage(["gpt-4.1"], 0, 0) is None
    assert usage(["gpt-4.1"], None, 5) is None
    assert usage(["gpt-4.1"], None, None) is None


def test_what_failed_before_anything_was_counted_is_like_what_did_too() -> None:
    """A client that left, and one whose instrumentation tells nothing of an error's headers: both know model and time alone."""
    failed = usage(["gpt-4.1"], None, None, failed=True)
    assert failed == usage(["gpt-4.1"], 0, 0, failed=True) != usage(["gpt-4.1-mini"], None, None, failed=True)
    assert linked([call(usage=failed)], [span(usage=failed)]) == {"c": [("s", Rank.LIKENESS)]}
    assert linked([call(usage=USED)], [span(usage=failed)]) == linked([call(usage=failed)], [span(usage=USED)]) == {}
    nameless = usage([None], None, None, failed=True)
    assert linked([call(usage=failed)], [span(usage=nameless)]) == {"c": [("s", Rank.LIKENESS)]}
    assert linked([call(usage=nameless)], [span(usage=failed)]) == linked([call(usage=USED)], [span(usage=nameless)]) == {}
    calls = [call(f"c{at}", 100.0 + at, usage=failed) for at in range(3)]
    assert linked(calls, [span(end=104.0, usage=failed)]) == {"c0": [("s", Rank.LIKENESS)]}


OWN = {
    "trace_unique_id": "c",
    "span_unique_id": "own",
    "span_name": "chat",
    "customer_identifier": "asked",
    "metadata": '{"a":"asked","n":1}',
}


def told(*spans: tuple[Heard, dict[str, Any]], own: dict[str, Any] = OWN) -> dict[str, Any]:
    links = [Link(heard, Rank.LOG_ID, 0.0) for heard, _ in spans]
    whole = merged(own, "chat", links, {heard.id: facts for heard, facts in spans})
    assert list(whole) == list(LINKED)
    return {name: value for name, value in whole.items() if value is not None}


def test_without_spans_a_call_is_what_it_was() -> None:
    assert told() == OWN


def test_the_span_says_where_the_call_stands_and_what_the_request_left_open() -> None:
    facts = {
        "span_name": "llm.gpt-4.1",
        "span_workflow_name": "flow",
        "span_path": "openai.chat",
        "customer_identifier": "span",
        "thread_identifier": "t",
        "environment": "production",
        "metadata": '{"a":"span","b":true}',
        "prompt_tokens": 3,
    }
    whole = told((span(parent_id="task"), facts))
    assert orjson.loads(whole.pop("metadata")) == {"a": "asked", "b": True, "n": 1}
    assert whole == {
        "trace_unique_id": TRACE,
        "span_unique_id": "s",
        "span_parent_id": "task",
        "span_name": "llm.gpt-4.1",
        "span_workflow_name": "flow",
        "span_path": "openai.chat",
        "customer_identifier": "asked",
        "thread_identifier": "t",
        "environment": "production",
    }


def test_a_name_that_the_request_gave_stays() -> None:
    assert told((span(), {"span_name": "llm.gpt-4.1"}), own={**OWN, "span_name": "mine"})["span_name"] == "mine"


def test_what_the_identity_leaves_open_the_others_tell() -> None:
    whole = told(
        (span("identity"), {"metadata": '{"b":1}'}), (span("beside"), {"thread_identifier": "t", "metadata": '{"b":2,"c":2}'}), own={}
    )
    assert whole["thread_identifier"] == "t"
    assert orjson.loads(whole["metadata"]) == {"b": 1, "c": 2}


def test_a_parent_that_tells_of_the_same_call_is_stepped_over() -> None:
    inner, outer = span("inner", parent_id="outer"), span("outer", parent_id="turn")
    assert told((inner, {}), (outer, {}))["span_parent_id"] == "turn"
    assert "span_parent_id" not in told((inner, {}), (replace(outer, parent_id="inner"), {}))
    assert "span_parent_id" not in told((replace(inner, parent_id="inner"), {}))


def double(*spans: Heard) -> dict[str, str]:
    [outcome] = {tuple(sorted(doubled(some).items())) for some in permutations(spans)}
    return dict(outcome)


INSIDE = {"at": 100.0, "end": 100.9, "usage": USED}


def test_a_librarys_own_span_is_beside_its_instrumentations_when_no_call_is_here() -> None:
    """As anthropic 2.x and Respan's instrumentation do, within a workflow and without."""
    for parent in ("flow", None):
        outer = span("outer", parent_id=parent, usage=USED, scope="instrumentation")
        native = span("native", parent_id=parent, is_native=True, scope="library", **INSIDE)
        assert double(outer, native) == {"native": "outer"}
        assert double(outer, replace(native, scope="instrumentation")) == {}
        failed = {"usage": usage(["gpt-4.1"], None, None, failed=True)}
        assert double(replace(outer, **failed), replace(native, **failed)) == {"native": "outer"}
        begun = usage(["gpt-4.1"], 10, None)
        assert double(replace(outer, usage=usage(["gpt-4.1"], 10, 0)), replace(native, usage=begun)) == {"native": "outer"}
        assert double(outer, replace(native, key_id="another")) == {}
        assert double(outer, replace(native, usage=usage(["gpt-4.1"], 10, 6))) == {}
        assert double(outer, replace(native, usage=usage(["gpt-5"], 10, 5))) == {}
        assert double(outer, replace(native, start=99.0)) == double(outer, replace(native, end=102.0)) == {}


def test_a_span_that_stands_nowhere_is_beside_the_one_that_stands_in_a_tree() -> None:
    """As OpenAI's instrumentation and that of the Agents SDK do."""
    outer, inner = span("outer", parent_id="turn", usage=USED), span("inner", trace_id="f" * 32, **INSIDE)
    assert double(outer, inner) == {"inner": "outer"}
    assert double(outer, replace(inner, parent_id="x")) == {}  # two calls of one workflow at once
    assert double(replace(outer, parent_id=None), inner) == {}  # two calls at once
    assert double(replace(outer, start=99.99, end=100.0), replace(inner, end=100.01)) == {}  # one quick call after the other


def test_each_span_is_beside_one_other_the_nearest() -> None:
    outer = [span(f"outer{at}", 99.9 + at / 100, parent_id="turn", usage=USED) for at in range(3)]
    inner = [span(f"inner{at}", 100.0 + at / 100, end=100.9, usage=USED) for at in range(2)]
    assert double(*outer, *inner) == {"inner0": "outer2", "inner1": "outer1"}


def test_a_span_within_a_span_within_a_span_is_beside_the_outermost() -> None:
    outer = span("outer", 99.8, end=101.3, parent_id="turn", usage=USED)
    between = span("between", usage=USED, scope="instrumentation")
    native = span("native", is_native=True, scope="library", **INSIDE)
    assert double(outer, between, native) == {"native": "outer", "between": "outer"}
