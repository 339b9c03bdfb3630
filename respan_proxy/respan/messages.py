"""What a model said, as Respan shows it: an OpenAI assistant message, whatever dialect it was said in."""

from __future__ import annotations

from typing import Any

from respan_proxy.dialects.chat import Choice


def completion_message(choice: Choice) -> dict[str, Any]:
    """Role, content (None when nothing was said in text), and beside it reasoning, refusal and tool calls where there are some."""
    message: dict[str, Any] = {"role": "assistant", "content": choice.text or None}
    if reasoning := choice.reasoning:
        message["reasoning_content"] = reasoning
    if refusal := choice.refusal:
        message["refusal"] = refusal
    if calls := choice.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in calls
        ]
    return message
