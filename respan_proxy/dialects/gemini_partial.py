"""A Gemini function call whose arguments are streamed piece by piece, as only Vertex does."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from respan_proxy.dialects.events import Opaque
from respan_proxy.dialects.lenient import members

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,4})\]|\['([^']*)'\]")
_VALUES = ("numberValue", "boolValue", "nullValue")


class PartialCall:
    """The call as its first part named it, and the arguments as far as they came."""

    __slots__ = ("args", "call", "signature")

    def __init__(self, call: dict[str, Any], signature: Opaque | None) -> None:
        args = call.get("args")
        self.call = call
        self.signature = signature
        self.args: dict[str, Any] = dict(args) if isinstance(args, dict) else {}

    def add(self, pieces: object) -> None:
        """`partialArgs`: each a JSON path (`$.stops[0].city`) and a value; strings continue the string that is there."""
        for piece in pieces if isinstance(pieces, list) else ():
            told = members(piece)
            path = told.get("jsonPath")
            steps = [name or quoted or int(number or 0) for name, number, quoted in _STEP.findall(path)] if isinstance(path, str) else []
            if steps:
                self._put(steps, told)

    def _put(self, steps: list[Any], told: Any) -> None:
        place: Any = self.args
        for step, following in pairwise(steps):
            place = _enter(place, step, [] if isinstance(following, int) else {})
        last = steps[-1]
        if isinstance(text := told.get("stringValue"), str):
            before = _enter(place, last, "")
            _set(place, last, before + text if isinstance(before, str) else text)
            return
        for name in _VALUES:
            if name in told:
                _set(place, last, None if name == "nullValue" else told[name])


def _enter(place: Any, step: Any, empty: Any) -> Any:
    """What is at this step of the path, made if it is not there."""
    if isinstance(place, dict):
        return place.setdefault(str(step), empty)
    if isinstance(place, list) and isinstance(step, int):
        if step >= len(place):
            place.extend([None] * (step - len(place)) + [empty])
        return place[step]
    return None


def _set(place: Any, step: Any, value: Any) -> None:
    if isinstance(place, dict):
        place[str(step)] = value
    elif isinstance(place, list) and isinstance(step, int) and step < len(place):
        place[step] = value
    elif isinstance(place, list) and step == len(place):
        place.append(value)
