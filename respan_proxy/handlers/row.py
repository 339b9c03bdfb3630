"""What a call was, column by column: an exchange and what came of it, told in Respan's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from respan_proxy.dialects.first_words import first_words
from respan_proxy.dialects.observe import Observed
from respan_proxy.dialects.openai_chat_write import FINISH_REASONS
from respan_proxy.dialects.usage import SHORTEST_WRITING_S, Usage
from respan_proxy.exchange import Attempt, Borrowed, Exchange, Target
from respan_proxy.respan.pricing import price
from respan_proxy.respan.spans import IDENTIFIERS, Row
from respan_proxy.wire.masking import cleaned, cleaned_error

CLIENT_CLOSED_REQUEST = 499  # nginx's status for a caller that left; Respan's rows show it too

# What Respan's rows say of tokens that no provider counted.
ESTIMATED = "estimated token usage"

# Where the cost of a borrowed answer comes from, which is nothing.
FROM_CACHE = "cache"

# And of events of a provider's stream that are no JSON: the caller got the others.
UNREAD = "unreadable events skipped: {count}"

# Where the cost comes from of an answer that the request itself brought.
FROM_MOCK = "mock_response"

# A provider's word for an error; a sentence in its place could quote the conversation.
_CODE = re.compile(r"[\w.-]{1,64}")

# Respan's parameters that are columns of the same name.
PARAMETER_COLUMNS = frozenset(
    {
        *IDENTIFIERS,
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


def fill_request(row: Row, exchange: Exchange) -> None:
    row.request_model = row.model = exchange.model
    row.stream = exchange.streams
    values = exchange.params.values
    if values:
        _fill_parameters(row, values)
    if exchange.document is not None:
        _fill_members(row, exchange.document.members)


def _fill_parameters(row: Row, values: Mapping[str, Any]) -> None:
    for name in values.keys() & PARAMETER_COLUMNS:
        setattr(row, name, cleaned(values[name]))
    if (trace_id := values.get("trace_unique_id")) and trace_id != row.trace_unique_id:
        row.trace_unique_id = trace_id
        row.span_parent_id = values.get("span_parent_id")  # the parent that `traceparent` names is of another trace
    if span_id := values.get("span_unique_id"):
        row.span_unique_id = span_id


def _fill_members(row: Row, members: Mapping[str, Any]) -> None:
    inner = members.get("generationConfig")
    for source in (members, inner) if isinstance(inner, dict) else (members,):
        for name, value in source.items():
            if name in NUMBER_COLUMNS and isinstance(value, int | float) and not isinstance(value, bool):
                setattr(row, NUMBER_COLUMNS[name], value)
    # On chat a member of its own, in Responses inside another.
    if isinstance(effort := members.get("reasoning_effort") or _inside(members.get("reasoning"), "effort"), str):
        row.reasoning_effort = effort
    if isinstance(form := members.get("response_format") or _inside(members.get("text"), "format"), dict):
        row.response_format = form


def _inside(member: object, name: str) -> Any:
    return member.get(name) if isinstance(member, dict) else None


def fill_attempt(row: Row, exchange: Exchange, attempt: Attempt) -> None:
    target = attempt.target
    row.provider_id = target.provider.name
    row.provider_dialect = target.dialect.name
    row.model = target.model or row.model
    row.used_custom_credential = target.secret_is_callers
    row.deployment_name = target.deployment
    row.simulated = target.provider.built_in
    row.upstream_request_id = attempt.upstream_request_id
    row.routing_time = attempt.started_at - exchange.started_at
    row.answer_bytes = attempt.chunks_bytes if attempt.answer is None else len(attempt.answer)


def fill_borrowed(row: Row, borrowed: Borrowed) -> None:
    """What nobody was paid for: the tokens are told, and what they would have cost."""
    seen = borrowed.observed
    row.provider_id, row.simulated = borrowed.provider_id, borrowed.simulated
    row.model = borrowed.model or row.model
    row.answer_bytes = len(answer) if isinstance(answer := borrowed.answer, bytes) else sum(len(chunk) for _, chunk in answer)
    fill_said(row, seen)
    if seen.error is None:
        row.cache_bit = True
        row.cost, row.cost_source, row.saved_cost = 0, FROM_CACHE, borrowed.saved


def fill_observed(row: Row, seen: Observed, said: Mapping[str, Any], target: Target) -> None:
    asked = row.model
    fill_said(row, seen)
    if target.says is not None:
        row.usage_estimated, row.cost, row.cost_source = True, 0, FROM_MOCK
        return
    if seen.usage is not None:
        row.cost, row.cost_source = cost_of(seen.usage, row.model, asked, row.provider_id, row.start_time, said)


def cost_of(
    usage: Usage, model: str | None, asked: str | None, provider_id: str | None, at: float | None, said: Mapping[str, Any]
) -> tuple[int | None, str | None]:
    """(nano-dollars, where the price comes from) of the model that answered, or else of the one that was asked.

    Deployments and fine-tunes answer with names that no table knows.
    """
    cost, source = price(model, provider_id, usage, at, said)
    if cost is None and asked != model:
        return price(asked, provider_id, usage, at, said)
    return cost, source


def fill_said(row: Row, seen: Observed) -> None:
    row.model = seen.model or row.model
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


def fill_pace(row: Row, seen: Observed, attempt: Attempt, since: float) -> None:
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


def fill_status(row: Row, exchange: Exchange, seen: Observed | None) -> None:
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
            if (attempt := exchange.answered_by) is not None:
                row.error_message = attempt.error
            elif error is not None:  # of a call that others made
                row.error_message = error.message
        case _:
            row.status_code = exchange.reply_status or 500
            row.status = "failed" if row.status_code >= 400 or error is not None else "success"
            if error is not None:
                row.error_code, row.error_message = error.code or error.kind, error.message
            elif seen is not None and seen.error is not None:
                row.status, row.error_message = "failed", seen.error
                row.error_code = seen.error_code if _CODE.fullmatch(seen.error_code or "") else None
    if row.error_message is not None:
        row.error_message = cleaned_error(row.error_message)
    warnings = exchange.warnings + exchange.quiet_warnings
    if row.usage_estimated:
        warnings.append(ESTIMATED)
    if seen is not None and seen.unread:
        warnings.append(UNREAD.format(count=seen.unread))
    if warnings:
        row.warnings = ", ".join(warnings)
    if row.status == "success" and (warnings or len(exchange.attempts) > 1):
        row.status = "warning"


def end_attempt(attempt: Attempt, exchange: Exchange, now: float) -> None:
    """The end of a try that was not let come to its own."""
    attempt.ended_at = attempt.ended_at or now
    if attempt.error is None and exchange.outcome in _CUT_SHORT:
        attempt.error = _CUT_SHORT[exchange.outcome]


_CUT_SHORT: Mapping[str | None, str] = {"client_left": "the caller left", "stopped": "the proxy stopped"}


def told_attempt(attempt: Attempt, since: float) -> dict[str, Any]:
    """One try as the row shows it; times are seconds since the request came."""
    seen: dict[str, Any] = {
        "provider_id": attempt.target.provider.name,
        "model": attempt.target.model,
        "status_code": attempt.status,
        "started": round(attempt.started_at - since, 6),
    }
    if attempt.target.deployment is not None:
        seen["deployment_name"] = attempt.target.deployment
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
