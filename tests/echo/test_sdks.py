"""The official SDKs take echo for a provider."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as google_errors
from google.genai import types
from pydantic import BaseModel

from respan_proxy.echo.provider import Echo
from tests.conftest import StartProxy
from tests.echo.serving import serving


class City(BaseModel):
    name: str
    population: int
    districts: list[str]


WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
ASK: Any = [{"role": "user", "content": "What's the weather in Paris?"}]
STATUSES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    500: "InternalServerError",
}


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with serving(Echo(pace_s=0)) as url:
        yield url


@pytest.fixture
async def gpt(address: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="sk-x", base_url=f"{address}/v1", max_retries=0) as client:
        yield client


@pytest.fixture
async def claude(address: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(api_key="sk-ant-x", base_url=address, max_retries=0) as client:
        yield client


@pytest.fixture
async def gemini(address: str) -> AsyncIterator[genai.client.AsyncClient]:
    client = genai.Client(api_key="AIza", http_options=types.HttpOptions(base_url=address))
    async with client.aio as aio:
        yield aio
    client.close()


class TestChat:
    async def test_answers(self, gpt: openai.AsyncOpenAI) -> None:
        reply = await gpt.chat.completions.create(model="echo/echo", messages=ASK, n=2)
        assert "Paris" in (reply.choices[1].message.content or "")
        assert reply.usage
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 10

    async def test_streams(self, gpt: openai.AsyncOpenAI) -> None:
        async with gpt.chat.completions.stream(model="echo/echo", messages=ASK, stream_options={"include_usage": True}) as stream:
            pieces = [event.delta async for event in stream if event.type == "content.delta"]
            reply = await stream.get_final_completion()
        assert "".join(pieces) == reply.choices[0].message.content
        assert len(pieces) > 5
        assert reply.usage

    async def test_calls_a_tool_and_answers_with_its_result(self, gpt: openai.AsyncOpenAI) -> None:
        tools: Any = [{"type": "function", "function": {"name": "get_weather", "strict": True, "parameters": WEATHER}}]
        reply = await gpt.chat.completions.create(model="echo/echo", messages=ASK, tools=tools)
        (call,) = reply.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert json.loads(call.function.arguments) == {"city": "city"}
        history: Any = [*ASK, reply.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "Sunny, 72F"}]
        final = await gpt.chat.completions.create(model="echo/echo", messages=history, tools=tools)
        assert "Sunny, 72F" in (final.choices[0].message.content or "")

    async def test_streams_a_tool_call(self, gpt: openai.AsyncOpenAI) -> None:
        tools: Any = [{"type": "function", "function": {"name": "get_weather", "strict": True, "parameters": WEATHER}}]
        async with gpt.chat.completions.stream(model="echo/echo", messages=ASK, tools=tools) as stream:
            reply = await stream.get_final_completion()
        (call,) = reply.choices[0].message.tool_calls or []
        assert call.function.parsed_arguments == {"city": "city"}
        assert reply.choices[0].finish_reason == "tool_calls"

    async def test_answers_in_the_form_asked_for(self, gpt: openai.AsyncOpenAI) -> None:
        reply = await gpt.chat.completions.parse(model="echo/echo", messages=ASK, response_format=City)
        assert isinstance(reply.choices[0].message.parsed, City)
        plain = await gpt.chat.completions.create(model="echo/echo", messages=ASK, response_format={"type": "json_object"})
        assert isinstance(json.loads(plain.choices[0].message.content or ""), dict)

    @pytest.mark.parametrize(("status", "error"), STATUSES.items())
    async def test_fails_as_asked(self, gpt: openai.AsyncOpenAI, status: int, error: str) -> None:
        with pytest.raises(getattr(openai, error), match=f"status {status}") as raised:
            await gpt.chat.completions.create(model=f"echo/status-{status}", messages=ASK)
        assert raised.value.request_id

    async def test_breaks_as_asked(self, gpt: openai.AsyncOpenAI) -> None:
        stream = await gpt.chat.completions.create(model="echo/cut-after-3", messages=ASK, stream=True)
        with pytest.raises(openai.APIConnectionError):
            [chunk async for chunk in stream]
        failing = await gpt.chat.completions.create(model="echo/error-first", messages=ASK, stream=True)
        with pytest.raises(openai.APIError, match="status 500"):
            [chunk async for chunk in failing]

    async def test_embeds(self, gpt: openai.AsyncOpenAI) -> None:
        asked = await gpt.embeddings.create(model="echo/echo", input=["Paris", "Rome"], dimensions=32)
        floats = await gpt.embeddings.create(model="echo/echo", input=["Paris", "Rome"], dimensions=32, encoding_format="float")
        assert [len(each.embedding) for each in asked.data] == [32, 32]
        assert asked.data[0].embedding == pytest.approx(floats.data[0].embedding)


class TestResponses:
    async def test_answers(self, gpt: openai.AsyncOpenAI) -> None:
        reply = await gpt.responses.create(model="echo/think", input="Hello", instructions="Be brief.", metadata={"a": "b"})
        assert "Hello" in reply.output_text
        assert (reply.instructions, reply.metadata, reply.status) == ("Be brief.", {"a": "b"}, "completed")
        assert [item.type for item in reply.output] == ["reasoning", "message"]
        assert reply.usage
        assert reply.usage.output_tokens_details.reasoning_tokens

    async def test_streams(self, gpt: openai.AsyncOpenAI) -> None:
        async with gpt.responses.stream(model="echo/think", input="Hello") as stream:
            pieces = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            reply = await stream.get_final_response()
        assert "".join(pieces) == reply.output_text
        assert reply.usage

    async def test_calls_a_tool_and_answers_with_its_result(self, gpt: openai.AsyncOpenAI) -> None:
        tools: Any = [{"type": "function", "name": "get_weather", "strict": True, "parameters": WEATHER}]
        reply = await gpt.responses.create(model="echo/echo", input=ASK, tools=tools)
        (call,) = reply.output
        assert call.type == "function_call"
        assert json.loads(call.arguments) == {"city": "city"}
        history: Any = [*ASK, call, {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny, 72F"}]
        assert "Sunny, 72F" in (await gpt.responses.create(model="echo/echo", input=history, tools=tools)).output_text

    async def test_streams_a_tool_call(self, gpt: openai.AsyncOpenAI) -> None:
        tools: Any = [{"type": "function", "name": "get_weather", "strict": True, "parameters": WEATHER}]
        async with gpt.responses.stream(model="echo/echo", input=ASK, tools=tools) as stream:
            reply = await stream.get_final_response()
        assert reply.output[0].type == "function_call"
        assert reply.output[0].parsed_arguments == {"city": "city"}

    async def test_answers_in_the_form_asked_for(self, gpt: openai.AsyncOpenAI) -> None:
        assert isinstance((await gpt.responses.parse(model="echo/echo", input="Hello", text_format=City)).output_parsed, City)

    async def test_counts(self, gpt: openai.AsyncOpenAI) -> None:
        counted = await gpt.responses.input_tokens.count(model="echo/echo", input="Hello, you")
        reply = await gpt.responses.create(model="echo/echo", input="Hello, you")
        assert reply.usage
        assert counted.input_tokens == reply.usage.input_tokens == 3

    @pytest.mark.parametrize(("status", "error"), STATUSES.items())
    async def test_fails_as_asked(self, gpt: openai.AsyncOpenAI, status: int, error: str) -> None:
        with pytest.raises(getattr(openai, error), match=f"status {status}"):
            await gpt.responses.create(model=f"echo/status-{status}", input="Hello")

    async def test_fails_in_the_stream_as_asked(self, gpt: openai.AsyncOpenAI) -> None:
        stream = await gpt.responses.create(model="echo/error-after-4", input="Hello", stream=True)
        with pytest.raises(openai.APIError, match="status 500"):
            [event async for event in stream]


class TestAnthropic:
    async def test_answers(self, claude: anthropic.AsyncAnthropic) -> None:
        reply = await claude.messages.create(model="echo/think", max_tokens=100, messages=ASK)
        assert [block.type for block in reply.content] == ["thinking", "text"]
        assert "Paris" in getattr(reply.content[1], "text", "")
        assert reply.stop_reason == "end_turn"
        assert reply.usage.input_tokens
        assert reply.usage.output_tokens

    async def test_streams(self, claude: anthropic.AsyncAnthropic) -> None:
        async with claude.messages.stream(model="echo/echo", max_tokens=100, messages=ASK) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            reply = await stream.get_final_message()
        assert "Paris" in text
        assert getattr(reply.content[0], "text", "") == text
        assert reply.usage.input_tokens
        assert reply.usage.output_tokens

    @pytest.mark.parametrize("streamed", [False, True])
    async def test_calls_a_tool_and_answers_with_its_result(self, claude: anthropic.AsyncAnthropic, streamed: bool) -> None:
        tools: Any = [{"name": "get_weather", "input_schema": WEATHER}]
        ask: Callable[..., Any] = claude.messages.create
        if streamed:

            async def ask(**asked: Any) -> Any:
                async with claude.messages.stream(**asked) as stream:
                    return await stream.get_final_message()

        reply = await ask(model="echo/echo", max_tokens=100, messages=ASK, tools=tools)
        (call,) = reply.content
        assert (call.type, call.name, call.input, reply.stop_reason) == ("tool_use", "get_weather", {"city": "city"}, "tool_use")
        told = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "Sunny, 72F"}]}
        final = await ask(
            model="echo/echo", max_tokens=100, messages=[*ASK, {"role": "assistant", "content": reply.content}, told], tools=tools
        )
        assert "Sunny, 72F" in final.content[0].text

    async def test_answers_in_the_form_asked_for(self, claude: anthropic.AsyncAnthropic) -> None:
        reply = await claude.messages.parse(model="echo/echo", max_tokens=100, messages=ASK, output_format=City)
        assert isinstance(reply.parsed_output, City)

    async def test_counts(self, claude: anthropic.AsyncAnthropic) -> None:
        counted = await claude.messages.count_tokens(model="echo/echo", messages=ASK)
        reply = await claude.messages.create(model="echo/echo", max_tokens=100, messages=ASK)
        assert counted.input_tokens == reply.usage.input_tokens == 7

    @pytest.mark.parametrize(("status", "error"), [*STATUSES.items(), (413, "APIStatusError"), (529, "APIStatusError")])
    async def test_fails_as_asked(self, claude: anthropic.AsyncAnthropic, status: int, error: str) -> None:
        with pytest.raises(getattr(anthropic, error), match=f"status {status}") as raised:
            await claude.messages.create(model=f"echo/status-{status}", max_tokens=100, messages=ASK)
        assert raised.value.request_id

    async def test_fails_in_the_stream_as_asked(self, claude: anthropic.AsyncAnthropic) -> None:
        for model in ("echo/error-first", "echo/error-after-4"):
            stream = await claude.messages.create(model=model, max_tokens=100, messages=ASK, stream=True)
            with pytest.raises(anthropic.APIStatusError, match="status 500"):
                [event async for event in stream]


# google-genai subclasses aiohttp's session, which aiohttp discourages.
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
class TestGemini:
    async def test_answers(self, gemini: genai.client.AsyncClient) -> None:
        reply = await gemini.models.generate_content(model="echo/echo", contents="Hello")
        assert "Hello" in (reply.text or "")
        assert reply.usage_metadata
        assert reply.usage_metadata.total_token_count
        assert reply.candidates
        assert reply.candidates[0].finish_reason == types.FinishReason.STOP

    async def test_streams_and_shows_thoughts_when_asked(self, gemini: genai.client.AsyncClient) -> None:
        config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
        stream = await gemini.models.generate_content_stream(model="echo/think", contents="Hello", config=config)
        parts = [part async for chunk in stream for each in chunk.candidates or [] if each.content for part in each.content.parts or []]
        assert "Hello" in "".join(part.text or "" for part in parts if not part.thought)
        assert any(part.thought for part in parts)

    @pytest.mark.parametrize("streamed", [False, True])
    async def test_calls_a_tool_and_answers_with_its_result(self, gemini: genai.client.AsyncClient, streamed: bool) -> None:
        declared = types.FunctionDeclaration(name="get_weather", parameters_json_schema=WEATHER)
        config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])])
        contents: Any = [types.Content(role="user", parts=[types.Part(text="Weather?")])]
        if streamed:
            stream = await gemini.models.generate_content_stream(model="echo/echo", contents=contents, config=config)
            (call,) = [call async for chunk in stream for call in chunk.function_calls or []]
        else:
            (call,) = (await gemini.models.generate_content(model="echo/echo", contents=contents, config=config)).function_calls or []
        assert (call.name, call.args) == ("get_weather", {"city": "city"})
        contents.append(types.Content(role="model", parts=[types.Part(function_call=call)]))
        contents.append(
            types.Content(role="user", parts=[types.Part.from_function_response(name="get_weather", response={"result": "Sunny, 72F"})])
        )
        final = await gemini.models.generate_content(model="echo/echo", contents=contents, config=config)
        assert "Sunny, 72F" in (final.text or "")

    async def test_runs_a_python_function_by_itself(self, gemini: genai.client.AsyncClient) -> None:
        def get_weather(city: str, days: int) -> str:
            """The weather of a city."""
            return f"Sunny in {city} for {days} days"

        config = types.GenerateContentConfig(tools=[get_weather])
        reply = await gemini.models.generate_content(model="echo/echo", contents="Weather?", config=config)
        assert "Sunny in city for 1 days" in (reply.text or "")

    async def test_answers_in_the_form_asked_for(self, gemini: genai.client.AsyncClient) -> None:
        for form in ({"response_schema": City}, {"response_json_schema": City.model_json_schema()}):
            config = types.GenerateContentConfig(response_mime_type="application/json", **form)
            reply = await gemini.models.generate_content(model="echo/echo", contents="Hello", config=config)
            assert City.model_validate_json(reply.text or "")

    async def test_counts_and_embeds(self, gemini: genai.client.AsyncClient) -> None:
        assert (await gemini.models.count_tokens(model="echo/echo", contents="Hello, you")).total_tokens == 3
        reply = await gemini.models.embed_content(
            model="echo/echo", contents=["a", "b"], config=types.EmbedContentConfig(output_dimensionality=16)
        )
        assert [len(each.values or []) for each in reply.embeddings or []] == [16, 16]

    @pytest.mark.parametrize("status", STATUSES)
    async def test_fails_as_asked(self, gemini: genai.client.AsyncClient, status: int) -> None:
        with pytest.raises(google_errors.APIError, match=f"status {status}") as raised:
            await gemini.models.generate_content(model=f"echo/status-{status}", contents="Hello")
        assert raised.value.code == status

    async def test_fails_in_the_stream_as_asked(self, gemini: genai.client.AsyncClient) -> None:
        for model in ("echo/error-first", "echo/error-after-4"):
            stream = await gemini.models.generate_content_stream(model=model, contents="Hello")
            with pytest.raises(google_errors.ServerError, match="status 500"):
                [chunk async for chunk in stream]


async def test_a_file_is_not_taken_for_a_mistake_in_json(start_proxy: StartProxy) -> None:
    proxy = await start_proxy({}, {})
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as gpt:
        with pytest.raises(openai.NotFoundError, match="it has no /audio/transcriptions"):
            await gpt.audio.transcriptions.create(model="whisper-1", file=("a.mp3", b"ID3"))
        with pytest.raises(openai.NotFoundError, match="it has no /files"):
            await gpt.files.create(file=("batch.jsonl", b"{}"), purpose="batch")
