"""What of a span may not be remembered: credentials among its attributes, in objects and JSON texts inside them, and in addresses."""

from __future__ import annotations

import re
from typing import Any, Final

from respan_proxy.wire.secrets import MASK, is_secret, redact_query

# Deeper than people write, and less than orjson writes (254).
MAX_DEPTH: Final = 100
TOO_DEEP: Final = "(nested too deeply)"

# `is_secret` knows the names of headers and of parameters in addresses; attributes and arguments are called so without being secrets.
_PLAIN: Final = frozenset({"key", "signature", "sig", "token", "auth"})

# Looked for first: a regular expression over each text costs ten times as much.
_HINTS: Final = ("api_key", "api-key", "apikey", "apiKey", "API_KEY", "uthorization", "assword", "ecret", "_token", "ccessToken")
_IN_JSON = re.compile(
    r'(?P<quote>\\*")(?P<name>(?:[\w.-]*[-_.])?(?:x?api[-_]?key|authorization|password|secret|access[-_]?token|auth[-_]?token|secret[-_]?key))'
    r"(?P=quote)(?P<colon>\s*:\s*)(?P=quote)(?:(?!(?P=quote)).)*(?P=quote)",
    re.IGNORECASE | re.DOTALL,
)


def is_secret_attribute(name: str) -> bool:
    """Whether an attribute's value is a credential: a header that is one, or a name that ends like one (`provider.api_key`)."""
    before, _, last = name.rpartition(".")
    if before.endswith("header"):
        return is_secret(last)
    last = last.lower()
    return last not in _PLAIN and not last.endswith(("cache_key", "_id")) and is_secret(last)


def cleaned(value: Any, depth: int = 0) -> Any:
    """The value without secrets; the same object when there are none in it. What is nested deeper than `MAX_DEPTH` is left out."""
    if isinstance(value, str):
        return _cleaned_text(value) if '"' in value else value
    if isinstance(value, dict):
        if depth >= MAX_DEPTH:
            return TOO_DEEP
        made = {name: MASK if _holds_secret(name, inner) else cleaned(inner, depth + 1) for name, inner in value.items()}
        return value if all(made[name] is inner for name, inner in value.items()) else made
    if isinstance(value, list):
        if depth >= MAX_DEPTH:
            return TOO_DEEP
        listed = [cleaned(inner, depth + 1) for inner in value]
        return value if all(new is old for new, old in zip(listed, value, strict=True)) else listed
    return value


def without_query_secrets(address: Any) -> Any:
    """The address with `key=` and the like masked."""
    if not isinstance(address, str) or "=" not in address:
        return address
    before, mark, query = address.partition("?")
    return f"{before}?{redact_query(query)}" if mark else redact_query(address)


def _holds_secret(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, str) and value != MASK and is_secret_attribute(name)


def _cleaned_text(text: str) -> str:
    for hint in _HINTS:
        if hint in text:
            return _IN_JSON.sub(rf"\g<quote>\g<name>\g<quote>\g<colon>\g<quote>{MASK}\g<quote>", text)
    return text
