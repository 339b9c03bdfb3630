"""Providers echo keys in their errors; the caller and the log get `***` instead.

The one exception to byte truth beside usage: error bodies, as far as they are remembered, and any stream that carries a key.
"""

from __future__ import annotations

from respan_proxy.errors import UpstreamInterrupted
from respan_proxy.exchange import Exchange, Next, Reply, Stream
from respan_proxy.handlers.send import bound
from respan_proxy.wire.headers import scrub

# What a row keeps at the most; looking through it takes 50 us a megabyte.
SCRUBBED_BYTES = 8 * 1024 * 1024

# Nobody's secret is shorter, and replacing a short word would garble honest text.
SHORTEST_SECRET = 8


async def keep_secrets(exchange: Exchange, call_next: Next) -> Reply:
    reply = await call_next(exchange)
    body = reply.body
    if isinstance(body, Stream):
        if exchange.endpoint.kind == "generate" and (secrets := secrets_of(exchange)):
            body.steps.append(Scrub(secrets))
    elif reply.status >= 400 and len(body) <= SCRUBBED_BYTES:
        secrets = secrets_of(exchange)
        reply.body = scrub(body, secrets)
        _, attempt = bound(exchange)
        attempt.notes[:] = [scrub(note.encode(), secrets).decode() for note in attempt.notes]
        if attempt.original is not None:
            attempt.original = scrub(attempt.original, secrets)
    return reply


def secrets_of(exchange: Exchange) -> set[str]:
    """What may not be shown of what this target says: the key that it was sent, and those that it may know."""
    target, _ = bound(exchange)
    possible = (target.secret, target.provider.key, exchange.caller.credential)
    return {secret for secret in possible if secret and len(secret) >= SHORTEST_SECRET}


class Scrub:
    """A step that replaces secrets in whole frames; it costs one search a chunk where there is none."""

    __slots__ = ("_needles", "_secrets")

    def __init__(self, secrets: set[str]) -> None:
        self._secrets = secrets
        self._needles = [secret.encode() for secret in secrets]

    def feed(self, chunk: bytes) -> bytes:
        for needle in self._needles:
            if needle in chunk:
                return scrub(chunk, self._secrets)
        return chunk

    def end(self, error: UpstreamInterrupted | None) -> bytes:
        return b""
