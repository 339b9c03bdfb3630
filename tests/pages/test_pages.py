"""Respan's own documentation runs against the proxy, word for word but for the address: offline against echo, in front of an OpenAI,
and with names of every vendor's models in front of their providers.

`NAME.py.txt` is a Python block of a page (openai-sdk, openai-agents-sdk, respan-api) as it stands there. Blocks that only show a
fragment get what the page set up before them, and a last line that puts it to use. `agents_sdk_prompts_nested` and `_header` are two
ways to pass prompts of which the page has the names but no block. Telemetry packages are stand-ins that do nothing here;
with the real ones the blocks run in tests/company/test_traces.py.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from respan_proxy.echo.provider import Echo
from tests.dialects.crossing import assert_typed
from tests.echo.serving import Received, serving
from tests.fakes.provider import FakeProvider
from tests.fakes.turns import Turn

DOCUMENTED = "https://api.respan.ai/api"
CLIENT = """
import os
from openai import OpenAI
client = OpenAI(api_key=os.getenv("RESPAN_API_KEY"), base_url=os.getenv("RESPAN_BASE_URL"))
messages = [{"role": "user", "content": "Hello"}]
"""
AGENT_CLIENT = """
import os
from openai import AsyncOpenAI
from agents import Agent, ModelSettings, Runner, set_default_openai_client
client = AsyncOpenAI(api_key=os.getenv("RESPAN_API_KEY"), base_url=os.getenv("RESPAN_BASE_URL"))
set_default_openai_client(client)
"""
PRINT = "print(response.choices[0].message.content)"
RUN_AGENT = 'result = await Runner.run(agent, "What can you do?")\nprint(result.final_output)'
STREAMED = """
async def streamed(*arguments):
    from agents import Runner
    streaming = Runner.run_streamed(*arguments)
    assert [event.type async for event in streaming.stream_events()].count("raw_response_event") > 2
    return streaming
"""
SAID = "Said by a vendor's model."
REVIEW = '{"title": "The Matrix", "rating": 9, "summary": "See it.", "pros": ["green"], "cons": []}'


@dataclass(frozen=True, slots=True)
class Block:
    """One block: what comes before and after it, what it must print, and how often it calls. `native`: all its models are OpenAI's.

    `turns` is what a vendor's model says to it, and `shows` what it makes of that.
    """

    name: str
    prints: str
    calls: int = 1
    before: str = ""
    after: str = ""
    native: bool = True
    turns: tuple[Turn, ...] = ()
    shows: str = re.escape(SAID)


BLOCKS = (
    Block("openai_sdk_quickstart", "Say hello in three languages."),
    Block("openai_sdk_propagate_attributes", "Why?", before=CLIENT, after='handle_request("user_1", "Why?")'),
    Block("openai_sdk_decorators", "Benefits of API gateways", calls=2, before=CLIENT),
    Block("openai_sdk_streaming", "Write a haiku about Python.", before="import os"),
    Block(
        "openai_sdk_tool_calls",
        "Answer: .*Sunny, 72F in city.*You said: \"What's the weather in Paris",
        calls=2,
        turns=(Turn("I look.", [("get_weather", {"city": "Zürich"})]),),
    ),
    Block("openai_sdk_multi_turn", "User: Any tips to make it fluffy", calls=3),
    Block("openai_sdk_structured_output", "title1/10\nSummary: summary", turns=(Turn(REVIEW),), shows="The Matrix9/10\nSummary: See it."),
    Block("openai_sdk_switch_models", "Hello", calls=3, before=CLIENT, after=PRINT, native=False),
    Block("openai_sdk_respan_parameters", "Hello", before=CLIENT, after=PRINT),
    Block("agents_sdk_quickstart", "What are the benefits of using an API gateway"),
    Block("agents_sdk_switch_models", "What can you do", before=AGENT_CLIENT, after=RUN_AGENT),
    Block(
        "agents_sdk_handoff",
        "Handled by: Billing Agent\n.*having trouble connecting",
        calls=2,
        before="import os",
        turns=(Turn(calls=[("transfer_to_technical_agent", {})]),),
        shows=f"Handled by: Technical Agent\n{re.escape(SAID)}",
    ),
    Block("agents_sdk_prompts", "What can you do", before=AGENT_CLIENT, after=RUN_AGENT),
    Block("agents_sdk_prompts_nested", "What can you do", before=AGENT_CLIENT, after=RUN_AGENT),
    Block("agents_sdk_prompts_header", "What can you do", before=AGENT_CLIENT, after=RUN_AGENT),
    Block("agents_sdk_respan_parameters", "What can you do", before=AGENT_CLIENT, after=RUN_AGENT),
    Block("respan_api_quickstart", r"Say .{1,2}Hello World"),
)


def source(block: Block, *, model: str | None = None, streams: bool = False) -> str:
    """The program: asking for this model where the block names one, streamed where it asks an agent for the whole."""
    page = Path(__file__).with_name(f"{block.name}.py.txt").read_text("utf-8")
    if model:
        page = re.sub('(?<=model=)"[^"]+"', f'"{model}"', page).replace('"model": "gpt-4.1-nano"', f'"model": "{model}"')
    text = f"{block.before}\n{page}\n{block.after}\n"
    return STREAMED + text.replace("Runner.run(", "streamed(") if streams else text


def run(block: Block, text: str, base: str) -> None:
    """Run it as a program of its own would, top-level `await` included, and close the client that it leaves open."""
    names: dict[str, Any] = {"__name__": "__main__"}
    running = eval(compile(text.replace(DOCUMENTED, base), block.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True), names)

    async def live() -> None:
        if inspect.iscoroutine(running):
            await running
        client = names.get("client")
        closed = client.close() if client else None
        if inspect.isawaitable(closed):
            await closed

    asyncio.run(live())


@pytest.fixture(autouse=True)
def telemetry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Telemetry (of Respan and of the Agents SDK) that goes nowhere, and a dotenv that reads nobody's `.env`."""

    class Silent:
        def __init__(self, **_: object) -> None: ...

        def flush(self) -> None: ...

    def bare(**_: object) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return lambda function: function

    stand_ins: dict[str, dict[str, object]] = {
        "respan": {"Respan": Silent, "workflow": bare, "task": bare, "propagate_attributes": lambda **_: contextlib.nullcontext()},
        "respan_instrumentation_openai": {"OpenAIInstrumentor": Silent},
        "dotenv": {"load_dotenv": lambda: None},
    }
    for name, members in stand_ins.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    import agents

    agents.set_tracing_disabled(True)
    yield
    agents.set_tracing_disabled(False)


@pytest.fixture
async def openai_received() -> list[Received]:
    return []


@pytest.fixture
async def openai(openai_received: list[Received]) -> AsyncIterator[str]:
    """The address of an OpenAI that writes down what it is sent."""
    async with serving(Echo(pace_s=0), openai_received) as address:
        yield f"{address}/v1"


async def printed(
    block: Block, base: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str | None = None
) -> str:
    monkeypatch.setenv("RESPAN_API_KEY", "YOUR_RESPAN_API_KEY")
    monkeypatch.setenv("RESPAN_BASE_URL", base)
    await asyncio.to_thread(run, block, text or source(block), base)
    return capsys.readouterr().out


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
async def test_a_block_of_the_documentation_runs_offline(
    block: Block, start_proxy: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy = await start_proxy({"echo": {"pace_ms": 0}}, {})
    assert re.search(block.prints, text := await printed(block, proxy.base, monkeypatch, capsys), re.DOTALL), text


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.native], ids=lambda block: block.name)
async def test_a_block_of_the_documentation_runs_in_front_of_an_openai(
    block: Block,
    start_proxy: Callable[..., Awaitable[Any]],
    openai: str,
    openai_received: list[Received],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    proxy = await start_proxy({}, {"OPENAI_API_KEY": "sk-the-providers-own", "RESPAN_PROXY_OPENAI_BASE_URL": openai})
    assert re.search(block.prints, text := await printed(block, proxy.base, monkeypatch, capsys), re.DOTALL), text
    assert len(openai_received) == block.calls
    for request in openai_received:
        assert request.headers["Authorization"] == "Bearer sk-the-providers-own"
        assert not {"customer_identifier", "fallback_models", "thread_identifier", "respan_params"} & request.json.keys()


async def test_respans_parameters_are_taken_out_and_nothing_else_changes(
    start_proxy: Callable[..., Awaitable[Any]],
    openai: str,
    openai_received: list[Received],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    proxy = await start_proxy({}, {"OPENAI_API_KEY": "sk-the-providers-own", "RESPAN_PROXY_OPENAI_BASE_URL": openai})
    block = next(block for block in BLOCKS if block.name == "openai_sdk_respan_parameters")
    await printed(block, proxy.base, monkeypatch, capsys)
    (request,) = openai_received
    assert request.json == {"model": "gpt-4.1-nano", "messages": [{"role": "user", "content": "Hello"}]}


# A name, and the path at which its vendor is asked. None is the model that the Agents SDK asks for by itself.
VENDORS = {
    None: ("/v1/responses", "openai.responses"),
    "gpt-4o": ("/v1/responses", "openai.responses"),
    "claude-sonnet-4-5-20250929": ("/v1/messages", "anthropic.messages"),
    "gemini-2.5-flash": ("/v1beta/models/gemini-2.5-flash:", "gemini"),
}
ANY_MODEL = [
    pytest.param(block, streams, id=f"{block.name}{'-streamed' * streams}")
    for block in BLOCKS
    for streams in (False, True)
    if block.native and (block.name.startswith("agents") or not streams)
]


@pytest.mark.parametrize(("block", "streams"), ANY_MODEL)
async def test_a_block_of_the_documentation_runs_on_any_vendors_model(
    block: Block,
    streams: bool,
    start_proxy: Callable[..., Awaitable[Any]],
    environ: dict[str, str],
    provider: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    proxy = await start_proxy({}, environ)
    for model, (path, dialect) in VENDORS.items():
        provider.received.clear()
        provider.will(*block.turns, *[Turn(SAID)] * (block.calls - len(block.turns)))
        if model:
            monkeypatch.setenv("OPENAI_DEFAULT_MODEL", model)
        elif not block.name.startswith("agents"):
            continue  # the OpenAI SDK has no model of its own
        text = await printed(block, proxy.base, monkeypatch, capsys, source(block, model=model, streams=streams))
        assert re.search(block.shows, text), f"{model}: {text}"
        assert len(provider.received) == block.calls
        if not block.name.startswith("agents") and dialect == "openai.responses":
            path, dialect = "/v1/chat/completions", "openai.chat"
        for request in provider.received:
            assert request.target.startswith(path)
            assert_typed(dialect, request.json)


async def test_the_switch_goes_to_each_vendor(
    start_proxy: Callable[..., Awaitable[Any]],
    environ: dict[str, str],
    provider: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    proxy = await start_proxy({}, environ)
    provider.will(Turn("one"), Turn("two"), Turn("three"))
    block = next(block for block in BLOCKS if not block.native)
    assert "three" in await printed(block, proxy.base, monkeypatch, capsys)
    paths = [request.target.partition("?")[0] for request in provider.received]
    assert paths == ["/v1/chat/completions", "/v1/messages", "/v1beta/models/gemini-2.5-flash:generateContent"]
