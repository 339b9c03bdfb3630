"""Anthropic's events as Amazon Bedrock wraps them: taken out of AWS's messages and framed as the SSE that everybody reads.

`chunk` messages hold `{"bytes": BASE64 of an event's JSON}`; what goes wrong in mid-stream is a message of type `exception`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson

from respan_proxy.dialects.faults import FAULTS, anthropic_error
from respan_proxy.errors import Kind, UpstreamError, UpstreamInterrupted
from respan_proxy.wire import aws_events

CONTENT_TYPE = "text/event-stream; charset=utf-8"

# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ResponseStream.html
_KIND_OF_EXCEPTION: Mapping[str, Kind] = {
    "throttlingException": "rate_limit",
    "serviceUnavailableException": "overloaded",
    "internalServerException": "server",
    "modelStreamErrorException": "server",
    "modelTimeoutException": "timeout",
    "validationException": "invalid_request",
    "accessDeniedException": "permission",
}


class ToSse:
    """A step: bytes of an AWS event stream in, SSE of Anthropic's events out. Damage, or an end in the middle, is a break."""

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        self._decoder = aws_events.Decoder()

    def feed(self, chunk: bytes) -> bytes:
        return b"".join([_frame(message) for message in self._decoder.feed(chunk)])

    def end(self, error: UpstreamInterrupted | None) -> bytes:
        if error is None and not self._decoder.complete:
            raise UpstreamInterrupted("the provider's event stream ends in the middle of a message")
        return b""


def _frame(message: aws_events.Message) -> bytes:
    """One message as one SSE frame; b"" for a message that says nothing to us."""
    kind = message.headers.get(":message-type", "event")
    if kind != "event":
        return _error(message)
    try:
        data = base64.b64decode(orjson.loads(message.payload)["bytes"])
        event = orjson.loads(data)
    except (orjson.JSONDecodeError, binascii.Error, KeyError, TypeError, ValueError):
        return b""  # as an event that nobody can read is skipped elsewhere
    name = event.get("type") if isinstance(event, dict) else None
    if not isinstance(name, str) or "\n" in name or "\r" in name:
        return b""
    if b"\n" in data or b"\r" in data:
        data = orjson.dumps(event)
    return b"event: %b\ndata: %b\n\n" % (name.encode("utf-8", "replace"), data)


def _error(message: aws_events.Message) -> bytes:
    """An exception (or an error of the framing's own) in Anthropic's words."""
    said: Any = None
    try:
        said = orjson.loads(message.payload) if message.payload else None
    except orjson.JSONDecodeError:
        pass
    name = message.headers.get(":exception-type") or message.headers.get(":error-code") or "error"
    text = said.get("message") if isinstance(said, dict) else None
    told = text if isinstance(text, str) and text else message.headers.get(":error-message") or name
    kind = _KIND_OF_EXCEPTION.get(name[:1].lower() + name[1:], "server")
    error = anthropic_error(UpstreamError(told, status=FAULTS[kind].status, kind=kind))
    return b"event: error\ndata: %b\n\n" % orjson.dumps({"type": "error", "error": error})
