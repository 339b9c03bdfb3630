"""What to make of JSON that should be something and may be anything: of a member the wanted type, or nothing; of a text what it means."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

import orjson


def text(value: object) -> str | None:
    """A string that is not empty."""
    return value if isinstance(value, str) and value else None


def count(value: object) -> int:
    """A counter: an int that is not negative; what is no number, or none that a counter reaches, counts as 0."""
    if type(value) is int and 0 <= value < _MOST:
        return value
    if isinstance(value, float):
        value = int(value) if isfinite(value) else 0
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST else 0


_MOST = 2**53  # beyond, JSON's readers lose digits and orjson writes none


def members(value: object) -> Mapping[str, Any]:
    """An object's members; of anything else, none."""
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[dict[str, Any]]:
    """The objects of an array; of anything else, none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def json_text(value: object) -> bytes:
    """Compact JSON of what a provider sent, however deeply nested: orjson reads 1024 levels and writes 254. Beyond Python's own: null."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        try:
            return json.dumps(value, separators=(",", ":")).encode()
        except RecursionError:
            return b"null"


# An escape of JSON's: a whole surrogate pair, half of one, or any other.
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|(u[dD][89a-fA-F]\w\w)|.)", re.DOTALL)


def read_json_text(body: bytes) -> Any:
    """JSON, also as programs write it that know no better: `NaN` and `Infinity` as bare words (Python's json), half a surrogate pair
    (JavaScript's and Python's texts), bytes that are no UTF-8; halves and bytes become U+FFFD. `ValueError` says why it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # Read by a slower parser, once it is known to be one of these.
        at = error.doc[error.pos : error.pos + 2] if isinstance(error.doc, str) else ""
        told = str(error)
        if "surrogate" in told or "infinity" in told or at[:1] in ("N", "I") or at == "-I":
            try:
                whole = _ESCAPE.sub(lambda found: b"\\ufffd" if found[1] else found[0], body)
                return json.loads(whole.decode("utf-8", "replace"))
            except (ValueError, RecursionError) as worse:
                told = str(worse)
        raise ValueError(told) from None
