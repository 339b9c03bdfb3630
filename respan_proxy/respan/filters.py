"""What a reader asks of the remembered calls: filters, operators, sorting, pages and the window of time, checked against the columns.

Two carriers, as Respan's API has them: a JSON body (`{"filters": {field: {"operator": op, "value": [...]}}}`) and the URL
(`field=value`, `field[value]`, `field[operator]`, `field[connector]`). Source: respan-api 0.1.49 `spans`, docs "logs list endpoint".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any, Final, Literal

from respan_proxy.errors import RequestRejected
from respan_proxy.respan.spans import BY_NAME, COLUMNS, NANO, ColumnKind
from respan_proxy.wire.trace_context import as_id

Operator = Literal[
    "in",
    "not_in",
    "lt",
    "lte",
    "gt",
    "gte",
    "contains",
    "not_contains",
    "icontains",
    "startswith",
    "not_startswith",
    "endswith",
    "not_endswith",
    "iexact",
    "empty",
    "not_empty",
]

# How callers write operators: Respan's names (older and newer docs), and what people try.
OPERATORS: Final[Mapping[str, Operator]] = {
    "": "in",
    "in": "in",
    "eq": "in",
    "=": "in",
    "exact": "in",
    "not": "not_in",
    "not_in": "not_in",
    "lt": "lt",
    "lte": "lte",
    "gt": "gt",
    "gte": "gte",
    "contains": "contains",
    "not_contains": "not_contains",
    "icontains": "icontains",
    "startswith": "startswith",
    "not_startswith": "not_startswith",
    "endswith": "endswith",
    "not_endswith": "not_endswith",
    "iexact": "iexact",
    "empty": "empty",
    "not_empty": "not_empty",
}
TEXT_OPERATORS: Final = frozenset(
    {"contains", "not_contains", "icontains", "startswith", "not_startswith", "endswith", "not_endswith", "iexact"}
)

ALIASES: Final[Mapping[str, str]] = {
    "id": "unique_id",
    "log_id": "unique_id",
    "trace_id": "trace_unique_id",
    "span_id": "span_unique_id",
    "total_cost": "cost",
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "total_tokens": "total_request_tokens",
    "generation_time": "latency",
    "ttft": "time_to_first_token",
    "error_class": "error_code",
}

# Fields that no column holds; the store knows what each means in SQL.
VIRTUAL: Final[Mapping[str, ColumnKind]] = {"is_root_span": "boolean", "fault_domain": "text"}

FIELDS: Final[Mapping[str, ColumnKind]] = {
    **{column.name: column.kind for column in COLUMNS if column.filterable and column.public},
    **{alias: BY_NAME[name].kind for alias, name in ALIASES.items()},
    **VIRTUAL,
}

# Longest first page of Respan's API; its spans default to 100.
MAX_PAGE_SIZE: Final = 1000
PAGE_SIZE: Final = 100
# Respan's cloud looks back one hour; whoever reads local logs looks back further.
WINDOW_S: Final = 86400.0

# What the request says about the list as a whole; everything else in a URL is a filter.
_PLAIN: Final = frozenset(
    {"page", "page_size", "sort_by", "start_time", "end_time", "is_test", "all_envs", "fetch_filters", "include_fields", "filters"}
)
# The caller's credential may stand in the URL, as Google's clients put it there.
_NOT_OURS: Final = frozenset({"key"})
# Members of a JSON body that are filters without being written under `filters`.
_FLAT: Final = frozenset({"environment", "log_type"})


@dataclass(frozen=True, slots=True)
class Field:
    """A column or a virtual field; with `key`, one key of the JSON column `name` (its values compared as text, or as numbers)."""

    name: str
    kind: ColumnKind
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """What the things of a list are filtered and sorted by, how far back a request looks that says nothing of time (None: all the
    way), and how many make a page.

    `keyed` are the JSON columns whose keys are fields too; with them a URL parameter of an unknown name is a key of metadata.
    `sorted_by` names the fields that give an order, when not all do.
    """

    kinds: Mapping[str, ColumnKind]
    aliases: Mapping[str, str] = field(default_factory=dict)
    keyed: tuple[str, ...] = ()
    sorted_by: frozenset[str] | None = None
    window_s: float | None = None
    page_size: int = PAGE_SIZE


CALLS: Final = Listed(FIELDS, ALIASES, keyed=("metadata", "properties"), window_s=WINDOW_S)


@dataclass(frozen=True, slots=True)
class Condition:
    """Several values are alternatives. They are in the column's own units: seconds of the epoch, nano-dollars, 0 and 1."""

    field: Field
    operator: Operator
    values: tuple[str | int | float, ...] = ()


_TIME: Final = Field("timestamp", "time")


@dataclass(frozen=True, slots=True)
class Query:
    """Rows that meet every condition of `every` and, when there are any, one of `some`, in the order of `sort`."""

    every: tuple[Condition, ...] = ()
    some: tuple[Condition, ...] = ()
    sort: Field = _TIME
    descending: bool = True
    page: int = 1
    page_size: int = PAGE_SIZE
    include_fields: frozenset[str] = frozenset()


def read(
    body: Mapping[str, Any],
    parameters: Iterable[tuple[str, str]],
    now: float,
    listed: Listed = CALLS,
) -> Query:
    """A request's body and URL parameters as one query; `now` is seconds of the epoch. `RequestRejected` names what is wrong.

    Where body and URL say the same thing the URL wins.
    """
    plain: dict[str, Any] = {name: value for name, value in body.items() if name in _PLAIN}
    flat: dict[str, Any] = {name: value for name, value in body.items() if name in _FLAT}
    if unknown := next((name for name in body if name not in _PLAIN and name not in _FLAT), None):
        raise RequestRejected(
            f'unknown member {unknown!r} of the body; filters go under "filters"{_near(unknown, {*_PLAIN, *_FLAT})}', param=unknown
        )
    quick: dict[str, dict[str, Any]] = {}
    for name, value in parameters:
        if name in _PLAIN:
            plain[name] = value
        elif name not in _NOT_OURS:
            _quick(quick, name, value)

    filters = plain.get("filters") or {}
    if not isinstance(filters, Mapping):
        raise RequestRejected(f"filters: expected an object of fields, found {_shown(filters)}", param="filters")
    every: list[Condition] = []
    some: list[Condition] = []
    for source, of in ((filters, _field), (flat, _field), (quick, _quick_field)):
        for name, said in source.items():
            for written in _written(name, said):
                (some if _joins_by_or(name, written) else every).append(_condition(of(name, listed), written))
    every += _environment(plain)
    every += _window(plain, (*every, *some), now, listed.window_s)
    sort, descending = _sort(plain.get("sort_by"), listed)
    return Query(
        every=tuple(every),
        some=tuple(some),
        sort=sort,
        descending=descending,
        page=_count(plain, "page", 1),
        page_size=min(_count(plain, "page_size", listed.page_size), MAX_PAGE_SIZE),
        include_fields=_names(plain.get("include_fields")),
    )


def equals(name: str, value: str) -> Condition:
    """The condition that a field has one value, for callers who write no JSON."""
    return _condition(_field(name), {"operator": "", "value": value})


def time_of(value: Any, name: str) -> float:
    """Seconds of the epoch, from a number or an ISO 8601 text (UTC when it names no zone)."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        moment = datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise RequestRejected(
            f"{name}: expected an ISO 8601 time such as 2026-11-21T09:30:00Z, found {_shown(value)}", param=name
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _field(name: str, listed: Listed = CALLS) -> Field:
    for column in listed.keyed:
        if name.startswith(f"{column}__") and len(name) > len(column) + 2:
            return Field(column, "json", name.removeprefix(f"{column}__"))
    if (kind := listed.kinds.get(name)) is None:
        keys = "; keys of metadata are written metadata__KEY" if listed.keyed else ""
        raise RequestRejected(f"unknown filter field {name!r}{keys}{_near(name, listed.kinds)}", param=name)
    return Field(listed.aliases.get(name, name), kind)


def _quick_field(name: str, listed: Listed) -> Field:
    return _field(name if name in listed.kinds or "__" in name or not listed.keyed else f"metadata__{name}", listed)


def _quick(found: dict[str, dict[str, Any]], name: str, value: str) -> None:
    """One URL parameter into the condition it belongs to; a repeated name adds alternatives."""
    field, _, rest = name.partition("[")
    part = rest.removesuffix("]")
    if part in ("", "value"):
        found.setdefault(field, {}).setdefault("value", []).append(value)
    elif part in ("operator", "connector"):
        found.setdefault(field, {})[part] = value
    else:
        raise RequestRejected(f"{name}: expected {field}[value], {field}[operator] or {field}[connector]", param=field)


def _written(name: str, said: Any) -> Sequence[Mapping[str, Any]]:
    """The conditions that are written for a field: one, several, or bare values."""
    match said:
        case Mapping():
            return [said]
        case list() if said and all(isinstance(item, Mapping) for item in said):
            return said
        case _:
            return [{"operator": "", "value": said}]


def _joins_by_or(name: str, written: Mapping[str, Any]) -> bool:
    connector = written.get("connector") or "AND"
    if str(connector).upper() not in ("AND", "OR"):
        raise RequestRejected(f"{name}: connector is AND or OR, found {_shown(connector)}", param=name)
    return str(connector).upper() == "OR"


def _condition(field: Field, written: Mapping[str, Any]) -> Condition:
    name = field.name if field.key is None else f"{field.name}__{field.key}"
    said = written.get("operator", "")
    value = written.get("value")
    values = value if isinstance(value, list) else [] if value is None else [value]
    if said == "isnull":
        wanted = all(_boolean(item, name) for item in values)
        return Condition(field, "empty" if wanted else "not_empty")
    operator = OPERATORS.get(said or "") if isinstance(said, str | None) else None
    if operator is None:
        raise RequestRejected(f"{name}: unknown operator {_shown(said)}{_near(str(said), OPERATORS)}", param=name)
    if operator in ("empty", "not_empty"):
        return Condition(field, operator)
    if operator in TEXT_OPERATORS and field.kind not in ("text", "json"):
        raise RequestRejected(f"{name}: {operator} compares text, and this is {_KIND_WORDS[field.kind]}", param=name)
    if operator not in ("in", "not_in") and not values:
        raise RequestRejected(f"{name}: {operator} needs a value", param=name)
    return Condition(field, operator, tuple(_value(field, item, name, operator) for item in values))


_KIND_WORDS: Mapping[ColumnKind, str] = {
    "text": "text",
    "integer": "a whole number",
    "real": "a number",
    "boolean": "true or false",
    "time": "a time",
    "money": "an amount in US dollars",
    "json": "text or a number",
}


_IDS: Final = frozenset({"unique_id", "trace_unique_id", "span_unique_id", "span_parent_id", "root_span_unique_id"})


def _value(field: Field, value: Any, name: str, operator: Operator) -> str | int | float:
    try:
        match field.kind:
            case "boolean":
                return _boolean(value, name)
            case "time":
                return time_of(value, name)
            case "integer" | "real":
                if isinstance(value, bool):
                    raise ValueError
                number = float(value)
                return int(number) if number.is_integer() and abs(number) < 2**63 else number
            case "money":
                nano = int(Decimal(str(value)) * NANO)
                if abs(nano) >= 2**63:
                    raise ValueError
                return nano
            case "json" if operator in ("lt", "lte", "gt", "gte"):
                return float(value)
            case _ if isinstance(value, str):
                return as_id(value) if field.name in _IDS and operator in ("in", "not_in") else value
            case _ if isinstance(value, bool):
                return "true" if value else "false"
            case _ if isinstance(value, int | float):
                return str(value)
    except (ValueError, TypeError, InvalidOperation, OverflowError):
        pass
    raise RequestRejected(f"{name}: expected {_KIND_WORDS[field.kind]}, found {_shown(value)}", param=name)


def _boolean(value: Any, name: str) -> int:
    match value.lower() if isinstance(value, str) else value:
        case True | 1 | "true" | "1" | "yes":
            return 1
        case False | 0 | "false" | "0" | "no":
            return 0
    raise RequestRejected(f"{name}: expected true or false, found {_shown(value)}", param=name)


def _environment(plain: Mapping[str, Any]) -> list[Condition]:
    if "is_test" not in plain or ("all_envs" in plain and _boolean(plain["all_envs"], "all_envs")):
        return []
    operator: Operator = "in" if _boolean(plain["is_test"], "is_test") else "not_in"
    return [Condition(Field("environment", "text"), operator, ("test",))]


def _window(plain: Mapping[str, Any], conditions: Sequence[Condition], now: float, window_s: float | None) -> list[Condition]:
    """From `start_time` to `end_time`; the last 24 hours when neither is said and no filter is about time."""
    start, end = (None if (value := plain.get(name)) in (None, "") else time_of(value, name) for name in ("start_time", "end_time"))
    if start is None and window_s is not None and not any(condition.field.kind == "time" for condition in conditions):
        start = (now if end is None else end) - window_s
    window = []
    if start is not None:
        window.append(Condition(_TIME, "gte", (start,)))
    if end is not None:
        window.append(Condition(_TIME, "lte", (end,)))
    return window


def _sort(said: Any, listed: Listed) -> tuple[Field, bool]:
    if not said:
        return _TIME, True
    name = str(said).removeprefix("-")
    if listed.sorted_by is not None and name not in listed.sorted_by:
        raise RequestRejected(f"sort_by: expected one of {', '.join(sorted(listed.sorted_by))}, found {_shown(said)}", param="sort_by")
    # Ids grow with time: Respan sorts by `id` and means this.
    return _field("timestamp" if name == "id" else name, listed), str(said).startswith("-")


def _count(plain: Mapping[str, Any], name: str, default: int) -> int:
    value = plain.get(name, default)
    try:
        number = 0 if isinstance(value, bool | float) else int(value)
    except (TypeError, ValueError):
        number = 0
    if not 1 <= number < 2**31:
        raise RequestRejected(f"{name}: expected a whole number from 1, found {_shown(value)}", param=name)
    return number


def _names(said: Any) -> frozenset[str]:
    items = said.split(",") if isinstance(said, str) else said if isinstance(said, list) else []
    return frozenset(str(item).strip() for item in items)


def _near(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
