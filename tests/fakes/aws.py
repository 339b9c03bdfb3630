"""AWS's event-stream framing, written: what Bedrock sends."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    told = b"".join(
        bytes([len(name.encode())]) + name.encode() + b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(told) + len(payload), len(told))
    data = prelude + struct.pack(">I", zlib.crc32(prelude)) + told + payload
    return data + struct.pack(">I", zlib.crc32(data))


def chunk(event: Any) -> bytes:
    """An event of Anthropic's as Bedrock's InvokeModelWithResponseStream sends it; `p` is padding, as there."""
    payload = {"bytes": base64.b64encode(json.dumps(event).encode()).decode(), "p": "abcdefghij"}
    return message({":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}, json.dumps(payload).encode())


def exception(kind: str, text: str) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, json.dumps({"message": text}).encode())
