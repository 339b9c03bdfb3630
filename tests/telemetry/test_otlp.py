"""OTLP bodies: whatever the same spans are said in, they read the same; what cannot be read costs nobody else anything."""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as PbSpan

from respan_proxy.errors import RequestRejected
from respan_proxy.telemetry.otlp import JSON, PROTOBUF, read
from respan_proxy.telemetry.otlp_received import MAX_DEPTH, SPAN_BYTES, Received
from respan_proxy.telemetry.spans import Span
from tests.telemetry.otlp_bodies import PARENT, SPAN, TRACE, Spelling, protobuf, protobuf_span, request, requests, said, span, spans


def of(*given: Any, **resource: Any) -> list[Span]:
    return read(orjson.dumps(request(*given, **resource)), JSON).spans


def read_or_400(body: bytes, content_type: str) -> Received | None:
    try:
        return read(body, content_type)
    except RequestRejected as error:
        if error.status != 400:
            raise
        return None


def attributes(*pairs: Any, **named: Any) -> dict[str, Any]:
    return of(span(attributes=[*pairs, *said(**named)]))[0].attributes


def refused(body: bytes, content_type: str = JSON) -> RequestRejected:
    with pytest.raises(RequestRejected) as caught:
        read(body, content_type)
    return caught.value


# Both encodings


@given(requests, st.integers(0, 1 << 256))
def test_the_same_spans_in_json_and_in_protobuf_read_the_same(whole: list[Any], seed: int) -> None:
    in_json = read(json.dumps(Spelling(seed).request(whole)).encode(), JSON)
    in_protobuf = read(protobuf(whole), PROTOBUF)
    assert in_json == in_protobuf
    assert len(in_json.spans) == sum(len(one[3]) for _, scopes in whole for one in scopes)
    assert (in_json.rejected, in_json.message) == (0, "")


@given(requests)
def test_what_was_read_can_be_written_as_json(whole: list[Any]) -> None:
    for one in read(protobuf(whole), PROTOBUF).spans:
        told = [one.attributes, one.source.resource, *(event.attributes for event in one.events)]
        assert orjson.loads(orjson.dumps(told)) == told


@given(st.binary(max_size=200), st.sampled_from([JSON, PROTOBUF, ""]))
def test_garbage_is_refused_or_holds_nothing(body: bytes, content_type: str) -> None:
    received = read_or_400(body, content_type)
    assert received is None or received.spans == []


_whole = span(parentSpanId=PARENT, events=[], links=[], status={"code": 1, "message": ""}, attributes=said(a={"intValue": 1}))
_names = re.findall(r"\w+(?=\":)", json.dumps([request(_whole), {"values": 0, "arrayValue": 0, "kvlistValue": 0, "low": 0, "high": 0}]))
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(1 << 70), 1 << 70), st.floats(), st.text(max_size=6), st.sampled_from([TRACE, SPAN])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_names), inner, max_size=4)),
    max_leaves=20,
)


@given(
    _json, st.sampled_from(["resourceSpans", "resource", "scopeSpans", "scope", "spans", "span", "attributes", "event", "link", "value"])
)
def test_json_of_wrong_types_is_refused_and_nothing_worse(wrong: Any, place: str) -> None:
    good = span(spanId="00000000000000bb")
    bodies = {
        "resourceSpans": {"resourceSpans": wrong},
        "resource": request(good, resource=wrong),
        "scopeSpans": request(good, scopeSpans=wrong),
        "scope": {"resourceSpans": [{"scopeSpans": [{"scope": wrong, "spans": [good]}]}]},
        "spans": {"resourceSpans": [{"scopeSpans": [{"spans": wrong}]}]},
        "span": request(wrong, good),
        "attributes": request(span(attributes=wrong), good),
        "event": request(span(events=[wrong]), good),
        "link": request(span(links=[wrong]), good),
        "value": request(span(attributes=said(a=wrong)), good),
    }
    received = read_or_400(json.dumps(bodies[place]).encode(), JSON)
    if received is None:
        assert place in ("resourceSpans", "scopeSpans", "spans")
    else:
        orjson.dumps([one.attributes for one in received.spans])
        if place not in ("resourceSpans", "scopeSpans", "spans"):
            assert received.spans[-1].span_id == "00000000000000bb"


@given(st.lists(spans, min_size=1, max_size=3), st.data())
def test_a_truncated_body_is_refused_whole(some: list[Any], data: st.DataObject) -> None:
    whole = protobuf([([], [("scope", "1", [], some)])])
    refused(whole[: data.draw(st.integers(1, len(whole) - 1))], PROTOBUF)
    whole = orjson.dumps(Spelling(0).request([([], [("scope", "1", [], some)])]))
    refused(whole[: data.draw(st.integers(1, len(whole) - 1))], JSON)


@given(st.lists(spans, min_size=1, max_size=3), st.data())
def test_a_damaged_protobuf_body_raises_nothing_but_a_refusal(some: list[Any], data: st.DataObject) -> None:
    whole = bytearray(protobuf([([], [("scope", "1", [], some)])]))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    if (received := read_or_400(bytes(whole), PROTOBUF)) is not None:
        orjson.dumps([one.attributes for one in received.spans])


# What counts as a request


@pytest.mark.parametrize("body", [b"", b" \n", b"{}", b'{"resourceSpans":[]}', b'{"resourceSpans":null}', b'{"resource_spans":[]}'])
def test_an_empty_request_is_success(body: bytes) -> None:
    received = read(body, JSON)
    assert (received.spans, received.rejected, received.message) == ([], 0, "")
    assert read(b"", PROTOBUF).spans == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"[]", "found JSON that is a list, expected an object with resourceSpans"),
        (b'"x"', "found JSON that is text"),
        (b'{"data":[{}],"a":1}', "found a JSON object with a, data, expected resourceSpans"),
        (b'{"resourceLogs":[]}', "found a JSON object with resourceLogs, expected resourceSpans"),
        (b'{"resourceSpans":{}}', "resourceSpans: found an object, expected a list"),
        (b"{", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b'{"resourceSpans":NaN,' + b'"a":[' * 5_000, "the body is not JSON"),
    ],
)
def test_json_that_is_no_otlp_is_refused_by_what_it_is(body: bytes, found: str) -> None:
    error = refused(body)
    assert error.status == 400
    assert found in error.message


def test_protobuf_that_is_no_otlp_is_refused_by_what_it_is() -> None:
    assert "begins as JSON does" in refused(orjson.dumps(request(span())), PROTOBUF).message
    assert "fields 2, expected resource_spans (1)" in refused(b"\x12\x03abc", PROTOBUF).message
    assert "found a number, expected a message" in refused(b"\x08\x01", PROTOBUF).message


def test_a_type_that_is_none_of_otlps_is_415_and_a_missing_one_is_sniffed() -> None:
    assert refused(b"{}", "text/plain").status == 415
    whole = [([], [("s", "1", [], [])])]
    assert (
        read(orjson.dumps(request(span())), "").spans == read(orjson.dumps(request(span())), "Application/JSON; charset=utf-8").spans != []
    )
    assert read(protobuf(whole), "").spans == []
    assert read(protobuf(whole), "application/protobuf").spans == []


# One bad span


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"traceId": "0" * 32}, "traceId: found zeros, expected 32 hex digits"),
        ({"traceId": ""}, "traceId: found none"),
        ({"traceId": "abc"}, "traceId: found 'abc' (3 characters), expected 32 hex digits"),
        ({"traceId": "g" * 32}, "expected 32 hex digits"),
        ({"spanId": None}, "spanId: found none, expected 16 hex digits"),
        ({"spanId": 7}, "spanId: found a number"),
        ({"parentSpanId": "12"}, "parentSpanId: found '12' (2 characters)"),
        ({"name": 5}, "name: found a number, expected text"),
        ({"kind": "SPAN_KIND_FRIEND"}, "kind: found 'SPAN_KIND_FRIEND', expected a number or one of SPAN_KIND_UNSPECIFIED"),
        ({"startTimeUnixNano": "yesterday"}, "startTimeUnixNano: found text, expected nanoseconds of the epoch"),
        ({"startTimeUnixNano": True}, "startTimeUnixNano: found true"),
        ({"startTimeUnixNano": -5}, "startTimeUnixNano: found a number"),
        ({"startTimeUnixNano": 0, "endTimeUnixNano": None}, "found neither start nor end"),
        ({"attributes": {"a": 1}}, "attributes: found an object, expected a list"),
        ({"attributes": [5]}, "attributes: found a number, expected objects with key and value"),
        ({"attributes": [{"key": 5, "value": {}}]}, "found a key that is a number"),
        ({"attributes": said(a="plain")}, "attribute 'a': found text, expected an object such as {stringValue}"),
        ({"attributes": said(a={"stringValue": 5})}, "attribute 'a': stringValue: found a number, expected text"),
        ({"attributes": said(a={"intValue": "1_000"})}, "attribute 'a': intValue: found text, expected an integer of 64 bits"),
        ({"attributes": said(a={"intValue": str(1 << 63)})}, "attribute 'a': intValue"),
        ({"attributes": said(a={"boolValue": "true"})}, "attribute 'a': boolValue"),
        ({"attributes": said(a={"doubleValue": "much"})}, "attribute 'a': doubleValue"),
        ({"attributes": said(a={"bytesValue": "???"})}, "attribute 'a': bytesValue: found text, expected base64"),
        ({"attributes": said(a={"arrayValue": []})}, "attribute 'a': arrayValue"),
        ({"attributes": said(a={"kvlistValue": {"values": 1}})}, "attribute 'a': kvlistValue.values"),
        ({"events": [1]}, "events: found a number"),
        ({"links": [{"traceId": "1"}]}, "links.traceId"),
        ({"status": "ERROR"}, "status: found text, expected an object"),
    ],
)
def test_a_bad_span_is_counted_and_named_and_the_others_are_kept(bad: dict[str, Any], why: str) -> None:
    received = read(orjson.dumps(request(span(name="first"), span(**{"name": "second", **bad}), span(name="third"))), JSON)
    assert [one.name for one in received.spans] == ["first", "third"]
    assert received.rejected == 1
    named = " ('second')" if "name" not in bad else ""
    assert received.message.startswith(f"1 of 3 spans cannot be read: resourceSpans[0].scopeSpans[0].spans[1]{named}: ")
    assert why in received.message


def test_a_span_that_is_no_object_is_counted_and_the_others_are_kept() -> None:
    received = read(orjson.dumps(request(5, span())), JSON)
    assert len(received.spans) == received.rejected == 1
    assert "found a number, expected a span" in received.message


def test_a_bad_span_in_protobuf_is_counted_and_named_and_the_others_are_kept() -> None:
    good = PbSpan(trace_id=bytes(15) + b"1", span_id=b"12345678", start_time_unix_nano=1)
    bad = [
        PbSpan(trace_id=b"short", span_id=b"12345678", start_time_unix_nano=1, name="lost"),
        PbSpan(trace_id=bytes(16), span_id=b"12345678", start_time_unix_nano=1),
        PbSpan(trace_id=good.trace_id, span_id=b"12345678"),
    ]
    whole = ExportTraceServiceRequest()
    scope = whole.resource_spans.add().scope_spans.add()
    scope.spans.extend([good, *bad, good])
    received = read(whole.SerializeToString(), PROTOBUF)
    assert len(received.spans) == 2
    assert received.rejected == 3
    assert "spans[1] ('lost'): traceId: found 5 bytes, expected 16 bytes" in received.message
    assert "spans[2]: traceId: found zeros" in received.message


def test_a_span_of_no_protobuf_is_counted_and_the_others_are_kept() -> None:
    good = PbSpan(trace_id=bytes(15) + b"1", span_id=b"12345678", start_time_unix_nano=1).SerializeToString()
    broken = b"\x2a\x05name"  # a name of five bytes that has four
    body = field(1, field(2, field(2, good) + field(2, broken) + field(2, good)))
    received = read(body, PROTOBUF)
    assert (len(received.spans), received.rejected) == (2, 1)
    assert "spans[1]: found bytes that protobuf cannot read" in received.message


def test_a_request_without_one_readable_span_is_refused() -> None:
    error = refused(orjson.dumps(request(span(traceId="x"), span(spanId=""))))
    assert error.status == 400
    assert error.message.startswith("2 of 2 spans cannot be read: ")


def test_many_bad_spans_are_counted_and_the_first_ones_named() -> None:
    received = read(orjson.dumps(request(span(), *[span(traceId="x")] * 9)), JSON)
    assert received.rejected == 9
    assert received.message.endswith("; and 6 more")
    assert len(received.message) < 600


def test_a_resource_that_cannot_be_read_costs_no_span_and_is_told() -> None:
    received = read(orjson.dumps(request(span(), resource={"attributes": "x"})), JSON)
    assert len(received.spans) == 1
    assert received.rejected == 0
    assert received.message == "resourceSpans[0].resource was left out: attributes: found text, expected a list of key and value"


def test_a_span_of_more_than_20_mb_is_rejected_and_its_neighbours_are_kept() -> None:
    large = span(attributes=said(a={"stringValue": "x" * SPAN_BYTES}), name="large")
    received = read(orjson.dumps(request(large, span())), JSON)
    assert (len(received.spans), received.rejected) == (1, 1)
    assert f"expected at most {SPAN_BYTES}" in received.message
    whole = ExportTraceServiceRequest()
    good = PbSpan(trace_id=bytes(15) + b"1", span_id=b"12345678", start_time_unix_nano=1)
    whole.resource_spans.add().scope_spans.add().spans.extend([good, PbSpan(name="x" * SPAN_BYTES)])
    received = read(whole.SerializeToString(), PROTOBUF)
    assert (len(received.spans), received.rejected) == (1, 1)


# Ids, times, values


def test_ids_are_lower_case_hex_however_they_came() -> None:
    data = bytes.fromhex(TRACE), bytes.fromhex(SPAN), bytes.fromhex(PARENT)
    for trace_id, span_id, parent in (
        (TRACE, SPAN, PARENT),
        (TRACE.upper(), SPAN.upper(), PARENT.upper()),
        tuple(b64encode(one).decode() for one in data),
        tuple(b64encode(one).decode().rstrip("=").replace("+", "-").replace("/", "_") for one in data),
    ):
        [one] = of(span(traceId=trace_id, spanId=span_id, parentSpanId=parent))
        assert (one.trace_id, one.span_id, one.parent_id) == (TRACE, SPAN, PARENT)


@pytest.mark.parametrize("parent", [None, "", "0" * 16])
def test_a_root_has_no_parent(parent: str | None) -> None:
    assert of(span(parentSpanId=parent))[0].parent_id is None


@pytest.mark.parametrize(
    "at", ["1795293563921490812", 1795293563921490812, {"low": 1795293563921490812 & 0xFFFFFFFF, "high": 1795293563921490812 >> 32}]
)
def test_times_are_read_to_the_nanosecond_however_they_came(at: Any) -> None:
    [one] = of(span(startTimeUnixNano=at, endTimeUnixNano=at, events=[{"timeUnixNano": at}]))
    assert one.start_ns == one.end_ns == one.events[0].at_ns == 1795293563921490812


def test_a_span_with_one_time_has_it_twice() -> None:
    assert [(one.start_ns, one.end_ns) for one in of(span(endTimeUnixNano=None), span(startTimeUnixNano="0"))] == [
        (1000, 1000),
        (2000, 2000),
    ]


def test_every_form_of_value_becomes_what_json_can_hold() -> None:
    assert attributes(
        text={"stringValue": "ä"},
        flag={"boolValue": False},
        whole={"intValue": "-5"},
        number={"intValue": 5},
        bits={"intValue": {"low": 0xFFFFFFFF, "high": 0xFFFFFFFF}},
        real={"doubleValue": 1},
        nan={"doubleValue": "NaN"},
        infinite={"doubleValue": "-Infinity"},
        data={"bytesValue": "_-8"},
        listed={"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": 1}, {}, None]}},
        named={"kvlistValue": {"values": said(a={"boolValue": True}, b={"kvlistValue": {}})}},
        empty={},
        nothing=None,
        null={"stringValue": None},
        newer={"someValue": 5},
    ) == {
        "text": "ä",
        "flag": False,
        "whole": -5,
        "number": 5,
        "bits": -1,
        "real": 1.0,
        "nan": "NaN",
        "infinite": "-Infinity",
        "data": "/+8=",
        "listed": ["a", 1, None, None],
        "named": {"a": True, "b": {}},
        "empty": None,
        "nothing": None,
        "null": None,
        "newer": None,
    }


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    pairs = said(a={"intValue": 1}), said(a={"intValue": 2})
    assert attributes(*pairs[0], *pairs[1]) == {"a": 2}


def test_older_names_of_a_scope_are_read() -> None:
    old = {"instrumentationLibrarySpans": [{"instrumentationLibrary": {"name": "old", "version": "1"}, "spans": [span()]}]}
    [one] = read(orjson.dumps({"resourceSpans": [old]}), JSON).spans
    assert (one.source.scope_name, one.source.scope_version) == ("old", "1")


def nested_json(depth: int) -> Any:
    value: Any = {"intValue": 1}
    for _ in range(depth):
        value = {"arrayValue": {"values": [value]}}
    return value


def field(number: int, data: bytes) -> bytes:
    """A field of protobuf's, of bytes."""
    size, length = len(data), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def nested_protobuf(depth: int) -> bytes:
    """A span with lists within lists; its own parser would not even build those of more than fifty."""
    value = AnyValue(int_value=1).SerializeToString()
    for _ in range(depth):
        value = field(5, field(1, value))
    told = PbSpan(trace_id=bytes(15) + b"1", span_id=b"12345678", start_time_unix_nano=1).SerializeToString()
    return told + field(9, field(1, b"a") + field(2, value))


def test_values_nest_so_deep_and_no_deeper_in_either_encoding() -> None:
    assert len(of(span(attributes=said(a=nested_json(MAX_DEPTH))))) == 1
    too_deep = f"found more than {MAX_DEPTH} lists or objects within each other"
    assert too_deep in refused(orjson.dumps(request(span(attributes=said(a=nested_json(MAX_DEPTH + 1)))))).message
    for depth, why in ((MAX_DEPTH + 1, too_deep), (80, "bytes that protobuf cannot read"), (20_000, "bytes that protobuf cannot read")):
        received = read(field(1, field(2, field(2, nested_protobuf(MAX_DEPTH)) + field(2, nested_protobuf(depth)))), PROTOBUF)
        assert (len(received.spans), received.rejected) == (1, 1)
        assert why in received.message
        assert refused(field(1, field(2, field(2, nested_protobuf(depth)))), PROTOBUF).status == 400


# What other writers take for JSON


def test_half_a_surrogate_pair_costs_one_character() -> None:
    """JavaScript cuts texts in the middle of a pair, and its JSON and Python's write the half as an escape."""
    text = '"\\ud83d" "\\ude00" "\\ud83d\\ude00" "\\\\ud83d" "\\ud83d\\ud83d\\ude00"'
    body = orjson.dumps(request(span(name="@"))).replace(b'"@"', b'"' + text.replace('"', "").encode() + b'"')
    assert read(body, JSON).spans[0].name == "\ufffd \ufffd \U0001f600 \\ud83d \ufffd\U0001f600"


def test_bytes_that_are_no_utf8_cost_one_character() -> None:
    body = orjson.dumps(request(span(name="@"))).replace(b"@", b"a\xffb")
    assert read(body, JSON).spans[0].name == "a\ufffdb"


def test_bytes_that_are_no_utf8_cost_one_character_in_protobuf_too() -> None:
    """Programs that cut texts at so many bytes send half a character, and protobuf's own reader would refuse the whole span for it."""
    whole = ExportTraceServiceRequest()
    resource = whole.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "app-@"
    one = resource.scope_spans.add().spans.add(trace_id=b"\xff" * 16, span_id=b"\xfe" * 8, start_time_unix_nano=1, name="name-@")
    one.attributes.add(key="key-@").value.kvlist_value.values.add(key="in").value.string_value = "text-@" * 40
    one.attributes.add(key="bytes").value.bytes_value = b"\xff"
    one.events.add(name="event-@", time_unix_nano=3)
    received = read(whole.SerializeToString().replace(b"@", b"\xff"), PROTOBUF)
    assert (received.rejected, received.message) == (0, "")
    [read_back] = received.spans
    assert (read_back.trace_id, read_back.span_id, read_back.name) == ("ff" * 16, "fe" * 8, "name-\ufffd")
    assert read_back.attributes == {"key-\ufffd": {"in": "text-\ufffd" * 40}, "bytes": "/w=="}
    assert read_back.events[0].name == "event-\ufffd"
    assert read_back.source.resource == {"service.name": "app-\ufffd"}


def test_a_group_is_passed_over_wherever_it_stands() -> None:
    """Nobody writes them any more; protobuf's own readers pass over those that they do not know."""
    group = b"\xa3\x06" + field(1, b"x") + b"\xa4\x06"
    good = PbSpan(trace_id=bytes(15) + b"1", span_id=b"12345678", start_time_unix_nano=1).SerializeToString()
    body = group + field(1, group + field(2, group + field(2, good + group) + group) + group) + group
    assert len(read(body, PROTOBUF).spans) == 1
    for broken in (b"\xa3\x06", b"\xa4\x06", b"\xa3\x06\xac\x06", b"\xa3\x06" * 200 + b"\xa4\x06" * 200):
        assert refused(broken + body, PROTOBUF).status == 400


def test_a_resource_said_in_several_parts_is_the_sum_of_them() -> None:
    """As protobuf has it of any message that is said twice."""
    parts = [Resource(attributes=[KeyValue(key=f"k{n}", value=AnyValue(int_value=n))]).SerializeToString() for n in range(3)]
    good = PbSpan(trace_id=bytes(15) + b"1", span_id=b"12345678", start_time_unix_nano=1).SerializeToString()
    body = b"".join(field(1, part) for part in parts) + field(2, field(2, good))
    assert read(field(1, body), PROTOBUF).spans[0].source.resource == {"k0": 0, "k1": 1, "k2": 2}


@pytest.mark.parametrize(("digits", "held"), [("9" * 400, "Infinity"), ("-" + "9" * 400, "-Infinity")])
def test_a_number_of_hundreds_of_digits_is_infinite(digits: str, held: str) -> None:
    body = orjson.dumps(request(span(attributes=said(a={"doubleValue": 17})))).replace(b"17", digits.encode())
    assert read(body, JSON).spans[0].attributes == {"a": held}


@pytest.mark.parametrize(("number", "held"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_the_words_that_pythons_json_writes_for_no_numbers_are_read(number: float, held: str) -> None:
    body = json.dumps(request(span(attributes=said(a={"doubleValue": number})))).encode()
    assert read(body, JSON).spans[0].attributes == {"a": held}


def test_the_generator_of_these_tests_leaves_no_field_out() -> None:
    one = {
        "trace_id": bytes.fromhex(TRACE),
        "span_id": bytes.fromhex(SPAN),
        "parent_span_id": b"",
        "trace_state": "a=b",
        "name": "n",
        "kind": 3,
        "start": 1,
        "end": 2,
        "attributes": [("a", ("stringValue", "b"))],
        "events": [("e", 1, [])],
        "links": [(bytes.fromhex(TRACE), bytes.fromhex(SPAN), [])],
        "status": (2, "m"),
    }
    told = {field.name for field, _ in protobuf_span(one).ListFields()}
    assert {field.name for field in PbSpan.DESCRIPTOR.fields} - told == {
        "parent_span_id",
        "dropped_attributes_count",
        "dropped_events_count",
        "dropped_links_count",
    }
