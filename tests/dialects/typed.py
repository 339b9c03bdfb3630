"""Values held against the request types of the official SDKs, member by member: unknown, missing and mistyped ones are named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints


def complaints(value: Any, kind: Any, where: str = "") -> list[str]:
    """What is wrong with a value of this type; of a union, what is wrong with the member that comes nearest."""
    if kind is Any or kind is object:
        return []
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Required, NotRequired, Annotated):
        return complaints(value, args[0], where)
    if origin in (Union, UnionType):
        return min((complaints(value, arg, where) for arg in _meant(value, args)), key=lambda said: _badness(said, where))
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


def _meant(value: Any, args: tuple[Any, ...]) -> Sequence[Any]:
    """Those of a union that do not say that they are of another `type` than the value; all of them where none is left."""
    word = value.get("type") if isinstance(value, dict) else None
    return [arg for arg in args if word is None or word in (_types(arg) or (word,))] or args


@cache
def _types(kind: Any) -> tuple[Any, ...]:
    hint = _hints(kind).get("type") if hasattr(kind, "__required_keys__") else None
    while get_origin(hint) in (Required, NotRequired):
        hint = get_args(hint)[0]
    return get_args(hint) if get_origin(hint) is Literal else ()


def _badness(said: list[str], where: str) -> tuple[bool, int, int]:
    """A value of another kind altogether is worst; then a wrong `type`, which tells that another member of the union was meant."""
    return any(line.startswith(f"{where}: ") for line in said), sum(".type:" in line for line in said), len(said)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _members(value: Any, kind: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: no object"]
    hints = _hints(kind)
    said = [f"{where}.{name}: unknown" for name in value.keys() - hints.keys()]
    said += [f"{where}.{name}: missing" for name, hint in hints.items() if get_origin(hint) is Required and name not in value]
    return said + [line for name, item in value.items() if name in hints for line in complaints(item, hints[name], f"{where}.{name}")]


# Each SDK is imported where it is needed: an environment may hold only one, and an older one (tests/company/test_types.py).

_LEGACY = {"temperature", "top_p", "top_k"}  # of Anthropic's version 2023-06-01: gone from the types of anthropic 2.x
_EXTENSIONS = {"top_k", "random_seed"}  # of compatible servers


def outgoing(dialect: str, body: dict[str, Any]) -> list[str]:
    """What the request types of the dialect's official SDK, as it is installed here, have against a body."""
    if dialect == "openai.chat":
        from openai.types.chat.completion_create_params import CompletionCreateParams

        return complaints(_without(body, _EXTENSIONS), CompletionCreateParams)
    if dialect == "openai.responses":
        from openai.types.responses.response_create_params import ResponseCreateParams

        return complaints(body, ResponseCreateParams)
    if dialect == "anthropic.messages":
        from anthropic.types.message_create_params import MessageCreateParams

        return complaints(_without(body, _LEGACY), MessageCreateParams)
    return _gemini(body)


def _without(body: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


# The groups of a body on the wire that the SDK sees as one config, and members that it spells there otherwise.
_CONFIG = ("tools", "toolConfig", "safetySettings", "serviceTier", "labels")
_WIRE = {"contents", "systemInstruction", "generationConfig", *_CONFIG}


def _gemini(body: dict[str, Any]) -> list[str]:
    """The types of google-genai forbid unknown members."""
    from google.genai import types
    from pydantic import ValidationError

    said = [f".{name}: unknown" for name in body.keys() - _WIRE]
    config = {name: body[name] for name in _CONFIG if name in body}
    told: list[tuple[Any, str, Any]] = [(types.Content, ".contents", content) for content in body["contents"]]
    told.append((types.Content, ".systemInstruction", body.get("systemInstruction", {})))
    told.append((types.GenerateContentConfig, "", {**body.get("generationConfig", {}), **config}))
    for kind, where, value in told:
        try:
            kind.model_validate(value)
        except ValidationError as refused:
            said += [f"{where}.{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in refused.errors()]
    return said
