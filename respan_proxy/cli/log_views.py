"""Remembered calls for a person: a table that grows, and one call laid out to be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO

import orjson
from rich.console import Console
from rich.text import Text

from respan_proxy.cli.terminal import COLOURS, Column, Columns, dollars, seconds
from respan_proxy.cli.writing import flat, visible
from respan_proxy.respan.spans import GENERATIONS

_COLUMNS = (
    Column("time", 14, 14, 2),
    Column("id", 16, 16, 0),
    Column("status", 15, 15, 1),
    Column("provider", 12, 12, 7),
    Column("model", 12, 40, 3),
    Column("tokens", 13, 13, 6, is_number=True),
    Column("cost", 10, 10, 4, is_number=True),
    Column("latency", 8, 8, 5, is_number=True),
    Column("first", 7, 7, 8, is_number=True),
)
# Columns of the row that its head says already, or that say nothing to a person.
_SAID = frozenset(
    {"id", "unique_id", "status", "status_code", "model", "request_model", "provider_id", "timestamp", "start_time", "latency", "cost"}
    | {"cost_source", "error_message", "blurred", "time_to_first_token", "tokens_per_second", "routing_time", "outcome", "finish_reason"}
    | {"prompt_tokens", "completion_tokens", "total_request_tokens", "prompt_cache_hit_tokens", "prompt_cache_creation_tokens"}
    | {"reasoning_tokens", "usage_estimated", "upstream_request_id", "has_tool_calls", "log_method", "span_name", "bodies_dropped"}
    | {"content_cut", "input", "output", "prompt_messages", "completion_message", "completion_messages", "full_request", "full_response"}
)
# Where the messages of a request stand; the rest of it is how they were asked.
_MESSAGES = frozenset(
    {"messages", "input", "contents", "prompt", "system", "instructions", "systemInstruction", "system_instruction"}  # four dialects
)

# A longer text is shown by its two ends: nobody reads eight megabytes of base64 on a terminal.
LONGEST_TEXT = 20_000
LONGEST_FRAME = 500
MOST_FRAMES = 200


class Table:
    """Lines as wide as the terminal is at first: rows come as calls end, so no width can wait for all of them."""

    def __init__(self, out: TextIO) -> None:
        self._console = Console(file=out, highlight=False, soft_wrap=True)
        self._columns = Columns(_COLUMNS, self._console.width)
        self._begun = self._said_nothing = False

    def show(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            if not self._begun and not self._said_nothing:
                self._said_nothing = True
                self._console.print("no calls (yet); --since all looks further back", style="dim")
            return
        if not self._begun:
            self._begun = True
            self._console.print(self._columns.heading(), style="bold dim")
        for row in rows:
            self._console.print(self._columns.line(_cells(row), {"status": COLOURS.get(row["status"], "")}))


def exchange(call: Mapping[str, Any], out: TextIO) -> None:
    """One call, whole: what it was, what was asked, what was answered, and how it went."""
    console = Console(file=out, highlight=False, soft_wrap=True)
    status = Text(_status(call), style=COLOURS.get(call["status"], ""))
    what = "span" if _is_span(call) else "call"
    console.print(Text.assemble((f"{what} ", "dim"), (flat(call["id"]), "bold"), "  ", status))
    if call["error_message"]:
        console.print(Text(visible(f"  {call['error_message']}"), style="red"))
    facts = list(_facts(call))
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        console.print(Text.assemble((f"  {name:<{width}}  ", "dim"), visible(value)))
    for heading, body in _sections(call):
        console.print()
        console.print(Text(flat(heading), style="bold cyan"))
        console.print(Text(visible(_short(body))))


def _cells(row: Mapping[str, Any]) -> list[str]:
    is_span = _is_span(row)
    return [
        local_time(row["timestamp"]),
        row["id"][:16],
        _status(row),
        row["provider_id"] or (row["log_type"] or "" if is_span else ""),
        row["model"] or row["request_model"] or (row["entity_name"] or row["span_name"] or "" if is_span else ""),
        _tokens(row),
        dollars(row["cost"]),
        seconds(row["latency"]),
        seconds(row["time_to_first_token"]),
    ]


def _is_span(row: Mapping[str, Any]) -> bool:
    """Whether an app told of it, and not the gateway."""
    return row["log_method"] not in (None, "inference")


def _facts(call: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    pace = [f"took {seconds(call['latency'])}" if call["latency"] is not None else "how long is unknown"]
    if call["time_to_first_token"] is not None:
        pace.append(f"first token after {seconds(call['time_to_first_token'])}")
    if call["tokens_per_second"] is not None:
        pace.append(f"{call['tokens_per_second']:.0f} tokens/s")
    yield "when", f"{local_time(call['start_time'] or call['timestamp'])}, {', '.join(pace)}"
    asked, model = call["request_model"], call["model"] or call["request_model"] or ""
    # A span around calls of a model asked nobody, and what it says of tokens are theirs.
    is_call = not _is_span(call) or call["log_type"] in GENERATIONS
    if is_call or model or call["provider_id"]:
        yield (
            "who answered",
            f"{call['provider_id'] or 'nobody'} {model}".rstrip() + (f", asked for {asked}" if asked not in (None, model) else ""),
        )
    yield "how it ended", ", ".join(word for word in (call["outcome"] or call["status"], call["finish_reason"]) if word)
    if is_call or _tokens(call):
        yield "tokens", _tokens(call, whole=True) or "unknown"
    if is_call or call["cost"]:
        yield "cost", f"{dollars(call['cost']) or 'unknown'}{' (' + call['cost_source'] + ')' if call['cost_source'] else ''}"
    for number, attempt in enumerate(call["attempts"] or (), start=1):
        yield f"attempt {number}", _attempt(attempt)
    for name, value in call.items():
        # `False` and 0 are the rule; what is the rule is no news.
        if name not in _SAID and isinstance(value, str | int | float) and value:
            yield name, str(value)
    for name in ("metadata", "properties", "variables"):
        if call[name]:
            yield name, orjson.dumps(call[name]).decode()


def _attempt(attempt: Mapping[str, Any]) -> str:
    said = [f"{attempt.get('provider_id')} {attempt.get('model') or ''}".rstrip()]
    said.append(f"status {attempt['status_code']}" if attempt.get("status_code") is not None else "no answer")
    for name, words in (("started", "sent after"), ("first_byte", "answered after"), ("ended", "ended after")):
        if attempt.get(name) is not None:
            said.append(f"{words} {seconds(attempt[name])}")
    if attempt.get("upstream_request_id"):
        said.append(attempt["upstream_request_id"])
    said += attempt.get("notes") or ()
    if attempt.get("error"):
        said.append(attempt["error"])
    return ", ".join(said)


def _sections(call: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if call.get("request_headers"):
        yield "request headers", "\n".join(f"{key}: {value}" for key, value in call["request_headers"])
    asked = call["full_request"]
    for message in call["prompt_messages"] or ():
        yield _speaker(message, "user"), _said(message)
    if call["prompt_messages"] is None and asked is None and call["input"]:
        yield "input", call["input"]
    if call["prompt_messages"] is None and asked is not None:
        yield "request", _json(asked)
    elif isinstance(asked, dict) and (rest := {name: value for name, value in asked.items() if name not in _MESSAGES}):
        yield "asked with", _json(rest)
    if call.get("sent_request") is not None:
        yield "changed before it was sent", _changes(asked, call["sent_request"])
    if call.get("response_headers"):
        yield "response headers", "\n".join(f"{key}: {value}" for key, value in call["response_headers"])
    for message in call["completion_messages"] or ():
        yield _speaker(message, "assistant"), _said(message)
    if not call["completion_messages"] and call["full_response"] is not None and not call.get("frames"):
        yield "answer", _json(call["full_response"])
    if not call["completion_messages"] and call["full_response"] is None and call["output"]:
        yield "output", call["output"]
    if frames := call.get("frames"):
        yield f"answer as it came, in {len(frames)} {'piece' if len(frames) == 1 else 'pieces'}", "\n".join(_frames(frames))
    if call.get("cut"):
        yield "cut", f"too long to be kept whole: {', '.join(call['cut'])}"
    if call.get("span") is not None:
        yield "the span as it was exported", _json(call["span"])
    for span in call.get("spans_beside") or ():
        yield "another span of the same call", _json(span)
    if call["bodies_dropped"]:
        yield "not kept", "memory for waiting calls was short when this one ended"


def _changes(asked: Any, sent: Any) -> str:
    """What was added, changed and taken out, of the members of an object; anything else whole."""
    if not isinstance(asked, dict) or not isinstance(sent, dict):
        return _json(sent)
    lines = [f"- {name}" for name in asked if name not in sent]
    lines += [f"+ {name}: {orjson.dumps(value).decode()}" for name, value in sent.items() if name not in asked or asked[name] != value]
    return "\n".join(lines) or "nothing but its spelling"


def _frames(frames: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    left_out = len(frames) - MOST_FRAMES
    for number, frame in enumerate(frames):
        if left_out > 0 and MOST_FRAMES // 2 <= number < MOST_FRAMES // 2 + left_out:
            if number == MOST_FRAMES // 2:
                yield f"{'':>11}... {left_out} more (--json shows all)"
            continue
        time, lines = f"{frame['time'] * 1000:8.1f} ms", [line for line in frame["data"].splitlines() if line]
        for line in lines or [""]:
            yield f"{time}  {_short(line, LONGEST_FRAME)}"
            time = " " * len(time)


def _short(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text, or its two ends."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} ... {len(text) - longest} more (--json shows all) ... {text[-half:]}"


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


def _tokens(row: Mapping[str, Any], *, whole: bool = False) -> str:
    if row["prompt_tokens"] is None and row["completion_tokens"] is None:
        return ""
    about = "~" if row["usage_estimated"] else ""
    said = f"{about}{row['prompt_tokens'] or 0} > {row['completion_tokens'] or 0}"
    if not whole:
        return said
    parts = (
        ("prompt_cache_hit_tokens", "from the cache"),
        ("prompt_cache_creation_tokens", "into the cache"),
        ("reasoning_tokens", "of reasoning"),
    )
    details = [f"{row[name]} {words}" for name, words in parts if row[name]]
    return f"{said} ({', '.join(details)})" if details else said


def local_time(iso: str | None) -> str:
    return "" if iso is None else datetime.fromisoformat(iso).astimezone().strftime("%m-%d %H:%M:%S")


def _json(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
