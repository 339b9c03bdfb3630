"""Token counts across dialects: how each asks for one, how each answers, and the estimate where nobody can count.

Source: `MessageCountTokensParams` (anthropic 2.12), `InputTokenCountParams` (openai 3.54), `CountTokensRequest` (google-genai 3.4).
Chat has no such call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.asked import Asked
from respan_proxy.dialects.gemini_request_read import camel
from respan_proxy.dialects.observe import estimate_prompt
from respan_proxy.dialects.request import ChatRequest, Losses, Profile

# What a count reads; everything else of a request (limits, sampling, streaming) is refused there.
_COUNTED: Mapping[str, frozenset[str]] = {
    "anthropic.messages": frozenset(("messages", "model", "cache_control", "output_config", "system", "thinking", "tool_choice", "tools")),
    "openai.responses": frozenset(
        ("input", "instructions", "model", "parallel_tool_calls", "reasoning", "text", "tool_choice", "tools", "truncation")
    ),
    "gemini": frozenset(("contents", "systemInstruction", "tools", "toolConfig", "generationConfig")),
}
_ANSWER: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "anthropic.messages": ("input_tokens", {}),
    "openai.responses": ("input_tokens", {"object": "response.input_tokens"}),
    "gemini": ("totalTokens", {}),
}


@dataclass(frozen=True, slots=True)
class Count:
    """`estimated`: nobody counted; bytes were divided."""

    tokens: int
    estimated: bool = False


def can_count(dialect: str) -> bool:
    """Whether a provider of this dialect can be asked."""
    return dialect in _COUNTED


def read_count_request(dialect: str, members: Mapping[str, Any], model: str | None = None) -> ChatRequest:
    """A count's body in the client's dialect -> the request whose tokens are asked for. Raises RequestRejected."""
    read = DIALECTS[dialect].read_request
    if read is None:
        raise LookupError(dialect)
    if dialect == "gemini":
        asked = camel(Asked(members))
        whole = asked.object("generateContentRequest")
        members = whole.members if whole is not None else members
    return read(members, model)


def write_count_request(dialect: str, request: ChatRequest, profile: Profile) -> dict[str, Any]:
    """The body that asks a provider of this dialect. Raises Untranslatable, and LookupError for a dialect that cannot count.

    Losses are nobody's concern here: what is dropped has no tokens.
    """
    write = DIALECTS[dialect].write_request
    if write is None or dialect not in _COUNTED:
        raise LookupError(dialect)
    members = write(request, profile, Losses()).members
    counted = {name: value for name, value in members.items() if name in _COUNTED[dialect]}
    if dialect == "gemini" and "generateContentRequest" not in profile.refuses:  # Vertex takes the members themselves
        return {"generateContentRequest": {"model": f"models/{profile.model or request.model}", **counted}}
    return counted


def read_count(dialect: str, body: bytes) -> Count | None:
    """A provider's answer; None of what holds no count."""
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    tokens = DIALECTS[dialect].read_count(members) if isinstance(members, dict) else None
    return None if tokens is None else Count(tokens)


def estimated(members: Mapping[str, Any]) -> Count:
    """What a body in any dialect amounts to when nobody can count it."""
    return Count(estimate_prompt(members), estimated=True)


def write_count(dialect: str, count: Count) -> bytes:
    """The answer in the client's dialect. None has a member for an estimate: that is said in a header, by the caller."""
    name, beside = _ANSWER[dialect]
    return orjson.dumps({**beside, name: count.tokens})
