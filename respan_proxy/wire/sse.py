"""Server-sent events: `Decoder` gives the meaning of each frame, `Framer` passes on whole frames as the bytes they are.

Rules: WHATWG HTML 9.2.6, with one deviation needed for LLM providers: a last event without its blank line counts if it is whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import orjson

from respan_proxy.errors import UpstreamInterrupted

# Image deltas and base64 make events of megabytes legitimate; beyond this a provider is broken or hostile.
MAX_EVENT_BYTES: Final = 16 * 1024 * 1024

# A line ends with LF, CR or CRLF, so a blank line shows as one of these pairs; a CR of it may yet be followed by its LF.
_PAIRS: Final = (b"\n\n", b"\n\r", b"\r\r")
_BLANK: Final = (b"\n\n", b"\n\r\n", b"\r\r", b"\n\r", b"\r\r\n")
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Frame:
    """One event. `event` is its name if it has one, `id` the last id the stream gave, `data` the data lines joined with LF."""

    event: str | None
    data: str
    id: str | None = None


class Decoder:
    """Bytes in any cut to events. Comments and frames without data give none. Never raises.

    `truncated` says that the stream ended inside an event, or held one above 16 MiB (nothing is read after that).
    """

    __slots__ = ("_after_cr", "_buffer", "_id", "_overflowed", "_started", "truncated")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._after_cr = False
        self._started = False
        self._overflowed = False
        self._id: str | None = None
        self.truncated = False

    def feed(self, chunk: bytes) -> list[Frame]:
        if not chunk or self._overflowed:
            return []
        if not self._started and not (chunk := self._without_bom(chunk)):
            return []
        after_cr, self._after_cr = self._after_cr, chunk.endswith(b"\r")
        if after_cr:
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._buffer:
            blocks = self._complete(chunk).split(b"\n\n")
        else:
            *blocks, tail = chunk.split(b"\n\n")
            self._buffer += tail
            self._check()
        return [frame for block in blocks if (frame := self._frame(block)) is not None]

    def close(self) -> list[Frame]:
        """The end of the stream: an event that lacks only its blank line, if its data is whole JSON or `[DONE]`."""
        tail = bytes(self._buffer)
        self._buffer.clear()
        frame = None if self._overflowed else self._frame(tail)
        if frame is None:
            return []
        if not frame.data.strip().startswith("[DONE]"):
            try:
                orjson.loads(frame.data)
            except orjson.JSONDecodeError:
                self.truncated = True
                return []
        return [frame]

    def _without_bom(self, chunk: bytes) -> bytes:
        """The chunk, or nothing yet while it may be the beginning of a byte order mark."""
        chunk = bytes(self._buffer) + chunk
        self._buffer.clear()
        if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
            self._buffer += chunk
            return b""
        self._started = True
        return chunk.removeprefix(_BOM)

    def _complete(self, chunk: bytes) -> bytes:
        """What is held together with the chunk, up to the last blank line; what comes after stays held."""
        held = self._buffer
        start = max(len(held) - 1, 0)
        held += chunk
        end = held.rfind(b"\n\n", start)
        if end == -1:
            self._check()
            return b""
        whole = bytes(held[: end + 2])
        del held[: end + 2]
        return whole

    def _check(self) -> None:
        if len(self._buffer) > MAX_EVENT_BYTES:
            self._overflowed = self.truncated = True
            self._buffer.clear()

    def _frame(self, block: bytes) -> Frame | None:
        if block.startswith(b"data: ") and b"\n" not in block:
            return Frame(None, block[6:].decode("utf-8", "replace"), self._id)
        event: str | None = None
        data: list[bytes] = []
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            match name:
                case b"data":
                    data.append(value)
                case b"event":
                    event = value.decode("utf-8", "replace") or None
                case b"id" if b"\0" not in value:
                    self._id = value.decode("utf-8", "replace")
        return Frame(event, b"\n".join(data).decode("utf-8", "replace"), self._id) if data else None


class Framer:
    """A step of a stream that lets only whole frames pass, byte for byte; a partial one waits for its rest.

    A clean end lets the rest go as it is; a break drops it, because half a frame before an error event is a parse error
    in the clients. A frame above 16 MiB raises `UpstreamInterrupted`.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        held = self._held
        if not held:
            if chunk.endswith(_BLANK):
                return chunk
            end = _frames_end(chunk, 0)
            if not chunk[end:].strip(b"\r\n"):
                # Between frames: an extra blank line, which is a keep-alive at Gemini, or the LF of a CRLF that was cut.
                return chunk
            held += chunk[end:]
            return chunk[:end]
        start = len(held) - 1
        held += chunk
        end = _frames_end(held, start)
        if end == 0:
            if len(held) > MAX_EVENT_BYTES:
                held.clear()
                raise UpstreamInterrupted(f"the provider sent an event of more than {MAX_EVENT_BYTES >> 20} MiB")
            return b""
        if not held[end:].strip(b"\r\n"):
            end = len(held)
        whole = bytes(held[:end])
        del held[:end]
        return whole

    def end(self, error: UpstreamInterrupted | None) -> bytes:
        tail = b"" if error is not None else bytes(self._held)
        self._held.clear()
        return tail


class Namer:
    """A step that writes an `event:` line, the `type` of the payload, above events that have none; of whole frames, as a `Framer` gives."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> bytes:
        return b"".join([_named(frame) for frame in split(chunk)])

    def end(self, error: UpstreamInterrupted | None) -> bytes:
        return b""


def _named(frame: bytes) -> bytes:
    events = Decoder().feed(frame)
    if len(events) != 1 or events[0].event is not None:
        return frame
    try:
        payload = orjson.loads(events[0].data)
    except orjson.JSONDecodeError:
        return frame
    kind = payload.get("type") if isinstance(payload, dict) else None
    if not isinstance(kind, str) or not kind.isprintable():
        return frame
    line_end = b"\r\n" if b"\r\n" in frame else b"\n"
    text = frame.lstrip(b"\r\n")  # before it: the LF of the last frame's CRLF, if the network cut there
    return frame[: len(frame) - len(text)] + b"event: " + kind.encode() + line_end + text


def _frames_end(data: bytes | bytearray, start: int) -> int:
    """The offset after the last blank line that ends at or after `start`, 0 if there is none."""
    at = max(data.rfind(pair, start) for pair in _PAIRS)
    if at == -1:
        return 0
    # The second byte of the pair may be the CR of a CRLF.
    return at + 3 if data[at + 1 : at + 3] == b"\r\n" else at + 2


def frames(chunk: bytes) -> Iterator[bytes]:
    """Whole frames, as a `Framer` gives them, one by one and no further than asked: for who wants only the first."""
    start = 0
    for match in _BLANK_LINE.finditer(chunk):
        yield chunk[start : match.end()]
        start = match.end()
    if start < len(chunk):
        yield chunk[start:]


def without(chunk: bytes, markers: tuple[bytes, ...], is_meant: Callable[[bytes], bool]) -> bytes:
    """The chunk (whole frames) without the frames that hold one of the markers and are meant; found by search, not by splitting."""
    for marker in markers:
        at = chunk.find(marker)
        while at != -1:
            if b"\r" in chunk:
                return b"".join([frame for frame in split(chunk) if not (marker in frame and is_meant(frame))])
            before = chunk.rfind(b"\n\n", 0, at)
            start = 0 if before == -1 else before + 2
            end = chunk.find(b"\n\n", at)
            end = len(chunk) if end == -1 else end + 2
            if is_meant(chunk[start:end]):
                chunk = chunk[:start] + chunk[end:]
                at = chunk.find(marker, start)
            else:
                at = chunk.find(marker, end)
    return chunk


def split(chunk: bytes) -> list[bytes]:
    """Whole frames, as a `Framer` gives them, one by one; together they are the chunk."""
    if b"\r" not in chunk:
        frames = [frame + b"\n\n" for frame in chunk.split(b"\n\n")]
        frames[-1] = frames[-1][:-2]
    else:
        ends = [match.end() for match in _BLANK_LINE.finditer(chunk)]
        frames = [chunk[start:end] for start, end in pairwise([0, *ends, len(chunk)])]
    return [frame for frame in frames if frame]
