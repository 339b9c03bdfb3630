"""A call that is one too many for its key, its customer or the whole proxy is refused before it costs anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from respan_proxy.config import ANYTHING, Allowance, Config
from respan_proxy.exchange import Exchange, Handler, Next, Reply
from respan_proxy.policy.limits import DAY_S, Accounts, asked_of, exceeded, last_to_free, refusal
from respan_proxy.respan.spans import NANO, Row


class Taken(Protocol):
    """What earlier calls took of one minute's or one day's limit (store/spending.py)."""

    @property
    def key_id(self) -> str | None: ...
    @property
    def customer(self) -> str | None: ...
    @property
    def at(self) -> float: ...
    @property
    def requests(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def cost(self) -> int: ...


class Limits:
    """Counts as long as the process lives. Tokens and cost always, requests while any limit is configured: a budget that a reload brings
    finds what was spent before.

    `admits` stands behind the parameters, and refuses; `settle` outside the trace, whose row is whole when tokens and cost are counted.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.accounts = Accounts()
        self.refused = 0

    def restore(self, taken: Iterable[Taken]) -> None:
        """What was taken before this process began, in the order of time."""
        for one in taken:
            self._take(one.key_id, one.customer, one.at, one.requests, one.tokens, one.cost)

    async def settle(self, exchange: Exchange, call_next: Next) -> Reply:
        try:
            return await call_next(exchange)
        finally:
            if exchange.row is not None:
                exchange.on_complete.append(partial(self._settle, exchange.row))

    def _settle(self, row: Row) -> None:
        # Of a kept answer the tokens are told again, and a count is only about them: neither took any.
        tokens = 0 if row.cache_bit or row.log_type == "count_tokens" else row.total_request_tokens or 0
        self._take(row.organization_key_id, row.customer_identifier, self._now(), 0, tokens, row.cost or 0)

    def _take(self, key_id: str | None, customer: str | None, at: float, requests: int, tokens: int, cost: int) -> None:
        for account in self.accounts.of(key_id, customer):
            if requests:
                account.requests.add(at, requests)
            if tokens:
                account.tokens.add(at, tokens)
            if cost:
                account.spend(at, cost)

    def admits(self, config: Config) -> Handler:
        """The handler of a configuration. Calls that leave no row, and counts of tokens, are free."""
        everybody = _everybody(config)
        of_keys = {key.id: key.allowance for key in config.keys if key.allowance}
        limited = bool(everybody or of_keys or config.customers)

        def enter(exchange: Exchange) -> None:
            row = exchange.row
            if row is None or exchange.endpoint.kind == "count":
                return
            now, accounts, caller = self._now(), self.accounts, exchange.caller
            customer = row.customer_identifier
            found = [exceeded("this proxy", accounts.whole, everybody, now)] if everybody else []
            if caller.key_id is not None and (allowance := of_keys.get(caller.key_id)) is not None:
                found.append(exceeded(f"key {caller.key_name!r}", accounts.of_key(caller.key_id), allowance, now))
            if (said := exchange.params.values.get("customer_params")) is not None or (customer and config.customers):
                allowance = asked_of(said or {}, config.allowance(customer) if customer else ANYTHING)
                if customer:
                    found.append(exceeded(f"customer {customer!r:.80}", accounts.of_customer(customer), allowance, now))
                elif allowance:
                    exchange.warnings.append("customer_params.rate_limit:ignored_without_customer_identifier")
            if (worst := last_to_free(found)) is not None:
                self.refused += 1
                raise refusal(worst, now)
            self._take(caller.key_id, customer, now, 1, 0, 0)

        async def handler(exchange: Exchange, call_next: Next) -> Reply:
            if limited or "customer_params" in exchange.params.values:
                enter(exchange)
            return await call_next(exchange)

        return handler

    def told(self, config: Config, *, amounts: bool) -> dict[str, Any]:
        """For health: how many calls were refused; with `amounts`, what today cost, of what it may. Dollars; None: no limit."""
        told: dict[str, Any] = {"refused": self.refused}
        if not amounts:
            return told
        now = self._now()
        told["day"] = time.strftime("%Y-%m-%d", time.gmtime(now // DAY_S * DAY_S))
        told["spent_usd"] = self.accounts.whole.spent(now) / NANO
        told["max_usd_per_day"] = _everybody(config).max_usd_per_day
        told["keys"] = {
            key.name: {"spent_usd": self.accounts.of_key(key.id).spent(now) / NANO, "max_usd_per_day": key.allowance.max_usd_per_day}
            for key in config.keys
        }
        told["customers"] = len(self.accounts.customers)
        return told


def _everybody(config: Config) -> Allowance:
    return Allowance(max_usd_per_day=config.budgets.max_usd_per_day or None)
