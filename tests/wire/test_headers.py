"""What travels with a request and with an answer, and what never does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from respan_proxy.wire import headers
from respan_proxy.wire.headers import masked, to_caller, to_provider
from respan_proxy.wire.secrets import redact_query, scrub

VECTORS = Path(__file__).parent.parent / "recordings" / "vectors"

NEVER_TO_PROVIDER = [
    "Authorization",
    "X-Api-Key",
    "x-goog-api-key",
    "api-key",
    "Proxy-Authorization",
    "x-openrouter-api-key",
    "X-Amz-Security-Token",
    "Cookie",
    "Host",
    "Content-Length",
    "Content-Encoding",
    "Accept-Encoding",
    "Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Proxy-Connection",
    "Expect",
    "Origin",
    "Referer",
    "Sec-Fetch-Site",
    "sec-ch-ua",
    "X-Forwarded-For",
    "Forwarded",
    "X-Real-IP",
    "Via",
    "traceparent",
    "tracestate",
    "baggage",
    "X-Respan-Route-Provider",
    "X-Data-Respan-Params",
    "X-Data-Keywordsai-Params",
    "X-Respan-Hop",
]
ALWAYS_TO_PROVIDER = [
    "User-Agent",
    "Accept",
    "Accept-Language",
    "Content-Type",
    "X-Request-Id",
    "Idempotency-Key",
    "X-Stainless-Lang",
    "X-Stainless-Retry-Count",
    "X-Server-Timeout",
    "X-Team",
    "X-Title",
]
DIALECTS = ["openai.chat", "openai.responses", "anthropic.messages", "gemini"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title])
def test_only_what_a_provider_may_see_goes_to_it(dialect: str, spelling: object) -> None:
    assert callable(spelling)
    sent = CIMultiDict([(spelling(name), "value") for name in NEVER_TO_PROVIDER + ALWAYS_TO_PROVIDER])
    assert list(to_provider(sent, dialect=dialect).items()) == [(spelling(name), "value") for name in ALWAYS_TO_PROVIDER]


@pytest.mark.parametrize(
    ("name", "dialects"),
    [
        ("anthropic-beta", {"anthropic.messages"}),
        ("Anthropic-Version", {"anthropic.messages"}),
        ("openai-organization", {"openai.chat", "openai.responses"}),
        ("x-goog-api-client", {"gemini"}),
        ("x-goog-user-project", {"gemini"}),
    ],
)
def test_one_companys_headers_go_to_no_other(name: str, dialects: set[str]) -> None:
    assert {dialect for dialect in DIALECTS if name in to_provider(CIMultiDict({name: "x"}), dialect=dialect)} == dialects


def test_values_that_nobody_knows_yet_pass_as_they_are() -> None:
    betas = "oauth-2025-04-20,unknown-2031-01-01"
    assert to_provider(CIMultiDict({"anthropic-beta": betas}), dialect="anthropic.messages")["Anthropic-Beta"] == betas


def test_what_connection_names_is_hop_by_hop() -> None:
    sent = CIMultiDict(
        [("Connection", "keep-alive, X-Team"), ("Connection", "x-other"), ("X-Team", "1"), ("X-Other", "2"), ("X-Kept", "3")]
    )
    assert list(to_provider(sent, dialect="openai.chat")) == ["X-Kept"]
    assert list(to_caller(sent)) == ["X-Kept"]


def test_configured_headers_stand_on_top() -> None:
    sent = CIMultiDict([("X-Team", "callers"), ("x-team", "again")])
    assert list(to_provider(sent, dialect="openai.chat", provider_headers={"X-Team": "ours"}).items()) == [("X-Team", "ours")]


def test_a_raw_relay_sends_four_plain_headers_and_the_providers_own() -> None:
    sent = CIMultiDict({"Accept": "*/*", "User-Agent": "u", "X-Team": "t", "X-My-Provider-Mode": "m", "X-My-Provider-Key": "secret"})
    assert list(to_provider(sent, dialect="openai.chat", raw_relay_of="my_provider")) == ["Accept", "User-Agent", "X-My-Provider-Mode"]


def test_the_caller_sees_what_helps_and_nothing_that_binds_the_providers_host() -> None:
    answered = CIMultiDict(
        {
            "content-type": "application/json",
            "x-request-id": "req_1",
            "request-id": "req_2",
            "x-ratelimit-remaining-requests": "9",
            "anthropic-ratelimit-tokens-reset": "t",
            "openai-processing-ms": "12",
            "retry-after": "7",
            "retry-after-ms": "6800",
            "x-should-retry": "true",
            "content-encoding": "gzip",
            "www-authenticate": "Bearer",
        }
    )
    dropped = ["Content-Length", "Transfer-Encoding", "Set-Cookie", "Alt-Svc", "Strict-Transport-Security", "Access-Control-Allow-Origin"]
    assert to_caller(CIMultiDict([*answered.items(), *((name, "x") for name in dropped)])) == answered


def test_the_recorded_429_keeps_its_retry_headers_and_no_hop_by_hop_ones() -> None:
    vector = json.loads((VECTORS / "006_pass_error_429_headers.json").read_text())
    assert dict(to_caller(CIMultiDict(vector["upstream_response"]["headers"]))) == vector["client_response_expected"]["headers"]


def test_repeated_headers_stay_repeated_and_in_order() -> None:
    pairs = [("X-A", "1"), ("X-B", "2"), ("X-A", "3")]
    assert list(to_provider(CIMultiDict(pairs), dialect="openai.chat").items()) == pairs
    assert list(to_caller(CIMultiDict(pairs)).items()) == pairs


def test_any_number_of_names_takes_a_bounded_amount_of_memory() -> None:
    for start in range(0, 10_000, 100):
        many = CIMultiDict({f"X-Name-{number}": "v" for number in range(start, start + 100)})
        assert len(to_provider(many, dialect="gemini")) == len(to_caller(many)) == len(masked(many)) == 100
    for start in range(1000):
        to_caller(CIMultiDict({f"X-Name-{start}": "v"}))
    assert len(headers._stay) <= headers._MOST_REMEMBERED
    long = "x-" + "n" * 4000
    assert len(to_caller(CIMultiDict({long: "v"}))) == 1 and ((long,), None, None) not in headers._stay


def test_the_same_names_with_other_values_are_judged_by_these() -> None:
    for said, left in (("keep-alive", ["X-A", "X-B"]), ("x-a", ["X-B"]), ("close, X-B", ["X-A"]), ("Keep-Alive", ["X-A", "X-B"])):
        assert list(to_provider(CIMultiDict({"Connection": said, "X-A": "1", "X-B": "2"}), dialect="openai.chat")) == left
    for value, shown in (("plain", "plain"), ("https://me:hunter22@there/", "https://me:***@there/"), ("plain", "plain")):
        headers = CIMultiDict({"X-Callback": value, "Authorization": "Bearer sk-1", "X-Other": "1"})
        assert masked(headers) == [("X-Callback", shown), ("Authorization", "Bearer ***"), ("X-Other", "1")]


def test_secrets_are_masked_and_everything_else_is_kept() -> None:
    secret = "sk-very-secret-value"
    carried = [
        "X-Api-Key",
        "X-Goog-Api-Key",
        "api-key",
        "Cookie",
        "Set-Cookie",
        "X-Data-Respan-Params",
        "Helicone-Auth",
        "X-Amz-Security-Token",
    ]
    plain = [("X-RateLimit-Remaining-Tokens", "9"), ("Idempotency-Key", "abc"), ("anthropic-beta", "a,b")]
    shown = masked(CIMultiDict([("Authorization", f"Bearer {secret}"), *((name, secret) for name in carried), *plain]))
    assert shown == [("Authorization", "Bearer ***"), *((name, "***") for name in carried), *plain]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("alt=sse&key=AIzaSecret", "alt=sse&key=***"),
        ("%6Bey=AIzaSecret", "%6Bey=***"),
        ("KEY=a&access_token=b&api_key=c", "KEY=***&access_token=***&api_key=***"),
        ("pageToken=x&limit=2", "pageToken=x&limit=2"),
        ("key", "key"),
        ("", ""),
        ("a=%20+b&&c", "a=%20+b&&c"),
    ],
)
def test_keys_in_a_query_are_masked(query: str, shown: str) -> None:
    assert redact_query(query) == shown


@given(st.binary(), st.text(min_size=6), st.binary())
def test_no_secret_survives_scrubbing(before: bytes, secret: str, after: bytes) -> None:
    plain = secret.encode("utf-8", "surrogateescape") if secret.isprintable() else secret.encode()
    data = before + plain + after
    cleaned = scrub(data, [secret])
    assert plain not in cleaned.replace(b"***", b"\0" if b"\0" not in plain else b"\1")


def test_scrubbing_knows_jsons_spellings_and_longer_secrets_first() -> None:
    body = b'{"message":"bad key sk-ab\\/cd\\"ef, sk-ab/cd\\"ef and sk-ab/cd"}'
    assert scrub(body, ["sk-ab/cd", 'sk-ab/cd"ef']) == b'{"message":"bad key sk-ab\\/cd\\"ef, *** and ***"}'.replace(b"sk-ab\\/cd", b"***")


def test_short_dummies_garble_nothing() -> None:
    body = b"none of these tests"
    assert scrub(body, ["none", "test", ""]) is body
