"""Failures: recognised in any shape, told in every dialect with the status that its SDK expects."""

from __future__ import annotations

from typing import Any, get_args

import orjson
import pytest

from respan_proxy.dialects.faults import FAULTS, google_error, openai_error, payload_error, read_error, write_openai_error
from respan_proxy.errors import Kind, ProxyError


def openai(code: Any = None, type: Any = None, message: str = "no") -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


def google(status: str, *details: dict[str, Any], code: int = 400) -> dict[str, Any]:
    return {"error": {"code": code, "message": "no", "status": status, "details": list(details)}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "answered"),
    [
        (400, openai("context_length_exceeded"), "context_length", 400),
        (400, openai(message="prompt is too long: 9 tokens"), "context_length", 400),
        (400, openai(message="The input token count (9) exceeds the maximum"), "context_length", 400),
        (400, openai("content_filter"), "content_filter", 400),
        (400, google("INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}), "auth", 401),
        (400, google("FAILED_PRECONDITION"), "invalid_request", 400),
        (401, openai("invalid_api_key"), "auth", 401),
        (402, openai(), "billing", 402),
        (403, openai(), "permission", 403),
        (404, openai("model_not_found"), "not_found", 404),
        (405, openai(), "invalid_request", 400),
        (408, openai(), "timeout", 504),
        (409, openai(), "invalid_request", 409),
        (413, openai(), "too_large", 413),
        (415, openai(), "invalid_request", 400),
        (422, {"detail": [{"msg": "bad"}]}, "invalid_request", 422),
        (424, openai(), "bad_gateway", 502),
        (429, openai("rate_limit_exceeded", "tokens"), "rate_limit", 429),
        (429, openai("insufficient_quota"), "quota", 429),
        (500, openai(), "server", 500),
        (503, openai(), "overloaded", 503),
        (520, openai(), "bad_gateway", 520),
        (524, "<html>", "timeout", 504),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, "overloaded", 503),
        (200, openai(429), "rate_limit", 429),
        (200, {"type": "error", "error": {"type": "authentication_error", "message": "no"}}, "auth", 401),
        (200, openai(), "bad_gateway", 502),
        (200, [google("UNAVAILABLE", code=503)], "overloaded", 503),
    ],
)
def test_a_refusal_of_any_shape_has_a_kind_and_a_status(status: int, body: Any, kind: Kind, answered: int) -> None:
    error = read_error(status, body.encode() if isinstance(body, str) else orjson.dumps(body))
    assert (error.kind, error.status) == (kind, answered)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"said"}}', "said"),
        (b'{"error":"said"}', "said"),
        (b'{"message":"said"}', "said"),
        (b'{"detail":"said"}', "said"),
        (b'[{"error":{"message":"said"}}]', "said"),
        (b'{"detail":[{"msg":"bad"}]}', '[{"msg":"bad"}]'),
        (b"<html>a page</html>", "Upstream returned HTTP 502"),
        (b"", "Upstream returned HTTP 502"),
        (b'{"error":{"message":""}}', "Upstream returned HTTP 502"),
    ],
)
def test_the_message_is_found_wherever_it_stands(body: bytes, message: str) -> None:
    assert read_error(502, body).message == message


def test_a_message_of_any_length_is_cut() -> None:
    assert len(read_error(500, orjson.dumps({"detail": "x" * 100_000})).message) == 2000


def test_googles_retry_delay_becomes_whole_seconds_rounded_up() -> None:
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17.4s"}
    error = read_error(429, orjson.dumps(google("RESOURCE_EXHAUSTED", retry, code=429)))
    assert error.headers == {"Retry-After": "18"}
    assert google_error(error)["details"] == [{**retry, "retryDelay": "18s"}]


@pytest.mark.parametrize("delay", ["soon", "s", "nans", "infs", 5, None])
def test_a_retry_delay_that_is_none_is_ignored(delay: Any) -> None:
    assert read_error(429, orjson.dumps(google("RESOURCE_EXHAUSTED", {"retryDelay": delay}))).headers == {}


def test_every_kind_is_in_the_table() -> None:
    assert set(FAULTS) == set(get_args(Kind))


def test_a_providers_code_is_kept_and_a_kind_without_one_has_its_own() -> None:
    assert openai_error(read_error(400, orjson.dumps(openai("unsupported_value"))))["code"] == "unsupported_value"
    assert openai_error(ProxyError("x", status=502, kind="bad_gateway"))["code"] == "bad_gateway"
    assert openai_error(ProxyError("x", status=400, kind="invalid_request"))["code"] is None


def test_openai_errors_are_also_respans() -> None:
    status, body = write_openai_error(ProxyError("no key", status=401, kind="auth"), "req_1")
    assert status == 401
    error = {"message": "no key", "type": "authentication_error", "param": None, "code": "invalid_api_key"}
    assert orjson.loads(body) == {"error": error, "detail": "no key"}


def test_a_frame_that_is_no_error_is_none() -> None:
    for payload in ("{oops", "[]", "[1]", "1", '{"error":null}', '{"choices":[]}', b"[DONE]"):
        assert payload_error(payload) is None
