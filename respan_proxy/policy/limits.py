"""Owns the question whether a call is one too many: what keys, customers and the whole proxy took of late, against what they may take.

Times are seconds of the epoch, money is nano-dollars. Counted are calls when they begin, tokens and cost when they have ended; what is
under way is in no sum yet, so that calls at the same time may overdraw by what they take together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import ceil, floor, log10
from typing import Any

from respan_proxy.config import Allowance
from respan_proxy.errors import LimitExceeded, RequestRejected
from respan_proxy.frozen import frozen
from respan_proxy.respan.spans import NANO

MINUTE_S = 60
DAY_S = 86_400

# An idle customer takes some 500 bytes. Beyond it the one that has called for longest no more is forgotten, and begins anew.
MOST_CUSTOMERS = 10_000

# Somebody may want to know before calls are refused.
NEARLY = 0.8

RATE_EXCEEDED = "rate_limit_exceeded"
BUDGET_EXCEEDED = "budget_exceeded"


class Window:
    """What was taken in the last minute, in slots of a second; a slot counts until all of it is a minute old.

    So no minute, wherever it begins, has more than the limit, and the wait that is told is right to the second. Windows from one full
    minute to the next would let twice the limit pass around the stroke; a list of all calls would grow with the limit.
    """

    __slots__ = ("_slots", "_total")

    def __init__(self) -> None:
        self._slots: list[list[int]] = []
        self._total = 0

    def add(self, now: float, amount: int) -> None:
        slot = self._now(now)
        if self._slots and self._slots[-1][0] == slot:
            self._slots[-1][1] += amount
        else:
            self._slots.append([slot, amount])
        self._total += amount

    def used(self, now: float) -> int:
        self._now(now)
        return self._total

    def frees_at(self, limit: int) -> float:
        """When less than `limit` (above 0) will be used, if nothing more is taken."""
        left = self._total
        for slot, amount in self._slots:
            left -= amount
            if left < limit:
                return slot + 1 + MINUTE_S
        return 0.0

    def _now(self, now: float) -> int:
        """The slot that counts as the present, once what is too old is gone.

        A clock that was set back a little stands still here until it has caught up; one set back by more than a minute begins anew.
        """
        slots, slot = self._slots, int(now)
        if not slots or slots[-1][0] <= slot < slots[0][0] + 1 + MINUTE_S:
            return slot  # nearly always
        if slots[-1][0] > slot + MINUTE_S:
            slots.clear()
            self._total = 0
            return slot
        gone = 0
        while gone < len(slots) and slots[gone][0] + 1 + MINUTE_S <= slot:
            self._total -= slots[gone][1]
            gone += 1
        del slots[:gone]
        return max(slot, slots[-1][0]) if slots else slot


@frozen
class Taken:
    """By one key for one customer at one moment: calls begun, tokens, cost."""

    key_id: str | None
    customer: str | None
    at: float
    requests: int = 0
    tokens: int = 0
    cost: int = 0


@dataclass(slots=True)
class Account:
    """What one key, one customer, or everybody took: calls and tokens of the last minute, cost of the day."""

    requests: Window = field(default_factory=Window)
    tokens: Window = field(default_factory=Window)
    day: int = 0
    noted: float = 0.0
    """The share of the day's budget that was told in the log."""
    _spent: int = 0

    def spend(self, now: float, cost: int) -> None:
        self._spent = self.spent(now) + cost

    def spent(self, now: float) -> int:
        """Of the day of `now`. A clock that was set back does not give a day's budget twice."""
        if (day := int(now) // DAY_S) > self.day:
            self.day, self._spent, self.noted = day, 0, 0.0
        return self._spent


class Accounts:
    """Everybody's accounts, in bounded memory. Keys are as many as are configured; customers are anything that callers say."""

    def __init__(self, most_customers: int = MOST_CUSTOMERS) -> None:
        self.whole = Account()
        self.keys: dict[str, Account] = {}
        self.customers: OrderedDict[str, Account] = OrderedDict()
        self._most = most_customers

    def of_key(self, key_id: str) -> Account:
        account = self.keys.get(key_id)
        if account is None:
            account = self.keys[key_id] = Account()
        return account

    def of_customer(self, identifier: str) -> Account:
        account = self.customers.get(identifier)
        if account is not None:
            self.customers.move_to_end(identifier)
            return account
        if len(self.customers) >= self._most:
            self.customers.popitem(last=False)
        account = self.customers[identifier] = Account()
        return account

    def of(self, key_id: str | None, customer: str | None) -> list[Account]:
        """All accounts that a call of this key for this customer goes to."""
        found = [self.whole]
        if key_id is not None:
            found.append(self.of_key(key_id))
        if customer:
            found.append(self.of_customer(customer))
        return found

    def take(self, taken: Taken) -> None:
        for account in self.of(taken.key_id, taken.customer):
            if taken.requests:
                account.requests.add(taken.at, taken.requests)
            if taken.tokens:
                account.tokens.add(taken.at, taken.tokens)
            if taken.cost:
                account.spend(taken.at, taken.cost)


@frozen
class Exceeded:
    """`limit` and `used` are numbers of the limit called `name`; in dollars for `max_usd_per_day`. `frees_at`: when there is room again."""

    name: str
    limit: float
    used: float
    frees_at: float


def exceeded(account: Account, allowance: Allowance, now: float) -> Exceeded | None:
    """Which limit of an account has no room for one more call; of several the one that frees last: who waited for another would be
    refused again."""
    found: Exceeded | None = None
    if (most := allowance.requests_per_minute) is not None and (used := account.requests.used(now)) >= most:
        found = Exceeded("requests_per_minute", most, used, account.requests.frees_at(most))
    if (most := allowance.tokens_per_minute) is not None and (used := account.tokens.used(now)) >= most:
        tokens = Exceeded("tokens_per_minute", most, used, account.tokens.frees_at(most))
        found = tokens if found is None or tokens.frees_at > found.frees_at else found
    if (usd := allowance.max_usd_per_day) is not None and (spent := account.spent(now)) >= usd * NANO:
        found = Exceeded("max_usd_per_day", usd, spent / NANO, (account.day + 1) * DAY_S)  # at least a second away, nearly always hours
    return found


def worth_noting(account: Account, allowance: Allowance) -> float | None:
    """The share of the day's budget that is spent, when it is one that people should hear of and have not yet. Marks it as heard."""
    if (usd := allowance.max_usd_per_day) is None:
        return None
    share = account._spent / (usd * NANO)
    step = 1.0 if share >= 1 else NEARLY if share >= NEARLY else 0.0
    if step <= account.noted:
        return None
    account.noted = step
    return share


def refusal(who: str, found: Exceeded, now: float) -> LimitExceeded:
    """What the caller is told: the limit, what is used, when there is room again.

    SDKs wait as long as `Retry-After` says and ask again, Anthropic's for a night if need be: that is right for a minute, and for a day
    they are told not to.
    """
    wait_s = max(1, ceil(found.frees_at - now))
    headers = {"Retry-After": str(wait_s)}
    if found.name != "max_usd_per_day":
        message = f"{found.name} of {who} reached: {found.used:g} of {found.limit:g}; there is room again in {wait_s} s"
        return LimitExceeded(message, code=RATE_EXCEEDED, headers=headers)
    until = datetime.fromtimestamp(found.frees_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    message = (
        f"the budget of {who} for today is spent: ${_dollars(found.used)} of ${_dollars(found.limit)} (max_usd_per_day);"
        f" it begins anew at {until}, in {wait_s} s"
    )
    return LimitExceeded(message, kind="quota", code=BUDGET_EXCEEDED, headers={**headers, "x-should-retry": "false"})


def _dollars(amount: float) -> str:
    """Cents where those are enough, else two digits that say something: 5.00, 0.0000021."""
    return f"{amount:.{2 if amount >= 1 else min(9, 1 - floor(log10(amount)))}f}"


def asked_of(customer_params: Mapping[str, Any], configured: Allowance) -> Allowance:
    """A customer's allowance where the request brings `customer_params.rate_limit` (calls per minute): it may lower it, not raise it.

    RequestRejected when that is no whole number above 0; null says nothing.
    """
    said = customer_params.get("rate_limit")
    if said is None:
        return configured
    if isinstance(said, bool) or not isinstance(said, int | float) or said < 1 or (isinstance(said, float) and not said.is_integer()):
        raise RequestRejected(
            f"customer_params.rate_limit: found {said!r:.40}, expected a whole number of requests per minute, above 0",
            param="customer_params.rate_limit",
        )
    most = configured.requests_per_minute
    return replace(configured, requests_per_minute=int(said) if most is None else min(int(said), most))
