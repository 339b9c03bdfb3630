"""What a secret looks like by its name, and how it is taken out of what is shown or remembered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_plus

import orjson

MASK: Final = "***"

# Shorter ones are dummies ("x", "none"); replacing them would garble texts that merely contain the word.
_MIN_SECRET_CHARS: Final = 6

# The last word of a header's or parameter's name gives it away: x-api-key, x-goog-api-key, x-amz-security-token, helicone-auth.
_SECRET_NAME = re.compile(
    r"(?:^|[-_])(?:(?:api|access|secret|private|auth|subscription)?[-_]?key|token|secret|auth|authorization|authentication"
    r"|credentials?|password|passwd|cookie2?|signature|jwt|sig)$",
    re.IGNORECASE,
)
_SECRET_NAMES: Final = frozenset({"apikey", "x-data-respan-params", "x-data-keywordsai-params"})
_PLAIN_NAMES: Final = frozenset(
    {"idempotency-key", "x-idempotency-key", "sec-websocket-key", "prompt_cache_key", "pagetoken", "page_token"}
)


@lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Whether a header or query parameter of this name carries a secret (or, as Respan's header, may carry one)."""
    name = name.lower()
    return name in _SECRET_NAMES or (name not in _PLAIN_NAMES and _SECRET_NAME.search(name) is not None)


def scrub(data: bytes, secrets: Iterable[str]) -> bytes:
    """The data with each of the secrets replaced by `***`, also where JSON spells it with escapes; the same object if none is in it."""
    # Longest first: one secret may be the beginning of another.
    for secret in sorted((secret for secret in secrets if len(secret) >= _MIN_SECRET_CHARS), key=len, reverse=True):
        plain = secret.encode("utf-8", "surrogateescape")
        spellings = {plain, plain.replace(b"/", b"\\/")}
        if secret.isprintable():
            spellings.add(orjson.dumps(secret)[1:-1])
        for spelling in spellings:
            if spelling in data:
                data = data.replace(spelling, MASK.encode())
    return data


def redact_query(query: str) -> str:
    """The query string with the values of `key`, `access_token` and the like replaced by `***`; the rest byte for byte."""
    if not query:
        return query
    return "&".join(_redacted(pair) for pair in query.split("&"))


def _redacted(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}={MASK}" if equals and is_secret(unquote_plus(name)) else pair
