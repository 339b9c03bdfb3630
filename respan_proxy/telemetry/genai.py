"""A remembered row -> the span that is passed on: GenAI names (1.37 to 1.41), Respan's for what those have no word for.

A call of the gateway becomes a CLIENT span. A row that is an app's span stays that span, with its own attributes, and the normalised names
beside them; a call that an app's span is about is that span, with what the call knows. Source of the names: semantic-conventions v1.41.1,
`docs/gen-ai/gen-ai-spans.md`; respan-sdk 2.9.0, `otlp_constants`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from respan_proxy import __version__
from respan_proxy.config.exports import PassedContent, Vocabulary
from respan_proxy.dialects.lenient import json_text
from respan_proxy.respan.spans import GENERATIONS, NANO, Row
from respan_proxy.telemetry.genai_messages import input_messages, output_messages, tool_definitions
from respan_proxy.telemetry.quoting import without_content
from respan_proxy.telemetry.reserved import public_metadata, public_span
from respan_proxy.telemetry.spans import MARK, Event, Link, Remembered, Said, Source, Span

INTERNAL, CLIENT = 1, 3
ERROR = 2
SCOPE = "respan-proxy"

OPERATIONS: Final[Mapping[str, str]] = {
    "chat": "chat",
    "response": "chat",
    "generation": "chat",
    "completion": "text_completion",
    "text": "text_completion",
    "embedding": "embeddings",
    "tool": "execute_tool",
    "function": "execute_tool",
    "agent": "invoke_agent",
    "workflow": "invoke_workflow",
}

# The conventions' names of providers, where ours differ.
PROVIDERS: Final[Mapping[str, str]] = {
    "gemini": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai",
    "bedrock": "aws.bedrock",
    "azure_openai": "azure.ai.openai",
    "foundry": "azure.ai.inference",
    "xai": "x_ai",
    "mistral": "mistral_ai",
}

# Attribute <- column, for calls of models.
_OF_MODELS: Final = (
    ("gen_ai.request.temperature", "temperature"),
    ("gen_ai.request.top_p", "top_p"),
    ("gen_ai.request.max_tokens", "max_tokens"),
    ("gen_ai.request.frequency_penalty", "frequency_penalty"),
    ("gen_ai.request.presence_penalty", "presence_penalty"),
    ("gen_ai.request.reasoning.level", "reasoning_effort"),
    ("gen_ai.request.stream", "stream"),
    ("gen_ai.response.model", "model"),
    ("gen_ai.response.id", "response_id"),
    ("gen_ai.usage.input_tokens", "prompt_tokens"),
    ("gen_ai.usage.output_tokens", "completion_tokens"),
    ("gen_ai.usage.cache_read.input_tokens", "prompt_cache_hit_tokens"),
    ("gen_ai.usage.cache_creation.input_tokens", "prompt_cache_creation_tokens"),
    ("gen_ai.usage.reasoning.output_tokens", "reasoning_tokens"),
    ("gen_ai.prompt.name", "prompt_name"),
)

# And for every row.
_OF_ALL: Final = (
    ("gen_ai.conversation.id", "thread_identifier"),
    ("respan.entity.log_type", "log_type"),
    ("respan.customer_params.customer_identifier", "customer_identifier"),
    ("respan.customer_params.email", "customer_email"),
    ("respan.customer_params.name", "customer_name"),
    ("respan.threads.thread_identifier", "thread_identifier"),
    ("respan.sessions.session_identifier", "session_identifier"),
    ("respan.trace.trace_group_identifier", "trace_group_identifier"),
    ("respan.span_params.custom_identifier", "custom_identifier"),
    ("respan.span_params.group_identifier", "group_identifier"),
    ("respan.evaluation_params.evaluation_identifier", "evaluation_identifier"),
    ("respan.environment", "environment_tag"),
    ("traceloop.workflow.name", "span_workflow_name"),
    ("traceloop.entity.path", "span_path"),
    # Names of the general conventions, which Langfuse and Phoenix look for.
    ("user.id", "customer_identifier"),
    ("session.id", "session_identifier"),
)

# Until 1.36.
_LEGACY: Final = (
    ("gen_ai.system", "gen_ai.provider.name"),
    ("gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens"),
    ("gen_ai.usage.completion_tokens", "gen_ai.usage.output_tokens"),
)


# Of characters: some 30 processes. One that goes through more of them has not been kept from going round by this.
_MOST_MARKS: Final = 1000


def span_of(found: Remembered, *, content: PassedContent, vocabulary: Vocabulary, resource: Mapping[str, Any], mark: str) -> Span:
    """The span to pass on. `resource` are attributes that the export adds to every resource, `mark` the id of this process."""
    row, raw = found.row, None if found.raw is None else public_span(found.raw)
    span = _own(row) if raw is None else _of_raw(raw, row)
    if content == "none":
        span = without_content(span)
    span.parent_id = _hex(found.parent_id or row.span_parent_id, 16)
    is_call = row.log_method == "inference"
    told = _attributes(row, vocabulary)
    if content == "full" and found.said is not None:
        told |= _said(row, found.said)
    if is_call or raw is None:
        told |= _metadata(row, raw)
    if is_call:
        span.attributes |= told
    else:
        span.attributes = {**told, **span.attributes}
    if is_call or raw is None:
        _fail(span, row, content)
    span.source = replace(span.source, resource={**span.source.resource, **_resource(row), **resource, MARK: _passed(raw, mark)})
    return span


def _passed(raw: Mapping[str, Any] | None, mark: str) -> str:
    """The processes that passed the span on, the last one last: two that pass on to each other must know their own again."""
    before = ((raw or {}).get("resource") or {}).get(MARK)
    return f"{before} {mark}" if isinstance(before, str) and len(before) < _MOST_MARKS else mark


def _own(row: Row) -> Span:
    """A span for a row that no app told of."""
    start_ns = round((row.start_time or row.timestamp or 0) * NANO)
    return Span(
        trace_id=_hex(row.trace_unique_id, 32) or _hex(row.unique_id, 32) or "",
        span_id=_hex(row.span_unique_id, 16) or _hex(row.unique_id, 16) or "",
        parent_id=None,
        name=_name(row),
        kind=CLIENT if row.log_method == "inference" or row.log_type in GENERATIONS else INTERNAL,
        start_ns=start_ns,
        end_ns=max(start_ns, round((row.timestamp or 0) * NANO)),
        attributes={},
        source=Source({"service.name": row.service_name or SCOPE}, SCOPE, __version__),
    )


def _name(row: Row) -> str:
    """`{operation} {model}`, unless the caller gave a name of its own (that of an endpoint is ours)."""
    if row.span_name and row.span_name != row.endpoint:
        return row.span_name
    model = row.request_model or row.model
    operation = OPERATIONS.get(row.log_type or "", row.log_type or "span")
    return f"{operation} {model}" if model else operation


def _of_raw(raw: Mapping[str, Any], row: Row) -> Span:
    """The app's span as it came. A call knows better than the app when it began and ended; impossible times are the row's, corrected."""
    status = raw.get("status") or {}
    scope = raw.get("scope") or {}
    start_ns, end_ns = int(raw.get("startTimeUnixNano") or 0), int(raw.get("endTimeUnixNano") or 0)
    if row.log_method == "inference" or end_ns < start_ns:
        start_ns = round((row.start_time or 0) * NANO)
        end_ns = max(start_ns, round((row.timestamp or 0) * NANO))
    return Span(
        trace_id=_hex(row.trace_unique_id or raw["traceId"], 32) or "",
        span_id=_hex(raw["spanId"], 16) or "",
        parent_id=None,
        name=raw.get("name") or "",
        kind=raw.get("kind") or INTERNAL,
        start_ns=start_ns,
        end_ns=end_ns,
        attributes=dict(raw.get("attributes") or {}),
        source=Source(
            dict(raw.get("resource") or {}), scope.get("name") or "", scope.get("version") or "", dict(scope.get("attributes") or {})
        ),
        events=[
            Event(event["name"], int(event.get("timeUnixNano") or 0), event.get("attributes") or {}) for event in raw.get("events") or ()
        ],
        links=[
            Link(trace_id, span_id, link.get("attributes") or {})
            for link in raw.get("links") or ()
            if (trace_id := _hex(link["traceId"], 32)) and (span_id := _hex(link["spanId"], 16))
        ],
        status=status.get("code") or 0,
        status_message=status.get("message") or "",
        trace_state=raw.get("traceState") or "",
    )


def _attributes(row: Row, vocabulary: Vocabulary) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if operation := OPERATIONS.get(row.log_type or ""):
        told["gen_ai.operation.name"] = operation
    if row.log_type in GENERATIONS or row.log_method == "inference":
        if row.provider_id:
            told["gen_ai.provider.name"] = PROVIDERS.get(row.provider_id, row.provider_id)
        if model := row.request_model or row.model:
            told["gen_ai.request.model"] = model
        if row.finish_reason:
            told["gen_ai.response.finish_reasons"] = [row.finish_reason]
        if row.stream and row.time_to_first_token is not None:
            told["gen_ai.response.time_to_first_chunk"] = row.time_to_first_token
        told |= _columns(row, _OF_MODELS)
        if row.cost is not None:
            # No convention has a word for it: these two are Langfuse's and OpenInference's.
            told["gen_ai.usage.cost"] = told["llm.cost.total"] = row.cost / NANO
        if vocabulary == "both":
            told |= {old: told[new] for old, new in _LEGACY if new in told}
    told |= _columns(row, _OF_ALL)
    if row.properties:
        told["respan.properties"] = row.properties
    if row.status == "failed":
        told["error.type"] = row.error_code or str(row.status_code or "_OTHER")
    if row.status_code is not None and row.log_method == "inference":
        told["http.response.status_code"] = row.status_code
    return told


def _columns(row: Row, table: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    return {name: value for name, column in table if (value := getattr(row, column)) is not None}


def _metadata(row: Row, raw: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the caller said; what came to the row from the app's span is among that one's attributes already."""
    own = (raw or {}).get("attributes") or {}
    said = {
        name: value
        for name, value in (public_metadata(row.metadata) or {}).items()
        if name not in own and not name.startswith("otel.scope.")
    }
    return {"respan.metadata": json_text(said).decode()} if said else {}


def _said(row: Row, said: Said) -> dict[str, Any]:
    if row.log_type not in GENERATIONS and row.log_method != "inference":
        return {}
    told: dict[str, Any] = {}
    if said.prompt_messages:
        # In chat's dialect instructions are a part of the conversation.
        apart = row.dialect is not None and row.dialect != "openai.chat"
        instructions, messages = input_messages(said.prompt_messages, instructions_apart=apart)
        told["gen_ai.system_instructions"] = instructions
        told["gen_ai.input.messages"] = messages
    if said.completion_messages:
        told["gen_ai.output.messages"] = output_messages(said.completion_messages, row.finish_reason)
    if said.tools:
        told["gen_ai.tool.definitions"] = tool_definitions(said.tools)
    return {name: json_text(value).decode() for name, value in told.items() if value}


def _fail(span: Span, row: Row, content: PassedContent) -> None:
    """The call's own end is the span's: its error as status and event, unless the app told of it itself."""
    if row.status != "failed":
        span.status, span.status_message = 0, ""
        return
    message = row.error_message if content == "full" else None
    kind = row.error_code or str(row.status_code or "_OTHER")
    span.status, span.status_message = ERROR, message or kind
    if not any(event.name == "exception" for event in span.events):
        span.events = [*span.events, Event("exception", span.end_ns, {"exception.type": kind, "exception.message": message or kind})]


def _resource(row: Row) -> dict[str, Any]:
    return {"deployment.environment.name": row.environment} if row.environment else {}


def _hex(text: str | None, digits: int) -> str | None:
    """An id as OTLP has it. Those that people made up (`trace_unique_id` may be any text) become the beginning of their SHA-256."""
    if not text:
        return None
    plain = text.lower()
    if len(plain) == digits and plain.strip("0123456789abcdef") == "" and plain.strip("0"):
        return plain
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
