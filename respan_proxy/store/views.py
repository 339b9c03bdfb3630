"""A remembered call or span as Respan's API shows it: in a list, and whole."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Mapping
from typing import Any

import orjson

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.observe import observe
from respan_proxy.errors import RequestRejected
from respan_proxy.respan.details import CONTENT_FIELDS, content_fields, json_text
from respan_proxy.respan.messages import completion_message
from respan_proxy.store.bodies import MAX_BODY_BYTES, Kept
from respan_proxy.store.queries import Found
from respan_proxy.telemetry.reserved import public_each, public_metadata, public_span
from respan_proxy.telemetry.spans import Said
from respan_proxy.wire.encoding import decode

CACHE_TAG = "respan/cache"

# Members of Respan's span object that have no meaning here; its typed client asks for some of them.
_UNKNOWN_HERE: dict[str, Any] = {
    "organization_id": None,
    "unique_organization_id": None,
    "deployment_id": None,
    "period_start": None,
    "period_end": None,
    "limit_info": None,
    "scores": {},
    "blurred": False,
}


def whole(found: Found) -> dict[str, Any]:
    """One call with all that is known of it. Beside Respan's fields ours: headers, the request as sent, each frame with its time, and
    the app's span of it as it was exported (`spans_beside`: further spans of the same call)."""
    row = _columns(found) | _UNKNOWN_HERE | content_of(found)
    spans = [public_span(span) for span in found.spans]
    row["span"] = spans[0] if spans else None
    row["spans_beside"] = spans[1:]
    kept = found.kept
    if kept is not None:
        row["request_headers"] = kept.request_headers
        row["response_headers"] = kept.response_headers
        row["sent_request"] = None if kept.sent_body is None else _json_or_text(kept.sent_body)
        text = getincrementaldecoder("utf-8")("replace")  # a chunk may end within a character
        row["frames"] = [{"time": at, "data": text.decode(chunk)} for at, chunk in kept.frames]
        row["cut"] = kept.cut
    return row


def brief(found: Found, wanted: frozenset[str] = frozenset()) -> dict[str, Any]:
    """One call as a line of a list: its columns, and of what was said the fields that are wanted."""
    row = _columns(found)
    if found.kept is not None or found.said is not None:
        row |= {name: value for name, value in content_of(found).items() if name in wanted}
    return row


def _columns(found: Found) -> dict[str, Any]:
    row = {"id": found.row["unique_id"], **found.row}
    # What Respan's lists show of a hit; the model itself stays, so that sums by model are right.
    row["model_tag"] = CACHE_TAG if row["cache_bit"] else row["model"]
    row["metadata"] = public_metadata(row["metadata"])
    if row["span_links"] is not None:
        row["span_links"] = public_each(row["span_links"])
    return row


def content_of(found: Found) -> dict[str, Any]:
    """Respan's content fields of a call or span; all None where nothing of it was kept."""
    return content(found.row, found.kept, found.said)


def content(row: Mapping[str, Any], kept: Kept | None, said: Said | None) -> dict[str, Any]:
    """Respan's content fields: of what went through the gateway, else of what an app's span tells; all None when neither is kept."""
    if kept is not None:
        answer = _plain(kept)
        return content_fields(kept.request_body, answer, kept.reply or _assembled(row, answer, streamed=bool(kept.frames)))
    fields: dict[str, Any] = dict.fromkeys(CONTENT_FIELDS)
    if said is not None:
        message = said.completion_messages[0] if said.completion_messages else None
        fields |= {
            "prompt_messages": said.prompt_messages,
            "completion_message": message,
            "completion_messages": said.completion_messages,
            "tools": said.tools,
            "tool_calls": said.tool_calls,
        }
        fields["input"], fields["output"] = spoken(said)
    return fields


def spoken(said: Said) -> tuple[str | None, str | None]:
    """What went into a span and what came out of it, as texts."""
    message = said.completion_messages[0] if said.completion_messages else None
    asked = said.input if said.input is not None else json_text(said.prompt_messages)
    return asked, said.output if said.output is not None else json_text(message)


def _assembled(row: Mapping[str, Any], answer: bytes, *, streamed: bool) -> bytes | None:
    """What the writer was spared: most answers are remembered as they came, and put together only here."""
    dialect = DIALECTS.get(row["provider_dialect"] or row["dialect"] or "")
    if dialect is None or (row["status_code"] or 0) >= 400:
        return None
    seen = observe(dialect, "generate", answer, streamed=streamed)
    return orjson.dumps([completion_message(choice) for choice in seen.reply.choices]) if seen.reply else None


def _plain(kept: Kept) -> bytes:
    """The answer without the compression that a provider gave it unasked; as it came when it cannot be undone (it was cut, say)."""
    encoding = next((value for name, value in kept.response_headers if name.lower() == "content-encoding"), "")
    if not encoding:
        return kept.answer
    try:
        return decode(kept.answer, encoding, MAX_BODY_BYTES)
    except RequestRejected:
        return kept.answer


def _json_or_text(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")
