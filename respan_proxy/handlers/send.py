"""The last link: the request as its target is to see it, and the call itself."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from multidict import CIMultiDict

from respan_proxy.dialects.dialect import Dialect
from respan_proxy.exchange import Attempt, Exchange, Next, Reply, Sends, Target, Told
from respan_proxy.handlers.authenticate import HOP_HEADER
from respan_proxy.policy.credentials import auth_headers
from respan_proxy.respan.endpoints import Endpoint
from respan_proxy.wire.headers import to_provider
from respan_proxy.wire.trace_context import SAMPLED, TraceContext, is_id, read_traceparent


class BuiltIn(Protocol):
    """What `Echo.send` is, as far as this link needs it."""

    def __call__(
        self,
        endpoint: Endpoint,
        dialect: Dialect,
        model: str | None,
        body: bytes,
        stream: bool,
        *,
        query: str,
        stand_in: bool,
        says: str | None,
        now: float,
    ) -> Awaitable[Reply]: ...


def send(upstream: Sends, echo: BuiltIn, instance_id: str, clock: Callable[[], float]) -> Next:
    async def last(exchange: Exchange) -> Reply:
        target, attempt = bound(exchange)
        provider, request = target.provider, exchange.request
        body = attempt.sent = _body(exchange)
        if provider.built_in:
            reply = await echo(
                exchange.endpoint,
                target.dialect,
                target.model,
                body,
                exchange.streams,
                query=request.query,
                stand_in=target.stands_in,
                says=target.says,
                now=time.time(),
            )
        else:
            endpoint, outgoing = exchange.endpoint, exchange.outgoing
            query = endpoint.query(request.query) if outgoing is None else outgoing.query
            told = _told(target, exchange, query)
            hops = request.headers.get(HOP_HEADER)
            # Like a raw relay, a translation passes four plain headers: what one company's client says of itself is not another's business.
            plainly = endpoint.is_relay or outgoing is not None
            headers = to_provider(request.headers, dialect=target.dialect.name, raw_relay_of=provider.name if plainly else None)
            if exchange.headers:
                headers.update(exchange.headers)
            if outgoing is not None:
                headers["Content-Type"] = "application/json"
                if outgoing.headers:
                    headers.update(outgoing.headers)
            if provider.trace_context:
                headers.update(_trace_context(exchange))
            headers.update(told.headers)
            headers[HOP_HEADER] = f"{hops}, {instance_id}" if hops else instance_id
            reply = await upstream(
                provider,
                request.method,
                told.url,
                headers,
                body,
                streams=exchange.streams or endpoint.kind == "passthrough" or (endpoint.kind == "state" and "stream=true" in query),
                notes=attempt.notes,
            )
        attempt.first_byte_at = clock()
        attempt.status = reply.status
        # OpenAI and most others, Anthropic, Azure; Google sends none.
        said = reply.headers.get
        attempt.upstream_request_id = said("x-request-id") or said("request-id") or said("apim-request-id") or said("x-amzn-requestid")
        return reply

    return last


# Of these kinds the paths are those of a table; of others they name what is stored.
_OF_A_TABLE = frozenset({"generate", "embed", "count"})


def _told(target: Target, exchange: Exchange, query: str) -> Told:
    """What goes to a target whatever the caller's headers are; made once for requests with nothing of their own in the URL."""
    endpoint, outgoing, streams = exchange.endpoint, exchange.outgoing, exchange.streams
    if outgoing is not None:
        path, version, place = outgoing.path, None, None
    else:
        path, version, place = endpoint.path, endpoint.version, endpoint.place
    is_plain = outgoing is not None or (not query and version is None and place is None and endpoint.kind in _OF_A_TABLE)
    if is_plain and (known := target.told.get((path, query, streams))) is not None:
        return known
    headers = CIMultiDict(target.provider.headers)
    headers.update(auth_headers(target.provider, target.secret))
    headers["Accept-Encoding"] = "identity"
    told = Told(target.provider.url(path, target.model, query, version=version, place=place, streams=streams), headers)
    if is_plain:
        target.told[path, query, streams] = told
    return told


def _trace_context(exchange: Exchange) -> dict[str, str]:
    """Of what a call at a provider of our own is a part: our span, in the trace that its row is in."""
    row, headers = exchange.row, exchange.request.headers
    came_with = read_traceparent(headers.get("traceparent"))
    trace_id = row.trace_unique_id if row is not None and is_id(row.trace_unique_id, 32) else exchange.id
    span_id = row.span_unique_id if row is not None and is_id(row.span_unique_id, 16) else exchange.id[16:]
    told = {"traceparent": str(TraceContext(trace_id, span_id, came_with.flags if came_with is not None else SAMPLED))}
    # It belongs to the traceparent that it came with: without a good one it says nothing.
    if came_with is not None and (states := headers.getall("tracestate", [])):
        told["tracestate"] = ",".join(states)
    return told


def bound(exchange: Exchange) -> tuple[Target, Attempt]:
    """Target and attempt of a view (`Exchange.toward`); a program error above the choice of a target."""
    if exchange.target is None or exchange.attempt is None:
        raise RuntimeError("a handler below the choice of a target was called above it")
    return exchange.target, exchange.attempt


def _body(exchange: Exchange) -> bytes:
    if exchange.outgoing is not None:
        return exchange.outgoing.body
    if exchange.document is None or not exchange.edits:
        return exchange.request.body
    return exchange.document.edited(exchange.edits.remove, exchange.edits.replace)
