"""The `anthropic` SDK cannot tell the proxy from its provider: messages, tools, token counts, models."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import pytest

from tests.conftest import ANTHROPIC_KEY, Proxy
from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider, silent, streamed, whole
from tests.sdk.conftest import CALLERS_KEY, Twins

AnthropicTwins = Twins[anthropic.AsyncAnthropic]

REQUEST: dict[str, Any] = {"model": "claude-sonnet-4-6", "max_tokens": 64, "messages": [{"role": "user", "content": "Say hello"}]}
TOOL = {"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}


async def create(client: anthropic.AsyncAnthropic, **more: Any) -> Any:
    return await client.messages.create(**REQUEST, **more)


async def events(client: anthropic.AsyncAnthropic, **more: Any) -> list[Any]:
    return [event async for event in await create(client, stream=True, **more)]


async def assembled(client: anthropic.AsyncAnthropic, **more: Any) -> Any:
    async with client.messages.stream(**REQUEST, **more) as stream:
        return await stream.get_final_message()


async def test_a_message_is_the_same(anthropic_twins: AnthropicTwins) -> None:
    message = await anthropic_twins.same(create)
    assert message.content[0].text == recordings.TEXT
    assert message._request_id == "req_fake_anthropic"
    direct, through = anthropic_twins.provider.received
    assert through.body == direct.body
    assert through.headers["anthropic-version"] == direct.headers["anthropic-version"]
    assert through.headers["x-api-key"] == ANTHROPIC_KEY
    assert CALLERS_KEY not in str(through.headers)


async def test_a_stream_is_the_same(anthropic_twins: AnthropicTwins) -> None:
    assert (await anthropic_twins.same(assembled)).content[0].text == recordings.TEXT


async def test_betas_reach_the_provider_as_they_were_said(anthropic_twins: AnthropicTwins) -> None:
    async def with_betas(client: anthropic.AsyncAnthropic) -> Any:
        return await create(client, extra_headers={"anthropic-beta": "one-2026-01-01,a-future-one"})

    await anthropic_twins.same(with_betas)
    assert anthropic_twins.provider.last.headers["anthropic-beta"] == "one-2026-01-01,a-future-one"


async def test_a_tool_call_is_the_same(anthropic_twins: AnthropicTwins) -> None:
    async def with_tools(client: anthropic.AsyncAnthropic) -> Any:
        return await create(client, tools=[TOOL], tool_choice={"type": "any"})

    message = await anthropic_twins.same(with_tools, whole(recordings.MESSAGE_TOOLS))
    assert message.content[0].input == {"city": "Zürich"}


async def test_a_streamed_tool_call_is_the_same(anthropic_twins: AnthropicTwins) -> None:
    async def with_tools(client: anthropic.AsyncAnthropic) -> Any:
        return await assembled(client, tools=[TOOL])

    message = await anthropic_twins.same(with_tools, streamed(recordings.MESSAGES_TOOLS_STREAM))
    assert message.content[0].input == {"city": "Zürich"}


async def test_a_token_count_is_the_same(anthropic_twins: AnthropicTwins) -> None:
    async def count(client: anthropic.AsyncAnthropic) -> int:
        counted = await client.messages.count_tokens(model=REQUEST["model"], messages=REQUEST["messages"])
        return counted.input_tokens

    assert await anthropic_twins.same(count) == 14


async def test_models_of_the_provider_are_listed(anthropic_twins: AnthropicTwins) -> None:
    ids = [model.id async for model in anthropic_twins.through.models.list()]
    assert "claude-sonnet-4-6" in ids


async def test_a_synchronous_client_in_a_thread_is_served_as_well(proxy: Proxy) -> None:
    def ask() -> str:
        with (
            anthropic.Anthropic(base_url=f"{proxy.base}/anthropic", api_key=CALLERS_KEY) as client,
            client.messages.stream(**REQUEST) as stream,
        ):
            return "".join(stream.text_stream)

    assert await asyncio.to_thread(ask) == recordings.TEXT


STATUSES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    402: "PaymentRequiredError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    408: "RequestTimeoutError",
    409: "ConflictError",
    412: "PreconditionFailedError",
    413: "ContentTooLargeError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    431: "RequestHeaderFieldsTooLargeError",
    451: "APIStatusError",
    500: "InternalServerError",
    501: "HTTPNotImplementedError",
    502: "InternalServerError",
    503: "ServiceUnavailableError",
    504: "GatewayTimeoutError",
    529: "OverloadedError",
}


@pytest.mark.parametrize("ask", [create, events])
async def test_each_status_raises_its_own_exception(anthropic_twins: AnthropicTwins, ask: Any) -> None:
    raised = {
        status: (await anthropic_twins.fails_the_same(ask, whole(recordings.anthropic_error(status), status)))[0].__name__
        for status in STATUSES
    }
    assert raised == STATUSES


@pytest.mark.parametrize("act", [Act.CUT, Act.RESET])
async def test_a_stream_that_breaks_raises_after_its_last_whole_event(anthropic_twins: AnthropicTwins, act: Act) -> None:
    anthropic_twins.provider.will(streamed(*recordings.MESSAGES_STREAM[:4], b"event: content_block_del", act))
    kinds = []
    with pytest.raises(anthropic.APIStatusError) as raised:
        async for event in await create(anthropic_twins.through, stream=True):
            kinds.append(event.type)
    assert kinds[-1] == "content_block_delta"
    assert "anthropic" in str(raised.value)


async def test_an_error_in_the_first_frame_of_a_200_is_an_exception_of_its_status(anthropic_twins: AnthropicTwins) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    anthropic_twins.provider.will(streamed(recordings.sse(error, named=True)))
    with pytest.raises(anthropic.APIStatusError) as raised:
        await events(anthropic_twins.through)
    assert raised.value.status_code == 529


async def test_an_error_event_in_mid_stream_reaches_the_caller_as_it_is(anthropic_twins: AnthropicTwins) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    answer = streamed(recordings.MESSAGES_STREAM[:4], recordings.sse(error, named=True))
    kind, words = await anthropic_twins.fails_the_same(events, answer)
    assert kind.__name__ == "APIStatusError"
    assert "Overloaded" in words


async def test_leaving_in_the_middle_of_a_stream_closes_the_providers_connection(
    anthropic_twins: AnthropicTwins, provider: FakeProvider
) -> None:
    provider.will(streamed(recordings.MESSAGES_STREAM[0], Act.HANG))
    stream = await create(anthropic_twins.through, stream=True)
    await anext(aiter(stream))
    await stream.close()
    async with asyncio.timeout(5):
        await provider.last.gone.wait()


@pytest.mark.parametrize("ask", [create, events])
async def test_leaving_before_the_first_byte_closes_the_providers_connection(
    anthropic_twins: AnthropicTwins, provider: FakeProvider, ask: Any
) -> None:
    provider.will(silent())
    call = asyncio.ensure_future(ask(anthropic_twins.through))
    request = await provider.arrival()
    call.cancel()
    async with asyncio.timeout(5):
        await request.gone.wait()
