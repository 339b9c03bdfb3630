"""What browsers must be told before a web page of `allowed_origins` may read us (the Fetch standard's CORS protocol).

Origins are named one by one, never `*`, and cookies mean nothing here, so that `Access-Control-Allow-Credentials` is never sent.
"""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import web
from multidict import CIMultiDict, MultiMapping

METHODS = "GET, POST, PUT, PATCH, DELETE"

# How long a browser may remember the answer to its question; Chrome forgets after two hours whatever it is told.
REMEMBERED_S = 7200


def preflight(request: web.BaseRequest, origins: Collection[str]) -> web.Response | None:
    """The answer to a browser's question whether a page may call us; None for what is no such question, or of a page that may not."""
    asked, origin = request.headers, request.headers.get("Origin", "")
    if request.method != "OPTIONS" or origin not in origins or "Access-Control-Request-Method" not in asked:
        return None
    headers = CIMultiDict(
        {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": asked.get("Access-Control-Request-Headers", ""),
            "Access-Control-Max-Age": str(REMEMBERED_S),
            "Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Private-Network",
        }
    )
    if asked.get("Access-Control-Request-Private-Network") == "true":  # a public page calls a private address (Chrome)
        headers["Access-Control-Allow-Private-Network"] = "true"
    return web.Response(status=204, headers=headers)


def permit(headers: CIMultiDict[str], asked: MultiMapping[str], origins: Collection[str]) -> None:
    """Add to an answer's `headers` that the page which asked may read it, all of its headers included; nothing for a page that may not."""
    origin = asked.get("Origin")
    if origin is None or not origins:
        return
    headers.add("Vary", "Origin")
    if origin in origins:
        headers["Access-Control-Expose-Headers"] = ", ".join(dict.fromkeys(headers))
        headers["Access-Control-Allow-Origin"] = origin
