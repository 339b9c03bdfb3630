"""Which headers travel: from the caller to a provider, from a provider to the caller, and into a row.

Sources: RFC 9110 7.6.1 (hop by hop), and what the official clients send and read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from multidict import CIMultiDict, MultiMapping

from respan_proxy.wire.secret_texts import without_secrets
from respan_proxy.wire.secrets import MASK, is_secret, redact_query, scrub

__all__ = ["HOP_BY_HOP", "MASK", "is_secret", "masked", "may_travel", "redact_query", "scrub", "to_caller", "to_provider"]

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    }
)

# Not for a provider: what we write anew, where the caller came from, and traces (nothing to third parties by default).
_CALLERS_OWN: Final = frozenset(
    {
        "host",
        "content-length",
        "content-encoding",
        "accept-encoding",
        "expect",
        "origin",
        "referer",
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "traceparent",
        "tracestate",
        "baggage",
        "b3",
        "dnt",
        "access-control-request-method",
        "access-control-request-headers",
    }
)
_CALLERS_OWN_PREFIXES: Final = (
    "x-respan-",
    "x-data-respan-",
    "x-keywordsai-",
    "x-data-keywordsai-",
    "sec-",
    "x-forwarded-",
    "x-b3-",
    "proxy-",
)

# Headers that mean something to one company go to the dialect of that company only.
_FAMILIES: Final = {"anthropic-": "anthropic.", "openai-": "openai.", "x-goog-": "gemini"}

# Not for the caller: lengths are counted anew; cookies, transport promises and permissions to browsers bind the provider's host.
_PROVIDERS_OWN: Final = frozenset(
    {"content-length", "set-cookie", "set-cookie2", "alt-svc", "strict-transport-security", "clear-site-data"}
)
_PROVIDERS_OWN_PREFIXES: Final = ("access-control-", "proxy-")

# What the raw relay lets through besides the provider's own `x-<provider>-*` (respan-api 0.1.49, provider gateway).
_RAW_RELAY: Final = frozenset({"accept", "accept-language", "content-type", "user-agent"})

# Who calls again sends the same names again: which of them stay here is remembered, never a value. Anybody may send any names, so long
# ones are not remembered, and a full table starts afresh. A copy without these takes half the time of picking what travels.
_MOST_REMEMBERED: Final = 256
_LONGEST_REMEMBERED: Final = 2048
_stay: dict[tuple[tuple[str, ...], str | None, str | None], frozenset[str]] = {}


def to_provider(
    headers: MultiMapping[str],
    *,
    dialect: str,
    provider_headers: Mapping[str, str] | None = None,
    raw_relay_of: str | None = None,
) -> CIMultiDict[str]:
    """The caller's headers that a provider speaking `dialect` may see, then the provider's configured ones on top.

    Never among them: any credential, cookie, length or encoding. `raw_relay_of` names the provider of a raw relay,
    which gets four plain headers and its own only.
    """
    kept = _travelling(headers, dialect, raw_relay_of)
    if provider_headers:
        kept.update(provider_headers)
    return kept


def may_travel(name: str, dialect: str) -> bool:
    """Whether a header that the caller names may go to a provider speaking `dialect`."""
    name = name.lower()
    if name in HOP_BY_HOP or name in _CALLERS_OWN or name.startswith(_CALLERS_OWN_PREFIXES) or is_secret(name):
        return False
    return all(dialect.startswith(spoken) for prefix, spoken in _FAMILIES.items() if name.startswith(prefix))


def _is_relayed(name: str, provider: str) -> bool:
    return name in _RAW_RELAY or name.startswith(f"x-{provider.replace('_', '-').lower()}-")


def to_caller(headers: MultiMapping[str]) -> CIMultiDict[str]:
    """A provider's headers that the caller may see: all but hop-by-hop ones, lengths, cookies and what binds the provider's host."""
    return _travelling(headers, None, None)


def _travelling(headers: MultiMapping[str], dialect: str | None, raw_relay_of: str | None) -> CIMultiDict[str]:
    """A copy without what stays here: on the way to a provider that speaks `dialect`, to the caller without one."""
    names = tuple(headers)
    stay = _stay.get((names, dialect, raw_relay_of))
    if stay is None:
        stay = frozenset(name for name in map(str.lower, names) if not _travels(name, dialect, raw_relay_of))
        if sum(map(len, names)) <= _LONGEST_REMEMBERED:
            if len(_stay) >= _MOST_REMEMBERED:
                _stay.clear()
            _stay[names, dialect, raw_relay_of] = stay
    kept = CIMultiDict(headers)
    for name in stay:
        del kept[name]
    if "connection" in stay:
        for name in _named_in_connection(headers):
            kept.popall(name, None)
    return kept


def _travels(name: str, dialect: str | None, raw_relay_of: str | None) -> bool:
    if dialect is None:
        return _is_for_caller(name)
    return may_travel(name, dialect) and (raw_relay_of is None or _is_relayed(name, raw_relay_of))


def _is_for_caller(name: str) -> bool:
    return name not in HOP_BY_HOP and name not in _PROVIDERS_OWN and not name.startswith(_PROVIDERS_OWN_PREFIXES)


def masked(headers: MultiMapping[str]) -> list[tuple[str, str]]:
    """All headers as they came, in order, secrets as `***` (a scheme such as Bearer stays), in addresses and JSON texts too."""
    # Most headers have none of these signs, and every call has a dozen headers: a function for each cost as much as all of this.
    return [
        (
            name,
            _masked(value)
            if is_secret(name)
            else without_secrets(value)
            if "=" in value or '"' in value or "@" in value or "earer" in value
            else value,
        )
        for name, value in headers.items()
    ]


def _masked(value: str) -> str:
    scheme, space, _ = value.partition(" ")
    return f"{scheme} {MASK}" if space and scheme.lower() in ("bearer", "basic") else MASK


def _named_in_connection(headers: MultiMapping[str]) -> frozenset[str]:
    said = headers.getall("Connection")
    if said == ["keep-alive"]:
        return frozenset()  # nearly always
    tokens = ",".join(said).lower().split(",")
    return frozenset(token.strip() for token in tokens) - {"", "close", "keep-alive"}
