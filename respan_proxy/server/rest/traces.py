"""`/api/traces/`: what belongs together, as lists, trees and sums; shared with anybody, and forgotten. In the shapes of Respan's trace API.

Source: respan-api 0.1.49 `traces`, and the pages about traces.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson
from aiohttp import web

from respan_proxy.errors import RequestRejected
from respan_proxy.exchange import Caller
from respan_proxy.respan.filters import Query, read
from respan_proxy.respan.traces import TRACES
from respan_proxy.server.answers import json_answer, json_bytes
from respan_proxy.server.rest.resource import Route, Store, envelope, json_body, named, sees
from respan_proxy.store.conditions import Sees
from respan_proxy.store.trace_views import in_list, whole
from respan_proxy.store.traces import Opened, Trace, share

# Respan's own bound for one request that deletes.
MOST_DELETED: Final = 1000


async def list_traces(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    query = await _query(request)
    await store.writer.barrier()
    page = await store.traces.find(query, sees(caller), content=True)
    results = await asyncio.to_thread(_listed, page.traces)
    return json_answer(envelope(request, query, results, page.total))


async def get_trace(request: web.BaseRequest, caller: Caller, store: Store, trace_id: str) -> web.Response:
    return await _whole(store, named(trace_id), sees(caller))


async def get_public(request: web.BaseRequest, store: Store, trace_id: str) -> web.Response:
    """Of a trace that was made public, the lines of the keys that made it so; for anybody. Any other is not there."""
    await store.writer.barrier()
    keys = await store.traces.sharers(named(trace_id))
    return await _whole(store, named(trace_id), keys)


async def patch_trace(request: web.BaseRequest, caller: Caller, store: Store, trace_id: str) -> web.Response:
    """`{"is_public": true}`: anybody may read what the caller sees of the trace; false: nobody any more. An unknown id is no error."""
    body = await json_body(request)
    if body.keys() != {"is_public"} or not isinstance(body["is_public"], bool):
        found = orjson.dumps(body).decode()[:100]
        raise RequestRejected(f'expected {{"is_public": true}} or false, found {found}', param="is_public")
    shared = body["is_public"]
    await store.writer.change(partial(share, trace_ids=[named(trace_id)], key_id=sees(caller), is_public=shared))
    return json_answer({"trace_unique_id": named(trace_id), "is_public": shared})


async def delete_trace(request: web.BaseRequest, caller: Caller, store: Store, trace_id: str) -> web.Response:
    """Forget it, or nothing when there is no such trace in the window that the URL may name (`start_time`, `end_time`)."""
    window = [(name, value) for name, value in request.rel_url.query.items() if name in ("start_time", "end_time")]
    wanted = {"filters": {"trace_unique_id": [named(trace_id)]}, **({} if window else {"start_time": 0})}
    gone = await _forget(store, caller, read(wanted, window, time.time(), TRACES))
    return json_answer({"message": "Trace deleted" if gone else "There was no such trace", "success": True})


async def delete_traces(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    body = await json_body(request)
    if not body.get("filters"):
        raise RequestRejected("filters: expected one at least, found none: they choose the traces to delete", param="filters")
    # What the body says of time narrows what the URL says: it must not be lost because both say something.
    query = read(body, (), time.time(), replace(TRACES, window_s=None))
    window_s = None if any(condition.field.kind == "time" for condition in query.every) else TRACES.window_s
    further = read({}, request.rel_url.query.items(), time.time(), replace(TRACES, window_s=window_s))
    gone = await _forget(store, caller, replace(query, every=(*query.every, *further.every)))
    said = f"{gone} traces were deleted"
    return json_answer({"success_count": gone, "error_count": 0, "errors": [], "deleted_count": gone, "message": said})


async def _forget(store: Store, caller: Caller, query: Query) -> int:
    """How many traces met the query, and are forgotten: of each what the caller sees."""
    await store.writer.barrier()
    ids = await store.traces.ids(query, MOST_DELETED + 1, sees(caller))
    if len(ids) > MOST_DELETED:
        raise RequestRejected(f"more than {MOST_DELETED} traces meet the filters: narrow them", param="filters", status=422)
    if ids:
        await store.writer.forget(ids, sees(caller))
        await store.writer.change(partial(share, trace_ids=ids, key_id=sees(caller), is_public=False))
    return len(ids)


async def summarize_traces(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    query = await _query(request)
    await store.writer.barrier()
    return json_answer(await store.traces.summary(query, sees(caller)))


async def _whole(store: Store, trace_id: str, keys: Sees) -> web.Response:
    await store.writer.barrier()
    opened = await store.traces.open(trace_id, keys)
    if opened is None:
        return json_answer({"error": "Trace not found", "detail": "Trace not found"}, 404)
    return json_bytes(await asyncio.to_thread(_as_json, opened))


def _as_json(opened: Opened) -> bytes:
    return orjson.dumps(whole(opened))


def _listed(traces: list[Trace]) -> list[dict[str, Any]]:
    return [in_list(trace) for trace in traces]


async def _query(request: web.BaseRequest) -> Query:
    body = await json_body(request) if request.method == "POST" else {}
    return read(body, request.rel_url.query.items(), time.time(), TRACES)


# Whoever it belongs to in Respan's cloud: here there is one house. Versions of other paths are no names.
PUBLIC: Final = re.compile("/api/(?!v[0-9]+/)[^/]+/traces/([^/]+)")

ROUTES: tuple[Route, ...] = (
    (("GET", "POST"), re.compile("/api/traces/list"), list_traces),
    (("POST",), re.compile("/api/traces/bulk(?:-delete)?"), delete_traces),
    (("GET", "POST"), re.compile("/api/(?:clickhouse/)?traces/summary"), summarize_traces),
    (("GET", "POST"), re.compile("/api/traces/([^/]+)"), get_trace),
    (("PATCH",), re.compile("/api/traces/([^/]+)"), patch_trace),
    (("DELETE",), re.compile("/api/traces/([^/]+)"), delete_trace),
)
