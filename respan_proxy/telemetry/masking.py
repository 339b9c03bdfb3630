"""What of a span may not be remembered: credentials among its attributes, in objects and JSON texts inside them, and in addresses."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from respan_proxy.wire.secrets import MASK, is_secret, redact_query

# Deeper than people write, and less than orjson writes (254).
MAX_DEPTH: Final = 100
TOO_DEEP: Final = "(nested too deeply)"

# `is_secret` knows the names of headers and of parameters in addresses; attributes and arguments are called so without being secrets.
_PLAIN: Final = frozenset({"key", "signature", "sig", "token", "auth"})

# What the names of secrets end with (key, token, authorization, password, secret), and escapes of texts within texts. Looked at behind
# each `":`, because a regular expression over each text costs ten times as much.
_ENDS: Final = frozenset("yYnNdDtT\\")
_NAME_CHARS: Final = 64
_TEXT = re.compile(r'":\s*(?P<quote>\\*").*?(?:(?<!\\)(?P=quote)|\Z)', re.DOTALL)  # to the end of a text that was cut


@lru_cache(maxsize=1024)
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
        return _cleaned_text(value)
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
    """The text, with the texts in it masked that JSON (of whatever depth of escapes) has under the name of a secret."""
    pieces: list[str] = []
    done = 0
    at = text.find('":')
    while at != -1:
        if text[at - 1] in _ENDS:
            name = text[max(0, at - _NAME_CHARS) : at].rstrip("\\").rpartition('"')[2]
            if is_secret_attribute(name) and (found := _TEXT.match(text, at)) is not None:
                quote = found["quote"]
                pieces += (text[done : found.start("quote")], quote, MASK, quote)
                at = done = found.end()
        at = text.find('":', at + 1)
    return "".join((*pieces, text[done:])) if pieces else text
