"""The same spans in both encodings of OTLP: hypothesis's, and the small ones that tests write by hand."""

from __future__ import annotations

import math
from base64 import b64encode
from typing import Any

from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

Value = tuple[str, Any]
"""A form of AnyValue and what it holds: ("stringValue", "x"), ("arrayValue", [values]), ("kvlistValue", [(key, value)])."""

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_plain = st.one_of(
    st.tuples(st.just("stringValue"), _text),
    st.tuples(st.just("boolValue"), st.booleans()),
    st.tuples(st.just("intValue"), st.integers(-(1 << 63), (1 << 63) - 1)),
    st.tuples(st.just("doubleValue"), st.floats()),
    st.tuples(st.just("bytesValue"), st.binary(max_size=8)),
    st.just(("", None)),
)


def _nested(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    return st.one_of(
        st.tuples(st.just("arrayValue"), st.lists(inner, max_size=3)),
        st.tuples(st.just("kvlistValue"), st.lists(st.tuples(_text, inner), max_size=3)),
    )


values = st.recursive(_plain, _nested, max_leaves=6)
_pairs = st.lists(st.tuples(_text, values), max_size=4)
_ids, _trace_ids = st.binary(min_size=8, max_size=8).filter(any), st.binary(min_size=16, max_size=16).filter(any)
_times = st.integers(1, (1 << 64) - 1)

spans = st.fixed_dictionaries(
    {
        "trace_id": _trace_ids,
        "span_id": _ids,
        "parent_span_id": st.one_of(st.just(b""), st.binary(min_size=8, max_size=8)),
        "trace_state": _text,
        "name": _text,
        "kind": st.integers(0, 5),
        "start": _times,
        "end": _times,
        "attributes": _pairs,
        "events": st.lists(st.tuples(_text, _times, _pairs), max_size=2),
        "links": st.lists(st.tuples(_trace_ids, _ids, _pairs), max_size=2),
        "status": st.tuples(st.integers(0, 2), _text),
    }
)
scopes = st.tuples(_text, _text, _pairs, st.lists(spans, max_size=3))
requests = st.lists(st.tuples(_pairs, st.lists(scopes, max_size=2)), max_size=2)


class Spelling:
    """The choices that writers of OTLP/JSON have, one after the other from a seed: every one comes up."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def choose(self, *choices: Any) -> Any:
        self.seed, index = divmod(self.seed, len(choices))
        self.seed = self.seed or 0x9E3779B97F4A7C15
        return choices[index]

    def key(self, camel: str) -> str:
        snake = "".join("_" + letter.lower() if letter.isupper() else letter for letter in camel)
        return str(self.choose(camel, camel, snake))

    def id(self, data: bytes) -> str:
        return str(self.choose(data.hex(), data.hex().upper(), b64encode(data).decode()))

    def integer(self, number: int) -> Any:
        longbits = {"low": number & 0xFFFFFFFF, "high": number >> 32 & 0xFFFFFFFF}
        return self.choose(number, str(number), longbits)

    def value(self, value: Value) -> Any:
        form, held = value
        match form:
            case "":
                return self.choose({}, None)
            case "arrayValue":
                held = {"values": [self.value(one) for one in held]} if held else self.choose({}, {"values": []}, {"values": None})
            case "kvlistValue":
                held = {"values": self.pairs(held)}
            case "intValue":
                held = self.integer(held)
            case "doubleValue":
                if not math.isfinite(held):
                    held = "NaN" if math.isnan(held) else "Infinity" if held > 0 else "-Infinity"
            case "bytesValue":
                held = self.choose(
                    b64encode(held).decode(), {str(at): byte for at, byte in enumerate(held)}, {"type": "Buffer", "data": list(held)}
                )
        return {self.key(form): held}

    def pairs(self, pairs: list[tuple[str, Value]]) -> Any:
        return [{"key": key, "value": self.value(value)} for key, value in pairs]

    def span(self, span: dict[str, Any]) -> dict[str, Any]:
        kinds = ("SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT", "PRODUCER", "consumer")
        codes = ("STATUS_CODE_UNSET", "STATUS_CODE_OK", "error")
        code, message = span["status"]
        told = {
            self.key("traceId"): self.id(span["trace_id"]),
            self.key("spanId"): self.id(span["span_id"]),
            self.key("parentSpanId"): self.id(span["parent_span_id"]) or self.choose("", None),
            self.key("traceState"): span["trace_state"],
            "name": span["name"],
            "kind": self.choose(span["kind"], kinds[span["kind"]]),
            self.key("startTimeUnixNano"): self.integer(span["start"]),
            self.key("endTimeUnixNano"): self.integer(span["end"]),
            "attributes": self.pairs(span["attributes"]),
            "events": [
                {"name": name, self.key("timeUnixNano"): self.integer(at), "attributes": self.pairs(said)}
                for name, at, said in span["events"]
            ],
            "links": [
                {self.key("traceId"): self.id(trace), self.key("spanId"): self.id(one), "attributes": self.pairs(said)}
                for trace, one, said in span["links"]
            ],
            "status": self.choose({"code": code, "message": message}, {"code": codes[code], "message": message}),
            "flags": 257,
            "a field that nobody knows": [1],
        }
        return {name: held for name, held in told.items() if held not in ([], None, "") or self.choose(True, False)}

    def request(self, request: list[Any]) -> dict[str, Any]:
        return {
            self.key("resourceSpans"): [
                {
                    "resource": {"attributes": self.pairs(resource)},
                    self.key("scopeSpans"): [
                        {
                            "scope": {"name": name, "version": version, "attributes": self.pairs(said)},
                            "spans": [self.span(span) for span in spans],
                        }
                        for name, version, said, spans in scopes
                    ],
                    "schemaUrl": "https://opentelemetry.io/schemas/1.41.0",
                }
                for resource, scopes in request
            ]
        }


def any_value(value: Value) -> AnyValue:
    form, held = value
    told = AnyValue()
    match form:
        case "":
            pass
        case "arrayValue":
            told.array_value.SetInParent()
            told.array_value.values.extend(any_value(one) for one in held)
        case "kvlistValue":
            told.kvlist_value.SetInParent()
            told.kvlist_value.values.extend(key_values(held))
        case _:
            setattr(told, f"{form.removesuffix('Value')}_value", held)
    return told


def key_values(pairs: list[tuple[str, Value]]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in pairs]


def protobuf_span(span: dict[str, Any]) -> Span:
    code, message = span["status"]
    return Span(
        trace_id=span["trace_id"],
        span_id=span["span_id"],
        parent_span_id=span["parent_span_id"],
        trace_state=span["trace_state"],
        name=span["name"],
        kind=span["kind"],
        start_time_unix_nano=span["start"],
        end_time_unix_nano=span["end"],
        attributes=key_values(span["attributes"]),
        events=[Span.Event(name=name, time_unix_nano=at, attributes=key_values(said)) for name, at, said in span["events"]],
        links=[Span.Link(trace_id=trace, span_id=one, attributes=key_values(said)) for trace, one, said in span["links"]],
        status=Status(code=code, message=message),
        flags=257,
    )


def protobuf(request: list[Any]) -> bytes:
    told = ExportTraceServiceRequest()
    for resource, scopes in request:
        one = ResourceSpans(resource=Resource(attributes=key_values(resource)))
        for name, version, said, spans in scopes:
            scope = ScopeSpans(spans=[protobuf_span(span) for span in spans])
            scope.scope.name, scope.scope.version = name, version
            scope.scope.attributes.extend(key_values(said))
            one.scope_spans.append(scope)
        told.resource_spans.append(one)
    return told.SerializeToString()


TRACE, SPAN, PARENT = "0123456789abcdef0123456789abcdef", "0123456789abcdef", "00000000000000aa"


def span(**members: Any) -> dict[str, Any]:
    """A span in OTLP/JSON with these members beside (or instead of) its own."""
    own = {"traceId": TRACE, "spanId": SPAN, "name": "chat", "kind": 3, "startTimeUnixNano": "1000", "endTimeUnixNano": "2000"}
    return own | members


def request(*spans: Any, **resource: Any) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {"name": "s"}, "spans": list(spans)}], **resource}]}


def said(**attributes: Any) -> list[dict[str, Any]]:
    """`said(a={"intValue": 1})` as a list of key and value."""
    return [{"key": key, "value": value} for key, value in attributes.items()]
