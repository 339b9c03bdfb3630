"""Chat replies whose content is a list of typed chunks (Mistral's reasoning models), said as clients of chat expect it.

Text becomes the string that `content` is everywhere else, thinking becomes `reasoning_content`; only frames that hold such a list change.
"""

from __future__ import annotations

from typing import Any

import orjson

from respan_proxy.dialects.lenient import objects
from respan_proxy.errors import UpstreamInterrupted
from respan_proxy.wire import sse

_LIST = (b'"content":[', b'"content": [')


class Plain:
    """A step that does so in a stream of whole frames; it costs two searches a chunk where there is none."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> bytes:
        if not _may_hold_a_list(chunk):
            return chunk
        return b"".join([_plain_frame(frame) if _may_hold_a_list(frame) else frame for frame in sse.split(chunk)])

    def end(self, error: UpstreamInterrupted | None) -> bytes:
        return b""


def plain(body: bytes) -> bytes:
    """A whole completion without lists of chunks; any other body as it is."""
    if not _may_hold_a_list(body):
        return body
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    return orjson.dumps(value) if _made_plain(value) else body


def _may_hold_a_list(text: bytes) -> bool:
    return _LIST[0] in text or _LIST[1] in text


def _plain_frame(frame: bytes) -> bytes:
    lines = frame.splitlines()
    data = b"\n".join([line[5:] for line in lines if line.startswith(b"data:")])
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return frame
    if not _made_plain(value):
        return frame
    others = [line + b"\n" for line in lines if line and not line.startswith(b"data:")]
    return b"".join(others) + b"data: " + orjson.dumps(value) + b"\n\n"


def _made_plain(value: Any) -> bool:
    """Whether the chunk or completion held a list, which is then text."""
    changed = False
    for choice in objects(value.get("choices")) if isinstance(value, dict) else ():
        for said in (choice.get("delta"), choice.get("message")):
            if isinstance(said, dict) and isinstance(said.get("content"), list):
                thinking = "".join(_thoughts(part) for part in objects(said["content"]))
                if thinking:
                    said["reasoning_content"] = thinking
                said["content"] = "".join(_text(part) for part in objects(said["content"]))
                changed = True
    return changed


def _text(part: dict[str, Any]) -> str:
    text = part.get("text")
    return text if isinstance(text, str) else ""


def _thoughts(part: dict[str, Any]) -> str:
    """`{type: thinking, thinking: [{type: text, text}]}`, or the text itself."""
    thinking = part.get("thinking")
    return thinking if isinstance(thinking, str) else "".join(_text(piece) for piece in objects(thinking))
