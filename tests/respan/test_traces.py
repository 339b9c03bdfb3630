"""Whatever ids spans name as their parents, all of them are in one tree, once."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.respan.traces import DEEPEST, Node, tree


def node(span_id: str | None, parent: str | None = None) -> Node:
    return Node(span_id, parent, {})


def drawn(node: Node | None) -> str:
    assert node is not None
    inner = " ".join(drawn(child) for child in node.children)
    return f"{node.span_id}({inner})" if inner else f"{node.span_id}"


IDS = st.sampled_from([*"abcdefgh", ""]) | st.none()


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=30), st.dictionaries(IDS.filter(bool), IDS.filter(bool), max_size=4))
def test_every_span_is_in_the_tree_once(spans: list[tuple[str | None, str | None]], aliases: dict[str, str]) -> None:
    nodes = [node(*span) for span in spans]
    root = tree(nodes, aliases)
    found, waiting = [], [root]
    while waiting:
        here = waiting.pop()
        assert here is not None
        found.append(id(here))
        waiting += here.children
    assert sorted(found) == sorted(map(id, nodes))


def test_no_spans_are_no_tree() -> None:
    assert tree([]) is None


def test_children_may_come_before_their_parents() -> None:
    assert drawn(tree([node("a"), node("c", "b"), node("b", "a")])) == "a(b(c))"


def test_one_root_is_displayed_the_first_and_the_others_below_it() -> None:
    assert drawn(tree([node("a"), node("b"), node("c", "b"), node("d", "nobody")])) == "a(b(c) d)"
    assert drawn(tree([node("b", "nobody"), node("c", "b"), node("d", "nobody")])) == "b(c d)"


def test_a_span_is_not_its_own_parent_and_circles_end() -> None:
    assert drawn(tree([node("a", "a")])) == "a"
    assert drawn(tree([node("a", "b"), node("b", "a")])) == "a(b)"
    assert drawn(tree([node("x"), node("d", "b"), node("b", "c"), node("c", "b")])) == "x(b(d c))"


def test_children_of_an_id_that_a_span_had_elsewhere_hang_on_it() -> None:
    nodes = [node("a"), node("call", "a"), node("inner", "beside"), node("server", "before")]
    assert drawn(tree(nodes, {"beside": "call", "before": "call"})) == "a(call(inner server))"


def test_a_span_that_is_its_own_alias_is_below_the_root() -> None:
    assert drawn(tree([node("a"), node("call", "beside")], {"beside": "call"})) == "a(call)"


def test_spans_of_one_id_are_all_shown() -> None:
    assert drawn(tree([node("a"), node("b", "a"), node("b", "a"), node("c", "b")])) == "a(b(c) b)"


def test_a_tree_is_no_deeper_than_json_can_be_and_loses_nothing() -> None:
    nodes = [node("0"), *(node(f"{place}", f"{place - 1}") for place in range(1, 5000))]
    root = tree(nodes)
    assert root is not None
    depth, here = 1, root
    while here.children:
        depth, count, here = depth + 1, len(here.children), here.children[0]
    assert (depth, count) == (DEEPEST + 1, 5000 - DEEPEST)

    def nested(node: Node) -> dict[str, object]:
        return {"id": node.span_id, "children": [nested(child) for child in node.children]}

    assert json.loads(json.dumps(nested(root)))["id"] == "0"


def test_another_root_is_among_the_children_of_the_first_by_time() -> None:
    begun = [("root", None, "10:00"), ("late", None, "15:00"), ("early", "root", "10:01"), ("latest", "root", "16:00")]
    nodes = [Node(span_id, parent, {"start_time": at}) for span_id, parent, at in begun]
    assert drawn(tree(nodes)) == "root(early late latest)"
