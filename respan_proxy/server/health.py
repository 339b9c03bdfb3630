"""Is it alive, is it ready, and how is the memory doing: `/health/live`, `/health/ready`, `/api/health-check/`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from aiohttp import web

from respan_proxy import __version__
from respan_proxy.errors import ProxyError
from respan_proxy.policy.credentials import identify, refuse_strangers
from respan_proxy.server.answers import json_answer

if TYPE_CHECKING:
    from respan_proxy.server.house import House


def answer(house: House, request: web.BaseRequest, path: str) -> web.Response | None:
    match path.rstrip("/"):
        case "/health/live":
            return json_answer({"status": "ok"})
        case "/health/ready" | "/health":
            return _ready(house, request)
        case "/api/health-check" | "/health-check":
            return json_answer({"message": f"respan-proxy {__version__} is healthy"})
        case _:
            return None


def _ready(house: House, request: web.BaseRequest) -> web.Response:
    """503 only while stopping: a database that is away never stops traffic, it is told here.

    Anybody may ask; what was spent is told to those who may read everybody's rows.
    """
    stopping = house.gateway.stopping
    writer = house.writer.status()
    counters = house.gateway.counters
    status = "stopping" if stopping else ("degraded" if writer.last_error else "ok")
    told = {
        "status": status,
        "version": __version__,
        "uptime_s": round(time.time() - house.started_at, 1),
        "providers": [name for name, provider in house.config.providers.items() if provider.usable],
        "writer": asdict(writer),
        "requests": {
            "active": counters.active - 1,
            "served": counters.requests,
            "errors": counters.errors,
            "unauthorized": counters.unauthorized,
            "by_endpoint": counters.by_endpoint,
        },
        "spans": asdict(house.telemetry.counters),
        "exports": house.exports(),
        "resting": [rest.told() for rest in house.breaker.rests(time.monotonic()) if not rest.is_brought],
        "limits": house.spending.told(house.config, amounts=_reads_all(house, request)),
    }
    return json_answer(told, 503 if stopping else 200)


def _reads_all(house: House, request: web.BaseRequest) -> bool:
    try:
        refuse_strangers(request.headers, house.config)
        return identify(request.headers, request.rel_url.raw_query_string, house.config).is_admin
    except ProxyError:
        return False
