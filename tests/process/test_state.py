"""A conversation goes on where it was when the proxy is started again."""

from __future__ import annotations

import signal
from typing import Any

import openai
import pytest

from tests.fakes.provider import FakeProvider
from tests.process.conftest import Start
from tests.translate.clients import SCHEMA, chat_results, plainly
from tests.translate.states import CLAUDE, GEMINI, Giver

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize("state", [CLAUDE, GEMINI], ids=["claude", "gemini"])
async def test_a_restart_does_not_break_a_tool_loop(start: Start, provider: FakeProvider, environ: dict[str, str], state: Giver) -> None:
    """The plain OpenAI SDK carries nothing of a thought; streamed; the first proxy is stopped while the tools run."""
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    messages: list[Any] = [{"role": "user", "content": "hi"}]
    ask: Any = {"model": state.model, "messages": messages, "tools": tools, "reasoning_effort": "low"}
    provider.will(state.streamed)
    first = await start(environ=environ)
    async with (
        openai.AsyncOpenAI(api_key="any", base_url=first.base, max_retries=0) as client,
        client.chat.completions.stream(**ask) as stream,
    ):
        message: Any = (await stream.get_final_completion()).choices[0].message
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0

    second = await start(environ=environ)
    messages += [plainly(message), *chat_results(message.tool_calls)]
    async with openai.AsyncOpenAI(api_key="any", base_url=second.base, max_retries=0) as client:
        await client.chat.completions.create(**ask)
    assert state.step(provider.last.json) == state.expected
