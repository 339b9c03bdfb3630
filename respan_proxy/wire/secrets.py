"""What a secret looks like by its name, and how it is taken out of what is shown or remembered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_plus

import orjson

from respan_proxy.wire.remembered import remembered_name

MASK: Final = "***"

# Shorter ones are dummies ("x", "none"); replacing them would garble texts that merely contain the word.
_MIN_SECRET_CHARS: Final = 6

# The last word of a header's or parameter's name gives it away: x-api-key, x-goog-api-key, x-amz-security-token, helicone-auth.
_SECRET_NAME = re.compile(
    r"(?:^|[-_])(?:(?:api|access|secret|private|auth|subscription)?[-_]?key|token|secret|auth|authorization|authentication"
    r"|credentials?|password|passwd|cookie2?|signature|jwt|sig)$",
    re.IGNORECASE,
)
# The two last are how collectors of these companies know their customers.
_SECRET_NAMES: Final = frozenset({"apikey", "x-data-respan-params", "x-data-keywordsai-params", "x-honeycomb-team", "uptrace-dsn"})
_PLAIN_NAMES: Final = frozenset(
    {"idempotency-key", "x-idempotency-key", "sec-websocket-key", "prompt_cache_key", "pagetoken", "page_token"}
)

# Members and attributes are called like headers and parameters that carry secrets without being any: keys of tables, marks of pages and of
# vocabularies, signatures of functions and thoughts.
_PLAIN_MEMBERS: Final = frozenset({"key", "token", "auth", "sig"})
_PLAIN_MEMBER = re.compile(
    r"_id$|(?:cache|primary|foreign|sort|partition|public|idempotency|routing|message|object|row|group|lookup|hash|shard|answer)[-_]key$"
    r"|(?:page|next|continuation|eos|bos|pad|unk|sep|cls|mask|stop|special|start|end|first|last)[-_]token$|(?<!amz.)(?<!goog.)signature$"
)
_SECRET_MEMBER = re.compile(
    r"(?:^|[-_])(?:(?:api|access|secret|private)[-_]?keys|(?:access|api|auth|bearer|refresh|session)[-_]?tokens|secrets|passwords|cookies"
    r"|pass[-_]?phrase|otlp(?:[-_][a-z]+)?[-_]headers)$"
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# What a credential looks like wherever it stands: the providers' forms, GitHub's and Slack's, a bearer, Google's `?key=`.
_KNOWN_FORM = re.compile(
    r"\b(?:sk|gsk|xai|tgp_v1|pk)[-_][\w-]{8,}|\bAIza[\w-]{8,}|\bya29\.[\w.-]{8,}|\beyJ[\w-]{6,}(?:\.[\w-]+)*"
    r"|\bgh[oprsu]_\w{16,}|\bgithub_pat_\w{16,}|\bxox[abprs]-[\w-]{8,}|(?<=[Bb]earer )[^\s'\",]+|(?<=[?&]key=)[^\s&'\"]+"
)


@remembered_name(1024)
def is_secret(name: str) -> bool:
    """Whether a header or query parameter of this name carries a secret (or, as Respan's header, may carry one)."""
    name = name.lower()
    return name in _SECRET_NAMES or (name not in _PLAIN_NAMES and _SECRET_NAME.search(name) is not None)


@remembered_name(4096)
def is_secret_member(name: str) -> bool:
    """Whether the value of a member or an attribute of this name is a credential: `openai.api_key`, `clientSecret`,
    `http.request.header.cookie`. More names than headers have are taken for such, and some that only look alike are not."""
    before, _, last = name.rpartition(".")
    if before.endswith("header"):
        return is_secret(last)
    last = _HUMP.sub("_", last).lower().replace(" ", "_")
    if last in _PLAIN_MEMBERS or _PLAIN_MEMBER.search(last) is not None:
        return False
    return is_secret(last) or _SECRET_MEMBER.search(last) is not None


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


def without_known_forms(text: str) -> str:
    """The text with `***` for whatever has the form of a credential."""
    return _KNOWN_FORM.sub(MASK, text)


def redact_query(query: str) -> str:
    """The query string with the values of `key`, `access_token` and the like replaced by `***`; the rest byte for byte."""
    if not query:
        return query
    return "&".join(_redacted(pair) for pair in query.split("&"))


def _redacted(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}={MASK}" if equals and is_secret(unquote_plus(name)) else pair
