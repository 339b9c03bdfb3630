"""JSON answers of the parts that are not the gateway, in Respan's own shape."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from respan_proxy.errors import ProxyError


def json_answer(value: Any, status: int = 200) -> web.Response:
    return json_bytes(orjson.dumps(value), status)


def json_bytes(body: bytes, status: int = 200) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")


def json_error(error: ProxyError) -> web.Response:
    """`detail` is Respan's REST form, `error` what the OpenAI SDK reads."""
    told = {"message": error.message, "type": error.kind, "param": error.param, "code": error.code or error.kind}
    response = json_answer({"detail": error.message, "error": told}, error.status)
    response.headers.update(error.headers)
    return response
