"""Remembered calls for a person: a table that grows, and one call laid out to be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TextIO

import orjson
from rich.console import Console
from rich.text import Text

COLOURS = {"success": "green", "warning": "yellow", "failed": "red", "interrupted": "red", "running": "cyan"}

# Heading, width, from the right?
_COLUMNS = (
    ("time", 14, False),
    ("id", 16, False),
    ("status", 12, False),
    ("provider", 12, False),
    ("model", 26, False),
    ("tokens", 13, True),
    ("cost", 10, True),
    ("latency", 8, True),
    ("first", 7, True),
)
# Columns of the row that its head says already, or that say nothing to a person.
_SAID = frozenset(
    {"id", "unique_id", "status", "status_code", "model", "provider_id", "timestamp", "start_time", "latency", "cost", "cost_source"}
    | {"attempts", "error_message", "blurred"}
)
_CONTENT = frozenset({"input", "output", "prompt_messages", "completion_message", "completion_messages", "full_request", "full_response"})


class Table:
    """Lines of fixed columns: rows come as calls end, so no width can wait for all of them."""

    def __init__(self, out: TextIO) -> None:
        self._console = Console(file=out, highlight=False, soft_wrap=True)
        self._begun = False

    def show(self, rows: list[dict[str, Any]]) -> None:
        if not self._begun:
            self._begun = True
            if not rows:
                self._console.print("no calls (yet); --since all looks further back", style="dim")
                return
            self._console.print(self._line([name for name, _, _ in _COLUMNS]), style="bold dim")
        for row in rows:
            line = self._line(_cells(row))
            line.stylize(COLOURS.get(row["status"], ""), 32, 44)
            self._console.print(line)

    def _line(self, cells: list[str]) -> Text:
        parts = [
            cell[:width].rjust(width) if right else cell[:width].ljust(width)
            for cell, (_, width, right) in zip(cells, _COLUMNS, strict=True)
        ]
        return Text(" ".join(parts).rstrip())


def exchange(call: Mapping[str, Any], out: TextIO) -> None:
    """One call, whole: what it was, what was asked, what was answered, and how it went."""
    console = Console(file=out, highlight=False, soft_wrap=True)
    status = Text(_status(call), style=COLOURS.get(call["status"], ""))
    console.print(Text.assemble(("call ", "dim"), (call["id"], "bold"), "  ", status))
    for name, value in _facts(call):
        console.print(Text.assemble((f"  {name:<22} ", "dim"), value))
    if call["error_message"]:
        console.print(Text.assemble((f"  {'error':<22} ", "dim"), (call["error_message"], "red")))
    for heading, body in _sections(call):
        console.print()
        console.print(Text(heading, style="bold cyan"))
        console.print(Text(body))


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        _local_time(row["timestamp"]),
        row["id"],
        _status(row),
        row["provider_id"] or "",
        row["model"] or row["request_model"] or "",
        _tokens(row),
        _dollars(row["cost"]),
        _seconds(row["latency"]),
        _seconds(row["time_to_first_token"]),
    ]


def _facts(call: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "when", f"{_local_time(call['start_time'] or call['timestamp'])}, took {_seconds(call['latency']) or 'unknown'}"
    yield "who answered", f"{call['provider_id'] or 'nobody'} {call['model'] or call['request_model'] or ''}".rstrip()
    yield "tokens", _tokens(call) or "unknown"
    yield "cost", f"{_dollars(call['cost']) or 'unknown'}{' (' + call['cost_source'] + ')' if call['cost_source'] else ''}"
    for attempt in call["attempts"] or ():
        yield "attempt", " ".join(f"{name}={value}" for name, value in attempt.items() if value is not None)
    for name, value in call.items():
        if name not in _SAID and name not in _CONTENT and isinstance(value, str | int | float):
            yield name, str(value)
    for name in ("metadata", "properties", "variables"):
        if call[name]:
            yield name, orjson.dumps(call[name]).decode()


def _sections(call: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("request_headers", "response_headers"):
        if call.get(name):
            yield name.replace("_", " "), "\n".join(f"{key}: {value}" for key, value in call[name])
    for message in call["prompt_messages"] or ():
        yield _speaker(message, "user"), _said(message)
    if call["prompt_messages"] is None and call["full_request"] is not None:
        yield "request", _json(call["full_request"])
    if call.get("sent_request") is not None:
        yield "request as it was sent", _json(call["sent_request"])
    for message in call["completion_messages"] or ():
        yield _speaker(message, "assistant"), _said(message)
    if not call["completion_messages"] and call["full_response"] is not None:
        yield "answer", _json(call["full_response"])
    if call.get("cut"):
        yield "cut", f"too long to be kept whole: {', '.join(call['cut'])}"
    if call["bodies_dropped"]:
        yield "not kept", "memory for waiting calls was short when this one ended"


def _speaker(message: Any, default: str) -> str:
    return str(message.get("role") or message.get("type") or default) if isinstance(message, dict) else default


def _said(message: Any) -> str:
    """The message's text; whatever else it holds as JSON below it."""
    if not isinstance(message, dict):
        return _json(message)
    lines = [message["reasoning_content"]] if message.get("reasoning_content") else []
    content = message.get("content", message.get("parts"))
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            lines.append(part["text"])
        elif part is not None:
            lines.append(part if isinstance(part, str) else _json(part))
    rest = {name: value for name, value in message.items() if name not in ("role", "content", "parts", "reasoning_content")}
    for call in rest.pop("tool_calls", None) or ():
        function = call.get("function") or {}
        lines.append(f"-> {function.get('name')}({function.get('arguments')})")
    if rest:
        lines.append(_json(rest))
    return "\n".join(lines)


def _status(row: Mapping[str, Any]) -> str:
    code = row["status_code"]
    return f"{row['status']} {code}" if code is not None and row["status"] != "success" else str(row["status"])


def _tokens(row: Mapping[str, Any]) -> str:
    if row["prompt_tokens"] is None and row["completion_tokens"] is None:
        return ""
    about = "~" if row["usage_estimated"] else ""
    return f"{about}{row['prompt_tokens'] or 0} > {row['completion_tokens'] or 0}"


def _dollars(cost: float | None) -> str:
    return "" if cost is None else "<$0.000001" if 0 < cost < 1e-6 else f"${cost:.6f}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def _local_time(iso: str | None) -> str:
    return "" if iso is None else datetime.fromisoformat(iso).astimezone().strftime("%m-%d %H:%M:%S")


def _json(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
