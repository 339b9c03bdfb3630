"""The row is the column table, and the column table is the row."""

from __future__ import annotations

from dataclasses import fields

import orjson
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.respan.spans import BY_NAME, COLUMNS, NANO, Row, bind, iso_time, shown

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_every_attribute_of_a_row_is_a_column_and_the_other_way_round() -> None:
    assert [column.name for column in COLUMNS] == [field.name for field in fields(Row)]


def test_kinds_follow_the_types_and_marks() -> None:
    kinds = {name: BY_NAME[name].kind for name in ("unique_id", "status", "status_code", "latency", "stream", "start_time", "cost")}
    assert kinds == {
        "unique_id": "text",
        "status": "text",
        "status_code": "integer",
        "latency": "real",
        "stream": "boolean",
        "start_time": "time",
        "cost": "money",
    }
    assert BY_NAME["metadata"].kind == "json"


@given(st.dictionaries(st.text(), JSON), st.booleans(), st.integers(0, 2**60), st.floats(0, 4e9))
def test_what_is_bound_is_shown_as_it_was_said(metadata: dict[str, object], stream: bool, nano: int, at: float) -> None:
    row = Row("one", metadata=metadata, stream=stream, cost=nano, start_time=at)
    shape, values = bind(row, content=True)
    seen = shown([COLUMNS[index].name for index in shape], values)
    assert seen["metadata"] == metadata
    assert seen["stream"] is stream
    assert seen["cost"] == nano / NANO
    assert seen["start_time"] == iso_time(at)
    assert all(type(value) in (str, int, float) for value in values)


def test_what_is_unknown_is_not_bound() -> None:
    shape, values = bind(Row("one"), content=True)
    assert [COLUMNS[index].name for index in shape] == ["unique_id", "status"]
    assert values == ["one", "running"]


def test_without_content_nothing_that_may_quote_it_is_bound() -> None:
    row = Row("one", error_message="secret", variables={"v": "secret"}, response_format="secret", status_code=400)
    row.attempts = [{"status_code": 400, "error": "secret"}]
    shape, values = bind(row, content=False)
    assert "secret" not in orjson.dumps(values).decode()
    assert dict(zip([COLUMNS[index].name for index in shape], values, strict=True))["status_code"] == 400
    assert row.attempts == [{"status_code": 400, "error": "secret"}]


def test_json_that_is_not_quite_json_does_not_cost_the_row() -> None:
    _, values = bind(Row("one", metadata={1: {2, 3}}, properties={"when": object()}), content=True)
    assert len(values) == 4


def test_times_are_shown_in_utc() -> None:
    assert iso_time(0.25) == "1970-01-01T00:00:00.250000Z"
