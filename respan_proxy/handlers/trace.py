"""Every call is remembered: the row is there from the start (`announce`) and whole at the end (`record`)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

import orjson
from multidict import MultiMapping

from respan_proxy.config import Config
from respan_proxy.dialects.first_words import first_words
from respan_proxy.dialects.observe import Observed
from respan_proxy.dialects.openai_chat import FINISH_REASONS
from respan_proxy.exchange import Attempt, Exchange, Next, Reply
from respan_proxy.handlers.observe import observed
from respan_proxy.respan.credentials import may_hold_credentials, redact_members
from respan_proxy.respan.messages import completion_message
from respan_proxy.respan.pricing import price
from respan_proxy.respan.spans import Content, Row
from respan_proxy.wire import json_edit
from respan_proxy.wire.headers import MASK, masked

log = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499  # nginx's status for a caller that left; Respan's rows show it too

# What Respan's rows say of tokens that no provider counted.
ESTIMATED = "estimated token usage"

# Tokens that came within less were not written one after the other: they lay in one buffer, and tell nothing of a pace.
SHORTEST_WRITING_S = 0.001

# A provider's word for an error; a sentence in its place could quote the conversation.
_CODE = re.compile(r"[\w.-]{1,64}")

# Respan's parameters that are columns of the same name.
PARAMETER_COLUMNS = frozenset(
    {
        "customer_identifier",
        "customer_email",
        "customer_name",
        "thread_identifier",
        "custom_identifier",
        "group_identifier",
        "session_identifier",
        "trace_group_identifier",
        "evaluation_identifier",
        "metadata",
        "properties",
        "variables",
        "note",
        "category",
        "positive_feedback",
        "span_name",
        "span_workflow_name",
        "span_path",
        "span_parent_id",
        "trace_name",
    }
)

# Numbers of a request that are columns: the names in the four dialects (Gemini's stand in generationConfig) -> column.
NUMBER_COLUMNS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "topP": "top_p",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "maxOutputTokens": "max_tokens",
    "frequency_penalty": "frequency_penalty",
    "frequencyPenalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "presencePenalty": "presence_penalty",
}


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
        if self._config.link_header:
            reply.headers["X-Respan-Log-Id"] = exchange.id
        return reply

    async def announce(self, exchange: Exchange, call_next: Next) -> Reply:
        row = exchange.row
        if row is not None:
            _fill_request(row, exchange)
            self._recorder.begin(row)
        return await call_next(exchange)

    def _row(self, exchange: Exchange) -> Row:
        request, endpoint, caller = exchange.request, exchange.endpoint, exchange.caller
        return Row(
            unique_id=exchange.id,
            trace_unique_id=exchange.id,
            span_unique_id=exchange.id[16:],
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
            _fill_status(row, exchange, None)
        self._recorder.finish(row, content)

    def _fill(self, row: Row, exchange: Exchange) -> Content | None:
        latency_s = self._clock() - exchange.started_at
        row.latency = latency_s
        row.timestamp = exchange.request.received_at + latency_s
        attempt = exchange.attempts[-1] if exchange.attempts else None
        if attempt is not None and (attempt.ended_at is None or attempt.headers is None):
            _end(attempt, exchange, exchange.started_at + latency_s)
        row.attempts = [_attempt(attempt, exchange.started_at) for attempt in exchange.attempts] or None
        if exchange.outcome == "complete" and attempt is not None and attempt.error is not None:
            exchange.outcome = "upstream_broke"  # told by the provider itself, in its stream
        row.outcome = exchange.outcome
        seen = observed(exchange, attempt) if attempt is not None and attempt.headers is not None else None
        if attempt is not None:
            _fill_attempt(row, exchange, attempt)
        if seen is not None and attempt is not None:
            _fill_observed(row, seen, attempt, exchange.params.values)
            _fill_pace(row, seen, attempt, exchange.started_at)
        _fill_status(row, exchange, seen)
        return self._content(exchange, attempt, seen, row.status == "failed")

    def _content(self, exchange: Exchange, attempt: Attempt | None, seen: Observed | None, failed: bool) -> Content | None:
        kept = self._config.content
        if kept == "none" or (kept == "errors" and not failed) or forgets_content(exchange):
            return None
        received, sent = _bodies(exchange, attempt)
        return Content(
            request_headers=masked(exchange.request.headers),
            request_body=received,
            sent_body=sent,
            response_headers=masked(headers) if (headers := _headers(exchange, attempt)) is not None else (),
            answer=_answer(exchange, attempt),
            reply=_assembled(seen),
            started_at=exchange.started_at,
            cut=attempt is not None and attempt.is_cut,
            answer_bytes=attempt.chunks_bytes if attempt is not None and not attempt.is_cut else None,
        )


def forgets_content(exchange: Exchange) -> bool:
    """Whether the caller asked that nothing said be kept. A body that could not be read counts as asking when it names the parameter."""
    if exchange.params.disable_log:
        return True
    return exchange.document is None and b"disable_log" in exchange.request.body


def _fill_request(row: Row, exchange: Exchange) -> None:
    row.request_model = row.model = exchange.model
    row.stream = exchange.streams
    values = exchange.params.values
    for name in values.keys() & PARAMETER_COLUMNS:
        setattr(row, name, values[name])
    if trace_id := values.get("trace_unique_id"):
        row.trace_unique_id = trace_id
    if span_id := values.get("span_unique_id"):
        row.span_unique_id = span_id
    if exchange.document is not None:
        _fill_members(row, exchange.document.members)


def _fill_members(row: Row, members: Mapping[str, Any]) -> None:
    inner = members.get("generationConfig")
    for source in (members, inner) if isinstance(inner, dict) else (members,):
        for name in source.keys() & NUMBER_COLUMNS.keys():
            value = source[name]
            if isinstance(value, int | float) and not isinstance(value, bool):
                setattr(row, NUMBER_COLUMNS[name], value)
    # On chat a member of its own, in Responses inside another.
    if isinstance(effort := members.get("reasoning_effort") or _inside(members.get("reasoning"), "effort"), str):
        row.reasoning_effort = effort
    if isinstance(form := members.get("response_format") or _inside(members.get("text"), "format"), dict):
        row.response_format = form


def _inside(member: object, name: str) -> Any:
    return member.get(name) if isinstance(member, dict) else None


def _fill_attempt(row: Row, exchange: Exchange, attempt: Attempt) -> None:
    target = attempt.target
    row.provider_id = target.provider.name
    row.provider_dialect = target.dialect.name
    row.model = target.model or row.model
    row.used_custom_credential = target.secret_is_callers
    row.simulated = target.provider.built_in
    row.upstream_request_id = attempt.upstream_request_id
    row.routing_time = attempt.started_at - exchange.started_at
    row.answer_bytes = attempt.chunks_bytes if attempt.answer is None else len(attempt.answer)


def _fill_observed(row: Row, seen: Observed, attempt: Attempt, said: Mapping[str, Any]) -> None:
    asked, row.model = row.model, seen.model or row.model
    row.response_id = seen.response_id
    row.finish_reason = FINISH_REASONS.get(seen.finish, "stop") if seen.finish is not None else None
    row.has_tool_calls = seen.calls_tools
    usage = seen.usage
    if usage is None:
        return
    row.prompt_tokens = usage.prompt
    row.completion_tokens = usage.output
    row.total_request_tokens = usage.total
    row.prompt_cache_hit_tokens = usage.cached
    row.prompt_cache_creation_tokens = usage.write
    row.reasoning_tokens = usage.reasoning
    row.usage_estimated = usage.estimated
    row.cost, row.cost_source = price(row.model, row.provider_id, usage, row.start_time, said)
    if row.cost is None and asked != row.model:
        # Deployments and fine-tunes answer with names that no table knows.
        row.cost, row.cost_source = price(asked, row.provider_id, usage, row.start_time, said)


def _fill_pace(row: Row, seen: Observed, attempt: Attempt, since: float) -> None:
    """Of a stream: when its first words, thoughts or call came, and the pace from there on. Of a whole answer: when it began to come."""
    ended_at = attempt.ended_at
    if ended_at is None or (attempt.status or 0) >= 400:
        return
    if attempt.answer is not None:
        first_at, writing_s = attempt.first_byte_at, ended_at - since
    else:
        first_at = first_words(attempt.target.dialect.name, attempt.chunks)
        writing_s = ended_at - first_at if first_at is not None else 0.0
        if writing_s < SHORTEST_WRITING_S:
            writing_s = ended_at - since
    if first_at is not None:
        row.time_to_first_token = first_at - since
    if seen.usage is not None and seen.usage.output and writing_s > 0:
        row.tokens_per_second = seen.usage.output / writing_s


def _fill_status(row: Row, exchange: Exchange, seen: Observed | None) -> None:
    error = exchange.error
    match exchange.outcome:
        case "client_left":
            row.status, row.status_code = "failed", CLIENT_CLOSED_REQUEST
            row.error_code, row.error_message = "client_left", "the caller left before the answer was complete"
        case "stopped":
            row.status, row.status_code = "interrupted", 503
            row.error_code, row.error_message = "stopped", "the proxy stopped before this call was complete"
        case "upstream_broke":
            row.status, row.status_code = "failed", 502
            row.error_code = "upstream_broke"
            row.error_message = exchange.attempts[-1].error if exchange.attempts else None
        case _:
            row.status_code = exchange.reply_status or 500
            row.status = "failed" if row.status_code >= 400 or error is not None else "success"
            if error is not None:
                row.error_code, row.error_message = error.code or error.kind, error.message
            elif seen is not None and seen.error is not None:
                row.status, row.error_message = "failed", seen.error
                row.error_code = seen.error_code if _CODE.fullmatch(seen.error_code or "") else None
    warnings = [*exchange.warnings, *exchange.quiet_warnings, *([ESTIMATED] if row.usage_estimated else [])]
    if warnings:
        row.warnings = ", ".join(warnings)
    if row.status == "success" and (warnings or len(exchange.attempts) > 1):
        row.status = "warning"


def _end(attempt: Attempt, exchange: Exchange, now: float) -> None:
    """The end of a try that was not let come to its own."""
    attempt.ended_at = attempt.ended_at or now
    if attempt.error is None and exchange.outcome in _CUT_SHORT:
        attempt.error = _CUT_SHORT[exchange.outcome]


_CUT_SHORT: Mapping[str | None, str] = {"client_left": "the caller left", "stopped": "the proxy stopped"}


def _attempt(attempt: Attempt, since: float) -> dict[str, Any]:
    """One try as the row shows it; times are seconds since the request came."""
    seen: dict[str, Any] = {
        "provider_id": attempt.target.provider.name,
        "model": attempt.target.model,
        "status_code": attempt.status,
        "started": round(attempt.started_at - since, 6),
    }
    if attempt.first_byte_at is not None:
        seen["first_byte"] = round(attempt.first_byte_at - since, 6)
    if attempt.ended_at is not None:
        seen["ended"] = round(attempt.ended_at - since, 6)
    if attempt.error is not None:
        seen["error"] = attempt.error
    if attempt.notes:
        seen["notes"] = attempt.notes
    if attempt.upstream_request_id is not None:
        seen["upstream_request_id"] = attempt.upstream_request_id
    return seen


def _bodies(exchange: Exchange, attempt: Attempt | None) -> tuple[bytes, bytes | None]:
    """The request's body as received and, where it differs, as sent; credentials in either masked."""
    document, received = exchange.document, exchange.request.body
    sent = attempt.sent if attempt is not None and attempt.sent is not received else None
    if document is None:
        return (MASK.encode() if may_hold_credentials(received) else received), sent
    if not (secret := redact_members(document.members)):
        return received, sent
    if sent is not None and attempt is not None and attempt.target.dialect is not exchange.dialect:
        # Said anew in another dialect: what is secret in it is looked for in itself.
        told = json_edit.parse(sent)
        sent = told.edited((), redact_members(told.members))
    elif sent is not None and attempt is not None:
        kept = {name: value for name, value in secret.items() if name not in attempt.edits.remove and name not in attempt.edits.replace}
        sent = document.edited(attempt.edits.remove, {**attempt.edits.replace, **kept})
    return document.edited((), secret), sent


def _headers(exchange: Exchange, attempt: Attempt | None) -> MultiMapping[str] | None:
    """The headers that the caller was sent."""
    if exchange.reply_headers is not None:
        return exchange.reply_headers
    return attempt.headers if attempt is not None else None


def _answer(exchange: Exchange, attempt: Attempt | None) -> bytes | list[tuple[float, bytes]]:
    if attempt is None or attempt.headers is None:
        return exchange.error_body or b""
    if attempt.original is not None:
        return attempt.original
    return attempt.answer if attempt.answer is not None else attempt.chunks


def _assembled(seen: Observed | None) -> bytes | None:
    if seen is None or seen.reply is None:
        return None
    return orjson.dumps([completion_message(choice) for choice in seen.reply.choices])
