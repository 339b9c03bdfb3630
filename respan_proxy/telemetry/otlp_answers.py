"""What a sender of OTLP is answered, in its own encoding: success, partial success, and google.rpc.Status for what was refused."""

from __future__ import annotations

from typing import Final

import orjson

from respan_proxy.telemetry.otlp import JSON
from respan_proxy.telemetry.protobuf_wire import varint

# HTTP status -> google.rpc.Code (googleapis, google/rpc/code.proto).
_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 408: 4, 413: 3, 415: 3, 429: 8, 503: 14}
_INTERNAL: Final = 13


def success(encoding: str, rejected: int = 0, message: str = "", *, spelled_out: bool = False) -> bytes:
    """An Export...ServiceResponse: `partial_success` only when something was rejected, or there is something to say.

    `spelled_out` says in JSON that nothing was, as Respan's API does; OTLP's own senders would take that for a warning.
    """
    if encoding == JSON:
        told = {"partialSuccess": {"rejectedSpans": rejected, "errorMessage": message}} if rejected or message or spelled_out else {}
        return orjson.dumps(told)
    partial = (b"\x08" + varint(rejected) if rejected else b"") + _text(2, message)
    return b"\x0a" + varint(len(partial)) + partial if partial else b""


def refusal(encoding: str, status: int, message: str) -> bytes:
    """A google.rpc.Status for the answer of HTTP status `status`."""
    code = _CODES.get(status, _INTERNAL)
    if encoding == JSON:
        return orjson.dumps({"code": code, "message": message})
    return b"\x08" + varint(code) + _text(2, message)


def _text(field: int, text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return bytes([field << 3 | 2]) + varint(len(data)) + data if data else b""
