"""A bearer token that a command prints: got once, replaced when refused, never shown."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from respan_proxy import tokens
from respan_proxy.config import parse
from respan_proxy.errors import ConfigError
from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, whole

TOKEN = "ya29.secret-{n}"
SCRIPT = """
import pathlib, sys
runs = pathlib.Path(sys.argv[1])
with runs.open("a") as file:
    file.write("x")
sys.stderr.write("ya29.told-on-stderr")
print(f"ya29.secret-{len(runs.read_text())}")
"""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Has a letter for every time the command ran."""
    return tmp_path / "runs"


async def start(start_proxy: StartProxy, provider: FakeProvider, *command: str) -> Proxy:
    table = {"base_url": f"{provider.url}/v1", "token_command": list(command), "families": ["my-*"], "models": ["m"]}
    return await start_proxy({"providers": {"mine": table}}, {"MINE_API_KEY": ""})


async def ask(proxy: Proxy, model: str = "my-model", **params: Any) -> tuple[int, str]:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "hi"}], **params}
    async with aiohttp.ClientSession() as session, session.post(f"{proxy.base}/chat/completions", json=body) as answer:
        return answer.status, await answer.text()


async def test_calls_at_once_share_one_run_and_later_ones_its_token(start_proxy: StartProxy, provider: FakeProvider, runs: Path) -> None:
    proxy = await start(start_proxy, provider, sys.executable, "-c", SCRIPT, str(runs))
    answers = await asyncio.gather(*(ask(proxy) for _ in range(4)))
    assert {status for status, _ in answers} == {200} and (await ask(proxy))[0] == 200
    assert {request.headers["Authorization"] for request in provider.received} == {"Bearer ya29.secret-1"}
    assert runs.read_text() == "x"


async def test_a_refused_token_is_replaced_and_the_call_said_again(start_proxy: StartProxy, provider: FakeProvider, runs: Path) -> None:
    proxy = await start(start_proxy, provider, sys.executable, "-c", SCRIPT, str(runs))
    await ask(proxy)
    provider.will(whole({"error": {"message": "expired"}}, 401), whole(recordings.CHAT))
    assert (await ask(proxy))[0] == 200
    assert [request.headers["Authorization"] for request in provider.received] == [
        f"Bearer {TOKEN.format(n=number)}" for number in (1, 1, 2)
    ]
    provider.will(*(whole({"error": {"message": "not you: ya29.secret-3", "type": "auth"}}, 401) for _ in range(2)))
    status, text = await ask(proxy)
    assert status == 401 and "not you: ***" in text, "a token that the provider echoes stays here"


async def test_an_old_token_is_replaced(
    start_proxy: StartProxy, provider: FakeProvider, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "KEPT_S", 0.0)
    proxy = await start(start_proxy, provider, sys.executable, "-c", SCRIPT, str(runs))
    await ask(proxy)
    await ask(proxy)
    assert provider.last.headers["Authorization"] == "Bearer ya29.secret-2"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("no-such-program-here",), "cannot be run"),
        ((sys.executable, "-c", "import sys; print('ya29.half'); sys.exit(3)"), "ended with status 3"),
        ((sys.executable, "-c", "print('two words')"), "that are no token"),
        ((sys.executable, "-c", "print('x' * 70000)"), "printed more than 65536 bytes"),
        ((sys.executable, "-c", ""), "printed 0 bytes that are no token"),
    ],
)
async def test_a_command_that_gives_no_token_is_answered_424_without_what_it_printed(
    start_proxy: StartProxy, provider: FakeProvider, caplog: pytest.LogCaptureFixture, command: tuple[str, ...], told: str
) -> None:
    proxy = await start(start_proxy, provider, *command)
    with caplog.at_level(logging.DEBUG):
        status, text = await ask(proxy)
    assert status == 424 and "providers.mine.token_command" in text and told in text
    assert not any(word in text + caplog.text for word in ("ya29", "two words"))
    assert not provider.received


async def test_a_command_that_hangs_is_ended(start_proxy: StartProxy, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "COMMAND_S", 0.05)
    proxy = await start(start_proxy, provider, sys.executable, "-c", "import time; time.sleep(60)")
    status, text = await ask(proxy)
    assert status == 424 and "took longer than 0.05 s" in text


def test_a_command_is_a_list_and_stands_instead_of_a_key() -> None:
    for table, told in (
        ({"token_command": "gcloud auth"}, "providers.openai.token_command: found a string 'gcloud auth', expected a program and its arg"),
        ({"token_command": []}, "expected a program and its arguments"),
        ({"token_command": ["x"], "key": "sk-1"}, "providers.openai.token_command: found both, expected either a key or a command"),
    ):
        with pytest.raises(ConfigError, match="token_command") as caught:
            parse({"providers": {"openai": table}}, {})
        assert told in str(caught.value)
    assert parse({"providers": {"openai": {"token_command": ["x"]}}}, {}).has_provider_key


async def test_who_brings_a_credential_is_sent_with_it_and_never_with_the_token(
    start_proxy: StartProxy, provider: FakeProvider, runs: Path
) -> None:
    proxy = await start(start_proxy, provider, sys.executable, "-c", SCRIPT, str(runs))
    for brought in (
        {"customer_credentials": {"mine": "the-callers-own"}},
        {"credential_override": {"my-model": {"api_key": "the-callers-own", "api_base": f"{provider.url}/elsewhere/v1"}}},
    ):
        assert (await ask(proxy, **brought))[0] == 200
        assert provider.last.headers["Authorization"] == "Bearer the-callers-own"
    assert not runs.exists(), "nobody needed a token"
    assert provider.last.target == "/elsewhere/v1/chat/completions"


async def test_a_deployment_with_a_key_of_its_own_is_sent_that_key(start_proxy: StartProxy, provider: FakeProvider, runs: Path) -> None:
    table = {
        "base_url": f"{provider.url}/v1",
        "token_command": [sys.executable, "-c", SCRIPT, str(runs)],
        "families": ["my-*"],
        "deployments": [{"name": "elsewhere", "key": "the-deployments-own", "base_url": f"{provider.url}/elsewhere/v1"}],
    }
    proxy = await start_proxy({"providers": {"mine": table}}, {"MINE_API_KEY": ""})
    assert (await ask(proxy))[0] == 200
    assert provider.last.headers["Authorization"] == "Bearer the-deployments-own"


async def test_a_token_echoed_in_a_200_that_is_an_error_stays_here(start_proxy: StartProxy, provider: FakeProvider, runs: Path) -> None:
    proxy = await start(start_proxy, provider, sys.executable, "-c", SCRIPT, str(runs))
    provider.will(whole({"error": {"message": "not you: ya29.secret-1", "type": "auth"}}))
    status, text = await ask(proxy)
    assert status >= 400 and "not you: ***" in text
