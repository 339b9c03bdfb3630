"""`/api/request-logs/`: the remembered calls as lists, single calls and sums, in the shapes of Respan's span API."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.observe import observe
from respan_proxy.errors import ProxyError
from respan_proxy.exchange import Caller
from respan_proxy.respan.details import CONTENT_FIELDS, content_fields
from respan_proxy.respan.filters import Query, read
from respan_proxy.respan.messages import completion_message
from respan_proxy.server.answers import json_answer
from respan_proxy.server.rest.resource import Route, Store, envelope, json_body, sees
from respan_proxy.store.bodies import MAX_BODY_BYTES, Kept
from respan_proxy.store.queries import Found
from respan_proxy.wire.encoding import EncodingProblem, decode

# Members of Respan's span object that have no meaning here; its typed client asks for some of them.
_UNKNOWN_HERE: dict[str, Any] = {
    "organization_id": None,
    "unique_organization_id": None,
    "deployment_id": None,
    "period_start": None,
    "period_end": None,
    "limit_info": None,
    "scores": {},
    "blurred": False,
}


async def list_logs(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    query = await _query(request)
    await store.writer.barrier()
    wants_content = not CONTENT_FIELDS.isdisjoint(query.include_fields)
    page = await store.queries.find(query, sees(caller), content=wants_content)
    results = [_summary_row(found, query.include_fields) for found in page.found]
    return json_answer(envelope(request, query, results, page.total))


async def get_log(request: web.BaseRequest, caller: Caller, store: Store, unique_id: str) -> web.Response:
    await store.writer.barrier()
    found = await store.queries.get(unquote(unique_id), sees(caller))
    if found is None:
        raise ProxyError(f"no log has the id {unquote(unique_id)!r}", status=404, kind="not_found", code="log_not_found")
    return json_answer(whole(found))


async def summarize_logs(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    query = await _query(request)
    await store.writer.barrier()
    return json_answer(await store.queries.summary(query, sees(caller)))


ROUTES: tuple[Route, ...] = (
    (("GET", "POST"), re.compile("/api/request-logs/list"), list_logs),
    (("GET", "POST"), re.compile("/api/request-logs/summary"), summarize_logs),
    (("GET",), re.compile("/api/request-logs/([^/]+)"), get_log),
)


async def _query(request: web.BaseRequest) -> Query:
    body = await json_body(request) if request.method == "POST" else {}
    return read(body, request.rel_url.query.items(), time.time())


def whole(found: Found) -> dict[str, Any]:
    """One call with all that is known of it. Beside Respan's fields ours: headers, the request as sent, and each frame with its time."""
    row = {"id": found.row["unique_id"], **found.row, **_UNKNOWN_HERE, **_content(found)}
    kept = found.kept
    if kept is not None:
        row["request_headers"] = kept.request_headers
        row["response_headers"] = kept.response_headers
        row["sent_request"] = None if kept.sent_body is None else _json_or_text(kept.sent_body)
        row["frames"] = [{"time": at, "data": chunk.decode("utf-8", "replace")} for at, chunk in kept.frames]
        row["cut"] = kept.cut
    return row


def _summary_row(found: Found, wanted: frozenset[str]) -> dict[str, Any]:
    row = {"id": found.row["unique_id"], **found.row}
    if found.kept is not None:
        row |= {name: value for name, value in _content(found).items() if name in wanted}
    return row


def _content(found: Found) -> dict[str, Any]:
    kept = found.kept
    if kept is None:
        return dict.fromkeys(CONTENT_FIELDS)
    answer = _plain(kept)
    return content_fields(kept.request_body, answer, kept.reply or _assembled(found.row, answer))


def _assembled(row: Mapping[str, Any], answer: bytes) -> bytes | None:
    """What the writer was spared: most answers are remembered as they came, and put together only here."""
    dialect = DIALECTS.get(row["dialect"] or "")
    if dialect is None or (row["status_code"] or 0) >= 400:
        return None
    seen = observe(dialect, "generate", answer, streamed=bool(row["stream"]))
    return orjson.dumps([completion_message(choice) for choice in seen.reply.choices]) if seen.reply else None


def _plain(kept: Kept) -> bytes:
    """The answer without the compression that a provider gave it unasked; as it came when it cannot be undone (it was cut, say)."""
    encoding = next((value for name, value in kept.response_headers if name.lower() == "content-encoding"), "")
    if not encoding:
        return kept.answer
    try:
        return decode(kept.answer, encoding, MAX_BODY_BYTES)
    except EncodingProblem:
        return kept.answer


def _json_or_text(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")
