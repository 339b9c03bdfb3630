"""The `openai` SDK cannot tell the proxy from its provider: chat completions, responses, embeddings, models."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from tests.conftest import OPENAI_KEY, Proxy
from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider, silent, streamed, whole
from tests.sdk.conftest import CALLERS_KEY, Twins

OpenAITwins = Twins[openai.AsyncOpenAI]

MODEL = "gpt-4.1-nano"
HELLO: Any = [{"role": "user", "content": "Say hello"}]
TOOL: Any = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}


async def chat(client: openai.AsyncOpenAI, **more: Any) -> Any:
    return await client.chat.completions.create(model=MODEL, messages=HELLO, **more)


async def chat_stream(client: openai.AsyncOpenAI, **more: Any) -> list[Any]:
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True, **more)
    return [chunk async for chunk in stream]


async def response_stream(client: openai.AsyncOpenAI, **more: Any) -> list[Any]:
    stream = await client.responses.create(model=MODEL, input="Say hello", stream=True, **more)
    return [event async for event in stream]


async def test_a_chat_completion_is_the_same(openai_twins: OpenAITwins) -> None:
    completion = await openai_twins.same(chat)
    assert isinstance(completion, openai.types.chat.ChatCompletion)
    assert completion.choices[0].message.content == recordings.TEXT
    assert completion._request_id == "req_fake_openai"
    direct, through = openai_twins.provider.received
    assert through.body == direct.body
    assert through.headers["Authorization"] == f"Bearer {OPENAI_KEY}"


async def test_a_chat_stream_is_the_same_and_shows_no_usage_that_was_not_asked_for(openai_twins: OpenAITwins) -> None:
    chunks = await openai_twins.same(chat_stream)
    assert len(chunks) == len(recordings.CHAT_STREAM) - 1
    # It was asked for on the way, for the row's sake.
    assert [request.json.get("stream_options") for request in openai_twins.provider.received] == [None, {"include_usage": True}]


async def test_a_caller_that_asks_for_usage_gets_it_once(openai_twins: OpenAITwins) -> None:
    async def with_usage(client: openai.AsyncOpenAI) -> list[Any]:
        return await chat_stream(client, stream_options={"include_usage": True})

    chunks = await openai_twins.same(with_usage)
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [25]


async def test_a_tool_call_is_the_same(openai_twins: OpenAITwins) -> None:
    async def with_tools(client: openai.AsyncOpenAI) -> Any:
        return await chat(client, tools=[{"type": "function", "function": TOOL}], tool_choice="required")

    completion = await openai_twins.same(with_tools, whole(recordings.CHAT_TOOLS))
    assert completion.choices[0].message.tool_calls[0].function.arguments == '{"city":"Zürich"}'


async def test_a_streamed_tool_call_is_the_same(openai_twins: OpenAITwins) -> None:
    async def assembled(client: openai.AsyncOpenAI) -> Any:
        tools: Any = [{"type": "function", "function": {**TOOL, "strict": True}}]
        async with client.chat.completions.stream(model=MODEL, messages=HELLO, tools=tools) as stream:
            return await stream.get_final_completion()

    completion = await openai_twins.same(assembled, streamed(recordings.CHAT_TOOLS_STREAM))
    assert completion.choices[0].message.tool_calls[0].id == "call_fake"


async def test_a_response_is_the_same(openai_twins: OpenAITwins) -> None:
    async def respond(client: openai.AsyncOpenAI) -> Any:
        return await client.responses.create(model=MODEL, input="Say hello")

    response = await openai_twins.same(respond)
    assert isinstance(response, openai.types.responses.Response)
    assert response.output_text == recordings.TEXT


@pytest.mark.parametrize("frames", [recordings.RESPONSES_STREAM, recordings.RESPONSES_TOOLS_STREAM], ids=["text", "tool call"])
async def test_a_response_stream_is_the_same(openai_twins: OpenAITwins, frames: list[bytes]) -> None:
    events = await openai_twins.same(response_stream, streamed(frames))
    assert len(events) == len(frames)


async def test_embeddings_are_the_same(openai_twins: OpenAITwins) -> None:
    async def embed(client: openai.AsyncOpenAI) -> Any:
        return await client.embeddings.create(model="text-embedding-3-small", input=["a"])

    result = await openai_twins.same(embed)
    assert result.data[0].embedding == pytest.approx(recordings.EMBEDDED)


async def test_models_of_the_provider_are_listed(openai_twins: OpenAITwins) -> None:
    ids = [model.id async for model in openai_twins.through.models.list()]
    assert {model["id"] for model in recordings.OPENAI_MODELS["data"]} <= set(ids)


async def test_a_synchronous_client_in_a_thread_is_served_as_well(proxy: Proxy) -> None:
    def ask() -> list[str | None]:
        with openai.OpenAI(base_url=f"{proxy.root}/v1", api_key=CALLERS_KEY) as client:
            chunks = list(client.chat.completions.create(model=MODEL, messages=HELLO, stream=True))
            return [chunk.choices[0].delta.content for chunk in chunks]

    assert "".join(text or "" for text in await asyncio.to_thread(ask)) == recordings.TEXT


STATUSES = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    402: openai.APIStatusError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    408: openai.APIStatusError,
    409: openai.ConflictError,
    412: openai.APIStatusError,
    413: openai.APIStatusError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    451: openai.APIStatusError,
    500: openai.InternalServerError,
    501: openai.InternalServerError,
    502: openai.InternalServerError,
    503: openai.InternalServerError,
    504: openai.InternalServerError,
    529: openai.InternalServerError,
}


@pytest.mark.parametrize("ask", [chat, chat_stream, response_stream])
async def test_each_status_raises_its_own_exception(openai_twins: OpenAITwins, ask: Any) -> None:
    raised = {status: (await openai_twins.fails_the_same(ask, whole(recordings.openai_error(status), status)))[0] for status in STATUSES}
    assert raised == STATUSES


@pytest.mark.parametrize("act", [Act.CUT, Act.RESET])
async def test_a_chat_stream_that_breaks_raises_after_its_last_whole_chunk(openai_twins: OpenAITwins, act: Act) -> None:
    openai_twins.provider.will(streamed(*recordings.CHAT_STREAM[:3], b'data: {"id":"chatcmpl-fake","cho', act))
    texts = []
    with pytest.raises(openai.APIError) as raised:
        async for chunk in await openai_twins.through.chat.completions.create(model=MODEL, messages=HELLO, stream=True):
            texts.append(chunk.choices[0].delta.content)
    assert texts == ["", "Héllo ", "☃ "]
    assert type(raised.value) is openai.APIError
    assert "openai" in raised.value.message


async def test_a_response_stream_that_breaks_ends_as_failed_with_the_text_so_far(openai_twins: OpenAITwins) -> None:
    openai_twins.provider.will(streamed(*recordings.RESPONSES_STREAM[:5], Act.CUT))
    events = await response_stream(openai_twins.through)
    last = events[-1]
    assert isinstance(last, openai.types.responses.ResponseFailedEvent)
    assert last.sequence_number == 5
    assert last.response.status == "failed"
    assert last.response.output_text == "Héllo "


async def test_an_error_in_the_first_frame_of_a_200_is_an_exception_of_its_status(openai_twins: OpenAITwins) -> None:
    error = {"error": {"message": "slow down", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}}
    openai_twins.provider.will(streamed(recordings.sse(error)))
    with pytest.raises(openai.RateLimitError, match="slow down"):
        await chat_stream(openai_twins.through)


async def test_leaving_in_the_middle_of_a_stream_closes_the_providers_connection(openai_twins: OpenAITwins, provider: FakeProvider) -> None:
    provider.will(streamed(recordings.CHAT_STREAM[0], Act.HANG))
    stream = await openai_twins.through.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    await anext(aiter(stream))
    await stream.close()
    async with asyncio.timeout(5):
        await provider.last.gone.wait()


@pytest.mark.parametrize("ask", [chat, chat_stream, response_stream])
async def test_leaving_before_the_first_byte_closes_the_providers_connection(
    openai_twins: OpenAITwins, provider: FakeProvider, ask: Any
) -> None:
    provider.will(silent())
    call = asyncio.ensure_future(ask(openai_twins.through))
    request = await provider.arrival()
    call.cancel()
    async with asyncio.timeout(5):
        await request.gone.wait()
