"""`/api/request-logs/`: the remembered calls as lists, single calls and sums, in the shapes of Respan's span API."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import orjson
from aiohttp import web

from respan_proxy.errors import ProxyError
from respan_proxy.exchange import Caller
from respan_proxy.respan.details import CONTENT_FIELDS
from respan_proxy.respan.filters import Query, read
from respan_proxy.server.answers import json_answer, json_bytes
from respan_proxy.server.rest.resource import Route, Store, envelope, json_body, named, sees
from respan_proxy.store.queries import Found
from respan_proxy.store.views import brief, whole

# Reading what was said takes some 20 us for each of these kilobytes: more of them would hold up the calls that pass meanwhile.
INLINE_BYTES = 65_536


async def list_logs(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    query = await _query(request)
    await store.writer.barrier()
    wants_content = not CONTENT_FIELDS.isdisjoint(query.include_fields)
    page = await store.queries.find(query, sees(caller), content=wants_content)
    if wants_content:
        results = await asyncio.to_thread(_briefs, page.found, query.include_fields)
    else:
        results = _briefs(page.found, query.include_fields)
    return json_answer(envelope(request, query, results, page.total))


async def get_log(request: web.BaseRequest, caller: Caller, store: Store, unique_id: str) -> web.Response:
    await store.writer.barrier()
    found = await store.queries.get(named(unique_id), sees(caller))
    if found is None:
        raise log_not_found(named(unique_id))
    if found.kept is None or found.kept.size_bytes < INLINE_BYTES:
        return json_answer(whole(found))
    return json_bytes(await asyncio.to_thread(_whole_as_json, found))


def log_not_found(unique_id: str) -> ProxyError:
    return ProxyError(f"no log has the id {unique_id!r}", status=404, kind="not_found", code="log_not_found")


async def summarize_logs(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    query = await _query(request)
    await store.writer.barrier()
    return json_answer(await store.queries.summary(query, sees(caller)))


def _briefs(found: list[Found], wanted: frozenset[str]) -> list[dict[str, Any]]:
    return [brief(one, wanted) for one in found]


def _whole_as_json(found: Found) -> bytes:
    return orjson.dumps(whole(found))


ROUTES: tuple[Route, ...] = (
    (("GET", "POST"), re.compile("/api/request-logs/list"), list_logs),
    (("GET", "POST"), re.compile("/api/request-logs/summary"), summarize_logs),
    (("GET",), re.compile("/api/request-logs/([^/]+)"), get_log),
)


async def _query(request: web.BaseRequest) -> Query:
    body = await json_body(request) if request.method == "POST" else {}
    return read(body, request.rel_url.query.items(), time.time())
