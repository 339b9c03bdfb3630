"""What every REST resource needs: the store behind it, the request's JSON, who may see whose rows, and the envelope of a page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from re import Pattern
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from respan_proxy.dialects.lenient import read_json_text
from respan_proxy.errors import RequestRejected
from respan_proxy.exchange import Caller
from respan_proxy.handlers.entries import Entries
from respan_proxy.respan.filters import Query
from respan_proxy.server.reading import read_body
from respan_proxy.store.ingest import KeptContent
from respan_proxy.store.queries import Queries
from respan_proxy.store.traces import Traces
from respan_proxy.store.writer import Writer
from respan_proxy.wire.trace_context import as_id

# A page of filters; nobody writes a megabyte of them.
MAX_BODY_BYTES = 1024 * 1024
UPLOAD_S = 10.0
PARSED_INLINE_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class Store:
    """Reads await the writer first, so that a caller finds what it has just done; a database that is away delays them by 250 ms."""

    queries: Queries
    traces: Traces
    writer: Writer
    entries: Entries
    content: KeptContent = "full"
    """Of spans and logs that are brought from outside: what is kept of what was said."""


Answer = Callable[..., Awaitable[web.Response]]
Route = tuple[tuple[str, ...], Pattern[str], Answer]


def sees(caller: Caller) -> str | None:
    """The key whose rows the caller may read; None: all rows (an admin key, or loopback without keys)."""
    return None if caller.is_admin else caller.key_id


def named(part: str) -> str:
    """The id that a part of a path says, as rows have it."""
    return as_id(unquote(part))


async def json_body(request: web.BaseRequest, limit_bytes: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """The request's JSON object; an empty body is an empty object."""
    value, _ = await json_value(request, limit_bytes)
    if not isinstance(value, dict):
        raise RequestRejected(f"the body must be a JSON object, found {type(value).__name__}")
    return value


async def json_value(request: web.BaseRequest, limit_bytes: int) -> tuple[Any, int]:
    """The request's JSON, whatever it is, and how many bytes it took; an empty body is an empty object."""
    body = await read_body(request, limit_bytes, UPLOAD_S)
    if not body.strip():
        return {}, 0
    try:
        value = read_json_text(body) if len(body) < PARSED_INLINE_BYTES else await asyncio.to_thread(read_json_text, body)
    except ValueError as error:
        raise RequestRejected(f"the body is not JSON: {error}") from None
    return value, len(body)


def envelope(request: web.BaseRequest, query: Query, results: list[dict[str, Any]], total: int) -> dict[str, Any]:
    """Respan's page: `count` is of this page, `next` and `previous` absolute addresses or null; `total_count` is ours."""

    def page(number: int) -> str:
        return str(request.url.update_query(page=number))

    return {
        "count": len(results),
        "total_count": total,
        "next": page(query.page + 1) if query.page * query.page_size < total else None,
        "previous": page(query.page - 1) if query.page > 1 else None,
        "results": results,
    }
