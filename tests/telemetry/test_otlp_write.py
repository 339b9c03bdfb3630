"""Spans written as OTLP are what protobuf's own parser, and any reader of its JSON, find there."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from respan_proxy.telemetry.otlp_write import write
from respan_proxy.telemetry.spans import Event, Link, Source, Span

SOURCE = Source({"service.name": "app"}, "tracer", "1.2", {"by": "hand"})


def span(**members: Any) -> Span:
    return Span(
        **{
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "span_id": "b7ad6b7169203331",
            "parent_id": None,
            "name": "chat gpt-4o",
            "kind": 3,
            "start_ns": 1_700_000_000_000_000_001,
            "end_ns": 1_700_000_000_500_000_002,
            "attributes": {},
            "source": SOURCE,
            **members,
        }
    )


def plain(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [plain(inner) for inner in value.array_value.values]
        case "kvlist_value":
            return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
        case kind:
            return getattr(value, kind)


def plain_json(value: dict[str, Any]) -> Any:
    match value:
        case {"arrayValue": {"values": values}}:
            return [plain_json(inner) for inner in values]
        case {"kvlistValue": {"values": pairs}}:
            return {pair["key"]: plain_json(pair["value"]) for pair in pairs}
        case {"intValue": text}:
            return int(text)
    return next(iter(value.values()), None)


def test_a_span_is_whole_in_protobuf() -> None:
    told = span(
        parent_id="00f067aa0ba902b7",
        attributes={"n": 3, "yes": True, "x": 0.5, "list": ["a", 1], "deep": {"a": {"b": None}}},
        events=[Event("exception", 7, {"exception.type": "ValueError"})],
        links=[Link("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", {"why": "retry"})],
        status=2,
        status_message="no",
        trace_state="a=1",
    )
    request = ExportTraceServiceRequest.FromString(write([told], "protobuf"))
    (resource,) = request.resource_spans
    assert plain(resource.resource.attributes[0].value) == "app"
    (scope,) = resource.scope_spans
    assert (scope.scope.name, scope.scope.version, scope.scope.attributes[0].key) == ("tracer", "1.2", "by")
    (read,) = scope.spans
    assert (read.trace_id.hex(), read.span_id.hex(), read.parent_span_id.hex()) == (told.trace_id, told.span_id, told.parent_id)
    assert (read.name, read.kind, read.trace_state) == ("chat gpt-4o", 3, "a=1")
    assert (read.start_time_unix_nano, read.end_time_unix_nano) == (told.start_ns, told.end_ns)
    assert {pair.key: plain(pair.value) for pair in read.attributes} == told.attributes
    assert (read.events[0].name, read.events[0].time_unix_nano, read.events[0].attributes[0].key) == ("exception", 7, "exception.type")
    assert (read.links[0].trace_id.hex(), read.links[0].attributes[0].key) == ("4bf92f3577b34da6a3ce929d0e0e4736", "why")
    assert (read.status.code, read.status.message) == (2, "no")


def test_json_has_ids_in_hex_and_64_bit_numbers_as_texts() -> None:
    (resource,) = orjson.loads(write([span(attributes={"n": 2**53 + 1}, status=2, status_message="no")], "json"))["resourceSpans"]
    read = resource["scopeSpans"][0]["spans"][0]
    assert (read["traceId"], read["spanId"]) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert read["startTimeUnixNano"] == "1700000000000000001"
    assert read["attributes"] == [{"key": "n", "value": {"intValue": str(2**53 + 1)}}]
    assert read["status"] == {"code": 2, "message": "no"}
    assert "parentSpanId" not in read


def test_spans_of_one_resource_and_scope_stand_together() -> None:
    other = Source({"service.name": "other"}, "tracer", "1.2")
    spans = [span(), span(source=other), span(source=Source({"service.name": "app"}, "second")), span()]
    request = ExportTraceServiceRequest.FromString(write(spans, "protobuf"))
    told = [[len(scope.spans) for scope in resource.scope_spans] for resource in request.resource_spans]
    assert told == [[2, 1], [1]]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=12), values, max_size=6))
def test_every_value_survives_both_encodings(attributes: dict[str, Any]) -> None:
    told = span(attributes=attributes)
    (pairs,) = [
        read.attributes for read in ExportTraceServiceRequest.FromString(write([told], "protobuf")).resource_spans[0].scope_spans[0].spans
    ]
    assert {pair.key: plain(pair.value) for pair in pairs} == attributes
    read = orjson.loads(write([told], "json"))["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert {pair["key"]: plain_json(pair["value"]) for pair in read["attributes"]} == attributes


def test_what_no_encoding_holds_is_made_to_fit() -> None:
    deep: Any = "bottom"
    for _ in range(600):
        deep = {"deeper": deep}
    told = span(name="half \ud800", attributes={"half \udfff": "\ud83d", "big": 2**70, "nan": float("nan"), "deep": deep})
    read = ExportTraceServiceRequest.FromString(write([told], "protobuf")).resource_spans[0].scope_spans[0].spans[0]
    assert read.name == "half ?"
    assert {pair.key for pair in read.attributes} == {"half ?", "big", "nan", "deep"}
    assert read.attributes[1].value.string_value == str(2**70)
    attributes = orjson.loads(write([told], "json"))["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
    assert attributes[2]["value"] == {"doubleValue": "NaN"}
    assert attributes[0] == {"key": "half ?", "value": {"stringValue": "?"}}
