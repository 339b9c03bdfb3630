from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.telemetry.masking import MAX_DEPTH, TOO_DEEP, cleaned, is_secret_attribute, without_query_secrets
from tests.telemetry.test_vocabularies import of

SECRET = "sk-live-0123456789"


@pytest.mark.parametrize(
    "name",
    [
        "http.request.header.authorization",
        "http.request.header.x-api-key",
        "http.response.header.set-cookie",
        "gen_ai.api_key",
        "openai.apikey",
        "db.password",
        "aws.secret_access_key",
        "respan.metadata.access_token",
    ],
)
def test_an_attribute_that_is_called_like_a_credential_reaches_nothing(name: str) -> None:
    told = of({name: SECRET})
    assert SECRET not in repr(told)
    assert told.raw["attributes"] == {name: "***"}


@pytest.mark.parametrize("name", ["messaging.kafka.message.key", "gen_ai.usage.input_tokens", "cache_key", "code.signature", "user.token"])
def test_attributes_that_are_merely_called_alike_stay(name: str) -> None:
    assert not is_secret_attribute(name)


def test_credentials_inside_objects_and_json_texts_are_masked_and_the_rest_stays() -> None:
    told = of(
        {
            "traceloop.entity.input": orjson.dumps({"args": [1], "kwargs": {"api_key": SECRET, "city": "Paris"}}).decode(),
            "respan.metadata.anthropic.request": orjson.dumps({"extra_headers": {"x-api-key": SECRET}, "max_tokens": 1}).decode(),
            "settings": {"openai": {"api_key": SECRET, "region": "eu"}, "keys": [{"password": SECRET}]},
        }
    )
    assert SECRET not in repr(told)
    assert told.said.input == '{"args":[1],"kwargs":{"api_key":"***","city":"Paris"}}'
    assert told.row.metadata == {
        "anthropic.request": '{"extra_headers":{"x-api-key":"***"},"max_tokens":1}',
        "settings": {"openai": {"api_key": "***", "region": "eu"}, "keys": [{"password": "***"}]},
    }


def test_a_key_in_an_address_is_masked() -> None:
    told = of({"url.full": f"https://host/v1/models?key={SECRET}&alt=sse"})
    assert told.raw["attributes"] == {"url.full": "https://host/v1/models?key=***&alt=sse"}
    assert without_query_secrets("key=1") == "key=***"


def test_credentials_of_resources_events_and_links_are_masked() -> None:
    from respan_proxy.telemetry.spans import Event, Link, Source

    told = of(
        {},
        source=Source({"vendor.api_key": SECRET, "service.name": "app"}, scope_attributes={"auth.password": SECRET}),
        events=[Event("e", 1, {"http.request.header.authorization": SECRET})],
        links=[Link("a" * 32, "b" * 16, {"api_key": SECRET})],
    )
    assert SECRET not in repr(told)
    assert told.raw["resource"] == {"vendor.api_key": "***", "service.name": "app"}


@given(st.text(), st.integers(0, 3))
def test_a_secret_in_json_is_masked_however_often_it_was_escaped(secret: str, times: int) -> None:
    marked = f"<{secret.replace(chr(92), '')}>"
    text = orjson.dumps({"before": "a", "api_key": marked, "after": [1]}).decode()
    for _ in range(times):
        text = orjson.dumps({"inner": text, "more": True}).decode()
    masked = cleaned(text)
    read: Any = orjson.loads(masked)
    for _ in range(times):
        read = orjson.loads(read["inner"])
    assert read == {"before": "a", "api_key": "***", "after": [1]}


@given(st.text(alphabet='":\\ke{y} a'))
def test_text_that_is_no_json_raises_nothing(text: str) -> None:
    assert isinstance(cleaned(text), str)


def test_what_is_cut_in_the_middle_of_a_secret_is_masked_to_its_end() -> None:
    assert cleaned('{"a": 1, "api_key": "sk-live-01') == '{"a": 1, "api_key": "***"'


def test_what_is_nested_too_deeply_to_be_stored_is_left_out_there() -> None:
    value: Any = "bottom"
    for _ in range(3000):
        value = {"a": [value]}
    found = cleaned(value)
    depth = 0
    while not isinstance(found, str):
        found = found["a"] if isinstance(found, dict) else found[0]
        depth += 1
    assert (found, depth) == (TOO_DEEP, MAX_DEPTH)
    orjson.dumps(of({"deep": value}).raw)


def test_an_untouched_value_is_the_same_object() -> None:
    value = {"a": [1, {"b": "text"}]}
    assert cleaned(value) is value
