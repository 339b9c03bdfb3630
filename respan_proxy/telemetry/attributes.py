"""The table of attribute names: which of a span's attributes say what, in every vocabulary that is still sent.

Generations of the GenAI conventions: traceloop and up to 1.27 (`gen_ai.prompt.N`, `llm.usage`), 1.28 to 1.36 (messages as events), 1.37 to
1.41 (`gen_ai.input.messages`), the unreleased one (`cache_write`); beside them OpenInference 0.1, the Vercel AI SDK, and Respan's own
(respan-sdk 2.9.0 `otlp_constants`, respan-tracing 2.24.0). Programs of all of them are about for years to come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import orjson

from respan_proxy.respan.params import MAX_IDENTIFIER_CHARS
from respan_proxy.wire.masking import MAX_DEPTH, cleaned, cleaned_address, cleaned_command, cleaned_error, cleaned_headers, masked
from respan_proxy.wire.remembered import remembered_name
from respan_proxy.wire.secret_texts import without_credentials
from respan_proxy.wire.secrets import is_secret_member

Reader = Callable[[Any], Any]
"""An attribute's value as a column's, or None when it is empty or of a type that the column cannot have."""

_MOST = 2**53
_NESTED = ("[", "{")


def text(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def identifier(value: Any) -> str | None:
    """A text, cut as Respan cuts the names of customers."""
    found = text(value)
    return found and found[:MAX_IDENTIFIER_CHARS]


def count(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    if isinstance(value, float) and isfinite(value):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST else None


def number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -_MOST < value < _MOST else None


def flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def status(value: Any) -> int | None:
    found = count(value)
    return found if found is not None and 100 <= found < 600 else None


def said(value: Any) -> Any:
    """What was said, as it came: a text, or what JSON made of it."""
    return value if isinstance(value, str | list | dict) and value else None


def parsed(value: Any) -> Any:
    """A list or an object, also when it came as JSON text."""
    if isinstance(value, str) and value.startswith(_NESTED):
        chars = len(value)
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
        if chars >= 2 * MAX_DEPTH and not _is_shallow(value):  # a level takes two characters at least
            return None
    return value if isinstance(value, list | dict) and value else None


def parsed_all(value: Any) -> Any:
    """A list or an object, and of a list whose members are JSON texts what they say."""
    found = parsed(value)
    return [said if (said := parsed(item)) is not None else item for item in found] if isinstance(found, list) else found


def _is_shallow(value: Any) -> bool:
    """Whether what JSON made of a text can be written as JSON again: orjson reads 1024 levels and writes 254."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer) if isinstance(inner, dict | list)
        ]
        if not level:
            return True
    return False


def mapping(value: Any) -> dict[str, Any] | None:
    found = parsed(value)
    return found if isinstance(found, dict) else None


def word(value: Any) -> str | None:
    """A word, or the first of a list of them."""
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, str) and value else None


_LOG_TYPES: Final = (
    "text chat completion response embedding transcription speech workflow task tool agent handoff guardrail custom generation"
    " unknown score batch span prompt"
)
LOG_TYPES: Final[Mapping[str, str]] = {
    **{name: name for name in _LOG_TYPES.split()},
    # Respan's aliases (respan-sdk 2.9.0 `LOG_TYPE_MAP`).
    "trace": "workflow",
    "step": "task",
    "function": "tool",
    "llm": "generation",
    "model": "generation",
    # `gen_ai.operation.name`
    "text_completion": "completion",
    "generate_content": "chat",
    "embeddings": "embedding",
    "execute_tool": "tool",
    "invoke_agent": "agent",
    "create_agent": "agent",
    "invoke_workflow": "workflow",
    "retrieval": "task",
    "plan": "task",
    # `llm.request.type` and `openinference.span.kind`, beyond the above
    "rerank": "task",
    "chain": "task",
    "retriever": "task",
    "reranker": "task",
    "evaluator": "score",
    # Respan's logging API
    "other": "custom",
    # `ai.operationId`: the inner span is the call, the outer one repeats its usage
    "ai.generatetext": "task",
    "ai.streamtext": "task",
    "ai.generateobject": "task",
    "ai.streamobject": "task",
    "ai.embed": "task",
    "ai.embedmany": "task",
    "ai.generatetext.dogenerate": "chat",
    "ai.streamtext.dostream": "chat",
    "ai.generateobject.dogenerate": "chat",
    "ai.streamobject.dostream": "chat",
    "ai.embed.doembed": "embedding",
    "ai.embedmany.doembed": "embedding",
    "ai.toolcall": "tool",
}


def log_type(value: Any) -> str | None:
    return LOG_TYPES.get(value.lower()) if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class Fact:
    """What a column (of `Row`, or a part of what was said) is read from: of `names`, the first whose value can be read counts."""

    column: str
    read: Reader
    names: tuple[str, ...]


def _fact(column: str, read: Reader, *names: str) -> Fact:
    return Fact(column, read, names)


FACTS: Final[tuple[Fact, ...]] = (
    _fact(
        "log_type",
        log_type,
        "respan.entity.log_type",
        "llm.request.type",  # above the kind: batch results and command line hooks say `task` of a chat
        "gen_ai.operation.name",
        "openinference.span.kind",
        "ai.operationId",
        "traceloop.span.kind",
    ),
    _fact("log_method", text, "respan.entity.log_method"),
    _fact(
        "model",
        text,
        *("model", "gen_ai.response.model", "gen_ai.request.model", "model_name", "llm.model_name", "embedding.model_name"),
        *("llm.response.model", "llm.request.model"),  # traceloop, before it took up the names of the conventions
    ),
    _fact("request_model", text, "gen_ai.request.model", "llm.request.model"),
    _fact("provider_id", text, "gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "llm.vendor"),
    _fact("span_workflow_name", text, "traceloop.workflow.name"),
    _fact("entity_name", text, "traceloop.entity.name", "gen_ai.tool.name", "gen_ai.agent.name", "agent_name", "agent.name", "tool.name"),
    _fact("span_path", text, "traceloop.entity.path"),
    _fact("response_id", text, "gen_ai.response.id"),
    _fact("log_id", text, "respan.gateway.log_id"),
    _fact(
        "prompt_tokens",
        count,
        "prompt_tokens",
        "gen_ai.usage.prompt_tokens",
        "gen_ai.usage.input_tokens",
        "llm.token_count.prompt",
        "llm.usage.prompt_tokens",
    ),
    _fact(
        "completion_tokens",
        count,
        "completion_tokens",
        "gen_ai.usage.completion_tokens",
        "gen_ai.usage.output_tokens",
        "llm.token_count.completion",
        "llm.usage.completion_tokens",
    ),
    _fact(
        "total_request_tokens",
        count,
        "total_request_tokens",
        "llm.usage.total_tokens",
        "gen_ai.usage.total_tokens",
        "llm.token_count.total",
    ),
    _fact(
        "prompt_cache_hit_tokens",
        count,
        "prompt_cache_hit_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "llm.token_count.prompt_details.cache_read",
        "gen_ai.usage.details.cache_read_tokens",
        "ai.usage.cachedInputTokens",
        "ai.usage.inputTokenDetails.cacheReadTokens",
    ),
    _fact(
        "prompt_cache_creation_tokens",
        count,
        "prompt_cache_creation_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "llm.token_count.prompt_details.cache_write",
        "gen_ai.usage.details.cache_write_tokens",
        "ai.usage.inputTokenDetails.cacheWriteTokens",
    ),
    _fact(
        "reasoning_tokens",
        count,
        "reasoning_tokens",
        "llm.usage.reasoning_tokens",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.reasoning.output_tokens",
        "llm.token_count.completion_details.reasoning",
        "gen_ai.usage.details.reasoning_tokens",
        "ai.usage.reasoningTokens",
    ),
    _fact("cost", number, "cost", "llm.cost.total", "gen_ai.usage.cost", "operation.cost"),
    _fact("stream", flag, "gen_ai.is_streaming", "llm.is_streaming", "gen_ai.request.stream"),
    _fact(
        "time_to_first_token",
        number,
        "llm.openai.chat_completions.streaming_time_to_first_token",
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.server.time_to_first_token",
    ),
    _fact("first_token_ms", number, "ai.response.msToFirstChunk"),
    _fact("temperature", number, "gen_ai.request.temperature"),
    _fact("top_p", number, "gen_ai.request.top_p"),
    _fact("max_tokens", count, "gen_ai.request.max_tokens"),
    _fact("frequency_penalty", number, "llm.frequency_penalty", "gen_ai.request.frequency_penalty"),
    _fact("presence_penalty", number, "llm.presence_penalty", "gen_ai.request.presence_penalty"),
    _fact("reasoning_effort", text, "llm.request.reasoning_effort", "gen_ai.request.reasoning_effort", "gen_ai.request.reasoning.level"),
    _fact("response_format", mapping, "llm.request.structured_output_schema", "gen_ai.request.structured_output_schema"),
    _fact("parameters", mapping, "llm.invocation_parameters"),
    _fact("finish_reason", word, "gen_ai.response.finish_reasons", "llm.finish_reason", "anthropic.message.stop_reason"),
    _fact("status_code", status, "status_code", "http.response.status_code", "http.status_code"),
    _fact("error_message", text, "error.message", "exception.message"),
    _fact("error_code", text, "error.type", "exception.type"),
    _fact(
        "customer_identifier",
        identifier,
        "respan.customer_params.customer_identifier",
        "respan.customer.identifier",
        "user.id",
        "enduser.id",
        "traceloop.association.properties.user_id",
    ),
    _fact("customer_email", text, "respan.customer_params.email", "respan.customer.email"),
    _fact("customer_name", text, "respan.customer_params.name", "respan.customer.name"),
    _fact("thread_identifier", identifier, "respan.threads.thread_identifier", "respan.thread.id", "gen_ai.conversation.id"),
    _fact(
        "session_identifier",
        identifier,
        "respan.sessions.session_identifier",
        "session.id",
        "traceloop.association.properties.session_id",
    ),
    _fact("trace_group_identifier", identifier, "respan.trace.trace_group_identifier", "respan.trace_group.id"),
    _fact("custom_identifier", identifier, "respan.span_params.custom_identifier"),
    _fact("group_identifier", identifier, "respan.span_params.group_identifier"),
    _fact("evaluation_identifier", identifier, "respan.evaluation_params.evaluation_identifier"),
    _fact("properties", mapping, "respan.properties"),
    _fact("environment_tag", text, "respan.environment"),
    _fact("metadata", mapping, "respan.metadata", "metadata"),
    _fact("prompt", mapping, "respan.prompt"),
    _fact("prompt_name", text, "gen_ai.prompt.name", "traceloop.prompt.key"),
    _fact("prompt_version_number", count, "gen_ai.prompt.version", "traceloop.prompt.version"),
    # What was said; messages.py makes one conversation of it.
    _fact("input", said, "traceloop.entity.input"),
    _fact("output", said, "traceloop.entity.output"),
    _fact("input_messages", parsed, "gen_ai.input.messages", "ai.prompt.messages"),
    _fact("output_messages", parsed, "gen_ai.output.messages"),
    _fact("instructions", said, "gen_ai.system_instructions"),
    _fact(
        "input_value",
        said,
        "input.value",
        "gen_ai.tool.call.arguments",
        "tool_arguments",
        "ai.prompt",
        "ai.toolCall.args",
        "gen_ai.prompt",
    ),
    _fact(
        "output_value",
        said,
        "final_result",
        "output.value",
        "gen_ai.tool.call.result",
        "tool_response",
        "ai.response.text",
        "ai.response.object",
        "ai.toolCall.result",
        "gen_ai.completion",
    ),
    _fact("tools", parsed_all, "llm.request.functions", "gen_ai.tool.definitions", "respan.span.tools", "tools", "ai.prompt.tools"),
    _fact("tool_calls", parsed, "respan.span.tool_calls", "tool_calls", "ai.response.toolCalls"),
)


@dataclass(frozen=True, slots=True)
class Family:
    """Numbered attributes that are one list together: `name` is the list, `index` the place in it, `part` what is said of it there.

    Of a part that is a list itself (`tool_calls.0.name`) `number` is the place in that one, `rest` what is said there.
    """

    name: str
    index: int
    part: str
    number: int | None
    rest: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attribute of a name goes: to columns (each with its rank among the names of that column), into a numbered list, or into
    the metadata under a name of its own. `clean` makes of its value what may be remembered."""

    clean: Callable[[Any], Any]
    columns: tuple[tuple[str, int, Reader], ...] = ()
    family: Family | None = None
    metadata: str = ""


_FAMILY = re.compile(
    r"(gen_ai\.prompt|gen_ai\.completion|llm\.request\.functions|llm\.input_messages|llm\.output_messages"
    r"|llm\.tools|llm\.prompts|llm\.completions)\.(\d{1,6})(?:\.(.+))?"
)
_NUMBER = re.compile(r"[0-9]{1,6}")
# The user's own names, as they were before an SDK put its own in front.
_OWN_NAMES: Final = ("respan.metadata.", "traceloop.association.properties.", "ai.telemetry.metadata.")
_ADDRESSES: Final = frozenset({"url.full", "url.query", "http.url", "http.target"})
_ERRORS: Final = ("exception.", "error.", "error_message")
# A column or a family already says it, or it says nothing that is not in the span's own name.
_SILENT: Final = frozenset({"respan.entity.log_id", "respan.entity.log_parent_id", "respan.entity.log_root_id"})
_COLUMNS: dict[str, tuple[tuple[str, int, Reader], ...]] = {}
for _one in FACTS:
    for _rank, _name in enumerate(_one.names):
        _COLUMNS[_name] = (*_COLUMNS.get(_name, ()), (_one.column, _rank, _one.read))


# Programs could send any number of names.
@remembered_name(4096)
def place(name: str) -> Place:
    """Where the attribute called `name` goes."""
    if columns := _COLUMNS.get(name):
        return Place(_cleaning(name), columns, metadata=name)
    if found := _FAMILY.fullmatch(name):
        return Place(_said, family=_family(found[1], int(found[2]), found[3] or ""))
    plain = next((name[len(prefix) :] for prefix in _OWN_NAMES if name.startswith(prefix) and len(name) > len(prefix)), name)
    return Place(masked if is_secret_member(name) else _cleaning(name), metadata=plain)


def _cleaning(name: str) -> Callable[[Any], Any]:
    if name.startswith(_ERRORS):
        return cleaned_error
    if name.startswith("process.command"):
        return cleaned_command
    if name.lower().endswith("headers"):
        return cleaned_headers
    return cleaned_address if name in _ADDRESSES else cleaned


def _said(value: Any) -> Any:
    """What was said to a model or by it stays true but for what is a credential for certain."""
    return without_credentials(value) if isinstance(value, str) else cleaned(value)


def _family(name: str, index: int, path: str) -> Family:
    part, _, rest = path.removeprefix("message.").partition(".")  # OpenInference's prefix
    number, _, what = rest.partition(".")
    return Family(name, index, part, int(number), what) if _NUMBER.fullmatch(number) else Family(name, index, part, None, rest)
