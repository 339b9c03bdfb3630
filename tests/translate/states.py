"""Providers that give state only they can read beside two parallel calls, and what of it must be in the request that follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes import recordings
from tests.fakes.provider import Answer, streamed, whole
from tests.fakes.recordings import sse

CITIES = ("Zürich", "Bern")
ARGUMENTS = tuple(json.dumps({"city": city}, ensure_ascii=False, separators=(",", ":")) for city in CITIES)
SIGNATURE = "c2lnbmF0dXJl+/8="
ENCRYPTED = "gAAAAABo-enc_rypted=="


@dataclass(frozen=True, slots=True)
class Giver:
    """`step` finds in a request's body what the model said in the step that called tools, in the provider's own words and order."""

    model: str
    whole: Answer
    streamed: Answer
    step: Callable[[Any], list[Any]]
    expected: list[Any]
    unsigned_text: list[Any] | None = None
    """What is expected of a client that keeps only calls: nobody demands signatures on text."""

    def answer(self, streams: bool) -> Answer:
        return self.streamed if streams else self.whole


# ---------------------------------------------------------------------------------------------------------------------- Claude

_BLOCKS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "Two ☃ cities.", "signature": SIGNATURE},
    {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="},
    {"type": "text", "text": "Let me look."},
    *({"type": "tool_use", "id": f"toolu_{number}", "name": "get_weather", "input": {"city": city}} for number, city in enumerate(CITIES)),
]
_EMPTY: dict[str, dict[str, Any]] = {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}, "tool_use": {"input": {}}}


def _deltas(block: dict[str, Any]) -> list[dict[str, Any]]:
    match block["type"]:
        case "thinking":
            return [{"type": "thinking_delta", "thinking": block["thinking"]}, {"type": "signature_delta", "signature": block["signature"]}]
        case "text":
            return [{"type": "text_delta", "text": block["text"]}]
        case "tool_use":
            return [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
    return []


def _messages_stream(blocks: list[dict[str, Any]]) -> list[bytes]:
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {**recordings.MESSAGE, "content": [], "stop_reason": None}}]
    for index, block in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": {**block, **_EMPTY.get(block["type"], {})}})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in _deltas(block)]
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 5}})
    return sse(*events, {"type": "message_stop"}, named=True)


def _claude_step(body: Any) -> list[Any]:
    [step] = [message["content"] for message in body["messages"] if message["role"] == "assistant"]
    return list(step)


CLAUDE = Giver(
    "claude-sonnet-4-5",
    whole({**recordings.MESSAGE, "content": _BLOCKS, "stop_reason": "tool_use"}),
    streamed(_messages_stream(_BLOCKS)),
    _claude_step,
    _BLOCKS,
)

# ---------------------------------------------------------------------------------------------------------------------- Gemini


def _gemini(parts: list[dict[str, Any]], finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0, **({"finishReason": finish} if finish else {})}
    usage = {"usageMetadata": recordings.GEMINI_USAGE} if finish else {}
    return {"candidates": [candidate], "modelVersion": "gemini-3-pro-preview", "responseId": "gem-fake", **usage}


def _gemini_step(body: Any) -> list[Any]:
    """Without ids: Gemini gives none, and takes any."""
    told = [part for content in body["contents"] if content["role"] == "model" for part in content["parts"]]
    return [
        {**part, "functionCall": {name: value for name, value in part["functionCall"].items() if name != "id"}}
        if "functionCall" in part
        else part
        for part in told
    ]


_PARTS: list[dict[str, Any]] = [
    {"text": "Let me look."},
    {"functionCall": {"name": "get_weather", "args": {"city": CITIES[0]}}, "thoughtSignature": SIGNATURE},
    {"functionCall": {"name": "get_weather", "args": {"city": CITIES[1]}}},
]
GEMINI = Giver(
    "gemini-3-pro-preview",
    whole(_gemini(_PARTS, "STOP")),
    streamed(sse(_gemini(_PARTS[:1]), _gemini(_PARTS[1:2]), _gemini(_PARTS[2:], "STOP"), end="\r\n\r\n")),
    _gemini_step,
    _PARTS,
)
_SIGNED_TEXT: list[dict[str, Any]] = [{**_PARTS[0], "thoughtSignature": "dGV4dA=="}, *_PARTS[1:]]
GEMINI_TEXT = Giver(
    "gemini-3-pro-preview",
    whole(_gemini(_SIGNED_TEXT, "STOP")),
    streamed(sse(_gemini(_SIGNED_TEXT[:1]), _gemini(_SIGNED_TEXT[1:], "STOP"), end="\r\n\r\n")),
    _gemini_step,
    _SIGNED_TEXT,
    _PARTS,
)

# ---------------------------------------------------------------------------------------------------------------------- OpenAI

_REASONING: dict[str, Any] = {
    "type": "reasoning",
    "id": "rs_68af4030baa48193b0b43b4c2a176a1a",
    "summary": [{"type": "summary_text", "text": "Two ☃ cities."}],
    "encrypted_content": ENCRYPTED,
}
_CALLED: list[dict[str, Any]] = [
    {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": "get_weather", "arguments": arguments}
    for number, arguments in enumerate(ARGUMENTS)
]
_OUTPUT: list[dict[str, Any]] = [_REASONING, *({**call, "status": "completed"} for call in _CALLED)]


def _response(status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    return {**recordings.RESPONSE, "model": "gpt-5.6", "status": status, "output": output}


def _responses_stream() -> list[bytes]:
    events: list[dict[str, Any]] = [{"type": "response.created", "response": _response("in_progress", [])}]
    reasoning = {**_REASONING, "summary": []}
    reasoning.pop("encrypted_content")
    summary = {"item_id": _REASONING["id"], "output_index": 0, "summary_index": 0}
    events += [
        {"type": "response.output_item.added", "output_index": 0, "item": reasoning},
        {"type": "response.reasoning_summary_text.delta", **summary, "delta": "Two ☃ cities."},
        {"type": "response.output_item.done", "output_index": 0, "item": _REASONING},
    ]
    for index, call in enumerate(_CALLED, 1):
        where = {"output_index": index, "item_id": call["id"]}
        events += [
            {"type": "response.output_item.added", "output_index": index, "item": {**call, "arguments": "", "status": "in_progress"}},
            {"type": "response.function_call_arguments.delta", **where, "delta": call["arguments"]},
            {"type": "response.output_item.done", "output_index": index, "item": {**call, "status": "completed"}},
        ]
    events.append({"type": "response.completed", "response": _response("completed", _OUTPUT)})
    return sse(*({"sequence_number": number, **event} for number, event in enumerate(events)), named=True)


def _responses_step(body: Any) -> list[Any]:
    return [item for item in body["input"] if item.get("type") in ("reasoning", "function_call")]


OPENAI = Giver(
    "oracle/gpt-5.6",
    whole(_response("completed", _OUTPUT)),
    streamed(_responses_stream()),
    _responses_step,
    [_REASONING, *({name: value for name, value in call.items() if name != "id"} for call in _CALLED)],
)

# -------------------------------------------------------------------------------------------------------------------- DeepSeek

_CHAT_CALLS = [
    {"id": f"call_{number}", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    for number, arguments in enumerate(ARGUMENTS)
]
_SAID: dict[str, Any] = {"role": "assistant", "content": "Let me look.", "reasoning_content": "Two ☃ cities.", "tool_calls": _CHAT_CALLS}


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "deepseek-reasoner"}
    return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _chat_step(body: Any) -> list[Any]:
    [step] = [message for message in body["messages"] if message["role"] == "assistant"]
    return [step]


DEEPSEEK = Giver(
    "deepseek-reasoner",
    whole({**recordings.CHAT, "choices": [{"index": 0, "message": _SAID, "finish_reason": "tool_calls"}]}),
    streamed(
        sse(
            _chunk({"role": "assistant", "content": ""}),
            _chunk({"reasoning_content": "Two ☃ "}),
            _chunk({"reasoning_content": "cities."}),
            _chunk({"content": "Let me look."}),
            *(_chunk({"tool_calls": [{"index": index, **call}]}) for index, call in enumerate(_CHAT_CALLS)),
            _chunk({}, "tool_calls"),
            "[DONE]",
        )
    ),
    _chat_step,
    [_SAID],
)

GIVERS = {"claude": CLAUDE, "gemini": GEMINI, "gemini-text": GEMINI_TEXT, "openai": OPENAI, "deepseek": DEEPSEEK}
