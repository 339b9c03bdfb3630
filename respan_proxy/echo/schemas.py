"""Owns values made to fit a JSON schema: what echo calls a tool with, and answers a requested format with.

A recursive definition is never entered inside itself: whatever fits it at all, fits it without (the shortest derivation of a grammar
repeats no symbol on a path), so every search ends.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import chain, count, islice
from typing import Any

from respan_proxy.echo.fits import Schema, Unfit, fits, resolve, same
from respan_proxy.echo.patterns import matching

# A schema of 300 tools' size takes a few hundred steps; one that asks for more than this is hostile or unsatisfiable.
_STEPS = 20_000
_TRIES = 200  # candidates looked at for one place, before it counts as unsatisfiable
_LONGEST = 10_000  # characters of one string; nothing a model answers is meant to be longer

# RFC 3339, 5321, 4122 ...: the formats OpenAI, Anthropic and Gemini list for structured output. `n` makes neighbours differ.
_FORMATS: Mapping[str, str] = {
    "date-time": "2026-01-{n:02d}T12:00:00Z",
    "date": "2026-01-{n:02d}",
    "time": "12:00:{n:02d}Z",
    "duration": "PT{n}H",
    "email": "echo{n}@example.com",
    "idn-email": "echo{n}@example.com",
    "hostname": "host{n}.example.com",
    "idn-hostname": "host{n}.example.com",
    "ipv4": "192.0.2.{n}",
    "ipv6": "2001:db8::{n}",
    "uri": "https://example.com/{n}",
    "uri-reference": "/{n}",
    "iri": "https://example.com/{n}",
    "iri-reference": "/{n}",
    "uuid": "00000000-0000-4000-8000-{n:012d}",
    "json-pointer": "/{n}",
    "regex": "echo{n}",
    "byte": "ZWNob{n:02d}g",
}
_IMPLIED: tuple[tuple[str, frozenset[str]], ...] = (
    ("object", frozenset({"properties", "required", "additionalProperties", "minProperties", "patternProperties"})),
    ("array", frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"})),
    ("number", frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})),
)
_Open = frozenset[str]


def fitting(schema: Any, name: str = "value") -> Any:
    """A JSON value that fits `schema`, the same one every time; `name` is what an unconstrained string says. `Unfit` when none is found."""
    if not isinstance(schema, Mapping | bool):
        raise Unfit("a schema is an object or a boolean")
    try:
        return _Search(schema).first(schema, name, frozenset())
    except (TypeError, ValueError, AttributeError, LookupError, RecursionError, ArithmeticError, re.error) as error:
        raise Unfit(f"no value fits the schema: {error}") from error


class _Search:
    """One search through one schema: candidates in order of plainness, each checked against the schema it was made for."""

    __slots__ = ("root", "steps")

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.steps = 0

    def first(self, schema: Schema, name: str, open_refs: _Open) -> Any:
        for value in self.candidates(schema, name, open_refs):
            return value
        raise Unfit(f"nothing fits {name!r}")

    def candidates(self, schema: Schema, name: str, open_refs: _Open) -> Iterator[Any]:
        """Values that fit, best first."""
        self.steps += 1
        if self.steps > _STEPS:
            raise Unfit("the schema asks for too much")
        plain = {} if isinstance(schema, bool) else schema
        given = chain(
            [plain["default"]] if "default" in plain else [], plain.get("examples") or [], [plain["example"]] if "example" in plain else []
        )
        made = (value for flat, opened in self.flat(plain, open_refs) for value in self.made(flat, name, opened))
        return (value for value in islice(chain(given, made), _TRIES) if fits(value, schema, self.root))

    def flat(self, schema: Schema, open_refs: _Open) -> Iterator[tuple[dict[str, Any], _Open]]:
        """The schema without references and combinations, once for every way to choose among its alternatives."""
        if isinstance(schema, bool):
            if schema:
                yield {}, open_refs
            return
        rest = {
            keyword: value for keyword, value in schema.items() if keyword not in ("$ref", "allOf", "anyOf", "oneOf", "if", "then", "else")
        }
        demands: list[list[tuple[Schema, _Open]]] = [[(each, open_refs)] for each in schema.get("allOf", ())]
        demands += [[(each, open_refs) for each in schema[keyword]] for keyword in ("anyOf", "oneOf") if keyword in schema]
        if "if" in schema:
            demands.append([({"allOf": [schema["if"], schema.get("then", True)]}, open_refs), (schema.get("else", True), open_refs)])
        if reference := schema.get("$ref"):
            if reference in open_refs:
                return
            demands.append([(resolve(self.root, reference), open_refs | {reference})])
        yield from self._chosen(rest, demands, open_refs)

    def _chosen(
        self, flat: dict[str, Any], demands: list[list[tuple[Schema, _Open]]], open_refs: _Open
    ) -> Iterator[tuple[dict[str, Any], _Open]]:
        if not demands:
            yield flat, open_refs
            return
        for schema, refs in demands[0]:
            for chosen, opened in self.flat(schema, refs | open_refs):
                yield from self._chosen(_merged(flat, chosen), demands[1:], opened)

    def made(self, flat: dict[str, Any], name: str, open_refs: _Open) -> Iterator[Any]:
        """Candidates for a flat schema; they may still break a rule, which `candidates` finds out."""
        if "const" in flat:
            yield flat["const"]
            return
        if "enum" in flat:
            yield from flat["enum"]
            return
        for kind in _types(flat):
            try:
                match kind:
                    case "object":
                        yield self.object(flat, name, open_refs)
                    case "array":
                        yield from self.arrays(flat, name, open_refs)
                    case "string":
                        yield from _strings(flat, name)
                    case "integer" | "number":
                        yield from _numbers(flat, whole=kind == "integer")
                    case "boolean":
                        yield from (True, False)
                    case "null":
                        yield None
            except Unfit:
                continue
        if flat.get("nullable") is True:
            yield None

    def object(self, flat: Mapping[str, Any], name: str, open_refs: _Open) -> dict[str, Any]:
        """What is required and no more: an optional argument left out is one a tool need not act on."""
        named = flat.get("properties", {})
        wanted = dict.fromkeys(name for name in named if name in flat.get("required", ())) | dict.fromkeys(flat.get("required", ()))
        for given, needs in flat.get("dependentRequired", {}).items():
            wanted |= dict.fromkeys(needs if given in wanted else ())
        spare = chain(named, (f"{name}_{n}" for n in count(1)))
        while len(wanted) < min(flat.get("minProperties", 0), _TRIES):
            wanted[next(spare)] = None
        other = flat.get("additionalProperties", True)
        return {each: self.first(named.get(each, other), each, open_refs) for each in wanted}

    def arrays(self, flat: Mapping[str, Any], name: str, open_refs: _Open) -> Iterator[list[Any]]:
        """One item more often than none, as many as are asked for, then the empty list."""
        first: list[Any] = flat.get("prefixItems", [])
        items: Schema = flat.get("items", True)
        if "contains" in flat:
            items = {"allOf": [flat["contains"], items]}
        least, most = flat.get("minItems", 0), flat.get("maxItems", math.inf)
        wanted = int(min(max(least, len(first), flat.get("minContains", 0), 1), most))
        if wanted > _LONGEST:
            raise Unfit("the array is too long")
        try:
            yield self._items(first[:wanted], items, wanted, name, open_refs, unique=bool(flat.get("uniqueItems")))
        except Unfit:
            pass
        yield []

    def _items(self, first: list[Any], rest: Schema, wanted: int, name: str, open_refs: _Open, *, unique: bool) -> list[Any]:
        found: list[Any] = []
        for place in range(wanted):
            schema = first[place] if place < len(first) else rest
            fresh = (
                value for value in self.candidates(schema, name, open_refs) if not (unique and any(same(value, each) for each in found))
            )
            try:
                found.append(next(fresh))
            except StopIteration:
                raise Unfit(f"nothing fits item {place} of {name!r}") from None
        return found


def _types(flat: Mapping[str, Any]) -> list[str]:
    stated = flat.get("type")
    if stated is not None:
        return [stated] if isinstance(stated, str) else list(stated)
    return [next((kind for kind, keywords in _IMPLIED if keywords & flat.keys()), "string"), "object", "null"]


def _strings(flat: Mapping[str, Any], name: str) -> Iterator[str]:
    least, most = flat.get("minLength", 0), flat.get("maxLength", _LONGEST)
    if least > _LONGEST:
        raise Unfit("the string is too long")
    if "pattern" in flat and (text := matching(flat["pattern"])) is not None:
        yield text.ljust(least, text[-1:] or "a")
        yield text
    if form := _FORMATS.get(str(flat.get("format"))):
        yield from (form.format(n=n) for n in range(1, 29))
        return
    for n in count(1):
        text = name if n == 1 else f"{n} {name}"
        yield text.ljust(least, ".")[:most]


def _numbers(flat: Mapping[str, Any], *, whole: bool) -> Iterator[float]:
    low, high = _bound(flat, "minimum", "exclusiveMinimum", max), _bound(flat, "maximum", "exclusiveMaximum", min)
    step = flat.get("multipleOf", 1)
    start = low if low is not None else high - step * 2 if high is not None and high < step else step
    nearest = math.ceil(start / step)
    yield from (
        (int(value) if whole and float(value).is_integer() else value) for n in range(_TRIES // 4) for value in [(nearest + n) * step]
    )
    if "multipleOf" not in flat and low is not None and high is not None:
        yield from (low + (high - low) * part for part in (0.5, 0, 1, 0.25, 0.75))


def _bound(flat: Mapping[str, Any], inclusive: str, exclusive: str, tightest: Any) -> float | None:
    """The limit on one side, whether it is itself allowed or not (`fits` knows); draft 4 states exclusiveness as a boolean."""
    stated = [flat[keyword] for keyword in (inclusive, exclusive) if flat.get(keyword) is not None and not isinstance(flat[keyword], bool)]
    return tightest(stated) if stated else None


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What fits both, as one schema; a rule that cannot be joined is taken from one of them, and `fits` has the last word."""
    both = dict(one)
    for keyword, theirs in other.items():
        ours = both.get(keyword)
        both[keyword] = theirs if ours is None else _JOINED[keyword](ours, theirs) if keyword in _JOINED else ours
    return both


def _both(one: Any, other: Any) -> Any:
    return {"allOf": [one, other]}


def _members(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {**one, **{name: _both(one[name], sub) if name in one else sub for name, sub in other.items()}}


def _common_types(one: Any, other: Any) -> list[str]:
    ours, theirs = ([names] if isinstance(names, str) else list(names) for names in (one, other))
    narrow = ["integer"] if {"integer", "number"} <= {*ours, *theirs} and not {"integer", "number"} <= {*ours} & {*theirs} else []
    return [kind for kind in ours if kind in theirs] + [kind for kind in narrow if not (kind in ours and kind in theirs)]


_JOINED: Mapping[str, Any] = {
    "type": _common_types,
    "enum": lambda one, other: [each for each in one if any(same(each, its) for its in other)],
    "required": lambda one, other: list(dict.fromkeys([*one, *other])),
    "properties": _members,
    "patternProperties": _members,
    "dependentRequired": lambda one, other: {**one, **other},
    "items": _both,
    "additionalProperties": _both,
    "contains": lambda one, other: one,
    "not": lambda one, other: {"anyOf": [one, other]},
    "uniqueItems": lambda one, other: one or other,
    "multipleOf": lambda one, other: math.lcm(one, other) if isinstance(one, int) and isinstance(other, int) else max(one, other),
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"), min),
}


def from_openapi(schema: Any) -> Any:
    """Gemini's `responseSchema` and `parameters` as JSON Schema: lower-case types, camelCase keywords, int64 strings as numbers.

    Source: the dialect of Google's `Schema` message, whose SDK writes either naming style.
    """
    if not isinstance(schema, Mapping):
        return schema
    plain: dict[str, Any] = {}
    for key, value in schema.items():
        keyword: str = _CAMEL.get(str(key), str(key))
        match keyword, value:
            case "type", str():
                plain[keyword] = value.lower()
            case "type", list():
                plain[keyword] = [str(each).lower() for each in value]
            case "properties" | "$defs" | "defs", Mapping():
                plain[keyword] = {name: from_openapi(sub) for name, sub in value.items()}
            case "items" | "additionalProperties", _:
                plain[keyword] = from_openapi(value)
            case "anyOf" | "oneOf" | "allOf" | "prefixItems", list():
                plain[keyword] = [from_openapi(sub) for sub in value]
            case (("minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties"), str()) if value.isdigit():
                plain[keyword] = int(value)
            case (("example" | "default"), None):
                continue
            case _:
                plain[keyword] = value
    return plain


_CAMEL = {
    "any_of": "anyOf",
    "min_items": "minItems",
    "max_items": "maxItems",
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
}
