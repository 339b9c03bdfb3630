"""What the programs of the pages told, when they ran with the real packages, as rows."""

from __future__ import annotations

from typing import Any

import pytest

from respan_proxy.telemetry.spans import Told
from tests.telemetry.recorded import SCENARIOS, spans, told

HELLO = {"role": "assistant", "content": "Hello! Bonjour! Hola!"}


def named(scenario: str, name: str) -> Told:
    return next(one for one in told(scenario) if name in (one.row.entity_name, one.row.span_name))


def test_a_chat_call_has_model_tokens_cost_and_conversation() -> None:
    (one,) = told("quickstart")
    row = one.row
    assert (row.span_name, row.entity_name, row.log_type, row.log_method) == (
        "llm.gpt-4.1-nano",
        "openai.chat",
        "chat",
        "tracing_integration",
    )
    assert (row.model, row.request_model, row.provider_id) == ("gpt-4.1-nano-2025-04-14", "gpt-4.1-nano", "openai")
    assert (row.prompt_tokens, row.completion_tokens, row.total_request_tokens) == (11, 7, 18)
    assert row.cost == 11 * 100 + 7 * 400  # nano-dollars: 0.10 and 0.40 dollars a million
    assert (row.status, row.status_code, row.stream, row.has_tool_calls) == ("success", 200, False, False)
    assert (row.trace_unique_id, row.span_unique_id, row.span_parent_id) == ("3e4596aea8544ce1a98320c5d139a9b8", "ad45f82cb893ad71", None)
    assert (row.start_time, row.timestamp) == (pytest.approx(1795293559.645216), pytest.approx(1795293559.669069))
    assert row.latency == pytest.approx(0.023853, abs=1e-6)
    assert one.said.prompt_messages == [{"role": "user", "content": "Say hello in three languages."}]
    assert one.said.completion_messages == [HELLO]
    assert one.said.input == '[{"content":"Say hello in three languages.","role":"user"}]'
    assert one.claim.response_id == row.response_id == "chatcmpl-8997e252a518"
    assert one.claim.is_generation and not one.claim.is_native


def test_the_key_says_whose_a_span_is_and_in_which_environment() -> None:
    row = told("quickstart")[0].row
    assert (row.organization_key_id, row.organization_key_name, row.environment) == ("k1", "mine", "test")


@pytest.mark.parametrize("scenario", ["quickstart+link", "streaming+link", "err429+link"])
def test_a_linked_span_names_its_call_and_counts_nothing_itself(scenario: str) -> None:
    for one in told(scenario):
        assert one.claim.log_id is not None and one.claim.log_id.startswith("gwlog_")
        assert one.row.prompt_tokens is one.row.cost is one.said.completion_messages is None


def test_a_stream_that_told_no_usage_is_estimated_and_says_so() -> None:
    row = told("streaming")[0].row
    assert (row.stream, row.usage_estimated, row.status, row.warnings) == (True, True, "warning", "estimated token usage")
    # A quarter of the bytes of "user" and the question, and of the answer.
    assert (row.prompt_tokens, row.completion_tokens) == (8, 6)
    assert row.cost == 8 * 100 + 6 * 400


def test_decorators_are_a_tree_of_workflow_task_agent_and_tool() -> None:
    rows = [one.row for one in told("workflow_task")]
    kinds = {row.entity_name: (row.log_type, row.span_name, row.log_method) for row in rows if row.log_method == "python_tracing"}
    assert kinds == {
        "content_pipeline": ("workflow", "workflow", "python_tracing"),
        "generate_outline": ("task", "task", "python_tracing"),
        "writer": ("agent", "agent.writer", "python_tracing"),
        "lookup": ("tool", "tool.lookup", "python_tracing"),
        "boom": ("workflow", "workflow", "python_tracing"),
    }
    by_id = {row.span_unique_id: row for row in rows}
    parents = {row.entity_name: by_id[row.span_parent_id].entity_name for row in rows if row.span_parent_id and row.log_type != "chat"}
    assert parents == {"generate_outline": "content_pipeline", "writer": "content_pipeline", "lookup": "writer"}
    calls = [row for row in rows if row.log_type == "chat"]
    assert [by_id[row.span_parent_id or ""].entity_name for row in calls] == ["generate_outline", "content_pipeline"]


def test_what_the_user_said_of_a_span_is_in_its_columns() -> None:
    row = named("workflow_task", "generate_outline").row
    assert (row.customer_identifier, row.thread_identifier, row.custom_identifier) == ("u1", "th", "cid")
    assert (row.session_identifier, row.trace_group_identifier) == ("tg", "tg")
    assert row.metadata is not None and row.metadata["k"] == "v"
    assert (row.span_workflow_name, row.span_path) == ("content_pipeline", "generate_outline")


def test_an_exception_is_why_a_workflow_failed() -> None:
    row = named("workflow_task", "boom").row
    assert (row.status, row.status_code, row.error_code, row.error_message) == ("failed", 500, "ValueError", "nope")


def test_a_decorators_arguments_are_no_conversation() -> None:
    one = named("workflow_task", "generate_outline")
    assert one.said.input == '{"args": ["Benefits of API gateways"], "kwargs": {}}'
    assert one.said.prompt_messages is one.said.completion_messages is None


def test_propagated_attributes_are_on_the_call_with_email_name_properties_and_environment() -> None:
    row = named("propagate", "openai.chat").row
    assert (row.customer_identifier, row.customer_email, row.customer_name) == ("user_123", "a@b.c", "Al")
    assert (row.evaluation_identifier, row.properties, row.environment_tag) == ("ev1", {"a": 1}, "production")
    assert (row.prompt_id, row.variables) == ("p1", {"x": "y"})
    assert row.metadata is not None
    assert {name: row.metadata[name] for name in ("service", "version", "n", "plan")} == {
        "service": "chat-api",
        "version": "1.0.0",
        "n": "5",
        "plan": "pro",
    }


def test_the_tracers_version_is_kept_under_its_reserved_name() -> None:
    row = told("quickstart")[0].row
    assert row.metadata is not None and row.metadata["_tracing_sdk_version"] == "2.24.0"


def test_calls_of_tools_are_seen_and_their_results_are_messages() -> None:
    asked, answered = [one for one in told("toolcalls") if one.row.log_type == "chat"]
    assert asked.row.has_tool_calls
    assert asked.said.tool_calls == [
        {"id": "call_abc123", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}
    ]
    assert asked.said.tools[0]["function"]["name"] == "get_weather"
    assert answered.said.prompt_messages is not None
    assert [message["role"] for message in answered.said.prompt_messages] == ["user", "assistant", "tool"]
    assert answered.said.completion_messages == [HELLO]


def test_a_refused_call_has_its_status_class_and_words() -> None:
    row = told("err429")[0].row
    assert (row.status, row.status_code, row.error_code) == ("failed", 429, "RateLimitError")
    assert row.error_message == "Error code: 429 - Rate limit reached"
    assert (row.cost, row.prompt_tokens) == (None, None)


def test_results_of_a_batch_that_end_before_they_start_are_moments() -> None:
    results = [one for one in told("batch_traceid") if one.row.span_path == "batch_results"]
    for result, span in zip(results, [span for span in spans("batch_traceid") if span.name.startswith("llm")], strict=True):
        end = span.end_ns / 1e9
        assert (result.row.start_time, result.row.timestamp) == (pytest.approx(min(span.start_ns / 1e9, end)), pytest.approx(end))
        assert result.row.latency is not None and result.row.latency >= 0
    failed = results[2].row
    assert (failed.status, failed.status_code, failed.error_message, failed.model, failed.cost) == ("failed", 400, "HTTP 400", None, None)
    assert results[2].said.completion_messages is results[2].said.prompt_messages is None  # its SDK says [] and {}


def test_results_of_a_batch_are_chats_with_a_cost_though_they_name_no_provider() -> None:
    result = next(one for one in told("batch_traceid") if one.row.model)
    assert (result.row.log_type, result.row.provider_id, result.row.cost) == ("chat", None, 20 * 100 + 9 * 400)
    assert result.said.completion_messages == [{"role": "assistant", "content": "answer 0"}]


def test_what_an_agents_tool_answered_names_the_call_that_it_answers() -> None:
    answers = [message for one in told("agents_otel") for message in one.said.prompt_messages or () if message["role"] == "tool"]
    assert len(answers) >= 2
    assert {message["tool_call_id"] for message in answers} == {"call_abc"}


def test_agents_tokens_are_those_of_their_calls_alone() -> None:
    rows = [one.row for one in told("agents_otel") if one.claim.is_generation]
    assert {row.log_type for row in rows} == {"chat"}
    assert sum(row.prompt_tokens or 0 for row in rows) == 20 * len(rows)
    assert all(one.row.cost is None for one in told("agents_otel") if not one.claim.is_generation)


def test_agents_handoffs_and_tools_are_named() -> None:
    assert named("agents_otel", "handoff").row.log_type == "handoff"
    tool = named("agents_otel", "get_weather")
    assert (tool.row.log_type, tool.said.output) == ("tool", '"sunny in Paris"')
    assert named("agents_otel", "My flow").row.trace_group_identifier == "conv_1"


def test_both_spans_of_an_anthropic_call_count_the_same_tokens() -> None:
    """The instrumentation tells Anthropic's 12 uncached tokens and 2 cached ones, the client library 14 in all."""
    calls = told("anthropic_auto")
    assert {(one.claim.is_native, one.row.prompt_tokens, one.row.prompt_cache_hit_tokens) for one in calls} == {
        (True, 14, 2),
        (False, 14, 2),
    }
    assert len({one.row.cost for one in calls}) == 1


def test_anthropics_contents_are_read_out_of_their_json() -> None:
    one = next(one for one in told("anthropic_auto") if len(one.said.prompt_messages or ()) == 2)
    assert one.said.prompt_messages == [{"role": "system", "content": "be nice"}, {"role": "user", "content": "hi"}]
    assert one.said.completion_messages == [{"role": "assistant", "content": "Hello, I am Claude."}]


def test_a_native_span_says_when_the_first_chunk_came_and_why_the_answer_ended() -> None:
    row = next(one.row for one in told("anthropic_auto") if one.claim.is_native and one.row.stream)
    assert row.time_to_first_token == pytest.approx(0.024478432)
    assert row.finish_reason == "stop"


def test_gemini_calls_are_priced_by_googles_list() -> None:
    row = told("gemini_auto+link")[0].row
    assert (row.provider_id, row.model, row.prompt_tokens, row.completion_tokens) == ("google", "gemini-2.5-flash", 4, 3)
    assert row.cost == 4 * 300 + 3 * 2500


def test_embeddings_and_text_completions_have_their_own_types() -> None:
    rows = [one.row for one in told("misc")]
    assert {row.log_type for row in rows} == {"chat", "embedding", "text"}
    assert all(row.prompt_tokens and row.cost is not None for row in rows)


def _without_parameters(value: Any) -> Any:
    """Respan's header in Anthropic's `extra_headers` may hold credentials, which nobody sees in base64: `e30=` here."""
    return value.replace('"X-Data-Respan-Params":"e30="', '"X-Data-Respan-Params":"***"') if isinstance(value, str) else value


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_of_a_span_is_lost(scenario: str) -> None:
    for one, span in zip(told(scenario), spans(scenario), strict=True):
        assert one.raw["attributes"] == {name: _without_parameters(value) for name, value in span.attributes.items()}
        assert [event["name"] for event in one.raw["events"]] == [event.name for event in span.events]
        assert (one.raw["startTimeUnixNano"], one.raw["endTimeUnixNano"]) == (span.start_ns, span.end_ns)
        assert one.raw["resource"] == span.source.resource


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name.startswith("otlp_")])
def test_a_stock_exporters_protobuf_is_the_same_in_every_set_up(scenario: str) -> None:
    child, parent = told(scenario)
    assert (child.row.log_type, child.row.status, child.row.error_code, child.row.error_message) == ("span", "failed", "ValueError", "x")
    assert child.row.span_parent_id == parent.row.span_unique_id
    assert (parent.row.log_type, parent.row.model, parent.row.provider_id, parent.row.prompt_tokens) == ("chat", "gpt-4o", "openai", 5)
    assert parent.said.prompt_messages == [{"role": "user", "content": "hi"}]
    assert parent.row.metadata == {"arr": ["a", "b"], "f": 1.5, "otel.scope.name": "my.scope", "otel.scope.version": "1.0"}
    assert (parent.row.service_name, parent.row.environment_tag) == ("svc", "prod")
