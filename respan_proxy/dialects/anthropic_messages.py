"""Anthropic Messages as a dialect: its reader, its writer, and how it tells of failure."""

from __future__ import annotations

from respan_proxy.dialects.anthropic_messages_read import Reader, is_ping, read_count, read_reply, read_usage
from respan_proxy.dialects.anthropic_messages_write import Writer, interruption, write_error, write_reply
from respan_proxy.dialects.anthropic_request_read import read_request
from respan_proxy.dialects.anthropic_request_write import write_request
from respan_proxy.dialects.dialect import Dialect
from respan_proxy.dialects.faults import payload_error, read_error

DIALECT = Dialect(
    name="anthropic.messages",
    reader=Reader,
    writer=Writer,
    read_reply=read_reply,
    write_reply=write_reply,
    read_error=read_error,
    write_error=write_error,
    first_error=payload_error,
    interruption=interruption,
    read_usage=read_usage,
    read_count=read_count,
    is_ping=is_ping,
    names_events=True,
    request_id_header="request-id",
    read_request=read_request,
    write_request=write_request,
)
