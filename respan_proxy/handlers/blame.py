"""A try that was not the last says why: in the row's list of attempts."""

from __future__ import annotations

from respan_proxy.errors import ProxyError
from respan_proxy.exchange import Exchange, Reply
from respan_proxy.handlers.send import bound


def blame(view: Exchange, outcome: Reply | ProxyError) -> None:
    """What went wrong with the view's attempt; a provider's refusal in its own words, read from its own dialect."""
    target, attempt = bound(view)
    if attempt.error is not None:
        return
    if isinstance(outcome, ProxyError):
        attempt.error = str(outcome)
        return
    body = attempt.answer if attempt.answer is not None else outcome.body
    attempt.error = target.dialect.read_error(outcome.status, body if isinstance(body, bytes) else b"").message
