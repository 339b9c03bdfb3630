"""A trace: what it is filtered and sorted by, and how its spans become one tree.

Source: respan-api 0.1.49 `traces`, and the pages about traces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from respan_proxy.respan.filters import ALIASES, FIELDS, WINDOW_S, Listed
from respan_proxy.respan.spans import ColumnKind

# Of the trace as a whole; every other field is one of its spans, and the trace is found when any of them has it.
OWN: Final[Mapping[str, ColumnKind]] = {
    "trace_unique_id": "text",
    "root_span_unique_id": "text",
    "name": "text",
    "customer_identifier": "text",
    "environment": "text",
    "organization_key_id": "text",
    "trace_group_identifier": "text",
    "session_identifier": "text",
    "thread_identifier": "text",
    "group_identifier": "text",
    "start_time": "time",
    "end_time": "time",
    "duration": "real",
    "span_count": "integer",
    "llm_call_count": "integer",
    "error_count": "integer",
    "total_cost": "money",
    "total_prompt_tokens": "integer",
    "total_completion_tokens": "integer",
    "total_request_tokens": "integer",
}
_ALIASES: Final = {
    **{alias: name for alias, name in ALIASES.items() if alias not in OWN},
    "id": "trace_unique_id",
    "total_tokens": "total_request_tokens",
}
# `timestamp` is of a span where it filters (the window of time), and where it sorts the end of the trace.
TRACES: Final = Listed(
    kinds={**FIELDS, **OWN},
    aliases=_ALIASES,
    keyed=("metadata", "properties"),
    sorted_by=frozenset({*OWN, "id", "total_tokens", "timestamp"}),
    window_s=WINDOW_S,
    page_size=50,
)

# JSON's writers and readers follow a depth of some hundred only (orjson 254, and every level is an object and a list). Spans further
# down are shown side by side in the last level; `span_parent_id` says where they belong.
DEEPEST: Final = 100


@dataclass(slots=True)
class Node:
    """One span in its place. `parent` is the id it was sent with, `shown` is what the tree says of it."""

    span_id: str | None
    parent: str | None
    shown: dict[str, Any]
    children: list[Node] = field(default_factory=list)


def tree(nodes: Sequence[Node], aliases: Mapping[str, str] | None = None) -> Node | None:
    """The root, with all the others below it; None when there are no nodes. `nodes` are in the order of the trace (roots first, then by
    time), which is the order of children too.

    `aliases` are ids that a span had elsewhere, by the id that it has here. A node whose parent is unknown, is itself, or is below it
    would be a root of its own: there is one, the first, and the others are shown below it, among its children by time.
    """
    if not nodes:
        return None
    known: dict[str, int] = {}
    for place, node in enumerate(nodes):
        if node.span_id:
            known.setdefault(node.span_id, place)
    above = [_parent(place, node, known, aliases or {}) for place, node in enumerate(nodes)]
    _cut_circles(above)
    root = above.index(None)
    for place, parent in enumerate(above):
        if place != root:
            nodes[root if parent is None else parent].children.append(nodes[place])
    nodes[root].children.sort(key=_began)
    _flatten(nodes[root])
    return nodes[root]


def _began(node: Node) -> str:
    return node.shown.get("start_time") or ""


def _parent(place: int, node: Node, known: Mapping[str, int], aliases: Mapping[str, str]) -> int | None:
    if not node.parent:
        return None
    found = known.get(node.parent)
    if found is None:
        found = known.get(aliases.get(node.parent, ""))
    return None if found == place else found


def _cut_circles(above: list[int | None]) -> None:
    """Follow each node upwards, every step once. Of nodes that are above each other in a circle the first one has no parent."""
    settled: set[int] = set()
    for start in range(len(above)):
        way: set[int] = set()
        here: int | None = start
        while here is not None and here not in settled and here not in way:
            way.add(here)
            here = above[here]
        if here in way:
            circle, step = {here}, above[here]
            while step is not None and step != here:
                circle.add(step)
                step = above[step]
            above[min(circle)] = None
        settled |= way


def _flatten(root: Node) -> None:
    level = [root]
    for _ in range(DEEPEST - 1):
        level = [child for node in level for child in node.children]
    for node in level:
        below: list[Node] = []
        waiting = node.children
        while waiting:
            below += waiting
            waiting = [child for one in waiting for child in one.children]
        for child in below:
            child.children = []
        node.children = below
