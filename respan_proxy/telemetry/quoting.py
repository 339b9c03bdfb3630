"""What of a span quotes the conversation, and the span and its row's metadata without it.

Attributes of apps have names of their own, so that a list of known ones is not enough: a text under a name with a word like "input" or
"prompt" in it stays here. Numbers and booleans (token counts, flags) always go.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any, Final

from respan_proxy.telemetry.spans import Event, Span
from respan_proxy.wire.remembered import remembered_name

# Words in the names of what was said: of all generations of the GenAI conventions, traceloop, OpenInference, the Vercel AI SDK, MLflow,
# Langfuse and Respan, and what programs call such things.
_QUOTING: Final = frozenset(
    {
        *("input", "inputs", "output", "outputs", "prompt", "prompts", "completion", "completions", "message", "messages", "content"),
        *("contents", "text", "texts", "body", "query", "question", "answer", "response", "result", "results", "arguments", "args"),
        *("kwargs", "parameters", "variables", "document", "documents", "functions", "tools", "calls", "instructions", "definitions"),
        *("argument", "parameter", "variable", "instruction", "definition", "value", "values", "context", "chunk", "chunks", "vector"),
        *("vectors", "embeddings", "payload", "thought", "thoughts", "explanation", "summary", "snippet", "utterance", "reply"),
        *("format", "schema", "stacktrace", "reasoning", "thinking", "transcript", "history", "statement", "description"),
    }
)
# Names with such a word whose value quotes nothing.
_HARMLESS: Final = frozenset(
    {
        "gen_ai.prompt.name",
        "gen_ai.prompt.version",
        "gen_ai.output.type",
        "gen_ai.request.reasoning.level",
        "gen_ai.response.id",
        "gen_ai.response.model",
        "gen_ai.response.finish_reasons",
        "traceloop.prompt.key",
        "traceloop.prompt.version",
        "llm.response.model",
        "ai.response.id",
        "ai.response.model",
        "ai.response.finishReason",
        "process.runtime.description",
    }
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


def without_content(span: Span) -> Span:
    """The span without what was said: no text or list under a name that may quote, nor the texts of its errors (their types stay)."""
    source = span.source
    return replace(
        span,
        attributes=_harmless(span.attributes),
        events=[Event(event.name, event.at_ns, _harmless(event.attributes)) for event in span.events],
        links=[replace(link, attributes=_harmless(link.attributes)) for link in span.links],
        # A process's arguments are there.
        source=replace(source, resource=_harmless(source.resource), scope_attributes=_harmless(source.scope_attributes)),
        status_message="",
    )


def unquoted(metadata: Mapping[str, Any], attributes: Container[str] = ()) -> dict[str, Any]:
    """A row's metadata without the texts and lists of attributes that may quote, which no column took. What the user said under a name of
    his own stays: names of attributes are those in `attributes`, and those with a dot in them."""
    return {
        name: value
        for name, value in metadata.items()
        if isinstance(value, int | float) or not ("." in name or name in attributes) or not may_quote(name)
    }


def _harmless(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _inside(value) for name, value in attributes.items() if isinstance(value, int | float) or not may_quote(name)}


def _inside(value: Any) -> Any:
    """The same of what is in an attribute: the names within may be those that quote."""
    match value:
        case Mapping():
            return _harmless(value)
        case list() | tuple():
            return [_inside(inner) for inner in value]
    return value


# Programs could send any number of names.
@remembered_name(4096)
def may_quote(name: str) -> bool:
    """Whether the text of an attribute called `name` may be out of the conversation."""
    return name not in _HARMLESS and not _QUOTING.isdisjoint(word.lower() for word in _WORD.findall(name))
