"""Images that a request only links to: which of them a dialect needs as bytes, and the request with the bytes in their place."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import replace

from respan_proxy.dialects.attachments import sniffed
from respan_proxy.dialects.chat import Text
from respan_proxy.dialects.request import Attachment, ChatRequest, Inline, Link, Part, ToolResult
from respan_proxy.errors import RequestRejected

# URLs that a dialect's provider opens itself; it needs the bytes of all others. A dialect that is not here takes any http(s) URL.
_OPENS: Mapping[str, tuple[str, ...]] = {
    "gemini": (
        "https://generativelanguage.googleapis.com/",  # the Files API
        "https://www.youtube.com/",
        "https://youtube.com/",
        "https://youtu.be/",
    ),
}


def needs_bytes(dialect: str) -> bool:
    return dialect in _OPENS


def linked_images(request: ChatRequest, dialect: str) -> Mapping[str, str]:
    """URLs of images whose bytes `dialect` needs, each once, with the member of the caller's that names it first."""
    opens, found = _OPENS[dialect], dict[str, str]()
    for turn in request.turns:
        for part in turn.parts:
            for inner in part.parts if isinstance(part, ToolResult) else (part,):
                if (url := _image_url(inner)) is not None and not url.startswith(opens):
                    found.setdefault(url, turn.where)
    return found


def with_images(request: ChatRequest, inlined: Mapping[str, Attachment]) -> ChatRequest:
    """The request in which every image at one of these URLs is the bytes that were found there."""

    def shown(part: Text | Attachment) -> Text | Attachment:
        if isinstance(part, Attachment) and (found := inlined.get(_image_url(part) or "")) is not None:
            return replace(part, source=found.source, media_type=found.media_type)
        return part

    turns = (replace(turn, parts=tuple(_put(part, shown) for part in turn.parts)) for turn in request.turns)
    return replace(request, turns=tuple(turns))


def image_of(data: bytes, host: str, where: str) -> Attachment:
    """Fetched bytes as an image; what it was labelled as does not count. Raises RequestRejected when they are none."""
    head = Inline(base64.b64encode(data[:24]).decode())
    media_type = sniffed(head)
    if media_type is None or not media_type.startswith("image/"):
        raise no_image(host, "what is there is no PNG, JPEG, GIF, WebP or HEIC image", where)
    return Attachment("image", Inline(base64.b64encode(data).decode()), media_type)


def no_image(host: str, why: str, where: str) -> RequestRejected:
    """Names the host alone: the rest of a URL may carry secrets."""
    return RequestRejected(f"the image at {host!r} cannot be fetched: {why}", param=where, code="invalid_image_url")


def _image_url(part: Part) -> str | None:
    """The http(s) URL of an image that is only linked to."""
    match part:
        case Attachment(kind="image", source=Link(url)) if url[:8].lower().startswith(("http://", "https://")):
            return url
    return None


def _put(part: Part, shown: Callable[[Text | Attachment], Text | Attachment]) -> Part:
    match part:
        case ToolResult(parts=parts) if parts:
            return replace(part, parts=tuple(shown(inner) for inner in parts))
        case Attachment():
            return shown(part)
    return part
