"""LangChain, litellm and the Vercel AI SDK get from any model, and from `echo`, what they ask for: words, calls, JSON, vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest

from tests.company.answering import obliging, thoughtful
from tests.company.driving import Driver, Said, in_node, in_python
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider
from tests.fakes.thoughts import CALLS, THOUGHT
from tests.process.conftest import Start

pytestmark = pytest.mark.slow

MODELS = ("gpt-4o", "claude-sonnet-4-6", "gemini-2.5-flash")
EMBEDDING = ("text-embedding-3-small", "gemini-embedding-001")
AI = {
    "ai": "7.0.173",
    "@ai-sdk/openai": "4.0.118",
    "@ai-sdk/anthropic": "4.0.105",
    "@ai-sdk/google": "4.0.121",
    "@ai-sdk/openai-compatible": "3.0.92",
    "zod": "4.6.7",  # the schemas are written with it
}
# Else it asks GitHub for prices and beta headers, three times, before it asks anyone else.
LITELLM = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True"}

PLAIN = ("text", "text_streamed", "tools", "tools_streamed", "structured", "image")
LANGCHAIN = (*PLAIN, "structured_by_tool")
RESPONSES = ("responses", "responses_streamed", "responses_tools", "responses_tools_streamed")


@dataclass(frozen=True, slots=True)
class Framework:
    """One package: `scenes` are what it is tried in; `scene` and `model` say how the driver names those of this package."""

    package: str
    scenes: Sequence[str]
    scene: str = "{}"
    model: str = "{}"
    embeds: bool = True

    def driver(self, home: Path) -> Driver:
        if self.package == "ai":
            return in_node(AI, "ai-sdk", "ai_sdk.cjs", home)
        if self.package.startswith("litellm"):
            return in_python(self.package, "litellm_sdk.py", home, LITELLM)
        return in_python(self.package, "langchain_sdk.py", home)

    def calls(self, models: Sequence[str]) -> list[tuple[str, str]]:
        return [(self.scene.format(scene), self.model.format(model)) for scene in self.scenes for model in models]

    def embeddings(self, models: Sequence[str]) -> list[tuple[str, str]]:
        return [(self.scene.format("embeddings"), self.model.format(model)) for model in models] if self.embeds else []


AI_SCENES = (*PLAIN, "structured_streamed")
FRAMEWORKS = {
    "langchain-openai": Framework("langchain-openai==1.7.4", (*LANGCHAIN, *RESPONSES)),
    "langchain-anthropic": Framework("langchain-anthropic==1.7.10", LANGCHAIN, embeds=False),
    "langchain-google-genai": Framework("langchain-google-genai==4.4.2", LANGCHAIN),
    "litellm openai": Framework("litellm==1.110.2", (*PLAIN, "responses"), model="openai/{}"),
    "litellm litellm_proxy": Framework("litellm==1.110.2", (*PLAIN, "responses"), model="litellm_proxy/{}"),
    "litellm anthropic": Framework("litellm==1.110.2", (*PLAIN, "responses"), model="anthropic/{}", embeds=False),
    "litellm gemini": Framework("litellm==1.110.2", (*PLAIN, "responses"), model="gemini/{}"),
    "ai openai": Framework("ai", AI_SCENES, scene="openai {}"),
    "ai openai.chat": Framework("ai", AI_SCENES, scene="chat {}", embeds=False),
    "ai openai-compatible": Framework("ai", AI_SCENES, scene="compatible {}"),
    "ai anthropic": Framework("ai", AI_SCENES, scene="anthropic {}", embeds=False),
    "ai google": Framework("ai", AI_SCENES, scene="google {}"),
}


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Framework:
    return FRAMEWORKS[request.param]


async def test_it_gets_from_any_model_what_it_asks_for(
    framework: Framework, start: Start, environ: Mapping[str, str], provider: FakeProvider, tmp_path: Path
) -> None:
    proxy = await start(environ=environ)
    calls = [*framework.calls(MODELS), *framework.embeddings(EMBEDDING)]
    provider.will(*[obliging] * 2 * len(calls))  # a call of a tool is two
    for call, said in zip(calls, await framework.driver(tmp_path).plays(proxy.base, calls), strict=True):
        assert "error" not in said, f"{call}: {said}"
        scene = call[0].rpartition(" ")[2]
        if scene == "embeddings":
            assert said["vector"] == recordings.EMBEDDED, call
        elif scene.startswith("structured"):
            assert said["parsed"] == {"city": "Zürich"}, call
        else:
            # The AI SDK adds up what the two calls took.
            rounds = 2 if "tools" in scene and framework.package == "ai" else 1
            assert (said["text"], said["usage"]) == (recordings.TEXT, [20 * rounds, 5 * rounds]), call
            assert said.get("calls", []) == ([["get_weather", {"city": "Zürich"}]] if "tools" in scene else []), call
    assert {row["status_code"] for row in await rows(proxy.base)} == {200}


THINKERS = ("gpt-5", "claude-sonnet-4-6", "gemini-2.5-flash")


@pytest.mark.parametrize(
    "name",
    ["langchain-openai", "langchain-anthropic", "langchain-google-genai", "ai openai", "ai openai-compatible", "ai anthropic", "ai google"],
)
async def test_it_shows_what_any_model_thought_and_calls_a_tool_twice(
    name: str, start: Start, environ: Mapping[str, str], provider: FakeProvider, tmp_path: Path
) -> None:
    framework = replace(FRAMEWORKS[name], scenes=("thinking", "thinking_tools"))
    proxy = await start(environ=environ)
    calls = framework.calls(THINKERS)
    provider.will(*[thoughtful] * 2 * len(calls))
    for call, said in zip(calls, await framework.driver(tmp_path).plays(proxy.base, calls), strict=True):
        assert "error" not in said, f"{call}: {said}"
        has_calls = call[0].endswith("tools")
        # The AI SDK tells each of the two rounds.
        thoughts = [THOUGHT] * (2 if has_calls and framework.package == "ai" else 1)
        assert (said["text"], said["thought"].split("|")) == (recordings.TEXT, thoughts), call
        assert said.get("calls", []) == (CALLS if has_calls else []), call


async def test_echo_is_a_provider_to_it(framework: Framework, start: Start, tmp_path: Path) -> None:
    proxy = await start()  # without a key
    calls = [*framework.calls(["echo/hello"]), *framework.embeddings(["echo/hello"])]
    for call, said in zip(calls, await framework.driver(tmp_path).plays(proxy.base, calls), strict=True):
        assert "error" not in said, f"{call}: {said}"
        scene = call[0].rpartition(" ")[2]
        if scene == "embeddings":
            assert said["vector"], call
        elif scene.startswith("structured"):
            # For Gemini litellm hands on the schema of models that it knows; of others, that the answer is to be JSON.
            assert isinstance(said["parsed"], dict) if call[1].startswith("gemini/") else isinstance(said["parsed"]["city"], str), call
        else:
            assert said["text"] and min(said["usage"]) > 0, call
            assert [name for name, _ in said.get("calls", [])] == (["get_weather"] if "tools" in scene else []), call
    assert {row["status_code"] for row in await rows(proxy.base)} == {200}


async def rows(base: str) -> list[Said]:
    async with aiohttp.ClientSession() as session, session.get(f"{base}/request-logs/list/?page_size=100") as answer:
        found: list[Said] = (await answer.json())["results"]
    return found
