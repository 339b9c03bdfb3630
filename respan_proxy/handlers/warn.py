"""What was changed, lost or made up on the way is said in a header: `X-Respan-Warnings: seed:dropped, model:answered_by_echo`."""

from __future__ import annotations

from respan_proxy.exchange import Exchange, Reply

HEADER = "X-Respan-Warnings"


def warn(exchange: Exchange, reply: Reply) -> None:
    if exchange.warnings:
        reply.headers[HEADER] = ", ".join(dict.fromkeys(_printable(warning) for warning in exchange.warnings))


def _printable(warning: str) -> str:
    """A header's value is ASCII on one line."""
    return warning.encode("ascii", "backslashreplace").decode().replace("\r", " ").replace("\n", " ")
