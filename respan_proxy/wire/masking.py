"""What may not be remembered of values as JSON has them: credentials under the names of secrets, and in texts (`secret_texts.py`)."""

from __future__ import annotations

from typing import Any, Final

from respan_proxy.wire.secret_texts import looks_secret, without_options, without_secrets
from respan_proxy.wire.secrets import MASK, is_secret, is_secret_member, redact_query, without_known_forms

# Deeper than people write, and less than orjson writes (254).
MAX_DEPTH: Final = 100
TOO_DEEP: Final = "(nested too deeply)"

# A tool's definition describes an argument called `api_key` by one of these.
_SCHEMA_TYPES: Final = frozenset({"string", "object", "array", "number", "integer", "boolean", "null"})
_SCHEMA_NAMES: Final = frozenset({"description", "title", "anyOf", "oneOf", "allOf", "enum", "$ref"})


def cleaned(value: Any, depth: int = 0) -> Any:
    """The value without secrets; the same object when there are none in it. What is nested deeper than `MAX_DEPTH` is left out."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        if depth >= MAX_DEPTH:
            return TOO_DEEP
        made = {name: _member(name, inner, depth + 1) for name, inner in value.items()}
        if "value" in value and (_is_secret_name(value.get("name")) or _is_secret_name(value.get("key"))):
            made["value"] = masked(value["value"], depth + 1)
        return value if all(made[name] is inner for name, inner in value.items()) else made
    if isinstance(value, list):
        if depth >= MAX_DEPTH:
            return TOO_DEEP
        listed = [cleaned(inner, depth + 1) for inner in value]
        if len(value) > 1 and isinstance(value[0], str):
            _mask_named(value, listed, depth + 1)
        return value if all(new is old for new, old in zip(listed, value, strict=True)) else listed
    return value


def masked(value: Any, depth: int = 0) -> Any:
    """What stands under the name of a secret: `***` for each text in it. Numbers, booleans and the definitions of arguments stay."""
    if isinstance(value, str):
        return MASK if value and value != MASK else value
    if isinstance(value, dict | list) and depth >= MAX_DEPTH:
        return TOO_DEEP
    if isinstance(value, dict):
        if _is_schema(value):
            return cleaned(value, depth)
        return {name: masked(inner, depth + 1) for name, inner in value.items()}
    return [masked(inner, depth + 1) for inner in value] if isinstance(value, list) else value


def cleaned_error(value: Any) -> Any:
    """The text of an error, where no name tells what is secret (`Incorrect API key provided: sk-...`)."""
    value = cleaned(value)
    return without_known_forms(value) if isinstance(value, str) else value


def cleaned_address(value: Any) -> Any:
    """An address, or its query alone, without `key=` and the like."""
    if not isinstance(value, str):
        return cleaned(value)
    before, mark, query = value.partition("?")
    if "=" in value:
        value = f"{before}?{redact_query(query)}" if mark else redact_query(value)
    return without_secrets(value)


def cleaned_command(value: Any) -> Any:
    """The words of a command, without the values of `--api-key` and the like."""
    return without_options(without_secrets(value)) if isinstance(value, str) else cleaned(value)


def cleaned_headers(value: Any, depth: int = 0) -> Any:
    """An object of headers, among which more names are secrets: `token`, `signature`."""
    if isinstance(value, dict):
        value = {name: masked(inner, depth) if is_secret(str(name)) else inner for name, inner in value.items()}
    return cleaned(value, depth)


def _is_secret_name(name: object) -> bool:
    return isinstance(name, str) and is_secret_member(name)


def _member(name: object, value: Any, depth: int) -> Any:
    if not isinstance(name, str) or isinstance(value, int | float):
        return cleaned(value, depth)
    if is_secret_member(name):
        return masked(value, depth)
    return cleaned_headers(value, depth) if name.lower().endswith("headers") else cleaned(value, depth)


def _mask_named(words: list[Any], listed: list[Any], depth: int) -> None:
    """`["authorization", "Bearer ..."]`, and the values of options in the words of a command."""
    name, value = words[0], words[1]
    if len(words) == 2 and is_secret_member(name) and (looks_secret(str(value).rpartition(" ")[2]) or isinstance(value, list)):
        listed[1] = masked(value, depth)
    for place, word in enumerate(words[:-1], 1):
        if isinstance(word, str) and word.startswith("-") and (is_secret(word.lstrip("-")) or is_secret_member(word.lstrip("-"))):
            listed[place] = masked(words[place], depth)


def _is_schema(value: dict[Any, Any]) -> bool:
    told = value.get("type")
    return not _SCHEMA_NAMES.isdisjoint(value) or isinstance(told, list) or (isinstance(told, str) and told in _SCHEMA_TYPES)
