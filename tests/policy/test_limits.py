"""Windows and budgets: never more than the limit in any minute, room again when promised, bounded memory."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.config import Allowance
from respan_proxy.errors import RequestRejected
from respan_proxy.policy.limits import DAY_S, MINUTE_S, Account, Accounts, Window, asked_of, exceeded, refusal
from respan_proxy.respan.spans import NANO

NOW = 20_000.0 * DAY_S

# Seconds between two calls, by the millisecond: bursts, and pauses around a second and a minute.
PAUSES = st.one_of(st.just(0), st.integers(0, 3_000), st.integers(58_000, 62_000)).map(lambda ms: ms / 1000)


@given(st.integers(1, 5), st.lists(PAUSES, min_size=1, max_size=80))
def test_no_minute_has_more_calls_than_the_limit_and_none_waits_much_longer(limit: int, pauses: list[float]) -> None:
    window, admitted, now = Window(), list[float](), NOW
    for pause in pauses:
        now += pause
        lately = [at for at in admitted if at > now - MINUTE_S]
        if window.used(now) < limit:
            admitted.append(now)
            window.add(now, 1)
            assert len(lately) < limit
        else:
            # Stricter than a list of all calls by the rest of a second.
            assert len([at for at in admitted if at > now - MINUTE_S - 1]) >= limit
            frees_at = window.frees_at(limit)
            assert now < frees_at <= now + MINUTE_S + 1


@given(st.integers(1, 100), st.lists(st.tuples(PAUSES, st.integers(1, 60)), min_size=1, max_size=60))
def test_there_is_room_when_it_was_promised_and_not_before(limit: int, taken: list[tuple[float, int]]) -> None:
    window, now = Window(), NOW
    for pause, amount in taken:
        now += pause
        window.add(now, amount)
    if window.used(now) >= limit:
        frees_at = window.frees_at(limit)
        assert window.used(frees_at - 1) >= limit
        assert window.used(frees_at) < limit


@given(st.lists(st.tuples(st.integers(-200, 200), st.integers(0, 9)), max_size=60))
def test_a_clock_that_jumps_never_locks_out_for_more_than_two_minutes(jumps: list[tuple[int, int]]) -> None:
    window, now = Window(), NOW
    for jump, amount in jumps:
        now += jump
        window.add(now, amount)
        assert window.used(now) >= amount
    assert window.used(now + 2 * MINUTE_S + 1) == 0


def test_a_window_is_as_large_as_a_minute_has_seconds() -> None:
    window = Window()
    for tick in range(100_000):
        window.add(NOW + tick / 10, 1)
    assert len(window._slots) <= MINUTE_S + 1


@given(st.lists(st.tuples(st.integers(0, DAY_S), st.integers(0, 10**9)), max_size=20))
def test_a_days_spending_is_the_sum_of_that_day(calls: list[tuple[int, int]]) -> None:
    account, now = Account(), NOW
    days: dict[int, int] = {}
    for pause, cost in calls:
        now += pause
        account.spend(now, cost)
        day = int(now) // DAY_S
        days[day] = days.get(day, 0) + cost
        assert account.spent(now) == days[day]


def test_a_clock_that_is_set_back_over_midnight_gives_no_budget_twice() -> None:
    account = Account()
    account.spend(NOW, 5)
    assert account.spent(NOW - 60) == 5
    found = exceeded(account, Allowance(max_usd_per_day=4 / NANO), NOW - 60)
    assert found is not None and found.frees_at == NOW + DAY_S


def test_of_several_limits_the_one_that_frees_last_is_told() -> None:
    account = Account()
    account.requests.add(NOW, 1)
    account.tokens.add(NOW + 30, 10)
    found = exceeded(account, Allowance(requests_per_minute=1, tokens_per_minute=10), NOW + 31)
    assert found is not None and (found.name, found.frees_at) == ("tokens_per_minute", NOW + 91)
    account.spend(NOW, NANO)
    found = exceeded(account, Allowance(1, 10, 0.5), NOW + 31)
    assert found is not None and (found.name, found.used, found.frees_at) == ("max_usd_per_day", 1, NOW + DAY_S)


@pytest.mark.parametrize(
    ("used", "limit", "said"), [(5.02, 5, "$5.02 of $5.00"), (0.0000123, 0.00001, "$0.000012 of $0.000010"), (1.5, 0.5, "$1.50 of $0.50")]
)
def test_a_budgets_refusal_says_dollars_that_can_be_read(used: float, limit: float, said: str) -> None:
    account = Account()
    account.spend(NOW, round(used * NANO))
    found = exceeded(account, Allowance(max_usd_per_day=limit), NOW)
    assert found is not None and said in str(refusal("this proxy", found, NOW))


def test_customers_beyond_the_most_push_out_who_called_longest_ago() -> None:
    accounts = Accounts(most_customers=2)
    for name in ("a", "b", "a", "c"):
        accounts.of_customer(name).spend(NOW, 1)
    assert {name: account.spent(NOW) for name, account in accounts.customers.items()} == {"a": 2, "c": 1}


def test_an_idle_customer_takes_half_a_kilobyte() -> None:
    account = Account()
    account.requests.add(NOW, 1)
    account.tokens.add(NOW, 100)
    parts = [account, *(part for window in (account.requests, account.tokens) for part in (window, window._slots, *window._slots))]
    assert sum(map(sys.getsizeof, parts)) < 1000


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2)))
def test_whatever_a_rate_limit_is_it_is_read_or_refused(said: object) -> None:
    try:
        allowance = asked_of({"rate_limit": said}, Allowance(requests_per_minute=5))
    except RequestRejected:
        assert not isinstance(said, int) or isinstance(said, bool) or said < 1
        return
    assert allowance.requests_per_minute is not None and 1 <= allowance.requests_per_minute <= 5
