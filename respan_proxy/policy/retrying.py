"""Owns the question what a failure is, and what may be done about it: one function judges for retry, fallback and breaker."""

from __future__ import annotations

from dataclasses import dataclass

from respan_proxy.errors import MissingCredentials, ProxyError, RequestRejected, TooLarge, UnknownModel, Untranslatable, UpstreamUnavailable
from respan_proxy.exchange import Reply

# 529 is Anthropic's "overloaded"; not in the HTTP registry, treated like 503. 408 and 409 are what the OpenAI and Anthropic SDKs retry too.
RETRY_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504, 529})

# What these say of a credential, another target's would not be told.
_REFUSED = frozenset({401, 403})

# Refusals of ours that are about the target and not about the request.
_OF_THE_TARGET = (MissingCredentials, UnknownModel, Untranslatable, TooLarge)


@dataclass(frozen=True, slots=True)
class Failure:
    """`again`: the same target may be asked once more. `elsewhere`: the next one may be. `ill`: it tells of the target's health."""

    status: int
    again: bool
    elsewhere: bool
    ill: bool


def failure(outcome: Reply | ProxyError, *, callers_key: bool = False) -> Failure | None:
    """What went wrong, or None. `callers_key`: the call travelled with a credential that the caller sent.

    A wait of ours that ran out after the request was sent is not retried: the provider may be working on it still.
    """
    if isinstance(outcome, Reply):
        status = outcome.status
        if status < 400:
            return None
        passing = status in RETRY_STATUSES
        return Failure(status, passing, not (callers_key and status in _REFUSED), passing or status >= 500)
    if isinstance(outcome, UpstreamUnavailable):
        timed_out = outcome.kind == "timeout" and outcome.may_have_run
        return Failure(outcome.status, not timed_out, True, True)
    if isinstance(outcome, RequestRejected):
        return Failure(outcome.status, False, isinstance(outcome, _OF_THE_TARGET), False)
    return Failure(outcome.status, False, True, True)
