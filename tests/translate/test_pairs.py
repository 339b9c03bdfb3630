"""Every client speaks to every provider: whole and streamed, with tools, through the official SDKs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from google import genai

from tests.conftest import Proxy
from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider, streamed, whole

MODELS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-6", "gemini": "gemini-2.5-flash"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
CALL = {"city": "Zürich"}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SDKs warn of the age of models and of aiohttp


@pytest.fixture
async def gpt(proxy: Proxy) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        yield client


@pytest.fixture
async def claude(proxy: Proxy) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(api_key="any", base_url=f"{proxy.base}/anthropic", max_retries=0) as client:
        yield client


@pytest.fixture
def gemini(proxy: Proxy) -> genai.Client:
    return genai.Client(api_key="any", http_options={"base_url": f"{proxy.base}/google/gemini"})


def with_tools(provider: FakeProvider, name: str, streams: bool) -> None:
    """The provider's next answer is a call of get_weather."""
    provider.will(
        {
            ("openai", False): whole(recordings.CHAT_TOOLS),
            ("openai", True): streamed(recordings.CHAT_TOOLS_STREAM),
            ("anthropic", False): whole(recordings.MESSAGE_TOOLS),
            ("anthropic", True): streamed(recordings.MESSAGES_TOOLS_STREAM),
            ("gemini", False): whole(recordings.GEMINI_TOOLS),
            ("gemini", True): streamed(recordings.GEMINI_TOOLS_STREAM),
        }[name, streams]
    )


@pytest.mark.parametrize("name", MODELS)
async def test_chat(gpt: openai.AsyncOpenAI, name: str) -> None:
    reply = await gpt.chat.completions.create(model=MODELS[name], messages=[{"role": "user", "content": "hi"}])
    assert reply.choices[0].message.content == recordings.TEXT
    assert reply.id.startswith("chatcmpl-") and reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None and reply.usage.total_tokens == 25
    stream = await gpt.chat.completions.create(model=MODELS[name], messages=[{"role": "user", "content": "hi"}], stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == recordings.TEXT


@pytest.mark.parametrize("name", ["anthropic", "gemini"])
async def test_a_chat_reply_has_the_members_of_the_documented_example_and_more_only_for_more(
    gpt: openai.AsyncOpenAI, provider: FakeProvider, name: str
) -> None:
    ask: Any = {"model": MODELS[name], "messages": [{"role": "user", "content": "hi"}]}
    counts: dict[str, Any] = {"usage": {"input_tokens": 7, "output_tokens": 3}}
    if name == "gemini":
        counts = {"usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}}
    provider.will(whole({**(recordings.GEMINI if name == "gemini" else recordings.MESSAGE), **counts}))
    answer = json.loads((await gpt.chat.completions.with_raw_response.create(**ask)).text)
    assert answer.keys() == {"id", "object", "created", "model", "choices", "usage"}
    assert answer["usage"] == {"completion_tokens": 3, "prompt_tokens": 7, "total_tokens": 10}
    [choice] = answer["choices"]
    assert choice.keys() == {"index", "finish_reason", "message"}
    assert choice["message"] == {"role": "assistant", "content": recordings.TEXT}
    with_tools(provider, name, False)
    told = await gpt.chat.completions.create(**ask, tools=[{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}])
    message = told.choices[0].message
    assert {"role", "content", "tool_calls"} <= message.model_fields_set, "content is there, null, beside calls"
    assert message.refusal is None and "refusal" not in message.model_fields_set


@pytest.mark.parametrize("name", MODELS)
async def test_chat_with_tools(gpt: openai.AsyncOpenAI, provider: FakeProvider, name: str) -> None:
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    messages: Any = [{"role": "user", "content": "hi"}]
    with_tools(provider, name, False)
    reply = await gpt.chat.completions.create(model=MODELS[name], messages=messages, tools=tools)
    message = reply.choices[0].message
    assert message.tool_calls is not None and reply.choices[0].finish_reason == "tool_calls"
    assert json.loads(message.tool_calls[0].function.arguments) == CALL  # type: ignore[union-attr]
    with_tools(provider, name, True)
    async with gpt.chat.completions.stream(model=MODELS[name], messages=messages, tools=tools) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.tool_calls is not None
    assert json.loads(final.choices[0].message.tool_calls[0].function.arguments) == CALL
    results = [
        *messages,
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"},
    ]
    reply = await gpt.chat.completions.create(model=MODELS[name], messages=results, tools=tools)
    assert reply.choices[0].message.content == recordings.TEXT and b"sunny" in provider.last.body


@pytest.mark.parametrize("name", MODELS)
async def test_responses(gpt: openai.AsyncOpenAI, name: str) -> None:
    reply = await gpt.responses.create(model=MODELS[name], input="hi", instructions="be short", store=False)
    assert reply.output_text == recordings.TEXT and reply.status == "completed"
    async with gpt.responses.stream(model=MODELS[name], input="hi") as stream:
        numbers = [event.sequence_number async for event in stream if hasattr(event, "sequence_number")]
        assert (await stream.get_final_response()).output_text == recordings.TEXT
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("name", MODELS)
async def test_messages(claude: anthropic.AsyncAnthropic, provider: FakeProvider, name: str) -> None:
    messages: Any = [{"role": "user", "content": "hi"}]
    reply = await claude.messages.create(model=MODELS[name], max_tokens=99, messages=messages)
    assert reply.content[0].text == recordings.TEXT and reply.stop_reason == "end_turn"  # type: ignore[union-attr]
    async with claude.messages.stream(model=MODELS[name], max_tokens=99, messages=messages) as stream:
        assert await stream.get_final_text() == recordings.TEXT
    with_tools(provider, name, True)
    tools: Any = [{"name": "get_weather", "input_schema": SCHEMA}]
    async with claude.messages.stream(model=MODELS[name], max_tokens=99, messages=messages, tools=tools) as stream:
        final = await stream.get_final_message()
    call = next(block for block in final.content if block.type == "tool_use")
    assert (call.name, call.input, final.stop_reason) == ("get_weather", CALL, "tool_use")


@pytest.mark.parametrize("name", MODELS)
async def test_generate_content(gemini: genai.Client, name: str) -> None:
    reply = await gemini.aio.models.generate_content(model=MODELS[name], contents="hi")
    assert reply.text == recordings.TEXT
    pieces = [piece.text or "" async for piece in await gemini.aio.models.generate_content_stream(model=MODELS[name], contents="hi")]
    assert "".join(pieces) == recordings.TEXT
    await gemini.aio.aclose()


@pytest.mark.parametrize("name", MODELS)
async def test_each_provider_gets_its_own_credential_and_none_of_anothers_headers(
    claude: anthropic.AsyncAnthropic, provider: FakeProvider, environ: dict[str, str], name: str
) -> None:
    await claude.messages.create(
        model=MODELS[name],
        max_tokens=9,
        messages=[{"role": "user", "content": "hi"}],
        extra_headers={"anthropic-beta": "x-1", "X-Claude-Code-Session-Id": "s-1"},
    )
    headers = {key.lower(): value for key, value in provider.last.headers.items()}
    own = environ[f"{name.upper()}_API_KEY"]
    assert own in str(headers)
    assert not any(other in str(headers) for key, other in environ.items() if key.endswith("_API_KEY") and other != own)
    assert ("anthropic-beta" in headers) == (name == "anthropic")
    assert ("x-claude-code-session-id" in headers) == (name == "anthropic"), "one company's headers are not another's business"


@pytest.mark.parametrize(
    ("status", "raised"), [(401, openai.AuthenticationError), (429, openai.RateLimitError), (500, openai.InternalServerError)]
)
@pytest.mark.parametrize("name", ["anthropic", "gemini"])
async def test_errors_raise_what_the_callers_sdk_raises(
    gpt: openai.AsyncOpenAI, provider: FakeProvider, name: str, status: int, raised: type[openai.APIStatusError]
) -> None:
    body: dict[str, Any] = {"type": "error", "error": {"type": "api_error", "message": "no luck"}}
    if name == "gemini":
        details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "13s"}]
        body = {"error": {"code": status, "message": "no luck", "status": "X", "details": details}}
    provider.will(whole(body, status))
    with pytest.raises(raised, match="no luck") as caught:
        await gpt.chat.completions.create(model=MODELS[name], messages=[{"role": "user", "content": "hi"}])
    if name == "gemini" and status == 429:
        assert caught.value.response.headers["retry-after"] == "13"


BEGINNINGS = {
    "openai": recordings.CHAT_STREAM[:2],
    "anthropic": recordings.MESSAGES_STREAM[:3],
    "gemini": recordings.GEMINI_STREAM[:1],
}


@pytest.mark.parametrize("ending", [Act.RESET, Act.CUT, None])
@pytest.mark.parametrize("name", MODELS)
async def test_a_break_is_told_in_the_callers_dialect(
    gpt: openai.AsyncOpenAI, provider: FakeProvider, name: str, ending: Act | None
) -> None:
    provider.will(streamed(BEGINNINGS[name], *([ending] if ending else [])))
    stream = await gpt.chat.completions.create(model=MODELS[name], messages=[{"role": "user", "content": "hi"}], stream=True)
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass
    provider.will(streamed(BEGINNINGS[name], *([ending] if ending else [])))
    last: Any = None
    async for event in await gpt.responses.create(model=MODELS[name], input="hi", stream=True):
        last = event
    assert last.type == "response.failed"


async def test_losses_are_told_kept_quiet_or_refused(gpt: openai.AsyncOpenAI, provider: FakeProvider, proxy: Proxy) -> None:
    ask: dict[str, Any] = {"model": MODELS["anthropic"], "messages": [{"role": "user", "content": "hi"}], "seed": 1}
    reply = await gpt.chat.completions.with_raw_response.create(**ask)
    assert "seed:dropped" in reply.headers["X-Respan-Warnings"]
    reply = await gpt.chat.completions.with_raw_response.create(**ask, extra_body={"on_loss": "silent"})
    assert "X-Respan-Warnings" not in reply.headers
    before = len(provider.received)
    with pytest.raises(openai.BadRequestError, match="seed"):
        await gpt.chat.completions.create(**ask, extra_body={"on_loss": "error"})
    with pytest.raises(openai.BadRequestError):
        await gpt.chat.completions.create(**{**ask, "n": 2})
    assert len(provider.received) == before, "refused before any call"


async def test_tokens_are_counted_for_every_model(claude: anthropic.AsyncAnthropic) -> None:
    for model in MODELS.values():
        counted = await claude.messages.count_tokens(model=model, messages=[{"role": "user", "content": "hello there"}])
        assert counted.input_tokens > 0


async def test_embeddings_cross(gpt: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    provider.will(whole({"embeddings": [{"values": [0.5, -0.25]}]}))
    reply = await gpt.embeddings.create(model="gemini-embedding-001", input="x")
    assert reply.data[0].embedding == [0.5, -0.25]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("name", MODELS)
async def test_the_row_tells_both_sides(gpt: openai.AsyncOpenAI, proxy: Proxy, name: str, streams: bool) -> None:
    reply: Any = await gpt.responses.with_raw_response.create(model=MODELS[name], input="hi", stream=streams)
    async for _ in reply.parse() if streams else no_events():
        pass
    async with aiohttp.ClientSession() as client, client.get(f"{proxy.base}/request-logs/{reply.headers['X-Respan-Log-Id']}/") as read:
        row = await read.json()
    spoken = {"openai": "openai.responses", "anthropic": "anthropic.messages", "gemini": "gemini"}[name]
    assert (row["dialect"], row["provider_dialect"], row["provider_id"]) == ("openai.responses", spoken, name)
    assert row["completion_message"]["content"] == recordings.TEXT
    assert row["full_request"]["input"] == "hi" and "hi" in json.dumps(row["sent_request"] or row["full_request"])
    assert (row["prompt_tokens"], row["completion_tokens"], row["finish_reason"]) == (20, 5, "stop")
    assert row["cost"] > 0


async def no_events() -> AsyncIterator[None]:
    return
    yield
