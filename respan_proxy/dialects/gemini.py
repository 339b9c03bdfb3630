"""Gemini's generateContent as a dialect: its reader, its writer, and how it tells of failure."""

from __future__ import annotations

from respan_proxy.dialects.dialect import Dialect
from respan_proxy.dialects.faults import payload_error, read_error
from respan_proxy.dialects.gemini_read import Reader, read_count, read_reply, read_usage
from respan_proxy.dialects.gemini_request_read import read_request
from respan_proxy.dialects.gemini_request_write import write_request
from respan_proxy.dialects.gemini_write import Writer, interruption, write_error, write_reply

DIALECT = Dialect(
    name="gemini",
    reader=Reader,
    writer=Writer,
    read_reply=read_reply,
    write_reply=write_reply,
    read_error=read_error,
    write_error=write_error,
    first_error=payload_error,
    telling=(b'"error"', b'"functionCall"'),  # a call changes what STOP means
    interruption=interruption,
    read_usage=read_usage,
    read_count=read_count,
    read_request=read_request,
    write_request=write_request,
)
