"""The stock exporter of OpenTelemetry against the proxy: what its users see, from the span to the row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from tests.conftest import Proxy, StartProxy

Export = Callable[[TracerProvider], None]


def app(provider: TracerProvider) -> None:
    """A workflow with a call of a model that works, and one that does not."""
    tracer = provider.get_tracer("my.scope", "1.0")
    with tracer.start_as_current_span("workflow", attributes={"traceloop.span.kind": "workflow", "respan.environment": "staging"}):
        with tracer.start_as_current_span("chat gpt-4.1-nano", kind=SpanKind.CLIENT) as call:
            call.set_attribute("gen_ai.operation.name", "chat")
            call.set_attribute("gen_ai.request.model", "gpt-4.1-nano")
            call.set_attribute("gen_ai.usage.input_tokens", 11)
            call.set_attribute("gen_ai.usage.output_tokens", 7)
            call.set_attribute("gen_ai.input.messages", '[{"role":"user","parts":[{"type":"text","content":"hello"}]}]')
        with tracer.start_as_current_span("chat gpt-4o") as call:
            call.set_attribute("gen_ai.operation.name", "chat")
            call.set_status(Status(StatusCode.ERROR, "HTTP 429"))


def exported(endpoint: str | None, work: Export = app, **options: Any) -> bool:
    """Run the work with an exporter as its users set it up; whether all of it was delivered."""
    exporter = OTLPSpanExporter(endpoint=endpoint, **options)
    provider = TracerProvider(resource=Resource.create({"service.name": "my-app"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        work(provider)
        return provider.force_flush(20_000)
    finally:
        provider.shutdown()


async def logs(proxy: Proxy) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as client, client.get(f"{proxy.base}/request-logs/list/") as response:
        listed: list[dict[str, Any]] = (await response.json())["results"]
    return sorted(listed, key=lambda row: str(row["start_time"]))


@pytest.mark.parametrize("compression", [Compression.Gzip, Compression.NoCompression, Compression.Deflate])
async def test_what_the_stock_exporter_sends_is_rows(proxy: Proxy, compression: Compression) -> None:
    assert await asyncio.to_thread(exported, f"{proxy.base}/v1/traces", compression=compression)
    workflow, good, bad = await logs(proxy)
    assert workflow["trace_unique_id"] == good["trace_unique_id"] == bad["trace_unique_id"]
    assert good["span_parent_id"] == bad["span_parent_id"] == workflow["span_unique_id"]
    assert workflow["span_parent_id"] is None
    assert [row["log_type"] for row in (workflow, good, bad)] == ["workflow", "chat", "chat"]
    assert (good["model"], good["prompt_tokens"], good["completion_tokens"]) == ("gpt-4.1-nano", 11, 7)
    assert good["cost"] > 0
    assert (bad["status"], bad["status_code"]) == ("failed", 429)
    assert {row["service_name"] for row in (workflow, good, bad)} == {"my-app"}
    assert workflow["environment"] == "staging"


async def test_one_variable_points_an_exporter_here(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", proxy.base)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    assert await asyncio.to_thread(exported, None)
    assert len(await logs(proxy)) == 3


async def test_the_same_spans_sent_again_are_the_same_rows(proxy: Proxy) -> None:
    bodies: list[bytes] = []

    class Recorded(OTLPSpanExporter):
        def _export(self, serialized_data: bytes, timeout_sec: float | None = None) -> Any:
            bodies.append(serialized_data)
            return super()._export(serialized_data, timeout_sec)

    exporter = Recorded(endpoint=f"{proxy.base}/v1/traces")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    app(provider)
    await asyncio.to_thread(provider.shutdown)
    first = await logs(proxy)
    async with aiohttp.ClientSession() as client:
        for body in bodies * 2:
            async with client.post(f"{proxy.base}/v2/traces", data=body, headers={"Content-Type": "application/x-protobuf"}) as response:
                assert response.status == 200
    assert await logs(proxy) == first != []


async def test_a_second_address_is_where_exporters_look_by_themselves(start_proxy: StartProxy) -> None:
    proxy = await start_proxy({"telemetry": {"listen": "127.0.0.1:0"}})
    [beside] = proxy.house.beside
    assert await asyncio.to_thread(exported, f"http://{beside}/v1/traces")
    assert len(await logs(proxy)) == 3
