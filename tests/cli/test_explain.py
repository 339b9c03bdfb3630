"""`explain` says where a name would go and why, and asks no provider; a proxy that runs tells who rests."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from respan_proxy.cli import main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Whom it would have connected to: nobody is there."""
    addresses: list[object] = []

    def refuse(_: socket.socket, address: object) -> None:
        addresses.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return addresses


def explain(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(main, ["explain", *arguments], env=environ)


def ways(result: Result) -> dict[str, dict[str, Any]]:
    return {way["dialect"]: way for way in json.loads(result.stdout)["ways"]}


def test_it_names_provider_model_address_and_reason(asked: list[object]) -> None:
    result = explain("openai/gpt-4o", OPENAI_API_KEY="sk-secret")
    assert asked == [("127.0.0.1", 7776)], "nobody but a proxy that may run here"
    assert result.exit_code == 0
    assert "to openai, as model 'gpt-4o': " in result.stdout
    assert "-> https://api.openai.com/v1/chat/completions" in result.stdout
    assert "in front of the name" in result.stdout
    assert "secret" not in result.output


def test_it_says_for_every_endpoint_whether_it_serves() -> None:
    found = ways(explain("claude-sonnet-4-5", "--json", ANTHROPIC_API_KEY="sk-ant-1"))
    assert found["anthropic.messages"]["url"] == "https://api.anthropic.com/v1/messages"
    assert "translated_to" not in found["anthropic.messages"]
    assert found["openai.chat"]["url"] == "https://api.anthropic.com/v1/messages"
    assert found["openai.chat"]["translated_to"] == "anthropic.messages"


def test_without_any_key_echo_answers_and_it_says_so() -> None:
    found = ways(explain("gemini-2.5-flash", "--json"))
    assert {way["provider"] for way in found.values()} == {"echo"}
    assert "stands in" in found["gemini"]["reason"]


def test_a_default_model_is_told_with_its_warning() -> None:
    Path("config.toml").write_text('[server]\ndefault_model = "gpt-4.1-nano"\n', "utf-8")
    found = ways(explain("no-such-model", "--json", OPENAI_API_KEY="sk-1"))
    assert found["openai.responses"]["model"] == "gpt-4.1-nano"
    assert "no configured provider serves model 'no-such-model'" in found["openai.responses"]["reason"]


def test_an_unknown_name_is_refused_with_the_nearest_and_exit_status_1() -> None:
    result = explain("gtp-4o", OPENAI_API_KEY="sk-1")
    assert result.exit_code == 1
    assert result.stdout.count("no provider serves model 'gtp-4o'") == 1
    assert "gpt-4o" in result.stdout


def test_a_provider_may_be_pinned() -> None:
    found = ways(explain("anything", "--provider", "groq", "--json", GROQ_API_KEY="gsk_1"))
    assert found["openai.chat"]["url"] == "https://api.groq.com/openai/v1/chat/completions"


def test_it_tells_what_is_known_about_the_model_the_users_own_profiles_included() -> None:
    Path("config.toml").write_text('[[profiles]]\nmodels = ["o3*"]\nmax_tokens = 7\nrefuses = ["seed"]\n', "utf-8")
    result = explain("o3", OPENAI_API_KEY="sk-1")
    assert "max_tokens = 7" in result.stdout and "sampling = false" in result.stdout
    profile = ways(explain("o3", "--json", OPENAI_API_KEY="sk-1"))["openai.chat"]["profile"]
    assert "seed" in profile["refuses"] and "stop" in profile["refuses"] and "structured" not in profile


def test_it_tells_where_a_model_is_asked_that_chat_does_not_serve() -> None:
    assert ways(explain("gpt-5-codex", "--json", OPENAI_API_KEY="sk-1"))["openai.chat"]["translated_to"] == "openai.responses"
    luna = ways(explain("gpt-5.6-luna", "--json", OPENAI_API_KEY="sk-1"))
    assert "translated_to" not in luna["openai.chat"] and luna["openai.chat"]["translated_to_with_tools"] == "openai.responses"
    assert "url_with_tools" not in luna["openai.responses"]
    shown = explain("gpt-5.6-luna", OPENAI_API_KEY="sk-1").stdout
    [line] = [line for line in shown.splitlines() if "with tools to reason about" in line]
    assert line.endswith("-> https://api.openai.com/v1/responses")


def test_of_a_group_it_tells_every_model() -> None:
    Path("config.toml").write_text('[groups.fast]\nmodels = ["gpt-4o", { model = "o3", weight = 2 }]\n', "utf-8")
    result = explain("fast", OPENAI_API_KEY="sk-1")
    assert result.exit_code == 0
    assert "fast, a group of models, with their weights: gpt-4o (1), o3 (2); pick: weighted" in result.stdout
    assert "as model 'gpt-4o'" in result.stdout and "as model 'o3'" in result.stdout
    found = json.loads(explain("fast", "--json", OPENAI_API_KEY="sk-1").stdout)
    assert [member["model"] for member in found["models"]] == ["gpt-4o", "o3"] and found["models"][0]["ways"][0]["provider"] == "openai"
