"""What to make of a JSON member that should be something and may be anything: the wanted type, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any


def text(value: object) -> str | None:
    """A string that is not empty."""
    return value if isinstance(value, str) and value else None


def count(value: object) -> int:
    """A counter: an int that is not negative; what is no number counts as 0."""
    if isinstance(value, float):
        return max(0, int(value)) if isfinite(value) else 0
    return max(0, value) if isinstance(value, int) else 0


def members(value: object) -> Mapping[str, Any]:
    """An object's members; of anything else, none."""
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[dict[str, Any]]:
    """The objects of an array; of anything else, none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
