"""`check` prints what would be served, all mistakes when it would not, and never a key."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from respan_proxy.cli import main

KEYS = {"OPENAI_API_KEY": "sk-openai-secret", "RESPAN_PROXY_KEYS": "ci:our-secret:test"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No config.toml and no .env but the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


def check(text: str = "", *flags: str, **environ: str) -> Result:
    if text:
        Path("config.toml").write_text(text, "utf-8")
    return CliRunner().invoke(main, ["check", *flags], env=environ)


def lines_with(result: Result, word: str) -> str:
    return "\n".join(line for line in result.stdout.splitlines() if word in line)


def test_it_says_what_would_be_served_and_shows_no_secret() -> None:
    text = """
[server]
default_model = "gpt-4.1-nano"
[models]
"fast" = "openai/gpt-4.1-nano"
[[keys]]
name = "boss"
key = "boss-secret"
is_admin = true
"""
    result = check(text, "--listen", "0.0.0.0:80", "--database", "/data/calls.db", **KEYS)
    assert result.exit_code == 0
    assert "0.0.0.0:80 (other machines too)" in result.stdout
    assert "/data/calls.db" in result.stdout
    assert "key set" in lines_with(result, "openai")
    assert "no key (ANTHROPIC_API_KEY)" in lines_with(result, "anthropic.messages")
    assert "ci" in lines_with(result, " test")
    assert "boss" not in result.stdout  # the variable stands instead of the file's tables
    assert "fast -> openai/gpt-4.1-nano" in result.stdout
    assert "-> gpt-4.1-nano" in result.stdout
    assert "secret" not in result.output


def test_it_says_where_spans_come_in_and_where_calls_are_passed_on() -> None:
    text = """
[telemetry]
listen = "127.0.0.1:4318"
[[export]]
preset = "phoenix"
content = "full"
[[export]]
name = "team"
endpoint = "https://otel.example.com"
headers = { Authorization = "Bearer the-secret" }
"""
    result = check(text)
    assert "127.0.0.1:4318 too (this machine only)" in lines_with(result, "spans")
    assert "http://localhost:6006/v1/traces (with what was said)" in lines_with(result, "phoenix")
    assert "https://otel.example.com/v1/traces (nothing that was said)" in lines_with(result, "team")
    assert "secret" not in result.output


def test_keys_are_told_with_what_they_may_do_and_not_shown() -> None:
    result = check(
        '[[keys]]\nname = "boss"\nkey = "boss-secret"\nis_admin = true\n[[keys]]\nname = "ci"\nkey = "ci-secret"\nenvironment = "test"\n'
    )
    assert "boss" in lines_with(result, "admin")
    assert "ci" in lines_with(result, " test")
    assert "secret" not in result.output


def test_limits_and_budgets_are_told() -> None:
    told = check(
        '[budgets]\nmax_usd_per_day = 20\n[[keys]]\nname = "ci"\nkey = "ci-secret"\nrequests_per_minute = 2\nmax_usd_per_day = 0.5\n'
        '[customers."vip-*"]\n[customers."*"]\ntokens_per_minute = 1000\n'
    )
    assert "no environment, 2 requests a minute, $0.5 a day" in lines_with(told, "ci ")
    assert "no limit" in lines_with(told, "vip-*") and "1000 tokens a minute" in lines_with(told, "  * ")
    assert "$20 a day" in lines_with(told, "budget")


def test_without_any_key_it_says_that_echo_answers() -> None:
    result = check()
    assert result.exit_code == 0
    assert "127.0.0.1:7776 (this machine only)" in result.stdout
    assert "echo" in result.stdout
    assert result.stderr == ""


def test_every_mistake_is_printed_and_the_exit_status_is_1() -> None:
    result = check('[server]\nlisen = 1\nask_usage = "no"\n[provider]\n')
    assert result.exit_code == 1
    assert result.stdout == ""
    problems = result.stderr.splitlines()
    assert len(problems) == 3
    assert all(problem.startswith("config.toml: ") for problem in problems)


@pytest.mark.parametrize("flags", [("--config", "not-there.toml"), ("--listen", "x:y:z")])
def test_mistakes_on_the_command_line_are_named_too(flags: tuple[str, str]) -> None:
    result = check("", *flags)
    assert result.exit_code == 1
    assert "not-there.toml" in result.stderr or "--listen" in result.stderr


def test_a_missing_certificate_file_is_a_mistake() -> None:
    result = check('[providers.openai]\nca_file = "none.pem"\n')
    assert result.exit_code == 1
    assert "providers.openai.ca_file" in result.stderr


def test_routes_that_lead_nowhere_are_warned_of() -> None:
    result = check('[server]\ndefault_model = "nobody/has-it"\n[models]\na = "claude-x"\nb = "gpt-4o"\n', **KEYS)
    assert result.exit_code == 0
    assert "warning: models.a leads nowhere: No credentials configured for provider 'anthropic'" in result.stderr
    assert "warning: server.default_model leads nowhere" in result.stderr
    assert "models.b" not in result.stderr


def test_keys_of_the_nearest_env_file_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("ANTHROPIC_API_KEY='sk-ant-secret'\n", "utf-8")
    (tmp_path / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "down")
    assert "key set" in lines_with(check(), "anthropic.messages")
