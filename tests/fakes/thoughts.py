"""Streams in which a model thinks before it speaks or calls two tools, as each vendor writes them."""

from __future__ import annotations

from typing import Any

from tests.fakes import recordings
from tests.fakes.recordings import TEXT, sse

THOUGHT = "Wéll, ☁ let me see"
_PIECES = ("Wéll, ☁ ", "let me see")
CITIES = ("Zürich", "Genève")
CALLS = [["get_weather", {"city": city}] for city in CITIES]

# OpenAI shows no thinking in chat; vLLM, DeepSeek and others do, in this member.


def _chat(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1767225600,
        "model": "gpt-4.1-nano-2025-04-14",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
    }


def _chat_call(index: int, city: str) -> list[dict[str, Any]]:
    begun = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": "get_weather", "arguments": ""}}
    pieces = ('{"city":', f'"{city}"}}')
    return [
        _chat({"tool_calls": [begun]}),
        *(_chat({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}) for piece in pieces),
    ]


def _chat_stream(said: list[dict[str, Any]], finish: str) -> list[bytes]:
    usage = {**_chat({}), "choices": [], "usage": recordings.CHAT["usage"]}
    thoughts = [_chat({"reasoning_content": piece}) for piece in _PIECES]
    return sse(_chat({"role": "assistant", "content": None}), *thoughts, *said, _chat({}, finish), usage, "[DONE]")


CHAT = _chat_stream([_chat({"content": "Héllo "}), _chat({"content": "☃ world"})], "stop")
CHAT_CALLS = _chat_stream([chunk for index, city in enumerate(CITIES) for chunk in _chat_call(index, city)], "tool_calls")

# OpenAI, responses.


def _responses(items: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> list[bytes]:
    """Each item as it is in the end, and the events between its beginning and its end."""
    empty = {**recordings.RESPONSE, "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": empty}]
    for index, (item, between) in enumerate(items):
        begun = {**item, "status": "in_progress", **{name: [] for name in ("summary", "content") if name in item}}
        if "arguments" in begun:
            begun["arguments"] = ""
        place = {"output_index": index, "item_id": item["id"]}
        events.append({"type": "response.output_item.added", "output_index": index, "item": begun})
        events.extend({**place, **event} for event in between)
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": {**recordings.RESPONSE, "output": [item for item, _ in items]}})
    return sse(*({"type": event["type"], "sequence_number": number, **event} for number, event in enumerate(events)), named=True)


def _part(name: str, kind: str, pieces: tuple[str, ...], done: dict[str, Any], **place: Any) -> list[dict[str, Any]]:
    text = "".join(pieces)
    return [
        {"type": f"response.{name}_part.added", **place, "part": {**done, "text": ""}},
        *({"type": f"response.{kind}.delta", **place, "delta": piece, "logprobs": []} for piece in pieces),
        {"type": f"response.{kind}.done", **place, "text": text, "logprobs": []},
        {"type": f"response.{name}_part.done", **place, "part": done},
    ]


_SUMMARY = {"type": "summary_text", "text": THOUGHT}
_REASONING = (
    {"id": "rs_fake", "type": "reasoning", "summary": [_SUMMARY], "encrypted_content": "gAAAAA"},
    _part("reasoning_summary", "reasoning_summary_text", _PIECES, _SUMMARY, summary_index=0),
)
_OUTPUT = {"type": "output_text", "text": TEXT, "annotations": [], "logprobs": []}
_MESSAGE = (
    {"id": "msg_fake", "type": "message", "status": "completed", "role": "assistant", "content": [_OUTPUT]},
    _part("content", "output_text", ("Héllo ", "☃ world"), _OUTPUT, content_index=0),
)


def _function_call(index: int, city: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    arguments = f'{{"city":"{city}"}}'
    item = {"type": "function_call", "status": "completed", "call_id": f"call_{index}", "name": "get_weather", "arguments": arguments}
    deltas = [{"type": "response.function_call_arguments.delta", "delta": piece} for piece in (arguments[:8], arguments[8:])]
    done = {"type": "response.function_call_arguments.done", "name": "get_weather", "arguments": arguments}
    return {"id": f"fc_{index}", **item}, [*deltas, done]


RESPONSES = _responses([_REASONING, _MESSAGE])
RESPONSES_CALLS = _responses([_REASONING, *(_function_call(index, city) for index, city in enumerate(CITIES))])

# Anthropic.


def _messages(blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]], reason: str) -> list[bytes]:
    """Each block as it begins, and its deltas."""
    message = {**recordings.MESSAGE, "content": [], "stop_reason": None, "usage": {**recordings.MESSAGE_USAGE, "output_tokens": 1}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events.extend({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        events.append({"type": "content_block_stop", "index": index})
    ending = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": recordings.MESSAGE_USAGE}
    return sse(*events, ending, {"type": "message_stop"}, named=True)


_THINKING = (
    {"type": "thinking", "thinking": "", "signature": ""},
    [*({"type": "thinking_delta", "thinking": piece} for piece in _PIECES), {"type": "signature_delta", "signature": "c2ln"}],
)
_TEXT = ({"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in ("Héllo ", "☃ world")])


def _tool_use(index: int, city: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ('{"city":', f'"{city}"}}')]
    return {"type": "tool_use", "id": f"toolu_{index}", "name": "get_weather", "input": {}}, deltas


MESSAGES = _messages([_THINKING, _TEXT], "end_turn")
MESSAGES_CALLS = _messages([_THINKING, *(_tool_use(index, city) for index, city in enumerate(CITIES))], "tool_use")

# Gemini.


def _gemini(*parts: dict[str, Any]) -> list[bytes]:
    chunks: list[dict[str, Any]] = []
    for part in [*({"text": piece, "thought": True} for piece in _PIECES), *parts]:
        candidate = {"content": {"parts": [part], "role": "model"}, "index": 0}
        chunks.append({"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "responseId": "gem-fake"})
    chunks[-1]["candidates"][0]["finishReason"] = "STOP"
    chunks[-1]["usageMetadata"] = recordings.GEMINI_USAGE
    return sse(*chunks, end="\r\n\r\n")


def _gemini_call(city: str) -> dict[str, Any]:
    return {"functionCall": {"name": "get_weather", "args": {"city": city}}}


GEMINI = _gemini({"text": "Héllo "}, {"text": "☃ world", "thoughtSignature": "c2ln"})
GEMINI_CALLS = _gemini({**_gemini_call(CITIES[0]), "thoughtSignature": "c2ln"}, _gemini_call(CITIES[1]))
