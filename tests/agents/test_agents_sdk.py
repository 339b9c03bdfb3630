"""What the OpenAI Agents SDK can do works with any vendor's model, in both of its modes, whole and streamed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import openai
import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    ModelSettings,
    RunConfig,
    Runner,
    SQLiteSession,
    TResponseInputItem,
    WebSearchTool,
    function_tool,
    input_guardrail,
    output_guardrail,
)
from agents.models.default_models import get_default_model_settings
from agents.models.openai_provider import OpenAIProvider
from openai.types.shared import Reasoning
from pydantic import BaseModel

from tests.agents.vendors import MODELS, assert_taken, config, dialect
from tests.conftest import StartProxy
from tests.fakes.provider import FakeProvider
from tests.fakes.turns import SIGNATURE, THOUGHT, Turn

DONE = Turn("That is all.")


class Forecast(BaseModel):
    city: str
    degrees: int
    notes: list[str] | None = None


@function_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"Sunny in {city}."


@function_tool
def get_time(city: str, format: str = "24h") -> str:
    """The time in a city."""
    return f"Noon in {city}."


@dataclass(slots=True)
class Desk:
    """One way of asking: a vendor's model, over Responses or chat, whole or streamed."""

    vendor: str
    mode: str
    streams: bool
    models: OpenAIProvider
    provider: FakeProvider

    async def run(self, agent: Agent[Any], said: str | list[TResponseInputItem] = "Hello", **more: Any) -> Any:
        config = RunConfig(model=MODELS[self.vendor], model_provider=self.models, tracing_disabled=True)
        if not self.streams:
            return await Runner.run(agent, said, run_config=config, **more)
        streaming = Runner.run_streamed(agent, said, run_config=config, **more)
        kinds = [event.type async for event in streaming.stream_events()]
        assert kinds.count("raw_response_event") > len(streaming.raw_responses)
        return streaming

    @property
    def told(self) -> str:
        """All that the vendor was sent last."""
        return self.provider.last.body.decode()


async def plain(desk: Desk) -> None:
    """With the settings that the SDK gives its own default model and, unless they are asked for, no other."""
    settings = get_default_model_settings("gpt-5.6-luna")
    assert (settings.verbosity, settings.reasoning) == ("low", Reasoning(effort="none"))
    agent = Agent("Assistant", instructions="Be brief.", model_settings=replace(settings, max_tokens=99))
    desk.provider.will(DONE)
    assert (await desk.run(agent)).final_output == DONE.text
    assert "Be brief." in desk.told


async def strict_tool(desk: Desk) -> None:
    desk.provider.will(Turn("Let me see.", [("get_weather", {"city": "Bern"})]), DONE)
    result = await desk.run(Agent("Assistant", tools=[get_weather], model_settings=ModelSettings(tool_choice="required")))
    assert result.final_output == DONE.text
    assert "Sunny in Bern." in desk.told


async def parallel_tools(desk: Desk) -> None:
    desk.provider.will(Turn(calls=[("get_weather", {"city": "Bern"}), ("get_time", {"city": "Lima", "format": "12h"})]), DONE)
    agent = Agent("Assistant", tools=[get_weather, get_time], model_settings=ModelSettings(parallel_tool_calls=True))
    assert (await desk.run(agent)).final_output == DONE.text
    assert desk.told.index("Sunny in Bern.") < desk.told.index("Noon in Lima.")


async def one_tool_after_the_other(desk: Desk) -> None:
    desk.provider.will(
        Turn(calls=[("get_weather", {"city": "Bern"})], ids=["first"]), Turn(calls=[("get_time", {"city": "Bern"})], ids=["second"]), DONE
    )
    agent = Agent("Assistant", tools=[get_weather, get_time], model_settings=ModelSettings(parallel_tool_calls=False))
    assert (await desk.run(agent)).final_output == DONE.text
    assert len(desk.provider.received) == 3


async def handoff(desk: Desk) -> None:
    billing = Agent("Billing Agent", handoff_description="Money")
    technical = Agent("Technical Agent", tools=[get_weather])
    triage = Agent("Triage Agent", instructions="Route.", handoffs=[billing, technical])
    desk.provider.will(
        Turn(calls=[("transfer_to_technical_agent", {})], ids=["first"]),
        Turn(calls=[("get_weather", {"city": "Bern"})], ids=["second"]),
        DONE,
    )
    result = await desk.run(triage, "I cannot connect.")
    assert (result.last_agent.name, result.final_output) == ("Technical Agent", DONE.text)


async def structured_output(desk: Desk) -> None:
    desk.provider.will(Turn(calls=[("get_weather", {"city": "Bern"})]), Turn('{"city": "Bern", "degrees": 7, "notes": null}'))
    result = await desk.run(Agent("Forecaster", tools=[get_weather], output_type=Forecast))
    assert result.final_output == Forecast(city="Bern", degrees=7)


async def session(desk: Desk) -> None:
    memory = SQLiteSession("one")
    agent = Agent("Assistant", tools=[get_weather])
    desk.provider.will(Turn("Looking.", [("get_weather", {"city": "Bern"})]), DONE, Turn("Still sunny."))
    await desk.run(agent, "Weather in Bern?", session=memory)
    result = await desk.run(agent, "And now?", session=memory)
    memory.close()
    assert result.final_output == "Still sunny."
    said = ["Weather in Bern?", "Looking.", "Sunny in Bern.", DONE.text, "And now?"]
    places = [desk.told.index(words) for words in said]
    assert places == sorted(places)


async def guardrails(desk: Desk) -> None:
    checker = Agent("Checker", output_type=Forecast)

    @input_guardrail
    async def about_weather(context: Any, agent: Any, said: Any) -> GuardrailFunctionOutput:
        checked = await desk.run(checker, said)
        return GuardrailFunctionOutput(checked.final_output, tripwire_triggered=checked.final_output.degrees > 50)

    @output_guardrail
    async def polite(context: Any, agent: Any, output: str) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(None, tripwire_triggered=False)

    agent = Agent("Assistant", input_guardrails=[about_weather], output_guardrails=[polite])
    hot = Turn('{"city": "Bern", "degrees": 70, "notes": ["hot"]}')
    desk.provider.will(hot, hot)  # guard and agent ask at once
    with pytest.raises(InputGuardrailTripwireTriggered):
        await desk.run(agent)


async def thinking_that_comes_back(desk: Desk) -> None:
    """What a vendor signed returns to it with the result of the tool, where the SDK's mode has a place for it."""
    settings = ModelSettings(reasoning=Reasoning(effort="high", summary="auto"), response_include=["reasoning.encrypted_content"])
    desk.provider.will(Turn("Wait.", [("get_weather", {"city": "Bern"})], thought=THOUGHT), DONE)
    assert (await desk.run(Agent("Assistant", tools=[get_weather], model_settings=settings))).final_output == DONE.text
    if desk.mode == "responses" and desk.vendor != "compatible":  # chat servers sign nothing
        assert SIGNATURE in desk.told


async def web_search_beside_a_tool(desk: Desk) -> None:
    desk.provider.will(DONE)
    search = WebSearchTool(user_location={"type": "approximate", "country": "CH"})
    if desk.mode == "chat_completions":
        return  # the SDK itself has no hosted tools there
    assert (await desk.run(Agent("Assistant", tools=[get_weather, search]))).final_output == DONE.text
    searches = {"openai.responses": '"web_search', "anthropic.messages": '"web_search_', "gemini": None, "openai.chat": None}
    word = searches[dialect(desk.provider.last)]
    assert (word or "web_search") in desk.told if word else "earch" not in desk.told


async def web_search_alone(desk: Desk) -> None:
    if desk.mode == "chat_completions":
        return
    agent = Agent("Assistant", tools=[WebSearchTool()])
    desk.provider.will(DONE)
    if desk.vendor == "compatible":
        with pytest.raises(openai.BadRequestError, match="web_search"):
            await desk.run(agent)
        assert not desk.provider.received
        return
    assert (await desk.run(agent)).final_output == DONE.text
    assert ("googleSearch" if desk.vendor == "gemini" else "web_search") in desk.told


async def image_as_input(desk: Desk) -> None:
    desk.provider.will(DONE)
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
    parts = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{pixel}", "detail": "auto"},
    ]
    said: Any = [{"role": "user", "content": parts}]
    assert (await desk.run(Agent("Assistant"), said)).final_output == DONE.text
    assert pixel in desk.told


CASES: list[Callable[[Desk], Awaitable[None]]] = [
    plain,
    strict_tool,
    parallel_tools,
    one_tool_after_the_other,
    handoff,
    structured_output,
    session,
    guardrails,
    thinking_that_comes_back,
    web_search_beside_a_tool,
    web_search_alone,
    image_as_input,
]


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_an_agent_works_with_any_vendors_model(
    case: Callable[[Desk], Awaitable[None]], streams: bool, start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider
) -> None:
    proxy = await start_proxy(config(provider), environ)
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        for vendor, mode in product(MODELS, ("responses", "chat_completions")):
            provider.received.clear()
            desk = Desk(vendor, mode, streams, OpenAIProvider(openai_client=client, use_responses=mode == "responses"), provider)
            try:
                await case(desk)
                for received in provider.received:
                    assert_taken(received)
            except Exception as error:
                error.add_note(f"asking {MODELS[vendor]} over {mode}")
                raise
