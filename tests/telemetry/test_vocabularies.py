from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.exchange import Caller
from respan_proxy.respan.spans import COLUMNS
from respan_proxy.telemetry.attributes import FACTS
from respan_proxy.telemetry.spans import Event, Link, Source, Span, Told
from respan_proxy.telemetry.vocabularies import tell

ANYBODY = Caller()


def span(attributes: dict[str, Any], **more: Any) -> Span:
    said: dict[str, Any] = {
        "trace_id": "0" * 31 + "1",
        "span_id": "0" * 15 + "2",
        "parent_id": None,
        "name": "s",
        "kind": 1,
        "start_ns": 1_700_000_000_000_000_000,
        "end_ns": 1_700_000_001_000_000_000,
        "source": Source({}),
        **more,
    }
    return Span(attributes=attributes, **said)


def of(attributes: dict[str, Any], **more: Any) -> Told:
    return tell(span(attributes, **more), ANYBODY)


# The likeliest names with the unlikeliest values.
NAMES = st.sampled_from([name for fact in FACTS for name in fact.names]) | st.sampled_from(
    [
        "gen_ai.prompt.0.content",
        "gen_ai.prompt.1.tool_calls.0.name",
        "gen_ai.completion.0.tool_calls",
        "llm.request.functions.0.parameters",
        "llm.input_messages.0.message.contents.0.message_content.text",
        "respan.metadata.k",
        "http.request.header.authorization",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS | st.sampled_from(["[", '{"a":', "[[[]]]", '"', '[{"role":1}]', '{"messages":[1]}', "9" * 30]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "parts", "content", "type", "text", "name", "id", "function", "message", "choices"]), inner
        )
    ),
    max_leaves=12,
)
ATTRIBUTES = st.dictionaries(NAMES | st.text(), VALUES | VALUES.map(lambda value: orjson.dumps(value).decode()), max_size=12)
EVENTS = st.lists(
    st.builds(
        Event,
        st.sampled_from(["exception", "gen_ai.choice", "gen_ai.user.message", "gen_ai.client.inference.operation.details"]) | st.text(),
        st.integers(0, 2**64 - 1),
        ATTRIBUTES,
    ),
    max_size=3,
)


@given(ATTRIBUTES, EVENTS, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2]), st.text())
def test_nothing_that_an_attribute_may_be_raises_and_all_of_it_can_be_stored(
    attributes: dict[str, Any], events: list[Event], start_ns: int, end_ns: int, status: int, message: str
) -> None:
    links = [Link("a" * 32, "b" * 16, attributes)]
    told = of(attributes, events=events, links=links, start_ns=start_ns, end_ns=end_ns, status=status, status_message=message)
    wanted = {"text": str, "integer": int, "real": int | float, "boolean": bool, "time": float, "money": int}
    for column in COLUMNS:
        value = getattr(told.row, column.name)
        if value is not None and column.kind in wanted:
            assert isinstance(value, wanted[column.kind]), column.name
    for said in (told.said.input, told.said.output):
        assert said is None or isinstance(said, str)
    orjson.dumps([told.said, told.raw, told.row], default=repr)


def test_what_has_the_wrong_type_for_its_column_is_kept_as_metadata() -> None:
    told = of({"gen_ai.usage.input_tokens": "many", "gen_ai.request.model": ["a"], "status_code": 5})
    assert told.row.prompt_tokens is told.row.model is None
    assert told.row.metadata == {"gen_ai.usage.input_tokens": "many", "gen_ai.request.model": ["a"], "status_code": 5}


def test_whatever_no_column_takes_is_metadata_and_what_one_takes_is_not() -> None:
    told = of({"my.flag": True, "gen_ai.request.model": "m"}, source=Source({}, "scope", "1.2"))
    assert told.row.metadata == {"my.flag": True, "otel.scope.name": "scope", "otel.scope.version": "1.2"}


@pytest.mark.parametrize(
    "column", [fact.column for fact in FACTS if fact.column in ("model", "prompt_tokens", "provider_id", "customer_identifier")]
)
def test_of_several_names_the_first_in_the_table_counts_in_whatever_order_they_come(column: str) -> None:
    fact = next(fact for fact in FACTS if fact.column == column)
    values = {name: str(number) for number, name in enumerate(fact.names, 5)}
    assert str(getattr(of(values).row, column)) == str(getattr(of(dict(reversed(values.items()))).row, column)) == "5"


def test_an_identifier_is_cut_where_respan_cuts_it() -> None:
    assert of({"respan.customer_params.customer_identifier": "u" * 300}).row.customer_identifier == "u" * 254
