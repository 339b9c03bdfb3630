"""Whatever is sent to a running proxy in the name of telemetry is answered, costs nothing that was good, and leaves the proxy well."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.conftest import Proxy, StartProxy

JSON, PROTOBUF = "application/json", "application/x-protobuf"
# Lists look back a day.
STARTED_NS = time.time_ns() - 60_000_000_000
TRACE = "0af7651916cd43dd8448eb211c80319c"


def span(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "traceId": TRACE,
        "spanId": f"{number:016x}",
        "name": f"good {number}",
        "kind": 1,
        "startTimeUnixNano": str(STARTED_NS),
        "endTimeUnixNano": str(STARTED_NS + 24_000_000),
        "attributes": [{"key": "traceloop.span.kind", "value": {"stringValue": "task"}}],
        **changed,
    }


def payload(*spans: Any) -> dict[str, Any]:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "app"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "app"}, "spans": list(spans)}]}]}


def protobuf(*numbers: int) -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in numbers:
        one = spans.add(trace_id=bytes.fromhex(TRACE), span_id=number.to_bytes(8), name=f"good {number}", kind=1)
        one.start_time_unix_nano, one.end_time_unix_nano = STARTED_NS, STARTED_NS + 24_000_000
    return bytes(request.SerializeToString())


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


async def post(proxy: Proxy, body: bytes, headers: dict[str, str], path: str = "/v2/traces") -> tuple[int, bytes]:
    # A connection of its own: what one of them breaks is not the next one's.
    async with aiohttp.ClientSession() as session, session.post(f"{proxy.base}{path}", data=BytesIO(body), headers=headers) as answer:
        return answer.status, await answer.read()


async def names(proxy: Proxy) -> set[str]:
    async with aiohttp.ClientSession() as session, session.get(f"{proxy.base}/request-logs/list/?page_size=1000") as answer:
        return {row["span_name"] for row in (await answer.json())["results"]}


async def assert_well(proxy: Proxy, number: int = 99) -> None:
    """It takes spans, shows them, and answers calls."""
    assert (await post(proxy, dumped(payload(span(number))), {"Content-Type": JSON}))[0] == 200
    assert f"good {number}" in await names(proxy)
    async with aiohttp.ClientSession() as session:
        call = {"model": "echo/hello", "messages": [{"role": "user", "content": "Hi"}]}
        async with session.post(f"{proxy.base}/chat/completions", json=call) as answer:
            assert answer.status == 200


GOOD = dumped(payload(span(1)))
DEEP = b'{"resourceSpans":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
# name: (body, headers, the statuses that may be answered)
BAD: dict[str, tuple[bytes, dict[str, str], set[int]]] = {
    "half a JSON text": (GOOD[: len(GOOD) // 2], {"Content-Type": JSON}, {400}),
    "no JSON": (b"<html>", {"Content-Type": JSON}, {400}),
    "nothing as JSON": (b"", {"Content-Type": JSON}, {200, 400}),
    "a list": (b"[]", {"Content-Type": JSON}, {400}),
    "a number": (b"1", {"Content-Type": JSON}, {400}),
    "null": (b"null", {"Content-Type": JSON}, {400}),
    "spans that are none": (dumped({"resourceSpans": "x"}), {"Content-Type": JSON}, {200, 400}),
    "deeper than anybody reads": (DEEP, {"Content-Type": JSON}, {400}),
    "half a protobuf": (protobuf(1, 2)[:-7], {"Content-Type": PROTOBUF}, {400}),
    "no protobuf": (b"\xff" * 64, {"Content-Type": PROTOBUF}, {400}),
    "JSON as protobuf": (GOOD, {"Content-Type": PROTOBUF}, {400}),
    "protobuf as JSON": (protobuf(1), {"Content-Type": JSON}, {400}),
    "a picture": (b"\x89PNG", {"Content-Type": "image/png"}, {400, 415}),
    "half a gzip": (gzip.compress(GOOD)[:-9], {"Content-Type": JSON, "Content-Encoding": "gzip"}, {400}),
    "no gzip": (GOOD, {"Content-Type": JSON, "Content-Encoding": "gzip"}, {400}),
    "no deflate": (GOOD, {"Content-Type": JSON, "Content-Encoding": "deflate"}, {400}),
    "an unknown encoding": (GOOD, {"Content-Type": JSON, "Content-Encoding": "snappy"}, {400, 415}),
    "too large": (b" " * 1_100_000, {"Content-Type": JSON}, {413}),
    "too large once unpacked": (gzip.compress(b" " * 50_000_000), {"Content-Type": JSON, "Content-Encoding": "gzip"}, {413}),
    "too large once inflated": (zlib.compress(b" " * 50_000_000), {"Content-Type": PROTOBUF, "Content-Encoding": "deflate"}, {413}),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_nobody_can_read_is_refused_and_the_next_is_taken(name: str, start_proxy: StartProxy) -> None:
    proxy = await start_proxy({"echo": {"pace_ms": 0}, "telemetry": {"body_bytes": 1_000_000}})
    body, headers, statuses = BAD[name]
    assert (await post(proxy, dumped(payload(span(7))), {"Content-Type": JSON}))[0] == 200
    for path in ("/v2/traces", "/v1/traces"):
        status, said = await post(proxy, body, headers, path)
        assert status in statuses, said
        assert b"Traceback" not in said
    assert await names(proxy) == {"good 7"}
    await assert_well(proxy)


WRONG: dict[str, Any] = {
    "no object": "x",
    "null": None,
    "an id that is too short": span(2, traceId="abc"),
    "an id of zeros": span(2, spanId="0" * 16),
    "an id that is no text": span(2, traceId=17),
    "no ids": {"name": "x"},
    "a name that is no text": span(2, name={"a": 1}),
    "times that are none": span(2, startTimeUnixNano="soon", endTimeUnixNano=None),
    "times beyond counting": span(2, startTimeUnixNano="9" * 400, endTimeUnixNano=-1),
    "the end before the start": span(2, endTimeUnixNano="1"),
    "attributes that are none": span(2, attributes="x"),
    "an attribute without a key": span(2, attributes=[{"value": {"stringValue": "x"}}, 3, None, {"key": 5, "value": 5}]),
    "an attribute of every wrong type": span(
        2,
        attributes=[
            {"key": key, "value": value}
            for key in ("gen_ai.usage.input_tokens", "respan.metadata", "gen_ai.input.messages", "status_code", "gen_ai.request.model")
            for value in (
                {"stringValue": 5},
                {"intValue": "x"},
                {"doubleValue": "NaN"},
                {"arrayValue": 3},
                {"kvlistValue": {"values": 1}},
                {},
                7,
            )
        ],
    ),
    "numbers beyond SQLite": span(
        2,
        attributes=[
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": str(2**63)}},
            {"key": "gen_ai.usage.output_tokens", "value": {"doubleValue": 1e308}},
            {"key": "status_code", "value": {"intValue": str(-(2**70))}},
            {"key": "gen_ai.request.temperature", "value": {"doubleValue": "Infinity"}},
        ],
    ),
    "text that is none": span(
        2, name="\ud800 \x00", attributes=[{"key": "respan.threads.thread_identifier", "value": {"stringValue": "\udfff"}}]
    ),
    "metadata of metadata": span(2, attributes=[{"key": "respan.metadata", "value": {"stringValue": '{"a":' * 500 + "1" + "}" * 500}}]),
    "events and links that are none": span(2, events=[1, {"name": 5}], links=["x", {}], status=7),
    "itself as its parent": span(2, parentSpanId=f"{2:016x}"),
    "SQL": span(
        2,
        name="'); DROP TABLE log; --",
        attributes=[{"key": "respan.customer_params.customer_identifier", "value": {"stringValue": "' OR 1=1 --"}}],
    ),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_span_that_is_wrong_costs_no_other(name: str, start_proxy: StartProxy) -> None:
    proxy = await start_proxy({"echo": {"pace_ms": 0}})
    status, said = await post(proxy, dumped(payload(span(1), WRONG[name], span(3))), {"Content-Type": JSON})
    assert status == 200, said
    assert {"good 1", "good 3"} <= await names(proxy)
    async with aiohttp.ClientSession() as session, session.get(f"{proxy.base}/traces/{TRACE}/") as answer:
        assert answer.status == 200
        await answer.json()
    await assert_well(proxy)


async def test_a_resource_that_is_wrong_costs_no_other(start_proxy: StartProxy) -> None:
    proxy = await start_proxy({"echo": {"pace_ms": 0}})
    body = payload(span(1))
    wrong: list[Any] = [
        1,
        None,
        {"resource": 5, "scopeSpans": [{"scope": "x", "spans": [span(2)]}]},
        {"scopeSpans": 4},
        {"scopeSpans": [3]},
    ]
    body["resourceSpans"] = [*wrong, *body["resourceSpans"], {"scopeSpans": [{"spans": [span(3)]}]}]
    assert (await post(proxy, dumped(body), {"Content-Type": JSON}))[0] == 200
    assert {"good 1", "good 3"} <= await names(proxy)


HEAD = b"POST /api/v2/traces HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
BROKEN: dict[str, bytes] = {
    "less than was said": HEAD + b"Content-Length: 5000\r\n\r\n" + GOOD,
    "a chunk that is none": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + GOOD,
    "a chunk that ends early": HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + GOOD,
    "a length that is none": HEAD + b"Content-Length: many\r\n\r\n",
    "a length below zero": HEAD + b"Content-Length: -5\r\n\r\n",
    "a length beyond all": HEAD + b"Content-Length: 99999999999999\r\n\r\n" + GOOD,
    "a head alone": HEAD,
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_connection_that_breaks_leaves_nothing_and_hurts_nobody(name: str, start_proxy: StartProxy) -> None:
    proxy = await start_proxy({"echo": {"pace_ms": 0}})
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.house.address.port)
    writer.write(BROKEN[name])
    writer.write_eof()
    async with asyncio.timeout(10):
        said = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert not said or int(said.split(b" ")[1]) in {400, 408, 413}
    assert await names(proxy) == set()
    await assert_well(proxy)


KEYS = ["resourceSpans", "resource", "scopeSpans", "scope", "spans", "attributes", "key", "value", "traceId", "spanId", "name", "events"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([TRACE, f"{5:016x}"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), inner, max_size=6),
    max_leaves=30,
)


async def test_anything_is_answered(start_proxy: StartProxy) -> None:
    proxy = await start_proxy({"echo": {"pace_ms": 0}})
    assert (await post(proxy, GOOD, {"Content-Type": JSON}))[0] == 200
    bodies: list[tuple[bytes, str]] = []

    @settings(max_examples=150)
    @given(VALUES, st.binary(max_size=40), st.integers(min_value=0, max_value=len(protobuf(1, 2))))
    def invent(value: Any, noise: bytes, cut: int) -> None:
        bodies.append((json.dumps({"resourceSpans": value}).encode("utf-8", "surrogatepass"), JSON))
        bodies.append((json.dumps(payload(value, span(1))).encode("utf-8", "surrogatepass"), JSON))
        bodies.append((protobuf(1, 2)[:cut] + noise, PROTOBUF))

    invent()
    async with aiohttp.ClientSession() as session:
        for body, kind in bodies:
            async with session.post(f"{proxy.base}/v2/traces", data=body, headers={"Content-Type": kind}) as answer:
                assert answer.status in {200, 400}, (body, await answer.text())
                assert answer.content_type == kind
    assert "good 1" in await names(proxy)
    await assert_well(proxy)
