"""Logs that an app brings by itself: `POST /api/request-logs/`, `bulk/`, the older trace ingest; and what is said of a log later (PATCH).

Source: respan-api 0.1.49 `spans` and `traces`, and the pages on logging. They go where spans go, and are answered after their commit.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from secrets import token_hex
from typing import Any, Final

from aiohttp import web

from respan_proxy.errors import ProxyError, RequestRejected
from respan_proxy.exchange import Caller
from respan_proxy.respan.filters import Condition, Field, Query
from respan_proxy.respan.spans import COLUMNS, bind, shown
from respan_proxy.server.answers import json_answer
from respan_proxy.server.rest.request_logs import log_not_found
from respan_proxy.server.rest.resource import Route, Store, json_body, json_value, named, sees
from respan_proxy.store.annotating import annotate
from respan_proxy.store.views import whole
from respan_proxy.telemetry import agents_traces, remarks, span_logs
from respan_proxy.telemetry.spans import Annotation, Told

# Respan's own bound.
MAX_LOGS: Final = 500
# Respan takes 20 MB a log; this is for all of a request's together.
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
# Reading ten kilobytes of logs takes some 100 us: more of them would hold up the calls that pass meanwhile.
INLINE_BYTES: Final = 65_536


@dataclass(slots=True)
class _Logs:
    """Logs that came together: those that can be kept by their place among them, and why each of the others cannot."""

    told: dict[int, Told] = field(default_factory=dict)
    later: dict[int, Annotation] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)


async def create_log(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    """One log; the answer is the log as it is stored. One that names a call of this proxy's is said of that call."""
    body, size = await json_value(request, MAX_BODY_BYTES)
    logs = await _read([body], size, caller, store, strict=True)
    await _keep(logs, size, caller, store)
    if error := logs.errors.get(0):
        raise ProxyError(error, status=409, kind="invalid_request", code="not_stored")
    if logs.told:
        stored = await _stored(store, logs.told[0].row.unique_id, caller) or await _its_call(store, logs.told[0], caller)
    else:
        stored = await _stored(store, logs.later[0][0], caller) or {}
    return json_answer({**stored, "message": "log successful"}, 201)


async def create_logs(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    """Up to 500 logs, each for itself; 400 only when none of them can be kept."""
    body, size = await json_value(request, MAX_BODY_BYTES)
    items = body.get("logs") if isinstance(body, dict) else None
    if not isinstance(items, list) or not items:
        raise RequestRejected("logs: expected a list of one log at least", param="logs")
    if len(items) > MAX_LOGS:
        raise RequestRejected(f"logs: found {len(items)}, expected {MAX_LOGS} at most", param="logs")
    logs = await _read(items, size, caller, store)
    await _keep(logs, size, caller, store)
    return _counted(len(items), logs.errors, 201)


async def ingest_trace(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    """Spans as logs, in a list or as the member `data`; what the OpenAI Agents SDK exports by itself is understood too."""
    body, size = await json_value(request, MAX_BODY_BYTES)
    items = body.get("data") if isinstance(body, dict) else body
    if not isinstance(items, list):
        raise RequestRejected("expected a list of spans, or an object whose member 'data' is one", param="data")
    logs = await _read(items, size, caller, store, log_method="tracing_integration")
    await _keep(logs, size, caller, store)
    kept = len(items) - len(logs.errors)
    if items and not kept:
        raise RequestRejected(f"none of {len(items)} spans can be kept; the first one: {logs.errors[0]}")
    trace_ids = list(dict.fromkeys(told.row.trace_unique_id for told in logs.told.values()))
    return json_answer(
        {
            "message": f"{kept} of {len(items)} spans were taken",
            "status": "success" if not logs.errors else "partial",
            "ingested_spans": kept,
            "created_traces": len(trace_ids),
            "trace_ids": trace_ids,
            "errors": _listed(logs.errors),
        }
    )


async def patch_log(request: web.BaseRequest, caller: Caller, store: Store, unique_id: str) -> web.Response:
    """A note, feedback, metadata and the like of one log; the answer is the log as it is then."""
    unique_id = named(unique_id)
    changes = remarks.annotation(await json_body(request))
    if await _annotate([(unique_id, changes)], caller, store) != [True]:
        raise log_not_found(unique_id)
    return json_answer(await _stored(store, unique_id, caller))


async def patch_logs(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    """`{"logs": [{"unique_id": ..., "note": ...}]}`: the same for several; 400 only when none of them is changed."""
    items = (await json_body(request, MAX_BODY_BYTES)).get("logs")
    if not isinstance(items, list) or not items:
        raise RequestRejected("logs: expected a list of one log at least", param="logs")
    errors: dict[int, str] = {}
    wanted: dict[int, Annotation] = {}
    for index, item in enumerate(items):
        try:
            wanted[index] = remarks.named_annotation(item)
        except RequestRejected as error:
            errors[index] = error.message
    found = await _annotate(list(wanted.values()), caller, store)
    for (index, (unique_id, _)), is_there in zip(wanted.items(), found, strict=True):
        if not is_there:
            errors[index] = log_not_found(unique_id).message
    return _counted(len(items), errors, 200)


async def _stored(store: Store, unique_id: str, caller: Caller) -> dict[str, Any] | None:
    found = await store.queries.get(unique_id, sees(caller))
    return None if found is None else await asyncio.to_thread(whole, found)


async def _its_call(store: Store, told: Told, caller: Caller) -> dict[str, Any]:
    """A log that was found to be one of this proxy's calls has no row of its own: the call's, or (beside another telling) what it said."""
    place = {"trace_unique_id": told.row.trace_unique_id or "", "span_unique_id": told.row.span_unique_id or ""}
    query = Query(every=tuple(Condition(Field(name, "text"), "in", (value,)) for name, value in place.items()))
    for found in (await store.queries.find(query, sees(caller))).found:
        return await _stored(store, found.row["unique_id"], caller) or {}
    shape, bound = bind(told.row, content=True)
    return {"id": told.row.unique_id, **shown([COLUMNS[index].name for index in shape], bound)}


async def _read(
    items: list[Any], size_bytes: int, caller: Caller, store: Store, *, log_method: str = "logging_api", strict: bool = False
) -> _Logs:
    """The logs understood. `strict`: the first that cannot be is raised."""
    now = time.time()
    mine = await _calls_named(items, caller, store)
    if size_bytes <= INLINE_BYTES:
        return _understood(items, caller, now, mine, log_method, strict)
    return await asyncio.to_thread(_understood, items, caller, now, mine, log_method, strict)


async def _calls_named(items: list[Any], caller: Caller, store: Store) -> set[str]:
    """Of the ids that the logs name: those of this proxy's own calls."""
    named = {item["unique_id"] for item in items if isinstance(item, dict) and isinstance(item.get("unique_id"), str)}
    if not named:
        return set()
    await store.writer.barrier()
    found = [await store.queries.get(unique_id, sees(caller)) for unique_id in named]
    return {one.row["unique_id"] for one in found if one is not None and one.row["endpoint"] is not None}


def _understood(items: list[Any], caller: Caller, now: float, calls: set[str], log_method: str, strict: bool) -> _Logs:
    logs = _Logs()
    for index, item in enumerate(items):
        log = agents_traces.span_log(item) if agents_traces.is_agents(item) else item
        try:
            if isinstance(log, dict) and log.get("unique_id") in calls:
                logs.later[index] = (log["unique_id"], remarks.said_of_a_call(log))
            else:
                logs.told[index] = span_logs.read(log, caller, now, _new_id(now), log_method=log_method)
        except RequestRejected as error:
            if strict:
                raise
            logs.errors[index] = error.message
    return logs


async def _keep(logs: _Logs, size_bytes: int, caller: Caller, store: Store) -> None:
    """Into the database; what cannot be stored is among the errors then."""
    quiet = {index: told for index, told in logs.told.items() if told.row.disable_log}
    open_ = {index: told for index, told in logs.told.items() if index not in quiet}
    lost = await store.writer.ingest(list(open_.values()), size_bytes, store.content) if open_ else 0
    lost += await store.writer.ingest(list(quiet.values()), 0, "none") if quiet else 0
    if lost:
        for index, told in list(logs.told.items()):
            if await store.queries.get(told.row.unique_id, sees(caller)) is None:
                del logs.told[index]
                logs.errors[index] = f"the log {told.row.unique_id} cannot be stored: the id may be another's; the proxy's log says more"
    if later := [(unique_id, changes) for unique_id, changes in logs.later.values() if changes]:
        await _annotate(later, caller, store)


async def _annotate(said: Sequence[Annotation], caller: Caller, store: Store) -> list[bool]:
    """Which of the rows there are that the caller may see."""
    await store.writer.barrier()
    return await store.writer.change(partial(annotate, said, sees(caller))) if said else []


def _counted(total: int, errors: Mapping[int, str], status: int) -> web.Response:
    answer = {"success_count": total - len(errors), "error_count": len(errors), "errors": _listed(errors)}
    return json_answer(answer, 400 if len(errors) == total else status)


def _listed(errors: Mapping[int, str]) -> list[dict[str, Any]]:
    return [{"index": index, "error": errors[index]} for index in sorted(errors)]


def _new_id(now: float) -> str:
    """As the ids of calls: they sort by time."""
    return f"{int(now * 1000):012x}{token_hex(10)}"


_INGEST = re.compile("(?:/api)?/(?:openai/)?(?:v1/)?traces/ingest")

ROUTES: tuple[Route, ...] = (
    (("POST",), re.compile("(?:/api)?/request-logs(?:/create)?"), create_log),
    (("POST",), re.compile("(?:/api)?/request-logs/bulk"), create_logs),
    (("PATCH",), re.compile("(?:/api)?/request-logs/batch-update"), patch_logs),
    (("PATCH",), re.compile("(?:/api)?/request-logs/(?!(?:list|summary|groups|bulk|create)$)([^/]+)"), patch_log),
    (("POST",), _INGEST, ingest_trace),
)
