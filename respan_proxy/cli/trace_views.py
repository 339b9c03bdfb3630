"""Traces for a person: a table, and one laid out as a tree, as wide as the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from respan_proxy.cli.log_views import local_time
from respan_proxy.cli.terminal import COLOURS, Column, Columns, dollars, fit, seconds
from respan_proxy.cli.writing import flat
from respan_proxy.respan.spans import GENERATIONS

_COLUMNS = (
    Column("age", 8, 8, 2),
    Column("id", 16, 16, 0),
    Column("name", 12, None, 1),
    Column("spans", 6, 6, 7, is_number=True),
    Column("calls", 6, 6, 8, is_number=True),
    Column("tokens", 13, 15, 6, is_number=True),
    Column("cost", 11, 11, 3, is_number=True),
    Column("duration", 9, 9, 4, is_number=True),
    Column("errors", 6, 6, 5, is_number=True),
    Column("customer", 8, 16, 9),
)

# Right of the tree: what it says, and the cells that takes with a blank before it. The last ones leave when there is no room.
_FIGURES = (("duration", 9), ("cost", 11), ("tokens", 14))
NARROWEST_TREE = 24
NARROWEST_BAR, WIDEST_BAR = 6, 48


def table(rows: list[dict[str, Any]], out: TextIO, now: float) -> None:
    """One line a trace; `now` is seconds of the epoch."""
    console = Console(file=out, highlight=False, soft_wrap=True)
    if not rows:
        console.print("no traces (yet); --since all looks further back", style="dim")
        return
    columns = Columns(_COLUMNS, console.width)
    console.print(columns.heading(), style="bold dim")
    for row in rows:
        console.print(columns.line(_cells(row, now)), style="red" if row["error_count"] else "")


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
    console.print(Text.assemble(("trace ", "dim"), (flat(trace["id"]), "bold"), "  ", flat(trace["name"] or "")))
    for name, value in _facts(trace):
        console.print(Text.assemble((f"  {name:<9} ", "dim"), flat(value)))
    console.print()
    figures = _figures(console.width)
    right = sum(figures.values())
    bar = min(WIDEST_BAR, (console.width - right - NARROWEST_TREE) // 2)
    bar = bar if bar >= NARROWEST_BAR else 0
    width = max(NARROWEST_TREE, console.width - right - (bar + 1 if bar else 0))
    begun, took = _epoch(trace["start_time"]) or 0.0, trace["duration"] or 0.0
    for guide, below, node in _walk(trace["span_tree"]):
        style = COLOURS.get(node["status"], "") if node["status"] in ("failed", "interrupted", "running", "warning") else ""
        label, kind = _label(node)
        guide = _near(guide, width)
        label = fit(label, width - len(guide))
        line = Text.assemble((guide, "dim"), (label, style or "bold"))
        line.append(fit(f"  {kind}", width - line.cell_len) if kind and width - line.cell_len > 4 else "", style=style or "dim")
        line.append(" " * (width - line.cell_len))
        if bar:
            line.append(" " + _bar(node, begun, took, bar), style=style or ("cyan" if node["log_type"] in GENERATIONS else "blue"))
        said = {"duration": duration(node["latency"]), "cost": dollars(node["cost"]) if node["cost"] else "", "tokens": _tokens(node)}
        line.append("".join(said[name].rjust(size) for name, size in figures.items()), style=style)
        line.rstrip()
        console.print(line)
        if wrong := _wrong(node):
            below = _near(below, width)
            console.print(Text.assemble((below, "dim"), (fit(wrong, max(NARROWEST_TREE, console.width) - len(below)), style or "red")))


def _figures(width: int) -> dict[str, int]:
    """Those that have room beside the tree, in the order in which they are shown."""
    chosen = list(_FIGURES)
    while len(chosen) > 1 and NARROWEST_TREE + sum(size for _, size in chosen) > width:
        chosen.pop()
    return dict(sorted(chosen, key=lambda figure: ("duration", "tokens", "cost").index(figure[0])))


def _near(guide: str, width: int) -> str:
    """The lines that lead to a span; of one that is far down only the last ones, so that its name has half of the room."""
    most = width // 2
    return guide if len(guide) <= most else "…" + guide[len(guide) - most + 1 :]


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
    return flat(name), "" if kind in (None, name) else flat(kind)


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
    return flat(f"{node['status']}{code}" + (f": {node['error_message']}" if node["error_message"] else ""))


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
