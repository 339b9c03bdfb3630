"""OTLP/HTTP bodies -> spans (opentelemetry-proto, docs/specification.md): JSON and protobuf, whatever the same spans are said in."""

from __future__ import annotations

from typing import Final

from respan_proxy.errors import RequestRejected
from respan_proxy.telemetry import otlp_protobuf
from respan_proxy.telemetry.otlp_json import read_json
from respan_proxy.telemetry.otlp_received import Received

JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"

_TYPES: Final = {JSON: JSON, PROTOBUF: PROTOBUF, "application/protobuf": PROTOBUF}


def encoding_of(content_type: str, body: bytes = b"") -> str:
    """`JSON` or `PROTOBUF`. Where the sender names none, as the body begins. `RequestRejected` (415) for another type."""
    name = content_type.partition(";")[0].strip().lower()
    if not name:
        return JSON if body.lstrip()[:1] in (b"{", b"[") else PROTOBUF
    if (found := _TYPES.get(name)) is None:
        raise RequestRejected(f"Content-Type: found {name[:80]!r}, expected {JSON} or {PROTOBUF}", status=415)
    return found


def read(body: bytes, content_type: str) -> Received:
    """The spans of an ExportTraceServiceRequest; of those that cannot be read, how many and why.

    `RequestRejected` (400) for what is no such request, or holds no span that can be read; (415) for a type that is none of OTLP's.
    """
    received = read_json(body) if encoding_of(content_type, body) == JSON else otlp_protobuf.read_protobuf(body)
    if received.rejected and not received.spans:
        raise RequestRejected(received.message)
    return received


def is_ready(content_type: str) -> bool:
    """Whether a body of this type can be read without loading code first, which takes 30 ms."""
    return content_type.partition(";")[0].strip().lower() == JSON or otlp_protobuf.is_loaded()
