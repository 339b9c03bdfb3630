from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from respan_proxy.echo.fits import Unfit, fits
from respan_proxy.echo.patterns import matching
from respan_proxy.echo.schemas import fitting, from_openapi


def valid(value: Any, schema: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).is_valid(value))


def bounds(low: str, high: str, most: int) -> st.SearchStrategy[dict[str, Any]]:
    pairs = st.tuples(st.integers(0, most), st.integers(0, most)).map(sorted)
    return pairs.flatmap(lambda pair: st.sampled_from([{}, {low: pair[0]}, {high: pair[1]}, {low: pair[0], high: pair[1]}]))


names = st.sampled_from(["city", "id", "n", "größe", "a b"])
scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5)
strings = bounds("minLength", "maxLength", 30).map(lambda rules: {"type": "string", **rules})
formats = st.sampled_from(["date-time", "date", "email", "uri", "uuid", "ipv4", "ipv6", "hostname", "duration"]).map(
    lambda form: {"type": "string", "format": form}
)
patterns = st.sampled_from([r"^[a-z]+$", r"^\d{3}-\d{4}$", "a|b", "^(x+)-\\1$", "[^a-z]{2}", r"\w\s\S", ".", "^$", "^(?=a)a+"]).map(
    lambda pattern: {"type": "string", "pattern": pattern}
)
numbers = st.tuples(
    st.sampled_from(["integer", "number"]),
    bounds("minimum", "maximum", 40)
    | bounds("exclusiveMinimum", "maximum", 40).filter(lambda b: len(b) < 2 or b["exclusiveMinimum"] < b["maximum"]),
).map(lambda pair: {"type": pair[0], **pair[1]})
multiples = st.sampled_from([1, 2, 7, 0.5, 0.25]).map(lambda step: {"type": "number", "multipleOf": step, "minimum": 3})
enums = st.lists(scalars, min_size=1, max_size=3).map(lambda values: {"enum": values}) | scalars.map(lambda value: {"const": value})
leaves = (
    strings
    | formats
    | patterns
    | numbers
    | multiples
    | enums
    | st.sampled_from([True, {}, {"type": "boolean"}, {"type": ["null", "string"]}])
)


def objects(members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(names, members, max_size=4).flatmap(
        lambda properties: st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.just(properties),
                "required": st.lists(st.sampled_from(sorted(properties)), unique=True) if properties else st.just([]),
                "additionalProperties": st.booleans(),
            }
        )
    )


def combined(members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    arrays = st.tuples(members, bounds("minItems", "maxItems", 4)).map(lambda pair: {"type": "array", "items": pair[0], **pair[1]})
    pairs = st.lists(members, min_size=1, max_size=2).map(lambda subs: {"type": "array", "prefixItems": subs, "minItems": len(subs)})
    either = st.lists(members, min_size=1, max_size=3).map(lambda subs: {"anyOf": subs})
    whole = members.map(lambda sub: {"allOf": [sub, {}]})
    tagged = st.lists(members, min_size=1, max_size=3).map(
        lambda subs: {
            "oneOf": [
                {"type": "object", "properties": {"kind": {"const": str(n)}, "of": sub}, "required": ["kind", "of"]}
                for n, sub in enumerate(subs)
            ]
        }
    )
    return arrays | pairs | objects(members) | either | whole | tagged


schemas = st.recursive(leaves, combined, max_leaves=8)


keywords = st.sampled_from(
    [
        "type",
        "enum",
        "items",
        "properties",
        "required",
        "anyOf",
        "allOf",
        "oneOf",
        "minimum",
        "multipleOf",
        "pattern",
        "$ref",
        "not",
        "minItems",
        "default",
    ]
)


@given(schemas)
@settings(max_examples=300, deadline=None)
def test_a_value_made_for_a_schema_is_valid_by_the_reference_validator(schema: Any) -> None:
    assert valid(fitting(schema), schema)


@given(schemas, scalars | st.lists(scalars, max_size=3) | st.dictionaries(names, scalars, max_size=3))
@settings(max_examples=300, deadline=None)
def test_our_validator_agrees_with_the_reference_one(schema: Any, value: Any) -> None:
    assert fits(value, schema, schema) == jsonschema.Draft202012Validator(schema).is_valid(value)


@given(st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keywords, inner, max_size=4), max_leaves=10))
@settings(max_examples=300, deadline=None)
def test_a_nonsensical_schema_is_refused_and_never_crashes(schema: Any) -> None:
    try:
        fitting(schema)
    except Unfit:
        pass


TREE = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "label": {"type": "string"},
                "left": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
            "required": ["label", "left", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/Node",
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}, {"value": {"city": "city"}}),
        ({"type": "object", "properties": {"limit": {"type": "integer"}}}, {"value": {}}),
        (TREE, {"value": {"label": "label", "left": None, "children": []}}),
        ({"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"type": "integer", "minimum": 7}}}, {"value": 7}),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}], "minimum": 1, "maximum": 2}, {"value": 1.5}),
        ({"allOf": [{"type": "number"}, {"type": "integer", "minimum": 3}, {"not": {"const": 3}}]}, {"value": 4}),
        ({"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["a"]}, "type": "object"}, {"value": {"a": 1}}),
        ({"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 2, "uniqueItems": True}, {"value": ["x", "y"]}),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True}, {"value": ["value", "2 value"]}),
        ({"type": "string", "default": "Berlin"}, {"value": "Berlin"}),
        ({"type": "string", "default": 5}, {"value": "value"}),
        ({"type": "string", "examples": ["Paris"]}, {"value": "Paris"}),
        (
            {"type": "object", "minProperties": 2, "additionalProperties": {"type": "boolean"}},
            {"value": {"value_1": True, "value_2": True}},
        ),
    ],
)
def test_the_value_is_the_plainest_that_fits(schema: Any, value: dict[str, Any]) -> None:
    assert fitting(schema) == value["value"]
    assert valid(value["value"], schema)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        "a string",
        {"type": "string", "minLength": 10**9},
        {"type": "array", "minItems": 10**9},
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema.json"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"type": "object", "properties": {"self": {"$ref": "#"}}, "required": ["self"]},
        {"type": "string", "pattern": "("},
    ],
)
def test_a_schema_that_nothing_reasonable_fits_is_said_so(schema: Any) -> None:
    with pytest.raises(Unfit):
        fitting(schema)


def test_definitions_that_refer_to_each_other_in_every_way_end() -> None:
    nodes = {
        f"n{i}": {
            "type": "object",
            "properties": {f"p{j}": {"$ref": f"#/$defs/n{j}"} for j in range(12)},
            "required": [f"p{j}" for j in range(12)],
        }
        for i in range(12)
    }
    with pytest.raises(Unfit):
        fitting({"$defs": nodes, "$ref": "#/$defs/n0"})


def test_geminis_schema_is_read_in_either_naming_style() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {"type": {"type": "STRING"}, "n": {"type": "ARRAY", "items": {"type": "INTEGER"}, "min_items": "2"}},
    }
    assert from_openapi(schema | {"required": ["type", "n"]}) == {
        "type": "object",
        "properties": {"type": {"type": "string"}, "n": {"type": "array", "items": {"type": "integer"}, "minItems": 2}},
        "required": ["type", "n"],
    }
    assert fitting(from_openapi({"type": "STRING", "nullable": True, "enum": ["A", "B"]})) == "A"


@given(st.sampled_from(["abc", "[0-9a-f]{8}", r"^\+?[1-9]\d{1,14}$", r"(?:a|b)*c", r"[\w.]+@[\w.]+", "^[^/]+$", r"(?i)yes|no", r"^.{3,}$"]))
def test_a_string_made_for_a_pattern_matches_it(pattern: str) -> None:
    assert re.search(pattern, matching(pattern) or "")


def test_a_pattern_too_long_or_too_clever_gives_nothing() -> None:
    assert matching("((a{1000}){1000}){1000}") is None
    assert matching("^a(?!a)a$") is None
