"""A trace as Respan's API shows it: a line of a list, and whole with its tree of spans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

import orjson

from respan_proxy.respan.spans import NANO, iso_time
from respan_proxy.respan.traces import Node, tree
from respan_proxy.store.bodies import unpack
from respan_proxy.store.span_content import said
from respan_proxy.store.traces import Line, Opened, Trace
from respan_proxy.store.views import content, spoken
from respan_proxy.telemetry.reserved import public_each, public_metadata

# Who all these traces belong to, where Respan's cloud names an organization: public links are /api/local/traces/{id}/.
ORGANIZATION: Final = "local"

# Of a root's input and output in a list.
LIST_CHARS: Final = 2000
# All texts of a tree together; beyond it the longest are cut, to one length. 16 MB are read and written as JSON in some 50 ms.
TREE_CHARS: Final = 16 * 1024 * 1024


def in_list(trace: Trace) -> dict[str, Any]:
    """A trace as a line of a list. Long texts are cut, with a mark."""
    texts = content(trace.root.row, trace.root.kept, trace.root.said)
    shown = {name: _cut(texts[name], LIST_CHARS) for name in ("input", "output")}
    return {**_columns(trace.sums), **shown, "metadata": public_metadata(trace.root.row["metadata"])}


def whole(opened: Opened) -> dict[str, Any]:
    """A trace with all its spans in one tree."""
    nodes = [_node(line) for line in opened.lines]
    _fit(nodes, TREE_CHARS)
    root = tree(nodes, opened.aliases)
    first = nodes[0].shown
    shown = {name: first[name] for name in ("input", "output", "metadata")}
    return {**_columns(opened.sums), **shown, "is_public": opened.is_public, "span_tree": [] if root is None else [_nested(root)]}


def _columns(sums: dict[str, Any]) -> dict[str, Any]:
    cost = sums["total_cost"]
    return {
        "id": sums["trace_unique_id"],
        **{name: value for name, value in sums.items() if name != "root_seq"},
        "total_tokens": sums["total_request_tokens"],
        "total_cost": None if cost is None else cost / NANO,
        "start_time": None if sums["start_time"] is None else iso_time(sums["start_time"]),
        "end_time": None if sums["end_time"] is None else iso_time(sums["end_time"]),
        "unique_organization_id": ORGANIZATION,
        "organization_id": ORGANIZATION,
        "organization_name": None,
        "storage_object_key": None,
    }


def _node(line: Line) -> Node:
    row = line.row
    asked, answered = _texts_of(line)
    links = row["span_links"]
    row |= {
        "id": row["unique_id"],
        "end_time": row["timestamp"],
        "metadata": public_metadata(row["metadata"]),
        "span_links": None if links is None else orjson.dumps(public_each(links)).decode(),
        "organization_id": ORGANIZATION,
        "storage_object_key": None,
        "input": asked,
        "output": answered,
        "cut": ["input", "output"] if line.is_left else [],
    }
    return Node(row["span_unique_id"], row["span_parent_id"], row)


def _texts_of(line: Line) -> tuple[str | None, str | None]:
    with suppress(ValueError):  # in a form of a newer program, or damaged: the columns are still worth showing
        if line.body is not None:
            fields = content(line.row, unpack(*line.body), None)
            return fields["input"], fields["output"]
        if line.span is not None:
            return spoken(said(*line.span))
    return None, None


def _nested(node: Node, workflow: str | None = None) -> dict[str, Any]:
    """A span with those below it. What does not say of which workflow it is a part is of that of the nearest one above which does:
    instrumentations of client libraries do not know."""
    # As deep as `respan.traces.DEEPEST` at the most.
    shown = node.shown
    shown["span_workflow_name"] = workflow = shown["span_workflow_name"] or workflow
    shown["children"] = [_nested(child, workflow) for child in node.children]
    return shown


def _fit(nodes: Iterable[Node], most: int) -> None:
    """Cut the longest texts so that all of them together have `most` characters."""
    sizes = sorted(len(text) for _, _, text in _texts(nodes))
    total, longest = sum(sizes), None
    if total <= most:
        return
    spent = 0
    for place, size in enumerate(sizes):
        longest = (most - spent) // (len(sizes) - place)
        if size > longest:
            break
        spent += size
    assert longest is not None
    for node, name, text in _texts(nodes):
        if len(text) > longest:
            node.shown[name] = _cut(text, longest)
            node.shown["cut"].append(name)


def _texts(nodes: Iterable[Node]) -> Iterator[tuple[Node, str, str]]:
    return ((node, name, text) for node in nodes for name in ("input", "output") if (text := node.shown[name]))


def _cut(text: str | None, longest: int) -> str | None:
    if text is None or len(text) <= longest:
        return text
    return f"{text[:longest]} ... {len(text) - longest} more characters, see the log"
