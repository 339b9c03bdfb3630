"""`/api/caches/`: the answers that are kept, as a list with sums, one by one, and forgotten; in the shapes of Respan's cache API.

Source: respan-api 0.1.49 `caches`, and the page "list cached responses". They live in memory: a restart begins with none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

import orjson
from aiohttp import web

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.observe import observe
from respan_proxy.errors import ProxyError, RequestRejected
from respan_proxy.exchange import Caller
from respan_proxy.handlers.entries import NEVER, Entries, Entry
from respan_proxy.respan.details import content_fields
from respan_proxy.respan.filters import Condition, Listed, Query, read, time_of
from respan_proxy.respan.messages import completion_message
from respan_proxy.respan.spans import NANO, ColumnKind, iso_time
from respan_proxy.server.answers import json_answer
from respan_proxy.server.rest.resource import Route, Store, envelope, json_body, sees

# Respan's own bounds.
MAX_KEYS: Final = 1000
PREVIEW_CHARS: Final = 100

# What can be filtered and sorted by; the first four are Respan's.
_FIELDS: Final[Mapping[str, tuple[ColumnKind, Callable[[Entry], str | int | float | None]]]] = {
    "cache_key_by_org_uuid": ("text", lambda entry: entry.key),
    "timestamp": ("time", lambda entry: entry.created_at),
    "updated_at": ("time", lambda entry: entry.updated_at),
    "expiry_date": ("time", lambda entry: None if entry.expires_at == NEVER else entry.expires_at),
    "cache_key": ("text", lambda entry: entry.key),
    "model": ("text", lambda entry: entry.model),
    "provider_id": ("text", lambda entry: entry.provider_id),
    "hit_count": ("integer", lambda entry: entry.hits),
}
_LISTED: Final = Listed({name: kind for name, (kind, _) in _FIELDS.items()})


async def list_caches(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    query = await _query(request, store.entries)
    found = _found(query, store.entries, caller)
    page = found[(query.page - 1) * query.page_size : query.page * query.page_size]
    data = envelope(request, query, [_shown(entry) for entry in page], len(found))
    data["current_filters"] = {condition.field.name: list(condition.values) for condition in (*query.every, *query.some)}
    return json_answer({"summary": _sums(found), "data": data})


async def summarize_caches(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    found = _found(await _query(request, store.entries), store.entries, caller)
    return json_answer({"total_count": len(found), **_sums(found)})


async def get_cache(request: web.BaseRequest, caller: Caller, store: Store, key: str) -> web.Response:
    return json_answer(_shown(_one(store.entries, caller, key)))


async def patch_cache(request: web.BaseRequest, caller: Caller, store: Store, key: str) -> web.Response:
    """`expiry_date` alone: an ISO 8601 time, seconds of the epoch, or null for never. One in the past forgets the answer."""
    entry = _one(store.entries, caller, key)
    body = await json_body(request)
    if body.keys() != {"expiry_date"}:
        found = ", ".join(sorted(body)) or "none"
        raise RequestRejected(f"expected the member 'expiry_date' and no other, found {found}", param="expiry_date")
    said = body["expiry_date"]
    entry.expires_at = NEVER if said is None else time_of(said, "expiry_date")
    entry.updated_at = store.entries.now()
    store.entries.put(entry)
    return json_answer(_shown(entry))


async def delete_cache(request: web.BaseRequest, caller: Caller, store: Store, key: str) -> web.Response:
    store.entries.remove(_one(store.entries, caller, key).key)
    return web.Response(status=204)


async def delete_caches(request: web.BaseRequest, caller: Caller, store: Store) -> web.Response:
    body = await json_body(request)
    match {name: value for name, value in body.items() if value is not None and value is not False}:
        case {"cache_keys": list(keys), **rest} if not rest and all(isinstance(key, str) for key in keys):
            if len(keys) > MAX_KEYS:
                raise RequestRejected(f"cache_keys: expected {MAX_KEYS} at most, found {len(keys)}", param="cache_keys", status=422)
            wanted = keys
        case {"all": True, **rest} if not rest:
            wanted = [entry.key for entry in _found(Query(), store.entries, caller)]
        case _:
            raise RequestRejected("expected either 'cache_keys' (a list of strings) or 'all': true")
    mine = {entry.key for entry in _found(Query(), store.entries, caller)}
    errors = [{"cache_key": key, "error": "not found"} for key in wanted if key not in mine or not store.entries.remove(key)]
    gone = len(wanted) - len(errors)
    return json_answer(
        {
            "success_count": gone,
            "error_count": len(errors),
            "errors": errors,
            "deleted_count": gone,
            "message": f"{gone} of {len(wanted)} kept answers were deleted",
        }
    )


ROUTES: tuple[Route, ...] = (
    (("GET", "POST"), re.compile("/api/caches"), list_caches),
    (("GET", "POST"), re.compile("/api/caches/summary"), summarize_caches),
    (("DELETE",), re.compile("/api/caches/bulk"), delete_caches),
    (("GET",), re.compile("/api/caches/([^/]+)"), get_cache),
    (("PATCH",), re.compile("/api/caches/([^/]+)"), patch_cache),
    (("DELETE",), re.compile("/api/caches/([^/]+)"), delete_cache),
)


async def _query(request: web.BaseRequest, entries: Entries) -> Query:
    body = await json_body(request) if request.method == "POST" else {}
    return read(body, request.rel_url.query.items(), entries.now(), _LISTED)


def _found(query: Query, entries: Entries, caller: Caller) -> list[Entry]:
    """What the caller may see and asks for, in the order asked for."""
    whose = sees(caller)
    found = [
        entry
        for entry in entries.all()
        if whose in (None, entry.key_id)
        and all(_meets(condition, entry) for condition in query.every)
        and (not query.some or any(_meets(condition, entry) for condition in query.some))
    ]
    _, value = _FIELDS[query.sort.name]
    unknown = [entry for entry in found if value(entry) is None]
    known = [entry for entry in found if value(entry) is not None]
    return sorted(known, key=lambda entry: value(entry) or 0, reverse=query.descending) + unknown


def _one(entries: Entries, caller: Caller, key: str) -> Entry:
    wanted, whose = unquote(key), sees(caller)
    found = next((entry for entry in entries.all() if entry.key == wanted and whose in (None, entry.key_id)), None)
    if found is None:
        raise ProxyError(f"no answer is kept under {wanted!r}", status=404, kind="not_found", code="cache_not_found")
    return found


_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "contains": lambda value, text: text in value,
    "icontains": lambda value, text: text.lower() in value.lower(),
    "startswith": lambda value, text: value.startswith(text),
    "endswith": lambda value, text: value.endswith(text),
    "iexact": lambda value, text: text.lower() == value.lower(),
    "in": lambda value, wanted: value == wanted,
}


def _meets(condition: Condition, entry: Entry) -> bool:
    value = _FIELDS[condition.field.name][1](entry)
    operator: str = condition.operator
    if operator in ("empty", "not_empty"):
        return (value is None) == (operator == "empty")
    negated = operator.startswith("not_")
    holds = _ORDER[operator.removeprefix("not_")]
    return value is not None and any(holds(value, wanted) for wanted in condition.values) != negated


def _sums(found: list[Entry]) -> dict[str, Any]:
    """What the hits on these answers saved: US dollars, tokens, seconds."""
    return {
        "total_cost": sum(entry.hits * (entry.cost or 0) for entry in found) / NANO,
        "total_hit_count": sum(entry.hits for entry in found),
        "total_tokens": sum(entry.hits * (entry.observed.usage.total if entry.observed.usage else 0) for entry in found),
        "total_time": sum(entry.hits * entry.latency_s for entry in found),
    }


def _shown(entry: Entry) -> dict[str, Any]:
    """Respan's cache object, and beside it what we know more. Of a caller who asked for it (`disable_log`) nothing said is shown."""
    usage = entry.observed.usage
    shown: dict[str, Any] = {
        "id": entry.key,
        "cache_key": entry.key,
        "prompt_content": None,
        "response_content": None,
        "request_content": None,
        "prompt_messages": None,
        "full_response": None,
        "hit_count": entry.hits,
        "response_time": entry.latency_s,
        "timestamp": iso_time(entry.created_at),
        "updated_at": iso_time(entry.updated_at),
        "expiry_date": None if entry.expires_at == NEVER else iso_time(entry.expires_at),
        "model": entry.observed.model or entry.model,
        "provider_id": entry.provider_id,
        "total_tokens": usage.total if usage is not None else None,
        "cost": entry.cost / NANO if entry.cost is not None else None,
        "size_bytes": entry.size_bytes,
        "log_id": entry.log_id,
    }
    if not entry.is_private:
        shown |= _content(entry)
    return shown


def _content(entry: Entry) -> dict[str, Any]:
    said = None
    if entry.kind == "generate":
        reply = observe(DIALECTS[entry.dialect], "generate", entry.body, streamed=entry.form != "whole").reply
        said = orjson.dumps([completion_message(choice) for choice in reply.choices]) if reply is not None else None
    fields = content_fields(entry.request, entry.body, said)
    message = fields["completion_message"]
    messages = fields["prompt_messages"]
    prompt = _preview(messages[-1].get("content")) if messages and isinstance(messages[-1], dict) else None
    return {
        "prompt_content": prompt,
        "response_content": _preview(message["content"]) if message else None,
        "request_content": prompt,
        "prompt_messages": messages,
        "full_response": fields["full_response"],
    }


def _preview(said: Any) -> str | None:
    if said is None:
        return None
    text = said if isinstance(said, str) else orjson.dumps(said).decode()
    return text if len(text) <= PREVIEW_CHARS else text[: PREVIEW_CHARS - 3] + "..."
