from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.errors import RequestRejected
from respan_proxy.exchange import Caller
from respan_proxy.telemetry.agents_traces import span_log
from respan_proxy.telemetry.remarks import ANNOTATIONS, annotation
from respan_proxy.telemetry.span_logs import FIELDS, read
from respan_proxy.telemetry.spans import Told, row_id

NOW = 1_800_000_000.0
FRESH = "0123456789abcdef" * 2
CALLER = Caller(key_id="k1", key_name="mine", environment="test")
ASKED = [{"role": "user", "content": "hi"}]
ANSWER = {"role": "assistant", "content": "hello"}


def of(log: Any, caller: Caller = CALLER) -> Told:
    return read(log, caller, NOW, FRESH)


def test_a_log_of_a_call_has_its_model_tokens_cost_and_conversation() -> None:
    told = of(
        {"model": "gpt-4.1-nano", "prompt_messages": ASKED, "completion_message": ANSWER, "prompt_tokens": 10, "completion_tokens": 5}
    )
    row = told.row
    assert (row.log_type, row.log_method, row.status, row.status_code) == ("chat", "logging_api", "success", 200)
    assert (row.prompt_tokens, row.completion_tokens, row.total_request_tokens, row.cost) == (10, 5, 15, 10 * 100 + 5 * 400)
    assert (told.said.prompt_messages, told.said.completion_messages) == (ASKED, [ANSWER])
    assert told.said.input == orjson.dumps(ASKED).decode()
    assert told.said.output == orjson.dumps(ANSWER).decode()
    assert (row.organization_key_id, row.environment) == ("k1", "test")


@pytest.mark.parametrize(
    ("input", "output"),
    [
        (ASKED, ANSWER),
        (orjson.dumps(ASKED).decode(), orjson.dumps(ANSWER).decode()),
        ({"messages": ASKED}, {"choices": [{"message": ANSWER}]}),
    ],
)
def test_messages_are_derived_from_input_and_output_in_every_form(input: Any, output: Any) -> None:
    told = of({"model": "m", "input": input, "output": output})
    assert (told.said.prompt_messages, told.said.completion_messages) == (ASKED, [ANSWER])


def test_messages_are_derived_from_the_raw_request_and_response() -> None:
    told = of({"model": "m", "full_request": {"messages": ASKED}, "full_response": {"id": "chatcmpl-1", "choices": [{"message": ANSWER}]}})
    assert (told.said.prompt_messages, told.said.completion_messages) == (ASKED, [ANSWER])
    assert told.claim.response_id == "chatcmpl-1"


def test_input_and_output_of_other_spans_stay_what_they_are() -> None:
    told = of({"log_type": "tool", "input": {"city": "Paris"}, "output": [1, 2]})
    assert (told.said.input, told.said.output) == ('{"city":"Paris"}', "[1,2]")
    assert told.said.prompt_messages is told.said.completion_messages is None
    assert not told.claim.is_generation


def test_output_items_of_the_responses_api_are_one_answer() -> None:
    items = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
    ]
    told = of({"model": "m", "log_type": "response", "input": "hi", "output": items})
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    assert told.said.completion_messages == [
        {"role": "assistant", "content": "Let me look.", "reasoning_content": "Hm.", "tool_calls": [call]}
    ]
    assert told.row.has_tool_calls is True


def test_older_names_of_columns_are_understood() -> None:
    row = of({"model": "m", "messages": ASKED, "generation_time": 2.5, "ttft": 0.5, "total_tokens": 9, "max_completion_tokens": 7}).row
    assert (row.latency, row.time_to_first_token, row.total_request_tokens, row.max_tokens) == (2.5, 0.5, 9, 7)


def test_respan_params_stand_above_the_log_and_customer_params_fill_it() -> None:
    row = of(
        {
            "model": "m",
            "thread_identifier": "t1",
            "respan_params": {"thread_identifier": "t2", "metadata": {"a": 1}},
            "keywordsai_params": {"thread_identifier": "t3", "note": "n"},
            "customer_params": {"customer_identifier": "u1", "email": "a@b.c", "name": "Al"},
        }
    ).row
    assert (row.thread_identifier, row.note, row.metadata) == ("t2", "n", {"a": 1})
    assert (row.customer_identifier, row.customer_email, row.customer_name) == ("u1", "a@b.c", "Al")


def test_a_session_is_filled_from_the_trace_group_and_else_from_the_thread() -> None:
    assert of({"thread_identifier": "t"}).row.session_identifier == "t"
    assert of({"thread_identifier": "t", "trace_group_identifier": "g"}).row.session_identifier == "g"
    assert of({"thread_identifier": "t", "session_identifier": "s"}).row.session_identifier == "s"


@pytest.mark.parametrize(
    ("usage", "model", "expected"),
    [
        (
            {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
            "gpt-4.1-nano",
            (10, 2, 4, None, 12),
        ),
        ({"input_tokens": 10, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}}, "gpt-4.1-nano", (10, 2, 4, None, 12)),
        (
            {"input_tokens": 10, "output_tokens": 2, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 3},
            "claude-sonnet-4-5",
            (17, 2, 4, 3, 19),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 2, "cache_creation_prompt_tokens": 3}, "claude-sonnet-4-5", (13, 2, None, 3, 15)),
        (
            {"prompt_tokens": 10, "completion_tokens": 2, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
            "gpt-4.1-nano",
            (10, 2, 0, 0, 12),
        ),
    ],
)
def test_usage_comes_to_the_same_columns_in_whosever_names(usage: dict[str, Any], model: str, expected: tuple[int | None, ...]) -> None:
    row = of({"model": model, "usage": usage}).row
    found = (row.prompt_tokens, row.completion_tokens, row.prompt_cache_hit_tokens, row.prompt_cache_creation_tokens)
    assert (*found, row.total_request_tokens) == expected


def test_a_cost_that_the_log_brings_counts_above_its_own_prices_and_those_above_the_table() -> None:
    log = {"model": "gpt-4.1-nano", "prompt_tokens": 10, "completion_tokens": 10}
    assert of({**log, "cost": 0.5, "prompt_unit_price": 1}).row.cost == 500_000_000
    assert of({**log, "prompt_unit_price": 1, "completion_unit_price": 2}).row.cost == 10 * 1000 + 10 * 2000
    assert of(log).row.cost == 10 * 100 + 10 * 400
    assert of({**log, "log_type": "workflow", "cost": 0.5}).row.cost is None


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ({"status": "error"}, ("failed", 500)),
        ({"status": "success", "status_code": 200}, ("success", 200)),
        ({"status_code": 429}, ("failed", 429)),
        ({"error_message": "no"}, ("failed", 500)),
        ({"error": "no"}, ("failed", 500)),
        ({"warnings": "slow"}, ("warning", 200)),
        ({"status": "running"}, ("pending", 200)),
        ({}, ("success", 200)),
    ],
)
def test_status(log: dict[str, Any], expected: tuple[str, int]) -> None:
    row = of({"log_type": "task", **log}).row
    assert (row.status, row.status_code) == expected


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ({}, (NOW, NOW, 0.0)),
        ({"latency": 2}, (NOW - 2, NOW, 2.0)),
        ({"timestamp": "2026-11-21T09:30:00Z", "latency": 1}, (1795253399.0, 1795253400.0, 1.0)),
        ({"start_time": "2026-11-21T09:30:00+01:00", "latency": 1}, (1795249800.0, 1795249801.0, 1.0)),
        ({"start_time": "2026-11-21 09:30:00", "timestamp": 1795253402}, (1795253400.0, 1795253402.0, 2.0)),
        ({"start_time": 20, "timestamp": 10}, (10.0, 10.0, 0.0)),
    ],
)
def test_times_complete_each_other(log: dict[str, Any], expected: tuple[float, float, float]) -> None:
    row = of({"log_type": "task", **log}).row
    assert (row.start_time, row.timestamp, row.latency) == expected


def test_a_log_that_names_its_trace_and_span_comes_to_the_same_row_again() -> None:
    log = {"trace_unique_id": "t", "span_unique_id": "s", "span_parent_id": "p"}
    first, second = of(log).row, read(log, CALLER, NOW + 1, "f" * 32).row
    assert first.unique_id == second.unique_id == row_id("t", "s", "k1")
    assert (first.trace_unique_id, first.span_unique_id, first.span_parent_id) == ("t", "s", "p")


def test_a_log_that_names_nothing_is_a_trace_of_its_own() -> None:
    row = of({"model": "m"}).row
    assert (row.unique_id, row.trace_unique_id, row.span_unique_id, row.span_parent_id) == (FRESH, FRESH, FRESH[16:], None)


def test_hexadecimal_ids_are_those_of_opentelemetry_in_whatever_case() -> None:
    row = of({"trace_unique_id": "AB" * 16, "span_unique_id": "CD" * 8, "span_parent_id": "trace_Ab"}).row
    assert (row.trace_unique_id, row.span_unique_id, row.span_parent_id) == ("ab" * 16, "cd" * 8, "trace_Ab")


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ([1], "a log: found [1], expected an object"),
        ({"prompt_tokens": "many"}, 'prompt_tokens: found "many", expected a whole number, 0 or more'),
        ({"latency": -1}, "latency: found -1, expected seconds, 0 or more"),
        ({"metadata": [1]}, "metadata: found [1], expected an object"),
        ({"timestamp": "yesterday"}, 'timestamp: found "yesterday", expected an ISO 8601 time such as 2026-11-21T09:30:00Z'),
        ({"status": "fine"}, 'status: found "fine", expected one of success, error, failed, warning, pending, running'),
        ({"status_code": 1000}, "status_code: found 1000, expected an HTTP status, 100 to 599"),
        ({"usage": "x"}, 'usage: found "x", expected an object'),
        ({"cost": "much"}, 'cost: found "much", expected US dollars'),
        ({"prompt_messages": "hi"}, 'prompt_messages: found "hi", expected a list of messages'),
        ({"prompt_messages": [1]}, "prompt_messages: found [1], expected a list of messages"),
        ({"log_type": 5}, "log_type: found 5, expected a text such as chat, workflow or tool"),
        ({"unique_id": "x" * 129}, f'unique_id: found "{"x" * 59}..., expected a text of at most 128 characters'),
    ],
)
def test_what_is_wrong_is_named_with_what_was_found_and_what_was_expected(log: Any, message: str) -> None:
    with pytest.raises(RequestRejected) as raised:
        of(log)
    assert str(raised.value) == message


def test_null_is_as_good_as_nothing() -> None:
    told = of(dict.fromkeys([name for field in FIELDS for name in field.names] + ["usage", "input", "cost", "log_type", "status"]))
    assert (told.row.log_type, told.row.status) == ("chat", "success")


def test_credentials_in_a_log_are_not_kept() -> None:
    secret = "sk-live-0123456789"
    told = of(
        {
            "model": "m",
            "customer_credentials": {"openai": {"api_key": secret}},
            "customer_api_keys": {"openai": secret},
            "respan_params": {"credential_override": {"gpt": {"key": secret}}},
            "input": {"messages": ASKED, "api_key": secret},
            "metadata": {"authorization": secret},
            "full_request": {
                "messages": ASKED,
                "headers": {"x-api-key": secret, "Authorization": [f"Bearer {secret}"]},
                "url": f"https://host/?key={secret}",
            },
            "error_message": f"Incorrect API key provided: {secret}, see https://host/?key={secret}",
            "note": f"{{'api-key': '{secret}'}}",
        }
    )
    assert secret not in repr(told)


def test_a_log_that_is_not_to_be_kept_says_nothing_but_its_numbers() -> None:
    told = of({"model": "gpt-4.1-nano", "input": ASKED, "output": ANSWER, "disable_log": True, "prompt_tokens": 1, "completion_tokens": 1})
    assert "hello" not in repr(told)
    assert told.row.cost == 500


def test_members_of_messages_that_say_nothing_are_left_out() -> None:
    message = {"role": "assistant", "content": None, "name": None, "tool_calls": None}
    told = of({"model": "m", "prompt_messages": [{"role": "user", "content": "hi", "name": None}], "completion_message": message})
    assert told.said.prompt_messages == [{"role": "user", "content": "hi"}]
    assert told.said.completion_messages == [{"role": "assistant", "content": None}]


def test_a_log_without_a_name_is_called_what_it_is() -> None:
    assert (of({"model": "m"}).row.span_name, of({"log_type": "tool", "span_name": "x"}).row.span_name) == ("chat", "x")


# The Agents SDK's own export.


def test_the_agents_sdks_own_traces_are_a_tree() -> None:
    trace = {"object": "trace", "id": "trace_1", "workflow_name": "Flow", "group_id": "g", "metadata": {"k": "v"}}
    agent = {
        "object": "trace.span",
        "id": "span_1",
        "trace_id": "trace_1",
        "parent_id": None,
        "started_at": "2026-11-21T09:30:00+00:00",
        "ended_at": "2026-11-21T09:30:02+00:00",
        "span_data": {"type": "agent", "name": "Triage", "handoffs": ["B"], "tools": [], "output_type": "str"},
        "error": None,
    }
    call = {
        **agent,
        "id": "span_2",
        "parent_id": "span_1",
        "span_data": {
            "type": "generation",
            "input": ASKED,
            "output": [ANSWER],
            "model": "gpt-4.1-nano",
            "model_config": {"temperature": 0.5},
            "usage": {"input_tokens": 10, "output_tokens": 5},
        },
    }
    tool = {
        **agent,
        "id": "span_3",
        "parent_id": "span_1",
        "span_data": {"type": "function", "name": "weather", "input": '{"city":"Paris"}', "output": "rain"},
        "error": {"message": "no such city", "data": {"city": "Paris"}},
    }
    rows = [of(span_log(item)) for item in (trace, agent, call, tool)]
    places = [(one.row.log_type, one.row.span_name, one.row.span_unique_id, one.row.span_parent_id) for one in rows]
    assert places == [
        ("workflow", "Flow", "trace_1", None),
        ("agent", "Triage", "span_1", "trace_1"),
        ("generation", "generation", "span_2", "span_1"),
        ("tool", "weather", "span_3", "span_1"),
    ]
    assert rows[0].row.trace_group_identifier == "g"
    assert (rows[2].row.temperature, rows[2].row.prompt_tokens, rows[2].row.cost) == (0.5, 10, 10 * 100 + 5 * 400)
    assert (rows[2].said.prompt_messages, rows[2].said.completion_messages) == (ASKED, [ANSWER])
    assert (rows[3].row.status, rows[3].row.error_message, rows[3].said.output) == ("failed", "no such city", "rain")
    assert rows[1].row.metadata == {"handoffs": ["B"], "tools": [], "output_type": "str"}


# What is said of a log later.


def test_an_annotation_changes_only_what_was_not_measured() -> None:
    assert annotation({"note": "good", "positive_feedback": True, "metadata": {"a": None}, "category": None}) == {
        "note": "good",
        "positive_feedback": True,
        "metadata": {"a": None},
        "category": None,
    }
    with pytest.raises(RequestRejected, match="prompt_tokens: cannot be changed; expected one of category,"):
        annotation({"prompt_tokens": 1})
    with pytest.raises(RequestRejected, match='positive_feedback: found "yes", expected true or false'):
        annotation({"positive_feedback": "yes"})
    with pytest.raises(RequestRejected, match="found nothing to change"):
        annotation({})
    assert {field.column for field in FIELDS} >= ANNOTATIONS


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "message", "choices"]), inner)
    ),
    max_leaves=10,
)
NAMES = st.sampled_from(
    [name for field in FIELDS for name in field.names]
    + [
        "input",
        "output",
        "prompt",
        "usage",
        "cost",
        "log_type",
        "status",
        "error",
        "prompt_messages",
        "completion_message",
        "completion_messages",
    ]
    + ["full_request", "full_response", "tools", "tool_calls", "respan_params", "customer_params", "span_data", "object"]
)


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_any_log_is_read_or_refused_and_what_is_read_can_be_stored(log: dict[str, Any]) -> None:
    for item in (log, span_log(log)):
        try:
            told = of(item)
        except RequestRejected:
            continue
        orjson.dumps([told.said, told.raw, told.row], default=repr)
