"""The OpenAI Agents SDK runs against echo: plain, with tools, handed off, with a structured end, streamed; over either OpenAI dialect."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
from agents import Agent, ModelSettings, RunConfig, Runner, function_tool
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from agents.models.openai_responses import OpenAIResponsesModel
from pydantic import BaseModel

from respan_proxy.echo.provider import Echo
from tests.echo.serving import serving

QUIET = RunConfig(tracing_disabled=True)
Model = OpenAIChatCompletionsModel | OpenAIResponsesModel


class Plan(BaseModel):
    title: str
    steps: list[str]


@function_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"Sunny in {city}"


@pytest.fixture(params=[OpenAIChatCompletionsModel, OpenAIResponsesModel])
async def model(request: pytest.FixtureRequest) -> AsyncIterator[Model]:
    async with serving(Echo(pace_s=0)) as url, openai.AsyncOpenAI(api_key="sk-x", base_url=f"{url}/v1") as client:
        yield request.param("echo/echo", client)


async def test_an_agent_answers(model: Model) -> None:
    result = await Runner.run(Agent("Assistant", instructions="Be brief.", model=model), "What is a gateway?", run_config=QUIET)
    assert "What is a gateway?" in result.final_output


async def test_an_agent_calls_its_tool_once_and_tells_the_result(model: Model) -> None:
    agent = Agent("Assistant", model=model, tools=[get_weather])
    result = await Runner.run(agent, "Weather?", run_config=QUIET)
    assert "Sunny in city" in result.final_output
    assert len(result.raw_responses) == 2


async def test_an_agent_that_must_use_a_tool_ends(model: Model) -> None:
    agent = Agent("Assistant", model=model, tools=[get_weather], model_settings=ModelSettings(tool_choice="required"))
    assert "Sunny in city" in (await Runner.run(agent, "Weather?", run_config=QUIET)).final_output


async def test_an_agent_hands_off_once_and_the_other_answers(model: Model) -> None:
    technical = Agent("Technical Agent", model=model, tools=[get_weather])
    triage = Agent("Triage Agent", model=model, handoffs=[technical])
    result = await Runner.run(triage, "I cannot connect.", run_config=QUIET)
    assert result.last_agent.name == "Technical Agent"
    assert "I cannot connect." in result.final_output


async def test_an_agent_ends_with_the_form_asked_for(model: Model) -> None:
    agent = Agent("Planner", model=model, tools=[get_weather], output_type=Plan)
    assert isinstance((await Runner.run(agent, "Plan it.", run_config=QUIET)).final_output, Plan)


async def test_an_agent_streams(model: Model) -> None:
    streaming = Runner.run_streamed(Agent("Assistant", model=model, tools=[get_weather]), "Weather?", run_config=QUIET)
    kinds = [event.type async for event in streaming.stream_events()]
    assert "Sunny in city" in streaming.final_output
    assert kinds.count("raw_response_event") > 10
