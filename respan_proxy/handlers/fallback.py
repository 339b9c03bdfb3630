"""Targets are asked in turn until one answers, each through a view of the exchange of its own.

If all fail, the caller hears what the first one in the order said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from functools import partial
from operator import attrgetter

from respan_proxy.config import Config
from respan_proxy.errors import ProxyError, UpstreamUnavailable
from respan_proxy.exchange import Exchange, Handler, Next, Reply
from respan_proxy.handlers.aim import Aim, Aimed, Listed, PassedOver, Rests
from respan_proxy.handlers.blame import blame
from respan_proxy.handlers.hedge import Tried, race
from respan_proxy.handlers.send import bound
from respan_proxy.handlers.standing import Standing
from respan_proxy.policy import grouping, planning
from respan_proxy.policy.retrying import Failure, failure

# Said when another than the model that was asked for answered.
ANSWERED_BY_FALLBACK = "model:answered_by_fallback"

# Said when the request's own `model` is none of those among which its load balancing chooses.
OVERRIDDEN = "model:overridden_by_load_balance"

# What another target can do as well.
_FALLS_BACK = frozenset({"generate", "embed", "count"})


_place = attrgetter("place")


class _Tour:
    """What was tried so far, and who is asked next. `stays`: fallback models count only while nobody was asked."""

    __slots__ = ("_stays", "_views", "passed_over", "tried")

    def __init__(self, views: Iterator[Aimed | PassedOver | Rests], *, stays: bool) -> None:
        self._views = views
        self._stays = stays
        self.tried: list[Tried] = []
        self.passed_over: list[str] = []

    def next(self) -> Aimed | None:
        """What comes before it and is none is noted."""
        for found in self._views:
            if isinstance(found, Aimed):
                if self._stays and found.is_fallback and any(before.aimed is not None for before in self.tried):
                    return None
                if self.passed_over:
                    bound(found.view)[1].notes += self.passed_over
                    self.passed_over.clear()
                return found
            self.passed_over.append(str(found))
            if isinstance(found, PassedOver):
                failed = failure(found.refusal)
                self.tried.append(Tried(found.place, found.refusal, failed))
                if failed is None or not failed.elsewhere:
                    return None
        return None


def fallback(config: Config, listed: Listed, standing: Standing) -> Handler:
    aim = Aim(config, listed, standing)

    def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
        if (aimed := aim.straight(exchange)) is not None:
            return alone(exchange, aimed, call_next)
        if exchange.endpoint.kind not in _FALLS_BACK or exchange.endpoint.is_relay:
            return once(exchange, call_next)
        return in_turn(exchange, call_next)

    async def in_turn(exchange: Exchange, call_next: Next) -> Reply:
        values = exchange.params.values
        choice = grouping.read(values, config, may_place=exchange.caller.is_admin)
        rules = config.rules(exchange.model if choice is None or choice.name is None else choice.name)
        if choice is not None and exchange.model not in (None, choice.name, *(item.model for item in choice.items)):
            exchange.warnings.append(OVERRIDDEN)
        patience_s = planning.first_token_s(values, rules)
        # A caller that is in a hurry tells nothing of the target's health.
        in_a_hurry = "first_token_timeout" in values
        views = aim.views(exchange, planning.plan(exchange.model, values, rules, choice))
        tour = _Tour(views, stays=values.get("disable_fallback") is True)
        while (aimed := tour.next()) is not None:
            if rules.hedge_after_ms is None:
                this = await asked(exchange, aimed, patience_s, call_next, in_a_hurry=in_a_hurry)
            else:
                ask = partial(asked, exchange, patience_s=patience_s, call_next=call_next, in_a_hurry=in_a_hurry)
                *lost, this = await race(aimed, rules.hedge_after_ms / 1000, tour.next, ask, standing.clock)
                tour.tried += lost
            if this.failed is None:
                if this.aimed is not None and this.aimed.is_fallback:
                    this.aimed.view.warnings.append(ANSWERED_BY_FALLBACK)
                return _settled(exchange, this, tour.tried, of_several=bool(tour.tried))
            tour.tried.append(this)
            if not this.failed.elsewhere:
                break
        tried = tour.tried
        if len(tried) > 1:
            exchange.quiet_warnings += tour.passed_over
        return _settled(exchange, min(tried, key=_place), tried, of_several=len(tried) > 1)

    async def asked(exchange: Exchange, aimed: Aimed, patience_s: float | None, call_next: Next, *, in_a_hurry: bool) -> Tried:
        """What came of asking this target."""
        view, key, begun_at = aimed.view, aimed.key, standing.clock()
        standing.begin(key)
        try:
            outcome: Reply | ProxyError
            outcome = await call_next(view) if patience_s is None else await _within(patience_s, call_next, view)
        except ProxyError as error:
            outcome = error
        except BaseException:
            standing.left(key)
            raise
        if in_a_hurry and isinstance(outcome, _OutOfPatience):
            standing.left(key)
            return Tried(aimed.place, outcome, failure(outcome), aimed)
        return Tried(aimed.place, outcome, judge(exchange, aimed, outcome, begun_at), aimed)

    async def once(exchange: Exchange, call_next: Next) -> Reply:
        """What only one target can do: a raw relay, a file, a stored response."""
        for found in aim.views(exchange, [planning.Ask(exchange.model)]):
            if isinstance(found, PassedOver):
                raise found.refusal
            if isinstance(found, Aimed):
                return await alone(exchange, found, call_next)
        raise RuntimeError("a model led neither to a target nor to a refusal")

    async def alone(exchange: Exchange, aimed: Aimed, call_next: Next) -> Reply:
        """What came of asking the only target that there is."""
        view, key, begun_at = aimed.view, aimed.key, standing.clock()
        standing.begin(key)
        try:
            reply = await call_next(view)
        except ProxyError as error:
            judge(exchange, aimed, error, begun_at)
            exchange.adopt(view)
            raise
        except BaseException:
            standing.left(key)
            raise
        judge(exchange, aimed, reply, begun_at)
        exchange.adopt(view)
        return reply

    def judge(exchange: Exchange, aimed: Aimed, outcome: Reply | ProxyError, begun_at: float) -> Failure | None:
        failed = failure(outcome, callers_key=bound(aimed.view)[0].secret_is_callers)
        standing.judge(exchange, aimed.view, aimed.key, outcome, failed, begun_at)
        return failed

    return handler


class _OutOfPatience(UpstreamUnavailable):
    """It had said nothing in the time that the request or the route allows."""


async def _within(patience_s: float, call_next: Next, view: Exchange) -> Reply | ProxyError:
    """The target's reply (of a stream, with its first words in hand) or why there is none, `patience_s` being over among the reasons."""
    try:
        async with asyncio.timeout(patience_s):
            return await call_next(view)
    except ProxyError as error:
        return error
    except TimeoutError:
        said = f"provider {bound(view)[0].provider.name!r} had said nothing after {patience_s:g} s (first_token_timeout)"
        return _OutOfPatience(said, may_have_run=True, status=504, kind="timeout")


def _settled(exchange: Exchange, this: Tried, tried: list[Tried], *, of_several: bool) -> Reply:
    """This is what the caller hears; each of several tries says in the row why it failed."""
    if this.aimed is not None:
        exchange.adopt(this.aimed.view)
        if exchange.row is not None:
            exchange.row.load_balance_group_id = this.aimed.group
    for before in tried if of_several else ():
        if before.aimed is not None:
            blame(before.aimed.view, before.outcome)
    if isinstance(this.outcome, ProxyError):
        raise this.outcome
    return this.outcome
