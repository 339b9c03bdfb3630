"""What a Responses reply is made of besides what was said: the frame of an event, the response around the output, usage, errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from respan_proxy.dialects.dialect import WriteContext
from respan_proxy.dialects.events import Failure
from respan_proxy.dialects.usage import Usage
from respan_proxy.errors import Kind

_ECHOED: Mapping[str, Any] = {
    # what the service itself answers when the request said nothing
    "instructions": None,
    "max_output_tokens": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
    "metadata": {},
}
_ERROR_CODES = frozenset(  # the closed list of the SDK's ResponseError, as far as a proxy can mean one of them
    ("server_error", "rate_limit_exceeded", "invalid_prompt", "data_residency_mismatch", "bio_policy", "invalid_image")
)
_CODE_OF_KIND: Mapping[Kind, str] = {
    "rate_limit": "rate_limit_exceeded",
    "quota": "rate_limit_exceeded",
    "invalid_request": "invalid_prompt",
    "context_length": "invalid_prompt",
    "content_filter": "invalid_prompt",
    "too_large": "invalid_prompt",
}


def failed_error(failure: Failure) -> dict[str, Any]:
    """The `error` of a response that failed: its code must be one the SDK knows."""
    code = failure.code if failure.code in _ERROR_CODES else _CODE_OF_KIND.get(failure.kind, "server_error")
    return {"code": code, "message": failure.message}


def frame(kind: str, sequence: int, members: Mapping[str, Any]) -> bytes:
    """One event of the stream."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, "sequence_number": sequence, **members}))


def head(id: str, context: WriteContext, model: str | None) -> dict[str, Any]:
    """The response before anything was said. Members in the order the service writes them."""
    echo = {name: _echo(context.echo.get(name), default) for name, default in _ECHOED.items()}
    return {
        "id": id,
        "object": "response",
        "created_at": context.now,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": echo["instructions"],
        "max_output_tokens": echo["max_output_tokens"],
        "model": model or context.model or "",
        "output": [],
        "parallel_tool_calls": echo["parallel_tool_calls"],
        "previous_response_id": echo["previous_response_id"],
        "reasoning": echo["reasoning"],
        "store": False,  # what passed through here cannot be fetched from OpenAI later
        "temperature": echo["temperature"],
        "text": echo["text"],
        "tool_choice": echo["tool_choice"],
        "tools": without_tokens(echo["tools"]),
        "top_p": echo["top_p"],
        "truncation": echo["truncation"],
        "usage": None,
        "metadata": echo["metadata"],
    }


# What a tool of another server travels with; OpenAI's answers do not give it back.
_TOKENS = frozenset({"authorization", "headers"})


def without_tokens(tools: object) -> object:
    """A response's `tools` without the credentials of other servers (`mcp`): answers are kept, and shown."""
    if not isinstance(tools, list):
        return tools
    return [_tokenless(tool) if isinstance(tool, dict) and tool.get("type") == "mcp" else tool for tool in tools]


def _tokenless(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tool.items() if name not in _TOKENS}


def write_usage(usage: Usage) -> dict[str, Any]:
    """All counters are required by the 3.x SDK, zero or not."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }


def _echo(asked: object, default: object) -> object:
    """A member of the request as the response repeats it: the default where the request said nothing, filled up where it said a part."""
    if asked is None:
        return default
    return {**default, **asked} if isinstance(default, dict) and isinstance(asked, dict) else asked
