"""traceparent is read as the W3C says, and what is none is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.wire.trace_context import TraceContext, is_id, read_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_traceparent_is_read_and_written() -> None:
    assert read_traceparent(f" 00-{TRACE}-{SPAN}-01") == TraceContext(TRACE, SPAN, 1)
    assert str(TraceContext(TRACE, SPAN, 0)) == f"00-{TRACE}-{SPAN}-00"


def test_a_later_version_may_say_more_and_is_read_as_far_as_this_one_goes() -> None:
    assert read_traceparent(f"01-{TRACE}-{SPAN}-03-more") == TraceContext(TRACE, SPAN, 3)
    assert str(TraceContext(TRACE, SPAN, 3)) == f"00-{TRACE}-{SPAN}-01", "flags that this version does not know are not set"


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "00", f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-01-more", f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE.upper()}-{SPAN}-01"),
        *(f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE[:-1]}-{SPAN}-01", f"00-{TRACE}-{SPAN}-1"),
    ],
)
def test_what_is_no_traceparent_is_none(header: str | None) -> None:
    assert read_traceparent(header) is None


@given(st.text(max_size=60))
def test_no_header_stops_a_call(header: str) -> None:
    read_traceparent(header)


def test_ids_are_lower_case_hex_and_not_zero() -> None:
    assert is_id(TRACE, 32)
    assert not any(is_id(text, 16) for text in (None, "", TRACE, SPAN.upper(), "0" * 16, f"{SPAN}\n"))
