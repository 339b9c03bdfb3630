"""How attachments spell their bytes: data URLs, the two alphabets of base64, and media types that only the bytes tell."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from respan_proxy.dialects.request import Attachment, Inline, Link
from respan_proxy.errors import RequestRejected

_LARGE = 64 * 1024  # decoding to check takes 5 ms a megabyte, in which nobody else is served; looking for foreign letters 0.4 ms
_STANDARD = str.maketrans("-_", "+/", " \t\r\n\f\v")

# First bytes of what providers take, from the WHATWG MIME sniffing standard.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)
_HEIF = (b"ftypheic", b"ftypheix", b"ftypmif1")  # what cameras of phones write, from the registry of ISO media brands

DETAILS = frozenset(("low", "high", "auto", "original"))
"""How closely OpenAI looks at an image."""

EXTENSIONS: Mapping[str, str] = {
    "application/pdf": "pdf",
    "text/plain": "txt",
    "text/markdown": "md",
    "text/csv": "csv",
    "text/html": "html",
    "application/json": "json",
}


def standard_base64(data: str, where: str) -> str:
    """The same bytes in the standard alphabet, padded, without white space. Raises RequestRejected on what is no base64."""
    if len(data) > _LARGE and _looks_standard(data):
        return data
    plain = data.translate(_STANDARD).rstrip("=")
    if len(plain) % 4 == 1 or not plain.isascii():
        raise _no_base64(where)
    plain += "=" * (-len(plain) % 4)
    try:
        binascii.a2b_base64(plain, strict_mode=True)
    except binascii.Error:
        raise _no_base64(where) from None
    return plain


def _looks_standard(data: str) -> bool:
    return data.isascii() and len(data) % 4 == 0 and not any(letter in data for letter in "-_% \t\r\n")


def _no_base64(where: str) -> RequestRejected:
    return RequestRejected(f"'{where}' holds no base64", param=where, code="invalid_value")


def data_url(url: str, where: str) -> tuple[str | None, Inline] | None:
    """(media type, bytes) of a data URL (RFC 2397), percent-encoded ones too; None of any other URL."""
    if url[:5].lower() != "data:":
        return None
    head, comma, data = url[5:].partition(",")
    if not comma:
        raise RequestRejected(f"'{where}' is a data URL without data", param=where, code="invalid_value")
    media_type, *parameters = (word.strip() for word in head.split(";"))
    if "base64" in (word.lower() for word in parameters):
        if "%" in data:
            data = unquote_to_bytes(data).decode("ascii", "replace")
        return media_type.lower() or None, Inline(standard_base64(data, where))
    return media_type.lower() or None, Inline(base64.b64encode(unquote_to_bytes(data)).decode())


def sniffed(source: Inline) -> str | None:
    """The media type that the first bytes tell; None if they tell none of those that are often mislabelled."""
    try:
        head = base64.b64decode(source.data[:32])
    except binascii.Error:
        return None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:12] in _HEIF:
        return "image/heic"
    return next((media_type for magic, media_type in _SIGNATURES if head.startswith(magic)), None)


def image_at(url: str, where: str, *, detail: str | None = None, cache: Mapping[str, object] | None = None) -> Attachment:
    """An image by URL of any kind: data, http(s), or a provider's own (`gs://`). Refuses what is none of them.

    The bytes decide the type of inline images: providers refuse mislabelled ones, and clients mislabel.
    """
    if inline := data_url(url, where):
        media_type, source = inline
        return Attachment("image", source, sniffed(source) or media_type, detail=detail, cache=cache)
    scheme, colon, _ = url.partition("://")
    if not colon or scheme.lower() not in ("http", "https", "gs"):
        raise RequestRejected(
            f"'{where}' is {url[:40]!r}; expected an http(s) URL or a data URL of an image", param=where, code="invalid_image_url"
        )
    return Attachment("image", Link(url), detail=detail, cache=cache)


def as_data_url(media_type: str | None, source: Inline) -> str:
    return f"data:{media_type or 'application/octet-stream'};base64,{source.data}"


def inline_text(source: Inline, where: str) -> str:
    """The text of an inline text file. Raises RequestRejected on what is no UTF-8."""
    try:
        return base64.b64decode(source.data).decode()
    except (UnicodeDecodeError, binascii.Error):
        raise RequestRejected(f"'{where}' is a text file that is not UTF-8", param=where, code="invalid_value") from None
