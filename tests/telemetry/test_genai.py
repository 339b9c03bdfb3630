"""What collectors are told of a row: GenAI's names, the app's own span where there is one, and no word of the conversation unasked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.config.exports import PassedContent, Vocabulary
from respan_proxy.exchange import Caller
from respan_proxy.respan.spans import NANO, Row
from respan_proxy.telemetry import genai
from respan_proxy.telemetry.attributes import FACTS
from respan_proxy.telemetry.genai import span_of
from respan_proxy.telemetry.genai_messages import input_messages, output_messages, tool_definitions
from respan_proxy.telemetry.quoting import may_quote
from respan_proxy.telemetry.spans import MARK, Event, Remembered, Said, Source, Span, has_passed
from respan_proxy.telemetry.vocabularies import tell

TRACE, SPAN, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"


def call(**columns: Any) -> Row:
    """A call of the gateway, as its row has it."""
    return Row(
        **{
            "unique_id": TRACE,
            "trace_unique_id": TRACE,
            "span_unique_id": TRACE[16:],
            "span_name": "chat.completions",
            "endpoint": "chat.completions",
            "dialect": "openai.chat",
            "start_time": 1_700_000_000.0,
            "timestamp": 1_700_000_002.5,
            "log_type": "chat",
            "log_method": "inference",
            "status": "success",
            "status_code": 200,
            "model": "gpt-4o-2024-11-20",
            "request_model": "gpt-4o",
            "provider_id": "openai",
            "response_id": "chatcmpl-1",
            "finish_reason": "stop",
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "prompt_cache_hit_tokens": 60,
            "reasoning_tokens": 5,
            "cost": NANO // 1000,
            **columns,
        }
    )


def passed(
    row: Row,
    content: PassedContent = "none",
    vocabulary: Vocabulary = "latest",
    *,
    said: Said | None = None,
    raw: dict[str, Any] | None = None,
    parent_id: str | None = None,
) -> Span:
    return span_of(Remembered(row, said, raw, parent_id), content=content, vocabulary=vocabulary, resource={}, mark="me")


TALK = Said(
    prompt_messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
    completion_messages=[{"role": "assistant", "content": "Hello."}],
    tools=[{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
)


def test_a_call_is_a_client_span_in_the_names_of_the_conventions() -> None:
    span = passed(call(thread_identifier="t1", customer_identifier="c1", stream=True, time_to_first_token=0.25, temperature=0.5))
    assert (span.name, span.kind, span.status, span.parent_id) == ("chat gpt-4o", 3, 0, None)
    assert (span.trace_id, span.span_id) == (TRACE, TRACE[16:])
    assert span.end_ns - span.start_ns == 2_500_000_000
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.model": "gpt-4o-2024-11-20",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "gen_ai.usage.cost": 0.001,
        "gen_ai.conversation.id": "t1",
        "respan.customer_params.customer_identifier": "c1",
        "user.id": "c1",
    }
    assert expected.items() <= span.attributes.items()
    assert span.source.resource == {"service.name": "respan-proxy", MARK: "me"}


@pytest.mark.parametrize(
    ("provider", "name"),
    [("gemini", "gcp.gemini"), ("azure_openai", "azure.ai.openai"), ("anthropic", "anthropic"), ("my_vllm", "my_vllm")],
)
def test_providers_have_the_names_of_the_conventions(provider: str, name: str) -> None:
    assert passed(call(provider_id=provider)).attributes["gen_ai.provider.name"] == name


def test_older_names_stand_beside_the_newer_ones_where_they_are_asked_for() -> None:
    legacy = {"gen_ai.system": "openai", "gen_ai.usage.prompt_tokens": 100, "gen_ai.usage.completion_tokens": 20}
    assert not legacy.keys() & passed(call()).attributes.keys()
    both = passed(call(), vocabulary="both").attributes
    assert legacy.items() <= both.items()
    assert both["gen_ai.usage.input_tokens"] == 100


def test_what_was_said_goes_only_where_it_was_asked_for() -> None:
    row = call(status="failed", status_code=400, error_code="invalid", error_message="you said hi", metadata={"run": "7"})
    quiet, full = passed(row, said=TALK), passed(row, "full", said=TALK)
    assert not {"gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.definitions"} & quiet.attributes.keys()
    assert "you said hi" not in repr(quiet)
    assert json.loads(full.attributes["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "hi"}]},
    ]
    assert json.loads(full.attributes["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Hello."}], "finish_reason": "stop"}
    ]
    assert json.loads(full.attributes["gen_ai.tool.definitions"]) == [
        {"type": "function", "name": "look", "parameters": {"type": "object"}}
    ]
    assert full.status_message == "you said hi"
    for span in (quiet, full):
        assert (span.status, span.attributes["error.type"]) == (2, "invalid")
        assert json.loads(span.attributes["respan.metadata"]) == {"run": "7"}
        assert [(event.name, event.attributes["exception.type"]) for event in span.events] == [("exception", "invalid")]


def test_instructions_that_stand_outside_a_conversation_stand_outside_here_too() -> None:
    said = passed(call(dialect="anthropic.messages"), "full", said=TALK).attributes
    assert json.loads(said["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    assert [message["role"] for message in json.loads(said["gen_ai.input.messages"])] == ["user"]


def app_span(**members: Any) -> Span:
    return Span(
        **{
            "trace_id": TRACE,
            "span_id": SPAN,
            "parent_id": PARENT,
            "name": "llm.gpt-4o",
            "kind": 1,
            "start_ns": 1_700_000_000_000_000_001,
            "end_ns": 1_700_000_003_000_000_000,
            "attributes": {},
            "source": Source({"service.name": "my app"}, "respan.tracer", "2.24"),
            **members,
        }
    )


def test_a_span_of_an_app_stays_itself_with_the_newer_names_beside_its_own() -> None:
    span = app_span(
        name="tool.look",
        attributes={"traceloop.span.kind": "tool", "traceloop.entity.input": '{"q": 1}', "my.number": 7, "my.tags": ["a"]},
        events=[Event("exception", 5, {"exception.type": "KeyError", "exception.message": "'q'", "exception.stacktrace": "..."})],
        status=2,
        status_message="KeyError: 'q'",
    )
    told = tell(span, Caller())
    full, quiet = (passed(told.row, content, said=told.said, raw=told.raw) for content in ("full", "none"))
    for out in (full, quiet):
        assert (out.trace_id, out.span_id, out.parent_id, out.name, out.kind) == (TRACE, SPAN, PARENT, "tool.look", 1)
        assert (out.start_ns, out.end_ns, out.status) == (span.start_ns, span.end_ns, 2)
        assert out.source.resource == {"service.name": "my app", MARK: "me"}
        assert (out.source.scope_name, out.source.scope_version) == ("respan.tracer", "2.24")
        assert {"my.number": 7, "my.tags": ["a"], "gen_ai.operation.name": "execute_tool"}.items() <= out.attributes.items()
        assert out.events[0].attributes["exception.type"] == "KeyError"
    assert span.attributes.items() <= full.attributes.items()
    assert (full.events[0].attributes["exception.message"], full.status_message) == ("'q'", "KeyError: 'q'")
    assert "traceloop.entity.input" not in quiet.attributes
    assert "'q'" not in repr(quiet)


def test_a_call_that_is_a_span_of_an_app_is_that_span_with_what_the_call_knows() -> None:
    span = app_span(attributes={"respan.gateway.log_id": TRACE, "llm.request.type": "chat", "gen_ai.request.model": "gpt-4o", "mine": "x"})
    row = call(span_unique_id=SPAN, span_parent_id=PARENT, span_name="llm.gpt-4o", metadata={"run": "7", "mine": "x"})
    out = passed(row, "full", said=TALK, raw=tell(span, Caller()).raw)
    assert (out.span_id, out.parent_id, out.name) == (SPAN, PARENT, "llm.gpt-4o")
    assert out.attributes["gen_ai.usage.input_tokens"] == 100
    assert "Hello." in out.attributes["gen_ai.output.messages"]
    assert out.attributes["mine"] == "x"
    assert json.loads(out.attributes["respan.metadata"]) == {"run": "7"}
    assert (out.start_ns, out.end_ns) == (1_700_000_000 * NANO, 1_700_000_002 * NANO + NANO // 2), "a call's own times are the server's"


def test_what_hangs_on_a_span_that_is_not_passed_on_hangs_on_the_call() -> None:
    told = tell(app_span(), Caller())
    assert passed(told.row, raw=told.raw, parent_id="1" * 16).parent_id == "1" * 16


def test_ids_that_people_made_up_become_ids() -> None:
    span = passed(call(trace_unique_id="my trace", span_unique_id="step 1", span_parent_id="step 0"))
    assert [len(span.trace_id), len(span.span_id), len(span.parent_id or "")] == [32, 16, 16]
    other = passed(call(unique_id="f" * 32, trace_unique_id="my trace", span_unique_id="step 0"))
    assert (other.trace_id, other.span_id) == (span.trace_id, span.parent_id)


@pytest.mark.parametrize(
    "name",
    [
        *("gen_ai.prompt.0.content", "gen_ai.completion.0.tool_calls.0.arguments", "gen_ai.input.messages", "gen_ai.system_instructions"),
        *("traceloop.entity.input", "traceloop.entity.output", "llm.input_messages.0.message.content", "input.value", "output.value"),
        *("llm.request.functions.0.description", "respan.span.tools", "respan.prompt", "exception.message", "exception.stacktrace"),
        *("error.message", "ai.prompt.messages", "ai.response.text", "langfuse.observation.input", "mlflow.spanInputs", "userPrompt"),
        *("ai.value", "ai.embeddings", "retrieval.chunks", "process.command_args", "function_call.argument", "chat.context"),
        *("final_result", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "db.query.text", "db.statement", "retrieval.documents"),
    ],
)
def test_names_of_what_was_said_are_known_whoever_says_them(name: str) -> None:
    assert may_quote(name)


@pytest.mark.parametrize(
    "name",
    [
        *("gen_ai.request.model", "gen_ai.response.model", "gen_ai.response.id", "gen_ai.provider.name", "traceloop.entity.name"),
        *("traceloop.span.kind", "respan.customer_params.customer_identifier", "respan.metadata", "session.id", "http.request.method"),
        *("openinference.span.kind", "gen_ai.conversation.id", "exception.type", "error.type", "my.own.tag"),
    ],
)
def test_names_of_other_things_are_not(name: str) -> None:
    assert not may_quote(name)


def test_no_process_and_no_depth_of_an_attribute_says_what_was_said() -> None:
    told = {"steps": [{"name": "look", "tool": {"input": "secret words", "turns": 2}}], "kind": {"output": "secret words", "model": "m"}}
    resource = {"process.command_args": ["agent", "secret words"], "service.name": "app"}
    told_of = tell(replace(app_span(attributes=told), source=Source(resource, "s", "", {"prompt": "secret words", "kept": True})), Caller())
    out = passed(told_of.row, "none", raw=told_of.raw)
    assert "secret words" not in repr(out)
    assert (out.attributes["steps"], out.attributes["kind"]) == ([{"name": "look", "tool": {"turns": 2}}], {"model": "m"})
    assert (out.source.resource["service.name"], out.source.scope_attributes) == ("app", {"kept": True})


def test_whoever_passes_a_span_on_adds_itself() -> None:
    told = tell(replace(app_span(), source=Source({MARK: "first"})), Caller())
    out = passed(told.row, raw=told.raw)
    assert has_passed(out.source.resource, "first")
    assert [has_passed({MARK: marks}, "a") for marks in ("a", "b a", "ab", 7, None)] == [True, True, False, False, False]


# messages, as the dialects say them


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"type": "text", "text": "hi"}, {"type": "text", "content": "hi"}),
        ({"type": "input_text", "text": "hi"}, {"type": "text", "content": "hi"}),
        ({"text": "hi"}, {"type": "text", "content": "hi"}),
        ({"text": "hm", "thought": True}, {"type": "reasoning", "content": "hm"}),
        ({"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "reasoning", "content": "hm"}),
        (
            {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
            {"type": "uri", "modality": "image", "mime_type": None, "uri": "https://a.example/b.png"},
        ),
        (
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "AAAA"},
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "AAAA"},
        ),
        (
            {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
            {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": "AAAA"},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            {"type": "blob", "modality": "audio", "mime_type": "audio/mp3", "content": "AAAA"},
        ),
        ({"fileData": {"fileUri": "gs://a/b"}}, {"type": "uri", "modality": "", "mime_type": None, "uri": "gs://a/b"}),
        (
            {"type": "file", "file": {"file_id": "f1"}},
            {"type": "file", "modality": "", "mime_type": None, "file_id": "f1"},
        ),
        (
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"q": 1}},
            {"type": "tool_call", "id": "c1", "name": "look", "arguments": {"q": 1}},
        ),
        ({"functionCall": {"name": "look", "args": {"q": 1}}}, {"type": "tool_call", "id": None, "name": "look", "arguments": {"q": 1}}),
        (
            {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "42"}]},
            {"type": "tool_call_response", "id": "c1", "response": "42"},
        ),
        (
            {"functionResponse": {"name": "look", "response": {"a": 42}}},
            {"type": "tool_call_response", "id": "look", "response": {"a": 42}},
        ),
        ({"type": "server_tool_use", "id": "s1", "name": "web"}, {"type": "server_tool_use", "id": "s1", "name": "web"}),
        (
            {"type": "tool_call", "id": "c1", "name": "look", "arguments": {}},
            {"type": "tool_call", "id": "c1", "name": "look", "arguments": {}},
        ),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
def test_parts_of_every_dialect_become_parts_of_the_conventions(part: dict[str, Any], told: dict[str, Any]) -> None:
    _, (message,) = input_messages([{"role": "user", "content": [part]}], instructions_apart=False)
    assert message == {"role": "user", "parts": [told]}


def test_a_turn_with_calls_in_chat() -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": '{"q": 1}'}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]
    _, told = input_messages(messages, instructions_apart=False)
    assert told == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "look", "arguments": {"q": 1}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "42"}]},
    ]


def test_items_of_responses() -> None:
    items = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"half'},
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "42."}]},
    ]
    _, told = input_messages(items, instructions_apart=True)
    assert told == [
        {"role": "assistant", "parts": [{"type": "reasoning", "content": "hm"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "look", "arguments": '{"half'}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "42"}]},
        {"role": "assistant", "parts": [{"type": "text", "content": "42."}]},
    ]


def test_contents_of_gemini() -> None:
    _, told = input_messages([{"role": "model", "parts": [{"text": "hi"}]}], instructions_apart=False)
    assert told == [{"role": "assistant", "parts": [{"type": "text", "content": "hi"}]}]


def test_an_answer_that_thinks_speaks_and_calls() -> None:
    message = {
        "role": "assistant",
        "content": "Let me look.",
        "reasoning_content": "hm",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
    }
    assert output_messages([message], "tool_calls") == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "hm"},
                {"type": "text", "content": "Let me look."},
                {"type": "tool_call", "id": "c1", "name": "look", "arguments": {}},
            ],
            "finish_reason": "tool_calls",
        }
    ]


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": {"name": "look", "description": "d", "parameters": {}}},
        {"type": "function", "name": "look", "description": "d", "parameters": {}},
        {"name": "look", "description": "d", "input_schema": {}},
        {"functionDeclarations": [{"name": "look", "description": "d", "parameters": {}}]},
    ],
)
def test_tools_of_every_dialect_have_one_form(tool: dict[str, Any]) -> None:
    assert tool_definitions([tool]) == [{"type": "function", "name": "look", "description": "d", "parameters": {}}]


MEMBERS = (
    *("role", "content", "parts", "type", "text", "tool_calls", "function", "name", "arguments", "source", "data", "input_audio"),
    *("image_url", "url", "file", "fileData", "functionCall", "functionResponse", "functionDeclarations", "summary", "output", "id"),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "text", "hi", "tool", "assistant", "function_call", "reasoning"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(anything, max_size=4))
def test_no_conversation_stops_a_span(said: list[Any]) -> None:
    row = call(dialect="openai.responses")
    span = passed(row, "full", said=Said(prompt_messages=said, completion_messages=said, tools=said))
    for name in ("gen_ai.input.messages", "gen_ai.output.messages"):
        for message in json.loads(span.attributes.get(name, "[]")):
            assert isinstance(message["role"], str)
            assert all(isinstance(part["type"], str) for part in message["parts"])


def test_what_is_passed_on_of_a_column_is_read_back_into_it() -> None:
    names = {fact.column: fact.names for fact in FACTS}
    assert [(name, column) for name, column in (*genai._OF_MODELS, *genai._OF_ALL) if name not in names[column]] == []
