"""An event stream's JSON payloads, in bulk where the stream is as plain as most are: twice as fast as frame by frame."""

from __future__ import annotations

import re
from typing import Any

import orjson

from respan_proxy.wire.sse import Decoder

_DATA = b"data: "
_CRLF = b"\r\n\r\n"  # how Google ends its frames
_DONE = b"\n\ndata: [DONE]\n\n"
_BETWEEN = re.compile(rb"\n\n(?:event: [^\n]*\n)?data: ")


def payloads(body: bytes) -> list[Any] | None:
    """The parsed payload of every frame, or None if the body needs the careful way (`wire.sse.Decoder`).

    Plain is: one kind of line end, one `data: ` line a frame, alone or under an `event: ` line, JSON in it, and whole to the last
    blank line; a last `[DONE]` is left out. Raw line ends cannot stand inside JSON strings, so cutting at blank lines never cuts a payload.
    Measured for 100 chat chunks of 280 bytes: 135 us, of which 110 are orjson's; Decoder and orjson together 265 us.
    """
    try:
        if body.endswith(_CRLF):
            return list(map(orjson.loads, body[len(_DATA) : -4].split(_CRLF + _DATA))) if body.startswith(_DATA) else None
        if not body.endswith(b"\n\n"):
            return None
        end = len(body) - (len(_DONE) if body.endswith(_DONE) else 2)
        if body.startswith(_DATA):
            return list(map(orjson.loads, body[len(_DATA) : end].split(b"\n\n" + _DATA)))
        if body.startswith(b"event: "):
            before, *pieces = _BETWEEN.split(b"\n\n" + body[:end])
            return None if before else list(map(orjson.loads, pieces))
    except orjson.JSONDecodeError:
        pass
    return None


class Payloads:
    """Bytes of an event stream in any cut to the parsed payloads of its frames. One that is not JSON is left out; nothing raises."""

    __slots__ = ("_begun", "_decoder", "unread")

    def __init__(self) -> None:
        self._decoder: Decoder | None = None  # as long as every chunk was plain and whole
        self._begun = False
        self.unread = 0

    @property
    def truncated(self) -> bool:
        """The stream ended inside a frame, or held one larger than the decoder does."""
        return self._decoder is not None and self._decoder.truncated

    def feed(self, chunk: bytes) -> list[Any]:
        if self._decoder is None:
            if (found := payloads(chunk)) is not None:
                self._begun = True
                return found
            self._decoder = Decoder()
            if self._begun:
                self._decoder.feed(b"\n\n")  # a byte order mark is one only at the very beginning
        return [payload for frame in self._decoder.feed(chunk) for payload in self._parsed(frame.data)]

    def close(self) -> list[Any]:
        return [payload for frame in self._decoder.close() for payload in self._parsed(frame.data)] if self._decoder else []

    def _parsed(self, data: str) -> list[Any]:
        try:
            return [orjson.loads(data)]
        except orjson.JSONDecodeError:
            self.unread += not data.lstrip().startswith("[DONE]")
            return []
