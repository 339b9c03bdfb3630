"""Telemetry as real SDKs sent it (`tests/recordings/telemetry`), one file a program: every line one POST, in the order they came."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from respan_proxy.exchange import Caller
from respan_proxy.telemetry.spans import Event, Link, Source, Span, Told
from respan_proxy.telemetry.vocabularies import tell

PLACE = Path(__file__).parents[1] / "recordings" / "telemetry"
SCENARIOS = sorted(path.stem for path in PLACE.glob("*.jsonl"))
CALLER = Caller(key_id="k1", key_name="mine", environment="test")


def posts(scenario: str) -> list[dict[str, Any]]:
    """`path`, `content_type`, `content_encoding` and either `body` (JSON) or `body_base64` (protobuf, not compressed yet)."""
    return [json.loads(line) for line in (PLACE / f"{scenario}.jsonl").read_text("utf-8").splitlines()]


def spans(scenario: str) -> list[Span]:
    return [span for post in posts(scenario) for span in _spans(post["body"])]


def told(scenario: str, caller: Caller = CALLER) -> list[Told]:
    return [tell(span, caller) for span in spans(scenario)]


def _spans(body: dict[str, Any]) -> list[Span]:
    found = []
    for resource in body["resourceSpans"]:
        for scoped in resource["scopeSpans"]:
            scope = scoped.get("scope", {})
            source = Source(_attributes(resource["resource"]), scope.get("name", ""), scope.get("version", ""))
            found += [_span(span, source) for span in scoped["spans"]]
    return found


def _span(span: dict[str, Any], source: Source) -> Span:
    status = span.get("status", {})
    return Span(
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_id=span.get("parentSpanId"),
        name=span["name"],
        kind=span["kind"],
        start_ns=int(span["startTimeUnixNano"]),
        end_ns=int(span["endTimeUnixNano"]),
        attributes=_attributes(span),
        source=source,
        events=[Event(event["name"], int(event["timeUnixNano"]), _attributes(event)) for event in span.get("events", ())],
        links=[Link(link["traceId"], link["spanId"], _attributes(link)) for link in span.get("links", ())],
        status=status.get("code", 0),
        status_message=status.get("message", ""),
    )


def _attributes(owner: dict[str, Any]) -> dict[str, Any]:
    return {pair["key"]: _value(pair["value"]) for pair in owner.get("attributes", ())}


def _value(value: dict[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    match kind:
        case "intValue":
            return int(inner)
        case "arrayValue":
            return [_value(item) for item in inner["values"]]
        case "kvlistValue":
            return {pair["key"]: _value(pair["value"]) for pair in inner["values"]}
    return inner
