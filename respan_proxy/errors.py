"""The taxonomy of failures: a class exists only where some `except` or some status needs it.

`kind` is the neutral word for what went wrong; each dialect turns it into its own JSON and its own status
(`Dialect.write_error`), so that the caller's SDK raises the class it would raise at its own provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Kind = Literal[
    "invalid_request",
    "context_length",
    "content_filter",
    "auth",
    "billing",
    "permission",
    "not_found",
    "too_large",
    "rate_limit",
    "quota",
    "server",
    "bad_gateway",
    "overloaded",
    "timeout",
    "missing_credentials",
    "loop",
    "not_implemented",
]


class ProxyError(Exception):
    """Something the caller must be told: `str(error)` is the message, safe to show (no secrets, no stack traces).

    `status` is the HTTP status of our own answer, `param` the request member at fault, `code` a machine-readable word
    (each dialect has a default for the kind), `headers` extra response headers such as Retry-After.
    """

    status: int = 500
    kind: Kind = "server"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        kind: Kind | None = None,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status
        if kind is not None:
            self.kind = kind
        self.param = param
        self.code = code
        self.headers: Mapping[str, str] = headers or {}

    @property
    def message(self) -> str:
        return str(self)


class RequestRejected(ProxyError):
    """The request cannot be served as it is; nothing was sent to a provider."""

    status = 400
    kind: Kind = "invalid_request"


class Unauthorized(RequestRejected):
    status = 401
    kind: Kind = "auth"


class Forbidden(RequestRejected):
    """A stranger on loopback, or a key that may not see this (design: `Host`, `Origin`, `Sec-Fetch-Site`)."""

    status = 403
    kind: Kind = "permission"


class UnknownPath(RequestRejected):
    status = 404
    kind: Kind = "not_found"


class UnknownModel(RequestRejected):
    status = 404
    kind: Kind = "not_found"


class Untranslatable(RequestRejected):
    """What was said or asked cannot be carried to this target; `param` is the caller's member. Another target may take it."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = "unsupported_value") -> None:
        super().__init__(message, param=param, code=code)


class TooLarge(RequestRejected):
    status = 413
    kind: Kind = "too_large"


class LimitExceeded(RequestRejected):
    """One call too many for a limit of this proxy's own; `headers` say when there is room again."""

    status = 429
    kind: Kind = "rate_limit"


class MissingCredentials(RequestRejected):
    status = 424
    kind: Kind = "missing_credentials"


class LoopDetected(RequestRejected):
    status = 508
    kind: Kind = "loop"


class UpstreamError(ProxyError):
    """The provider, not the request, is at fault."""

    status = 502
    kind: Kind = "bad_gateway"


class UpstreamUnavailable(UpstreamError):
    """No answer: refused, reset or timed out before the head. `may_have_run` says whether the provider may have worked on it."""

    def __init__(self, message: str, *, may_have_run: bool, status: int = 502, kind: Kind = "bad_gateway") -> None:
        super().__init__(message, status=status, kind=kind)
        self.may_have_run = may_have_run


class NoSlot(UpstreamError):
    """A provider is asked as many calls at a time as it is said to take, and none of them ended in time. Another target may be free."""

    status = 503
    kind: Kind = "overloaded"


class UpstreamInterrupted(UpstreamError):
    """The answer broke after the commit: told in-band, never retried."""


class ConfigError(Exception):
    """Every mistake of a configuration at once; each names where, what was found and what was expected."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
