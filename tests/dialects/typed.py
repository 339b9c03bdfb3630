"""Values held against the request types of the official SDKs, member by member: unknown, missing and mistyped ones are named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints

from google.genai import types


def complaints(value: Any, kind: Any, where: str = "") -> list[str]:
    """What is wrong with a value of this type; of a union, what is wrong with the member that comes nearest."""
    if kind is Any or kind is object:
        return []
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Required, NotRequired):
        return complaints(value, args[0], where)
    if origin in (Union, UnionType):
        found = [complaints(value, arg, where) for arg in args]
        return min(found, key=_badness)
    if origin is Literal:
        return [] if value in args else [f"{where}: {value!r} is none of {args}"]
    if hasattr(kind, "__required_keys__"):
        return _members(value, kind, where)
    if origin in (list, Iterable, Sequence) or getattr(origin, "__name__", "") == "SequenceNotStr":
        if not isinstance(value, list):
            return [f"{where}: no list"]
        return [said for index, item in enumerate(value) for said in complaints(item, args[0], f"{where}[{index}]")]
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            return [f"{where}: no object"]
        return [said for name, item in value.items() for said in complaints(item, args[1], f"{where}.{name}")]
    expected = (int, float) if kind is float else (origin or kind,)
    right = value is None if kind in (None, NoneType) else isinstance(value, expected) and (kind is bool or not isinstance(value, bool))
    return [] if right else [f"{where}: {value!r} is no {kind}"]


def _badness(said: list[str]) -> tuple[int, int]:
    """A wrong `type` tells that another member of the union was meant."""
    return sum(".type:" in line for line in said), len(said)


def _members(value: Any, kind: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: no object"]
    hints = get_type_hints(kind, include_extras=True)
    said = [f"{where}.{name}: unknown" for name in value.keys() - hints.keys()]
    said += [f"{where}.{name}: missing" for name, hint in hints.items() if get_origin(hint) is Required and name not in value]
    return said + [line for name, item in value.items() if name in hints for line in complaints(item, hints[name], f"{where}.{name}")]


# The groups of a body on the wire that the SDK sees as one config, and members that it spells there otherwise.
_WIRE = frozenset(("contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "serviceTier"))


def gemini_types(body: dict[str, Any]) -> None:
    """Raises where the types of google-genai, which forbid unknown members, do not take a generateContent body."""
    assert body.keys() <= _WIRE
    for content in [*body["contents"], *([body["systemInstruction"]] if "systemInstruction" in body else [])]:
        types.Content.model_validate(content)
    config = {name: body[name] for name in ("tools", "toolConfig", "safetySettings", "serviceTier") if name in body}
    types.GenerateContentConfig.model_validate({**body.get("generationConfig", {}), **config})
