"""Targets are asked in turn until one answers, each through a view of the exchange of its own.

If all fail, the caller hears what the first one said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from respan_proxy.config import Config
from respan_proxy.errors import ProxyError, UpstreamUnavailable
from respan_proxy.exchange import Exchange, Handler, Next, Reply
from respan_proxy.handlers.aim import Aim, Listed, PassedOver
from respan_proxy.handlers.blame import blame
from respan_proxy.handlers.send import bound
from respan_proxy.policy import planning
from respan_proxy.policy.retrying import failure

# Said when another than the model that was asked for answered.
ANSWERED_BY_FALLBACK = "model:answered_by_fallback"

# What another target can do as well.
_FALLS_BACK = frozenset({"generate", "embed", "count"})


def fallback(config: Config, listed: Listed, clock: Callable[[], float]) -> Handler:
    aim = Aim(config, listed, clock)

    async def handler(exchange: Exchange, call_next: Next) -> Reply:
        if exchange.endpoint.kind not in _FALLS_BACK or exchange.endpoint.is_relay:
            return await _once(exchange, aim, call_next)
        values, rules = exchange.params.values, config.rules(exchange.model)
        patience_s = planning.first_token_s(values, rules)
        tried: list[tuple[Exchange | None, Reply | ProxyError]] = []
        passed_over: list[str] = []
        for view in aim.views(exchange, planning.names(exchange.model, values, rules)):
            if isinstance(view, PassedOver):
                passed_over.append(str(view))
                tried.append((None, view.refusal))
                failed = failure(view.refusal)
            else:
                target, attempt = bound(view)
                attempt.notes += passed_over
                passed_over.clear()
                outcome = await _within(patience_s, call_next, view)
                failed = failure(outcome, callers_key=target.secret_is_callers)
                if failed is None:
                    return _settled(exchange, view, outcome, tried)
                tried.append((view, outcome))
            if failed is None or not failed.elsewhere:
                break
        if len(tried) > 1:
            exchange.quiet_warnings += passed_over
        return _settled(exchange, *tried[0], tried)

    return handler


async def _once(exchange: Exchange, aim: Aim, call_next: Next) -> Reply:
    """What only one target can do: a raw relay, a file, a stored response."""
    view = next(aim.views(exchange, [exchange.model]))
    if isinstance(view, PassedOver):
        raise view.refusal
    reply = await call_next(view)
    exchange.adopt(view)
    return reply


async def _within(patience_s: float | None, call_next: Next, view: Exchange) -> Reply | ProxyError:
    """The target's reply (of a stream, with its first words in hand) or why there is none, `patience_s` being over among the reasons."""
    try:
        if patience_s is None:
            return await call_next(view)
        async with asyncio.timeout(patience_s):
            return await call_next(view)
    except ProxyError as error:
        return error
    except TimeoutError:
        said = f"provider {bound(view)[0].provider.name!r} had said nothing after {patience_s:g} s (first_token_timeout)"
        return UpstreamUnavailable(said, may_have_run=True, status=504, kind="timeout")


def _settled(
    exchange: Exchange, view: Exchange | None, outcome: Reply | ProxyError, tried: list[tuple[Exchange | None, Reply | ProxyError]]
) -> Reply:
    """This is what the caller hears; each of several tries says in the row why it failed."""
    is_first = not tried or tried[0][1] is outcome
    if view is not None:
        exchange.adopt(view)
        if not is_first and view.model != exchange.model:
            exchange.warnings.append(ANSWERED_BY_FALLBACK)
    if len(tried) > 1 or not is_first:
        for before, why in tried:
            if before is not None:
                blame(before, why)
    if isinstance(outcome, ProxyError):
        raise outcome
    return outcome
