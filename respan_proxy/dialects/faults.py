"""The kinds of failure in every dialect's words: one table, one reader for provider errors of any shape, one writer per shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import orjson

from respan_proxy.dialects.events import Failure
from respan_proxy.errors import Kind, LimitExceeded, ProxyError, UpstreamError
from respan_proxy.wire.sse import Frame

TRUNCATED = "Upstream stream ended before a {terminal}"
MALFORMED = "Upstream sent malformed stream data"
_SHOWN = 2000  # characters of a foreign error body that a message repeats


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table: a kind's HTTP status (`anthropic_status` where that differs) and its words."""

    status: int
    openai_type: str
    openai_code: str | None
    anthropic_type: str
    google_status: str
    anthropic_status: int | None = None


FAULTS: Mapping[Kind, Fault] = {
    "invalid_request": Fault(400, "invalid_request_error", None, "invalid_request_error", "INVALID_ARGUMENT"),
    "context_length": Fault(400, "invalid_request_error", "context_length_exceeded", "invalid_request_error", "INVALID_ARGUMENT"),
    "content_filter": Fault(400, "invalid_request_error", "content_filter", "invalid_request_error", "INVALID_ARGUMENT"),
    "auth": Fault(401, "authentication_error", "invalid_api_key", "authentication_error", "UNAUTHENTICATED"),
    "billing": Fault(402, "billing_error", None, "billing_error", "FAILED_PRECONDITION"),
    "permission": Fault(403, "permission_error", None, "permission_error", "PERMISSION_DENIED"),
    "not_found": Fault(404, "invalid_request_error", "model_not_found", "not_found_error", "NOT_FOUND"),
    "too_large": Fault(413, "invalid_request_error", "request_too_large", "request_too_large", "INVALID_ARGUMENT"),
    "missing_credentials": Fault(424, "invalid_request_error", "missing_credentials", "invalid_request_error", "FAILED_PRECONDITION"),
    "rate_limit": Fault(429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    "quota": Fault(429, "insufficient_quota", "insufficient_quota", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    "server": Fault(500, "server_error", None, "api_error", "INTERNAL"),
    "not_implemented": Fault(501, "server_error", "not_implemented", "api_error", "UNIMPLEMENTED"),
    "bad_gateway": Fault(502, "server_error", "bad_gateway", "api_error", "INTERNAL"),
    "overloaded": Fault(503, "server_error", "overloaded", "overloaded_error", "UNAVAILABLE", anthropic_status=529),
    "timeout": Fault(504, "server_error", "timeout", "timeout_error", "DEADLINE_EXCEEDED"),
    "loop": Fault(508, "server_error", "loop_detected", "api_error", "INTERNAL"),
}

_KIND_OF_STATUS: Mapping[int, Kind] = {
    401: "auth", 402: "billing", 403: "permission", 404: "not_found", 408: "timeout", 413: "too_large",
    424: "bad_gateway", 429: "rate_limit", 500: "server", 501: "server", 502: "bad_gateway", 503: "overloaded",
    504: "timeout", 524: "timeout", 529: "overloaded",
}  # fmt: skip
_RESTATED: Mapping[int, int] = {405: 400, 408: 504, 415: 400, 424: 502, 524: 504, 529: 503}
"""Statuses that would mislead a client about our own answer; every other one of a provider is relayed as it is."""
_KIND_OF_WORD: Mapping[str, Kind] = {
    # codes and types of OpenAI and its likes
    "context_length_exceeded": "context_length", "content_filter": "content_filter", "insufficient_quota": "quota",
    "invalid_api_key": "auth", "rate_limit_exceeded": "rate_limit", "model_not_found": "not_found", "server_error": "server",
    # types of Anthropic
    "invalid_request_error": "invalid_request", "authentication_error": "auth", "billing_error": "billing",
    "permission_error": "permission", "not_found_error": "not_found", "request_too_large": "too_large",
    "rate_limit_error": "rate_limit", "api_error": "server", "overloaded_error": "overloaded", "timeout_error": "timeout",
    # statuses and reasons of Google
    "API_KEY_INVALID": "auth", "INVALID_ARGUMENT": "invalid_request", "FAILED_PRECONDITION": "invalid_request",
    "UNAUTHENTICATED": "auth", "PERMISSION_DENIED": "permission", "NOT_FOUND": "not_found", "RESOURCE_EXHAUSTED": "rate_limit",
    "INTERNAL": "server", "UNAVAILABLE": "overloaded", "DEADLINE_EXCEEDED": "timeout",
}  # fmt: skip
_DECIDING: frozenset[Kind] = frozenset(("context_length", "content_filter", "quota"))
"""Kinds told by a word even though the HTTP status says something less exact."""
_TOO_LONG = ("prompt is too long", "maximum context length", "input token count")


def read_error(status: int, body: bytes) -> ProxyError:
    """A provider's refusal of any shape (OpenAI, Anthropic, Google, list-wrapped, FastAPI, HTML) as a neutral error.

    `headers` carries a Retry-After that only the body knew (Google's RetryInfo), in whole seconds.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body[:_SHOWN].decode("utf-8", "replace").strip()
        document = None if text.startswith("<") else {"message": text}  # a page says less than its status
    return error_of(document, status)


def error_of(document: object, status: int | None = None) -> ProxyError:
    """The same for a parsed body. Without an HTTP status (an error inside a 200) the body's own code, type or status decides."""
    if isinstance(document, list) and document:
        document = document[0]
    members: dict[str, Any] = document if isinstance(document, dict) else {}
    inner = members.get("error")
    error: dict[str, Any] = inner if isinstance(inner, dict) else members
    details = [detail for detail in _list(error.get("details")) if isinstance(detail, dict)]
    code = error.get("code")
    numeric = code if isinstance(code, int) and not isinstance(code, bool) else None
    if status is None or status < 400:
        status = numeric if numeric is not None and 400 <= numeric <= 599 else None
    words = [detail.get("reason") for detail in details] + [code, error.get("type"), error.get("status")]
    message = _message(inner, error, members) or f"Upstream returned HTTP {status or 502}"
    kind = _kind(status, words, message)
    if status is None or not 400 <= status <= 599 or kind in _DECIDING:
        status = FAULTS[kind].status
    elif kind == "auth":
        status = 401  # Google answers an invalid key with 400
    param = error.get("param")
    return UpstreamError(
        message,
        status=_RESTATED.get(status, status),
        kind=kind,
        param=param if isinstance(param, str) else None,
        code=code if isinstance(code, str) else None,
        headers=_retry_after(details),
    )


def payload_error(frame: Frame | str | bytes) -> ProxyError | None:
    """The error that a stream's frame reports instead of a reply: a truthy `error` member, or a `type` of `error`."""
    try:
        document = orjson.loads(frame.data if isinstance(frame, Frame) else frame)
    except orjson.JSONDecodeError:
        return None
    if isinstance(document, list) and document:
        document = document[0]
    if isinstance(document, dict) and (document.get("error") or document.get("type") == "error"):
        return error_of(document)
    return None


def broken(message: str) -> Failure:
    """The provider broke off, or sent what nobody can read."""
    return Failure("bad_gateway", message, 502)


def _kind(status: int | None, words: list[object], message: str) -> Kind:
    """The most exact of what the words, the text and the status say."""
    told = [_KIND_OF_WORD[word] for word in words if isinstance(word, str) and word in _KIND_OF_WORD]
    for kind in told:
        if kind in _DECIDING:
            return kind
    if "API_KEY_INVALID" in words:
        return "auth"
    if status in (None, 400) and any(text in message for text in _TOO_LONG):
        return "context_length"
    if status is None:
        return told[0] if told else "bad_gateway"
    return _KIND_OF_STATUS.get(status) or ("invalid_request" if 400 <= status < 500 else "bad_gateway")


def _message(inner: object, error: Mapping[str, Any], members: Mapping[str, Any]) -> str:
    """The first thing that reads like a message; structured ones (FastAPI's `detail`) as JSON."""
    for candidate in (error.get("message"), inner, members.get("message"), members.get("detail")):
        if isinstance(candidate, str) and candidate:
            return candidate[:_SHOWN]
    detail = members.get("detail")
    return orjson.dumps(detail).decode()[:_SHOWN] if detail else ""


def _retry_after(details: list[dict[str, Any]]) -> dict[str, str]:
    for detail in details:
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and delay.endswith("s"):
            try:
                return {"Retry-After": str(ceil(float(delay[:-1])))}
            except (ValueError, OverflowError):
                break
    return {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def openai_error(error: ProxyError) -> dict[str, Any]:
    """`{message, type, param, code}`, all four always there."""
    fault = FAULTS[error.kind]
    return {"message": error.message, "type": fault.openai_type, "param": error.param, "code": error.code or fault.openai_code}


def anthropic_error(error: ProxyError) -> dict[str, Any]:
    """`{type, message}`."""
    return {"type": FAULTS[error.kind].anthropic_type, "message": error.message}


def google_error(error: ProxyError) -> dict[str, Any]:
    """google.rpc.Status: `{code, message, status, details?}`; `details` only to say how long to wait."""
    told: dict[str, Any] = {"code": google_http_status(error), "message": error.message, "status": FAULTS[error.kind].google_status}
    wait = error.headers.get("Retry-After") or error.headers.get("retry-after")
    if error.kind in ("rate_limit", "quota", "overloaded") and wait and wait.isdigit():
        told["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait}s"}]
    return told


def openai_http_status(error: ProxyError) -> int:
    return FAULTS[error.kind].status if error.status == 529 else error.status


google_http_status = openai_http_status


def anthropic_http_status(error: ProxyError) -> int:
    return FAULTS[error.kind].anthropic_status or error.status


def write_openai_error(error: ProxyError, request_id: str) -> tuple[int, bytes]:
    """Both OpenAI's `error` and Respan's `detail` (and `retry_after`), so that clients of either find the text.

    The request id travels as a header.
    """
    told: dict[str, Any] = {"error": openai_error(error), "detail": error.message}
    if isinstance(error, LimitExceeded) and (wait := error.headers.get("Retry-After")) is not None:
        told["retry_after"] = int(wait)
    return openai_http_status(error), orjson.dumps(told)
