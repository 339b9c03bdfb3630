"""The last words of a Responses stream that broke: `response.failed`, holding what the provider had said until then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from respan_proxy.dialects.dialect import WriteContext
from respan_proxy.dialects.events import Failure
from respan_proxy.dialects.openai_responses_read import TERMINALS
from respan_proxy.dialects.openai_responses_shape import failed_error, frame
from respan_proxy.dialects.openai_responses_write import Writer
from respan_proxy.errors import ProxyError
from respan_proxy.wire.sse import Decoder

# delta event -> (list of the item that holds the part, event member with the part's index, member of the part that grows)
_GROWING: Mapping[str, tuple[str, str, str]] = {
    "response.output_text.delta": ("content", "content_index", "text"),
    "response.refusal.delta": ("content", "content_index", "refusal"),
    "response.reasoning_text.delta": ("content", "content_index", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index", "text"),
}
_ARGUMENTS = {"response.function_call_arguments.delta": "arguments", "response.custom_tool_call_input.delta": "input"}
_PARTS = {"response.content_part.added": "content_index", "response.reasoning_summary_part.added": "summary_index"}
_WITH_STATUS = frozenset(("message", "function_call", "reasoning"))  # whose `incomplete` the SDKs know


class _Heard:
    """A stream of the provider's own events, as far as it went. Unlike a reader this keeps what no neutral event can hold."""

    __slots__ = ("done", "items", "over", "parts", "pieces", "response", "sequence")

    def __init__(self) -> None:
        self.response: dict[str, Any] = {}
        self.sequence = -1
        self.over = False
        self.items: dict[int, dict[str, Any]] = {}
        self.done: set[int] = set()
        self.parts: dict[tuple[int, str, int], dict[str, Any]] = {}
        self.pieces: dict[tuple[int, str, int, str], list[str]] = {}

    def event(self, event: dict[str, Any]) -> None:
        kind, index = event.get("type"), _int(event.get("output_index"))
        self.sequence = _int(event.get("sequence_number"), self.sequence)
        if not isinstance(kind, str):
            return
        if kind in _GROWING:
            member, counter, grows = _GROWING[kind]
            self._grow((index, member, _int(event.get(counter)), grows), event.get("delta"))
        elif kind in _ARGUMENTS:
            self._grow((index, "", 0, _ARGUMENTS[kind]), event.get("delta"))
        elif kind in _PARTS and isinstance(part := event.get("part"), dict):
            counter = _PARTS[kind]
            self.parts[index, counter.removesuffix("_index"), _int(event.get(counter))] = part
        elif kind in ("response.output_item.added", "response.output_item.done") and isinstance(item := event.get("item"), dict):
            self.items[index] = item
            if kind.endswith("done"):
                self.done.add(index)
        elif kind in TERMINALS or kind == "error":
            self.over = True
        elif isinstance(response := event.get("response"), dict):
            self.response = response

    def _grow(self, where: tuple[int, str, int, str], delta: object) -> None:
        if isinstance(delta, str):
            self.pieces.setdefault(where, []).append(delta)

    def output(self) -> list[dict[str, Any]]:
        """The items in order; those that were still growing hold what was said in them, and say that they are incomplete."""
        for (index, member, number, grows), pieces in self.pieces.items():
            item = self.items.get(index)
            if item is None or index in self.done:
                continue
            if not member:
                item[grows] = "".join(pieces)
                continue
            parts = item.get(member)
            if not isinstance(parts, list):
                parts = item[member] = []
            part = self.parts.get((index, member, number)) or {"type": "output_text" if grows == "text" else grows, "annotations": []}
            part[grows] = "".join(pieces)
            parts.append(part)
        for index, item in self.items.items():
            if index not in self.done and item.get("type") in _WITH_STATUS:
                item["status"] = "incomplete"
        return [self.items[index] for index in sorted(self.items)]


def interruption(received: bytes, error: ProxyError, request_id: str) -> bytes:
    """Nothing after a terminal event; the events that must come first too, if nothing was sent before the break."""
    heard = _Heard()
    for told in Decoder().feed(received):
        if told.data:
            try:
                event = orjson.loads(told.data)
            except orjson.JSONDecodeError:
                continue
            if isinstance(event, dict):
                heard.event(event)
    failure = Failure.of(error)
    if heard.over:
        return b""
    if heard.response:
        response = {**heard.response, "status": "failed", "error": failed_error(failure), "output": heard.output()}
        try:
            return frame("response.failed", heard.sequence + 1, {"response": response})
        except orjson.JSONEncodeError:  # nested deeper than orjson writes (254), though not deeper than it reads (1024)
            pass
    return Writer(WriteContext(now=0, new_id=lambda prefix: prefix + request_id)).feed(failure)


def _int(value: object, otherwise: int = 0) -> int:
    return value if isinstance(value, int) else otherwise
