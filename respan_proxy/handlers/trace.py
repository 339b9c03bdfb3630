"""Every call is remembered: the row is there from the start (`announce`) and whole at the end (`record`)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from respan_proxy.config import Config
from respan_proxy.dialects.observe import Observed
from respan_proxy.exchange import Attempt, Exchange, Next, Reply
from respan_proxy.handlers.content import answer_kept, assembled, bodies, headers_sent
from respan_proxy.handlers.observe import observed
from respan_proxy.handlers.row import (
    end_attempt,
    fill_attempt,
    fill_borrowed,
    fill_observed,
    fill_pace,
    fill_request,
    fill_status,
    told_attempt,
)
from respan_proxy.policy import caching
from respan_proxy.respan.spans import Content, Row
from respan_proxy.wire.headers import masked
from respan_proxy.wire.trace_context import read_traceparent

log = logging.getLogger(__name__)


class Recorder(Protocol):
    """What remembers (store/writer.py): both calls return at once and never raise."""

    def begin(self, row: Row) -> None: ...

    def finish(self, row: Row, content: Content | None) -> None: ...


class Trace:
    """Makes one `Row` of each exchange whose endpoint is logged. `record` stands outside, `announce` behind the parameters."""

    def __init__(self, recorder: Recorder, config: Config, instance_id: str, clock: Callable[[], float]) -> None:
        self._recorder = recorder
        self._config = config
        self._instance_id = instance_id
        self._clock = clock

    async def record(self, exchange: Exchange, call_next: Next) -> Reply:
        if exchange.endpoint.log_type is None:
            return await call_next(exchange)
        exchange.row = self._row(exchange)
        try:
            reply = await call_next(exchange)
        finally:
            exchange.on_complete.append(partial(self._finish, exchange))
        exchange.reply_status, exchange.reply_headers = reply.status, reply.headers
        if exchange.error is not None and isinstance(reply.body, bytes):
            exchange.error_body = reply.body
        if self._config.link_header and exchange.row is not None:
            reply.headers["X-Respan-Log-Id"] = exchange.id
        return reply

    def announce(self, exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
        row = exchange.row
        if row is not None:
            fill_request(row, exchange)
            row.disable_log = forgets_content(exchange) or None
            # What may be a hit is begun when it is known to be none (cache.py): a hit is over at once, or leaves no row at all.
            if not caching.asks(exchange.endpoint.kind, exchange.params.values, self._config.cache):
                self._recorder.begin(row)
        return call_next(exchange)

    def _row(self, exchange: Exchange) -> Row:
        request, endpoint, caller = exchange.request, exchange.endpoint, exchange.caller
        came_with = read_traceparent(request.headers.get("traceparent"))
        return Row(
            unique_id=exchange.id,
            trace_unique_id=exchange.id if came_with is None else came_with.trace_id,
            span_unique_id=exchange.id[16:],
            span_parent_id=None if came_with is None else came_with.span_id,
            span_name=endpoint.name,
            start_time=request.received_at,
            log_type=endpoint.log_type,
            log_method="inference",
            environment=caller.environment,
            organization_key_id=caller.key_id,
            organization_key_name=caller.key_name,
            endpoint=endpoint.name,
            dialect=exchange.dialect.name,
            path=request.path,
            body_bytes=len(request.body),
            instance_id=self._instance_id,
        )

    def _finish(self, exchange: Exchange) -> None:
        row = exchange.row
        if row is None:
            return
        content = None
        try:
            content = self._fill(row, exchange)
        except Exception:
            log.exception("call %s: not all of it could be read for its row", exchange.id)
            fill_status(row, exchange, None)
        self._recorder.finish(row, content)

    def _fill(self, row: Row, exchange: Exchange) -> Content | None:
        latency_s = self._clock() - exchange.started_at
        row.latency = latency_s
        row.timestamp = exchange.request.received_at + latency_s
        attempt = exchange.answered_by
        for one in exchange.attempts:
            if one.ended_at is None or (one is attempt and one.headers is None):
                end_attempt(one, exchange, exchange.started_at + latency_s)
        row.attempts = [told_attempt(attempt, exchange.started_at) for attempt in exchange.attempts] or None
        if exchange.outcome == "complete" and attempt is not None and attempt.error is not None and (attempt.status or 0) < 400:
            exchange.outcome = "upstream_broke"  # told by the provider itself, in its stream
        row.outcome = exchange.outcome
        seen = observed(exchange, attempt) if attempt is not None and attempt.headers is not None else None
        if exchange.borrowed is not None:
            seen = exchange.borrowed.observed
            fill_borrowed(row, exchange.borrowed)
        if attempt is not None:
            fill_attempt(row, exchange, attempt)
        if seen is not None and attempt is not None:
            fill_observed(row, seen, exchange.params.values, attempt.target)
            fill_pace(row, seen, attempt, exchange.started_at)
        fill_status(row, exchange, seen)
        return self._content(exchange, attempt, seen, row.status == "failed")

    def _content(self, exchange: Exchange, attempt: Attempt | None, seen: Observed | None, failed: bool) -> Content | None:
        kept = self._config.content
        if kept == "none" or (kept == "errors" and not failed) or forgets_content(exchange):
            return None
        received, sent = bodies(exchange, attempt)
        return Content(
            request_headers=masked(exchange.request.headers),
            request_body=received,
            sent_body=sent,
            response_headers=masked(headers) if (headers := headers_sent(exchange, attempt)) is not None else (),
            answer=answer_kept(exchange, attempt),
            reply=assembled(seen),
            started_at=exchange.started_at,
            cut=attempt is not None and attempt.is_cut,
            answer_bytes=attempt.chunks_bytes if attempt is not None and not attempt.is_cut else None,
        )


def forgets_content(exchange: Exchange) -> bool:
    """Whether the caller asked that nothing said be kept. A body that could not be read counts as asking when it names the parameter."""
    if exchange.params.disable_log:
        return True
    return exchange.document is None and b"disable_log" in exchange.request.body
