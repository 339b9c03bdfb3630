"""How what a span says lies in the database: one zstd frame a span, what was said in front and the span whole behind it.

Layout (`ENCODING`): 4 bytes big-endian length of the first part, what was said (`Said`) as JSON, the span as it was exported as JSON.
Whoever opens a trace of thousands of spans reads the first part alone.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Any

import orjson

from respan_proxy.telemetry.spans import Said, Told

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODING = "zstd/span1"
LEVEL = 1

_SAID = tuple(field.name for field in fields(Said))


def pack(told: Told, compressor: zstd.ZstdCompressor) -> bytes:
    """The frame to store."""
    # Not dataclasses.asdict: it copies what is in the messages, which takes longer than to compress them.
    said = orjson.dumps({name: value for name in _SAID if (value := getattr(told.said, name)) is not None})
    plain = b"".join((len(said).to_bytes(4, "big"), said, orjson.dumps(told.raw, option=orjson.OPT_NON_STR_KEYS)))
    return compressor.compress(plain, compressor.FLUSH_FRAME)


def said(encoding: str, data: bytes) -> Said:
    """What was said in a span. `ValueError` when it is damaged, or in a form that this program does not know."""
    plain = _plain(encoding, data)
    return Said(**orjson.loads(plain[4 : 4 + int.from_bytes(plain[:4], "big")]))


def raw(encoding: str, data: bytes) -> dict[str, Any]:
    """The span as it was exported. `ValueError` as for `said`."""
    plain = _plain(encoding, data)
    whole: dict[str, Any] = orjson.loads(plain[4 + int.from_bytes(plain[:4], "big") :])
    return whole


def _plain(encoding: str, data: bytes) -> bytes:
    if encoding != ENCODING:
        raise ValueError(f"a span is stored as {encoding!r}; this program reads {ENCODING!r}")
    try:
        return zstd.decompress(data)
    except zstd.ZstdError as error:
        raise ValueError(f"a span is damaged: {error}") from error
