"""OpenAI Responses as a dialect: its reader, its writer, and how it tells of failure."""

from __future__ import annotations

from respan_proxy.dialects.dialect import Dialect
from respan_proxy.dialects.faults import read_error, write_openai_error
from respan_proxy.dialects.openai_responses_interrupt import interruption
from respan_proxy.dialects.openai_responses_read import Reader, first_error, read_count, read_reply, read_usage
from respan_proxy.dialects.openai_responses_write import Writer, write_reply
from respan_proxy.dialects.responses_request_read import read_request
from respan_proxy.dialects.responses_request_write import write_request

DIALECT = Dialect(
    name="openai.responses",
    reader=Reader,
    writer=Writer,
    read_reply=read_reply,
    write_reply=write_reply,
    read_error=read_error,
    write_error=write_openai_error,
    first_error=first_error,
    interruption=interruption,
    read_usage=read_usage,
    read_count=read_count,
    read_request=read_request,
    write_request=write_request,
)
