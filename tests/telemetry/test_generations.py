"""One exchange with a model as each vocabulary tells it, and what all of them must come to."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from respan_proxy.exchange import Caller
from respan_proxy.telemetry.spans import Event, Source, Told
from respan_proxy.telemetry.vocabularies import tell
from tests.telemetry.test_vocabularies import of, span

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
ASKED = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Weather in Paris?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "rain"},
]
ANSWERED = [{"role": "assistant", "content": "It rains."}]


def text(value: Any) -> str:
    return orjson.dumps(value).decode()


TRACELOOP = {
    "llm.request.type": "chat",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-4.1-nano",
    "gen_ai.response.model": "gpt-4.1-nano-2025-04-14",
    "gen_ai.prompt.0.role": "system",
    "gen_ai.prompt.0.content": "Be brief.",
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": "Weather in Paris?",
    "gen_ai.prompt.2.role": "assistant",
    "gen_ai.prompt.2.tool_calls.0.id": "c1",
    "gen_ai.prompt.2.tool_calls.0.name": "weather",
    "gen_ai.prompt.2.tool_calls.0.arguments": '{"city":"Paris"}',
    "gen_ai.prompt.3.role": "tool",
    "gen_ai.prompt.3.tool_call_id": "c1",
    "gen_ai.prompt.3.content": "rain",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": "It rains.",
    "gen_ai.completion.0.finish_reason": "stop",
    "gen_ai.usage.prompt_tokens": 100,
    "gen_ai.usage.completion_tokens": 10,
    "gen_ai.usage.cache_read_input_tokens": 40,
    "llm.usage.total_tokens": 110,
    "gen_ai.is_streaming": True,
}

WITH_EVENTS = {
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-4.1-nano",
    "gen_ai.response.model": "gpt-4.1-nano-2025-04-14",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 10,
    "gen_ai.usage.cache_read.input_tokens": 40,
    "gen_ai.request.stream": True,
}
EVENTS = [
    Event("gen_ai.system.message", 1, {"content": "Be brief."}),
    Event("gen_ai.user.message", 2, {"content": "Weather in Paris?"}),
    Event("gen_ai.assistant.message", 3, {"tool_calls": text([CALL])}),
    Event("gen_ai.tool.message", 4, {"id": "c1", "content": "rain"}),
    Event("gen_ai.choice", 5, {"index": 0, "finish_reason": "stop", "message": text({"role": "assistant", "content": "It rains."})}),
]

INSTRUCTIONS = [{"type": "text", "content": "Be brief."}]
INPUT = [
    {"role": "user", "parts": [{"type": "text", "content": "Weather in Paris?"}]},
    {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Paris"}}]},
    {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "rain"}]},
]
OUTPUT = [{"role": "assistant", "parts": [{"type": "text", "content": "It rains."}], "finish_reason": "stop"}]
PROVIDER = {**WITH_EVENTS, "gen_ai.provider.name": "openai"}
MESSAGES = {"gen_ai.system_instructions": INSTRUCTIONS, "gen_ai.input.messages": INPUT, "gen_ai.output.messages": OUTPUT}
DETAILS = [Event("gen_ai.client.inference.operation.details", 1, MESSAGES)]
NEWEST = {
    **{name: value for name, value in PROVIDER.items() if name != "gen_ai.system"},
    **MESSAGES,
    "gen_ai.usage.cache_write.input_tokens": 20,
    "gen_ai.usage.reasoning.output_tokens": 3,
}

OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.provider": "openai",
    "llm.model_name": "gpt-4.1-nano-2025-04-14",
    "llm.invocation_parameters": text({"temperature": 0.5, "max_completion_tokens": 50}),
    "llm.token_count.prompt": 100,
    "llm.token_count.completion": 10,
    "llm.token_count.total": 110,
    "llm.token_count.prompt_details.cache_read": 40,
    "llm.input_messages.0.message.role": "system",
    "llm.input_messages.0.message.content": "Be brief.",
    "llm.input_messages.1.message.role": "user",
    "llm.input_messages.1.message.content": "Weather in Paris?",
    "llm.input_messages.2.message.role": "assistant",
    "llm.input_messages.2.message.tool_calls.0.tool_call.id": "c1",
    "llm.input_messages.2.message.tool_calls.0.tool_call.function.name": "weather",
    "llm.input_messages.2.message.tool_calls.0.tool_call.function.arguments": '{"city":"Paris"}',
    "llm.input_messages.3.message.role": "tool",
    "llm.input_messages.3.message.tool_call_id": "c1",
    "llm.input_messages.3.message.content": "rain",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": "It rains.",
    "input.value": text({"messages": []}),
    "output.value": "{}",
    "session.id": "s1",
    "user.id": "u1",
    "metadata": text({"plan": "pro"}),
    "tag.tags": ["a", "b"],
}

# Until 2024; its JavaScript packages for longer.
OLD_TRACELOOP = {
    **{
        name.replace("gen_ai.prompt.", "llm.prompts.").replace("gen_ai.completion.", "llm.completions."): value
        for name, value in TRACELOOP.items()
        if not name.startswith(("gen_ai.request", "gen_ai.response", "gen_ai.usage.p", "gen_ai.usage.comp", "gen_ai.system"))
    },
    "llm.vendor": "openai",
    "llm.request.model": "gpt-4.1-nano",
    "llm.response.model": "gpt-4.1-nano-2025-04-14",
    "llm.usage.prompt_tokens": 100,
    "llm.usage.completion_tokens": 10,
}

TOLD = {
    "traceloop": of(TRACELOOP),
    "traceloop, at first": of(OLD_TRACELOOP),
    "1.28, messages as events": of(WITH_EVENTS, events=EVENTS),
    "1.37, messages as values": of({**PROVIDER, **MESSAGES}),
    "1.37, messages as JSON": of({**PROVIDER, **{name: text(value) for name, value in MESSAGES.items()}}),
    "1.37, messages on the event": of(PROVIDER, events=DETAILS),
    "unreleased": of(NEWEST),
    "OpenInference": of(OPENINFERENCE),
}


@pytest.fixture(params=TOLD)
def told(request: pytest.FixtureRequest) -> Told:
    return TOLD[request.param]


def without_nulls(messages: list[Any] | None) -> list[Any]:
    """Some vocabularies cannot say that a content is null; the place of a finish reason differs."""
    return [{name: value for name, value in message.items() if value is not None and name != "finish_reason"} for message in messages or []]


def test_every_vocabulary_comes_to_the_same_conversation(told: Told) -> None:
    assert without_nulls(told.said.prompt_messages) == without_nulls(ASKED)
    assert without_nulls(told.said.completion_messages) == ANSWERED
    assert told.said.input is not None
    assert told.row.has_tool_calls is False


def test_every_vocabulary_comes_to_the_same_model_tokens_and_provider(told: Told) -> None:
    row = told.row
    assert (row.model, row.provider_id) == ("gpt-4.1-nano-2025-04-14", "openai")
    assert (row.prompt_tokens, row.completion_tokens, row.total_request_tokens) == (100, 10, 110)
    assert row.prompt_cache_hit_tokens == 40
    assert told.claim.is_generation


def test_every_vocabulary_comes_to_the_same_cost(told: Told) -> None:
    if told is TOLD["unreleased"]:  # tells that 20 of the tokens were written to the cache, which costs here what input costs
        assert told.row.prompt_cache_creation_tokens == 20
    assert told.row.cost == 60 * 100 + 40 * 25 + 10 * 400


def test_openinference_tells_parameters_session_user_metadata_and_tags() -> None:
    row = TOLD["OpenInference"].row
    assert (row.log_type, row.temperature, row.max_tokens) == ("generation", 0.5, 50)
    assert (row.session_identifier, row.customer_identifier) == ("s1", "u1")
    assert row.metadata == {"plan": "pro", "tag.tags": ["a", "b"]}


@pytest.mark.parametrize(
    ("kind", "log_type"),
    [
        ("LLM", "generation"),
        ("CHAIN", "task"),
        ("TOOL", "tool"),
        ("AGENT", "agent"),
        ("EMBEDDING", "embedding"),
        ("RETRIEVER", "task"),
        ("RERANKER", "task"),
        ("GUARDRAIL", "guardrail"),
        ("EVALUATOR", "score"),
        ("PROMPT", "prompt"),
        ("new", "span"),
    ],
)
def test_openinference_kinds_have_a_type(kind: str, log_type: str) -> None:
    assert of({"openinference.span.kind": kind}).row.log_type == log_type


@pytest.mark.parametrize(
    ("operation", "log_type"),
    [
        ("chat", "chat"),
        ("generate_content", "chat"),
        ("text_completion", "completion"),
        ("embeddings", "embedding"),
        ("execute_tool", "tool"),
        ("invoke_agent", "agent"),
        ("create_agent", "agent"),
        ("invoke_workflow", "workflow"),
        ("retrieval", "task"),
    ],
)
def test_operations_have_a_type(operation: str, log_type: str) -> None:
    assert of({"gen_ai.operation.name": operation}).row.log_type == log_type


def test_the_type_that_respan_was_told_stands_above_the_request_that_above_the_kind() -> None:
    kinds = {"traceloop.span.kind": "task"}
    assert of(kinds).row.log_type == "task"
    assert of({**kinds, "llm.request.type": "chat"}).row.log_type == "chat"
    assert of({**kinds, "llm.request.type": "chat", "respan.entity.log_type": "embedding"}).row.log_type == "embedding"


def test_a_span_that_says_nothing_of_itself_is_a_span() -> None:
    told = of({}, name="GET /", kind=3)
    assert (told.row.log_type, told.row.status, told.row.status_code, told.row.cost) == ("span", "success", 200, None)
    assert not told.claim.is_generation


def test_the_vercel_sdks_inner_span_is_the_call_and_the_outer_one_is_not() -> None:
    outer = of({"ai.operationId": "ai.generateText", "ai.model.id": "gpt-4.1-nano", "ai.usage.promptTokens": 9})
    inner = of(
        {
            "ai.operationId": "ai.generateText.doGenerate",
            "gen_ai.system": "openai.chat",
            "gen_ai.request.model": "gpt-4.1-nano",
            "gen_ai.usage.input_tokens": 9,
            "gen_ai.usage.output_tokens": 1,
            "gen_ai.response.finish_reasons": ["tool-calls"],
            "ai.prompt.messages": text([{"role": "user", "content": [{"type": "text", "text": "hi"}]}]),
            "ai.response.toolCalls": text([{"toolCallId": "c1", "toolName": "weather", "args": '{"city":"Paris"}'}]),
            "ai.telemetry.metadata.plan": "pro",
        }
    )
    assert (outer.row.log_type, outer.claim.is_generation) == ("task", False)
    assert (inner.row.log_type, inner.row.prompt_tokens, inner.row.finish_reason) == ("chat", 9, "tool_calls")
    assert inner.row.cost == 9 * 100 + 400
    assert inner.said.completion_messages == [{"role": "assistant", "content": None, "tool_calls": [CALL]}]
    assert inner.row.metadata == {"plan": "pro"}


def test_the_vercel_sdks_first_chunk_tools_and_details_of_usage_are_in_their_columns() -> None:
    told = of(
        {
            "ai.operationId": "ai.streamText.doStream",
            "gen_ai.request.model": "gpt-4.1-nano",
            "gen_ai.usage.input_tokens": 9,
            "gen_ai.usage.output_tokens": 4,
            "ai.usage.cachedInputTokens": 5,
            "ai.usage.reasoningTokens": 2,
            "ai.response.msToFirstChunk": 250.5,
            "ai.prompt.tools": [text({"type": "function", "name": "weather", "parameters": {}})],
        }
    )
    assert told.row.time_to_first_token == 0.2505
    assert (told.row.prompt_cache_hit_tokens, told.row.reasoning_tokens) == (5, 2)
    assert told.said.tools == [{"type": "function", "name": "weather", "parameters": {}}]


def test_tools_that_openinference_numbers_are_tools() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("weather", "news")]
    told = of({f"llm.tools.{place}.tool.json_schema": text(tool) for place, tool in enumerate(tools)} | {"openinference.span.kind": "LLM"})
    assert told.said.tools == tools
    assert told.row.metadata is None


@pytest.mark.parametrize("name", ["cost", "llm.cost.total", "gen_ai.usage.cost", "operation.cost"])
def test_what_the_app_says_it_cost_counts(name: str) -> None:
    row = of({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4.1-nano", name: 0.25}).row
    assert (row.cost, row.cost_source) == (250_000_000, "span")


@pytest.mark.parametrize("nothing", ["[]", "{}", "null", ""])
def test_an_empty_input_or_output_is_no_message(nothing: str) -> None:
    """Results of a batch that failed have both."""
    told = of({"llm.request.type": "chat", "traceloop.entity.input": nothing, "traceloop.entity.output": nothing})
    assert told.said.prompt_messages is told.said.completion_messages is told.row.has_tool_calls is None


@pytest.mark.parametrize(
    ("output", "thoughts", "total", "counted"),
    [
        (5, 700, 715, 705),  # Google's count of its answer, its thoughts beside it
        (5, 700, None, 705),
        (50, 7, 67, 57),
        (50, 7, 60, 50),  # the conventions': the thoughts are a part
        (50, 7, None, 50),
        (50, 0, 60, 50),
    ],
)
def test_tokens_of_thoughts_are_among_those_of_the_answer(output: int, thoughts: int, total: int | None, counted: int) -> None:
    said = {"gen_ai.operation.name": "generate_content", "gen_ai.provider.name": "gcp.gemini", "gen_ai.request.model": "gemini-2.5-flash"}
    usage = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": output, "gen_ai.usage.reasoning.output_tokens": thoughts}
    row = of(said | usage | ({"gen_ai.usage.total_tokens": total} if total else {})).row
    assert (row.completion_tokens, row.reasoning_tokens, row.total_request_tokens) == (counted, thoughts, 10 + counted)
    assert row.cost == 10 * 300 + counted * 2500


def test_a_generation_has_its_pace_of_a_stream_from_the_first_words_on() -> None:
    said = {"llm.request.type": "chat", "gen_ai.usage.output_tokens": 60}
    first = {"gen_ai.response.time_to_first_chunk": 0.4, "gen_ai.is_streaming": True}
    assert of(said).row.tokens_per_second == pytest.approx(60)  # the span takes a second
    assert of(said | first).row.tokens_per_second == pytest.approx(100)
    assert of(said | first | {"gen_ai.response.time_to_first_chunk": 7.0}).row.tokens_per_second == pytest.approx(60)
    assert of(said, end_ns=1_700_000_000_000_000_000).row.tokens_per_second is None
    assert of(said | {"llm.request.type": "embedding"}).row.tokens_per_second is None
    assert of(said, status=2).row.tokens_per_second is None


# Parts of messages.


def test_parts_that_chat_has_words_for_are_said_in_them_and_others_stay() -> None:
    parts = [
        {"type": "text", "content": "see"},
        {"type": "uri", "modality": "image", "uri": "https://host/a.png"},
        {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "QQ=="},
        {"type": "file", "modality": "image", "file_id": "f1"},
        {"type": "of_tomorrow", "x": 1},
    ]
    told = of({"gen_ai.operation.name": "chat", "gen_ai.input.messages": [{"role": "user", "parts": parts}]})
    assert told.said.prompt_messages == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": "https://host/a.png"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}},
                {"type": "file", "file": {"file_id": "f1"}},
                {"type": "of_tomorrow", "x": 1},
            ],
        }
    ]


def test_thoughts_and_calls_of_an_answer_stand_beside_its_content() -> None:
    parts = [
        {"type": "reasoning", "content": "Hm."},
        {"type": "text", "content": "Let me look."},
        {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Paris"}},
    ]
    output = [{"role": "assistant", "parts": parts, "finish_reason": "tool_call"}]
    told = of({"gen_ai.operation.name": "chat", "gen_ai.output.messages": output})
    assert told.said.completion_messages == [
        {"role": "assistant", "content": "Let me look.", "reasoning_content": "Hm.", "tool_calls": [CALL], "finish_reason": "tool_call"}
    ]
    assert told.said.tool_calls == [CALL]
    assert (told.row.has_tool_calls, told.row.finish_reason) == (True, "tool_calls")


def test_anthropics_blocks_are_folded_into_one_answer() -> None:
    blocks = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Paris"}},
    ]
    told = of({"llm.request.type": "chat", "traceloop.entity.output": text(blocks)})
    assert told.said.completion_messages == [
        {"role": "assistant", "content": "Let me look.", "reasoning_content": "Hm.", "tool_calls": [CALL]}
    ]


def test_a_tool_spans_arguments_and_result_are_its_input_and_output() -> None:
    told = of(
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "weather",
            "gen_ai.tool.call.arguments": {"city": "Paris"},
            "gen_ai.tool.call.result": "rain",
        }
    )
    assert (told.row.entity_name, told.said.input, told.said.output) == ("weather", '{"city":"Paris"}', "rain")


def test_numbered_functions_are_a_list_of_tools() -> None:
    told = of(
        {
            "llm.request.functions.0.name": "weather",
            "llm.request.functions.0.description": "d",
            "llm.request.functions.0.parameters": '{"type":"object"}',
        }
    )
    assert told.said.tools == [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}}}]


# Tokens and money.


def test_tokens_of_the_cache_are_added_where_the_instrumentation_left_them_out() -> None:
    usage = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.cache_read_input_tokens": 4, "gen_ai.usage.cache_creation_input_tokens": 2}
    left_out = of(usage, source=Source({}, "respan_instrumentation_anthropic._instrumentation"))
    included = of(usage, source=Source({}, "opentelemetry.instrumentation.anthropic"))
    assert (left_out.row.prompt_tokens, included.row.prompt_tokens) == (16, 10)


def test_more_tokens_from_the_cache_than_in_all_cannot_have_been_included() -> None:
    assert of({"gen_ai.usage.input_tokens": 10, "gen_ai.usage.cache_read_input_tokens": 4000}).row.prompt_tokens == 4010


def test_a_cost_that_the_span_tells_counts_above_the_table() -> None:
    row = of({**TRACELOOP, "llm.cost.total": 0.25}).row
    assert (row.cost, row.cost_source) == (250_000_000, "span")


def test_a_model_that_no_table_knows_has_no_cost() -> None:
    row = of({**TRACELOOP, "gen_ai.request.model": "m", "gen_ai.response.model": "m"}).row
    assert (row.prompt_tokens, row.cost, row.cost_source) == (100, None, None)


@pytest.mark.parametrize("provider", ["OpenAI", "openai.responses", "Langchain", "litellm"])
def test_a_framework_that_names_itself_as_the_provider_is_priced_by_the_models_family(provider: str) -> None:
    assert of({**TRACELOOP, "gen_ai.system": provider}).row.cost == TOLD["traceloop"].row.cost


def test_a_provider_that_has_no_such_model_has_no_price_for_it() -> None:
    assert of({**TRACELOOP, "gen_ai.system": "groq"}).row.cost is None


def test_only_calls_of_models_cost_something() -> None:
    assert of({**TRACELOOP, "respan.entity.log_type": "workflow", "cost": 1}).row.cost is None


def test_a_model_under_an_unknown_name_is_priced_by_the_one_that_was_asked_for() -> None:
    assert of({**TRACELOOP, "gen_ai.response.model": "my-deployment"}).row.cost == TOLD["traceloop"].row.cost


# Time, status, environment.


@pytest.mark.parametrize(
    ("start_ns", "end_ns", "expected"),
    [
        (2_000_000_000, 3_500_000_000, (2.0, 3.5, 1.5)),
        (3_000_000_000, 2_000_000_000, (2.0, 2.0, 0.0)),
        (2_000_000_000, 0, (2.0, 2.0, 0.0)),
        (0, 2_000_000_000, (2.0, 2.0, 0.0)),
        (0, 0, (None, None, None)),
    ],
)
def test_times_that_cannot_be_are_moments(start_ns: int, end_ns: int, expected: tuple[float | None, ...]) -> None:
    row = of({}, start_ns=start_ns, end_ns=end_ns).row
    assert (row.start_time, row.timestamp, row.latency) == expected


@pytest.mark.parametrize(
    ("attributes", "more", "expected"),
    [
        ({}, {"status": 2}, ("failed", 500)),
        ({}, {"status": 2, "status_message": "HTTP 400"}, ("failed", 400)),
        ({}, {"status": 2, "status_message": "Error code: 429 - slow down"}, ("failed", 429)),
        ({"status_code": 429}, {"status": 2}, ("failed", 429)),
        ({"http.response.status_code": 503}, {}, ("failed", 503)),
        ({"http.response.status_code": 201}, {"status": 1}, ("success", 201)),
        ({}, {"status_message": "HTTP 400"}, ("success", 200)),
    ],
)
def test_status_is_what_the_attributes_say_else_what_the_status_says(attributes: Any, more: Any, expected: tuple[str, int]) -> None:
    row = of(attributes, **more).row
    assert (row.status, row.status_code) == expected


def test_a_handled_exception_is_no_failure() -> None:
    row = of({}, events=[Event("exception", 1, {"exception.type": "E", "exception.message": "m"})]).row
    assert (row.status, row.error_message, row.error_code) == ("success", None, None)


def test_the_keys_environment_stands_and_the_spans_own_is_its_tag() -> None:
    attributes = {"respan.environment": "staging"}
    with_key = tell(span(attributes), Caller(key_id="k", environment="prod")).row
    without = of(attributes).row
    assert (with_key.environment, with_key.environment_tag) == ("prod", "staging")
    assert (without.environment, without.environment_tag) == ("staging", "staging")


def test_a_resources_deployment_is_an_environment_too() -> None:
    row = of({}, source=Source({"deployment.environment.name": "staging", "service.name": "app"})).row
    assert (row.environment_tag, row.service_name) == ("staging", "app")
