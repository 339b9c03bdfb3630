from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.telemetry.spans import Told
from respan_proxy.wire.masking import MAX_DEPTH, TOO_DEEP, cleaned, cleaned_address
from respan_proxy.wire.secrets import is_secret_member
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
    assert not is_secret_member(name)


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
    assert cleaned_address("key=1") == "key=***"


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


def every_place(secret: str) -> Told:
    """A span that has an address with a secret wherever a span has a text."""
    from respan_proxy.telemetry.spans import Event, Link, Source

    text = f"404 for https://host/v1?key={secret}"
    return of(
        {
            "custom": text,
            "metadata": orjson.dumps({"headers": {"Authorization": [secret]}, "url": text}).decode(),
            "http.request.header.x-api-key": [secret],
            "headers": {"Authorization": [f"Bearer {secret}"], "token": secret, "pairs": [["x-api-key", secret]]},
            "har": [{"name": "cookie", "value": secret}],
            "credentials": [secret, {"deep": [secret]}],
            "gen_ai.prompt.0.role": "user",
            "gen_ai.prompt.0.content": f"Read {text}",
            "gen_ai.completion.0.content": f"Bearer {secret}",
            "error.message": f"Incorrect API key provided: {secret}",
        },
        name=f"GET {text}",
        status=2,
        status_message=text,
        source=Source(
            {"process.command_args": ["--api-key", secret, f"--token={secret}"], "process.command_line": f"app --token {secret}"},
            "scope",
            scope_attributes={"a": text},
        ),
        events=[
            Event("exception", 1, {"exception.message": text, "exception.stacktrace": f"at {text} {{'api-key': '{secret}'}} {secret}"}),
            Event("gen_ai.user.message", 1, {"content": text}),
        ],
        links=[Link("a" * 32, "b" * 16, {"u": text, "deep": {"secret": [secret]}})],
    )


def test_a_secret_reaches_nothing_from_any_place_of_a_span() -> None:
    told = every_place("sk-live-0123456789abcdef")
    assert "0123456789abcdef" not in repr(told)
    assert told.row.span_name == "GET 404 for https://host/v1?key=***"
    assert told.row.error_message == "Incorrect API key provided: ***"
    assert told.said.prompt_messages == [{"role": "user", "content": "Read 404 for https://host/v1?key=***"}]
    assert told.raw["attributes"]["headers"] == {"Authorization": ["***"], "token": "***", "pairs": [["x-api-key", "***"]]}
    assert told.raw["resource"]["process.command_args"] == ["--api-key", "***", "--token=***"]


def test_numbers_flags_and_definitions_of_arguments_stay_under_the_names_of_secrets() -> None:
    value = {
        "api_key": None,
        "password": True,
        "secrets": 3,
        "credentials": {"on": True, "count": 2},
        "parameters": {
            "properties": {"api_key": {"type": "string", "enum": ["a"]}, "password": {"description": "p"}},
            "required": ["api_key", "b"],
        },
    }
    assert cleaned(value) == value


def test_what_was_said_stays_true() -> None:
    said = 'Set API_KEY to "secret" in {"password": "hunter2"}, then: Authorization: Bearer TOKEN'
    told = of({"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": said})
    assert told.said.prompt_messages == [{"role": "user", "content": said}]
