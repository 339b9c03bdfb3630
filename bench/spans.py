"""Spans of apps, as they are sent: what a batch of them costs, and how long a stream waits while one is taken."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from time import perf_counter, time_ns
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.fake_provider import PACE_S, PACED_CHUNKS, SENTENCE

SPANS = 200
STREAMS = 25  # each with a chunk every 50 ms: together one every 2 ms
BATCHES = 4

PATH = "/api/v2/traces"
# By name: the headers that say so.
ENCODINGS = {
    f"{name}{', gzip' if coding else ''}": f"Content-Type: {kind}\r\n{coding}"
    for name, kind in (("JSON", "application/json"), ("protobuf", "application/x-protobuf"))
    for coding in ("", "Content-Encoding: gzip\r\n")
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one encoding. How much later than its pace the latest chunk of a stream came while batches were taken (`stall_ms`), and while
    none were (`still_ms`)."""

    encoding: str
    stall_ms: float
    still_ms: float
    answered_ms: float
    spans_per_cpu_s: float


_RESPONSE = "gen_ai.response.id"


def _text(key: str, text: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": text}}


def _span(number: int) -> dict[str, Any]:
    """One call of a model as an instrumentation tells it: 27 attributes, 10 KB of them text."""
    question, answer = (SENTENCE * 70)[number:][:7000], (SENTENCE * 40)[number:][:3000]
    texts = {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4.1-nano",
        "gen_ai.response.model": "gpt-4.1-nano-2025-04-14",
        "traceloop.entity.name": "openai.chat",
        "traceloop.entity.path": "openai.chat",
        "traceloop.workflow.name": "pirate_joke",
        "traceloop.entity.input": json.dumps([{"role": "user", "content": question}]),
        "traceloop.entity.output": json.dumps({"role": "assistant", "content": answer}),
        "respan.entity.log_type": "chat",
        "respan.entity.log_method": "python_tracing",
        "respan.customer_params.customer_identifier": f"customer_{number % 7}",
        "respan.threads.thread_identifier": "thread_1",
        "respan.metadata": '{"team":"a","plan":"pro"}',
        "llm.request.type": "chat",
        "server.address": "api.openai.com",
        "url.full": "https://api.openai.com/v1/chat/completions",
        "thread.name": "MainThread",
    }
    numbers = {"gen_ai.usage.input_tokens": 210, "gen_ai.usage.output_tokens": 100, "llm.usage.total_tokens": 310, "status_code": 200}
    numbers |= {"gen_ai.request.max_tokens": 1024, "thread.id": 140, "server.port": 443}
    attributes = [_text(key, text) for key, text in texts.items()]
    attributes += [{"key": key, "value": {"intValue": str(value)}} for key, value in numbers.items()]
    now = time_ns()
    return {
        "name": "llm.gpt-4.1-nano",
        "kind": 3,
        "startTimeUnixNano": str(now - 10**9),
        "endTimeUnixNano": str(now),
        "attributes": attributes,
    }


_SPANS = [_span(number) for number in range(SPANS)]


def _protobuf() -> ExportTraceServiceRequest:
    whole = ExportTraceServiceRequest()
    scope = whole.resource_spans.add().scope_spans.add()
    for span in _SPANS:
        told = scope.spans.add(name=span["name"], kind=span["kind"])
        told.start_time_unix_nano, told.end_time_unix_nano = int(str(span["startTimeUnixNano"])), int(str(span["endTimeUnixNano"]))
        for pair in span["attributes"]:
            value = told.attributes.add(key=pair["key"]).value
            if "stringValue" in pair["value"]:
                value.string_value = pair["value"]["stringValue"]
            else:
                value.int_value = int(pair["value"]["intValue"])
    return whole


_PROTOBUF = _protobuf()


def body(encoding: str) -> bytes:
    """`SPANS` spans of one trace, all of them new."""
    trace = os.urandom(16)
    ids = [os.urandom(8) for _ in _SPANS]
    if encoding.startswith("JSON"):
        parent = {"traceId": trace.hex(), "parentSpanId": ids[0].hex()}
        spans = [
            {"spanId": own.hex(), **parent, **span, "attributes": [*span["attributes"], _text(_RESPONSE, f"chatcmpl-{own.hex()}")]}
            for own, span in zip(ids, _SPANS, strict=True)
        ]
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "bench"}}]}
        told = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}).encode()
    else:
        whole = ExportTraceServiceRequest()
        whole.CopyFrom(_PROTOBUF)
        for own, span in zip(ids, whole.resource_spans[0].scope_spans[0].spans, strict=True):
            span.trace_id, span.span_id, span.parent_span_id = trace, own, ids[0]
            span.attributes.add(key=_RESPONSE).value.string_value = f"chatcmpl-{own.hex()}"
        told = whole.SerializeToString()
    return gzip.compress(told, 6) if encoding.endswith("gzip") else told


def batch(encoding: str) -> bytes:
    """A whole HTTP request with them."""
    told = body(encoding)
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n{ENCODINGS[encoding]}Content-Length: {len(told)}\r\n\r\n"
    return head.encode() + told


class _Stream(asyncio.Protocol):
    """Notes when something comes."""

    def __init__(self) -> None:
        self.came_at: list[float] = []
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.came_at.append(perf_counter())
        if data.endswith(b"0\r\n\r\n") and not self.over.done():
            self.over.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_exception(ConnectionError("the stream ended early"))

    def latest_s(self) -> float:
        """The longest pause beyond the pace; the first chunk and the last ones, which come together, left out."""
        came = self.came_at[1 : PACED_CHUNKS - 1]
        return max(after - before for before, after in pairwise(came)) - PACE_S


async def _streams(port: int, request: bytes, batches: Sequence[bytes] = ()) -> tuple[float, list[float]]:
    """(how late the latest chunk of `STREAMS` streams was while the batches were sent, how long each of these took), in seconds."""
    loop = asyncio.get_running_loop()
    streams = []
    for _ in range(STREAMS):
        transport, stream = await loop.create_connection(_Stream, "127.0.0.1", port)
        transport.write(request)
        streams.append((transport, stream))
        await asyncio.sleep(PACE_S / STREAMS)
    await asyncio.sleep(2 * PACE_S)
    took = await _post(port, batches) if batches else []
    await asyncio.gather(*[stream.over for _, stream in streams])
    for transport, _ in streams:
        transport.close()
    return max(stream.latest_s() for _, stream in streams), took


async def _post(port: int, requests: Sequence[bytes]) -> list[float]:
    """Send them over one connection, each after the answer to the one before; how long each took, in seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    took = []
    for request in requests:
        began = perf_counter()
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(found[1])) if found else b""
        took.append(perf_counter() - began)
        if not head.startswith(b"HTTP/1.1 200") or (body not in (b"", b"{}") and b'"rejectedSpans":0' not in body):
            raise RuntimeError(f"a batch of spans was answered {head.splitlines()[0]!r} {body[:200]!r}")
    writer.close()
    return took


async def measure(port: int, cpu_s: Callable[[], float], stream: bytes, rounds: int) -> list[Figures]:
    """`stream` is a request for a paced stream; medians over `rounds`, in each of which every encoding has its turn."""
    stalls, still, answered, rates = ({encoding: list[float]() for encoding in ENCODINGS} for _ in range(4))
    for encoding in ENCODINGS:
        await _post(port, [batch(encoding)])
    for encoding in [*ENCODINGS] * rounds:
        requests = [batch(encoding) for _ in range(BATCHES)]
        still[encoding].append((await _streams(port, stream))[0])
        stall, took = await _streams(port, stream, requests)
        stalls[encoding].append(stall)
        answered[encoding] += took
        requests = [batch(encoding) for _ in range(2 * BATCHES)]
        before = cpu_s()
        await _post(port, requests)
        rates[encoding].append(len(requests) * SPANS / (cpu_s() - before))
    return [
        Figures(one, median(stalls[one]) * 1e3, median(still[one]) * 1e3, median(answered[one]) * 1e3, median(rates[one]))
        for one in ENCODINGS
    ]
