"""A stream that broke ends with the error event of the caller's dialect, never like one that is complete."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from respan_proxy.errors import UpstreamInterrupted
from respan_proxy.exchange import Exchange, Reply, Stream

LastWords = Callable[[UpstreamInterrupted], bytes]


def end_streams(exchange: Exchange, reply: Reply) -> None:
    if isinstance(reply.body, Stream) and exchange.endpoint.kind == "generate":
        reply.body.last_words = partial(_last_words, exchange, reply.body.last_words)


def _last_words(exchange: Exchange, translated: LastWords | None, error: UpstreamInterrupted) -> bytes:
    """The translator's own last words where there is one: it alone knows what the caller was told."""
    exchange.error = error
    if translated is not None:
        return translated(error)
    attempt = exchange.answered_by
    received = b"".join([chunk for _, chunk in attempt.chunks]) if attempt is not None else b""
    return exchange.dialect.interruption(received, error, exchange.id)
