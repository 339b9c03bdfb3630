"""Spans -> the bytes of an OTLP `ExportTraceServiceRequest`, as protobuf or as OTLP's JSON (ids in hex, 64-bit numbers as texts).

Source: opentelemetry-proto, docs/specification.md. The JSON is not protobuf's own: `json_format` writes ids as base64, 20 times slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

import orjson

from respan_proxy.config.exports import Encoding
from respan_proxy.dialects.lenient import json_text
from respan_proxy.telemetry.spans import Source, Span

CONTENT_TYPES: Final[Mapping[Encoding, str]] = {"protobuf": "application/x-protobuf", "json": "application/json"}

_INT64 = 1 << 63
# Deeper than this a value is written as JSON text: protobuf's readers refuse 100 levels, and each of ours is three of theirs.
_DEEPEST = 16


def write(spans: Iterable[Span], encoding: Encoding) -> bytes:
    """All spans as one request, those of one resource and scope together. Ids must be hex; what no encoding holds is made to fit."""
    groups = _grouped(spans)
    return _protobuf(groups) if encoding == "protobuf" else _json(groups)


@dataclass(slots=True)
class _Group:
    """The spans of one resource, by scope."""

    source: Source
    scopes: dict[tuple[str, str], tuple[Source, list[Span]]] = field(default_factory=dict)


def _grouped(spans: Iterable[Span]) -> list[_Group]:
    groups: dict[bytes, _Group] = {}
    for span in spans:
        source = span.source
        key = orjson.dumps(source.resource, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
        group = groups.setdefault(key, _Group(source))
        group.scopes.setdefault((source.scope_name, source.scope_version), (source, []))[1].append(span)
    return list(groups.values())


def _json(groups: Sequence[_Group]) -> bytes:
    return orjson.dumps(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": _json_pairs(group.source.resource)},
                    "scopeSpans": [
                        {
                            "scope": {
                                "name": _text(source.scope_name),
                                "version": _text(source.scope_version),
                                "attributes": _json_pairs(source.scope_attributes),
                            },
                            "spans": [_json_span(span) for span in spans],
                        }
                        for source, spans in group.scopes.values()
                    ],
                }
                for group in groups
            ]
        }
    )


def _json_span(span: Span) -> dict[str, Any]:
    told: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": _text(span.name),
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _json_pairs(span.attributes),
        "status": {"code": span.status, "message": _text(span.status_message)} if span.status else {},
    }
    if span.parent_id:
        told["parentSpanId"] = span.parent_id
    if span.trace_state:
        told["traceState"] = _text(span.trace_state)
    if span.events:
        told["events"] = [
            {"name": _text(event.name), "timeUnixNano": str(event.at_ns), "attributes": _json_pairs(event.attributes)}
            for event in span.events
        ]
    if span.links:
        told["links"] = [
            {"traceId": link.trace_id, "spanId": link.span_id, "attributes": _json_pairs(link.attributes)} for link in span.links
        ]
    return told


def _json_pairs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": _text(key), "value": _json_value(value)} for key, value in values.items()]


def _json_value(value: Any, depth: int = 0) -> dict[str, Any]:
    if depth > _DEEPEST and isinstance(value, Mapping | list | tuple):
        value = _as_text(value)
    match value:
        case None:
            return {}
        case bool():
            return {"boolValue": value}
        case int() if -_INT64 <= value < _INT64:
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value if isfinite(value) else "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"}
        case Mapping():
            return {
                "kvlistValue": {
                    "values": [{"key": _text(str(key)), "value": _json_value(inner, depth + 1)} for key, inner in value.items()]
                }
            }
        case list() | tuple():
            return {"arrayValue": {"values": [_json_value(inner, depth + 1) for inner in value]}}
        case _:
            return {"stringValue": _text(str(value))}


def _protobuf(groups: Sequence[_Group]) -> bytes:
    # 30 ms and 5 MB, for those who export.
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    for group in groups:
        resource = request.resource_spans.add()
        _fill_pairs(resource.resource.attributes, group.source.resource)
        for source, spans in group.scopes.values():
            scope = resource.scope_spans.add()
            scope.scope.name, scope.scope.version = _text(source.scope_name), _text(source.scope_version)
            _fill_pairs(scope.scope.attributes, source.scope_attributes)
            for span in spans:
                _fill_span(scope.spans.add(), span)
    return request.SerializeToString()


def _fill_span(told: Any, span: Span) -> None:
    told.trace_id, told.span_id = bytes.fromhex(span.trace_id), bytes.fromhex(span.span_id)
    if span.parent_id:
        told.parent_span_id = bytes.fromhex(span.parent_id)
    told.name, told.kind, told.trace_state = _text(span.name), span.kind, _text(span.trace_state)
    told.start_time_unix_nano, told.end_time_unix_nano = span.start_ns, span.end_ns
    _fill_pairs(told.attributes, span.attributes)
    for event in span.events:
        moment = told.events.add(name=_text(event.name), time_unix_nano=event.at_ns)
        _fill_pairs(moment.attributes, event.attributes)
    for link in span.links:
        _fill_pairs(told.links.add(trace_id=bytes.fromhex(link.trace_id), span_id=bytes.fromhex(link.span_id)).attributes, link.attributes)
    if span.status:
        told.status.code, told.status.message = span.status, _text(span.status_message)


def _fill_pairs(pairs: Any, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        pair = pairs.add()
        pair.key = _text(str(key))
        _fill_value(pair.value, value)


def _fill_value(told: Any, value: Any, depth: int = 0) -> None:
    if depth > _DEEPEST and isinstance(value, Mapping | list | tuple):
        value = _as_text(value)
    match value:
        case None:
            pass
        case bool():
            told.bool_value = value
        case int() if -_INT64 <= value < _INT64:
            told.int_value = value
        case float():
            told.double_value = value
        case Mapping():
            told.kvlist_value.SetInParent()
            for key, inner in value.items():
                pair = told.kvlist_value.values.add()
                pair.key = _text(str(key))
                _fill_value(pair.value, inner, depth + 1)
        case list() | tuple():
            told.array_value.SetInParent()
            for inner in value:
                _fill_value(told.array_value.values.add(), inner, depth + 1)
        case _:
            told.string_value = _text(str(value))


def _as_text(value: Any) -> str:
    return json_text(value).decode()


def _text(text: str) -> str:
    """Lone surrogates, which neither encoding holds, become `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
