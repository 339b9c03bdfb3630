"""Claude as the clouds sell it: Vertex, Bedrock and Foundry, for Anthropic's own client and for any other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from respan_proxy.config import parse
from tests.conftest import Proxy, StartProxy
from tests.fakes import aws, recordings
from tests.fakes.provider import Act, Answer, FakeProvider, in_pieces, streamed, whole

HI: Any = [{"role": "user", "content": "hi"}]
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
EVENTS = [json.loads(frame.split(b"data: ", 1)[1]) for frame in recordings.MESSAGES_STREAM if b"data: " in frame]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def from_bedrock(*more: bytes | Act, events: int | None = None, size: int = 50) -> Answer:
    data = b"".join(aws.chunk(event) for event in EVENTS[:events])
    return streamed(in_pieces(data, size), *more, headers={"Content-Type": "application/vnd.amazon.eventstream"})


@pytest.fixture
def clouds(provider: FakeProvider) -> dict[str, str]:
    return {
        "AWS_BEARER_TOKEN_BEDROCK": "bedrock-api-key-1",
        "RESPAN_PROXY_BEDROCK_BASE_URL": provider.url,
        "VERTEX_AI_ACCESS_TOKEN": "ya29.token",
        "RESPAN_PROXY_VERTEX_AI_BASE_URL": provider.url,
        "GOOGLE_CLOUD_PROJECT": "p-1",
        "GOOGLE_CLOUD_LOCATION": "us-east5",
    }


@pytest.fixture
async def cloudy(start_proxy: StartProxy, clouds: dict[str, str]) -> Proxy:
    return await start_proxy({}, clouds)


def claude(proxy: Proxy) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(api_key="any", base_url=f"{proxy.base}/anthropic", max_retries=0)


def gpt(proxy: Proxy) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0)


def beside(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


async def test_vertex_gets_the_model_in_the_path_and_the_version_in_the_body(cloudy: Proxy, provider: FakeProvider) -> None:
    model = "claude-sonnet-4-5@20250929"
    place = "/v1/projects/p-1/locations/us-east5/publishers/anthropic/models"
    provider.will(whole(recordings.MESSAGE), streamed(recordings.MESSAGES_STREAM), whole({"input_tokens": 14}))
    async with claude(cloudy) as client:
        reply = await client.messages.create(model=model, max_tokens=9, messages=HI, extra_headers={"anthropic-beta": "b-1"})
        assert reply.content[0].text == recordings.TEXT  # type: ignore[union-attr]
        sent = provider.last
        assert sent.target == f"{place}/{model}:rawPredict"
        assert sent.json == {"max_tokens": 9, "messages": HI, "anthropic_version": "vertex-2023-10-16"}
        assert sent.headers["Authorization"] == "Bearer ya29.token" and sent.headers["anthropic-beta"] == "b-1"
        async with client.messages.stream(model=model, max_tokens=9, messages=HI) as stream:
            assert await stream.get_final_text() == recordings.TEXT
        assert provider.last.target == f"{place}/{model}:streamRawPredict" and provider.last.json["stream"] is True
        count = await client.messages.count_tokens(model=model, messages=HI)
        assert count.input_tokens == 14
        assert provider.last.target == f"{place}/count-tokens:rawPredict"
        assert provider.last.json == {"model": model, "messages": HI, "anthropic_version": "vertex-2023-10-16"}


async def test_vertex_claude_answers_any_client_and_gemini_stays_geminis(cloudy: Proxy, provider: FakeProvider) -> None:
    provider.will(whole(recordings.MESSAGE), streamed(recordings.MESSAGES_STREAM), whole(recordings.GEMINI))
    async with gpt(cloudy) as client:
        reply = await client.chat.completions.create(model="vertex_ai/claude-sonnet-4-5@20250929", messages=HI)
        assert reply.choices[0].message.content == recordings.TEXT
        assert provider.last.target.endswith("/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict")
        assert "model" not in provider.last.json and provider.last.json["anthropic_version"] == "vertex-2023-10-16"
        stream = await client.chat.completions.create(model="vertex_ai/claude-sonnet-4-5@20250929", messages=HI, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == recordings.TEXT
        assert provider.last.target.endswith(":streamRawPredict")
    async with claude(cloudy) as client:
        said = await client.messages.create(model="vertex_ai/gemini-2.5-flash", max_tokens=9, messages=HI)
    assert said.content[0].text == recordings.TEXT  # type: ignore[union-attr]
    assert "/publishers/google/models/gemini-2.5-flash:generateContent" in provider.last.target


async def test_bedrock_is_invoked_with_the_betas_in_the_body(cloudy: Proxy, provider: FakeProvider) -> None:
    provider.will(whole(recordings.MESSAGE))
    async with claude(cloudy) as client:
        reply = await client.messages.create(
            model=f"bedrock/{CLAUDE}", max_tokens=9, messages=HI, extra_headers={"anthropic-beta": "b-1, b-2"}
        )
    assert reply.content[0].text == recordings.TEXT  # type: ignore[union-attr]
    assert provider.last.target == "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke"
    assert provider.last.json == {
        "max_tokens": 9,
        "messages": HI,
        "anthropic_version": "bedrock-2023-05-31",
        "anthropic_beta": ["b-1", "b-2"],
    }
    assert provider.last.headers["Authorization"] == "Bearer bedrock-api-key-1"


@pytest.mark.parametrize("size", [1, 7, 50, 100_000])
async def test_bedrocks_stream_reaches_anthropics_client_as_its_own(cloudy: Proxy, provider: FakeProvider, size: int) -> None:
    provider.will(from_bedrock(size=size))
    async with claude(cloudy) as client, client.messages.stream(model=CLAUDE, max_tokens=9, messages=HI) as stream:
        final = await stream.get_final_message()
    assert final.content[0].text == recordings.TEXT and final.stop_reason == "end_turn"  # type: ignore[union-attr]
    assert provider.last.target.endswith("/invoke-with-response-stream") and "stream" not in provider.last.json


async def test_bedrocks_stream_reaches_a_chat_client_translated(cloudy: Proxy, provider: FakeProvider) -> None:
    provider.will(from_bedrock())
    async with gpt(cloudy) as client:
        stream = await client.chat.completions.create(model=CLAUDE, messages=HI, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == recordings.TEXT
    assert provider.last.json["anthropic_version"] == "bedrock-2023-05-31"
    assert not {"model", "stream"} & provider.last.json.keys()


async def test_bedrocks_other_models_are_asked_in_chat(cloudy: Proxy, provider: FakeProvider) -> None:
    async with gpt(cloudy) as client:
        await client.chat.completions.create(model="openai.gpt-oss-120b-1:0", messages=HI, max_tokens=5)
        assert provider.last.target == "/openai/v1/chat/completions"
        assert provider.last.json == {"model": "openai.gpt-oss-120b-1:0", "messages": HI, "max_tokens": 5}
    async with claude(cloudy) as client:
        await client.messages.create(model="openai.gpt-oss-120b-1:0", max_tokens=5, messages=HI)
    assert provider.last.target == "/openai/v1/chat/completions"


async def test_what_bedrock_throws_first_is_a_status_and_later_an_error_event(cloudy: Proxy, provider: FakeProvider) -> None:
    head = {"Content-Type": "application/vnd.amazon.eventstream"}
    provider.will(streamed(aws.exception("throttlingException", "Too many tokens"), headers=head))
    async with claude(cloudy) as client:
        with pytest.raises(anthropic.RateLimitError, match="Too many tokens"):
            await client.messages.create(model=CLAUDE, max_tokens=9, messages=HI, stream=True)
        provider.will(from_bedrock(aws.exception("modelStreamErrorException", "lost it"), events=3))
        with pytest.raises(anthropic.APIStatusError, match="lost it"):
            async with client.messages.stream(model=CLAUDE, max_tokens=9, messages=HI) as stream:
                await stream.get_final_message()


async def test_a_damaged_or_cut_stream_of_bedrock_is_never_a_clean_end(cloudy: Proxy, provider: FakeProvider) -> None:
    damaged = bytearray(aws.chunk(EVENTS[3]))
    damaged[40] ^= 1
    async with claude(cloudy) as client:
        for rest in (bytes(damaged), aws.chunk(EVENTS[3])[:30]):
            provider.will(from_bedrock(rest, events=3))
            with pytest.raises(anthropic.APIStatusError, match="event stream"):
                async with client.messages.stream(model=CLAUDE, max_tokens=9, messages=HI) as stream:
                    await stream.get_final_message()


async def test_bedrocks_refusal_is_told_in_anthropics_words(cloudy: Proxy, provider: FakeProvider) -> None:
    provider.will(whole({"message": "The provided model identifier is invalid."}, 400, {"x-amzn-errortype": "ValidationException"}))
    async with claude(cloudy) as client:
        with pytest.raises(anthropic.BadRequestError, match="model identifier is invalid"):
            await client.messages.create(model=CLAUDE, max_tokens=9, messages=HI)


async def test_tokens_are_estimated_where_the_provider_counts_none(cloudy: Proxy, provider: FakeProvider) -> None:
    async with claude(cloudy) as client:
        raw = await client.messages.with_raw_response.count_tokens(model=CLAUDE, messages=HI)
    assert (await raw.parse()).input_tokens > 0 and raw.headers["X-Respan-Warnings"] == "count:estimated"
    assert not provider.received


async def test_foundry_gets_its_key_in_both_headers(start_proxy: StartProxy, provider: FakeProvider) -> None:
    environ = {"ANTHROPIC_FOUNDRY_API_KEY": "f-123456789", "ANTHROPIC_FOUNDRY_BASE_URL": f"{provider.url}/anthropic"}
    async with claude(await start_proxy({}, environ)) as client:
        await client.messages.create(model="claude-sonnet-4-5", max_tokens=9, messages=HI)
    headers = beside(provider.last.headers)
    assert provider.last.target == "/anthropic/v1/messages"
    assert (headers["x-api-key"], headers["api-key"]) == ("f-123456789", "f-123456789") and "authorization" not in headers


@pytest.mark.parametrize(
    ("environ", "model", "told"),
    [
        ({"AWS_BEARER_TOKEN_BEDROCK": "AKIAIOSFODNN7EXAMPLE"}, f"bedrock/{CLAUDE}", "bearer token"),
        ({"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "s"}, f"bedrock/{CLAUDE}", "AWS_BEARER_TOKEN_BEDROCK"),
        (
            {"VERTEX_AI_ACCESS_TOKEN": '{ "type": "service_account" }'},
            "vertex_ai/claude-x",
            "print-access-token",
        ),
    ],
)
async def test_keys_that_would_have_to_sign_are_answered_424_naming_the_bearer_form(
    start_proxy: StartProxy, environ: dict[str, str], model: str, told: str
) -> None:
    proxy = await start_proxy({}, environ | {"OPENAI_API_KEY": "sk-1"})
    body = {"model": model, "max_tokens": 5, "messages": HI}
    async with aiohttp.ClientSession() as session, session.post(f"{proxy.base}/anthropic/v1/messages", json=body) as answer:
        assert answer.status == 424
        text = await answer.text()
    assert told in text and "AKIA" not in text


def test_where_bedrock_is() -> None:
    bedrock = parse({}, {"AWS_BEARER_TOKEN_BEDROCK": "k-1", "AWS_REGION": "eu-west-1"}).providers["bedrock"]
    assert bedrock.url("/chat/completions") == "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1/chat/completions"
    arn = "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-x"
    assert bedrock.url("/v1/messages", arn).endswith(
        "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Feu.anthropic.claude-x/invoke"
    )
