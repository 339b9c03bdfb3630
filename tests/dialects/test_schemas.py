"""JSON Schemas in the words of each provider, held against the providers' own SDKs where these transform schemas themselves."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from anthropic import transform_schema
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.dialects.gemini_schemas import for_gemini, from_openapi, to_openapi
from respan_proxy.dialects.schemas import for_anthropic, is_strict, object_schema, takes_nothing
from respan_proxy.errors import RequestRejected

PERSON: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {"City": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 9}}, "required": ["name"]}},
    "type": "object",
    "properties": {
        "default": {"type": "string", "default": "x"},
        "$schema": {"type": ["string", "null"], "description": "not a keyword"},
        "format": {"const": "json"},
        "when": {"type": "string", "format": "date-time"},
        "code": {"type": "string", "format": "zip"},
        "ages": {"type": "array", "items": {"type": "integer", "exclusiveMinimum": 0, "multipleOf": 2}, "minItems": 1, "uniqueItems": True},
        "city": {"$ref": "#/$defs/City"},
        "kind": {"enum": ["a", "b", None]},
        "size": {"oneOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["default", "gone"],
    "additionalProperties": False,
}

leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4)
words = st.sampled_from(
    ("type", "properties", "items", "anyOf", "oneOf", "allOf", "$ref", "$defs", "enum", "const", "required", "nullable", "format",
     "minItems", "additionalProperties", "description", "title", "not", "example", "string", "#/$defs/a", "null", "object", "ref", "any_of")
)  # fmt: skip
garbage = st.recursive(
    leaves | words, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.just("a"), inner, max_size=6), max_leaves=25
)


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@given(garbage)
def test_no_schema_crashes_and_none_is_changed(schema: Any) -> None:
    before = deepcopy(schema)
    for turn in (for_anthropic, from_openapi, to_openapi, for_gemini, is_strict, object_schema, takes_nothing):
        turn(schema)  # type: ignore[operator]
    assert schema == before


@pytest.mark.parametrize("turn", [for_anthropic, from_openapi, to_openapi])
def test_a_schema_nested_absurdly_is_rejected(turn: Any) -> None:
    with pytest.raises(RequestRejected, match="nested deeper than 100"):
        turn(nested(300))
    assert not is_strict(nested(300))


def test_references_that_multiply_are_rejected() -> None:
    bomb = {f"d{n}": {"type": "object", "properties": {key: {"$ref": f"#/$defs/d{n + 1}"} for key in "abcd"}} for n in range(20)}
    with pytest.raises(RequestRejected, match="unpacks into more than"):
        to_openapi({"$ref": "#/$defs/d0", "$defs": bomb})


class TestOpenAI:
    @pytest.mark.parametrize(
        ("schema", "strict"),
        [
            ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}, True),
            ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, False),
            ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}, False),
            ({"type": "object", "properties": {}, "additionalProperties": False}, True),
            ({"oneOf": [{"type": "string"}]}, False),
            ({"anyOf": [{"type": "object"}, {"type": "null"}]}, False),
            ({"type": "array", "items": {"type": "object"}}, False),
            ({"$ref": "#/$defs/P", "$defs": {"P": {"type": "string"}}}, True),
            ({}, True),
        ],
    )
    def test_strict_means_closed_and_required_all_the_way_down(self, schema: Any, strict: bool) -> None:
        assert is_strict(schema) is strict


class TestAnthropic:
    def test_it_is_what_the_sdk_makes_of_it(self) -> None:
        schema = deepcopy(PERSON)
        del schema["$schema"], schema["properties"]["$schema"]  # the SDK takes no list of types
        del schema["properties"]["ages"]["uniqueItems"]  # and writes Python's True
        assert for_anthropic(schema) == transform_schema(schema)

    def test_types_in_a_list_are_split_and_the_description_stays_outside(self) -> None:
        assert for_anthropic({"type": ["string", "null"], "description": "d", "maxLength": 2}) == {
            "anyOf": [{"type": "string", "description": "{maxLength: 2}"}, {"type": "null"}],
            "description": "d",
        }

    def test_a_schema_without_a_type_gets_one(self) -> None:
        assert for_anthropic({"properties": {"a": {}}})["properties"]["a"]["type"] == "object"
        assert for_anthropic({"items": {"type": "string"}})["type"] == "array"


class TestGoogle:
    def test_everything_the_message_knows_is_read_as_json_schema(self) -> None:
        assert from_openapi(
            {
                "type": "OBJECT",
                "nullable": True,
                "property_ordering": ["nullable"],
                "properties": {
                    "nullable": {"type": "STRING", "nullable": False, "enum": ["A"], "example": "A"},
                    "n": {"any_of": [{"type": "INTEGER", "format": "int64"}, {"type": "NUMBER"}], "nullable": True},
                    "l": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "1", "max_items": 3},
                },
            }
        ) == {
            "type": ["object", "null"],
            "properties": {
                "nullable": {"type": "string", "enum": ["A"], "examples": ["A"]},
                "n": {"anyOf": [{"type": "integer", "format": "int64"}, {"type": "number"}, {"type": "null"}]},
                "l": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
            },
        }

    def test_an_enum_that_may_be_null_lists_null(self) -> None:
        assert from_openapi({"type": "STRING", "enum": ["a"], "nullable": True}) == {"type": ["string", "null"], "enum": ["a", None]}

    def test_the_written_message_is_one_the_sdk_takes_and_keeps_properties_named_like_keywords(self) -> None:
        message = to_openapi(PERSON)
        types.Schema.model_validate(message)
        assert message["properties"].keys() == PERSON["properties"].keys()
        assert message["required"] == ["default"]
        assert message["properties"]["$schema"] == {"description": "not a keyword", "nullable": True, "type": "STRING"}
        assert message["properties"]["format"] == {"enum": ["json"], "type": "STRING"}
        assert message["properties"]["city"] == {
            "type": "OBJECT",
            "properties": {"name": {"type": "STRING", "maxLength": 9}},
            "required": ["name"],
        }
        assert message["properties"]["kind"] == {"nullable": True, "enum": ["a", "b"], "type": "STRING"}
        assert message["properties"]["size"] == {"nullable": True, "type": "INTEGER"}

    def test_a_reference_into_itself_ends(self) -> None:
        tree = {"$ref": "#/$defs/T", "$defs": {"T": {"type": "object", "properties": {"next": {"$ref": "#/$defs/T", "description": "d"}}}}}
        assert to_openapi(tree) == {"type": "OBJECT", "properties": {"next": {"type": "OBJECT", "description": "d"}}}

    def test_both_halves_of_all_of_count(self) -> None:
        half = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
        whole = {"$defs": {"H": half}, "allOf": [{"$ref": "#/$defs/H"}], "properties": {"b": {"type": "integer"}}, "required": ["b", "a"]}
        assert to_openapi(whole) == {
            "type": "OBJECT",
            "properties": {"a": {"type": "STRING"}, "b": {"type": "INTEGER"}},
            "required": ["a", "b"],
        }

    def test_only_the_keyword_that_names_the_draft_is_left_out_of_json_schema(self) -> None:
        assert for_gemini(PERSON) == {keyword: value for keyword, value in PERSON.items() if keyword != "$schema"}

    @pytest.mark.parametrize("schema", [None, {}, {"type": "object", "properties": {}}, {"type": "object", "additionalProperties": False}])
    def test_parameters_that_say_nothing_are_none(self, schema: Any) -> None:
        assert takes_nothing(schema)
        assert not takes_nothing({"type": "object", "properties": {"a": {}}})


def test_parameters_become_an_object() -> None:
    assert object_schema(None) == object_schema({}) == {"type": "object", "properties": {}}
    assert object_schema({"properties": {}}) == {"type": "object", "properties": {}}
    assert object_schema({"type": "object", "title": "x"}) == {"type": "object", "title": "x"}
