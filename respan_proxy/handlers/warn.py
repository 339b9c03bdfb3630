"""What was changed, lost or made up on the way is said in a header: `X-Respan-Warnings: seed:dropped, model:answered_by_echo`."""

from __future__ import annotations

from respan_proxy.exchange import Exchange, Next, Reply

HEADER = "X-Respan-Warnings"


async def warn(exchange: Exchange, call_next: Next) -> Reply:
    reply = await call_next(exchange)
    if exchange.warnings:
        reply.headers[HEADER] = ", ".join(dict.fromkeys(_printable(warning) for warning in exchange.warnings))
    return reply


def _printable(warning: str) -> str:
    """A header's value is ASCII on one line."""
    return warning.encode("ascii", "backslashreplace").decode().replace("\r", " ").replace("\n", " ")
