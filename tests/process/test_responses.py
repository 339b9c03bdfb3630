"""A conversation outlives the process that kept it."""

from __future__ import annotations

import signal

import openai

from tests.process.conftest import Process, Start


async def begun(proxy: Process) -> str:
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        first = await client.responses.create(model="echo/echo", input="I am Ada")
        await client.responses.create(model="echo/echo", input="And you?", previous_response_id=first.id)
        return first.id


async def goes_on(proxy: Process, id: str) -> None:
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        second = await client.responses.create(model="echo/echo", input="Who am I?", previous_response_id=id)
        listed = await client.responses.input_items.list(second.id, order="asc")
        assert [item.content[0].text for item in listed.data][::2] == ["I am Ada", "Who am I?"]  # type: ignore[union-attr]
        assert (await client.responses.retrieve(id)).status == "completed"


async def test_a_conversation_goes_on_after_a_restart(start: Start) -> None:
    first = await start()
    id = await begun(first)
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0
    await goes_on(await start(), id)


async def test_a_conversation_goes_on_after_kill_9(start: Start) -> None:
    first = await start()
    id = await begun(first)
    async with openai.AsyncOpenAI(api_key="any", base_url=first.base, max_retries=0) as client:
        # The row of a later call is in the database: so is all that was handed over before it.
        later = await client.responses.with_raw_response.create(model="echo/echo", input="Anybody there?")
        await client.get(f"/request-logs/{later.headers['X-Respan-Log-Id']}/", cast_to=object)
    first.signal(signal.SIGKILL)
    await first.ended()
    await goes_on(await start(), id)
