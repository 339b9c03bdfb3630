"""Token counts for every model: exact where its provider can count, else an estimate that says so."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any

from multidict import CIMultiDict

from respan_proxy.dialects import counts
from respan_proxy.dialects.asked import compact
from respan_proxy.dialects.observe import Observed
from respan_proxy.exchange import Exchange, Next, Outgoing, Reply
from respan_proxy.handlers.send import bound
from respan_proxy.handlers.translate import answer_headers, asked, enveloped, error_retold
from respan_proxy.respan.endpoints import at_provider

ESTIMATED = "count:estimated"

# Servers that speak a dialect but count nothing answer so.
NOT_THERE = frozenset({404, 405, 501})


def count_tokens(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
    return _counted(exchange, call_next) if exchange.endpoint.kind == "count" else call_next(exchange)


async def _counted(exchange: Exchange, call_next: Next) -> Reply:
    target, _ = bound(exchange)
    client = exchange.dialect.name
    counts_there = target.provider.quirks.counts_tokens
    if target.dialect is exchange.dialect and counts_there:
        return await call_next(exchange)
    members = await asked(exchange)
    if not counts_there or not counts.can_count(target.dialect.name):
        return _estimate(exchange, members)
    request = counts.read_count_request(client, members, exchange.model)
    profile = target.profile
    written = counts.write_count_request(target.dialect.name, replace(request, model=profile.model or request.model), profile)
    path, query = at_provider(target.dialect.name, "count")
    exchange.outgoing = Outgoing(compact(enveloped(written, path, exchange), "request").encode(), path, query)
    reply = await call_next(exchange)
    if reply.status in NOT_THERE:
        return _estimate(exchange, members)
    if reply.status >= 400 or not isinstance(reply.body, bytes):
        return error_retold(reply, target.dialect, exchange)
    count = counts.read_count(target.dialect.name, reply.body)
    return Reply(200, answer_headers(reply), counts.write_count(client, count)) if count is not None else _estimate(exchange, members)


def _estimate(exchange: Exchange, members: Mapping[str, Any]) -> Reply:
    _, attempt = bound(exchange)
    count = counts.estimated(members)
    attempt.observed = Observed(counted=count.tokens)  # that the provider cannot count is no failure of the call
    exchange.warnings.append(ESTIMATED)
    body = counts.write_count(exchange.dialect.name, count)
    return Reply(200, CIMultiDict({"Content-Type": "application/json"}), body)
