"""Owns the questions what makes two requests the same, whether an answer is worth keeping, and for how long.

Source of the parameters: Respan's page on caching, respan-api 0.1.49. Respan compares the conversation alone; here all that was said and
asked counts, because an answer to another schema or another temperature is another answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson

from respan_proxy.config import Cache
from respan_proxy.dialects.forms import Form
from respan_proxy.dialects.observe import Observed
from respan_proxy.exchange import Exchange
from respan_proxy.respan.endpoints import ANTHROPIC, CHAT, GEMINI
from respan_proxy.wire.json_edit import UNREAD, Document

# Chat, responses, messages, generateContent; embeddings.
KINDS: Final = frozenset({"generate", "embed"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks of the cache. `ttl_s` is in seconds; zero or less: its answer is not kept."""

    ttl_s: float
    by_customer: bool
    by_model: bool
    omit_log: bool
    """A hit leaves no row."""


def asks(kind: str, values: Mapping[str, Any], defaults: Cache) -> bool:
    """Whether a request of this kind, with these parameters, asks for caching."""
    return kind in KINDS and bool(values.get("cache_enabled", defaults.enabled))


def wish(values: Mapping[str, Any], defaults: Cache, warnings: list[str]) -> Wish:
    """What a request asks for that asks for caching. Options that cannot be read are named in `warnings`."""
    options = values.get("cache_options")
    if options is None:
        return Wish(values.get("cache_ttl", defaults.ttl_s), defaults.by_customer, defaults.by_model, omit_log=False)

    def option(default: bool, *names: str) -> bool:
        for name in names:
            match options.get(name):
                case None:
                    continue
                case bool(said):
                    return said
                case _:
                    warnings.append(f"cache_options.{name}:ignored_not_true_or_false")
        return default

    return Wish(
        ttl_s=values.get("cache_ttl", defaults.ttl_s),
        by_customer=option(defaults.by_customer, "cache_by_customer"),
        by_model=option(defaults.by_model, "is_cached_by_model"),
        omit_log=option(False, "omit_log", "omit_logs"),
    )


# Endpoints that ask for the same, whole or streamed.
_SAME: Final[Mapping[str, str]] = {"streamGenerateContent": "generateContent"}

# How the answer is to come, which changes nothing about it.
_MANNERS: Final = frozenset({"stream", "stream_options"})

# Who asks and how it is to be filed, by dialect; Responses repeats these in its answers.
_LABELS: Final[Mapping[str, frozenset[str]]] = {
    CHAT: frozenset({"user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}),
    ANTHROPIC: frozenset({"metadata"}),
    GEMINI: frozenset({"labels"}),
}

# What switches abilities on and off, and whose account pays.
_HEADERS: Final = (
    "anthropic-beta",
    "anthropic-version",
    "openai-beta",
    "OpenAI-Organization",
    "OpenAI-Project",
    "X-Respan-Route-Provider",
)

# Respan's parameters that lead to another answer, another account or another provider's terms.
_PARAMETERS: Final = (
    "customer_credentials",
    "credential_override",
    "customer_api_keys",
    "model_name_map",
    "load_balance_group",
    "load_balance_models",
    "mock_response",
    "on_loss",
)

# Parameters that decide what is done when a call fails: requests that differ in them do not share one in flight.
_IN_TROUBLE: Final = (
    "fallback_models",
    "disable_fallback",
    "models",
    "exclude_models",
    "exclude_providers",
    "retry_params",
    "first_token_timeout",
    "simulate",
)


def course(values: Mapping[str, Any]) -> bytes:
    """What is to be done when the call fails, as far as the request says it."""
    said = {name: values[name] for name in _IN_TROUBLE if name in values}
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS) if said else b""


def key(exchange: Exchange, wish: Wish, form: Form) -> str:
    """64 hex digits that are the same for requests that may have one answer, and tell nothing of what is in them.

    `form` is the form that the caller wants. Costs some 2 us a kilobyte of the request.
    """
    endpoint, headers = exchange.endpoint, exchange.request.headers
    members = _said(exchange)
    labels = _LABELS.get(exchange.dialect.name, frozenset())
    said = {name: value for name, value in members.items() if name not in _MANNERS and name not in labels}
    if endpoint.is_relay and "stream_options" in members:
        said["stream_options"] = members["stream_options"]  # goes to the provider as it stands
    if not wish.by_model:
        said.pop("model", None)
    caller, values = exchange.caller, exchange.params.values
    query = endpoint.query(exchange.request.query)
    identity = {
        "endpoint": (_SAME.get(endpoint.name, endpoint.name), endpoint.provider, endpoint.version, endpoint.place),
        "query": sorted(pair for pair in query.split("&") if pair and not pair.startswith("alt=")),
        "model": exchange.model if wish.by_model else None,
        "said": said,
        "headers": {name: sorted(headers.getall(name)) for name in _HEADERS if name in headers},
        "sent_along": dict(exchange.headers),
        "caller": (caller.key_id, caller.credential),
        "customer": values.get("customer_identifier") if wish.by_customer else None,
        "parameters": {name: values[name] for name in _PARAMETERS if name in values},
        "form": form if _is_tied_to_form(exchange.dialect.name, said) else None,
    }
    return sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)).hexdigest()


def _said(exchange: Exchange) -> dict[str, Any]:
    """The body's members without Respan's parameters; of those too big to be read, a digest of their text."""
    document = exchange.document
    members: Mapping[str, Any] = document.members if document is not None else {}
    edits = exchange.edits
    said = {name: value for name, value in members.items() if name not in edits.remove}
    said.update(edits.replace)
    if isinstance(document, Document) and document.spans is not None:
        for span in document.spans:  # of a duplicated name the last
            if said.get(span.name) is UNREAD:
                said[span.name] = None
                digest = sha256(memoryview(document.raw)[span.value_start : span.value_end]).hexdigest()
                said[f"{span.name}\0"] = digest
    return said


# Tools whose calls the caller answers: readers and writers of every dialect know them.
_CALLED_BY_US: Final = frozenset({"function", "custom", None})
_FUNCTIONS: Final = frozenset({"functionDeclarations", "function_declarations"})


def _is_tied_to_form(dialect: str, said: Mapping[str, Any]) -> bool:
    """Whether the answer may hold what cannot be told in another form (results of hosted tools, sound): only the same form is a hit."""
    tools = said.get("tools")
    found = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    if dialect == GEMINI:
        return any(not tool.keys() <= _FUNCTIONS for tool in found)
    if any(tool.get("type") not in _CALLED_BY_US for tool in found):
        return True
    if dialect == CHAT:
        return "audio" in said or "web_search_options" in said
    # Answers that quote documents mark the places in a form of Anthropic's own.
    return dialect == ANTHROPIC and ("mcp_servers" in said or "container" in said or _quotes(said.get("messages")))


def _quotes(messages: object) -> bool:
    contents = [message.get("content") for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []
    return any(isinstance(part, dict) and "citations" in part for content in contents if isinstance(content, list) for part in content)


# How an answer ends that can be given again. A content filter or a refusal may let the same request pass the next time, and nobody
# wants it pinned for a month; a paused turn is half an answer; a response still queued has no finish at all.
_ENDS: Final = frozenset({"stop", "stop_sequence", "tool", "length", "context"})


def worth_keeping(kind: str, seen: Observed) -> bool:
    """Whether an answer of status 200 that came to its end is one to give again."""
    if seen.error is not None or seen.truncated or not seen.complete:
        return False
    return kind != "generate" or seen.finish in _ENDS
