"""How a call's content lies in the database: one zstd frame per call, with a head that says where each part is.

Layout (`ENCODING`): 4 bytes big-endian length of the head, the head as JSON, then the parts one after the other. One frame instead of
one per part is a third of the inserts, and the assembled answer costs nearly nothing beside the raw one. zstd level 1: 8 us for
2 KB, 28 us for 20 KB; level 3 takes a quarter more for 1 to 4 %, zlib three times that and packs worse (measured). `enc` beside
each frame lets the form evolve.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from respan_proxy.respan.spans import Content

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODING = "zstd/1"
LEVEL = 1

# A body beyond this is cut and marked, unless `store.body_bytes` says otherwise: one call must not fill the disk, and eight megabytes
# hold the largest context windows as text.
BODY_BYTES = 8_000_000

# Of an answer that is read back and was stored compressed.
MAX_BODY_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """Content read back. `frames` are the chunks of a stream with the seconds since the request came; `cut` names what was cut."""

    request_headers: list[tuple[str, str]]
    request_body: bytes
    sent_body: bytes | None
    response_headers: list[tuple[str, str]]
    answer: bytes
    frames: list[tuple[float, bytes]]
    reply: bytes | None
    cut: list[str]

    @property
    def size_bytes(self) -> int:
        return len(self.request_body) + len(self.sent_body or b"") + len(self.answer) + len(self.reply or b"")


class Packer:
    """Content -> bytes for one row. Keeps its compression context: making one costs as much as packing 500 bytes.

    A body longer than `body_bytes` is cut; that may be changed while it is in use.
    """

    def __init__(self, body_bytes: int = BODY_BYTES) -> None:
        self.body_bytes = body_bytes
        self._compressor = zstd.ZstdCompressor(LEVEL)

    def pack(self, content: Content) -> tuple[bytes, bool]:
        """The frame to store, and whether anything was cut."""
        cut: list[str] = []
        chunks: list[tuple[int, int]] | None = None
        if isinstance(content.answer, bytes):
            answer = content.answer
        else:
            answer = b"".join([chunk for _, chunk in content.answer])
            chunks = [(round((at - content.started_at) * 1e6), len(chunk)) for at, chunk in content.answer]
        parts: dict[str, bytes | None] = {
            "request": content.request_body,
            "sent": content.sent_body,
            "answer": answer,
            "reply": content.reply,
        }
        lengths: dict[str, int] = {}
        kept: list[bytes] = []
        for name, part in parts.items():
            if part is None:
                continue
            if len(part) > self.body_bytes:
                part = part[: self.body_bytes]
                cut.append(name)
            lengths[name] = len(part)
            kept.append(part)
        if content.cut and "answer" not in cut:
            cut.append("answer")
        index: dict[str, Any] = {
            "parts": lengths,
            "chunks": chunks,
            "request_headers": content.request_headers,
            "response_headers": content.response_headers,
            "cut": cut,
        }
        try:
            head = orjson.dumps(index)
        except TypeError:
            # aiohttp decodes header bytes that are not UTF-8 to lone surrogates, which JSON cannot hold.
            index["request_headers"] = _readable(content.request_headers)
            index["response_headers"] = _readable(content.response_headers)
            head = orjson.dumps(index)
        data = b"".join((len(head).to_bytes(4, "big"), head, *kept))
        return self._compressor.compress(data, self._compressor.FLUSH_FRAME), bool(cut)


def unpack(encoding: str, data: bytes) -> Kept:
    """Content as it was packed. `ValueError` when it is damaged, or in a form that this program does not know."""
    if encoding != ENCODING:
        raise ValueError(f"content is stored as {encoding!r}; this program reads {ENCODING!r}")
    try:
        return _unpacked(zstd.decompress(data))
    except (zstd.ZstdError, LookupError, TypeError) as error:
        raise ValueError(f"content is damaged: {error}") from error


def _unpacked(plain: bytes) -> Kept:
    size = int.from_bytes(plain[:4], "big")
    head: dict[str, Any] = orjson.loads(plain[4 : 4 + size])
    parts: dict[str, bytes] = {}
    offset = 4 + size
    for name, length in head["parts"].items():
        parts[name] = plain[offset : offset + length]
        offset += length
    answer = parts.get("answer", b"")
    frames: list[tuple[float, bytes]] = []
    offset = 0
    for micros, length in head["chunks"] or ():
        if chunk := answer[offset : offset + length]:
            frames.append((micros / 1e6, chunk))
        offset += length
    return Kept(
        request_headers=[(name, value) for name, value in head["request_headers"]],
        request_body=parts.get("request", b""),
        sent_body=parts.get("sent"),
        response_headers=[(name, value) for name, value in head["response_headers"]],
        answer=answer,
        frames=frames,
        reply=parts.get("reply"),
        cut=head["cut"],
    )


def _readable(headers: Sequence[tuple[str, str]]) -> list[list[str]]:
    return [[part.encode("utf-8", "replace").decode() for part in header] for header in headers]
