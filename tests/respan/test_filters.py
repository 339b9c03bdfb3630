"""Filters say what they mean in the columns' own units, or are refused with the name of what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.errors import RequestRejected
from respan_proxy.respan.filters import ALIASES, FIELDS, MAX_PAGE_SIZE, OPERATORS, WINDOW_S, Condition, Field, Query, read

NOW = 1_800_000_000.0
WINDOW = Condition(Field("timestamp", "time"), "gte", (NOW - WINDOW_S,))


def conditions(filters: dict[str, Any], *parameters: tuple[str, str]) -> list[Condition]:
    """Those that were asked for: without the default window."""
    return [condition for condition in read({"filters": filters}, parameters, NOW).every if condition != WINDOW]


def one(filters: dict[str, Any], *parameters: tuple[str, str]) -> Condition:
    (condition,) = conditions(filters, *parameters)
    return condition


def test_without_a_filter_the_last_day_is_read_newest_first() -> None:
    assert read({}, (), NOW) == Query(every=(WINDOW,))


@pytest.mark.parametrize(("said", "meant"), OPERATORS.items())
def test_every_operator_is_understood(said: str, meant: str) -> None:
    assert one({"model": {"operator": said, "value": ["gpt"]}}).operator == meant


def test_a_missing_operator_is_equality_with_any_of_the_values() -> None:
    expected = Condition(Field("model", "text"), "in", ("a", "b"))
    assert one({"model": {"value": ["a", "b"]}}) == expected
    assert one({"model": ["a", "b"]}) == expected
    assert one({"model": {"operator": None, "value": "a"}}).values == ("a",)
    assert one({"model": "a"}).values == ("a",)


def test_several_conditions_on_a_field_all_hold() -> None:
    found = conditions({"latency": [{"operator": "gte", "value": [1]}, {"operator": "lt", "value": [2]}]})
    assert [(condition.operator, condition.values) for condition in found] == [("gte", (1,)), ("lt", (2,))]


@pytest.mark.parametrize(
    ("field", "value", "meant"),
    [
        ("cost", 0.0025, 2_500_000),
        ("total_cost", "0.000000001", 1),
        ("status_code", "404", 404),
        ("latency", "1.5", 1.5),
        ("stream", "true", 1),
        ("stream", False, 0),
        ("timestamp", "1970-01-02T00:00:00Z", 86400.0),
        ("start_time", "1970-01-02T01:00:00+01:00", 86400.0),
        ("start_time", "1970-01-02T00:00:00", 86400.0),
        ("model", 4, "4"),
        ("metadata__paid", True, "true"),
    ],
)
def test_values_come_in_the_columns_own_units(field: str, value: Any, meant: Any) -> None:
    assert one({field: {"operator": "", "value": value}}).values == (meant,)


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_an_alias_means_its_column(alias: str, name: str) -> None:
    assert one({alias: {"operator": "not_empty"}}).field == Field(name, FIELDS[name])


def test_a_key_of_metadata_is_a_field() -> None:
    assert one({"metadata__team": "blue"}) == Condition(Field("metadata", "json", "team"), "in", ("blue",))
    assert one({"metadata__n": {"operator": "gt", "value": "3"}}).values == (3.0,)


def test_isnull_is_empty_or_its_opposite() -> None:
    assert one({"note": {"operator": "isnull", "value": [True]}}).operator == "empty"
    assert one({"note": {"operator": "isnull", "value": "false"}}).operator == "not_empty"


def test_a_url_filters_too() -> None:
    parameters = (("model", "gpt"), ("latency[value]", "1"), ("latency[operator]", "gt"), ("status[]", "failed"), ("status[]", "warning"))
    assert conditions({}, *parameters) == [
        Condition(Field("model", "text"), "in", ("gpt",)),
        Condition(Field("latency", "real"), "gt", (1,)),
        Condition(Field("status", "text"), "in", ("failed", "warning")),
    ]


def test_an_unknown_name_in_a_url_is_a_key_of_metadata() -> None:
    assert one({}, ("team", "blue")) == Condition(Field("metadata", "json", "team"), "in", ("blue",))


def test_a_credential_in_the_url_is_not_a_filter() -> None:
    assert conditions({}, ("key", "AIza-secret")) == []


def test_conditions_joined_by_or_stand_apart() -> None:
    query = read({}, (("model", "a"), ("model[connector]", "OR"), ("status", "failed"), ("status[connector]", "or")), NOW)
    assert [condition.field.name for condition in query.some] == ["model", "status"]
    assert query.every == (WINDOW,)


def test_a_window_that_is_said_replaces_the_default() -> None:
    query = read({"start_time": "1970-01-01T00:00:01Z"}, (("end_time", "1970-01-01T00:00:02Z"),), NOW)
    assert [(condition.operator, condition.values) for condition in query.every] == [("gte", (1.0,)), ("lte", (2.0,))]


def test_a_filter_about_time_ends_the_default_window() -> None:
    assert conditions({"timestamp": {"operator": "lt", "value": 5}}) == list(
        read({"filters": {"timestamp": {"operator": "lt", "value": 5}}}, (), NOW).every
    )


def test_pages_and_order_are_read_from_both_carriers() -> None:
    query = read({"page": 3, "sort_by": "cost"}, (("page_size", "500"),), NOW)
    assert (query.page, query.page_size, query.sort.name, query.descending) == (3, 500, "cost", False)
    assert read({}, (("sort_by", "-id"),), NOW).sort == Field("timestamp", "time")
    assert read({"page_size": 10**6}, (), NOW).page_size == MAX_PAGE_SIZE


def test_the_test_environment_is_a_filter_and_all_environments_none() -> None:
    assert conditions({}, ("is_test", "true")) == [Condition(Field("environment", "text"), "in", ("test",))]
    assert conditions({}, ("is_test", "false"))[0].operator == "not_in"
    assert conditions({}, ("is_test", "true"), ("all_envs", "true")) == []


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({"filters": {"modle": "gpt"}}, "modle", "did you mean 'model'"),
        ({"filters": {"metadata": "x"}}, "metadata", "metadata__KEY"),
        ({"filters": {"instance_id": "x"}}, "instance_id", "unknown filter field"),
        ({"filters": {"model": {"operator": "contians", "value": "x"}}}, "model", "did you mean 'contains'"),
        ({"filters": {"latency": {"operator": "contains", "value": "1"}}}, "latency", "contains compares text"),
        ({"filters": {"latency": "fast"}}, "latency", "expected a number, found 'fast'"),
        ({"filters": {"status_code": True}}, "status_code", "expected a whole number"),
        ({"filters": {"cost": "cheap"}}, "cost", "US dollars"),
        ({"filters": {"cost": "1e30"}}, "cost", "US dollars"),
        ({"filters": {"stream": "maybe"}}, "stream", "expected true or false"),
        ({"filters": {"timestamp": "yesterday"}}, "timestamp", "ISO 8601"),
        ({"filters": {"model": {"operator": "gt"}}}, "model", "needs a value"),
        ({"filters": {"model": {"value": "x", "connector": "XOR"}}}, "model", "AND or OR"),
        ({"filters": ["model"]}, "filters", "expected an object"),
        ({"filter": {}}, "filter", "did you mean 'filters'"),
        ({"page": 0}, "page", "from 1"),
        ({"page_size": "many"}, "page_size", "found 'many'"),
        ({"page_size": True}, "page_size", "found True"),
        ({"page": 1.5}, "page", "found 1.5"),
        ({"sort_by": "-modle"}, "modle", "did you mean 'model'"),
        ({"start_time": "now"}, "start_time", "ISO 8601"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(RequestRejected) as refusal:
        read(body, (), NOW)
    assert refusal.value.status == 400
    assert refusal.value.param == param
    assert message in str(refusal.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
FIELD = st.sampled_from(sorted(FIELDS)) | st.text()
FILTERS = st.dictionaries(FIELD, JSON | st.fixed_dictionaries({"operator": st.sampled_from(sorted(OPERATORS)), "value": JSON}))


@given(FILTERS, st.lists(st.tuples(FIELD | st.from_regex(r"[a-z_]+\[[a-z]*\]?"), st.text())))
def test_garbage_is_refused_or_understood_and_never_breaks(filters: dict[str, Any], parameters: list[tuple[str, str]]) -> None:
    try:
        query = read({"filters": filters}, parameters, NOW)
    except RequestRejected:
        return
    assert all(type(value) in (str, int, float) for condition in (*query.every, *query.some) for value in condition.values)
