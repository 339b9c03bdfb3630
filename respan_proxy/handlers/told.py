"""What the caller of a kept response is told of it: whether it is stored, what came before it, and an id that no other has.

A step over the few events of a stream that hold the response; all other bytes pass as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from secrets import token_hex
from typing import Any

import orjson

from respan_proxy.dialects.openai_responses_shape import without_tokens
from respan_proxy.dialects.responses_state import shown, without_thoughts
from respan_proxy.errors import ProxyError, UpstreamInterrupted
from respan_proxy.exchange import Reply
from respan_proxy.wire import encoding, json_edit, sse
from respan_proxy.wire.json_edit import Document, JsonProblem

_RESPONSE, _THOUGHTS, _ITEM_DONE = b'"response"', b'"encrypted_content"', b"response.output_item.done"
_TERMINAL = frozenset({"response.completed", "response.incomplete"})

# Of a whole answer that came compressed though nobody asked for it.
MOST_DECODED_BYTES = 64 * 1024 * 1024


class Tell:
    """A step that gives every response `members`, and the finished one to `keep` as JSON text and as values.

    `taken`: ids of earlier turns; a provider that gives one of them again is given another. `hides_thoughts`: what `keep` gets and
    the caller did not ask for.
    """

    __slots__ = ("_hides_thoughts", "_id", "_items", "_keep", "_members", "_taken")

    def __init__(
        self,
        members: Mapping[str, Any],
        keep: Callable[[bytes, Mapping[str, Any]], None],
        taken: Collection[str] = (),
        *,
        hides_thoughts: bool = False,
    ) -> None:
        self._members = members
        self._keep = keep
        self._taken = taken
        self._hides_thoughts = hides_thoughts
        self._id: str | None = None
        self._items: list[bytes] = []

    def feed(self, chunk: bytes) -> bytes:
        if _RESPONSE not in chunk and _ITEM_DONE not in chunk and not (self._hides_thoughts and _THOUGHTS in chunk):
            return chunk
        return b"".join([self._frame(frame) for frame in sse.split(chunk)])

    def end(self, error: UpstreamInterrupted | None) -> bytes:
        return b""

    def whole(self, body: bytes) -> bytes:
        """A whole answer, told and kept in the same way; what is no response stays as it is."""
        try:
            document = json_edit.parse(body)
        except JsonProblem:
            return body
        if document.members.get("object") != "response":
            return body
        return self._response(document, is_last=True)

    def _frame(self, frame: bytes) -> bytes:
        if _ITEM_DONE in frame:
            self._items.append(frame)
        elif _RESPONSE not in frame:
            return self._thoughtless(frame)
        events = sse.Decoder().feed(frame)
        if len(events) != 1 or _RESPONSE not in frame:
            return self._thoughtless(frame)
        data = events[0].data.encode()
        try:
            event = json_edit.parse(data)
        except JsonProblem:
            return frame
        if not isinstance(event.members.get("response"), dict):
            return self._thoughtless(frame)
        told = self._response(json_edit.parse(_member(data, "response")), is_last=event.members.get("type") in _TERMINAL)
        return _with_data(frame, data, event.edited((), {"response": orjson.Fragment(told)}))

    def _response(self, document: Document, *, is_last: bool) -> bytes:
        """A response as the caller is told it; the last one is kept."""
        members, response = dict(self._members), document.members
        if (tools := response.get("tools")) != (shown_tools := without_tokens(tools)):
            members["tools"] = shown_tools
        if response.get("status") == "failed":
            members["store"] = False
        if response.get("id") in self._taken:
            self._id = members["id"] = self._id or f"resp_{token_hex(24)}"
        if is_last and not response.get("output") and self._items:
            members["output"] = [item for frame in self._items if (item := _item(frame)) is not None]
        told = document.edited((), members)
        if is_last:
            self._keep(told, {**response, **members})
        if self._hides_thoughts and _THOUGHTS in told:
            told = orjson.dumps(shown(orjson.loads(told)))
        return told

    def _thoughtless(self, frame: bytes) -> bytes:
        if not (self._hides_thoughts and _THOUGHTS in frame):
            return frame
        events = sse.Decoder().feed(frame)
        try:
            event = orjson.loads(events[0].data) if len(events) == 1 else None
        except orjson.JSONDecodeError:
            return frame
        if not isinstance(event, dict) or not isinstance(event.get("item"), dict):
            return frame
        return _with_data(frame, events[0].data.encode(), orjson.dumps({**event, "item": without_thoughts(event["item"])}))


def tell_whole(reply: Reply, tell: Tell) -> None:
    """The same for an answer that is in hand, be it an object or a stream that came in one piece."""
    body = reply.body
    if not isinstance(body, bytes):
        return
    if coding := reply.headers.get("Content-Encoding"):
        try:
            body = encoding.decode(body, coding, MOST_DECODED_BYTES)
        except ProxyError:
            return
        del reply.headers["Content-Encoding"]
    streamed = reply.headers.get("Content-Type", "").startswith("text/event-stream")
    reply.body = tell.feed(body) if streamed else tell.whole(body)


def _member(text: bytes, name: str) -> bytes:
    """The JSON text of a top-level member that is there."""
    scan = json_edit.scan(text)
    while True:
        try:
            next(scan)
        except StopIteration as done:
            document: Document = done.value
            break
    span = next(span for span in reversed(document.spans or ()) if span.name == name)
    return text[span.value_start : span.value_end]


def _with_data(frame: bytes, data: bytes, instead: bytes) -> bytes:
    """The frame with other data; its other lines stay."""
    if data in frame:
        return frame.replace(data, instead, 1)
    lines = [line for line in frame.splitlines() if line and not line.startswith(b"data:")]
    return b"\n".join([*lines, *(b"data: " + line for line in instead.split(b"\n")), b"", b""])


def _item(frame: bytes) -> dict[str, Any] | None:
    """The item of an `output_item.done`."""
    events = sse.Decoder().feed(frame)
    try:
        item = orjson.loads(events[0].data).get("item") if events else None
    except (orjson.JSONDecodeError, AttributeError):
        return None
    return item if isinstance(item, dict) else None
