"""Telemetry as real SDKs sent it (`tests/recordings/telemetry`), one file a program: every line one POST, in the order they came."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

from respan_proxy.exchange import Caller
from respan_proxy.telemetry.otlp import read
from respan_proxy.telemetry.spans import Span, Told
from respan_proxy.telemetry.vocabularies import tell

PLACE = Path(__file__).parents[1] / "recordings" / "telemetry"
SCENARIOS = sorted(path.stem for path in PLACE.glob("*.jsonl"))
CALLER = Caller(key_id="k1", key_name="mine", environment="test")


def posts(scenario: str) -> list[dict[str, Any]]:
    """`path`, `content_type`, `content_encoding` and either `body` (JSON) or `body_base64` (protobuf, not compressed yet)."""
    return [json.loads(line) for line in (PLACE / f"{scenario}.jsonl").read_text("utf-8").splitlines()]


def spans(scenario: str) -> list[Span]:
    return [span for post in posts(scenario) for span in read(*body(post)).spans]


def body(post: dict[str, Any]) -> tuple[bytes, str]:
    """(the body as it was before its compression, its type)"""
    data = b64decode(post["body_base64"]) if "body_base64" in post else json.dumps(post["body"]).encode()
    return data, post["content_type"]


def told(scenario: str, caller: Caller = CALLER) -> list[Told]:
    return [tell(span, caller) for span in spans(scenario)]
