"""A collector of OpenTelemetry that does as it is told, and knows the spans that it was sent."""

from __future__ import annotations

import gzip
import json
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from tests.fakes.provider import Answer, FakeProvider, Received, whole

JSON, PROTOBUF = "application/json", "application/x-protobuf"


class FakeCollector(FakeProvider):
    """Answers 200 with nothing to add, unless `will(...)` scripts something else."""

    def __init__(self) -> None:
        super().__init__()
        self.unscripted = lambda _: whole(b"", headers={"Content-Type": PROTOBUF})

    @property
    def endpoint(self) -> str:
        return f"{self.url}/v1/traces"

    @property
    def spans(self) -> list[dict[str, Any]]:
        """All spans so far, of whatever encoding, as plain objects with their resource."""
        return [span for request in self.received for span in spans_of(request)]


def partly(rejected: int, why: str, content_type: str = PROTOBUF) -> Answer:
    """200, and that some spans were not taken."""
    if content_type == JSON:
        return whole({"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": why}})
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans, response.partial_success.error_message = rejected, why
    return whole(response.SerializeToString(), headers={"Content-Type": PROTOBUF})


def spans_of(request: Received) -> list[dict[str, Any]]:
    body = gzip.decompress(request.body) if request.headers.get("Content-Encoding") == "gzip" else request.body
    if request.headers["Content-Type"] == JSON:
        return [
            {
                "trace_id": span["traceId"],
                "span_id": span["spanId"],
                "parent_id": span.get("parentSpanId"),
                "name": span["name"],
                "attributes": {pair["key"]: _plain_json(pair["value"]) for pair in span["attributes"]},
                "resource": {pair["key"]: _plain_json(pair["value"]) for pair in resource["resource"]["attributes"]},
            }
            for resource in json.loads(body)["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]
    return [
        {
            "trace_id": span.trace_id.hex(),
            "span_id": span.span_id.hex(),
            "parent_id": span.parent_span_id.hex() or None,
            "name": span.name,
            "attributes": {pair.key: _plain(pair.value) for pair in span.attributes},
            "resource": {pair.key: _plain(pair.value) for pair in resource.resource.attributes},
        }
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _plain(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_plain(inner) for inner in value.array_value.values]
        case "kvlist_value":
            return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
        case kind:
            return getattr(value, kind)


def _plain_json(value: dict[str, Any]) -> Any:
    match value:
        case {"arrayValue": {"values": values}}:
            return [_plain_json(inner) for inner in values]
        case {"kvlistValue": {"values": pairs}}:
            return {pair["key"]: _plain_json(pair["value"]) for pair in pairs}
        case {"intValue": text}:
            return int(text)
    return next(iter(value.values()), None)
