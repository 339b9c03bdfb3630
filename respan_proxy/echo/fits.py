"""Owns the question whether a JSON value fits a JSON schema, for the keywords that tools and structured outputs use."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Schema = Mapping[str, Any] | bool

# JSON Schema 2020-12, 6.1.1: what each type name admits; a number without a fraction is an integer, a boolean is neither.
_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer())),
}


class Unfit(ValueError):
    """No value was found: the schema admits none, or finding one takes more than is reasonable here."""


def resolve(root: Schema, reference: Any) -> Schema:
    """The part of `root` that a local `$ref` (`#`, `#/$defs/Node`, RFC 6901 escapes) points to; `Unfit` when it points nowhere."""
    part: Any = root
    head, *steps = str(reference).split("/")
    if head != "#":
        raise Unfit(f"$ref {reference!r} is not local")
    for step in steps:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(part, Mapping) and name in part:
            part = part[name]
        elif isinstance(part, list) and name.isdigit() and int(name) < len(part):
            part = part[int(name)]
        else:
            raise Unfit(f"$ref {reference!r} points nowhere")
    return part if isinstance(part, Mapping | bool) else {}


def same(one: Any, other: Any) -> bool:
    """Equality as JSON means it: `1` is `1.0`, `True` is not `1`."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def is_type(value: Any, names: Any) -> bool:
    return any(_TYPES[name](value) for name in ([names] if isinstance(names, str) else names) if name in _TYPES)


def fits(value: Any, schema: Schema, root: Schema, depth: int = 0) -> bool:
    """Whether `value` is valid under `schema`; `$ref` is looked up in `root`, unknown keywords admit everything."""
    if isinstance(schema, bool):
        return schema
    if depth > 100:
        raise Unfit("the schema refers to itself without end")

    def below(part: Any, sub: Any) -> bool:
        return fits(part, sub, root, depth + 1)

    for keyword, wanted in schema.items():
        if (rule := _RULES.get(keyword)) and not rule(value, wanted, schema, below):
            return False
        if keyword == "$ref" and not below(value, resolve(root, wanted)):
            return False
    match value:
        case str():
            return _all_hold(_STRING_RULES, schema, value)
        case list():
            return _all_hold(_ARRAY_RULES, schema, value) and _items_fit(value, schema, below)
        case dict():
            return _all_hold(_OBJECT_RULES, schema, value) and _members_fit(value, schema, below)
        case int() | float() if not isinstance(value, bool):
            return _all_hold(_NUMBER_RULES, schema, value)
    return True


_Below = Callable[[Any, Any], bool]
_RULES: Mapping[str, Callable[[Any, Any, Mapping[str, Any], _Below], bool]] = {
    "type": lambda value, wanted, schema, below: is_type(value, wanted) or (value is None and schema.get("nullable") is True),
    "const": lambda value, wanted, schema, below: same(value, wanted),
    "enum": lambda value, wanted, schema, below: any(same(value, each) for each in wanted),
    "allOf": lambda value, wanted, schema, below: all(below(value, each) for each in wanted),
    "anyOf": lambda value, wanted, schema, below: any(below(value, each) for each in wanted),
    "oneOf": lambda value, wanted, schema, below: sum(below(value, each) for each in wanted) == 1,
    "not": lambda value, wanted, schema, below: not below(value, wanted),
    "if": lambda value, wanted, schema, below: below(value, schema.get("then" if below(value, wanted) else "else", True)),
}
_Rules = Mapping[str, Callable[[Any, Any], bool]]
_STRING_RULES: _Rules = {
    "minLength": lambda value, least: len(value) >= least,
    "maxLength": lambda value, most: len(value) <= most,
    "pattern": lambda value, pattern: re.search(pattern, value) is not None,
}
_NUMBER_RULES: _Rules = {
    "minimum": lambda value, least: value >= least,
    "maximum": lambda value, most: value <= most,
    # Draft 4 (and OpenAPI 3.0) has booleans here, which only qualify minimum and maximum.
    "exclusiveMinimum": lambda value, least: isinstance(least, bool) or value > least,
    "exclusiveMaximum": lambda value, most: isinstance(most, bool) or value < most,
    "multipleOf": lambda value, step: (value / step).is_integer() if isinstance(step, float) else value % step == 0,
}
_ARRAY_RULES: _Rules = {
    "minItems": lambda value, least: len(value) >= least,
    "maxItems": lambda value, most: len(value) <= most,
    "uniqueItems": lambda value, unique: not unique or not any(same(a, b) for n, a in enumerate(value) for b in value[:n]),
}
_OBJECT_RULES: _Rules = {
    "required": lambda value, names: all(name in value for name in names),
    "minProperties": lambda value, least: len(value) >= least,
    "maxProperties": lambda value, most: len(value) <= most,
    "dependentRequired": lambda value, table: all(name in value for given, names in table.items() if given in value for name in names),
}


def _all_hold(rules: _Rules, schema: Mapping[str, Any], value: Any) -> bool:
    return all(rule(value, schema[keyword]) for keyword, rule in rules.items() if schema.get(keyword) is not None)


def _items_fit(value: list[Any], schema: Mapping[str, Any], below: _Below) -> bool:
    first = schema.get("prefixItems", [])
    rest = value[len(first) :]
    if not all(map(below, value, first)) or not all(below(each, schema.get("items", True)) for each in rest):
        return False
    if "contains" not in schema:
        return True
    found = sum(below(each, schema["contains"]) for each in value)
    return bool(schema.get("minContains", 1) <= found <= schema.get("maxContains", found))


def _members_fit(value: dict[str, Any], schema: Mapping[str, Any], below: _Below) -> bool:
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, member in value.items():
        subs = [sub for pattern, sub in patterns.items() if re.search(pattern, name)]
        if name in named:
            subs.append(named[name])
        if not all(below(member, sub) for sub in subs or [schema.get("additionalProperties", True)]):
            return False
        if not below(name, schema.get("propertyNames", True)):
            return False
    return True
