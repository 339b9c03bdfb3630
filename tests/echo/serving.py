"""The least server that can stand around echo: what an SDK sends goes in, what echo replies comes out."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import orjson
from aiohttp import web

from respan_proxy.dialects import DIALECTS
from respan_proxy.echo.provider import Echo
from respan_proxy.exchange import Reply, Stream

NOW = 1_763_800_000.0
PATHS = (
    (r"/v1/chat/completions", "openai.chat", "generate"),
    (r"/v1/responses", "openai.responses", "generate"),
    (r"/v1/responses/input_tokens", "openai.responses", "count"),
    (r"/v1/embeddings", "openai.chat", "embed"),
    (r"/v1/messages", "anthropic.messages", "generate"),
    (r"/v1/messages/count_tokens", "anthropic.messages", "count"),
    (r"/v\w+/models/(?P<model>.+):(?:generate|streamGenerate)Content", "gemini", "generate"),
    (r"/v\w+/models/(?P<model>.+):countTokens", "gemini", "count"),
    (r"/v\w+/models/(?P<model>.+):(?:embedContent|batchEmbedContents)", "gemini", "embed"),
    (r"/v1/responses/(?P<id>[^/]+)", "openai.responses", "state"),
)


@dataclass(frozen=True, slots=True)
class Received:
    path: str
    headers: Mapping[str, str]
    json: Any


async def ask(echo: Echo, path: str, body: bytes, query: str = "") -> Reply:
    """One request, as the gateway hands it over."""
    for pattern, dialect, kind in PATHS:
        if match := re.fullmatch(pattern, path):
            members = orjson.loads(body) if body else {}
            model = match.groupdict().get("model") or members.get("model")
            streams = ":stream" in path or members.get("stream") is True
            endpoint = cast("Any", SimpleNamespace(kind=kind, path=path))
            return await echo.send(endpoint, DIALECTS[dialect], model, body, streams, query=query, now=NOW)
    raise LookupError(path)


async def collected(reply: Reply) -> bytes:
    if isinstance(reply.body, bytes):
        return reply.body
    async with aclosing(reply.body.chunks()) as chunks:
        return b"".join([chunk async for chunk in chunks])


@asynccontextmanager
async def serving(echo: Echo, received: list[Received] | None = None) -> AsyncIterator[str]:
    """The address of `echo` on a socket; what it is sent is added to `received`."""

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if received is not None:
            received.append(Received(request.path, request.headers, orjson.loads(body)))
        reply = await ask(echo, request.path, body, request.query_string)
        if not isinstance(reply.body, Stream):
            return web.Response(status=reply.status, headers=reply.headers, body=reply.body)
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        await response.prepare(request)
        async with aclosing(reply.body.chunks()) as chunks:
            async for chunk in chunks:
                await response.write(chunk)
        if reply.body.broke and request.transport:
            request.transport.abort()
        return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
