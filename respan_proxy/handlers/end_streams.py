"""A stream that broke ends with the error event of the caller's dialect, never like one that is complete."""

from __future__ import annotations

from respan_proxy.errors import UpstreamInterrupted
from respan_proxy.exchange import Exchange, Next, Reply, Stream


async def end_streams(exchange: Exchange, call_next: Next) -> Reply:
    reply = await call_next(exchange)
    if isinstance(reply.body, Stream) and exchange.endpoint.kind == "generate":
        reply.body.steps.append(LastWords(exchange))
        reply.body.tells_breaks = True
    return reply


class LastWords:
    """The last step of a dialect's stream: passes everything, and tells a break."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def end(self, error: UpstreamInterrupted | None) -> bytes:
        if error is None:
            return b""
        exchange = self._exchange
        exchange.error = error
        received = b"".join([chunk for _, chunk in exchange.attempts[-1].chunks])
        return exchange.dialect.interruption(received, error, exchange.id)
