"""A call or a span as an app logs it by itself (Respan's logging API, and its older trace ingest): one JSON object -> `Told`.

Sources: respan-api 0.1.49 `SpanCreateRequest` and `CreateTraceLegacyRequest`, respan-sdk 2.9.0 `RespanLogParams`. Members that are null
count as absent: the older exporters write every member that there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from respan_proxy.dialects.lenient import members
from respan_proxy.errors import RequestRejected
from respan_proxy.exchange import Caller
from respan_proxy.respan.details import prompt_messages
from respan_proxy.respan.params import CARRIERS, CREDENTIALS
from respan_proxy.respan.spans import GENERATIONS, NANO, Row, Status
from respan_proxy.telemetry import messages
from respan_proxy.telemetry.attributes import LOG_TYPES, count, flag, identifier, mapping, number, parsed, status, text
from respan_proxy.telemetry.spans import Claim, Said, Told, row_id
from respan_proxy.telemetry.usage import count_cached, estimate_usage, fill_cost, fill_pace, seller
from respan_proxy.wire.masking import cleaned, cleaned_error
from respan_proxy.wire.secrets import MASK
from respan_proxy.wire.trace_context import as_id

MAX_ID_CHARS: Final = 128
_SHOWN_CHARS: Final = 60

LATEST: Final = 2**63 / NANO  # what nanoseconds in 64 bits reach


def _moment(value: Any) -> float | None:
    """Seconds of the epoch: a number, or an ISO 8601 text (UTC when it names no zone)."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
        value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < LATEST else None


def _seconds(value: Any) -> float | None:
    found = number(value)
    return found if found is not None and found >= 0 else None


def _id(value: Any) -> str | None:
    found = text(value)
    if found is None or len(found) > MAX_ID_CHARS:
        return None
    return as_id(found)


def _warnings(value: Any) -> str | None:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {messages.as_text(said)}" for name, said in value.items()) or None
    return text(value)


@dataclass(frozen=True, slots=True)
class Field:
    """A column, the members that it is read from (the first that is there counts), and what they may hold."""

    column: str
    read: Callable[[Any], Any]
    expected: str
    names: tuple[str, ...]


def _field(column: str, read: Callable[[Any], Any], expected: str, *aliases: str) -> Field:
    return Field(column, read, expected, (column, *aliases))


_TEXT: Final = "a text"
_NAME: Final = f"a text of at most {MAX_ID_CHARS} characters"
_COUNT: Final = "a whole number, 0 or more"
_NUMBER: Final = "a number"
_SECONDS: Final = "seconds, 0 or more"
_FLAG: Final = "true or false"
_OBJECT: Final = "an object"
_MOMENT: Final = "an ISO 8601 time such as 2026-11-21T09:30:00Z"

FIELDS: Final[tuple[Field, ...]] = (
    _field("unique_id", _id, _NAME),
    _field("trace_unique_id", _id, _NAME),
    _field("span_unique_id", _id, _NAME),
    _field("span_parent_id", _id, _NAME),
    _field("span_name", text, _TEXT),
    _field("span_workflow_name", text, _TEXT),
    _field("span_path", text, _TEXT),
    _field("trace_name", text, _TEXT),
    _field("timestamp", _moment, _MOMENT, "end_time"),
    _field("start_time", _moment, _MOMENT),
    _field("latency", _seconds, _SECONDS, "generation_time"),
    _field("time_to_first_token", _seconds, _SECONDS, "ttft"),
    _field("tokens_per_second", _seconds, _NUMBER),
    _field("log_method", text, _TEXT),
    _field("status_code", status, "an HTTP status, 100 to 599"),
    _field("error_code", text, _TEXT),
    _field("error_message", text, _TEXT),
    _field("warnings", _warnings, "a text or an object", "warnings_dict"),
    _field("model", text, _TEXT),
    _field("provider_id", text, _TEXT),
    _field("environment_tag", text, _TEXT, "environment"),
    _field("customer_identifier", identifier, _TEXT),
    _field("customer_email", text, _TEXT),
    _field("customer_name", text, _TEXT),
    _field("thread_identifier", identifier, _TEXT),
    _field("custom_identifier", identifier, _TEXT),
    _field("group_identifier", identifier, _TEXT),
    _field("session_identifier", identifier, _TEXT),
    _field("trace_group_identifier", identifier, _TEXT),
    _field("evaluation_identifier", identifier, _TEXT),
    _field("metadata", mapping, _OBJECT),
    _field("properties", mapping, _OBJECT),
    _field("note", text, _TEXT),
    _field("category", text, _TEXT),
    _field("positive_feedback", flag, _FLAG),
    _field("prompt_id", text, _TEXT),
    _field("prompt_name", text, _TEXT),
    _field("prompt_version_number", count, _COUNT),
    _field("variables", mapping, _OBJECT),
    _field("prompt_tokens", count, _COUNT),
    _field("completion_tokens", count, _COUNT),
    _field("total_request_tokens", count, _COUNT, "total_tokens"),
    _field("prompt_cache_hit_tokens", count, _COUNT),
    _field("prompt_cache_creation_tokens", count, _COUNT),
    _field("reasoning_tokens", count, _COUNT),
    _field("stream", flag, _FLAG),
    _field("temperature", number, _NUMBER),
    _field("top_p", number, _NUMBER),
    _field("max_tokens", count, _COUNT, "max_completion_tokens"),
    _field("frequency_penalty", number, _NUMBER),
    _field("presence_penalty", number, _NUMBER),
    _field("reasoning_effort", text, _TEXT),
    _field("response_format", mapping, _OBJECT),
    _field("disable_log", flag, _FLAG),
)

# Empty where others would be asked for: an empty object or text says as much as none.
_EMPTY: Final[tuple[Any, ...]] = (None, "", {}, [])

_ERRORS: Final = ("error", "error_message")

_STATUSES: Final[Mapping[str, Status]] = {
    "success": "success",
    "error": "failed",
    "failed": "failed",
    "warning": "warning",
    "pending": "pending",
    "running": "pending",  # here `running` is a call that this proxy waits for
}


def read(log: Any, caller: Caller, now: float, fresh_id: str, *, log_method: str = "logging_api") -> Told:
    """What an app logs of one call or span. `now` (seconds of the epoch) is its end unless it says another one, `fresh_id` (32 hex digits)
    its row's id and its trace's unless it names them.

    `RequestRejected` names the member at fault, what was found and what was expected.
    """
    if not isinstance(log, dict):
        raise RequestRejected(f"a log: found {as_found(log)}, expected an object")
    log = _without_credentials(cleaned(log))
    log |= {name: cleaned_error(log[name]) for name in _ERRORS if name in log}
    given = merged(log)
    row = Row(fresh_id, organization_key_id=caller.key_id, organization_key_name=caller.key_name)
    for field in FIELDS:
        if (value := _value(given, field)) is not None:
            setattr(row, field.column, value)
    _fill_place(row, given, fresh_id, caller)
    row.log_type = _log_type(given)
    row.log_method = row.log_method or log_method
    row.span_name = row.span_name or row.log_type
    row.disable_log = row.disable_log or None
    row.request_model = row.model
    fill_customer(row, given)
    row.session_identifier = row.session_identifier or row.trace_group_identifier or row.thread_identifier
    row.environment = caller.environment or row.environment_tag
    _fill_prompt(row, given)
    _fill_times(row, now)
    _fill_status(row, given)
    said = _said(row, given)
    if said.tool_calls or said.completion_messages:
        row.has_tool_calls = bool(said.tool_calls)
    _fill_usage(row, given)
    estimate_usage(row, said)
    fill_pace(row)
    cost = member(given, "cost", number, "US dollars")
    prices = {name: member(given, name, number, "US dollars per million tokens") for name in ("prompt_unit_price", "completion_unit_price")}
    fill_cost(row, cost, {name: price for name, price in prices.items() if price is not None})
    row.response_id = text(members(parsed(given.get("full_response"))).get("id"))
    is_generation = row.log_type in GENERATIONS
    claim = Claim(response_id=row.response_id, scope=row.log_method, is_generation=is_generation)
    if row.disable_log:
        return Told(row, Said(), _raw(row, {}), claim)
    return Told(row, said, _raw(row, log), claim)


def _without_credentials(log: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: MASK if name in CREDENTIALS else value for name, value in log.items() if value is not None}
    for carrier in CARRIERS:
        if (inner := mapping(kept.get(carrier))) is not None:
            kept[carrier] = {name: MASK if name in CREDENTIALS else value for name, value in inner.items()}
    return kept


def merged(log: Mapping[str, Any]) -> dict[str, Any]:
    """The log's members with Respan's parameters among them, and none that is null."""
    given = {name: value for name, value in log.items() if value is not None}
    for carrier in reversed(CARRIERS):
        inner = mapping(given.pop(carrier, None)) or {}
        given |= {name: value for name, value in inner.items() if value is not None}
    return given


def _value(given: Mapping[str, Any], field: Field) -> Any:
    for name in field.names:
        if name in given:
            return member(given, name, field.read, field.expected)
    return None


def member(given: Mapping[str, Any], name: str, read: Callable[[Any], Any], expected: str) -> Any:
    value = given.get(name)
    found = read(value)
    if found is None and value not in _EMPTY:
        raise RequestRejected(f"{name}: found {as_found(value)}, expected {expected}", param=name)
    return found


def as_found(value: Any) -> str:
    said = messages.as_text(cleaned(value) if not isinstance(value, str) else orjson.dumps(value).decode()) or "null"
    return said if len(said) <= _SHOWN_CHARS else said[:_SHOWN_CHARS] + "..."


def _fill_place(row: Row, given: Mapping[str, Any], fresh_id: str, caller: Caller) -> None:
    """Where it stands: in the trace that it names, or in one of its own. One that names its span too comes to the same row again."""
    named = row.trace_unique_id is not None and row.span_unique_id is not None
    if "unique_id" not in given and named:
        row.unique_id = row_id(row.trace_unique_id or "", row.span_unique_id or "", caller.key_id)
    row.trace_unique_id = row.trace_unique_id or fresh_id
    row.span_unique_id = row.span_unique_id or fresh_id[16:]
    if row.span_parent_id == row.span_unique_id:
        row.span_parent_id = None


def _log_type(given: Mapping[str, Any]) -> str:
    """Respan's word; a call of a model by default. A word that Respan does not know is no reason to lose the log."""
    said = given.get("log_type")
    if said is None or said == "":
        return "chat"
    if not isinstance(said, str):
        raise RequestRejected(f"log_type: found {as_found(said)}, expected a text such as chat, workflow or tool", param="log_type")
    return LOG_TYPES.get(said.lower(), "unknown")


def fill_customer(row: Row, given: Mapping[str, Any]) -> None:
    customer = member(given, "customer_params", mapping, _OBJECT) or {}
    row.customer_identifier = row.customer_identifier or identifier(customer.get("customer_identifier"))
    row.customer_email = row.customer_email or text(customer.get("email"))
    row.customer_name = row.customer_name or text(customer.get("name"))


def _fill_prompt(row: Row, given: Mapping[str, Any]) -> None:
    """A prompt that the app manages itself, or one kept at Respan: its id is remembered as it was sent. As a text it is what was asked."""
    prompt = members(given.get("prompt"))
    row.prompt_id = row.prompt_id or text(prompt.get("prompt_id"))
    version = count(prompt.get("version"))
    row.prompt_version_number = version if row.prompt_version_number is None else row.prompt_version_number
    if row.variables is None and isinstance(variables := prompt.get("variables"), dict):
        row.variables = variables


def _fill_times(row: Row, now: float) -> None:
    if row.timestamp is None:
        row.timestamp = now if row.start_time is None else row.start_time + (row.latency or 0.0)
    if row.start_time is None:
        row.start_time = row.timestamp - (row.latency or 0.0)
    if row.timestamp < row.start_time:
        row.start_time = row.timestamp
    if row.latency is None:
        row.latency = row.timestamp - row.start_time


def _fill_status(row: Row, given: Mapping[str, Any]) -> None:
    said = given.get("status")
    told = _STATUSES.get(said.lower()) if isinstance(said, str) else None
    if told is None and said not in _EMPTY:
        raise RequestRejected(f"status: found {as_found(said)}, expected one of {', '.join(_STATUSES)}", param="status")
    if row.error_message is None and given.get("error") not in (*_EMPTY, False):
        row.error_message = messages.as_text(given["error"]) if given["error"] is not True else None
        told = told or "failed"
    if told is None:
        is_error = row.error_message is not None if row.status_code is None else row.status_code >= 400
        told = "failed" if is_error else "warning" if row.warnings else "success"
    row.status = told
    if row.status_code is None:
        row.status_code = 500 if told == "failed" else 200


def _said(row: Row, given: Mapping[str, Any]) -> Said:
    """Messages out of input and output and the other way round, for calls of a model; for all others, input and output alone."""
    is_generation = row.log_type in GENERATIONS
    request, response = parsed(given.get("full_request")), parsed(given.get("full_response"))
    asked = _messages(given, "prompt_messages", "messages")
    answered = _messages(given, "completion_messages")
    if answered is None and (message := member(given, "completion_message", mapping, "a message")) is not None:
        answered = _messages({"completion_message": [message]}, "completion_message")
    if is_generation:
        asked = asked or messages.asked(given.get("input")) or messages.asked(given.get("prompt"))
        asked = asked or (prompt_messages(request) if isinstance(request, dict) else None)
        answered = answered or messages.answered(given.get("output")) or messages.answered(response)
    calls = messages.tool_calls(given.get("tool_calls"))
    if answered is not None:
        answered = [messages.folded(message) for message in answered]
        if calls:
            answered[0].setdefault("tool_calls", calls)
        calls = calls or answered[0].get("tool_calls") or []
    text_in, text_out = given.get("input"), given.get("output")
    return Said(
        input=messages.as_text(text_in if text_in is not None else asked),
        output=messages.as_text(text_out if text_out is not None else answered[0] if answered else None),
        prompt_messages=asked,
        completion_messages=answered,
        tools=given.get("tools"),
        tool_calls=calls or None,
    )


def _messages(given: Mapping[str, Any], *names: str) -> list[Any] | None:
    for name in names:
        if name in given and given[name] not in _EMPTY:
            found = parsed(given[name])
            if not isinstance(found, list) or not all(isinstance(message, dict) for message in found):
                raise RequestRejected(f"{name}: found {as_found(given[name])}, expected a list of messages", param=name)
            # respan-sdk writes every member that a message may have.
            return [{key: said for key, said in message.items() if said is not None or key == "content"} for message in found]
    return None


def _fill_usage(row: Row, given: Mapping[str, Any]) -> None:
    """Tokens of `usage`, in OpenAI's names or Anthropic's, where the log has none of its own.

    Anthropic's `input_tokens` are those outside the cache; and of Claude Respan takes `prompt_tokens` for those too.
    """
    usage = member(given, "usage", mapping, _OBJECT) or {}
    read = members(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    made = members(usage.get("completion_tokens_details") or usage.get("output_tokens_details"))
    told = {
        "prompt_tokens": (usage.get("prompt_tokens"), usage.get("input_tokens")),
        "completion_tokens": (usage.get("completion_tokens"), usage.get("output_tokens")),
        "total_request_tokens": (usage.get("total_tokens"),),
        "prompt_cache_hit_tokens": (usage.get("cache_read_input_tokens"), read.get("cached_tokens"), usage.get("prompt_cache_hit_tokens")),
        "prompt_cache_creation_tokens": (
            usage.get("cache_creation_input_tokens"),
            usage.get("cache_creation_prompt_tokens"),
            read.get("cache_write_tokens"),
        ),
        "reasoning_tokens": (made.get("reasoning_tokens"),),
    }
    for column, values in told.items():
        if getattr(row, column) is None:
            found = [tokens for value in values if (tokens := count(value)) is not None]
            # respan-sdk writes zeros where nothing was said.
            setattr(row, column, next((tokens for tokens in found if tokens), found[0] if found else None))
    is_anthropics = "input_tokens" in usage and not read and "cache_read_input_tokens" in usage
    is_claude = seller(row.provider_id, row.model) == "anthropic" and not read
    count_cached(row, uncached=is_anthropics or is_claude)


def _raw(row: Row, log: Mapping[str, Any]) -> dict[str, Any]:
    """The log in the names of OTLP's JSON, its members as attributes."""
    return {
        "traceId": row.trace_unique_id,
        "spanId": row.span_unique_id,
        "parentSpanId": row.span_parent_id,
        "traceState": "",
        "name": row.span_name or row.log_type,
        "kind": 1,
        "startTimeUnixNano": round((row.start_time or 0.0) * NANO),
        "endTimeUnixNano": round((row.timestamp or 0.0) * NANO),
        "status": {"code": 2 if row.status == "failed" else 0, "message": row.error_message or ""},
        "attributes": log,
        "events": [],
        "links": [],
        "resource": {},
        "scope": {"name": row.log_method, "version": "", "attributes": {}},
    }
