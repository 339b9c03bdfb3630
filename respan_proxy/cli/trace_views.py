"""Traces for a person: a table, and one laid out as a tree, as wide as the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from respan_proxy.cli.log_views import COLOURS, dollars, local_time, seconds, visible
from respan_proxy.respan.spans import GENERATIONS

# Heading, width, from the right? The name takes what is left.
_COLUMNS = (
    ("age", 8, False),
    ("id", 16, False),
    ("name", 0, False),
    ("spans", 6, True),
    ("calls", 6, True),
    ("tokens", 15, True),
    ("cost", 11, True),
    ("duration", 9, True),
    ("errors", 6, True),
    ("customer", 16, False),
)
NARROWEST_NAME = 16

# Right of the tree: duration, tokens, cost, each with a blank before it.
_FIGURES = (9, 14, 11)
NARROWEST_TREE = 24
NARROWEST_BAR, WIDEST_BAR = 6, 48


def table(rows: list[dict[str, Any]], out: TextIO, now: float) -> None:
    """One line a trace; `now` is seconds of the epoch."""
    console = Console(file=out, highlight=False, soft_wrap=True)
    if not rows:
        console.print("no traces (yet); --since all looks further back", style="dim")
        return
    taken = sum(width + 1 for _, width, _ in _COLUMNS)
    name = max(NARROWEST_NAME, console.width - taken)
    console.print(_line([heading for heading, _, _ in _COLUMNS], name), style="bold dim")
    for row in rows:
        console.print(_line(_cells(row, now), name), style="red" if row["error_count"] else "")


def _line(cells: list[str], name: int) -> Text:
    parts = []
    for cell, (_, width, right) in zip(cells, _COLUMNS, strict=True):
        cell, width = _fit(visible(cell).replace("\n", " ").replace("\t", " "), width or name), width or name
        parts.append(cell.rjust(width) if right else cell.ljust(width))
    return Text(" ".join(parts).rstrip())


def _cells(row: Mapping[str, Any], now: float) -> list[str]:
    tokens = f"{row['total_prompt_tokens']} > {row['total_completion_tokens']}" if row["total_tokens"] else ""
    return [
        _age(now - datetime.fromisoformat(row["end_time"]).timestamp()) if row["end_time"] else "",
        row["id"][:16],
        row["name"] or "",
        str(row["span_count"]),
        str(row["llm_call_count"] or ""),
        tokens,
        dollars(row["total_cost"]) if row["total_cost"] else "" if row["total_cost"] == 0 else "unknown",
        duration(row["duration"]),
        str(row["error_count"] or ""),
        row["customer_identifier"] or "",
    ]


def tree(trace: Mapping[str, Any], out: TextIO) -> None:
    """The trace's facts, and a line for each span: where it hangs, when it ran, how long, tokens and cost; what went wrong below it."""
    console = Console(file=out, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("trace ", "dim"), (visible(trace["id"]), "bold"), "  ", visible(trace["name"] or "")))
    for name, value in _facts(trace):
        console.print(Text.assemble((f"  {name:<9} ", "dim"), visible(value)))
    console.print()
    bar = min(WIDEST_BAR, (console.width - sum(_FIGURES) - NARROWEST_TREE) // 2)
    bar = bar if bar >= NARROWEST_BAR else 0
    width = max(NARROWEST_TREE, console.width - sum(_FIGURES) - bar - 1)
    begun, took = _epoch(trace["start_time"]) or 0.0, trace["duration"] or 0.0
    for guide, below, node in _walk(trace["span_tree"]):
        style = COLOURS.get(node["status"], "") if node["status"] in ("failed", "interrupted", "running", "warning") else ""
        label, kind = _label(node)
        said = _fit(f"{guide}{label}", width)
        line = Text.assemble((said[: len(guide)], "dim"), (said[len(guide) :], style or "bold"))
        line.append(_fit(f"  {kind}", width - len(said)) if kind and width - len(said) > len(kind) + 2 else "", style=style or "dim")
        line.pad_right(width - len(line))
        line.append(" " + _bar(node, begun, took, bar), style=style or ("cyan" if node["log_type"] in GENERATIONS else "blue"))
        figures = (duration(node["latency"]), _tokens(node), dollars(node["cost"]) if node["cost"] else "")
        line.append("".join(figure.rjust(size) for figure, size in zip(figures, _FIGURES, strict=True)), style=style)
        line.rstrip()
        console.print(line)
        if wrong := _wrong(node):
            console.print(Text.assemble((below, "dim"), (_fit(wrong, max(NARROWEST_TREE, console.width - len(below))), style or "red")))


def _facts(trace: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "when", f"{local_time(trace['start_time'])}, took {duration(trace['duration'])}"
    errors = f", {trace['error_count']} failed" if trace["error_count"] else ""
    yield "spans", f"{trace['span_count']}, {trace['llm_call_count']} of them calls of a model{errors}"
    if trace["total_tokens"]:
        yield "tokens", f"{trace['total_prompt_tokens']} > {trace['total_completion_tokens']}"
    unpriced = trace["unpriced_requests"]
    but = f" and {unpriced} of unknown price" if unpriced and trace["total_cost"] is not None else ""
    yield "cost", ("unknown" if trace["total_cost"] is None else dollars(trace["total_cost"])) + but
    for name, word in (
        ("customer_identifier", "customer"),
        ("thread_identifier", "thread"),
        ("session_identifier", "session"),
        ("trace_group_identifier", "group"),
        ("environment", "env"),
        ("service_name", "service"),
    ):
        if trace[name]:
            yield word, trace[name]
    if trace["is_public"]:
        yield "public", f"/api/local/traces/{trace['id']}/"


def _walk(nodes: list[dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each node in the order of reading, with the lines that lead to it and those that stand before what is said below it."""
    waiting = [("", "", node) for node in reversed(nodes)]
    while waiting:
        guide, below, node = waiting.pop()
        children = node["children"]
        yield guide, below + ("│  " if children else "   "), node
        last = len(children) - 1
        for place in range(last, -1, -1):
            end = place == last
            waiting.append((below + ("└─ " if end else "├─ "), below + ("   " if end else "│  "), children[place]))


def _label(node: Mapping[str, Any]) -> tuple[str, str]:
    """What a span is called, and what it is: a model's name says more than `chat`."""
    name = node["entity_name"] or node["span_name"] or node["log_type"] or "span"
    kind = node["model"] if node["log_type"] in GENERATIONS and node["model"] else node["log_type"]
    return _flat(name), "" if kind in (None, name) else _flat(kind)


def _bar(node: Mapping[str, Any], begun: float, took: float, width: int) -> str:
    """Where in the time of the whole trace a span ran."""
    start = _epoch(node["start_time"] or node["timestamp"])
    if not width or took <= 0 or start is None:
        return " " * width
    first = min(width - 1, max(0, int((start - begun) / took * width)))
    length = max(1, min(width - first, round((node["latency"] or 0) / took * width)))
    return (" " * first + "━" * length).ljust(width)


def _wrong(node: Mapping[str, Any]) -> str:
    if node["status"] not in ("failed", "interrupted"):
        return ""
    code = "" if node["status_code"] is None else f" {node['status_code']}"
    return _flat(f"{node['status']}{code}" + (f": {node['error_message']}" if node["error_message"] else ""))


def _tokens(node: Mapping[str, Any]) -> str:
    if node["log_type"] not in GENERATIONS or (node["prompt_tokens"] is None and node["completion_tokens"] is None):
        return ""
    return f"{'~' if node['usage_estimated'] else ''}{node['prompt_tokens'] or 0} > {node['completion_tokens'] or 0}"


def duration(value: float | None) -> str:
    """Seconds as `80 ms`, `3.20 s`, `12m 5s`, `1d 3h`: batches end days after they began."""
    return seconds(value) if value is None or value < 60 else _age(value)


def _age(value: float) -> str:
    left = max(0, round(value))
    parts: list[str] = []
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{letter}")
        if len(parts) == 2:
            break
    return " ".join(parts) or "now"


def _epoch(iso: str | None) -> float | None:
    return None if iso is None else datetime.fromisoformat(iso).timestamp()


def _flat(text: str) -> str:
    return " ".join(visible(text).split())


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
