"""What a span says, in Respan's words: `tell`. The names that are understood stand in attributes.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from respan_proxy.exchange import Caller
from respan_proxy.respan.spans import COLUMNS, GENERATIONS, NANO, Row
from respan_proxy.telemetry import messages
from respan_proxy.telemetry.attributes import count, number, place, text
from respan_proxy.telemetry.spans import Claim, Event, Link, Said, Source, Span, Told, row_id
from respan_proxy.telemetry.usage import count_cached, count_reasoning, estimate_usage, fill_cost, fill_pace
from respan_proxy.wire.masking import cleaned, cleaned_error

# The client library of Anthropic traces itself since 2.0; the id of its span goes to the gateway as `traceparent`.
NATIVE_SCOPE: Final = "com.anthropic.sdk.python"

# Whose input tokens are Anthropic's own count, without those from and into the cache: seen in its spans beside the native ones (12 and 14
# of one call with 2 cached). All others include them, as the conventions say.
_UNCACHED_SCOPES: Final = ("respan_instrumentation_anthropic",)

# Attributes of the conventions 1.37 to 1.41 may stand on this event instead of on the span.
_DETAILS: Final = "gen_ai.client.inference.operation.details"

_NUMBERS: Final = frozenset({int, float, bool})
_EMPTY: Final = (None, "")
_LOWEST: Final = 1000  # no column has as many names

_LAST_NS: Final = 2**63 - 1
_ROW: Final = frozenset(column.name for column in COLUMNS)
_STATUS = re.compile(r"(?:HTTP|Error code:) ([1-5]\d\d)\b")
_FINISHES: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "tool-calls": "tool_calls",
    "content-filter": "content_filter",
    "refusal": "content_filter",
}
_PARAMETERS: Final = (
    ("temperature", number, ("temperature",)),
    ("top_p", number, ("top_p",)),
    ("max_tokens", count, ("max_tokens", "max_completion_tokens", "max_output_tokens")),
    ("frequency_penalty", number, ("frequency_penalty",)),
    ("presence_penalty", number, ("presence_penalty",)),
    ("reasoning_effort", text, ("reasoning_effort",)),
)


def tell(span: Span, caller: Caller) -> Told:
    """The span as a row, what was said in it, the span whole, and by what it may be one of the gateway's calls.

    Never raises: a value of a type that its column cannot have is left out of the column, and is in the metadata and in `raw`.
    """
    span = _without_secrets(span)
    reading = _Reading()
    reading.read(span.attributes)
    for event in span.events:
        if event.name == _DETAILS:
            reading.read_details(event.attributes)
    found, metadata, families = reading.found, reading.metadata, reading.families
    source = span.source
    told_type = found.get("log_type") or "span"
    is_generation = told_type in GENERATIONS
    row = Row(
        unique_id=row_id(span.trace_id, span.span_id, caller.key_id),
        trace_unique_id=span.trace_id,
        span_unique_id=span.span_id,
        span_parent_id=span.parent_id,
        span_name=span.name,
        organization_key_id=caller.key_id,
        organization_key_name=caller.key_name,
        span_links=[_raw_link(link) for link in span.links] or None,
        service_name=text(source.resource.get("service.name")),
    )
    for column in found.keys() & _ROW:
        setattr(row, column, found[column])
    row.log_type = told_type
    row.log_method = row.log_method or "tracing_integration"
    row.model = row.model or row.request_model
    if row.time_to_first_token is None and (first_ms := found.get("first_token_ms")) is not None:
        row.time_to_first_token = first_ms / 1000
    _fill_parameters(row, found)
    _fill_times(row, span)
    _fill_prompt(row, found)
    _fill_status(row, span)
    row.environment_tag = row.environment_tag or _deployed(source.resource)
    row.environment = caller.environment or row.environment_tag
    row.metadata = _metadata(found, metadata, source)
    said = _said(found, families, span, is_generation=is_generation)
    _fill_answer(row, said)
    count_reasoning(row)
    count_cached(row, uncached=source.scope_name.startswith(_UNCACHED_SCOPES))
    if "log_id" not in found:
        estimate_usage(row, said)
    fill_pace(row)
    fill_cost(row, found.get("cost"))
    claim = Claim(
        log_id=found.get("log_id"),
        response_id=row.response_id,
        is_native=source.scope_name == NATIVE_SCOPE,
        scope=source.scope_name,
        is_generation=is_generation,
    )
    return Told(row, said, _raw(span, reading.masked), claim)


class _Reading:
    """A span's attributes, each put where it goes."""

    __slots__ = ("_ranks", "families", "found", "masked", "metadata")

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.families: dict[str, messages.Listed] = {}
        self.masked: dict[str, Any] = {}
        """Attributes whose value may not be remembered as it came."""
        self._ranks: dict[str, int] = {}

    def read(self, attributes: Mapping[str, Any]) -> None:
        found, ranks, metadata = self.found, self._ranks, self.metadata
        for name, value in attributes.items():
            where = place(name)
            kept = value if type(value) in _NUMBERS else where.clean(value)
            if kept is not value:
                self.masked[name] = kept
            if where.columns:
                taken = False
                for column, rank, read in where.columns:
                    if ranks.get(column, _LOWEST) <= rank:
                        taken = True
                    elif (readable := read(kept)) is not None:
                        found[column], ranks[column] = readable, rank
                        taken = True
                if not taken and kept not in _EMPTY:
                    metadata[where.metadata] = kept
            elif where.family is not None:
                messages.collect(self.families, where.family, kept)
            else:
                metadata[where.metadata] = kept

    def read_details(self, attributes: Mapping[str, Any]) -> None:
        """Attributes of the event, where the span itself has none."""
        for name, value in attributes.items():
            for column, _, read in place(name).columns:
                if column not in self.found and (readable := read(value)) is not None:
                    self.found[column] = readable


def _fill_parameters(row: Row, found: Mapping[str, Any]) -> None:
    """OpenInference has the parameters of a call in one object."""
    if (given := found.get("parameters")) is None:
        return
    for column, read, names in _PARAMETERS:
        if getattr(row, column) is None:
            setattr(row, column, next((value for name in names if (value := read(given.get(name))) is not None), None))


def _fill_times(row: Row, span: Span) -> None:
    """Results of a batch end, by their provider's clock, days before the SDK began to tell of them: they are moments then."""
    start_ns, end_ns = (at if 0 < at <= _LAST_NS else 0 for at in (span.start_ns, span.end_ns))
    end_ns = end_ns or start_ns
    if not end_ns:
        return
    if not start_ns or end_ns < start_ns:
        start_ns = end_ns
    row.start_time, row.timestamp, row.latency = start_ns / NANO, end_ns / NANO, (end_ns - start_ns) / NANO


def _fill_prompt(row: Row, found: Mapping[str, Any]) -> None:
    if (prompt := found.get("prompt")) is None:
        return
    row.prompt_id = text(prompt.get("prompt_id"))
    row.prompt_name = row.prompt_name or text(prompt.get("name"))
    version = count(prompt.get("version"))
    row.prompt_version_number = version if version is not None else row.prompt_version_number
    if isinstance(variables := prompt.get("variables"), dict):
        row.variables = variables


def _fill_status(row: Row, span: Span) -> None:
    """Failed results of a batch say what happened in the status's message alone: `HTTP 400`."""
    is_error = span.status == 2
    if row.status_code is None:
        told = _STATUS.search(span.status_message) if is_error else None
        row.status_code = int(told[1]) if told is not None else 500 if is_error else 200
    row.status = "failed" if is_error or row.status_code >= 400 else "success"
    if row.status == "success":
        return
    for event in span.events:
        if event.name == "exception":
            row.error_message = row.error_message or text(event.attributes.get("exception.message"))
            row.error_code = row.error_code or text(event.attributes.get("exception.type"))
            break
    row.error_message = row.error_message or span.status_message or None


def _deployed(resource: Mapping[str, Any]) -> str | None:
    return text(resource.get("deployment.environment.name")) or text(resource.get("deployment.environment"))


def _metadata(found: Mapping[str, Any], rest: dict[str, Any], source: Source) -> dict[str, Any] | None:
    metadata = {**found.get("metadata", {}), **rest}
    if source.scope_name:
        metadata["otel.scope.name"] = source.scope_name
    if source.scope_version:
        metadata["otel.scope.version"] = source.scope_version
    return metadata or None


def _said(found: dict[str, Any], families: dict[str, messages.Listed], span: Span, *, is_generation: bool) -> Said:
    asked = messages.prompts(found, families, span.events, is_generation=is_generation)
    answered = messages.completions(found, families, span.events, is_generation=is_generation)
    first = answered[0] if answered else None
    calls = first.get("tool_calls") if first else None
    return Said(
        input=messages.as_text(_first(found.get("input"), asked, found.get("input_value"))),
        output=messages.as_text(_first(found.get("output"), first, found.get("output_value"))),
        prompt_messages=asked,
        completion_messages=answered,
        tools=messages.tools(found, families),
        tool_calls=calls or found.get("tool_calls"),
    )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _fill_answer(row: Row, said: Said) -> None:
    if said.tool_calls:
        row.has_tool_calls = True
    elif said.completion_messages:
        row.has_tool_calls = False
    reason = row.finish_reason
    if reason is None and said.completion_messages:
        reason = text(said.completion_messages[0].get("finish_reason"))
    if reason is not None:
        row.finish_reason = _FINISHES.get(reason.lower(), reason.lower())


def _raw(span: Span, masked: Mapping[str, Any]) -> dict[str, Any]:
    """The span in the names of OTLP's JSON; attributes as plain objects, times in nanoseconds as given."""
    source = span.source
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_id,
        "traceState": span.trace_state,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": span.start_ns,
        "endTimeUnixNano": span.end_ns,
        "status": {"code": span.status, "message": span.status_message},
        "attributes": {**span.attributes, **masked} if masked else span.attributes,
        "events": [_raw_event(event) for event in span.events],
        "links": [_raw_link(link) for link in span.links],
        "resource": source.resource,
        "scope": {"name": source.scope_name, "version": source.scope_version, "attributes": source.scope_attributes},
    }


def _raw_event(event: Event) -> dict[str, Any]:
    return {"name": event.name, "timeUnixNano": event.at_ns, "attributes": event.attributes}


def _raw_link(link: Link) -> dict[str, Any]:
    return {"traceId": link.trace_id, "spanId": link.span_id, "attributes": link.attributes}


def _without_secrets(span: Span) -> Span:
    """The span with no secrets beside its attributes, of which each is cleaned as it is read."""
    source, resource = span.source, _safe(span.source.resource)
    # Each copy costs 2 us, a hundredth of what a span does, and hardly any span needs one.
    if resource is not source.resource or source.scope_attributes:
        source = replace(source, resource=resource, scope_attributes=_safe(source.scope_attributes))
    name, message = cleaned(span.name), cleaned_error(span.status_message)
    if name is span.name and message is span.status_message and source is span.source and not span.events and not span.links:
        return span
    return replace(
        span,
        name=name,
        status_message=message,
        source=source,
        events=[replace(event, name=cleaned(event.name), attributes=_safe(event.attributes)) for event in span.events],
        links=[replace(link, attributes=_safe(link.attributes)) for link in span.links],
    )


def _safe(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attributes without secrets; the same object when there are none in them."""
    kept = {name: place(name).clean(value) for name, value in attributes.items()}
    return attributes if all(kept[name] is value for name, value in attributes.items()) else kept
