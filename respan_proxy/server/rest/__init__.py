"""Respan's REST resources, one file each; here only which function answers what."""

from __future__ import annotations

import re

from aiohttp import web

from respan_proxy.errors import RequestRejected
from respan_proxy.exchange import Caller
from respan_proxy.server.rest import caches, groups, logging_api, request_logs, traces
from respan_proxy.server.rest.resource import Store

ROUTES = (*groups.ROUTES, *logging_api.ROUTES, *request_logs.ROUTES, *traces.ROUTES, *caches.ROUTES)


async def dispatch_openly(request: web.BaseRequest, path: str, store: Store) -> web.StreamResponse | None:
    """What anybody may read without a key; None for every other path."""
    found = traces.PUBLIC.fullmatch(_place(path)) if request.method == "GET" else None
    return None if found is None else await traces.get_public(request, store, *found.groups())


async def dispatch(request: web.BaseRequest, path: str, caller: Caller, store: Store) -> web.StreamResponse | None:
    """The answer of the resource at `path` (with or without slashes at its end, never a redirect); None when there is none.

    Raises what `ProxyError` says.
    """
    place = _place(path)
    allowed: set[str] = set()
    for methods, pattern, answer in ROUTES:
        if found := pattern.fullmatch(place):
            if request.method in methods:
                return await answer(request, caller, store, *found.groups())
            allowed |= set(methods)
    if not allowed:
        return None
    names = ", ".join(sorted(allowed))
    raise RequestRejected(f"{place} answers to {names}, not to {request.method}", status=405, headers={"Allow": names})


def _place(path: str) -> str:
    return re.sub("/+", "/", path).rstrip("/")
