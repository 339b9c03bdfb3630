"""One call to a provider that identical requests wait for together.

The call is an exchange and a task of its own: whoever began it may leave. Callers sit on it (`Seat`); the first who is still there when it
ends pays for it, which means that its row tells of the attempts. When nobody is left the call is cut.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing

from respan_proxy.dialects.forms import Form, form_of
from respan_proxy.errors import ProxyError, UpstreamInterrupted
from respan_proxy.exchange import Borrowed, Exchange, Next, Outcome, Reply

log = logging.getLogger(__name__)


class Flight:
    """`chunks` is what came, in the caller's dialect, with its times; a whole answer is one chunk.

    Up to `limit_bytes` all of it stays in memory, and who comes later begins at the beginning. A longer stream is shared no more with
    newcomers, and only what somebody has still to take is held. It goes on as fast as the fastest takes it: who is `limit_bytes` behind
    is cut off, so that nobody waits for a caller that sleeps.
    """

    def __init__(self, exchange: Exchange, limit_bytes: int, clock: Callable[[], float], landed: Callable[[Flight], None]) -> None:
        self.exchange = exchange.apart()
        self.task: asyncio.Task[None] | None = None
        self.reply: Reply | None = None
        self.form: Form = "whole"
        self.error: Exception | None = None
        self.broke: UpstreamInterrupted | None = None
        self.chunks: list[tuple[float, bytes]] = []
        self.first = 0
        self.held_bytes = 0
        self.is_over = False
        self.seats: list[Seat] = []
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._landed = landed
        self._moved = asyncio.Event()

    @property
    def is_complete(self) -> bool:
        """Whether all that came is still here, for newcomers and for keeping."""
        return self.first == 0

    @property
    def is_open(self) -> bool:
        """Whether newcomers may sit down."""
        return not self.is_over and self.first == 0 and self.held_bytes <= self._limit_bytes

    @property
    def end(self) -> int:
        """How many chunks came so far."""
        return self.first + len(self.chunks)

    def said(self) -> bytes:
        """All that came, as far as it is still here."""
        return self.chunks[0][1] if len(self.chunks) == 1 else b"".join([chunk for _, chunk in self.chunks])

    def sit(self, exchange: Exchange) -> Seat:
        seat = Seat(self, exchange)
        self.seats.append(seat)
        return seat

    async def run(self, call_next: Next) -> None:
        """The call, to its end. What goes wrong is told to those who sit here; nothing is raised but cancellation."""
        outcome: Outcome = "client_left"
        try:
            self.reply = reply = await call_next(self.exchange)
            try:
                await self._take(reply)
            finally:
                await reply.aclose()
            outcome = "upstream_broke" if self.broke is not None else "complete"
        except ProxyError as error:
            self.error, outcome = error, "unavailable"
        except asyncio.CancelledError:
            self.error = UpstreamInterrupted("the proxy stopped before this call was complete")
            raise
        except Exception as error:
            log.exception("call %s failed inside the proxy", self.exchange.id)
            self.error, outcome = ProxyError("the proxy failed on this call; its log says why"), "rejected"
            self.error.__cause__ = error
        finally:
            self.is_over = True
            self.exchange.complete(outcome)
            try:
                self._landed(self)
            except Exception:  # it would end the group of all flights, and the proxy with it
                log.exception("call %s was served, but what it brought could not be kept", self.exchange.id)
            self._wake()

    async def _take(self, reply: Reply) -> None:
        dialect, content_type = self.exchange.dialect.name, reply.headers.get("Content-Type", "")
        body = reply.body
        if isinstance(body, bytes):
            self.form = form_of(dialect, content_type, streamed=False, begins_with=body[:64])
            self.chunks.append((self._clock(), body))
            return
        self.form = form_of(dialect, content_type, streamed=True)
        body.last_words = None  # each caller is told in its own way
        self._wake()
        async with aclosing(body.chunks()) as chunks:
            async for chunk in chunks:
                self.chunks.append((self._clock(), chunk))
                self.held_bytes += len(chunk)
                self._wake()
                if self.held_bytes > self._limit_bytes or self.first:
                    await self._make_room()
        self.broke = body.broke

    async def _make_room(self) -> None:
        """Let go of what everybody has taken. Returns when the fastest caller has taken all, or little is held."""
        while self.seats:
            for seat in [seat for seat in self.seats if seat.wants_all]:  # it takes nothing before the end, and nobody waits for it
                seat.cut = UpstreamInterrupted("the answer is too long to be held for who wants all of it")
                self.leave(seat)
                seat.wake()
            if not self.seats:
                return
            taken = min(seat.at for seat in self.seats) - self.first
            for _, chunk in self.chunks[:taken]:
                self.held_bytes -= len(chunk)
            del self.chunks[:taken]
            self.first += taken
            if self.held_bytes <= self._limit_bytes:
                return
            if max(seat.at for seat in self.seats) < self.end:
                self._moved.clear()
                await self._moved.wait()
                continue
            for seat in [seat for seat in self.seats if seat.at == self.first]:
                seat.cut = UpstreamInterrupted(f"this caller was {self._limit_bytes} bytes behind others that wait for the same answer")
                self.seats.remove(seat)
                seat.wake()

    def moved(self) -> None:
        """Somebody has taken something, or left."""
        self._moved.set()

    def leave(self, seat: Seat) -> None:
        """Harmless when called again. The last one takes the call along."""
        if self.is_over or seat not in self.seats:
            return
        self.seats.remove(seat)
        self.moved()
        if not self.seats and self.task is not None:
            seat.pay()
            self.task.cancel()
            self._landed(self)

    def settle(self, borrowed: Borrowed) -> None:
        """The first who is still here pays, the others have borrowed. What the end of a stream told, the rows of all tell."""
        for seat in self.seats:
            self.tell_quietly(seat.exchange)
        for seat in self.seats[:1]:
            seat.pay()
        for seat in self.seats[1:]:
            seat.exchange.borrowed = borrowed

    def tell_quietly(self, exchange: Exchange) -> None:
        """What is told by rows alone, as far as it is known."""
        exchange.quiet_warnings += [told for told in self.exchange.quiet_warnings if told not in exchange.quiet_warnings]

    def _wake(self) -> None:
        for seat in self.seats:
            seat.wake()


class Seat:
    """One caller's place on a flight, and the source of the stream that it is sent (`ByteStream`)."""

    __slots__ = ("_flight", "_waiting", "at", "cut", "exchange", "wants_all")

    def __init__(self, flight: Flight, exchange: Exchange) -> None:
        self._flight = flight
        self.exchange = exchange
        self.at = 0
        self.wants_all = False
        self.cut: UpstreamInterrupted | None = None
        self._waiting: asyncio.Future[None] | None = None

    async def head(self) -> Reply:
        """The answer without its body, once it is decided; of a whole answer, once it is there. Raises what kept it from coming."""
        flight = self._flight
        while not flight.is_over and (flight.reply is None or isinstance(flight.reply.body, bytes)):
            await self._wait()
        if flight.reply is None:
            raise flight.error or UpstreamInterrupted("the call that this one waited for was cut")
        return flight.reply

    async def whole(self) -> bytes | None:
        """All of the body; None when it is too long to be shared. Raises when it broke."""
        flight = self._flight
        self.wants_all = True
        flight.moved()
        while not flight.is_over and self.cut is None:
            await self._wait()
        if self.cut is not None:
            return None
        if error := flight.broke or flight.error:
            raise error
        return flight.said() if flight.is_complete else None

    def pay(self) -> None:
        """This caller's row tells of the call."""
        flight = self._flight.exchange
        self.exchange.attempts, self.exchange.chosen = flight.attempts, flight.chosen

    def wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _wait(self) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def __aiter__(self) -> Seat:
        return self

    async def __anext__(self) -> bytes:
        flight = self._flight
        while True:
            if self.cut is not None:
                raise self.cut
            if self.at < flight.end:
                chunks = flight.chunks[self.at - flight.first :]
                self.at = flight.end
                flight.moved()
                return chunks[0][1] if len(chunks) == 1 else b"".join([chunk for _, chunk in chunks])
            if flight.is_over:
                if error := flight.broke or flight.error:
                    raise error if isinstance(error, UpstreamInterrupted) else UpstreamInterrupted(str(error))
                raise StopAsyncIteration
            await self._wait()

    async def aclose(self) -> None:
        self._flight.leave(self)
