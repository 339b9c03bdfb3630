"""The request is understood as far as the relay needs it: Respan's parameters, the model, whether it streams."""

from __future__ import annotations

import asyncio
from typing import Any

from respan_proxy.config import Config
from respan_proxy.errors import RequestRejected
from respan_proxy.exchange import Exchange, Handler, Next, Reply
from respan_proxy.respan import params
from respan_proxy.wire import json_edit

# orjson holds the GIL: 1 MB takes some 2 ms, and a body above it is scanned in slices that give way to other calls.
WHOLE_PARSE_BYTES = 1_000_000

_READABLE_KINDS = frozenset({"generate", "embed", "count"})


def parameters(config: Config) -> Handler:
    precedence = config.param_precedence

    async def handler(exchange: Exchange, call_next: Next) -> Reply:
        endpoint = exchange.endpoint
        members: dict[str, Any] = {}
        if endpoint.kind in _READABLE_KINDS or _is_json_object(exchange):
            exchange.document = await _document(exchange)
            members = exchange.document.members
        read = params.read(members, exchange.request.headers, endpoint, precedence)
        exchange.params = read.params
        exchange.headers = read.headers
        exchange.edits.remove |= read.remove
        exchange.edits.replace.update(read.replace)
        exchange.warnings += read.warnings
        exchange.model = _model(endpoint.model, members)
        exchange.streams = endpoint.stream if endpoint.stream is not None else members.get("stream") is True
        return await call_next(exchange)

    return handler


def _is_json_object(exchange: Exchange) -> bool:
    return exchange.request.body[:1] == b"{" and "json" in exchange.request.headers.get("Content-Type", "json")


async def _document(exchange: Exchange) -> json_edit.Document:
    body = exchange.request.body
    if not body:
        raise RequestRejected("the request has no body: expected a JSON object")
    try:
        if len(body) <= WHOLE_PARSE_BYTES:
            return json_edit.parse(body)
        scan = json_edit.scan(body)
        while True:
            try:
                next(scan)
            except StopIteration as done:
                document: json_edit.Document = done.value
                return document
            await asyncio.sleep(0)
    except json_edit.JsonProblem as problem:
        raise RequestRejected(f"the request's body is not a JSON object: {problem}") from problem


def _model(from_path: str | None, members: dict[str, Any]) -> str | None:
    if from_path is not None:
        return from_path
    match members.get("model"):
        case None:
            return None
        case str(name):
            return name
        case other:
            raise RequestRejected(f"model: found {type(other).__name__}, expected a string", param="model")
