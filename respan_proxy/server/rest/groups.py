"""`/api/request-logs/groups/`, `/api/log_threads/`, `/api/log_sessions/`: the remembered calls summed by what they have in common.

Source: respan-api 0.1.49 `spans.request_logs_groups_*`; the page "list threads". Sessions are listed as threads are.
"""

from __future__ import annotations

import re
import time
from typing import Final

from aiohttp import web

from respan_proxy.errors import RequestRejected
from respan_proxy.exchange import Caller
from respan_proxy.respan.filters import Query, read
from respan_proxy.server.answers import json_answer
from respan_proxy.server.rest.resource import Route, Store, envelope, json_body, sees
from respan_proxy.store.groups import SUMS

# Respan's names of what calls are grouped by, and ours behind them, with the column.
_BY: Final = {
    **{name: name for name in ("model", "provider_id", "organization_key_id", "prompt_id", "deployment_name")},
    **{name: name for name in ("custom_identifier", "customer_identifier", "environment", "log_type", "service_name")},
    "deployment_id": "deployment_name",
    "trace": "trace_unique_id",
    "thread": "thread_identifier",
    "session": "session_identifier",
}


# Said of the list as a whole, beside what every list understands.
_OWN: Final = ("group_by", "sort_by")


async def list_groups(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    query, by, sort_by = await _asked(request)
    by = by or "model"
    if by not in _BY:
        raise RequestRejected(f"group_by: expected one of {', '.join(_BY)}, found {by!r}", param="group_by")
    return await _answer(request, caller, store, query, (_BY[by],), sort_by or "-number_of_requests")


async def list_threads(request: web.BaseRequest, caller: Caller, store: Store, what: str) -> web.Response:
    """Threads or sessions, the one that something was said in last first."""
    query, _, sort_by = await _asked(request)
    return await _answer(request, caller, store, query, (_BY[what], "environment"), sort_by or "-last_seen")


async def _answer(request: web.BaseRequest, caller: Caller, store: Store, query: Query, by: tuple[str, ...], sort_by: str) -> web.Response:
    sort = sort_by.removeprefix("-")
    if sort not in SUMS:
        raise RequestRejected(f"sort_by: expected one of {', '.join(SUMS)}, found {sort_by!r}", param="sort_by")
    await store.writer.barrier()
    found = await store.queries.groups(query, by, sort, sort_by.startswith("-"), sees(caller))
    filters = {condition.field.name: list(condition.values) for condition in (*query.every, *query.some)}
    return json_answer({**envelope(request, query, found.rows, found.total), "current_filters": filters, "filters_data": {}})


async def _asked(request: web.BaseRequest) -> tuple[Query, str, str]:
    """The lines that are meant, what they are grouped by, and in which order."""
    body = await json_body(request) if request.method == "POST" else {}
    by, sort_by = (str(request.rel_url.query.get(name) or body.get(name) or "") for name in _OWN)
    parameters = [(name, value) for name, value in request.rel_url.query.items() if name not in _OWN]
    return read({name: value for name, value in body.items() if name not in _OWN}, parameters, time.time()), by, sort_by


ROUTES: tuple[Route, ...] = (
    (("GET", "POST"), re.compile("/api/request-logs/groups"), list_groups),
    (("GET", "POST"), re.compile("/api/log_(thread|session)s"), list_threads),
)
