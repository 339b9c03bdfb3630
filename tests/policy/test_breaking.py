"""A target that fails again and again rests; then one call tries."""

from __future__ import annotations

import pytest

from respan_proxy.config import Breaker as Rules
from respan_proxy.policy.balancing import TARGETS_REMEMBERED, Key
from respan_proxy.policy.breaking import Breaker

RULES = Rules(failures=3, span_s=10.0, rest_s=60.0)
KEY: Key = ("openai", "gpt-4o", None, 0)


def after(*times: float, rules: Rules = RULES) -> Breaker:
    breaker = Breaker()
    for now in times:
        breaker.failed(KEY, now, rules)
    return breaker


def test_it_rests_after_so_many_failures_in_a_row() -> None:
    breaker = after(0.0, 1.0)
    assert breaker.may_ask(KEY, 2.0, RULES) and not breaker.rests(2.0)
    breaker.failed(KEY, 2.0, RULES)
    assert not breaker.may_ask(KEY, 2.0, RULES) and not breaker.may_ask(KEY, 61.9, RULES)
    (rest,) = breaker.rests(12.0)
    assert (rest.key, rest.failures, rest.left_s) == (KEY, 3, 50.0)


def test_failures_that_lie_far_apart_do_not_add_up() -> None:
    assert after(0.0, 6.0, 12.0).may_ask(KEY, 12.0, RULES)


def test_an_answer_in_between_begins_anew() -> None:
    breaker = after(0.0, 1.0)
    breaker.answered(KEY, 1.5)
    breaker.failed(KEY, 2.0, RULES)
    assert breaker.may_ask(KEY, 2.0, RULES)


def test_after_the_rest_one_call_tries_and_its_success_ends_it() -> None:
    breaker = after(0.0, 1.0, 2.0)
    assert [breaker.may_ask(KEY, 62.0, RULES) for _ in range(3)] == [True, False, False]
    breaker.answered(KEY, 62.0)
    assert breaker.may_ask(KEY, 62.1, RULES) and not breaker.rests(62.1)


def test_a_try_that_fails_is_followed_by_another_rest() -> None:
    breaker = after(0.0, 1.0, 2.0)
    assert breaker.may_ask(KEY, 62.0, RULES)
    breaker.failed(KEY, 63.0, RULES)
    assert not breaker.may_ask(KEY, 122.9, RULES) and breaker.may_ask(KEY, 123.0, RULES)


def test_a_try_that_never_tells_is_followed_by_another_one() -> None:
    breaker = after(0.0, 1.0, 2.0)
    assert breaker.may_ask(KEY, 62.0, RULES)
    assert not breaker.may_ask(KEY, 121.9, RULES) and breaker.may_ask(KEY, 122.0, RULES)


def test_the_end_of_a_call_from_before_the_rest_does_not_end_it() -> None:
    breaker = after(0.0, 1.0, 2.0)
    breaker.answered(KEY, begun_at=1.5)
    assert not breaker.may_ask(KEY, 3.0, RULES)
    breaker.answered(KEY, begun_at=2.5)
    assert breaker.may_ask(KEY, 3.0, RULES)


@pytest.mark.parametrize(("failures", "rests"), [(0, False), (1, True)])
def test_how_often_is_said(failures: int, rests: bool) -> None:
    rules = Rules(failures=failures)
    assert after(0.0, rules=rules).may_ask(KEY, 0.0, rules) != rests


def test_one_target_does_not_speak_for_another_and_memory_is_bounded() -> None:
    breaker = after(0.0, 1.0, 2.0)
    other: Key = ("openai", "gpt-4o", "eu", 0)
    assert breaker.may_ask(other, 2.0, RULES)
    for number in range(2 * TARGETS_REMEMBERED):
        breaker.failed(("openai", f"gpt-{number}", None, 0), 0.0, Rules(failures=1))
    assert len(breaker.rests(0.0)) == TARGETS_REMEMBERED
