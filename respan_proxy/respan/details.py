"""What Respan shows of one call beyond its columns: the request and the answer, whole and read into messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

# Members that hold what was asked, in the four dialects and the older ones; the first that is there counts.
_ASKED = ("messages", "input", "contents", "prompt", "requests", "content")
# Instructions that stand outside the messages: Anthropic, Responses, Gemini (both spellings).
_SYSTEM = ("system", "instructions", "systemInstruction", "system_instruction")


def content_fields(request: bytes, answer: bytes, reply: bytes | None) -> dict[str, Any]:
    """Respan's content fields of a call. `input` and `output` are JSON texts (as its docs and trace models have them), the rest is parsed.

    `request` and `answer` are the plain bodies, `reply` the assembled answer: a JSON list with one assistant message per choice.
    """
    full_request, full_response = _parsed(request), _parsed(answer)
    asked = full_request if isinstance(full_request, dict) else {}
    messages = prompt_messages(asked)
    said = orjson.loads(reply) if reply else []
    message = said[0] if said else None
    return {
        "full_request": full_request,
        "full_response": full_response,
        "prompt_messages": messages,
        "completion_message": message,
        "completion_messages": said or None,
        "input": json_text(messages if messages is not None else full_request),
        "output": json_text(message if message is not None else full_response),
        "tools": asked.get("tools"),
        "tool_calls": message.get("tool_calls") if message else None,
    }


def prompt_messages(asked: Mapping[str, Any]) -> list[Any] | None:
    """What was asked, as a list of messages: a bare text becomes a user's message, instructions a system message before the others.

    Messages keep the form that their dialect gave them; None when the request asks nothing that can be read.
    """
    found = next((asked[name] for name in _ASKED if asked.get(name) is not None), None)
    match found:
        case None:
            return None
        case list():
            messages = [{"role": "user", "content": item} if isinstance(item, str) else item for item in found]
        case _:
            messages = [{"role": "user", "content": found}]
    system = next((asked[name] for name in _SYSTEM if asked.get(name)), None)
    return messages if system is None else [{"role": "system", "content": system}, *messages]


def _parsed(body: bytes) -> Any:
    """JSON as its value, anything else (a stream's frames, a form) as text, nothing as None."""
    if not body:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def json_text(value: Any) -> str | None:
    """A value as JSON text; what is a text already stays as it is."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


CONTENT_FIELDS = frozenset(content_fields(b"", b"", None))
