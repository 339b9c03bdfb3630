"""Gemini's other stream, a JSON array written piece by piece: `Decoder` reads its objects, `Framer` passes whole ones on."""

from __future__ import annotations

import re
from typing import Final

from respan_proxy.errors import UpstreamInterrupted
from respan_proxy.wire.sse import MAX_EVENT_BYTES

_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')
_ESCAPED: Final = 1
_QUOTE, _BACKSLASH, _OPEN_ARRAY = b'"\\['


class _Boundaries:
    """Walks JSON in any cut and tells where the elements of the outer array begin and end (or, without an array, the values)."""

    __slots__ = ("_base", "_depth", "_escaped", "_in_string")

    def __init__(self) -> None:
        self._depth = 0
        self._base = -1
        self._in_string = False
        self._escaped = False

    @property
    def inside(self) -> bool:
        """Whether the walk stands inside an element."""
        return self._depth > max(self._base, 0)

    def feed(self, chunk: bytes) -> tuple[list[int], list[int]]:
        """The offsets in this chunk where elements begin, and the offsets after their last byte."""
        begins: list[int] = []
        ends: list[int] = []
        at = 0
        if self._escaped and chunk:
            at, self._escaped = _ESCAPED, False
        while (match := (_INSIDE if self._in_string else _OUTSIDE).search(chunk, at)) is not None:
            at = match.end()
            byte = chunk[at - 1]
            if byte == _QUOTE:
                self._in_string = not self._in_string
            elif byte == _BACKSLASH:
                self._escaped = at == len(chunk)
                at += 1
            elif byte in b"{[":
                if self._base == -1:
                    self._base = 1 if byte == _OPEN_ARRAY else 0
                    if self._base == 1:
                        self._depth = 1
                        continue
                if self._depth == self._base:
                    begins.append(at - 1)
                self._depth += 1
            else:
                if self._depth == self._base + 1:
                    ends.append(at)
                self._depth = max(self._depth - 1, 0)
        return begins, ends


class Decoder:
    """Bytes in any cut to the text of each whole object. Never raises; `truncated` says that the stream ended inside one."""

    __slots__ = ("_boundaries", "_held", "_overflowed", "truncated")

    def __init__(self) -> None:
        self._boundaries = _Boundaries()
        self._held = bytearray()
        self._overflowed = False
        self.truncated = False

    def feed(self, chunk: bytes) -> list[str]:
        if self._overflowed:
            return []
        was_inside = self._boundaries.inside
        begins, ends = self._boundaries.feed(chunk)
        starts = [0, *begins] if was_inside else begins
        texts = []
        for start, end in zip(starts, ends, strict=False):
            texts.append((bytes(self._held) + chunk[start:end]).decode("utf-8", "replace"))
            self._held.clear()
        if len(starts) > len(ends):
            self._held += chunk[starts[-1] :]
        if len(self._held) > MAX_EVENT_BYTES:
            self._held.clear()
            self._overflowed = self.truncated = True
        return texts

    def close(self) -> list[str]:
        """The end of the stream; half an object is no object."""
        self.truncated = self.truncated or bool(self._held)
        self._held.clear()
        return []


class Framer:
    """A step of a stream that holds an object until it is whole; brackets and commas between objects pass at once, all bytes as they are.

    A break drops half an object; one above 16 MiB raises `UpstreamInterrupted`.
    """

    __slots__ = ("_boundaries", "_held")

    def __init__(self) -> None:
        self._boundaries = _Boundaries()
        self._held = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        begins, ends = self._boundaries.feed(chunk)
        if not self._boundaries.inside:
            if not self._held:
                return chunk
            whole = bytes(self._held) + chunk
            self._held.clear()
            return whole
        if not begins or (ends and ends[-1] > begins[-1]):
            # The object that is open began in an earlier chunk.
            self._held += chunk
            whole = b""
        else:
            whole = bytes(self._held) + chunk[: begins[-1]]
            self._held[:] = chunk[begins[-1] :]
        if len(self._held) > MAX_EVENT_BYTES:
            self._held.clear()
            raise UpstreamInterrupted(f"the provider sent an object of more than {MAX_EVENT_BYTES >> 20} MiB")
        return whole

    def end(self, error: UpstreamInterrupted | None) -> bytes:
        tail = b"" if error is not None else bytes(self._held)
        self._held.clear()
        return tail
