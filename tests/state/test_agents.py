"""The OpenAI Agents SDK leaves the conversation to us: `previous_response_id` and `auto_previous_response_id`."""

from __future__ import annotations

import openai
import pytest
from agents import Agent, RunConfig, Runner, function_tool
from agents.models.openai_responses import OpenAIResponsesModel

from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, whole

QUIET = RunConfig(tracing_disabled=True)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@function_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"Sunny in {city}"


async def test_runs_follow_each_other_by_id(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    agent = Agent("Assistant", instructions="Be brief.", model=OpenAIResponsesModel("claude-sonnet-4-6", client))
    first = await Runner.run(agent, "I am Ada", run_config=QUIET)
    second = await Runner.run(agent, "Who am I?", previous_response_id=first.last_response_id, run_config=QUIET)
    assert second.final_output == recordings.TEXT
    sent = provider.last.json
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    assert sent["messages"][0]["content"] in ("I am Ada", [{"type": "text", "text": "I am Ada"}])


async def test_a_run_with_a_tool_sends_only_what_is_new(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    provider.will(whole(recordings.MESSAGE_TOOLS))
    agent = Agent("Assistant", model=OpenAIResponsesModel("claude-sonnet-4-6", client), tools=[get_weather])
    result = await Runner.run(agent, "Weather?", auto_previous_response_id=True, run_config=QUIET)
    assert result.final_output == recordings.TEXT
    kinds = [block["type"] for message in provider.last.json["messages"] for block in message["content"] if isinstance(block, dict)]
    assert kinds.count("tool_use") == kinds.count("tool_result") == 1


async def test_a_streamed_run_with_a_tool_over_echo(client: openai.AsyncOpenAI) -> None:
    agent = Agent("Assistant", model=OpenAIResponsesModel("echo/echo", client), tools=[get_weather])
    streaming = Runner.run_streamed(agent, "Weather?", auto_previous_response_id=True, run_config=QUIET)
    async for _ in streaming.stream_events():
        pass
    assert "Sunny in city" in streaming.final_output
    assert len(streaming.raw_responses) == 2
