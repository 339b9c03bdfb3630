"""One remembered call: `Row` (Respan's vocabulary, one attribute per column), its `Content`, and the column table read off it.

The fields of `Row` are the only list of columns there is: the database's schema, its insertion, the filters of the read API
and the shape of an answer all come from `COLUMNS`. A new column is one line here.
Source of the names: Respan's span object (respan-api 0.1.49) and logging API; the last group is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import orjson

ColumnKind = Literal["text", "integer", "real", "boolean", "time", "money", "json"]
Status = Literal["success", "warning", "failed", "pending", "running", "interrupted"]

NANO = 1_000_000_000

# Calls of a model: tokens and cost of a trace are summed over these lines alone. Whoever runs an agent repeats their sums on the
# spans around them (openai-agents does, on turns and workflows).
GENERATIONS: Final = frozenset({"chat", "completion", "text", "response", "generation", "embedding", "transcription", "speech"})

CUSTOMER: Final = ("customer_identifier", "customer_email", "customer_name")
IDENTIFIERS: Final = (
    *CUSTOMER,
    "thread_identifier",
    "custom_identifier",
    "group_identifier",
    "session_identifier",
    "trace_group_identifier",
    "evaluation_identifier",
)
"""Whom and what a line is about, in the caller's own names: a request says it, a span may, and anybody may say it later."""

# Beside its bytes a chunk is a tuple, a float and the head of a bytes object.
CHUNK_BYTES = 56 + 24 + 33

# Marks on the attributes of `Row`, where the type does not say enough.
EPOCH: Final = "time"
NANO_USD: Final = "money"
CONTENT: Final = "content"
PRIVATE: Final = "private"

SQL_TYPES: dict[ColumnKind, str] = {
    "text": "TEXT",
    "integer": "INTEGER",
    "real": "REAL",
    "boolean": "INTEGER",
    "time": "REAL",
    "money": "INTEGER",
    "json": "TEXT",
}


@dataclass(frozen=True, slots=True)
class Column:
    """`time` is seconds of the epoch, `money` nano-dollars, `json` any value orjson can write. `content` may quote the conversation."""

    name: str
    kind: ColumnKind
    public: bool = True
    content: bool = False

    @property
    def filterable(self) -> bool:
        return self.kind != "json"

    @property
    def sql(self) -> str:
        return f"{self.name} {SQL_TYPES[self.kind]}"


@dataclass(slots=True)
class Row:
    """What is remembered of one call, or of a span that an app exported. NULL means unknown or not said, never zero.

    `cost` is in nano-dollars, durations in seconds. `start_time` and `timestamp` (the end; the start while it runs): seconds of the epoch.
    `span_name` is as it was sent, `entity_name` what people call it (exporters rewrite names to `workflow`, `llm.MODEL`).
    """

    unique_id: str
    trace_unique_id: str | None = None
    span_unique_id: str | None = None
    span_parent_id: str | None = None
    span_name: str | None = None
    entity_name: str | None = None
    span_links: list[dict[str, Any]] | None = None
    span_workflow_name: str | None = None
    span_path: str | None = None
    trace_name: str | None = None
    timestamp: Annotated[float | None, EPOCH] = None
    start_time: Annotated[float | None, EPOCH] = None

    log_type: str | None = None
    log_method: str | None = None
    status: Status = "running"
    status_code: int | None = None
    error_code: str | None = None
    error_message: Annotated[str | None, CONTENT] = None
    warnings: str | None = None

    model: str | None = None
    provider_id: str | None = None
    deployment_name: str | None = None
    load_balance_group_id: str | None = None
    environment: str | None = None
    environment_tag: str | None = None
    service_name: str | None = None
    organization_key_id: str | None = None
    organization_key_name: str | None = None
    used_custom_credential: bool | None = None

    customer_identifier: str | None = None
    customer_email: str | None = None
    customer_name: str | None = None
    thread_identifier: str | None = None
    custom_identifier: str | None = None
    group_identifier: str | None = None
    session_identifier: str | None = None
    trace_group_identifier: str | None = None
    evaluation_identifier: str | None = None
    metadata: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None
    note: str | None = None
    category: str | None = None
    positive_feedback: bool | None = None

    prompt_id: str | None = None
    prompt_name: str | None = None
    prompt_version_number: int | None = None
    variables: Annotated[dict[str, Any] | None, CONTENT] = None

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_request_tokens: int | None = None
    prompt_cache_hit_tokens: int | None = None
    prompt_cache_creation_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: Annotated[int | None, NANO_USD] = None
    cost_source: str | None = None

    latency: float | None = None
    time_to_first_token: float | None = None
    tokens_per_second: float | None = None
    routing_time: float | None = None

    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    response_format: Annotated[Any, CONTENT] = None
    has_tool_calls: bool | None = None
    finish_reason: str | None = None
    cache_bit: bool | None = None
    cache_key: str | None = None
    saved_cost: Annotated[int | None, NANO_USD] = None

    request_model: str | None = None
    endpoint: str | None = None
    dialect: str | None = None
    provider_dialect: str | None = None
    path: str | None = None
    outcome: str | None = None
    attempts: list[dict[str, Any]] | None = None
    response_id: str | None = None
    upstream_request_id: str | None = None
    instance_id: Annotated[str | None, PRIVATE] = None
    usage_estimated: bool | None = None
    simulated: bool | None = None
    body_bytes: int | None = None
    answer_bytes: int | None = None
    content_cut: bool | None = None
    bodies_dropped: bool | None = None
    disable_log: bool | None = None


_KINDS: dict[object, ColumnKind] = {str: "text", Status: "text", int: "integer", float: "real", bool: "boolean"}


def _column(name: str, hint: Any) -> Column:
    """The column that an attribute of `Row` declares: its kind is its type's, unless a mark says more."""
    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    plain = get_args(hint)[0] if marks else hint
    types = [kind for kind in get_args(plain) if kind is not NoneType] if get_origin(plain) is UnionType else [plain]
    kind = next((mark for mark in marks if mark in (EPOCH, NANO_USD)), None) or _KINDS.get(types[0], "json")
    return Column(name=name, kind=kind, public=PRIVATE not in marks, content=CONTENT in marks)


COLUMNS: tuple[Column, ...] = tuple(_column(name, hint) for name, hint in get_type_hints(Row, include_extras=True).items())
BY_NAME: dict[str, Column] = {column.name: column for column in COLUMNS}

_NAMES = tuple(BY_NAME)
_read = attrgetter(*_NAMES)
_JSON = frozenset(index for index, column in enumerate(COLUMNS) if column.kind == "json")
_BOOLEAN = frozenset(index for index, column in enumerate(COLUMNS) if column.kind == "boolean")
_CONTENT = tuple(index for index, column in enumerate(COLUMNS) if column.content)
_ATTEMPTS = _NAMES.index("attempts")
# Of an attempt: what its provider said.
_QUOTING = frozenset({"error", "notes"})

Shape = tuple[int, ...]


def bind(row: Row, *, content: bool) -> tuple[Shape, list[Any]]:
    """The columns that have a value (their places in `COLUMNS`) and the values as SQL parameters.

    NULLs are left out: sqlite3 asks the adapters about every None (0.7 us each, measured), and three columns in four are NULL.
    Without `content`, nothing that may quote the conversation is in it.
    """
    read = _read(row)
    if not content:
        kept = list(read)
        for index in _CONTENT:
            kept[index] = None
        if attempts := kept[_ATTEMPTS]:
            kept[_ATTEMPTS] = [{key: value for key, value in attempt.items() if key not in _QUOTING} for attempt in attempts]
        read = tuple(kept)
    shape = tuple([index for index, value in enumerate(read) if value is not None])
    values = [read[index] for index in shape]
    for place, is_json in _conversions(shape):
        value = values[place]
        values[place] = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode() if is_json else int(value)
    return shape, values


@lru_cache(maxsize=1024)
def _conversions(shape: Shape) -> tuple[tuple[int, bool], ...]:
    """Which places of a shape are not SQL values yet: JSON (True), or booleans, which the adapters would be asked about."""
    return tuple((place, index in _JSON) for place, index in enumerate(shape) if index in _JSON or index in _BOOLEAN)


def storable(row: Row) -> None:
    """Change in `row` what SQLite cannot hold: lone surrogates (bytes of a path or header that are no UTF-8) become `?`, numbers
    beyond 64 bits become unknown."""
    for name in _NAMES:
        setattr(row, name, mended(getattr(row, name)))


def mended(value: Any) -> Any:
    """The value without what neither SQLite nor JSON can hold."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case int() if not -(1 << 63) <= value < 1 << 63:
            return None
        case dict():
            return {mended(name): mended(inner) for name, inner in value.items()}
        case list() | tuple():
            return [mended(inner) for inner in value]
    return value


def shown(names: Sequence[str], stored: Iterable[Any]) -> dict[str, Any]:
    """Stored values of the columns `names` as Respan's API shows them: ISO times, US dollars, booleans, parsed JSON."""
    row = dict(zip(names, stored, strict=True))
    for name, show in _shows(tuple(names)):
        if (value := row[name]) is not None:
            row[name] = show(value)
    return row


@lru_cache(maxsize=16)
def _shows(names: tuple[str, ...]) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    """The columns that are stored in another form than they are shown in."""
    return tuple((name, _SHOWN[kind]) for name in names if (kind := BY_NAME[name].kind) in _SHOWN)


def iso_time(seconds: float) -> str:
    """2026-11-21T09:30:00.123456Z"""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


_SHOWN: dict[ColumnKind, Callable[[Any], Any]] = {
    "boolean": bool,
    "time": iso_time,
    "money": lambda nano: nano / NANO,
    "json": orjson.loads,
}


@dataclass(slots=True)
class Content:
    """What was said, as bytes: the request as received and (where it differs) as sent, the raw answer, the assembled one.

    `answer` is one body, or the chunks of a stream with the time each came (same clock as `started_at`). `reply` is the
    assembled answer as JSON. Headers are masked before they come here. `cut` says that the answer was cut while it was kept,
    `answer_bytes` how long it is, where that is known already.
    """

    request_headers: Sequence[tuple[str, str]] = ()
    request_body: bytes = b""
    sent_body: bytes | None = None
    response_headers: Sequence[tuple[str, str]] = ()
    answer: bytes | Sequence[tuple[float, bytes]] = b""
    reply: bytes | None = None
    started_at: float = 0.0
    cut: bool = False
    answer_bytes: int | None = None

    @property
    def size_bytes(self) -> int:
        """What it takes in memory: of a stream, mostly the objects around its chunks."""
        if isinstance(self.answer, bytes):
            answer = len(self.answer)
        else:
            known = self.answer_bytes
            answer = sum([len(chunk) for _, chunk in self.answer]) if known is None else known
            answer += CHUNK_BYTES * len(self.answer)
        return len(self.request_body) + len(self.sent_body or b"") + answer + len(self.reply or b"")
