"""aiohttp's connections with two words of our own: what is no HTTP is answered as JSON, and nothing of what it held is logged."""

from __future__ import annotations

import logging

import orjson
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

SERVER = "respan-proxy"

log = logging.getLogger(__name__)

MAX_HEADERS = 256  # twice aiohttp's own 128

# A caller that sends on after its refusal is listened to for this long: closing at once would reset the connection, and the
# answer might be lost with it (nginx: lingering_time 30 s).
LINGERING_S = 10.0


class Connections(web.Server):
    """The factory of connections: one per socket."""

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError):
            raise exc  # the caller's connection is gone, or was cut by us: nothing is left to answer to, and nothing to log
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        # The first line of the parser's words says what is wrong; what follows, or stands in quotes, was sent and may be a key.
        log.debug("a connection was closed: what came over it is no HTTP request (%s)", type(exc).__name__)
        if isinstance(exc, LineTooLong):
            status, told = 431, f"a header or the request's line has more than {exc.args[1]} bytes (limits.header_bytes)"
        else:
            why = (message or "").partition("\n")[0].rstrip(":")
            told = "this is no HTTP/1.1 request" if not why or "b'" in why else f"this is no HTTP/1.1 request: {why}"
        error = {"message": told, "type": "invalid_request_error", "param": None, "code": "bad_http"}
        body = orjson.dumps({"error": error, "detail": told})
        response = web.Response(status=status, headers={"Server": SERVER}, body=body, content_type="application/json")
        response.force_close()
        return response
