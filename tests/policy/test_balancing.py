"""Several targets come in the order of their pick, and each gets its share."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.config.balancing import PICKS, Pick
from respan_proxy.policy.balancing import FAILURE_S, FRESH_S, TARGETS_REMEMBERED, Key, Loads, order

A: Key = ("openai", "gpt-4o", "eu", 0)
B: Key = ("openai", "gpt-4o", "us", 0)


def test_each_is_the_first_as_often_as_its_weight_says_and_the_second_among_the_rest() -> None:
    dice = Random(7).random
    orders = [tuple(order("weighted", (5.0, 3.0, 0.5), (), 0, dice)) for _ in range(20_000)]
    firsts = Counter(first for first, *_ in orders)
    for place, weight in enumerate((5.0, 3.0, 0.5)):
        assert abs(firsts[place] / 20_000 - weight / 8.5) < 0.01
    seconds = Counter(second for first, second, _ in orders if first == 0)
    assert abs(seconds[1] / seconds.total() - 3.0 / 3.5) < 0.01


@given(
    st.sampled_from(PICKS),
    st.lists(st.tuples(st.floats(1e-9, 1e9), st.floats(-1, float("inf"))), min_size=1, max_size=9),
    st.integers(0, 99),
    st.integers(),
)
def test_every_order_asks_everybody_once(pick: Pick, choices: list[tuple[float, float]], turn: int, seed: int) -> None:
    weights, costs = [weight for weight, _ in choices], [cost for _, cost in choices]
    assert sorted(order(pick, weights, costs, turn, Random(seed).random)) == list(range(len(choices)))


def test_one_after_the_other_begins_one_further_each_time() -> None:
    loads = Loads()
    orders = [order("round_robin", (1.0, 9.0, 1.0), (), loads.turn("providers.openai"), Random(1).random) for _ in range(4)]
    assert orders == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


def test_the_least_busy_comes_first_and_equals_by_weight() -> None:
    dice = Random(3).random
    loads = Loads()
    loads.begin(A, 0.0)

    def first() -> int:
        return order("least_busy", (9.0, 1.0), [loads.cost("least_busy", key, 0.0) for key in (A, B)], 0, dice)[0]

    assert [first() for _ in range(5)] == [1, 1, 1, 1, 1]
    loads.end(A)
    assert Counter(first() for _ in range(1000))[0] > 850


def test_the_quickest_comes_first_and_who_is_not_known_is_tried_by_one_call() -> None:
    loads = Loads()

    def firsts(now: float) -> int:
        return order("lowest_latency", (1.0, 1.0), [loads.cost("lowest_latency", key, now) for key in (A, B)], 0, Random(1).random)[0]

    loads.begin(A, 0.0)
    loads.answered(A, 0.5, 0.5, failed=False)
    assert firsts(0.5) == 1, "nobody knows how quick the second is"
    loads.begin(B, 0.5)
    assert firsts(0.5) == 0, "one call finds out; the next goes where it is known to be quick"
    loads.answered(B, 0.1, 0.6, failed=False)
    assert firsts(0.6) == 1
    loads.answered(B, 0.01, 0.7, failed=True)
    assert loads.cost("lowest_latency", B, 0.7) > FAILURE_S / 10 and firsts(0.7) == 0, "a quick refusal is not quick"
    loads.answered(A, 0.5, 1.0 + FRESH_S, failed=False)
    assert firsts(1.0 + FRESH_S) == 1, "what was measured long ago is measured again"


def test_names_that_callers_invent_do_not_fill_the_memory() -> None:
    loads = Loads()
    for number in range(3 * TARGETS_REMEMBERED):
        key = ("openai", f"gpt-{number}", None, 0)
        loads.begin(key, 0.0)
        loads.answered(key, 1.0, 1.0, failed=False)
        loads.end(key)
        loads.turn(str(number))
    assert len(loads._latencies) <= TARGETS_REMEMBERED and not loads._active and len(loads._turns) <= TARGETS_REMEMBERED
