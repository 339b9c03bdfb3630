"""What to make of a JSON member that should be something and may be anything: the wanted type, or nothing."""

from __future__ import annotations

import json
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
