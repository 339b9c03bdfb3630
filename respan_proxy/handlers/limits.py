"""A call that is one too many for its key, its customer or the whole proxy is refused before it costs anything."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from respan_proxy.config import ANYTHING, Allowance, Config
from respan_proxy.exchange import Exchange, Handler, Next, Reply
from respan_proxy.policy.limits import DAY_S, Account, Accounts, Exceeded, Taken, asked_of, exceeded, refusal, worth_noting
from respan_proxy.respan.spans import NANO, Row

log = logging.getLogger(__name__)

# Enough for a day of ten million rows: a million took 1.3 s.
RESTORING_S = 15.0

Earlier = Callable[[float], Awaitable[Iterable[Taken]]]
"""What was taken before this process began, as of now, in the order of time (store/spending.py)."""


class Limits:
    """Counts as long as the process lives. Tokens and cost always, requests where a limit holds: a budget that a reload brings finds what
    was spent before.

    `admits` stands behind the parameters, and refuses; `settle` outside the trace, whose row is whole when tokens and cost are counted.
    What was taken `earlier` is read beside the first calls; those that a limit could refuse wait for it.
    """

    def __init__(self, earlier: Earlier, now: Callable[[], float] = time.time) -> None:
        self._earlier = earlier
        self._now = now
        self.accounts = Accounts()
        self.refused = 0
        self.unpriced = 0
        self._restored = asyncio.Event()
        self._meanwhile: list[Taken] = []
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Limits:
        self._reading = asyncio.create_task(self._restore(), name="limits from the rows")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    async def restored(self) -> None:
        """Until what was taken earlier is counted too, or until that has taken too long: a disk that hangs stops no calls."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._restored.wait(), RESTORING_S)

    async def _restore(self) -> None:
        try:
            for taken in await self._earlier(self._now()):
                self.accounts.take(taken)
        finally:
            for taken in self._meanwhile:
                self.accounts.take(taken)
            self._meanwhile.clear()
            self._restored.set()

    async def settle(self, exchange: Exchange, call_next: Next) -> Reply:
        try:
            return await call_next(exchange)
        finally:
            if exchange.row is not None:
                exchange.on_complete.append(partial(self._settle, exchange.row))

    def _settle(self, row: Row) -> None:
        # Of a kept answer the tokens are told again, and a count is only about them: neither took any.
        tokens = 0 if row.cache_bit or row.log_type == "count_tokens" else row.total_request_tokens or 0
        if row.cost is None:
            self.unpriced += tokens > 0 and not row.simulated
            if not tokens:
                return
        taken = Taken(row.organization_key_id, row.customer_identifier, self._now(), 0, tokens, row.cost or 0)
        if self._restored.is_set():
            self.accounts.take(taken)
        else:
            self._meanwhile.append(taken)  # windows are filled in the order of time

    def admits(self, config: Config) -> Handler:
        """The handler of a configuration. Calls that leave no row, and counts of tokens, are free."""
        everybody = _everybody(config)
        of_keys = {key.id: key.allowance for key in config.keys if key.allowance}
        has_budget, has_customers = bool(everybody), bool(config.customers)
        limited = has_budget or has_customers or bool(of_keys)

        def enter(exchange: Exchange, customer: str | None) -> None:
            now, accounts, caller = self._now(), self.accounts, exchange.caller
            held: list[tuple[str, str, Account, Allowance]] = []
            if has_budget:
                held.append(("this proxy", "", accounts.whole, everybody))
            if caller.key_id is not None and (allowance := of_keys.get(caller.key_id)) is not None:
                held.append(("key", caller.key_name or "", accounts.of_key(caller.key_id), allowance))
            if (said := exchange.params.values.get("customer_params")) is not None or (customer and has_customers):
                allowance = asked_of(said or {}, config.allowance(customer) if customer and has_customers else ANYTHING)
                if customer:
                    held.append(("customer", customer, accounts.of_customer(customer), allowance))
                elif allowance:
                    exchange.warnings.append("customer_params.rate_limit:ignored_without_customer_identifier")
            worst: tuple[str, Exceeded] | None = None
            for kind, name, account, allowance in held:
                if (found := exceeded(account, allowance, now)) is not None and (worst is None or found.frees_at > worst[1].frees_at):
                    worst = _who(kind, name), found
                if (share := worth_noting(account, allowance)) is not None:
                    log.warning("%.0f %% of the budget of %s for today is spent", share * 100, _who(kind, name))
            if worst is not None:
                self.refused += 1
                raise refusal(*worst, now)
            for _, _, account, _ in held:
                account.requests.add(now, 1)

        async def counted(exchange: Exchange, call_next: Next) -> Reply:
            if (row := exchange.row) is not None and exchange.endpoint.kind != "count":
                if not self._restored.is_set():
                    await self.restored()
                enter(exchange, row.customer_identifier)
            return await call_next(exchange)

        def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
            if not limited and "customer_params" not in exchange.params.values:
                return call_next(exchange)
            return counted(exchange, call_next)

        return handler

    def told(self, config: Config, *, amounts: bool) -> dict[str, Any]:
        """For health: how many calls were refused, and how many cost what nobody knows, since the start.

        With `amounts` also what today cost, of what it may: dollars, None for no limit.
        """
        told: dict[str, Any] = {"refused": self.refused, "unpriced": self.unpriced}
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


def _who(kind: str, name: str) -> str:
    return f"{kind} {name!r:.80}" if name else kind
