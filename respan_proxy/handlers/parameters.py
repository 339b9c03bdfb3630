"""The request is understood as far as the relay needs it: Respan's parameters, the model, whether it streams."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

from multidict import MultiMapping

from respan_proxy.config import Config
from respan_proxy.errors import Forbidden, RequestRejected
from respan_proxy.exchange import Exchange, Handler, Next, Reply
from respan_proxy.handlers.faults import asked_for
from respan_proxy.respan import params
from respan_proxy.respan.credentials import MAY_HOLD_CREDENTIALS
from respan_proxy.respan.endpoints import Endpoint
from respan_proxy.wire import json_edit, multipart

# orjson holds the GIL: 1 MB takes some 2 ms, and a body above it is scanned in slices that give way to other calls.
WHOLE_PARSE_BYTES = 1_000_000

_READABLE_KINDS = frozenset({"generate", "embed", "count"})


def parameters(config: Config) -> Handler:
    precedence = config.param_precedence

    def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
        if len(exchange.request.body) > WHOLE_PARSE_BYTES and exchange.refused is None and _holds_members(exchange):
            return scanned(exchange, call_next)
        understand(exchange, None)
        return call_next(exchange)

    async def scanned(exchange: Exchange, call_next: Next) -> Reply:
        try:
            scan: json_edit.Document | RequestRejected = await _scanned(exchange.request.body)
        except RequestRejected as error:
            scan = error
        understand(exchange, scan)
        return await call_next(exchange)

    def understand(exchange: Exchange, scan: json_edit.Document | RequestRejected | None) -> None:
        endpoint, headers = exchange.endpoint, exchange.request.headers
        members: Mapping[str, Any] = {}
        asked: Mapping[str, Any] = members
        try:
            if exchange.refused is not None:
                raise exchange.refused
            if isinstance(scan, RequestRejected):
                raise scan
            if scan is not None:
                exchange.document = scan
                asked = members = scan.members
            elif _holds_members(exchange):
                exchange.document = _parsed(exchange.request.body)
                asked = members = exchange.document.members
            elif endpoint.log_type is not None and (boundary := multipart.boundary_of(headers.get("Content-Type", ""))) is not None:
                exchange.document = form = multipart.parse(exchange.request.body, boundary)
                members, asked = form.members, _asked(form)
        except RequestRejected:
            exchange.params = _of_headers(headers, endpoint, precedence)
            raise
        try:
            read = params.read(asked, headers, endpoint, precedence)
        except RequestRejected:
            exchange.params = _UNKNOWN
            raise
        if read is not params.NOTHING_SAID:
            exchange.params = read.params
            exchange.headers = read.headers
            exchange.edits.remove |= read.remove
            exchange.edits.replace.update(read.replace)
            exchange.warnings += read.warnings
        exchange.model = _model(endpoint.model, members)
        if "simulate" in read.params.values:
            _permit_faults(config, read.params.values["simulate"])
        exchange.streams = endpoint.stream if endpoint.stream is not None else _streams(members.get("stream"))

    return handler


def _permit_faults(config: Config, asked: object) -> None:
    """Refuse a fault that is not allowed or not understood before anything comes of the request."""
    if not config.faults.per_request:
        raise Forbidden("simulate: this proxy makes no faults on request; faults.per_request = true lets it", param="simulate")
    asked_for(asked)


# What was asked for is not known, and may have been that nothing be kept.
_UNKNOWN = params.Params({"disable_log": True})

# What a body too big to be parsed is read for.
_WANTED = params.NAMES | MAY_HOLD_CREDENTIALS


def _is_json_object(exchange: Exchange) -> bool:
    return exchange.request.body[:_FIRST].lstrip()[:1] == b"{" and "json" in exchange.request.headers.get("Content-Type", "json")


# Nobody indents the beginning of a body by more.
_FIRST = 64


def _asked(form: multipart.Form) -> dict[str, Any]:
    """The parameters among a form's fields."""
    for part in form.parts:
        if part.name not in form.members and params.respan_fields([part.name]):
            raise RequestRejected(f"{part.name}: is larger than what is read of parameters (1 MB), or a file", param=part.name)
    return params.from_form(form.members)


def _of_headers(headers: MultiMapping[str], endpoint: Endpoint, precedence: params.Precedence) -> params.Params:
    """What the headers alone ask for, of a request whose body cannot be read."""
    try:
        return params.read({}, headers, endpoint, precedence).params
    except RequestRejected:
        return _UNKNOWN


def _streams(said: object) -> bool:
    """As JSON says it, and as a form does."""
    return said is True or said == "true"


def _holds_members(exchange: Exchange) -> bool:
    return exchange.endpoint.kind in _READABLE_KINDS or _is_json_object(exchange)


def _parsed(body: bytes) -> json_edit.Document:
    if not body:
        raise RequestRejected("the request has no body: expected a JSON object")
    try:
        return json_edit.parse(body)
    except json_edit.JsonProblem as problem:
        raise _no_object(problem) from problem


async def _scanned(body: bytes) -> json_edit.Document:
    try:
        scan = json_edit.scan(body, _WANTED)
        while True:
            try:
                next(scan)
            except StopIteration as done:
                document: json_edit.Document = done.value
                return document
            await asyncio.sleep(0)
    except json_edit.JsonProblem as problem:
        raise _no_object(problem) from problem


def _no_object(problem: json_edit.JsonProblem) -> RequestRejected:
    return RequestRejected(f"the request's body is not a JSON object: {problem}")


def _model(from_path: str | None, members: Mapping[str, Any]) -> str | None:
    if from_path is not None:
        return from_path
    match members.get("model"):
        case None:
            return None
        case str(name):
            return name
        case other:
            raise RequestRejected(f"model: found {type(other).__name__}, expected a string", param="model")
