"""Bounded decompression of HTTP content codings: gzip, deflate and zstd, whole or chunk by chunk."""

from __future__ import annotations

import importlib
import sys
import zlib
from typing import Any, Final, Protocol

from respan_proxy.errors import RequestRejected, TooLarge, UpstreamInterrupted

SUPPORTED: Final = ("gzip", "deflate", "zstd")

# How much one call of a decompressor may give: bounds what a bomb can do between two looks at the limit.
_PIECE_BYTES: Final = 1024 * 1024


# How much of its input a decompressor is handed: little at first, because what lies behind a member's end is copied for every member
# (100,000 empty ones took 6 s, and ten times as many a hundred times as long), then more.
_FIRST_BYTES: Final = 512
_MOST_BYTES: Final = 65_536
# One behind the other in what comes at once; each costs a decompressor, of zstd's 20 us. Files that are made of members to be read from
# anywhere have one a 64 KB.
_MOST_MEMBERS: Final = 100_000
# Codings one over the other. Nobody applies two; each of them may blow the body up to the limit.
_MOST_CODINGS: Final = 3

# For streams, whose total nobody bounds: what one chunk may grow to.
_MAX_CHUNK_BYTES: Final = 64 * 1024 * 1024


class EncodingProblem(RequestRejected):
    """The bytes are not what Content-Encoding says (400), or it names a coding we do not read (415)."""


class _Inflater(Protocol):
    """One compressed member: zlib and zstd told the same way."""

    @property
    def eof(self) -> bool: ...

    @property
    def rest(self) -> bytes:
        """Bytes after the member's end."""
        ...

    def inflate(self, data: bytes) -> bytes:
        """At most `_PIECE_BYTES` of output; call again with b"" until it gives nothing."""
        ...


class _Zlib:
    __slots__ = ("_object", "_pending")

    def __init__(self, wbits: int) -> None:
        self._object = zlib.decompressobj(wbits)
        self._pending = b""

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def rest(self) -> bytes:
        return self._object.unused_data

    def inflate(self, data: bytes) -> bytes:
        try:
            out = self._object.decompress(self._pending + data, _PIECE_BYTES)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        self._pending = self._object.unconsumed_tail
        return out


class _Zstd:
    __slots__ = ("_error", "_object")

    def __init__(self) -> None:
        zstd = _zstd()
        self._object: Any = zstd.ZstdDecompressor()
        self._error: type[Exception] = zstd.ZstdError

    @property
    def eof(self) -> bool:
        return bool(self._object.eof)

    @property
    def rest(self) -> bytes:
        return bytes(self._object.unused_data)

    def inflate(self, data: bytes) -> bytes:
        if self._object.eof:
            return b""
        try:
            return bytes(self._object.decompress(data, _PIECE_BYTES))
        except self._error as error:
            raise ValueError(str(error)) from None


def _zstd() -> Any:
    """The zstd module, loaded when first needed: the standard library's from Python 3.14 on, else its backport."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return importlib.import_module(name)


class _Members:
    """One content coding over any number of members; deflate in both its readings (RFC 1950, and raw as some send it)."""

    __slots__ = ("_coding", "_first", "_inflater", "_started")

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._first = b""
        self._inflater: _Inflater | None = None
        self._started = False

    @property
    def complete(self) -> bool:
        """Whether the input so far ends where a member ends."""
        return not self._first and (self._inflater is None or self._inflater.eof)

    def feed(self, data: bytes, limit: int) -> bytes:
        """What these bytes give; raises `TooLarge` beyond `limit` bytes, ValueError for bytes of another form."""
        if self._first:
            data, self._first = self._first + data, b""
        out: list[bytes] = []
        size = at = members = 0
        step = _FIRST_BYTES
        gives = False
        while True:
            if self._inflater is None or self._inflater.eof:
                if self._inflater is not None:
                    at -= len(self._inflater.rest)
                    self._inflater, step, gives = None, _FIRST_BYTES, False
                if self._started and self._coding != "zstd":
                    at = _behind_zeros(data, at)  # gzip files may be padded with them
                if at == len(data):
                    return b"".join(out)
                self._inflater = self._open(data[at : at + 2])
                if self._inflater is None:
                    return b"".join(out)
                self._started = True
                members += 1
                if members > _MOST_MEMBERS:
                    raise ValueError(f"found more than {_MOST_MEMBERS} members in it")
            # What it holds back of the output first.
            chunk = b"" if gives else data[at : at + step]
            at += len(chunk)
            if chunk:
                step = min(2 * step, _MOST_BYTES)
            piece = self._inflater.inflate(chunk)
            gives = bool(piece)
            size += len(piece)
            if size > limit:
                raise TooLarge(f"the body is larger than {limit} bytes when decompressed")
            out.append(piece)
            if not piece and not chunk and not self._inflater.eof and at == len(data):
                return b"".join(out)

    def _open(self, head: bytes) -> _Inflater | None:
        """By the first two bytes; None when it takes both to know and there is one."""
        match self._coding:
            case "gzip":
                return _Zlib(16 + zlib.MAX_WBITS)
            case "zstd":
                return _Zstd()
            case _:
                if len(head) < 2:
                    self._first = head
                    return None
                is_zlib = head[0] & 0x0F == 8 and (head[0] << 8 | head[1]) % 31 == 0
                return _Zlib(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)


def _behind_zeros(data: bytes, at: int) -> int:
    while data[at : at + 1] == b"\0":
        some = data[at : at + _FIRST_BYTES]
        at += len(some) - len(some.lstrip(b"\0"))
    return at


def codings(encoding: str) -> list[str]:
    """The codings of a Content-Encoding value in the order they were applied, without identity. Raises `EncodingProblem` (415)."""
    names = [name.strip().lower().removeprefix("x-") for name in encoding.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if len(names) > _MOST_CODINGS:
        raise EncodingProblem(f"Content-Encoding: found {len(names)} codings, expected {_MOST_CODINGS} at most")
    for name in names:
        if name not in SUPPORTED:
            raise EncodingProblem(f"Content-Encoding: found {name!r}, expected one of {', '.join(SUPPORTED)}", status=415)
    return names


def decode(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its codings, at most `limit` bytes at every step.

    Raises `EncodingProblem` (400 or 415) and `TooLarge` (413). Megabytes take milliseconds: call it in a thread.
    """
    for coding in reversed(codings(encoding)):
        members = _Members(coding)
        try:
            body = members.feed(body, limit)
        except ValueError as error:
            raise EncodingProblem(f"the body is not {coding}, as Content-Encoding says: {error}") from None
        if not members.complete:
            raise EncodingProblem(f"the body ends in the middle of its {coding} data")
    return body


class Inflate:
    """A step of a stream that takes its codings off. Bytes of another form, or an end in the middle, raise `UpstreamInterrupted`."""

    __slots__ = ("_encoding", "_layers")

    def __init__(self, encoding: str) -> None:
        """Raises `EncodingProblem` (415) for a coding that we do not read."""
        self._encoding = encoding
        self._layers = [_Members(coding) for coding in reversed(codings(encoding))]

    def feed(self, chunk: bytes) -> bytes:
        try:
            for layer in self._layers:
                chunk = layer.feed(chunk, _MAX_CHUNK_BYTES)
        except (ValueError, TooLarge) as error:
            raise UpstreamInterrupted(f"the provider's answer is not {self._encoding}, as its Content-Encoding says: {error}") from None
        return chunk

    def end(self, error: UpstreamInterrupted | None) -> bytes:
        if error is None and not all(layer.complete for layer in self._layers):
            raise UpstreamInterrupted(f"the provider's answer ends in the middle of its {self._encoding} data")
        return b""
