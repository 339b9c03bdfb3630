"""What was said, as it is kept: bodies as received, as sent and as answered, with credentials masked."""

from __future__ import annotations

import re

import orjson
from multidict import MultiMapping

from respan_proxy.dialects.observe import Observed
from respan_proxy.exchange import Attempt, Exchange
from respan_proxy.respan.credentials import may_hold_credentials, redact_members
from respan_proxy.respan.messages import completion_message
from respan_proxy.wire import json_edit
from respan_proxy.wire.headers import MASK
from respan_proxy.wire.secret_texts import without_credentials

# Looked through for addresses with keys in them (3 us for 7 KB of prose); beyond it, images and documents, a search would hold up streams.
_SEARCHED_BYTES = 1_000_000
_BEARER = re.compile(rb"B(?=(?i:earer))")


def bodies(exchange: Exchange, attempt: Attempt | None) -> tuple[bytes, bytes | None]:
    """The request's body as received and, where it differs, as sent; credentials in either masked."""
    received, sent = _without_members(exchange, attempt)
    if not isinstance(exchange.document, json_edit.Document):
        return received, sent
    return _without_credentials(received), None if sent is None else _without_credentials(sent)


def _without_credentials(body: bytes) -> bytes:
    """What was said, without parameters and passwords of addresses, and bearer tokens: as of spans."""
    if len(body) > _SEARCHED_BYTES or not (b"=" in body or b"@" in body or _BEARER.search(body)):
        return body
    text = body.decode("latin-1")  # back into the same bytes
    clean = without_credentials(text)
    return body if clean is text else clean.encode("latin-1")


def _without_members(exchange: Exchange, attempt: Attempt | None) -> tuple[bytes, bytes | None]:
    document, received = exchange.document, exchange.request.body
    sent = attempt.sent if attempt is not None and attempt.sent is not received else None
    if document is None:
        return (MASK.encode() if may_hold_credentials(received) else received), sent
    if not (secret := redact_members(document.members)):
        return received, sent
    if sent is not None and attempt is not None and attempt.target.dialect is not exchange.dialect:
        # Said anew in another dialect: what is secret in it is looked for in itself.
        told = json_edit.parse(sent)
        sent = told.edited((), redact_members(told.members))
    elif sent is not None and attempt is not None:
        kept = {name: value for name, value in secret.items() if name not in attempt.edits.remove and name not in attempt.edits.replace}
        sent = document.edited(attempt.edits.remove, {**attempt.edits.replace, **kept})
    return document.edited((), secret), sent


def headers_sent(exchange: Exchange, attempt: Attempt | None) -> MultiMapping[str] | None:
    """The headers that the caller was sent."""
    if exchange.reply_headers is not None:
        return exchange.reply_headers
    return attempt.headers if attempt is not None else None


def answer_kept(exchange: Exchange, attempt: Attempt | None) -> bytes | list[tuple[float, bytes]]:
    if attempt is None and exchange.borrowed is not None:
        return exchange.error_body or exchange.borrowed.answer
    if attempt is None or attempt.headers is None:
        return exchange.error_body or b""
    if attempt.original is not None:
        return attempt.original
    return attempt.answer if attempt.answer is not None else attempt.chunks


def assembled(seen: Observed | None) -> bytes | None:
    if seen is None or seen.reply is None:
        return None
    return orjson.dumps([completion_message(choice) for choice in seen.reply.choices])
