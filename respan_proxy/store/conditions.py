"""Conditions -> SQL. Names of columns come from the column table alone, everything the reader wrote is a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from respan_proxy.respan.filters import Condition, Field, Operator, Query
from respan_proxy.respan.spans import GENERATIONS
from respan_proxy.respan.traces import DEEPEST

LLM = f"log.log_type IN ({', '.join(repr(name) for name in sorted(GENERATIONS))})"
# Whose tokens, cost and pace are summed: calls of a model, and whatever else went through the gateway and did something. The spans
# around them repeat what those used.
COUNTED = f"coalesce({LLM} OR (coalesce(log.log_method, '') = 'inference' AND log.log_type <> 'count_tokens'), 1)"


class Bound:
    """The parameters of a statement: `bound(value)` is the mark that stands for it, as often as it is needed."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def __call__(self, value: Any) -> str:
        self.values.append(value)
        return f"?{len(self.values)}"


# Of which workflow a line is a part: as was said, else that of the nearest span above which says one. Instrumentations of client
# libraries do not know, and a span above may come later: so this is looked up by whoever reads, over spans of the same key (a span of
# several tellings leads to the line of the call). As deep as trees are shown; a circle ends there too.
_WORKFLOW = (
    "CASE WHEN coalesce(log.span_workflow_name, '') <> '' OR log.span_parent_id IS NULL THEN log.span_workflow_name ELSE ("
    "WITH RECURSIVE up(parent, name, depth) AS (SELECT log.span_parent_id, NULL, 0"
    " UNION ALL SELECT above.span_parent_id, nullif(above.span_workflow_name, ''), depth + 1"
    " FROM up JOIN span ON span.trace_id = log.trace_unique_id AND span.span_id = up.parent JOIN log AS above USING (unique_id)"
    f" WHERE up.name IS NULL AND depth < {DEEPEST} AND above.organization_key_id IS log.organization_key_id)"
    " SELECT name FROM up WHERE name IS NOT NULL) END"
)
_VIRTUAL: Mapping[str, str] = {
    "is_root_span": "(log.span_parent_id IS NULL OR log.span_parent_id = '')",
    "fault_domain": (
        "CASE WHEN log.status IS NOT 'failed' THEN NULL"
        " WHEN log.outcome IN ('upstream_broke', 'unavailable') OR log.status_code >= 500 THEN 'provider'"
        " WHEN log.outcome IN ('client_left', 'rejected') OR log.status_code >= 400 THEN 'user' ELSE 'respan' END"
    ),
}

# {x} is the field, {v} the value. LIKE is not used: it ignores case, and % and _ mean something.
_TESTS: Mapping[Operator, str] = {
    "lt": "{x} < {v}",
    "lte": "{x} <= {v}",
    "gt": "{x} > {v}",
    "gte": "{x} >= {v}",
    "contains": "instr({x}, {v}) > 0",
    "icontains": "instr(lower({x}), lower({v})) > 0",
    "startswith": "substr({x}, 1, length({v})) = {v}",
    "endswith": "substr({x}, length({x}) - length({v}) + 1) = {v}",
    "iexact": "lower({x}) = lower({v})",
}
_NEGATED: Mapping[Operator, Operator] = {
    "not_contains": "contains",
    "not_startswith": "startswith",
    "not_endswith": "endswith",
}


# What holds of a value that is taken from some line holds of that line.
NARROWING: Final = frozenset({"in", "contains", "icontains", "startswith", "endswith", "iexact"})

# The key whose rows a reader sees, or several; None: all rows.
Sees = str | tuple[str, ...] | None


def where(query: Query, sees: Sees, bound: Bound) -> str:
    every = [scope(sees, bound), *(meets(condition, bound) for condition in query.every)]
    some = [meets(condition, bound) for condition in query.some]
    return " AND ".join([*every, f"({' OR '.join(some)})"] if some else every)


def scope(sees: Sees, bound: Bound) -> str:
    match sees:
        case None:
            return "1"
        case str():
            return f"log.organization_key_id = {bound(sees)}"
        case _:
            return f"log.organization_key_id IN ({', '.join(map(bound, sees))})"


def meets(condition: Condition, bound: Bound, x: str | None = None) -> str:
    """A NULL is no value: it meets `empty` and everything that says "not". `x` is the SQL of what is tested, when it is no column."""
    operator = condition.operator
    if x is None and condition.field.name == "span_workflow_name" and operator in NARROWING:
        # Looking up costs 10 us a line: only where some line of its trace says it, or the line itself.
        said, above = (meets(condition, bound, f"{table}.span_workflow_name") for table in ("log", "above"))
        traces = f"SELECT span.trace_id FROM log AS above JOIN span USING (unique_id) WHERE {above}"
        return f"(({said} OR log.trace_unique_id IN ({traces})) AND {meets(condition, bound, _WORKFLOW)})"
    x = x or expression(condition.field, bound, numeric=operator in ("lt", "lte", "gt", "gte"))
    marks = [bound(value) for value in condition.values]
    match operator:
        case "empty":
            return f"coalesce({x}, '') = ''"
        case "not_empty":
            return f"coalesce({x}, '') <> ''"
        case "in":
            return f"{x} IN ({', '.join(marks)})"
        case "not_in":
            return f"coalesce({x} NOT IN ({', '.join(marks)}), 1)"
    form = _TESTS[_NEGATED.get(operator, operator)]
    test = f"({' OR '.join(form.format(x=x, v=mark) for mark in marks)})"
    return f"coalesce(NOT {test}, 1)" if operator in _NEGATED else test


def expression(field: Field, bound: Bound, *, numeric: bool = False) -> str:
    if field.key is None:
        return column(field.name)
    path = bound('$."' + field.key.replace('"', "") + '"')
    value = f"json_extract(log.{field.name}, {path})"
    if numeric:
        return f"CAST({value} AS REAL)"
    return f"CASE json_type(log.{field.name}, {path}) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST({value} AS TEXT) END"


def column(name: str) -> str:
    """What a reader sees in the column of a line."""
    return _WORKFLOW if name == "span_workflow_name" else _VIRTUAL.get(name) or f"log.{name}"
