"""The `google-genai` SDK cannot tell the proxy from its provider: content, tools, embeddings, token counts, models."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tests.conftest import GEMINI_KEY, Proxy
from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider, silent, streamed, whole
from tests.sdk.conftest import CALLERS_KEY, Twins

Client = genai.client.AsyncClient
GeminiTwins = Twins[Client]

MODEL = "gemini-2.5-flash"


def bare(answer: Any) -> dict[str, Any]:
    """An answer without the HTTP headers that the SDK keeps beside it: a proxy adds some of its own."""
    dumped: dict[str, Any] = answer.model_dump(exclude={"sdk_http_response"})
    return dumped


async def generate(client: Client, **more: Any) -> dict[str, Any]:
    return bare(await client.models.generate_content(model=MODEL, contents="Say hello", **more))


async def generate_stream(client: Client, **more: Any) -> list[dict[str, Any]]:
    return [bare(chunk) async for chunk in await client.models.generate_content_stream(model=MODEL, contents="Say hello", **more)]


def texts(chunks: list[dict[str, Any]]) -> str:
    return "".join(chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks)


async def test_content_is_the_same(gemini_twins: GeminiTwins) -> None:
    assert texts([await gemini_twins.same(generate)]) == recordings.TEXT
    direct, through = gemini_twins.provider.received
    assert (through.target, through.body) == (direct.target, direct.body)
    assert through.headers["x-goog-api-key"] == GEMINI_KEY
    assert CALLERS_KEY not in str(through.headers)


async def test_a_stream_is_the_same(gemini_twins: GeminiTwins) -> None:
    assert texts(await gemini_twins.same(generate_stream)) == recordings.TEXT


async def test_a_tool_call_is_the_same_and_keeps_its_signature(gemini_twins: GeminiTwins) -> None:
    schema = types.Schema(type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)})
    tool = types.Tool(function_declarations=[types.FunctionDeclaration(name="get_weather", parameters=schema)])

    async def with_tools(client: Client) -> Any:
        return await generate(client, config=types.GenerateContentConfig(tools=[tool]))

    async def with_tools_stream(client: Client) -> Any:
        return await generate_stream(client, config=types.GenerateContentConfig(tools=[tool]))

    for found in (
        await gemini_twins.same(with_tools, whole(recordings.GEMINI_TOOLS)),
        (await gemini_twins.same(with_tools_stream, streamed(recordings.GEMINI_TOOLS_STREAM)))[0],
    ):
        part = found["candidates"][0]["content"]["parts"][0]
        assert part["function_call"]["args"] == {"city": "Zürich"}
        assert part["thought_signature"] == b"sig"


async def test_embeddings_are_the_same(gemini_twins: GeminiTwins) -> None:
    async def embed(client: Client) -> Any:
        return bare(await client.models.embed_content(model="gemini-embedding-001", contents="a"))

    assert (await gemini_twins.same(embed))["embeddings"][0]["values"] == recordings.EMBEDDED


async def test_a_token_count_is_the_same(gemini_twins: GeminiTwins) -> None:
    async def count(client: Client) -> Any:
        return bare(await client.models.count_tokens(model=MODEL, contents="Say hello"))

    assert (await gemini_twins.same(count))["total_tokens"] == 4


async def test_models_of_the_provider_are_listed(gemini_twins: GeminiTwins) -> None:
    names = [model.name async for model in await gemini_twins.through.models.list()]
    assert "models/gemini-2.5-flash" in names


async def test_a_synchronous_client_in_a_thread_is_served_as_well(proxy: Proxy) -> None:
    def ask() -> str:
        with genai.Client(api_key=CALLERS_KEY, http_options=types.HttpOptions(base_url=f"{proxy.base}/google/gemini")) as client:
            return "".join(chunk.text or "" for chunk in client.models.generate_content_stream(model=MODEL, contents="Say hello"))

    assert await asyncio.to_thread(ask) == recordings.TEXT


STATUSES: dict[int, type[errors.APIError]] = {
    **dict.fromkeys((400, 401, 402, 403, 404, 408, 409, 412, 413, 422, 429, 451), errors.ClientError),
    **dict.fromkeys((500, 501, 502, 503, 504, 529), errors.ServerError),
}


@pytest.mark.parametrize("ask", [generate, generate_stream])
async def test_each_status_raises_its_own_exception(gemini_twins: GeminiTwins, ask: Any) -> None:
    raised = {status: (await gemini_twins.fails_the_same(ask, whole(recordings.gemini_error(status), status)))[0] for status in STATUSES}
    assert raised == STATUSES


@pytest.mark.parametrize("act", [Act.CUT, Act.RESET])
async def test_a_stream_that_breaks_raises_after_its_last_whole_event(gemini_twins: GeminiTwins, act: Act) -> None:
    gemini_twins.provider.will(streamed(recordings.GEMINI_STREAM[0], b'data: {"candid', act))
    chunks = []
    with pytest.raises(errors.ServerError) as raised:
        async for chunk in await gemini_twins.through.models.generate_content_stream(model=MODEL, contents="Say hello"):
            chunks.append(bare(chunk))
    assert texts(chunks) == "Héllo "
    assert "gemini" in str(raised.value)


async def test_leaving_in_the_middle_of_a_stream_closes_the_providers_connection(gemini_twins: GeminiTwins, provider: FakeProvider) -> None:
    provider.will(streamed(recordings.GEMINI_STREAM[0], Act.HANG))
    stream = await gemini_twins.through.models.generate_content_stream(model=MODEL, contents="Say hello")
    await anext(stream)
    await gemini_twins.through.aclose()  # closing the stream alone leaves the SDK's connection open
    async with asyncio.timeout(5):
        await provider.last.gone.wait()


@pytest.mark.parametrize("ask", [generate, generate_stream])
async def test_leaving_before_the_first_byte_closes_the_providers_connection(
    gemini_twins: GeminiTwins, provider: FakeProvider, ask: Any
) -> None:
    provider.will(silent())
    call = asyncio.ensure_future(ask(gemini_twins.through))
    request = await provider.arrival()
    call.cancel()
    async with asyncio.timeout(5):
        await request.gone.wait()
