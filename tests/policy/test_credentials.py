"""Whose credential goes where, and who is refused at the door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from respan_proxy.config import Config, parse
from respan_proxy.errors import Forbidden, MissingCredentials, Unauthorized
from respan_proxy.exchange import Caller
from respan_proxy.policy.credentials import auth_headers, identify, may_forward, refuse_strangers, secret_for

OURS = {"keys": [{"name": "ci", "key": "our-key", "environment": "test"}, {"name": "boss", "key": "sk-ours", "is_admin": True}]}
CHAT, MESSAGES, GEMINI = "openai.chat", "anthropic.messages", "gemini"


def configured(mapping: Mapping[str, Any] | None = None, **environ: str) -> Config:
    return parse(mapping or {}, environ)


def caller(config: Config, query: str = "", **headers: str) -> Caller:
    return identify(CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}), query, config)


# who asks


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"Authorization": "Bearer our-key"}, ""),
        ({"authorization": "bearer  our-key "}, ""),
        ({"Authorization": "our-key"}, ""),
        ({"x-api-key": "our-key"}, ""),
        ({"X-Goog-Api-Key": "our-key"}, ""),
        ({"api-key": "our-key"}, ""),
        ({}, "alt=sse&key=our%2Dkey"),
        ({"Authorization": "Bearer placeholder", "x-api-key": "our-key"}, ""),
    ],
)
def test_our_key_is_known_wherever_a_client_puts_it(headers: dict[str, str], query: str) -> None:
    found = identify(CIMultiDict(headers), query, configured(OURS))
    assert (found.key_name, found.environment, found.is_admin, found.credential) == ("ci", "test", False, None)
    assert found.key_id


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Bearer other"}, {"x-api-key": "OUR-KEY"}, {"Cookie": "our-key"}]
)
def test_with_keys_of_our_own_nobody_else_gets_in(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized) as caught:
        identify(CIMultiDict(headers), "", configured(OURS))
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")


def test_without_keys_everybody_gets_in_and_keeps_their_credential() -> None:
    assert caller(configured()) == Caller(is_admin=True)
    assert caller(configured(), Authorization="Bearer sk-1").credential == "sk-1"
    assert caller(configured(), "key=AIza1").credential == "AIza1"


def test_a_placeholder_beside_a_providers_key_does_not_hide_it() -> None:
    assert caller(configured(), Authorization="Bearer YOUR_KEY", x_api_key="sk-ant-1").credential == "sk-ant-1"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126)), st.text())
def test_any_header_and_query_is_judged_without_error(value: str, query: str) -> None:
    headers = CIMultiDict({"Authorization": value, "x-api-key": value})
    assert identify(headers, query, configured()).is_admin
    if "our-key" not in value + query and "sk-ours" not in value + query:
        with pytest.raises(Unauthorized):
            identify(headers, query, configured(OURS))


def test_no_representation_of_a_caller_shows_the_credential() -> None:
    assert "sk-1" not in repr(caller(configured(), Authorization="Bearer sk-1"))


# whose credential goes where


def secret(config: Config, provider: str, credential: str | None, dialect: str) -> tuple[str | None, bool]:
    return secret_for(config.providers[provider], Caller(credential=credential), config, dialect)


def test_a_configured_key_is_used_before_the_callers() -> None:
    assert secret(configured(OPENAI_API_KEY="sk-conf"), "openai", "sk-caller", CHAT) == ("sk-conf", False)


@pytest.mark.parametrize(
    ("provider", "credential", "dialect"),
    [
        ("openai", "sk-proj-1", CHAT),
        ("anthropic", "sk-ant-api03-1", MESSAGES),
        ("anthropic", "sk-ant-oat01-1", MESSAGES),
        ("anthropic", "eyJhbGciOi.x.y", MESSAGES),
        ("gemini", "AIzaSy1", GEMINI),
        ("groq", "gsk_1", CHAT),
    ],
)
def test_a_callers_key_of_the_providers_form_is_forwarded(provider: str, credential: str, dialect: str) -> None:
    assert secret(configured(), provider, credential, dialect) == (credential, True)


@pytest.mark.parametrize(
    ("provider", "credential", "dialect"),
    [
        ("openai", "sk-ant-api03-1", CHAT),
        ("openai", "sk-or-v1-1", CHAT),
        ("openai", "AIzaSy1", CHAT),
        ("openai", "YOUR_RESPAN_API_KEY", CHAT),
        ("openai", None, CHAT),
        ("openai", "eyJhbGciOi.x.y", CHAT),
        ("deepseek", "sk-1", CHAT),
        ("mistral", "sk-1", CHAT),
        ("anthropic", "sk-1", MESSAGES),
        ("anthropic", "sk-ant-oat01-1", CHAT),
        ("anthropic", "eyJhbGciOi.x.y", CHAT),
        ("gemini", "sk-ant-1", GEMINI),
    ],
)
def test_any_other_credential_is_a_424_and_goes_nowhere(provider: str, credential: str | None, dialect: str) -> None:
    with pytest.raises(MissingCredentials, match="_API_KEY") as caught:
        secret(configured(), provider, credential, dialect)
    assert caught.value.status == 424
    assert not credential or credential not in str(caught.value)


@pytest.mark.parametrize("mapping", [OURS, {"server": {"caller_keys": "never"}}, {"providers": {"openai": {"caller_keys": "never"}}}])
def test_forwarding_ends_with_keys_of_our_own_and_by_order(mapping: dict[str, Any]) -> None:
    config = configured(mapping)
    assert not may_forward(config.providers["openai"], "sk-1", config, CHAT)


def test_our_own_key_never_becomes_a_credential_even_in_a_providers_form() -> None:
    config = configured(OURS)
    found = caller(config, Authorization="Bearer sk-ours")
    assert (found.key_name, found.credential) == ("boss", None)
    with pytest.raises(MissingCredentials):
        secret_for(config.providers["openai"], found, config, CHAT)


def test_a_server_that_needs_no_key_gets_none() -> None:
    config = configured(OLLAMA_HOST="gpu")
    assert secret(config, "ollama", "sk-1", CHAT) == (None, False)
    assert secret(config, "echo", "sk-1", CHAT) == (None, False)


@pytest.mark.parametrize(
    ("provider", "key", "headers"),
    [
        ("openai", "sk-1", {"Authorization": "Bearer sk-1"}),
        ("anthropic", "sk-ant-api03-1", {"x-api-key": "sk-ant-api03-1"}),
        ("anthropic", "sk-ant-oat01-1", {"Authorization": "Bearer sk-ant-oat01-1"}),
        ("anthropic", "eyJ.x.y", {"Authorization": "Bearer eyJ.x.y"}),
        ("gemini", "AIza1", {"x-goog-api-key": "AIza1"}),
        ("gemini", "ya29.1", {"Authorization": "Bearer ya29.1"}),
        ("azure_openai", "abc", {"api-key": "abc"}),
        ("azure_openai", "eyJ.x.y", {"Authorization": "Bearer eyJ.x.y"}),
        ("ollama", None, {}),
        ("openai", None, {}),
    ],
)
def test_a_secret_travels_as_its_provider_expects(provider: str, key: str | None, headers: dict[str, str]) -> None:
    config = configured(OLLAMA_HOST="gpu", AZURE_OPENAI_ENDPOINT="https://me")
    assert auth_headers(config.providers[provider], key) == headers


def test_a_custom_header_carries_a_custom_key() -> None:
    config = configured(
        {
            "providers": {
                "mine": {"base_url": "http://x", "key": "k", "auth": "X-Token"},
                "bare": {"base_url": "http://y", "key": "k", "auth": "none"},
            }
        }
    )
    assert auth_headers(config.providers["mine"], "k") == {"X-Token": "k"}
    assert auth_headers(config.providers["bare"], "k") == {"Authorization": "Bearer k"}


# strangers


HOST = {"Host": "localhost:7776"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:7776"},
        {"Host": "LOCALHOST"},
        {"Host": "127.0.0.1:7776"},
        {"Host": "127.1.2.3"},
        {"Host": "[::1]:7776"},
        {"Host": "app.localhost:7776"},
        {"Host": "proxy.test:7776"},
        {**HOST, "Origin": "http://localhost:7776"},
        {**HOST, "Origin": "https://app.example"},
        {**HOST, "Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"},
        {**HOST, "Sec-Fetch-Site": "same-origin"},
        {**HOST, "Sec-Fetch-Site": "none"},
    ],
)
def test_programs_and_own_pages_get_in(headers: dict[str, str]) -> None:
    config = configured({"server": {"allowed_hosts": ["proxy.test"], "allowed_origins": ["https://app.example"]}})
    refuse_strangers(CIMultiDict(headers), config)


STRANGERS = [
    {"Host": "evil.example"},
    {"Host": "localhost.evil.example:7776"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "[2001:db8::1]:7776"},
    {"Host": "192.168.0.7:7776"},
    {**HOST, "Origin": "https://evil.example"},
    {**HOST, "Origin": "null"},
    {**HOST, "Origin": "http://localhost:3000"},
    {**HOST, "Sec-Fetch-Site": "cross-site"},
    {**HOST, "Sec-Fetch-Site": "Cross-Site", "Origin": "http://localhost:7776"},
    {"Host": "evil.example", "Origin": "http://evil.example"},
]


@pytest.mark.parametrize("headers", STRANGERS)
def test_other_websites_are_refused_on_a_keyless_loopback(headers: dict[str, str]) -> None:
    with pytest.raises(Forbidden) as caught:
        refuse_strangers(CIMultiDict(headers), configured())
    assert caught.value.status == 403


@pytest.mark.parametrize("headers", STRANGERS)
def test_with_keys_the_key_decides(headers: dict[str, str]) -> None:
    refuse_strangers(CIMultiDict(headers), configured(OURS))


def test_behind_a_unix_socket_only_browsers_are_refused() -> None:
    config = configured({"server": {"listen": "unix:/run/proxy.sock"}})
    refuse_strangers(CIMultiDict({"Host": "anything"}), config)
    with pytest.raises(Forbidden):
        refuse_strangers(CIMultiDict({"Host": "anything", "Origin": "https://evil.example"}), config)


@given(st.dictionaries(st.sampled_from(["Host", "Origin", "Sec-Fetch-Site"]), st.text()))
def test_any_headers_of_a_stranger_are_judged_without_another_error(headers: dict[str, str]) -> None:
    try:
        refuse_strangers(CIMultiDict(headers), configured())
    except Forbidden as refusal:
        assert refusal.status == 403  # noqa: PT017
