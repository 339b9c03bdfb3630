"""Runs of the OpenAI Agents SDK, traced: agents, turns, tools and handoffs around calls that count once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.company.test_traces import assert_sums, environ
from tests.company.tracing import agents_python, nodes, outline, page, run, told
from tests.conftest import Proxy
from tests.fakes.provider import FakeProvider
from tests.fakes.turns import Turn

TRACED = """
import os
from respan import Respan, propagate_attributes
from respan_instrumentation_openai_agents import OpenAIAgentsInstrumentor
from respan_instrumentation_openai import OpenAIInstrumentor
respan = Respan(instrumentations=[{instrumentations}])
"""
ALONE, BESIDE = "OpenAIAgentsInstrumentor()", "OpenAIAgentsInstrumentor(), OpenAIInstrumentor()"
FLUSH = "\nrespan.flush()\n"
RUN = 'result = await Runner.run(agent, "What can you do?")\n'
AGENT = """
from openai import AsyncOpenAI
from agents import Agent, ModelSettings, Runner, function_tool, set_default_openai_client
client = AsyncOpenAI(api_key=os.getenv("RESPAN_API_KEY"), base_url="https://api.respan.ai/api")
set_default_openai_client(client)
"""
TOOL = """
@function_tool
def get_weather(city: str) -> str:
    return f"Sunny in {city}"

agent = Agent(name="Weather", model="gpt-4.1-nano", tools=[get_weather])
with propagate_attributes(customer_identifier="user_1", thread_identifier="conv_1"):
    result = await Runner.run(agent, "Weather in Paris?")
"""
STREAMED = """
    streaming = Runner.run_streamed(agent, "And now?")
    async for event in streaming.stream_events():
        pass
"""
TURN = "response response 20+5"
PROGRAMS: Mapping[str, tuple[str, list[Turn], list[list[str]]]] = {
    "quickstart": (
        "agents_sdk_quickstart",
        [],
        [["Agent workflow workflow", "  Agent workflow workflow", "    Assistant agent", "      turn-1 task", f"        {TURN}"]],
    ),
    "handoff": (
        "agents_sdk_handoff",
        [Turn(calls=[("transfer_to_technical_agent", {})])],
        [
            [
                "Agent workflow workflow",
                "  Agent workflow workflow",
                "    Triage Agent agent",
                "      turn-1 task",
                f"        {TURN}",
                "        handoff handoff",
                "    Technical Agent agent",
                "      turn-2 task",
                f"        {TURN}",
            ]
        ],
    ),
}


@pytest.mark.parametrize("instrumentations", [ALONE, BESIDE], ids=["alone", "beside OpenAI's"])
@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_block_of_the_agents_page_becomes_a_tree(
    name: str, instrumentations: str, proxy: Proxy, provider: FakeProvider, tmp_path: Path
) -> None:
    block, turns, trees = PROGRAMS[name]
    provider.will(*turns)
    text = TRACED.format(instrumentations=instrumentations) + page(block, proxy.base) + FLUSH
    await run(agents_python(), text, proxy.base, tmp_path, {"OPENAI_DEFAULT_MODEL": "gpt-4.1-nano"})
    seen = await told(proxy.base)
    assert [outline(trace) for trace in seen.traces] == trees
    assert_sums(seen)
    assert len(seen.calls) == len(provider.received)


async def test_customer_and_metadata_of_the_request_are_the_runs(proxy: Proxy, tmp_path: Path) -> None:
    text = TRACED.format(instrumentations=ALONE) + AGENT.replace("https://api.respan.ai/api", proxy.base)
    text += (
        page("agents_sdk_respan_parameters", proxy.base).replace("agent = Agent(", 'agent = Agent(\n    model="gpt-4.1-nano",')
        + RUN
        + FLUSH
    )
    await run(agents_python(), text, proxy.base, tmp_path, {"OPENAI_DEFAULT_MODEL": "gpt-4.1-nano"})
    seen = await told(proxy.base)
    (call,) = seen.calls
    assert (call["customer_identifier"], call["metadata"]["env"]) == ("user_123", "production")
    assert seen.trace["customer_identifier"] == "user_123"


# OpenAI's instrumentation does not tell what a streamed response took when the app calls OpenAI itself: nothing shows what it is then.
WAYS = {
    "tracing only": (ALONE, False, TOOL + STREAMED),
    "tracing only, beside OpenAI's": (BESIDE, False, TOOL),
    "both": (ALONE, True, TOOL + STREAMED),
    "both, beside OpenAI's": (BESIDE, True, TOOL + STREAMED),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_run_with_a_tool_counts_each_call_once(way: str, proxy: Proxy, provider: FakeProvider, tmp_path: Path) -> None:
    instrumentations, through, runs = WAYS[way]
    calls = Turn(calls=[("get_weather", {"city": "Paris"})])
    provider.will(calls, Turn("Sunny."), calls, Turn("Sunny."))
    where = environ(provider)
    client = AGENT.replace("https://api.respan.ai/api", proxy.base if through else where["OPENAI_BASE_URL"])
    await run(agents_python(), TRACED.format(instrumentations=instrumentations) + client + runs + FLUSH, proxy.base, tmp_path, where)
    seen = await told(proxy.base)
    turns = [
        "Agent workflow workflow",
        "  Agent workflow workflow",
        "    Weather agent",
        "      turn-1 task",
        f"        {TURN}",
        "        get_weather tool",
        "      turn-2 task",
        f"        {TURN}",
    ]
    if not through:  # a call of /responses is of that kind here, and one of chat as the instrumentation tells it
        turns = [line.replace(TURN, "response chat 20+5") for line in turns]
    count = 1 + runs.count("run_streamed")
    assert [outline(trace) for trace in seen.traces] == [turns] * count
    assert_sums(seen)
    assert len(seen.calls) == 2 * count
    for trace in seen.traces:
        assert (trace["customer_identifier"], trace["total_tokens"]) == ("user_1", 50)
        assert {node["thread_identifier"] for node in nodes(trace)} == {"conv_1"}
