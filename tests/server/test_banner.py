"""The banner says what is true: where, who answers, where it is remembered, and a call that works as it stands."""

from __future__ import annotations

import pytest

from respan_proxy.config import Listen, parse
from respan_proxy.server.banner import banner, facts

HERE = Listen("127.0.0.1", 7776)


def told(address: Listen = HERE, **environ: str) -> dict[str, str]:
    return facts(parse({}, environ), address)


def test_without_keys_it_names_echo_and_the_way_out() -> None:
    assert "echo" in told()["providers"]
    assert "OPENAI_API_KEY" in told()["providers"]
    assert '"gpt-4.1-nano"' in told()["try"]


def test_with_a_key_it_names_who_has_one_and_never_the_key() -> None:
    environ = {"ANTHROPIC_API_KEY": "sk-ant-secret", "RESPAN_PROXY_KEYS": "me:our-secret"}
    assert told(**environ)["providers"] == "anthropic (and echo)"
    assert '"echo/hello"' in told(**environ)["try"]
    assert told(**environ)["keys"] == "me"
    assert "secret" not in banner(parse({}, environ), HERE)


def test_a_provider_that_was_put_somewhere_waits_for_callers_keys() -> None:
    environ = {"RESPAN_PROXY_OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
    assert told(**environ)["providers"].startswith("openai (with the keys that callers bring); none with a key")
    assert '"gpt-4.1-nano"' in told(**environ)["try"]


def test_a_second_address_for_spans_is_told() -> None:
    assert facts(parse({}, {}), HERE, Listen("0.0.0.0", 4318))["spans"] == "http://127.0.0.1:4318"
    assert "spans" not in told()


def test_who_is_told_of_calls_too_is_named_and_whether_it_hears_what_was_said() -> None:
    environ = {"LANGFUSE_PUBLIC_KEY": "pk-secret", "LANGFUSE_SECRET_KEY": "sk-secret"}
    config = parse({"export": [{"preset": "phoenix", "content": "full"}, {"preset": "langfuse"}]}, environ)
    assert facts(config, HERE)["exports"] == "phoenix (with what was said), langfuse"
    assert "secret" not in banner(config, HERE)
    assert "exports" not in told()


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        (HERE, "http://127.0.0.1:7776/api"),
        (Listen("0.0.0.0", 80), "http://127.0.0.1:80/api"),
        (Listen("::", 80), "http://[::1]:80/api"),
        (Listen("", 0, "/run/p.sock"), "unix:/run/p.sock (/api)"),
    ],
)
def test_the_address_can_be_called(address: Listen, reached: str) -> None:
    assert told(address)["address"] == reached
    assert "0.0.0.0" not in told(address)["try"]


def test_it_is_short() -> None:
    assert len(banner(parse({}, {}), HERE).splitlines()) == 5
