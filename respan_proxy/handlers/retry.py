"""Once more at the same target, before the first byte: what passes by itself is waited for, as long as the provider says.

Every try is an attempt of its own in the row. tenacity is imported with the first failure: it takes 20 ms.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from multidict import MultiMapping

from respan_proxy.config import Retry
from respan_proxy.errors import ProxyError
from respan_proxy.exchange import Exchange, Handler, Next, Reply
from respan_proxy.handlers.blame import blame
from respan_proxy.policy.retrying import failure, patience, wait_s

_RETRIED = frozenset({"generate", "embed", "count"})

# What OpenAI's and Anthropic's SDKs ask before they try again themselves: three tries of theirs are not to become twelve of ours.
SHOULD_RETRY = "x-should-retry"

Outcome = Reply | ProxyError


def retry(
    default: Retry,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    wall_clock: Callable[[], float] = time.time,
    dice: Callable[[], float] = random.random,
) -> Handler:
    async def handler(exchange: Exchange, call_next: Next) -> Reply:
        if exchange.endpoint.kind not in _RETRIED:
            return await call_next(exchange)
        plan = patience(exchange.params.values, default)
        outcome: Outcome
        try:
            outcome = await call_next(exchange)
            if outcome.status < 400:
                return outcome  # nearly always
        except ProxyError as error:
            outcome = error
        failed = failure(outcome)
        if failed is None or not failed.again or not plan.enabled or not plan.num_retries:
            return _told(outcome)
        return _told(await _again(exchange, call_next, plan, outcome))

    async def _again(exchange: Exchange, call_next: Next, plan: Retry, first: Outcome) -> Outcome:
        """What came of the last try. `first` is what the first one brought."""
        from tenacity import AsyncRetrying, RetryCallState, retry_if_result

        known: list[Outcome] = [first]
        waited_s, spent = 0.0, 0

        async def attempt() -> Outcome:
            nonlocal spent
            if known:
                return known.pop()
            spent += 1
            exchange.again(clock())
            return await _outcome(exchange, call_next)

        def wait(state: RetryCallState) -> float:
            return wait_s(state.attempt_number, _headers(_result(state)), plan, wall_clock(), dice())

        def stop(state: RetryCallState) -> bool:
            """tenacity has asked `wait` already: what it said is `upcoming_sleep`."""
            ahead_s: float = state.upcoming_sleep
            spent_all: bool = state.attempt_number > plan.num_retries
            return spent_all or ahead_s > plan.max_wait_s or waited_s + ahead_s > plan.budget_s

        async def before_sleep(state: RetryCallState) -> None:
            nonlocal waited_s
            waited_s += state.upcoming_sleep
            outcome = _result(state)
            blame(exchange, outcome)
            if isinstance(outcome, Reply):
                await outcome.aclose()

        last: Outcome = await AsyncRetrying(
            retry=retry_if_result(lambda outcome: (failed := failure(outcome)) is not None and failed.again),
            wait=wait,
            stop=stop,
            sleep=sleep,
            before_sleep=before_sleep,
            retry_error_callback=_result,
        )(attempt)
        if spent and failure(last) is not None:
            blame(exchange, last)
            if isinstance(last, Reply):
                last.headers[SHOULD_RETRY] = "false"
            else:
                last.headers = {**last.headers, SHOULD_RETRY: "false"}
        return last

    return handler


async def _outcome(exchange: Exchange, call_next: Next) -> Outcome:
    try:
        return await call_next(exchange)
    except ProxyError as error:
        return error


def _told(outcome: Outcome) -> Reply:
    if isinstance(outcome, ProxyError):
        raise outcome
    return outcome


def _result(state: object) -> Outcome:
    """What the last attempt of a tenacity state brought; it never raised."""
    outcome: Outcome = state.outcome.result()  # type: ignore[attr-defined]
    return outcome


def _headers(outcome: Outcome) -> MultiMapping[str] | None:
    return outcome.headers if isinstance(outcome, Reply) else None
