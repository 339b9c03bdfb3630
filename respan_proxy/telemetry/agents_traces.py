"""The OpenAI Agents SDK's own traces (what it posts to /v1/traces/ingest: objects `trace` and `trace.span`) as Respan's span-logs.

Source: openai-agents 0.24 `BackendSpanExporter` and `span_data`, and how respan-exporter-openai-agents 1.3.0 says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from respan_proxy.dialects.lenient import members

_LOG_TYPES: Final[Mapping[str, str]] = {
    "agent": "agent",
    "function": "tool",
    "generation": "generation",
    "response": "response",
    "handoff": "handoff",
    "guardrail": "guardrail",
    "transcription": "transcription",
    "speech": "speech",
    "speech_group": "task",
    "mcp_tools": "task",
    "task": "task",
    "turn": "task",
}


def is_agents(item: Any) -> bool:
    return isinstance(item, dict) and item.get("object") in ("trace", "trace.span")


def span_log(item: Mapping[str, Any]) -> dict[str, Any]:
    """A trace as its root, a span as a span below it."""
    if item.get("object") == "trace":
        return {
            "trace_unique_id": item.get("id"),
            "span_unique_id": item.get("id"),
            "span_name": item.get("workflow_name"),
            "span_workflow_name": item.get("workflow_name"),
            "trace_name": item.get("workflow_name"),
            "trace_group_identifier": item.get("group_id"),
            "metadata": item.get("metadata"),
            "log_type": "workflow",
        }
    data = members(item.get("span_data"))
    kind = data.get("type")
    error = members(item.get("error"))
    log: dict[str, Any] = {
        "trace_unique_id": item.get("trace_id"),
        "span_unique_id": item.get("id"),
        "span_parent_id": item.get("parent_id") or item.get("trace_id"),
        "start_time": item.get("started_at"),
        "timestamp": item.get("ended_at"),
        "span_name": data.get("name") or kind,
        "log_type": _LOG_TYPES.get(kind, "custom") if isinstance(kind, str) else "custom",
        "input": data.get("input"),
        "output": data.get("output"),
        "model": data.get("model"),
        "usage": data.get("usage"),
        "error_message": error.get("message"),
    }
    model_config = data.get("model_config")
    if isinstance(model_config, dict):
        log |= {name: model_config.get(name) for name in ("temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty")}
    told = {name: value for name, value in data.items() if name not in _SAID and value is not None}
    if told or error.get("data"):
        log["metadata"] = told | ({"error": error["data"]} if error.get("data") else {})
    if kind == "response":
        log["full_response"] = {"id": data.get("response_id")}
    return log


_SAID: Final = frozenset({"type", "name", "input", "output", "model", "model_config", "usage", "response_id"})
