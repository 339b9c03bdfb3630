"""JSON Schemas as each provider takes them: what is said otherwise, what moves into the description, what is left out.

Sources: OpenAI's strict rules as its SDK enforces them (openai 3.54 `lib/_pydantic.py`), Anthropic's subset as its SDK makes it
(anthropic 2.12 `lib/_parse/_transform.py`). Only keywords are touched: a property that is named like one (`default`, `$schema`)
stays. Every function leaves its argument as it was and raises `RequestRejected` on a schema nested deeper than `DEEPEST`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from respan_proxy.errors import RequestRejected

# OpenAI takes 10 levels, Google 32; orjson writes 254.
DEEPEST = 100
TOO_DEEP = f"A JSON schema is nested deeper than {DEEPEST} levels"

_NAMED = frozenset(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"))
_LISTED = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_SINGLE = frozenset(("items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else", "unevaluatedProperties"))


def children(schema: dict[str, Any], turn: Callable[[Any, int], Any], depth: int) -> dict[str, Any]:
    """The same schema with `turn` applied to every schema directly inside it."""
    if depth > DEEPEST:
        raise RequestRejected(TOO_DEEP)
    turned: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in _NAMED and isinstance(value, dict):
            value = {name: turn(inner, depth + 1) for name, inner in value.items()}
        elif (keyword in _LISTED or keyword == "items") and isinstance(value, list):
            value = [turn(inner, depth + 1) for inner in value]
        elif keyword in _SINGLE and isinstance(value, dict):
            value = turn(value, depth + 1)
        turned[keyword] = value
    return turned


def object_schema(schema: object) -> dict[str, Any]:
    """A function's parameters where an object schema is required: nothing means no parameters."""
    if not isinstance(schema, dict) or not schema:
        return {"type": "object", "properties": {}}
    return schema if "type" in schema else {"type": "object", **schema}


def takes_nothing(schema: object) -> bool:
    """Whether these parameters are none: Google wants them left out."""
    if not isinstance(schema, dict):
        return True
    known = schema.keys() <= {"$schema", "type", "properties", "additionalProperties", "required"}
    return known and not schema.get("properties") and not schema.get("required")


# ------------------------------------------------------------------------------------------------ OpenAI


def is_strict(schema: object, depth: int = 0) -> bool:
    """Whether OpenAI would take the schema with `strict: true`: every object closed, every property required, no `oneOf`."""
    if depth > DEEPEST:
        return False
    if not isinstance(schema, dict):
        return True
    if "oneOf" in schema or "patternProperties" in schema:
        return False
    if schema.get("type") == "object" or "properties" in schema:
        properties, required = schema.get("properties"), schema.get("required")
        named = properties.keys() if isinstance(properties, dict) else set()
        if schema.get("additionalProperties") is not False or not named <= _names(required):
            return False
    inner = [value for keyword in _NAMED if isinstance(schema.get(keyword), dict) for value in schema[keyword].values()]
    inner += [value for keyword in (*_LISTED, "items") if isinstance(schema.get(keyword), list) for value in schema[keyword]]
    inner += [schema[keyword] for keyword in _SINGLE if isinstance(schema.get(keyword), dict)]
    return all(is_strict(value, depth + 1) for value in inner)


def _names(value: object) -> set[str]:
    return {name for name in value if isinstance(name, str)} if isinstance(value, list) else set()


# ------------------------------------------------------------------------------------------------ Anthropic

_FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"))
_KEPT = ("description", "title")


def for_anthropic(schema: object, depth: int = 0) -> dict[str, Any]:
    """The subset that `output_config.format` and strict tools take; constraints outside it are told to the model in the description."""
    if depth > DEEPEST:
        raise RequestRejected(TOO_DEEP)
    if not isinstance(schema, dict):  # `true` allows anything: there is no way to say so
        return {"type": "object", "additionalProperties": False}
    rest = {keyword: value for keyword, value in schema.items() if keyword != "$schema"}
    made: dict[str, Any] = {}
    for keyword in ("$defs", "definitions"):
        if isinstance(defined := rest.pop(keyword, None), dict):
            made[keyword] = {name: for_anthropic(inner, depth + 1) for name, inner in defined.items()}
    if isinstance(ref := rest.pop("$ref", None), str):
        return {**made, "$ref": ref}
    kind = rest.pop("type", None)
    if isinstance(kind, list):
        return {**made, **_split(kind, rest, depth)}
    unions = {keyword: rest.pop(keyword, None) for keyword in ("anyOf", "oneOf", "allOf")}
    literals = _literals(rest)
    made |= literals
    for keyword, variants in unions.items():
        if isinstance(variants, list):
            made["allOf" if keyword == "allOf" else "anyOf"] = [for_anthropic(variant, depth + 1) for variant in variants]
            break
    else:
        if not literals:
            kind = kind if isinstance(kind, str) else "array" if "items" in rest else "object"
            made["type"] = kind
    made |= {keyword: rest.pop(keyword) for keyword in _KEPT if isinstance(rest.get(keyword), str)}
    match made.get("type"):
        case "object":
            properties = rest.pop("properties", None)
            properties = properties if isinstance(properties, dict) else {}
            made["properties"] = {name: for_anthropic(inner, depth + 1) for name, inner in properties.items()}
            rest.pop("additionalProperties", None)
            made["additionalProperties"] = False
            if isinstance(required := rest.pop("required", None), list):
                made["required"] = required
        case "string" if isinstance(rest.get("format"), str) and rest["format"] in _FORMATS:
            made["format"] = rest.pop("format")
        case "array":
            if isinstance(items := rest.pop("items", None), dict):
                made["items"] = for_anthropic(items, depth + 1)
            if rest.get("minItems") in (0, 1):
                made["minItems"] = rest.pop("minItems")
    return _told(made, rest)


def _split(kinds: list[Any], rest: dict[str, Any], depth: int) -> dict[str, Any]:
    """`type: [a, null]` as `anyOf`; what describes the value stays outside, what constrains it goes with the kinds that are not null."""
    outer = {keyword: rest.pop(keyword) for keyword in _KEPT if isinstance(rest.get(keyword), str)}
    variants = [{"type": "null"} if kind == "null" else {"type": kind, **rest} for kind in kinds]
    if "enum" in rest or "const" in rest or not variants:  # the literals say it all, null included
        return for_anthropic({**outer, **rest}, depth + 1)
    if len(variants) == 1:
        return for_anthropic({**outer, **variants[0]}, depth + 1)
    return {"anyOf": [for_anthropic(variant, depth + 1) for variant in variants], **outer}


def _literals(rest: dict[str, Any]) -> dict[str, Any]:
    """`enum` and `const`, taken out of `rest` when they list plain values."""
    literals: dict[str, Any] = {}
    enum = rest.get("enum")
    if isinstance(enum, list) and enum and all(value is None or isinstance(value, (str, int, float)) for value in enum):
        literals["enum"] = rest.pop("enum")
    if "const" in rest and (rest["const"] is None or isinstance(rest["const"], (str, int, float))):
        literals["const"] = rest.pop("const")
    return literals


def _told(made: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    """Append to the description what no keyword can say, as the SDK words it."""
    if rest:
        said = ", ".join(f"{keyword}: {as_word(value)}" for keyword, value in rest.items())
        made["description"] = "\n\n".join(filter(None, (made.get("description"), f"{{{said}}}")))
    return made


def as_word(value: object) -> str:
    """A value as a description tells it: text as it is, all else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise RequestRejected(TOO_DEEP) from None
