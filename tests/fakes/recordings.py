"""Answers as the vendors write them: whole and streamed, one text and one tool call for each dialect."""

from __future__ import annotations

import json
from typing import Any


def sse(*events: dict[str, Any] | str, named: bool = False, end: str = "\n\n") -> list[bytes]:
    """One frame per event, compact JSON; `named` writes the event's `type` above it."""
    frames = []
    for event in events:
        data = event if isinstance(event, str) else json.dumps(event, separators=(",", ":"), ensure_ascii=False)
        name = f"event: {event['type']}\n" if named and isinstance(event, dict) else ""
        frames.append(f"{name}data: {data}{end}".encode())
    return frames


TEXT = "Héllo ☃ world"

# OpenAI, chat completions.

OPENAI_HEADERS = {
    "x-request-id": "req_fake_openai",
    "openai-processing-ms": "12",
    "openai-version": "2020-10-01",
    "x-ratelimit-remaining-requests": "99",
    "set-cookie": "__cf_bm=secret; path=/",
}

CHAT: dict[str, Any] = {
    "id": "chatcmpl-fake",
    "object": "chat.completion",
    "created": 1767225600,
    "model": "gpt-4.1-nano-2025-04-14",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": TEXT, "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 20,
        "completion_tokens": 5,
        "total_tokens": 25,
        "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0},
    },
    "service_tier": "default",
    "system_fingerprint": "fp_fake",
}

CALL = {"id": "call_fake", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Zürich"}'}}

CHAT_TOOLS: dict[str, Any] = {
    **CHAT,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL]},
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ],
}


def _chat_chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1767225600,
        "model": "gpt-4.1-nano-2025-04-14",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    }


CHAT_STREAM = sse(
    _chat_chunk({"role": "assistant", "content": "", "refusal": None}),
    _chat_chunk({"content": "Héllo "}),
    _chat_chunk({"content": "☃ "}),
    _chat_chunk({"content": "world"}),
    _chat_chunk({}, "stop"),
    "[DONE]",
)
CHAT_USAGE = sse({**_chat_chunk({}), "choices": [], "usage": CHAT["usage"]})[0]
CHAT_TOOLS_STREAM = sse(
    _chat_chunk({"role": "assistant", "content": None, "refusal": None}),
    _chat_chunk(
        {"tool_calls": [{"index": 0, "id": "call_fake", "type": "function", "function": {"name": "get_weather", "arguments": ""}}]}
    ),
    _chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]}),
    _chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"Zürich"}'}}]}),
    _chat_chunk({}, "tool_calls"),
    "[DONE]",
)

EMBEDDINGS = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": "zczMPc3MTL4="}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 1, "total_tokens": 1},
}
EMBEDDED = [0.1, -0.2]

OPENAI_MODELS: dict[str, Any] = {
    "object": "list",
    "data": [
        {"id": "gpt-4.1-nano", "object": "model", "created": 1744316542, "owned_by": "system"},
        {"id": "text-embedding-3-small", "object": "model", "created": 1705948997, "owned_by": "system"},
    ],
}

# OpenAI, responses.


def _response(status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": 1767225600,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "gpt-4.1-nano-2025-04-14",
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage,
    }


def _output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "msg_fake", "type": "message", "status": status, "role": "assistant", "content": content}


def _function_call(status: str, arguments: str) -> dict[str, Any]:
    return {
        "id": "fc_fake",
        "type": "function_call",
        "status": status,
        "call_id": "call_fake",
        "name": "get_weather",
        "arguments": arguments,
    }


RESPONSE_USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 25,
}
RESPONSE = _response("completed", [_message("completed", [_output_text(TEXT)])], RESPONSE_USAGE)
RESPONSE_TOOLS = _response("completed", [_function_call("completed", '{"city":"Zürich"}')], RESPONSE_USAGE)


def _numbered(*events: dict[str, Any]) -> list[bytes]:
    return sse(*({"type": event["type"], "sequence_number": number, **event} for number, event in enumerate(events)), named=True)


_PART: dict[str, Any] = {"item_id": "msg_fake", "output_index": 0, "content_index": 0}

RESPONSES_STREAM = _numbered(
    {"type": "response.created", "response": _response("in_progress", [], None)},
    {"type": "response.in_progress", "response": _response("in_progress", [], None)},
    {"type": "response.output_item.added", "output_index": 0, "item": _message("in_progress", [])},
    {"type": "response.content_part.added", **_PART, "part": _output_text("")},
    {"type": "response.output_text.delta", **_PART, "delta": "Héllo ", "logprobs": []},
    {"type": "response.output_text.delta", **_PART, "delta": "☃ world", "logprobs": []},
    {"type": "response.output_text.done", **_PART, "text": TEXT, "logprobs": []},
    {"type": "response.content_part.done", **_PART, "part": _output_text(TEXT)},
    {"type": "response.output_item.done", "output_index": 0, "item": _message("completed", [_output_text(TEXT)])},
    {"type": "response.completed", "response": RESPONSE},
)

_CALL: dict[str, Any] = {"item_id": "fc_fake", "output_index": 0}

RESPONSES_TOOLS_STREAM = _numbered(
    {"type": "response.created", "response": _response("in_progress", [], None)},
    {"type": "response.output_item.added", "output_index": 0, "item": _function_call("in_progress", "")},
    {"type": "response.function_call_arguments.delta", **_CALL, "delta": '{"city":'},
    {"type": "response.function_call_arguments.delta", **_CALL, "delta": '"Zürich"}'},
    {"type": "response.function_call_arguments.done", **_CALL, "name": "get_weather", "arguments": '{"city":"Zürich"}'},
    {"type": "response.output_item.done", "output_index": 0, "item": _function_call("completed", '{"city":"Zürich"}')},
    {"type": "response.completed", "response": RESPONSE_TOOLS},
)

# Anthropic.

ANTHROPIC_HEADERS = {
    "request-id": "req_fake_anthropic",
    "anthropic-ratelimit-requests-remaining": "49",
    "anthropic-organization-id": "org-fake",
}

MESSAGE_USAGE = {
    "input_tokens": 12,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 8,
    "output_tokens": 5,
    "service_tier": "standard",
}
MESSAGE: dict[str, Any] = {
    "id": "msg_fake",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-6",
    "content": [{"type": "text", "text": TEXT}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": MESSAGE_USAGE,
}
MESSAGE_TOOLS: dict[str, Any] = {
    **MESSAGE,
    "content": [{"type": "tool_use", "id": "toolu_fake", "name": "get_weather", "input": {"city": "Zürich"}}],
    "stop_reason": "tool_use",
}


def _messages_stream(block: dict[str, Any], deltas: list[dict[str, Any]], stop_reason: str) -> list[bytes]:
    start = {**MESSAGE, "content": [], "stop_reason": None, "usage": {**MESSAGE_USAGE, "output_tokens": 1}}
    return sse(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": None}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
        named=True,
    )


MESSAGES_STREAM = _messages_stream(
    {"type": "text", "text": ""},
    [{"type": "text_delta", "text": "Héllo "}, {"type": "text_delta", "text": "☃ world"}],
    "end_turn",
)
MESSAGES_TOOLS_STREAM = _messages_stream(
    {"type": "tool_use", "id": "toolu_fake", "name": "get_weather", "input": {}},
    [{"type": "input_json_delta", "partial_json": '{"city":'}, {"type": "input_json_delta", "partial_json": '"Zürich"}'}],
    "tool_use",
)

ANTHROPIC_MODELS = {
    "data": [
        {
            "type": "model",
            "id": "claude-sonnet-4-6",
            "display_name": "Claude Sonnet 4.6",
            "created_at": "2026-02-01T00:00:00Z",
            "lifecycle": "active",
        }
    ],
    "has_more": False,
    "first_id": "claude-sonnet-4-6",
    "last_id": "claude-sonnet-4-6",
}

# Gemini.


def _candidate(parts: list[dict[str, Any]], finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "responseId": "gem-fake"}


GEMINI_USAGE = {
    "promptTokenCount": 20,
    "candidatesTokenCount": 3,
    "thoughtsTokenCount": 2,
    "cachedContentTokenCount": 8,
    "totalTokenCount": 25,
}
GEMINI = {**_candidate([{"text": TEXT}], "STOP"), "usageMetadata": GEMINI_USAGE}
GEMINI_TOOLS = {
    **_candidate([{"functionCall": {"name": "get_weather", "args": {"city": "Zürich"}}, "thoughtSignature": "c2ln"}], "STOP"),
    "usageMetadata": GEMINI_USAGE,
}
GEMINI_EVENTS = [
    _candidate([{"text": "Héllo "}]),
    {**_candidate([{"text": "☃ world"}], "STOP"), "usageMetadata": GEMINI_USAGE},
]
GEMINI_STREAM = sse(*GEMINI_EVENTS, end="\r\n\r\n")
GEMINI_TOOLS_STREAM = sse(GEMINI_TOOLS, end="\r\n\r\n")
GEMINI_ARRAY = [
    ("[" if number == 0 else ",\r\n").encode() + json.dumps(event, indent=2, ensure_ascii=False).encode() + b"\n"
    for number, event in enumerate(GEMINI_EVENTS)
] + [b"]\n"]
GEMINI_MODELS = {
    "models": [
        {
            "name": "models/gemini-2.5-flash",
            "version": "001",
            "displayName": "Gemini 2.5 Flash",
            "inputTokenLimit": 1048576,
            "outputTokenLimit": 65536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }
    ]
}

# Errors, each in its vendor's own shape.


def openai_error(status: int, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": f"scripted {status}", "type": "scripted_error", "param": None, "code": code}}


def anthropic_error(status: int, kind: str = "api_error") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": f"scripted {status}"}, "request_id": "req_fake_anthropic"}


def gemini_error(status: int, word: str = "INTERNAL") -> dict[str, Any]:
    return {"error": {"code": status, "message": f"scripted {status}", "status": word}}
