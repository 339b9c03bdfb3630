"""Counts of tokens and embeddings cross every pair, through the SDKs' own calls."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, whole

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# By model, where the provider counts and what it answers there; the last one can count nothing.
COUNTS: dict[str, tuple[str, dict[str, Any] | None]] = {
    "gpt-4o": ("/responses/input_tokens", {"object": "response.input_tokens", "input_tokens": 41}),
    "claude-sonnet-4-6": ("/v1/messages/count_tokens", {"input_tokens": 41}),
    "gemini-2.5-flash": ("/models/gemini-2.5-flash:countTokens", {"totalTokens": 41}),
    "mine/m": ("", None),
}


@pytest.fixture
async def proxy(start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider) -> Proxy:
    return await start_proxy({"providers": {"mine": {"base_url": f"{provider.url}/v1", "auth": "none"}}}, environ)


async def counted(client: str, base: str, model: str) -> tuple[int | None, str | None]:
    """The tokens as the client's SDK tells them, and the warning."""
    if client == "messages":
        async with anthropic.AsyncAnthropic(api_key="any", base_url=f"{base}/anthropic", max_retries=0) as claude:
            told = await claude.messages.with_raw_response.count_tokens(model=model, messages=[{"role": "user", "content": "hello there"}])
            return (await told.parse()).input_tokens, told.headers.get("X-Respan-Warnings")
    if client == "responses":
        async with openai.AsyncOpenAI(api_key="any", base_url=base, max_retries=0) as gpt:
            said = await gpt.responses.input_tokens.with_raw_response.count(model=model, input="hello there")
            return said.parse().input_tokens, said.headers.get("X-Respan-Warnings")
    google = genai.Client(api_key="any", http_options={"base_url": f"{base}/google/gemini"})
    try:
        answer = await google.aio.models.count_tokens(model=model, contents="hello there")
        assert answer.sdk_http_response is not None and answer.sdk_http_response.headers is not None
        headers = {name.lower(): value for name, value in answer.sdk_http_response.headers.items()}
        return answer.total_tokens, headers.get("x-respan-warnings")
    finally:
        await google.aio.aclose()


@pytest.mark.parametrize("model", COUNTS)
@pytest.mark.parametrize("client", ["messages", "responses", "generate_content"])
async def test_tokens_are_counted_by_the_provider_or_estimated_and_said_so(
    proxy: Proxy, provider: FakeProvider, client: str, model: str
) -> None:
    path, answer = COUNTS[model]
    if answer is None:
        tokens, warned = await counted(client, proxy.base, model)
        assert tokens and warned == "count:estimated" and not provider.received
        return
    provider.will(whole(answer))
    assert await counted(client, proxy.base, model) == (41, None)
    assert provider.last.target.partition("?")[0].endswith(path)
    provider.will(whole({"error": {"message": "no such path"}}, 404))
    if (client, model) not in {("messages", "claude-sonnet-4-6"), ("responses", "gpt-4o"), ("generate_content", "gemini-2.5-flash")}:
        tokens, warned = await counted(client, proxy.base, model)
        assert tokens and warned == "count:estimated"


VECTORS = [[0.5, -0.25], [0.125, 2.0]]
OPENAI_ANSWER = {
    **recordings.EMBEDDINGS,
    "data": [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(VECTORS)],
}
GEMINI_ANSWER = {"embeddings": [{"values": vector} for vector in VECTORS]}


@pytest.mark.parametrize("encoding", ["float", "base64", None])
async def test_openais_embeddings_of_a_batch_come_from_gemini(proxy: Proxy, provider: FakeProvider, encoding: Any) -> None:
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        provider.will(whole(GEMINI_ANSWER))
        more = {"encoding_format": encoding} if encoding else {}
        told = await client.embeddings.create(model="gemini-embedding-001", input=["a", "b"], dimensions=2, **more)
    if encoding == "base64":  # asked for by name, it is handed on as it is
        assert all(isinstance(item.embedding, str) for item in told.data)
    else:
        assert [item.embedding for item in told.data] == VECTORS
    assert [item.index for item in told.data] == [0, 1]
    assert provider.last.target.partition("?")[0].endswith("/models/gemini-embedding-001:batchEmbedContents")
    asked = provider.last.json["requests"]
    assert [one["content"]["parts"] for one in asked] == [[{"text": "a"}], [{"text": "b"}]]
    assert "2" in str(asked[0])


async def test_geminis_embeddings_of_a_batch_come_from_openai(proxy: Proxy, provider: FakeProvider) -> None:
    google = genai.Client(api_key="any", http_options={"base_url": f"{proxy.base}/google/gemini"})
    provider.will(whole(OPENAI_ANSWER))
    config = types.EmbedContentConfig(output_dimensionality=2)
    told = await google.aio.models.embed_content(model="text-embedding-3-small", contents=["a", "b"], config=config)
    await google.aio.aclose()
    assert told.embeddings is not None and [one.values for one in told.embeddings] == VECTORS
    assert provider.last.target.endswith("/embeddings")
    assert provider.last.json["input"] == ["a", "b"] and provider.last.json["dimensions"] == 2


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2], [3]]])
async def test_ids_of_tokens_mean_nothing_to_gemini_and_are_refused(proxy: Proxy, provider: FakeProvider, tokens: Any) -> None:
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.embeddings.create(model="gemini-embedding-001", input=tokens)
    assert caught.value.param == "input" and not provider.received
