"""W3C trace context: `traceparent`, which says of what a call is a part, and `tracestate`, which goes with it.

Source: https://www.w3.org/TR/trace-context/, level 1. Higher versions are read as far as this one goes, as it demands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeGuard

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_HEX: Final = re.compile(r"[0-9A-Fa-f]{16}(?:[0-9A-Fa-f]{16})?")
_NOTHING: Final = re.compile(r"0*")
SAMPLED: Final = 1


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace: lower-case hex ids of the trace and of the span that called, and the flags (1: recorded)."""

    trace_id: str
    span_id: str
    flags: int = SAMPLED

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags & SAMPLED:02x}"


def read_traceparent(header: str | None) -> TraceContext | None:
    """What a `traceparent` says; None when there is none, or it is none (ids of zeros, version ff, more than version 00 has)."""
    found = _TRACEPARENT.fullmatch(header.strip()) if header else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or _NOTHING.fullmatch(trace_id) or _NOTHING.fullmatch(span_id):
        return None
    return TraceContext(trace_id, span_id, int(flags, 16))


def is_id(text: str | None, digits: int) -> TypeGuard[str]:
    """Whether `text` is an id of a trace (32 digits) or a span (16)."""
    return text is not None and re.fullmatch(f"[0-9a-f]{{{digits}}}", text) is not None and _NOTHING.fullmatch(text) is None


def as_id(text: str) -> str:
    """An id as rows have it: hex digits of a trace or a span are lower-case. Ids that people made up stay as they are."""
    return text.lower() if _HEX.fullmatch(text) else text
