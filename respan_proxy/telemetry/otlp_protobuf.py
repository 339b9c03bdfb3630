"""OTLP/protobuf -> spans. The lists around the spans are taken apart here, each span is parsed by itself: a bad one costs no other,
and a thread that reads megabytes lets others run between two spans."""

from __future__ import annotations

import math
import sys
from base64 import b64encode
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from respan_proxy.errors import RequestRejected
from respan_proxy.telemetry.otlp_json_values import no_number
from respan_proxy.telemetry.otlp_received import MAX_DEPTH, NO_SPAN, SPAN_BYTES, Received, Tally, Unreadable, times
from respan_proxy.telemetry.protobuf_wire import fields, in_utf8
from respan_proxy.telemetry.spans import Event, Link, Source, Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1 import trace_pb2

_TRACE: Final = "opentelemetry.proto.trace.v1.trace_pb2"


def is_loaded() -> bool:
    """Whether protobuf's code is in memory; the first body pays 30 ms for it."""
    return _TRACE in sys.modules


def read_protobuf(body: bytes) -> Received:
    """The spans of an ExportTraceServiceRequest. `RequestRejected` when it is none."""
    tally = Tally()
    found = set()
    try:
        resources = []
        for number, value, _ in fields(memoryview(body)):
            found.add(number)
            if number == 1:
                resources.append(_message(value, "resource_spans"))
        for place, one in enumerate(resources):
            _resource(one, f"resourceSpans[{place}]", tally)
    except Unreadable as error:
        is_json = body.lstrip()[:1] in (b"{", b"[")
        hint = "; it begins as JSON does, which is sent as application/json" if is_json else ""
        raise RequestRejected(f"this is no OTLP in protobuf: {error}{hint}") from None
    if found and 1 not in found:
        numbers = ", ".join(str(number) for number in sorted(found)[:5])
        raise RequestRejected(f"this is no OTLP of traces: found a protobuf message with the fields {numbers}, expected resource_spans (1)")
    return tally.received()


@lru_cache(maxsize=1)
def _pb2() -> tuple[ModuleType, type[Exception], Any, Any]:
    """Messages of traces, the error of their parser, `Resource` and `InstrumentationScope`; loaded when first needed."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1 import trace_pb2

    return trace_pb2, DecodeError, Resource, InstrumentationScope


def _resource(data: memoryview, where: str, tally: Tally) -> None:
    _, _, resource_type, scope_type = _pb2()
    parts: list[memoryview] = []
    resource: list[memoryview] = []
    for number, value, _ in fields(data):
        if number == 1:
            resource.append(_message(value, "resource"))  # said twice, a message is the sum of both
        elif number == 2:
            parts.append(_message(value, "scope_spans"))
    shared = _shared(resource_type, b"".join(resource), f"{where}.resource", tally)
    attributes = {} if shared is None else _left(shared.attributes, f"{where}.resource", tally)
    for place, part in enumerate(parts):
        here = f"{where}.scopeSpans[{place}]"
        spans: list[memoryview] = []
        told: list[memoryview] = []
        for number, value, _ in fields(part):
            if number == 1:
                told.append(_message(value, "scope"))
            elif number == 2:
                spans.append(_message(value, "spans"))
        scope = _shared(scope_type, b"".join(told), f"{here}.scope", tally)
        if scope is None:
            source = Source(attributes)
        else:
            source = Source(attributes, scope.name, scope.version, _left(scope.attributes, f"{here}.scope", tally))
        for index, span in enumerate(spans):
            _read(span, source, f"{here}.spans[{index}]", tally)


def _shared(kind: Any, data: bytes, where: str, tally: Tally) -> Any:
    """A resource or scope. What cannot be read of it costs no span."""
    try:
        return _parsed(kind, data) if data else None
    except Unreadable as error:
        tally.leave_out(where, error)
        return None


def _parsed(kind: Any, data: bytes) -> Any:
    decode_error = _pb2()[1]
    try:
        return kind.FromString(data)
    except decode_error as error:
        try:
            return kind.FromString(in_utf8(memoryview(data), kind.DESCRIPTOR))
        except (decode_error, Unreadable):
            raise Unreadable(f"found bytes that protobuf cannot read ({error})") from None


def _left(pairs: Iterable[KeyValue], where: str, tally: Tally) -> dict[str, Any]:
    try:
        return _attributes(pairs, 0)
    except Unreadable as error:
        tally.leave_out(where, error)
        return {}


def _read(data: memoryview, source: Source, where: str, tally: Tally) -> None:
    name = ""
    try:
        if len(data) > SPAN_BYTES:
            raise Unreadable(f"found {len(data)} bytes, expected at most {SPAN_BYTES}")
        given = _parsed(_pb2()[0].Span, bytes(data))
        name = given.name
        tally.spans.append(_span(given, source))
    except Unreadable as error:
        tally.reject(where, name, error)


def _span(given: trace_pb2.Span, source: Source) -> Span:
    trace_id, span_id, parent = given.trace_id, given.span_id, given.parent_span_id
    if len(trace_id) != 16 or not any(trace_id):
        raise _wrong_id("traceId", trace_id, 16)
    if len(span_id) != 8 or not any(span_id):
        raise _wrong_id("spanId", span_id, 8)
    if len(parent) not in (0, 8):
        raise _wrong_id("parentSpanId", parent, 8)
    start_ns, end_ns = times(given.start_time_unix_nano, given.end_time_unix_nano)
    parent_id = parent.hex()
    status = given.status
    return Span(
        trace_id=trace_id.hex(),
        span_id=span_id.hex(),
        parent_id=None if parent_id in ("", NO_SPAN) else parent_id,
        name=given.name,
        kind=given.kind,
        start_ns=start_ns,
        end_ns=end_ns,
        attributes=_attributes(given.attributes, 0),
        source=source,
        events=[Event(one.name, one.time_unix_nano, _attributes(one.attributes, 0)) for one in given.events] if given.events else (),
        links=[_link(one) for one in given.links] if given.links else (),
        status=status.code,
        status_message=status.message,
        trace_state=given.trace_state,
    )


def _link(given: trace_pb2.Span.Link) -> Link:
    if len(given.trace_id) not in (0, 16):
        raise _wrong_id("links.traceId", given.trace_id, 16)
    if len(given.span_id) not in (0, 8):
        raise _wrong_id("links.spanId", given.span_id, 8)
    return Link(given.trace_id.hex(), given.span_id.hex(), _attributes(given.attributes, 0))


def _attributes(pairs: Iterable[KeyValue], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        key, value = pair.key, pair.value
        # Most are text.
        found[key] = value.string_value if value.HasField("string_value") else _value(value, key, depth)
    return found


def _value(given: AnyValue, key: str, depth: int) -> Any:
    """None when it holds nothing, or nothing that we know."""
    match given.WhichOneof("value"):
        case "string_value":
            return given.string_value
        case "bool_value":
            return given.bool_value
        case "int_value":
            return given.int_value
        case "double_value":
            number = given.double_value
            return number if math.isfinite(number) else no_number(number)
        case "array_value":
            _not_too_deep(key, depth)
            return [_value(one, key, depth + 1) for one in given.array_value.values]
        case "kvlist_value":
            _not_too_deep(key, depth)
            return _attributes(given.kvlist_value.values, depth + 1)
        case "bytes_value":
            return b64encode(given.bytes_value).decode()
        case _:
            return None


def _not_too_deep(key: str, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise Unreadable(f"attribute {key[:60]!r}: found more than {MAX_DEPTH} lists or objects within each other")


def _wrong_id(name: str, found: bytes, size: int) -> Unreadable:
    what = "none" if not found else "zeros" if not any(found) and len(found) == size else f"{len(found)} bytes"
    return Unreadable(f"{name}: found {what}, expected {size} bytes")


def _message(value: memoryview | None, name: str) -> memoryview:
    if value is None:
        raise Unreadable(f"{name}: found a number, expected a message")
    return value
