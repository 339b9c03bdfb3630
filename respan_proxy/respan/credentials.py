"""Which members of a request body hold credentials, and the body's members without them: for everything that is remembered or shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from respan_proxy.respan.params import CARRIERS, CREDENTIALS, NAMES
from respan_proxy.wire.json_edit import UNREAD
from respan_proxy.wire.masking import cleaned, cleaned_headers, masked
from respan_proxy.wire.secrets import MASK, is_secret_member

# In these only what is called credentials is.
_PARTLY: Final = frozenset({"load_balance_group", "load_balance_models", "loadbalance_models"})
# Nobody nests credentials deeper; what is deeper is masked whole, long before Python's stack ends.
_MAX_DEPTH: Final = 16
# In these there may be carriers, or other servers with their tokens.
_LOOKED_THROUGH: Final = frozenset({"metadata", "extra_body", "extra_headers", "tools", "mcp_servers"})

MAY_HOLD_CREDENTIALS: Final = frozenset({*CREDENTIALS, *_PARTLY, *CARRIERS, *_LOOKED_THROUGH})
"""The top-level members that `redact_members` must have read; of any other it needs no more than the name."""

# Tools of other servers come with those servers' tokens: OpenAI's `mcp` tools, Anthropic's `mcp_servers`.
_TOKENS: Final = frozenset({"authorization", "authorization_token", "headers"})


# How a body that nobody could read shows that it may hold some.
_MARKS: Final = tuple(name.encode() for name in sorted({*CREDENTIALS, *_PARTLY, *CARRIERS, "authorization", "api_key", "apiKey", "token"}))

_SEARCHED_BYTES: Final = 1_000_000


def may_hold_credentials(body: bytes) -> bool:
    """Whether a body that is neither JSON nor a form names something that may be a credential; a big one is not looked through."""
    return len(body) > _SEARCHED_BYTES or any(mark in body for mark in _MARKS)


def redact_members(members: Mapping[str, Any], depth: int = _MAX_DEPTH) -> dict[str, Any]:
    """New values for those top-level members that hold credentials, each secret replaced by `***`; empty when there are none.

    Looks into the carriers too, objects and JSON strings alike. What was too big to read (`UNREAD`) is masked whole.
    """
    redacted: dict[str, Any] = {}
    for name, value in members.items():
        if name in MAY_HOLD_CREDENTIALS:
            clean = _member(name, value, depth)
        elif is_secret_member(name):
            clean = MASK if value is UNREAD else masked(value)
        elif name in NAMES:
            clean = cleaned(value)
        else:
            continue
        if clean != value:
            redacted[name] = clean
    return redacted


def _member(name: str, value: Any, depth: int) -> Any:
    if depth == 0:
        return MASK
    if name in CREDENTIALS:
        return _masked(value)
    if value is UNREAD:
        return MASK
    if name in _PARTLY:
        return _without(value, frozenset({"credentials"}))
    if name in CARRIERS and isinstance(value, str):
        return _carrier_text(value, depth)
    if name in CARRIERS or name in ("extra_body", "metadata"):
        return cleaned({**value, **redact_members(value, depth - 1)}) if isinstance(value, dict) else cleaned(value)
    if name == "extra_headers":
        return cleaned_headers(value)
    return [_server(name, item) for item in value] if isinstance(value, list) else value


def _server(name: str, item: Any) -> Any:
    """A tool or server with its tokens masked; functions have schemas, where the same words mean something else."""
    if not isinstance(item, dict) or (name == "tools" and item.get("type") != "mcp"):
        return item
    return {key: _masked(value) if key in _TOKENS else cleaned(value) for key, value in item.items()}


def _carrier_text(text: str, depth: int) -> str:
    try:
        carrier = orjson.loads(text)
    except orjson.JSONDecodeError:
        return MASK
    clean = _member(CARRIERS[0], carrier, depth)
    return text if clean == carrier else orjson.dumps(clean).decode()


def _without(value: Any, names: frozenset[str], depth: int = _MAX_DEPTH) -> Any:
    """The value with everything under these names masked, at any depth."""
    if depth == 0:
        return MASK
    if isinstance(value, dict):
        return {name: _masked(inner) if name in names else _without(inner, names, depth - 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without(item, names, depth - 1) for item in value]
    return value


def _masked(value: Any, depth: int = _MAX_DEPTH) -> Any:
    """The same shape with every leaf masked: which providers were named stays readable."""
    if isinstance(value, dict) and depth:
        return {name: _masked(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, list) and depth:
        return [_masked(item, depth - 1) for item in value]
    return value if value is None or isinstance(value, bool) else MASK
