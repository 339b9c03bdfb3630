"""What the SDKs' own helpers add up from a stream is the same, whichever dialect it came in: thinking, words, calls, reason, usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.company.answering import thoughtful
from tests.company.driving import Driver, driven
from tests.fakes.provider import FakeProvider
from tests.fakes.recordings import TEXT
from tests.fakes.thoughts import CALLS, THOUGHT
from tests.process.conftest import Process, Start

pytestmark = pytest.mark.slow

# Of the two last majors the newest, as of November 2026.
OPENAI, ANTHROPIC, GOOGLE = ("3.57.0", "2.54.0"), ("2.13.0", "1.17.0"), ("3.6.1", "2.34.0")
OPENAI_NPM, ANTHROPIC_NPM = ("7.57.0", "6.49.0"), ("1.13.0", "0.137.0")

# The last speaks nothing but Responses; the test's configuration says so.
MODELS = ("gpt-4o", "claude-sonnet-4-6", "gemini-2.5-flash", "answers/gpt-5")
ANSWERS = '[providers.answers]\nbase_url = "{}/v1"\ndialects = ["openai.responses"]\nkey = "sk-of-answers"\n'


@dataclass(frozen=True, slots=True)
class Helper:
    """One dialect as one SDK adds it up: scenes for words and for calls, how it names their reasons, tokens in and out."""

    words: str
    calls: str
    reasons: tuple[str, str]
    usage: tuple[int, int] = (20, 5)
    thinks: bool = True


CHAT = Helper("chat_accumulated", "chat_tools_accumulated", ("stop", "tool_calls"))
# Of a member that it has no type for it keeps the last piece alone, from any provider.
CHAT_NPM = replace(CHAT, thinks=False)
RESPONSES = Helper("response_accumulated", "response_tools_accumulated", ("completed", "completed"))
# What was cached stands apart.
MESSAGES = Helper("message_accumulated", "message_tools_accumulated", ("end_turn", "tool_use"), usage=(12, 5))
CONTENT = Helper("content_accumulated", "content_tools_accumulated", ("STOP", "STOP"))

CLIENTS: Mapping[str, Sequence[Helper]] = {
    **{f"openai=={version}": (CHAT, RESPONSES) for version in OPENAI},
    **{f"anthropic=={version}": (MESSAGES,) for version in ANTHROPIC},
    **{f"google-genai=={version}": (CONTENT,) for version in GOOGLE},
    **{f"npm openai=={version}": (CHAT_NPM, RESPONSES) for version in OPENAI_NPM},
    **{f"npm @anthropic-ai/sdk=={version}": (MESSAGES,) for version in ANTHROPIC_NPM},
}
DOORS = {"openai": "", "anthropic": "/anthropic", "google": "/google/gemini"}
SCRIPTS = {"openai": "openai_sdk", "anthropic": "anthropic_sdk", "google": "google_sdk"}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def vendor(client: str) -> str:
    return next(name for name in DOORS if client.removeprefix("npm ").removeprefix("@").startswith(name))


def driver(client: str, home: Path) -> Driver:
    return driven(client, f"{SCRIPTS[vendor(client)]}.{'cjs' if client.startswith('npm ') else 'py'}", home)


async def serving(start: Start, environ: Mapping[str, str], provider: FakeProvider, folder: Path) -> Process:
    (folder / "answers.toml").write_text(ANSWERS.format(provider.url), "utf-8")
    return await start("--config", str(folder / "answers.toml"), environ=environ)


async def test_its_helper_adds_up_the_same_from_every_dialect(
    client: str, start: Start, environ: Mapping[str, str], provider: FakeProvider, tmp_path: Path
) -> None:
    proxy = await serving(start, environ, provider, tmp_path)
    scenes = [(helper, scene) for helper in CLIENTS[client] for scene in (helper.words, helper.calls)]
    calls = [(scene, model) for _, scene in scenes for model in MODELS]
    provider.will(*[thoughtful] * len(calls))
    played = await driver(client, tmp_path).plays(f"{proxy.base}{DOORS[vendor(client)]}", calls)
    told = {call: {**said, "all": None} for call, said in zip(calls, played, strict=True)}
    for said in played:
        if "thinking" in said:  # Gemini counts it beside the answer; Claude, whose counts these may be, does not say how much it was
            said["usage"][1] += said["thinking"]
    for helper, scene in scenes:
        has_calls = scene == helper.calls
        expected = {
            **({"thought": THOUGHT} if helper.thinks else {}),
            "text": "" if has_calls else TEXT,
            "calls": CALLS if has_calls else [],
            "finish": helper.reasons[has_calls],
            "usage": [*helper.usage],
        }
        for model in MODELS:
            said = told[scene, model]
            assert {name: said.get(name) for name in (*expected, "error")} == {**expected, "error": None}, (scene, model, said)


@pytest.mark.parametrize("version", OPENAI_NPM)
async def test_its_runner_of_tools_comes_to_words(
    version: str, start: Start, environ: Mapping[str, str], provider: FakeProvider, tmp_path: Path
) -> None:
    proxy = await serving(start, environ, provider, tmp_path)
    provider.will(*[thoughtful] * 2 * len(MODELS))
    played = await driver(f"npm openai=={version}", tmp_path).plays(proxy.base, [("tools_run", model) for model in MODELS])
    assert played == [{"calls": CALLS, "text": TEXT}] * len(MODELS)
