"""OTLP/JSON -> spans: ids in hex or base64, numbers as numbers or text, enums as numbers or names, keys in either spelling.

Read as protobuf's JSON mapping says and as exporters were seen to write it: `{low, high}` for 64 bits and objects for bytes (older
JavaScript exporters), `NaN` as a bare word and half a surrogate pair (Python's json, JavaScript's strings).
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from respan_proxy.dialects.lenient import read_json_text
from respan_proxy.errors import RequestRejected
from respan_proxy.telemetry.otlp_json_values import INTEGER, attributes, base64, integer, kind
from respan_proxy.telemetry.otlp_received import NO_SPAN, SPAN_BYTES, Received, Tally, Unreadable, times
from respan_proxy.telemetry.spans import Event, Link, Source, Span

_HEX = re.compile(r"[0-9a-fA-F]+")

_KINDS: Final = {name: number for number, name in enumerate(("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"))}
_CODES: Final = {"UNSET": 0, "OK": 1, "ERROR": 2}


def read_json(body: bytes) -> Received:
    """The spans of an ExportTraceServiceRequest in JSON. `RequestRejected` when it is none."""
    if not body.strip():
        return Received([])
    try:
        given = read_json_text(body)
    except ValueError as error:
        raise RequestRejected(f"the body is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise RequestRejected(f"this is no OTLP: found JSON that is {kind(given)}, expected an object with resourceSpans")
    resources = _member(given, "resourceSpans", "resource_spans")
    if given and "resourceSpans" not in given and "resource_spans" not in given:
        found = ", ".join(sorted(given)[:5])
        raise RequestRejected(f"this is no OTLP of traces: found a JSON object with {found[:200]}, expected resourceSpans")
    tally = Tally()
    try:
        for number, one in enumerate(_list(resources, "resourceSpans")):
            _resource(one, f"resourceSpans[{number}]", tally, weighs=len(body) > SPAN_BYTES)
    except Unreadable as error:
        raise RequestRejected(f"this is no OTLP: {error}") from None
    return tally.received()


def _resource(given: Any, where: str, tally: Tally, *, weighs: bool) -> None:
    if not isinstance(given, dict):
        tally.reject(where, "", f"found {kind(given)}, expected an object with scopeSpans")
        return
    resource = _shared(given.get("resource"), f"{where}.resource", tally)
    shared = resource.get("attributes") or {}
    scopes = _member(given, "scopeSpans", "scope_spans")
    name = "scopeSpans"
    if scopes is None:  # before OTLP 0.19
        scopes = _member(given, "instrumentationLibrarySpans", "instrumentation_library_spans")
    try:
        rows = _list(scopes, name)
    except Unreadable as error:
        tally.reject(where, "", error)
        return
    for number, row in enumerate(rows):
        here = f"{where}.{name}[{number}]"
        if not isinstance(row, dict):
            tally.reject(here, "", f"found {kind(row)}, expected an object with spans")
            continue
        scope = _shared(_member(row, "scope", "instrumentationLibrary"), f"{here}.scope", tally)
        source = Source(shared, scope.get("name") or "", scope.get("version") or "", scope.get("attributes") or {})
        try:
            spans = _list(row.get("spans"), "spans")
        except Unreadable as error:
            tally.reject(here, "", error)
            continue
        for place, span in enumerate(spans):
            try:
                if weighs and (size := len(orjson.dumps(span))) > SPAN_BYTES:
                    raise Unreadable(f"found {size} bytes, expected at most {SPAN_BYTES}")
                tally.spans.append(_span(span, source))
            except Unreadable as error:
                tally.reject(f"{here}.spans[{place}]", span.get("name") if isinstance(span, dict) else "", error)


def _shared(given: Any, where: str, tally: Tally) -> dict[str, Any]:
    """A resource or scope: its name, version and attributes. What cannot be read of it costs no span."""
    if given is None:
        return {}
    try:
        if not isinstance(given, dict):
            raise Unreadable(f"found {kind(given)}, expected an object")
        return {
            "name": _text(given.get("name"), "name"),
            "version": _text(given.get("version"), "version"),
            "attributes": attributes(given.get("attributes"), 0),
        }
    except Unreadable as error:
        tally.leave_out(where, error)
        return {}


def _span(given: Any, source: Source) -> Span:
    if type(given) is not dict:
        raise Unreadable(f"found {kind(given)}, expected a span: an object")
    get = given.get
    trace_id = _own_id(_member(given, "traceId", "trace_id"), 16, "traceId")
    span_id = _own_id(_member(given, "spanId", "span_id"), 8, "spanId")
    parent = _id(_member(given, "parentSpanId", "parent_span_id"), 8, "parentSpanId")
    start_ns, end_ns = times(
        _time(_member(given, "startTimeUnixNano", "start_time_unix_nano"), "startTimeUnixNano"),
        _time(_member(given, "endTimeUnixNano", "end_time_unix_nano"), "endTimeUnixNano"),
    )
    status = get("status")
    if status is None:
        status = {}
    elif type(status) is not dict:
        raise Unreadable(f"status: found {kind(status)}, expected an object")
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=None if parent in ("", NO_SPAN) else parent,
        name=_text(get("name"), "name"),
        kind=_enum(get("kind"), "kind", "SPAN_KIND_", _KINDS),
        start_ns=start_ns,
        end_ns=end_ns,
        attributes=attributes(get("attributes"), 0),
        source=source,
        events=[_event(one) for one in events] if (events := _list(get("events"), "events")) else (),
        links=[_link(one) for one in links] if (links := _list(get("links"), "links")) else (),
        status=_enum(status.get("code"), "status.code", "STATUS_CODE_", _CODES),
        status_message=_text(status.get("message"), "status.message"),
        trace_state=_text(_member(given, "traceState", "trace_state"), "traceState"),
    )


def _event(given: Any) -> Event:
    if type(given) is not dict:
        raise Unreadable(f"events: found {kind(given)}, expected objects")
    at_ns = _time(_member(given, "timeUnixNano", "time_unix_nano"), "events.timeUnixNano")
    return Event(_text(given.get("name"), "events.name"), at_ns, attributes(given.get("attributes"), 0))


def _link(given: Any) -> Link:
    if type(given) is not dict:
        raise Unreadable(f"links: found {kind(given)}, expected objects")
    trace_id = _id(_member(given, "traceId", "trace_id"), 16, "links.traceId")
    span_id = _id(_member(given, "spanId", "span_id"), 8, "links.spanId")
    return Link(trace_id, span_id, attributes(given.get("attributes"), 0))


def _member(given: dict[str, Any], name: str, other: str) -> Any:
    value = given.get(name)
    return given.get(other) if value is None else value


def _list(value: Any, name: str) -> list[Any]:
    if value is None:
        return []
    if type(value) is not list:
        raise Unreadable(f"{name}: found {kind(value)}, expected a list")
    return value


def _text(value: Any, name: str) -> str:
    if type(value) is str:
        return value
    if value is None:
        return ""
    raise Unreadable(f"{name}: found {kind(value)}, expected text")


def _own_id(value: Any, size: int, name: str) -> str:
    found = _id(value, size, name)
    if not found or not found.strip("0"):
        raise Unreadable(f"{name}: found {'zeros' if found else 'none'}, expected {size * 2} hex digits")
    return found


def _id(value: Any, size: int, name: str) -> str:
    """Hex digits in lower case; empty where there is none."""
    if value is None or value == "":
        return ""
    if type(value) is not str:
        raise Unreadable(f"{name}: found {kind(value)}, expected {size * 2} hex digits")
    if len(value) == size * 2 and _HEX.fullmatch(value):
        return value.lower()
    if (data := base64(value)) is not None and len(data) == size:
        return data.hex()
    raise Unreadable(f"{name}: found {value[:40]!r} ({len(value)} characters), expected {size * 2} hex digits")


def _time(value: Any, name: str) -> int:
    if value is None or value == "":
        return 0
    number = integer(value)
    if number is None or not 0 <= number < 1 << 64:
        raise Unreadable(f"{name}: found {kind(value)}, expected nanoseconds of the epoch")
    return number


def _enum(value: Any, name: str, prefix: str, names: dict[str, int]) -> int:
    """A number, also one that we have no name for; by name only those we know."""
    if value is None:
        return 0
    if type(value) is str and not INTEGER.fullmatch(value):
        found = names.get(value.upper().removeprefix(prefix))
    else:
        found = integer(value)
    if found is None or not -(1 << 31) <= found < 1 << 31:
        raise Unreadable(f"{name}: found {str(value)[:40]!r}, expected a number or one of {', '.join(prefix + known for known in names)}")
    return found
