"""`request_breakdown`: what the gateway knows of a call, told in the answer to a caller who asks for it.

Source: Respan's docs of chat completions. A whole answer gets a member, a streamed one a chunk of its own before `[DONE]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from respan_proxy.dialects.observe import Observed
from respan_proxy.respan.credentials import redact_members
from respan_proxy.respan.messages import completion_message
from respan_proxy.respan.params import Params
from respan_proxy.wire.json_edit import UNREAD, JsonProblem, edit, parse

_MEMBER: Final = "request_breakdown"


@dataclass(frozen=True, slots=True)
class Breakdown:
    """One call's figures under Respan's names; None is unknown. Times in seconds, `timestamp` since the epoch, `cost` in USD."""

    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None
    prompt_messages: list[Any]
    completion_message: Mapping[str, Any]
    model: str | None
    cached: bool
    timestamp: float
    status_code: int
    stream: bool
    latency: float
    category: str | None
    metadata: Mapping[str, Any]
    routing_time: float | None
    full_request: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        params: Params,
        members: Mapping[str, Any],
        seen: Observed,
        *,
        model: str | None,
        cost_usd: float | None,
        stream: bool,
        ended_at: float,
        latency_s: float,
        routing_s: float | None = None,
        status: int = 200,
        cached: bool = False,
    ) -> Breakdown:
        """From a request's members and what was seen of its answer. Credentials are masked; members too big to be read are left out."""
        request = {name: value for name, value in {**members, **redact_members(members)}.items() if value is not UNREAD}
        messages = request.get("messages")
        usage = seen.usage
        return cls(
            prompt_tokens=usage.prompt if usage is not None else None,
            completion_tokens=usage.output if usage is not None else None,
            cost=cost_usd,
            prompt_messages=messages if isinstance(messages, list) else [],
            completion_message=completion_message(seen.reply.choices[0]) if seen.reply and seen.reply.choices else {},
            model=model,
            cached=cached,
            timestamp=ended_at,
            status_code=status,
            stream=stream,
            latency=latency_s,
            category=params.category,
            metadata=params.metadata,
            routing_time=routing_s,
            full_request=request,
        )

    def values(self) -> dict[str, Any]:
        """As Respan writes it; the scores of evaluators that run there and not here are empty."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost": self.cost,
            "prompt_messages": self.prompt_messages,
            "completion_message": self.completion_message,
            "model": self.model,
            "cached": self.cached,
            "timestamp": datetime.fromtimestamp(self.timestamp, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "status_code": self.status_code,
            "stream": self.stream,
            "latency": self.latency,
            "scores": {},
            "category": self.category or "",
            "metadata": self.metadata,
            "routing_time": self.routing_time,
            "full_request": self.full_request,
            "sentiment_score": 0,
        }


def with_breakdown(body: bytes, breakdown: Breakdown) -> bytes:
    """A whole chat answer with the breakdown as one more member, all other bytes as they are; unchanged when it is no JSON object."""
    try:
        return edit(parse(body), (), {_MEMBER: breakdown.values()})
    except JsonProblem:
        return body


def breakdown_chunk(breakdown: Breakdown) -> bytes:
    """The last chunk of a streamed chat answer, to go before `[DONE]`; `choices[0]` is there for clients that index it unguarded."""
    empty = {"content": None, "role": "assistant"}
    chunk = {
        "id": _MEMBER,
        "object": "chat.completion.chunk",
        "created": int(breakdown.timestamp),
        "model": "extra_parameter",
        "system_fingerprint": None,
        "usage": {},
        "choices": [{"index": 0, "delta": empty, "message": empty, "finish_reason": "stop", _MEMBER: breakdown.values()}],
    }
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
