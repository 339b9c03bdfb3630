"""Owns the question what a failure is, and what may be done about it: one function judges for retry, fallback and breaker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any

from multidict import MultiMapping

from respan_proxy.config import Retry
from respan_proxy.errors import (
    MissingCredentials,
    NoSlot,
    ProxyError,
    RequestRejected,
    TooLarge,
    UnknownModel,
    Untranslatable,
    UpstreamUnavailable,
)
from respan_proxy.exchange import Reply
from respan_proxy.frozen import frozen

# 529 is Anthropic's "overloaded"; not in the HTTP registry, treated like 503. 408 and 409 are what the OpenAI and Anthropic SDKs retry too.
RETRY_STATUSES = frozenset({408, 409, 429, 500, 502, 503, 504, 529})

# What these say of a credential, another target's would not be told.
_REFUSED = frozenset({401, 403})

# Refusals of ours that are about the target and not about the request.
_OF_THE_TARGET = (MissingCredentials, UnknownModel, Untranslatable, TooLarge)


@frozen
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
    # A cap of ours tells nothing of the target, and was waited for long enough.
    return Failure(outcome.status, False, True, not isinstance(outcome, NoSlot))


def patience(values: Mapping[str, Any], default: Retry) -> Retry:
    """How often, and after what wait, this call is tried again: `retry_params` of the request over the configuration's.

    RequestRejected names a member of another type. Members that nobody knows are passed over, as Respan does.
    """
    said = values.get("retry_params")
    if not said:
        return default
    enabled, tries, after = said.get("retry_enabled"), said.get("num_retries"), said.get("retry_after")
    if enabled is not None and not isinstance(enabled, bool):
        raise _wrong("retry_enabled", enabled, "true or false")
    if tries is not None and (not isinstance(tries, int) or isinstance(tries, bool) or not 0 <= tries <= MOST_RETRIES):
        raise _wrong("num_retries", tries, f"a whole number from 0 to {MOST_RETRIES}")
    if after is not None and (not isinstance(after, int | float) or isinstance(after, bool) or not 0 <= after <= LONGEST_S):
        raise _wrong("retry_after", after, f"a number of seconds from 0 to {LONGEST_S:g}")
    return replace(
        default,
        enabled=default.enabled if enabled is None else enabled,
        num_retries=default.num_retries if tries is None else tries,
        retry_after=default.retry_after if after is None else after,
    )


# Whoever asks for more wants a loop of their own.
MOST_RETRIES = 20
LONGEST_S = 3600.0


def _wrong(name: str, value: object, expected: str) -> RequestRejected:
    where = f"retry_params.{name}"
    return RequestRejected(f"{where}: found {value!r:.40}, expected {expected}", param=where, code="invalid_value")


def wait_s(number: int, headers: MultiMapping[str] | None, plan: Retry, now: float, dice: float) -> float:
    """Seconds to wait before retry `number` (the first is 1): what the provider says, else twice as long each time, and a part of chance.

    `now` is seconds of the epoch, `dice` evenly from [0, 1). The exponential wait is at most `plan.max_wait_s` and takes between half and
    all of its length, so that many callers that failed together do not come back together; what a provider says is taken as it is.
    """
    if headers is not None and (said := retry_after_s(headers, now)) is not None:
        return said
    exponential: float = min(plan.max_wait_s, plan.retry_after * 2.0 ** (number - 1))
    return exponential * (0.5 + dice / 2)


def retry_after_s(headers: MultiMapping[str], now: float) -> float | None:
    """Seconds to wait, from `retry-after-ms` (OpenAI, Azure), else Retry-After (RFC 9110 10.2.3): a number, or a date compared with `now`.

    None when absent or unreadable; never negative. Gemini's RetryInfo has become a Retry-After before (`judge`).
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    text = headers.get("Retry-After")
    if (seconds := _number(text)) is not None:
        return seconds
    if text is None:
        return None
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):  # a year of thirty digits
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None
