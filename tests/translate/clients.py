"""Users of the four SDKs in a conversation of two requests: ask, run the tools, send the history back as the SDK's users do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import anthropic
import openai
from google import genai
from google.genai import types

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
RESULTS = ("sunny", "rain")

Converse = Callable[..., Awaitable[None]]
"""(base, model, streams, plain, then): `plain` users send back what was said and called, and nothing else; `then` is the model that is
asked with the results, if it is another."""


async def chat(base: str, model: str, streams: bool, plain: bool, then: str | None = None) -> None:
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    messages: list[Any] = [{"role": "user", "content": "hi"}]
    async with openai.AsyncOpenAI(api_key="any", base_url=base, max_retries=0) as client:
        ask: Any = {"model": model, "messages": messages, "tools": tools, "reasoning_effort": "low"}
        if streams:
            async with client.chat.completions.stream(**ask) as stream:
                message: Any = (await stream.get_final_completion()).choices[0].message
            said = message.to_dict()
        else:
            message = (await client.chat.completions.create(**ask)).choices[0].message
            said = message.model_dump()
        if plain:
            said = plainly(message)
        messages += [said, *chat_results(message.tool_calls)]
        await client.chat.completions.create(**{**ask, "model": then or model})


def plainly(message: Any) -> dict[str, Any]:
    """What most agents written by hand keep of a message."""
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": call.function.arguments}}
        for call in message.tool_calls
    ]
    return {"role": "assistant", "content": message.content, "tool_calls": calls}


def chat_results(calls: Any) -> list[dict[str, Any]]:
    return [{"role": "tool", "tool_call_id": call.id, "content": result} for call, result in zip(calls, RESULTS, strict=True)]


async def messages(base: str, model: str, streams: bool, plain: bool, then: str | None = None) -> None:
    async with anthropic.AsyncAnthropic(api_key="any", base_url=f"{base}/anthropic", max_retries=0) as client:
        history: list[Any] = [{"role": "user", "content": "hi"}]
        ask: Any = {
            "model": model,
            "max_tokens": 9000,
            "messages": history,
            "tools": [{"name": "get_weather", "input_schema": SCHEMA}],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        }
        if streams:
            async with client.messages.stream(**ask) as stream:
                final: Any = await stream.get_final_message()
        else:
            final = await client.messages.create(**ask)
        content = [block for block in final.content if block.type in ("text", "tool_use")] if plain else final.content
        calls = [block for block in final.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": said} for call, said in zip(calls, RESULTS, strict=True)]
        history += [{"role": "assistant", "content": content}, {"role": "user", "content": results}]
        await client.messages.create(**{**ask, "model": then or model})


async def responses(base: str, model: str, streams: bool, plain: bool, then: str | None = None) -> None:
    async with openai.AsyncOpenAI(api_key="any", base_url=base, max_retries=0) as client:
        items: list[Any] = [{"role": "user", "content": "hi"}]
        ask: Any = {
            "model": model,
            "input": items,
            "tools": [{"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}],
            "reasoning": {"effort": "low", "summary": "auto"},
            "store": False,
        }
        if not plain:
            ask["include"] = ["reasoning.encrypted_content"]
        if streams:
            async with client.responses.stream(**ask) as stream:
                response: Any = await stream.get_final_response()
        else:
            response = await client.responses.create(**ask)
        calls = [item for item in response.output if item.type == "function_call"]
        output = [item for item in response.output if item.type != "reasoning"] if plain else response.output
        items += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in output] if streams else output
        items += [
            {"type": "function_call_output", "call_id": call.call_id, "output": result} for call, result in zip(calls, RESULTS, strict=True)
        ]
        await client.responses.create(**{**ask, "model": then or model})


async def generate_content(base: str, model: str, streams: bool, plain: bool, then: str | None = None) -> None:
    """The SDK's own chat keeps the history; `plain` users keep none of the thoughts."""
    client = genai.Client(api_key="any", http_options={"base_url": f"{base}/google/gemini"})
    declaration = types.FunctionDeclaration(name="get_weather", parameters_json_schema=SCHEMA)
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declaration])],
        thinking_config=types.ThinkingConfig(include_thoughts=not plain, thinking_budget=1024),
    )
    talk = client.aio.chats.create(model=model, config=config)
    if streams:
        async for _ in await talk.send_message_stream("hi"):
            pass
    else:
        await talk.send_message("hi")
    calls = [part.function_call for content in talk.get_history() for part in content.parts or () if part.function_call]
    results = [
        types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": said}))
        for call, said in zip(calls, RESULTS, strict=True)
    ]
    if then is not None:
        talk = client.aio.chats.create(model=then, config=config, history=talk.get_history())
    await talk.send_message(cast(Any, results))
    await client.aio.aclose()


CLIENTS: dict[str, Converse] = {"chat": chat, "messages": messages, "responses": responses, "generate_content": generate_content}
