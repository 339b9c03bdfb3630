"""Respan's own documentation runs against the proxy, word for word but for the address: offline against echo, and in front of an OpenAI.

`NAME.py.txt` is a Python block of a page (openai-sdk, openai-agents-sdk, respan-api) as it stands there. Blocks that only show a
fragment get what the page set up before them, and a last line that puts it to use. Telemetry packages are stand-ins that do nothing.
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
from tests.echo.serving import Received, serving

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
RUN_AGENT = 'print((await Runner.run(agent, "What can you do?")).final_output)'


@dataclass(frozen=True, slots=True)
class Block:
    """One block: what comes before and after it, what it must print, and how often it calls. `native`: all its models are OpenAI's."""

    name: str
    prints: str
    calls: int = 1
    before: str = ""
    after: str = ""
    native: bool = True


BLOCKS = (
    Block("openai_sdk_quickstart", "Say hello in three languages."),
    Block("openai_sdk_propagate_attributes", "Why?", before=CLIENT, after='handle_request("user_1", "Why?")'),
    Block("openai_sdk_decorators", "Benefits of API gateways", calls=2, before=CLIENT),
    Block("openai_sdk_streaming", "Write a haiku about Python.", before="import os"),
    Block("openai_sdk_tool_calls", "Answer: .*Sunny, 72F in city.*You said: \"What's the weather in Paris", calls=2),
    Block("openai_sdk_multi_turn", "User: Any tips to make it fluffy", calls=3),
    Block("openai_sdk_structured_output", "title1/10\nSummary: summary"),
    Block("openai_sdk_switch_models", "Hello", calls=3, before=CLIENT, after=PRINT, native=False),
    Block("openai_sdk_respan_parameters", "Hello", before=CLIENT, after=PRINT),
    Block("agents_sdk_quickstart", "What are the benefits of using an API gateway"),
    Block("agents_sdk_switch_models", "What can you do", before=AGENT_CLIENT, after=RUN_AGENT),
    Block("agents_sdk_handoff", "Handled by: Billing Agent\n.*having trouble connecting", calls=2, before="import os"),
    Block("agents_sdk_respan_parameters", "What can you do", before=AGENT_CLIENT, after=RUN_AGENT),
    Block("respan_api_quickstart", r"Say .{1,2}Hello World"),
)


def run(block: Block, base: str) -> None:
    """Run it as a program of its own would, top-level `await` included, and close the client that it leaves open."""
    page = Path(__file__).with_name(f"{block.name}.py.txt").read_text("utf-8").replace(DOCUMENTED, base)
    source = f"{block.before}\n{page}\n{block.after}\n"
    names: dict[str, Any] = {"__name__": "__main__"}
    running = eval(compile(source, block.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True), names)

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


async def printed(block: Block, base: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("RESPAN_API_KEY", "YOUR_RESPAN_API_KEY")
    monkeypatch.setenv("RESPAN_BASE_URL", base)
    await asyncio.to_thread(run, block, base)
    return capsys.readouterr().out


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
async def test_a_block_of_the_documentation_runs_offline(
    block: Block, start_proxy: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy = await start_proxy({"echo": {"pace_ms": 0}}, {})
    assert_prints(block, await printed(block, proxy.base, monkeypatch, capsys))


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
    assert_prints(block, await printed(block, proxy.base, monkeypatch, capsys))
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


def assert_prints(block: Block, text: str) -> None:
    assert re.search(block.prints, text, re.DOTALL), text
