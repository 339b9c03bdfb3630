"""Google's `Schema` message (an OpenAPI dialect) and JSON Schema: each said in the other's words.

Source: `Schema` of google-genai 3.4. Newer models take JSON Schema as it is (`parametersJsonSchema`, `responseJsonSchema`); the
message is what clients with typed schemas send, and what models that know no other are sent. Only keywords are touched, never the
names of properties; nothing changes its argument, and a schema nested too deeply is `RequestRejected`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from respan_proxy.dialects.schemas import DEEPEST, TOO_DEEP, as_word, children
from respan_proxy.errors import RequestRejected

# Unpacking references may multiply a schema; a body that explains itself fits well into this many schemas.
_LARGEST = 5_000


def for_gemini(schema: object) -> Any:
    """JSON Schema for `parametersJsonSchema` and `responseJsonSchema`, which take all of it but `$schema`."""
    return {keyword: value for keyword, value in schema.items() if keyword != "$schema"} if isinstance(schema, dict) else schema


_COUNTS = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"))  # int64: strings in its JSON
_SPELLED: Mapping[str, str] = {
    "any_of": "anyOf", "min_items": "minItems", "max_items": "maxItems", "min_length": "minLength", "max_length": "maxLength",
    "min_properties": "minProperties", "max_properties": "maxProperties", "additional_properties": "additionalProperties",
    "defs": "$defs", "ref": "$ref",
}  # fmt: skip
_UNSAID = frozenset(("nullable", "propertyOrdering", "property_ordering"))


def from_openapi(schema: object, depth: int = 0) -> Any:
    """The message as JSON Schema: lower-case types, `nullable` in the type, counts as numbers."""
    if not isinstance(schema, dict):
        return schema
    named = {_SPELLED.get(keyword, keyword): value for keyword, value in schema.items() if keyword not in _UNSAID}
    plain = children(named, from_openapi, depth)
    kind = plain.get("type")
    if isinstance(kind, str):
        if kind == "TYPE_UNSPECIFIED":
            del plain["type"]
        else:
            plain["type"] = kind.lower()
    for keyword in _COUNTS & plain.keys():
        if isinstance(plain[keyword], str) and plain[keyword].isdecimal():
            plain[keyword] = int(plain[keyword])
    if "example" in plain:
        plain["examples"] = [plain.pop("example")]
    return _nullable(plain) if schema.get("nullable") is True else plain


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    match schema.get("type"), schema.get("anyOf"):
        case str(kind), _ if kind != "null":
            schema["type"] = [kind, "null"]
        case _, list(variants):
            schema["anyOf"] = [*variants, {"type": "null"}]
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return schema


_KEYWORDS = frozenset(
    ("anyOf", "default", "description", "enum", "example", "format", "items", "maxItems", "maxLength", "maxProperties", "maximum",
     "minItems", "minLength", "minProperties", "minimum", "nullable", "pattern", "properties", "required", "title", "type")
)  # fmt: skip


def to_openapi(schema: object) -> dict[str, Any]:
    """JSON Schema as the message: references unpacked, what it cannot say left out.

    A reference into itself ends as an object of unknown shape: the message has no way to name a schema.
    """
    return _Unpacking(schema if isinstance(schema, dict) else {}).unpack(schema, (), 0)


@dataclass(slots=True)
class _Unpacking:
    root: Mapping[str, Any]
    left: int = field(default=_LARGEST)

    def unpack(self, schema: object, within: tuple[str, ...], depth: int) -> dict[str, Any]:
        """`within`: the references that led here."""
        self.left -= 1
        if depth > DEEPEST:
            raise RequestRejected(TOO_DEEP)
        if self.left < 0:
            raise RequestRejected(f"A JSON schema unpacks into more than {_LARGEST} schemas")
        if not isinstance(schema, dict):
            return {"type": "OBJECT"}
        if isinstance(ref := schema.get("$ref"), str):
            found = None if ref in within else self._resolve(ref)
            beside = {keyword: value for keyword, value in schema.items() if keyword != "$ref"}
            if not isinstance(found, dict):
                return {"type": "OBJECT", **{keyword: beside[keyword] for keyword in ("title", "description") if keyword in beside}}
            return self.unpack({**found, **beside}, (*within, ref), depth + 1)
        made = {keyword: value for keyword, value in self._flat(schema).items() if keyword in _KEYWORDS}
        self._variants(made, within, depth)
        _kinds(made)
        _enum(made)
        self._object(made, within, depth)
        if "items" in made:
            made["items"] = self.unpack(made["items"], within, depth + 1)
        return made

    def _flat(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Without `allOf`, `oneOf` and `const`, which the message lacks."""
        flat = dict(schema)
        for part in _listed(flat.pop("allOf", None)):
            if isinstance(part, dict):
                found = self._resolve(part["$ref"]) if isinstance(part.get("$ref"), str) else part
                flat = _merged(flat, found if isinstance(found, dict) else {})
        if "const" in flat:
            flat["enum"] = [flat.pop("const")]
        if isinstance(flat.get("oneOf"), list):
            flat.setdefault("anyOf", flat.pop("oneOf"))
        return flat

    def _variants(self, made: dict[str, Any], within: tuple[str, ...], depth: int) -> None:
        variants = _listed(made.pop("anyOf", None))
        some = [variant for variant in variants if not (isinstance(variant, dict) and variant.get("type") == "null")]
        if len(some) < len(variants):
            made["nullable"] = True
        unpacked = [self.unpack(variant, within, depth + 1) for variant in some]
        if len(unpacked) == 1:
            for keyword, value in unpacked[0].items():
                made.setdefault(keyword, value)
        elif unpacked:
            made["anyOf"] = unpacked

    def _object(self, made: dict[str, Any], within: tuple[str, ...], depth: int) -> None:
        properties = made.get("properties")
        if isinstance(properties, dict):
            made["properties"] = {name: self.unpack(inner, within, depth + 1) for name, inner in properties.items()}
            made.setdefault("type", "OBJECT")
        if "required" in made:
            required = [
                name
                for name in _listed(made.pop("required"))
                if isinstance(properties, dict) and isinstance(name, str) and name in properties
            ]
            if required:
                made["required"] = required

    def _resolve(self, ref: str) -> object:
        """What a reference inside the same document (`#/$defs/Person`) points at; None for any other."""
        if not ref.startswith("#/"):
            return None
        found: object = self.root
        for name in ref[2:].split("/"):
            found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        return found


def _kinds(made: dict[str, Any]) -> None:
    """`type`, upper case and one; null among several is `nullable`, others are alternatives."""
    kind = made.pop("type", None)
    kinds = [name.upper() for name in (kind if isinstance(kind, list) else [kind]) if isinstance(name, str)]
    if "NULL" in kinds and len(kinds) > 1:
        made["nullable"] = True
        kinds.remove("NULL")
    if len(kinds) == 1:
        made["type"] = kinds[0]
    elif kinds and "anyOf" not in made:
        made["anyOf"] = [{"type": name} for name in kinds]


def _enum(made: dict[str, Any]) -> None:
    """Literals are strings here; others are told in the description."""
    literals = _listed(made.pop("enum", None))
    if None in literals:
        made["nullable"] = True
    some = [literal for literal in literals if literal is not None]
    if some and all(isinstance(literal, str) for literal in some):
        made["enum"] = some
        made["type"] = "STRING"
    elif some:
        made["description"] = "\n\n".join(filter(None, (made.get("description"), f"{{enum: {as_word(some)}}}")))


def _merged(schema: dict[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """Both halves of an `allOf`: properties and requirements add up, of anything else the outer word stands."""
    merged = {**part, **schema}
    if isinstance(part.get("properties"), dict) and isinstance(schema.get("properties"), dict):
        merged["properties"] = {**part["properties"], **schema["properties"]}
    if "required" in part and "required" in schema:
        both = [*_listed(part["required"]), *_listed(schema["required"])]
        merged["required"] = [name for at, name in enumerate(both) if name not in both[:at]]
    return merged


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
