"""At most so many calls at a time to a provider (`max_concurrency`); a further one waits for its turn, but not for ever.

Below `retry`, so that the wait between two tries holds no slot. A slot is free again after the last byte, with an error, or when the
caller leaves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from respan_proxy.config import Provider
from respan_proxy.errors import NoSlot
from respan_proxy.exchange import ByteStream, Exchange, Next, Reply, Stream
from respan_proxy.handlers.send import bound

# Who comes when so many wait already is told so at once: its turn would not come in time.
MOST_WAITING = 1000


class Slots:
    """Of all providers, by name; lives as long as the process, so that a reload finds the calls that are under way."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._taken: dict[str, int] = {}
        self._most: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def hold(self, exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
        return self._held(exchange, call_next) if bound(exchange)[0].provider.max_concurrency else call_next(exchange)

    async def _held(self, exchange: Exchange, call_next: Next) -> Reply:
        target, attempt = bound(exchange)
        provider = target.provider
        try:
            waited_s = await self._take(provider)
        except NoSlot as error:
            attempt.error, attempt.ended_at = error.message, self._clock()
            raise
        if waited_s:
            attempt.notes.append(f"waited {waited_s:.3f} s for its turn (max_concurrency = {provider.max_concurrency})")
        try:
            reply = await call_next(exchange)
        except BaseException:
            self._give(provider.name)
            raise
        if isinstance(reply.body, Stream):
            reply.body.source = _Held(reply.body.source, partial(self._give, provider.name))
        else:
            self._give(provider.name)
        return reply

    async def _take(self, provider: Provider) -> float:
        """How long it waited, in seconds. Raises NoSlot when none came in time."""
        name, most = provider.name, provider.max_concurrency
        self._most[name] = most
        waiting = self._waiting.setdefault(name, deque())
        if not waiting and self._taken.get(name, 0) < most:
            self._taken[name] = self._taken.get(name, 0) + 1
            return 0.0
        if len(waiting) >= MOST_WAITING:
            raise NoSlot(f"provider {name!r} is asked {most} calls at a time (max_concurrency), and {len(waiting)} wait already")
        since, turn = self._clock(), asyncio.get_running_loop().create_future()
        waiting.append(turn)
        self._admit(name)
        try:
            async with asyncio.timeout(provider.max_wait_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give(name)  # it came in the same moment
            elif turn in waiting:
                waiting.remove(turn)
            if not isinstance(error, TimeoutError):
                raise
            said = f"provider {name!r} is asked {most} calls at a time (max_concurrency), and none ended within {provider.max_wait_s:g} s"
            raise NoSlot(f"{said} (max_wait_s)") from error
        return self._clock() - since

    def _give(self, name: str) -> None:
        self._taken[name] -= 1
        self._admit(name)

    def _admit(self, name: str) -> None:
        """Who has waited longest is next."""
        waiting = self._waiting[name]
        while waiting and self._taken.get(name, 0) < self._most[name]:
            turn = waiting.popleft()
            if not turn.done():
                self._taken[name] = self._taken.get(name, 0) + 1
                turn.set_result(None)


class _Held:
    """A stream's source that gives its slot back when it is closed. It is not in the way of the chunks."""

    __slots__ = ("_give", "_source")

    def __init__(self, source: ByteStream, give: Callable[[], None]) -> None:
        self._source = source
        self._give: Callable[[], None] | None = give

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._source.__aiter__()

    async def __anext__(self) -> bytes:
        return await self._source.__anext__()

    async def aclose(self) -> None:
        give, self._give = self._give, None
        try:
            await self._source.aclose()
        finally:
            if give is not None:
                give()
