"""One answer of each vendor that thinks, says something and calls a tool: whole, as a stream, and as its SDK gives it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
from google import genai

from tests.conftest import Proxy
from tests.fakes import recordings
from tests.fakes.recordings import CHAT, MESSAGE, MESSAGE_USAGE, RESPONSE, sse

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@dataclass(frozen=True, slots=True)
class Heard:
    """What a caller is given by its SDK."""

    thought: str
    text: str
    call: tuple[str, Any]
    tokens: tuple[int, int] | None


HEARD = Heard("let me see", recordings.TEXT, ("get_weather", {"city": "Zürich"}), (20, 5))

# OpenAI, chat: `reasoning_content` is DeepSeek's, vLLM's and others' member.
_CALL = {"id": "call_fake", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Zürich"}'}}
_MESSAGE = {"role": "assistant", "content": recordings.TEXT, "reasoning_content": "let me see", "tool_calls": [_CALL]}
CHAT_RICH = {**CHAT, "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "tool_calls"}]}


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1767225600, "model": CHAT["model"], "choices": choices}


CHAT_RICH_STREAM = sse(
    _chunk({"role": "assistant", "content": ""}),
    _chunk({"reasoning_content": "let me "}),
    _chunk({"reasoning_content": "see"}),
    _chunk({"content": "Héllo "}),
    _chunk({"content": "☃ world"}),
    _chunk({"tool_calls": [{"index": 0, **_CALL, "function": {"name": "get_weather", "arguments": '{"city":'}}]}),
    _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"Zürich"}'}}]}),
    _chunk({}, "tool_calls"),
    {**_chunk({}), "choices": [], "usage": CHAT["usage"]},
    "[DONE]",
)

# OpenAI, responses.
_THOUGHT = {"id": "rs_fake", "type": "reasoning", "summary": [{"type": "summary_text", "text": "let me see"}]}
_SAID = {
    "id": "msg_fake",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": recordings.TEXT, "annotations": []}],
}
_CALLED = {
    "id": "fc_fake",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_fake",
    "name": "get_weather",
    "arguments": '{"city":"Zürich"}',
}
RESPONSE_RICH = {**RESPONSE, "output": [_THOUGHT, _SAID, _CALLED]}


def _responses(*events: dict[str, Any]) -> list[bytes]:
    return sse(*({"type": event["type"], "sequence_number": number, **event} for number, event in enumerate(events)), named=True)


_BEGUN = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
RESPONSES_RICH_STREAM = _responses(
    {"type": "response.created", "response": _BEGUN},
    {"type": "response.output_item.added", "output_index": 0, "item": {**_THOUGHT, "summary": []}},
    {
        "type": "response.reasoning_summary_part.added",
        "item_id": "rs_fake",
        "output_index": 0,
        "summary_index": 0,
        "part": {"type": "summary_text", "text": ""},
    },
    {
        "type": "response.reasoning_summary_text.delta",
        "item_id": "rs_fake",
        "output_index": 0,
        "summary_index": 0,
        "delta": "let me see",
    },
    {"type": "response.output_item.done", "output_index": 0, "item": _THOUGHT},
    {"type": "response.output_item.added", "output_index": 1, "item": {**_SAID, "status": "in_progress", "content": []}},
    {
        "type": "response.content_part.added",
        "item_id": "msg_fake",
        "output_index": 1,
        "content_index": 0,
        "part": {"type": "output_text", "text": "", "annotations": []},
    },
    {
        "type": "response.output_text.delta",
        "item_id": "msg_fake",
        "output_index": 1,
        "content_index": 0,
        "delta": recordings.TEXT,
        "logprobs": [],
    },
    {"type": "response.output_item.done", "output_index": 1, "item": _SAID},
    {"type": "response.output_item.added", "output_index": 2, "item": {**_CALLED, "arguments": "", "status": "in_progress"}},
    {
        "type": "response.function_call_arguments.delta",
        "item_id": "fc_fake",
        "output_index": 2,
        "delta": '{"city":"Zürich"}',
    },
    {"type": "response.output_item.done", "output_index": 2, "item": _CALLED},
    {"type": "response.completed", "response": RESPONSE_RICH},
)

# Anthropic.
_BLOCKS = [
    {"type": "thinking", "thinking": "let me see", "signature": "c2lnbmF0dXJl"},
    {"type": "text", "text": recordings.TEXT},
    {"type": "tool_use", "id": "toolu_fake", "name": "get_weather", "input": {"city": "Zürich"}},
]
MESSAGE_RICH = {**MESSAGE, "content": _BLOCKS, "stop_reason": "tool_use"}
MESSAGES_RICH_STREAM = sse(
    {
        "type": "message_start",
        "message": {**MESSAGE, "content": [], "stop_reason": None, "usage": {**MESSAGE_USAGE, "output_tokens": 1}},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "let me see"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2lnbmF0dXJl"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": recordings.TEXT}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {**_BLOCKS[2], "input": {}},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"city":"Zürich"}'}},
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
    named=True,
)

# Google.
_PARTS: list[dict[str, Any]] = [
    {"text": "let me see", "thought": True},
    {"text": recordings.TEXT},
    {"functionCall": {"name": "get_weather", "args": {"city": "Zürich"}}, "thoughtSignature": "c2ln"},
]


def _google(parts: list[dict[str, Any]], finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    told: dict[str, Any] = {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "responseId": "gem-fake"}
    return {**told, "usageMetadata": recordings.GEMINI_USAGE} if finish else told


GEMINI_RICH = _google(_PARTS, "STOP")
GEMINI_RICH_EVENTS = [_google(_PARTS[:1]), _google(_PARTS[1:2]), _google(_PARTS[2:], "STOP")]
GEMINI_RICH_STREAM = sse(*GEMINI_RICH_EVENTS, end="\r\n\r\n")

MODELS = {"chat": "gpt-4.1-nano", "responses": "gpt-4.1-nano", "messages": "claude-sonnet-4-6", "gemini": "gemini-2.5-flash"}
ANSWERS: dict[str, tuple[dict[str, Any], list[bytes]]] = {
    "chat": (CHAT_RICH, CHAT_RICH_STREAM),
    "responses": (RESPONSE_RICH, RESPONSES_RICH_STREAM),
    "messages": (MESSAGE_RICH, MESSAGES_RICH_STREAM),
    "gemini": (GEMINI_RICH, GEMINI_RICH_STREAM),
}


async def heard(kind: str, proxy: Proxy, *, streams: bool, said: str = "hi", model: str | None = None, usage: bool = True) -> Heard:
    """What the SDK of that dialect gives a caller who asks the proxy with caching."""
    model = model or MODELS[kind]
    match kind:
        case "chat":
            return await _heard_by_chat(proxy, model, said, streams, usage)
        case "responses":
            return await _heard_by_responses(proxy, model, said, streams)
        case "messages":
            return await _heard_by_anthropic(proxy, model, said, streams)
        case _:
            return await _heard_by_google(proxy, model, said, streams)


async def _heard_by_chat(proxy: Proxy, model: str, said: str, streams: bool, usage: bool) -> Heard:
    ask: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": said}],
        "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}],
        "extra_body": {"cache_enabled": True},
    }
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        if not streams:
            reply = await client.chat.completions.create(**ask)
            message, counted = reply.choices[0].message, reply.usage
        else:
            thoughts = []
            options = {"stream_options": {"include_usage": True}} if usage else {}
            async with client.chat.completions.stream(**ask, **options) as stream:
                async for event in stream:
                    if event.type == "chunk" and event.chunk.choices:
                        thoughts.append(getattr(event.chunk.choices[0].delta, "reasoning_content", None) or "")
                final = await stream.get_final_completion()
            message, counted = final.choices[0].message, final.usage
            message.reasoning_content = "".join(thoughts)
    call = message.tool_calls[0].function
    tokens = (counted.prompt_tokens, counted.completion_tokens) if counted is not None else None
    return Heard(message.reasoning_content, message.content, (call.name, json.loads(call.arguments)), tokens)


async def _heard_by_responses(proxy: Proxy, model: str, said: str, streams: bool) -> Heard:
    ask: dict[str, Any] = {
        "model": model,
        "input": said,
        "tools": [{"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}],
        "extra_body": {"cache_enabled": True},
    }
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        if streams:
            async with client.responses.stream(**ask) as stream:
                async for _ in stream:
                    pass
                reply: Any = await stream.get_final_response()
        else:
            reply = await client.responses.create(**ask)
    items = {item.type: item for item in reply.output}
    call = items["function_call"]
    tokens = (reply.usage.input_tokens, reply.usage.output_tokens)
    return Heard(items["reasoning"].summary[0].text, reply.output_text, (call.name, json.loads(call.arguments)), tokens)


async def _heard_by_anthropic(proxy: Proxy, model: str, said: str, streams: bool) -> Heard:
    ask: dict[str, Any] = {
        "model": model,
        "max_tokens": 99,
        "messages": [{"role": "user", "content": said}],
        "tools": [{"name": "get_weather", "input_schema": SCHEMA}],
        "extra_body": {"cache_enabled": True},
    }
    async with anthropic.AsyncAnthropic(api_key="any", base_url=f"{proxy.base}/anthropic", max_retries=0) as client:
        if streams:
            async with client.messages.stream(**ask) as stream:
                reply: Any = await stream.get_final_message()
        else:
            reply = await client.messages.create(**ask)
    blocks = {block.type: block for block in reply.content}
    assert blocks["thinking"].signature == "c2lnbmF0dXJl"
    usage = reply.usage
    call = blocks["tool_use"]
    tokens = (usage.input_tokens + usage.cache_read_input_tokens, usage.output_tokens)
    return Heard(blocks["thinking"].thinking, blocks["text"].text, (call.name, call.input), tokens)


async def _heard_by_google(proxy: Proxy, model: str, said: str, streams: bool) -> Heard:
    declared: Any = {"function_declarations": [{"name": "get_weather", "parameters_json_schema": SCHEMA}]}
    config: Any = {
        "tools": [declared],
        "automatic_function_calling": {"disable": True},
        "http_options": {"extra_body": {"respan_params": {"cache_enabled": True}}},
    }
    client = genai.Client(api_key="any", http_options={"base_url": f"{proxy.base}/google/gemini"})
    parts: list[Any] = []
    usage: Any = None
    if streams:
        async for piece in await client.aio.models.generate_content_stream(model=model, contents=said, config=config):
            parts += piece.candidates[0].content.parts or []  # type: ignore[index,union-attr]
            usage = piece.usage_metadata or usage
    else:
        reply: Any = await client.aio.models.generate_content(model=model, contents=said, config=config)
        parts, usage = reply.candidates[0].content.parts, reply.usage_metadata
    await client.aio.aclose()
    call = next(part for part in parts if part.function_call)
    assert call.thought_signature == b"sig"
    thought = "".join(part.text for part in parts if part.thought)
    text = "".join(part.text for part in parts if part.text and not part.thought)
    counted = (usage.prompt_token_count, usage.candidates_token_count + usage.thoughts_token_count)
    return Heard(thought, text, (call.function_call.name, call.function_call.args), counted)
