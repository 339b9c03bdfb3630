"""OpenAI chat completions as a dialect: its reader, its writer, and how it tells of failure."""

from __future__ import annotations

from respan_proxy.dialects.dialect import Dialect
from respan_proxy.dialects.faults import payload_error, read_error, write_openai_error
from respan_proxy.dialects.openai_chat_read import Reader, outline, read_reply, read_usage
from respan_proxy.dialects.openai_chat_request_read import read_request
from respan_proxy.dialects.openai_chat_request_write import write_request
from respan_proxy.dialects.openai_chat_write import Writer, interruption, write_reply

DIALECT = Dialect(
    name="openai.chat",
    reader=Reader,
    writer=Writer,
    read_reply=read_reply,
    write_reply=write_reply,
    read_error=read_error,
    write_error=write_openai_error,
    first_error=payload_error,
    interruption=interruption,
    read_usage=read_usage,
    read_count=lambda body: None,
    outline=outline,
    read_request=read_request,
    write_request=write_request,
)
