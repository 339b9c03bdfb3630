"""A target that is late gets company: the next one is asked beside it, and the first success wins.

The loser is given up at once, which closes its provider's connection. Two that race share nothing that either changes but the list of
attempts, where each has its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from respan_proxy.errors import ProxyError
from respan_proxy.exchange import Reply
from respan_proxy.handlers.aim import Aimed
from respan_proxy.handlers.blame import blame
from respan_proxy.handlers.send import bound
from respan_proxy.policy.retrying import Failure


class Tried(NamedTuple):
    """A model that led nowhere, or a target that was asked; `place` is its place in the order that holds when nobody rests."""

    place: int
    outcome: Reply | ProxyError
    failed: Failure | None
    aimed: Aimed | None = None


Ask = Callable[[Aimed], Awaitable[Tried]]


async def race(first: Aimed, after_s: float, following: Callable[[], Aimed | None], ask: Ask, clock: Callable[[], float]) -> list[Tried]:
    """What came of asking `first`, and beside it, if it has not answered within `after_s`, the one that `following` gives.

    The last one is the winner, or the failure after which nothing is left to wait for.
    """
    running: dict[asyncio.Task[Tried], Aimed] = {}
    tried: list[Tried] = []
    try:
        async with asyncio.TaskGroup() as group:

            def start(aimed: Aimed) -> None:
                aimed.view.on_complete = []  # of the winner alone these are the call's (`adopt`)
                running[group.create_task(_asked(ask, aimed), name=f"asks {bound(aimed.view)[0].provider.name}")] = aimed

            start(first)
            done, _ = await asyncio.wait(running, timeout=after_s)
            if not done and (second := following()) is not None:
                bound(second.view)[1].notes.append(f"asked after {after_s * 1000:g} ms without an answer (hedge_after_ms)")
                start(second)
            while running:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in running if task.done()]:
                    del running[task]
                    tried.append(task.result())
                    if (failed := tried[-1].failed) is None or not failed.elsewhere:
                        for late in running:
                            late.cancel()
                        if running:
                            await asyncio.wait(running)
                            await _given_up(running, tried[-1], clock)
                        return tried
    except BaseException:
        for one in (*tried, *(task.result() for task in running if _has_result(task))):
            if isinstance(one.outcome, Reply):
                await one.outcome.aclose()
        raise
    return tried


async def _asked(ask: Ask, aimed: Aimed) -> Tried:
    return await ask(aimed)


def _has_result(task: asyncio.Task[Tried]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


async def _given_up(losers: dict[asyncio.Task[Tried], Aimed], winner: Tried, clock: Callable[[], float]) -> None:
    """Each says in the row why it ended; one that came in the same moment as the winner is closed."""
    for task, aimed in losers.items():
        _, attempt = bound(aimed.view)
        result = task.result() if _has_result(task) else None
        if result is not None and result.failed is not None:
            blame(aimed.view, result.outcome)
        if result is not None and isinstance(result.outcome, Reply):
            await result.outcome.aclose()
        for step in aimed.view.on_complete:
            step()
        attempt.ended_at = attempt.ended_at or clock()
        if attempt.error is None:
            name = bound(winner.aimed.view)[0].provider.name if winner.aimed is not None else "another"
            attempt.error = f"given up: {name} {'answered first' if winner.failed is None else 'refused for all'}"
