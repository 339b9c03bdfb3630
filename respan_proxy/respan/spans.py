"""One remembered call: `Row` (Respan's vocabulary, one attribute per column), its `Content`, and the column table read off it.

The fields of `Row` are the only list of columns there is: the database's schema, its insertion, the filters of the read API
and the shape of an answer all come from `COLUMNS`. A new column is one line here.
Source of the names: Respan's span object (respan-api 0.1.49) and logging API; the last group is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Literal

import orjson

ColumnKind = Literal["text", "integer", "real", "boolean", "time", "money", "json"]
Status = Literal["success", "warning", "failed", "pending", "running", "interrupted"]

NANO = 1_000_000_000

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
    filterable: bool = True
    public: bool = True
    content: bool = False

    @property
    def sql(self) -> str:
        return f"{self.name} {SQL_TYPES[self.kind]}"


def _column(kind: ColumnKind, *, default: Any = None, filterable: bool = True, public: bool = True, content: bool = False) -> Any:
    filterable = filterable and kind != "json"
    return field(default=default, metadata={"kind": kind, "filterable": filterable, "public": public, "content": content})


@dataclass(slots=True)
class Row:
    """What is remembered of one call. NULL means unknown or not said, never zero.

    `cost` is in nano-dollars, `timestamp` (the end) and `start_time` in seconds of the epoch, durations in seconds.
    """

    unique_id: str = _column("text")
    trace_unique_id: str | None = _column("text")
    span_unique_id: str | None = _column("text")
    span_parent_id: str | None = _column("text")
    span_name: str | None = _column("text")
    span_workflow_name: str | None = _column("text")
    span_path: str | None = _column("text")
    trace_name: str | None = _column("text")
    timestamp: float | None = _column("time")
    start_time: float | None = _column("time")

    log_type: str | None = _column("text")
    log_method: str | None = _column("text")
    status: Status = _column("text", default="running")
    status_code: int | None = _column("integer")
    error_code: str | None = _column("text")
    error_message: str | None = _column("text", content=True)
    warnings: str | None = _column("text")

    model: str | None = _column("text")
    provider_id: str | None = _column("text")
    deployment_name: str | None = _column("text")
    environment: str | None = _column("text")
    organization_key_id: str | None = _column("text")
    organization_key_name: str | None = _column("text")
    used_custom_credential: bool | None = _column("boolean")

    customer_identifier: str | None = _column("text")
    customer_email: str | None = _column("text")
    customer_name: str | None = _column("text")
    thread_identifier: str | None = _column("text")
    custom_identifier: str | None = _column("text")
    group_identifier: str | None = _column("text")
    session_identifier: str | None = _column("text")
    trace_group_identifier: str | None = _column("text")
    evaluation_identifier: str | None = _column("text")
    metadata: dict[str, Any] | None = _column("json")
    properties: dict[str, Any] | None = _column("json")
    note: str | None = _column("text")
    category: str | None = _column("text")
    positive_feedback: bool | None = _column("boolean")

    prompt_id: str | None = _column("text")
    prompt_name: str | None = _column("text")
    prompt_version_number: int | None = _column("integer")
    variables: dict[str, Any] | None = _column("json", content=True)

    prompt_tokens: int | None = _column("integer")
    completion_tokens: int | None = _column("integer")
    total_request_tokens: int | None = _column("integer")
    prompt_cache_hit_tokens: int | None = _column("integer")
    prompt_cache_creation_tokens: int | None = _column("integer")
    reasoning_tokens: int | None = _column("integer")
    cost: int | None = _column("money")
    cost_source: str | None = _column("text")

    latency: float | None = _column("real")
    time_to_first_token: float | None = _column("real")
    tokens_per_second: float | None = _column("real")
    routing_time: float | None = _column("real")

    stream: bool | None = _column("boolean")
    temperature: float | None = _column("real")
    top_p: float | None = _column("real")
    max_tokens: int | None = _column("integer")
    frequency_penalty: float | None = _column("real")
    presence_penalty: float | None = _column("real")
    reasoning_effort: str | None = _column("text")
    response_format: Any = _column("json", content=True)
    has_tool_calls: bool | None = _column("boolean")
    finish_reason: str | None = _column("text")
    cache_bit: bool | None = _column("boolean")
    cache_key: str | None = _column("text")

    request_model: str | None = _column("text")
    endpoint: str | None = _column("text")
    dialect: str | None = _column("text")
    path: str | None = _column("text")
    outcome: str | None = _column("text")
    attempts: list[dict[str, Any]] | None = _column("json")
    response_id: str | None = _column("text")
    upstream_request_id: str | None = _column("text")
    instance_id: str | None = _column("text", public=False)
    usage_estimated: bool | None = _column("boolean")
    simulated: bool | None = _column("boolean")
    body_bytes: int | None = _column("integer")
    answer_bytes: int | None = _column("integer")
    content_cut: bool | None = _column("boolean")
    bodies_dropped: bool | None = _column("boolean")


COLUMNS: tuple[Column, ...] = tuple(Column(name=f.name, **f.metadata) for f in fields(Row))
BY_NAME: dict[str, Column] = {column.name: column for column in COLUMNS}

_values = attrgetter(*BY_NAME)
_JSON = tuple(index for index, column in enumerate(COLUMNS) if column.kind == "json")
_CONTENT = tuple(index for index, column in enumerate(COLUMNS) if column.content)
_ATTEMPTS = list(BY_NAME).index("attempts")


def values(row: Row, *, content: bool) -> Sequence[Any]:
    """The row as SQL parameters in the order of `COLUMNS`; without `content`, nothing that may quote the conversation."""
    bound: list[Any] = list(_values(row))
    if not content:
        for index in _CONTENT:
            bound[index] = None
        if attempts := bound[_ATTEMPTS]:
            bound[_ATTEMPTS] = [{key: value for key, value in attempt.items() if key != "error"} for attempt in attempts]
    for index in _JSON:
        if (value := bound[index]) is not None:
            bound[index] = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    return bound


@dataclass(slots=True)
class Content:
    """What was said, as bytes: the request as received and (where it differs) as sent, the raw answer, the assembled one.

    `answer` is one body, or the chunks of a stream with the time each came (same clock as `started_at`). `reply` is the
    assembled answer as JSON. Headers are masked before they come here. `cut` says that the answer was cut while it was kept.
    """

    request_headers: Sequence[tuple[str, str]] = ()
    request_body: bytes = b""
    sent_body: bytes | None = None
    response_headers: Sequence[tuple[str, str]] = ()
    answer: bytes | Sequence[tuple[float, bytes]] = b""
    reply: bytes | None = None
    started_at: float = 0.0
    cut: bool = False

    @property
    def size_bytes(self) -> int:
        answer = self.answer if isinstance(self.answer, bytes) else b""
        chunks = sum(len(chunk) for _, chunk in self.answer) if not isinstance(self.answer, bytes) else 0
        return len(self.request_body) + len(self.sent_body or b"") + len(answer) + chunks + len(self.reply or b"")
