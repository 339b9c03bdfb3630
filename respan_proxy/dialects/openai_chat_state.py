"""How state that only its provider can read travels through chat messages: `reasoning_details` and `extra_content`, as OpenRouter and
Google's compatible endpoint spell them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from respan_proxy.dialects.events import Opaque, Provider
from respan_proxy.dialects.lenient import members
from respan_proxy.dialects.lenient import text as text_of

EXTENSIONS = frozenset(("reasoning_content", "reasoning_details", "extra_content"))
"""Members of messages (the last one also of calls) that OpenAI itself neither says nor takes."""

_FORMAT: Mapping[Provider, str] = {
    "anthropic": "anthropic-claude-v1",
    "gemini": "google-gemini-v1",
    "openai": "openai-responses-v1",
}
_PROVIDER: Mapping[object, Provider] = {name: provider for provider, name in _FORMAT.items()}


def detail_state(detail: Mapping[str, Any]) -> Opaque | None:
    """The part of a `reasoning_details` entry that must survive a round trip; formats of providers we do not know are not kept."""
    format = detail.get("format")
    provider = _PROVIDER.get(format) if isinstance(format, str) else None
    if provider is None:
        return None
    id = text_of(detail.get("id"))
    if data := text_of(detail.get("data")):
        return Opaque(provider, data, redacted=provider == "anthropic", id=id)
    signature = text_of(detail.get("signature"))
    return Opaque(provider, signature, id=id) if signature else None


def detail(text: str, opaque: Opaque, index: int) -> dict[str, Any]:
    """A block of thinking as a `reasoning_details` entry."""
    named = {"id": opaque.id} if opaque.id else {}
    where = {"format": _FORMAT[opaque.provider], **named, "index": index}
    if opaque.redacted:
        return {"type": "reasoning.encrypted", "data": opaque.data, **where}
    return {"type": "reasoning.text", "text": text, "signature": opaque.data, **where}


def google_signature(extra: object) -> Opaque | None:
    """Gemini's thought signature in an `extra_content`."""
    signature = text_of(members(members(extra).get("google")).get("thought_signature"))
    return Opaque("gemini", signature) if signature else None


def google_extra(signature: Opaque) -> dict[str, Any]:
    return {"google": {"thought_signature": signature.data}}
