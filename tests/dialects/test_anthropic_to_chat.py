"""What an Anthropic client says to chat servers, beyond the vectors: each test a claim of what arrives."""

from __future__ import annotations

from typing import Any

import pytest

from respan_proxy.dialects.profiles import profile_of
from respan_proxy.dialects.request import Profile
from respan_proxy.errors import RequestRejected, Untranslatable
from tests.dialects.crossing import crossed, to_chat

TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {}}}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def use(id: str, name: str = "f") -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": {}}


def result(id: str, content: Any = "r", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


IMAGE = {"type": "image", "source": {"type": "url", "url": "https://a.test/x.png"}}


# ------------------------------------------------------------------------------------------------------------ real agents


def claude_code() -> dict[str, Any]:
    """The shape of what Claude Code sends."""
    return {
        "max_tokens": 32000,
        "stream": True,
        "system": [text("You are a CLI."), {**text("Rules."), "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "medium"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": "user_" + "a" * 64 + "_account__session_" + "b" * 36},
        "tools": [{**TOOL, "name": "Read"}, {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}],
        "messages": [
            user({**text("hi"), "cache_control": {"type": "ephemeral"}}),
            assistant({"type": "thinking", "thinking": "hm", "signature": "S"}, use("toolu_1", "Read")),
            user(result("toolu_1", [text("1"), {"type": "tool_reference", "tool_name": "Edit"}])),
        ],
    }


def test_claude_code_drives_gpt() -> None:
    told = to_chat(profile_of("openai", "gpt-5"), **claude_code())
    assert told.body == {
        "model": "gpt-5",
        "messages": [
            {"role": "system", "content": [text("You are a CLI."), text("Rules.")]},
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "toolu_1", "type": "function", "function": {"name": "Read", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "toolu_1", "content": "1\nEdit"},
        ],
        "tools": [{"type": "function", "function": {"name": "Read", "parameters": {"type": "object", "properties": {}}}}],
        "reasoning_effort": "medium",
        "max_completion_tokens": 32000,
        "safety_identifier": told.body["safety_identifier"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert len(told.body["safety_identifier"]) == 64
    assert told.notices == ["context_management:dropped", "messages.reasoning:dropped", "tools.web_search:dropped"]


@pytest.mark.parametrize(
    ("provider", "model", "lacks"),
    [
        ("openai", "gpt-4o", {"reasoning_effort", "verbosity"}),
        ("mistral", "mistral-large-latest", {"stream_options", "user", "safety_identifier", "reasoning_effort", "max_completion_tokens"}),
        ("deepseek", "deepseek-chat", {"user", "max_completion_tokens", "safety_identifier"}),
        ("groq", "llama-3.3-70b-versatile", {"reasoning_effort", "safety_identifier", "max_tokens"}),
        ("ollama", "qwen3", {"max_completion_tokens", "safety_identifier"}),
    ],
)
def test_claude_code_drives_everyone(provider: str, model: str, lacks: set[str]) -> None:
    told = to_chat(profile_of(provider, model), **claude_code())
    assert told.body.keys() & lacks == set()
    assert [message["role"] for message in told.body["messages"]] == ["system", "user", "assistant", "tool"]


def test_mistrals_ids_have_nine_letters() -> None:
    told = to_chat(profile_of("mistral", "mistral-large-latest"), **claude_code())
    id = told.body["messages"][2]["tool_calls"][0]["id"]
    assert len(id) == 9
    assert id.isalnum()
    assert told.body["messages"][3]["tool_call_id"] == id


def test_openrouter_is_passed_marks_and_signatures() -> None:
    told = to_chat(profile_of("openrouter", "anthropic/claude-sonnet-4.5"), **claude_code())
    system, asked, answered = told.body["messages"][:3]
    assert system["content"][1]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert asked["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert answered["reasoning_details"] == [
        {"type": "reasoning.text", "text": "hm", "signature": "S", "format": "anthropic-claude-v1", "index": 0}
    ]
    assert "messages.reasoning:dropped" not in told.notices


def test_deepseek_gets_its_thinking_back_with_calls() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": ""}
    messages = [user(text("go")), assistant(thought, use("a")), user(result("a")), assistant(thought, text("so")), user(text("?"))]
    told = to_chat(profile_of("deepseek", "deepseek-reasoner"), messages=messages, tools=[TOOL])
    assert told.body["messages"][1]["reasoning_content"] == "hm"
    assert "reasoning_content" not in told.body["messages"][3]


# ---------------------------------------------------------------------------------------------------------------- messages


def test_all_results_come_before_the_pictures_they_brought() -> None:
    messages = [
        user(text("go")),
        assistant(use("a"), use("b")),
        user(result("a", [text("see"), IMAGE])),
        user(result("b", [IMAGE])),
    ]
    told = to_chat(messages=messages, tools=[TOOL])
    assert [message["role"] for message in told.body["messages"]] == ["user", "assistant", "tool", "tool", "user", "user"]
    assert told.body["messages"][4]["content"][0] == text("Attachments of tool result a:")
    assert told.body["messages"][3]["content"] == ""


def test_an_error_without_words_says_error() -> None:
    told = to_chat(messages=[user(text("go")), assistant(use("a")), user(result("a", [], is_error=True))], tools=[TOOL])
    assert told.body["messages"][2]["content"] == "Error"
    assert told.notices == ["messages.tool_result.is_error:dropped"]


def test_texts_around_a_search_are_one_answer() -> None:
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    told = to_chat(messages=[user(text("go")), assistant(text("It "), search, found, text("is.")), user(text("ok"))])
    assert told.body["messages"][1] == {"role": "assistant", "content": "It is."}
    assert told.notices == ["messages.web_search:dropped", "messages.web_search_tool_result:dropped"]


def test_a_history_of_hosted_calls_is_refused() -> None:
    ran = {"type": "server_tool_use", "id": "s", "name": "code_execution", "input": {}}
    with pytest.raises(Untranslatable, match="'code_execution'") as refused:
        to_chat(messages=[user(text("go")), assistant(ran)])
    assert refused.value.param == "messages[1].content"


def test_a_document_with_citations_is_carried_and_said_to_be_uncited() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "x"}
    document = {"type": "document", "title": "T", "context": "C", "citations": {"enabled": True}, "source": source}
    told = to_chat(messages=[user(document)])
    assert told.body["messages"][0]["content"] == "T\nx"
    assert told.notices == ["messages.document.context:dropped", "messages.document.citations:dropped"]


def test_a_document_by_url_is_refused() -> None:
    with pytest.raises(Untranslatable, match="by URL"):
        to_chat(messages=[user({"type": "document", "source": {"type": "url", "url": "https://a.test/x.pdf"}})])


def test_a_file_of_anthropics_is_refused() -> None:
    with pytest.raises(Untranslatable, match="uploaded to another provider"):
        to_chat(messages=[user({"type": "image", "source": {"type": "file", "file_id": "f"}})])


def test_a_result_may_not_hold_calls() -> None:
    with pytest.raises(RequestRejected) as refused:
        to_chat(messages=[user(result("a", [use("b")]))])
    assert refused.value.param == "messages[0].content[0].content"


# ------------------------------------------------------------------------------------------------------------------- tools


CODE = {"type": "code_execution_20250825", "name": "code_execution"}


def test_a_hosted_tool_beside_functions_is_dropped_and_said() -> None:
    told = to_chat(tools=[TOOL, CODE])
    assert [tool["function"]["name"] for tool in told.body["tools"]] == ["f"]
    assert told.notices == ["tools.code_execution_20250825:dropped"]


def test_a_hosted_tool_that_must_be_used_is_refused() -> None:
    with pytest.raises(Untranslatable, match="only available on Anthropic models"):
        to_chat(tools=[TOOL, CODE], tool_choice={"type": "tool", "name": "code_execution"})


def test_a_search_where_there_is_none_counts_as_hosted() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    told = to_chat(profile_of("openai", "gpt-4.1"), tools=[TOOL, search])
    assert told.notices == ["tools.web_search:dropped"]
    with pytest.raises(Untranslatable):
        to_chat(profile_of("openai", "gpt-4.1"), tools=[search])


def test_a_search_keeps_what_both_know() -> None:
    place = {"type": "approximate", "city": "Bern"}
    told = to_chat(tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 2, "user_location": place}])
    assert told.body["web_search_options"] == {"user_location": {"type": "approximate", "approximate": {"city": "Bern"}}}
    assert told.notices == ["web_search.max_uses:dropped"]


def test_strictness_crosses_only_with_a_schema_that_openai_takes() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    loose = {"name": "f", "strict": True, "input_schema": schema}
    closed = {**loose, "input_schema": {**schema, "required": ["a"], "additionalProperties": False}}
    told = to_chat(tools=[loose])
    assert "strict" not in told.body["tools"][0]["function"]
    assert told.notices == ["tools.strict:dropped"]
    assert to_chat(tools=[closed]).body["tools"][0]["function"]["strict"] is True


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_the_choice_of_tools_crosses(choice: dict[str, Any], written: Any) -> None:
    told = to_chat(tools=[TOOL], tool_choice={**choice, **({"disable_parallel_tool_use": True} if choice["type"] != "none" else {})})
    assert told.body["tool_choice"] == written
    assert told.body.get("parallel_tool_calls") is (None if choice["type"] == "none" else False)


def test_where_none_cannot_be_said_there_are_no_tools() -> None:
    told = to_chat(Profile(refuses=frozenset(("tool_choice.none",))), tools=[TOOL], tool_choice={"type": "none"})
    assert told.body.keys() & {"tools", "tool_choice"} == set()


# ----------------------------------------------------------------------------------------------------- limits and thinking


def test_reasoning_models_get_neither_sampling_nor_stop() -> None:
    told = to_chat(profile_of("openai", "o3"), temperature=0.5, top_p=0.9, stop_sequences=["X"], system="S")
    assert told.body.keys() == {"model", "messages", "max_completion_tokens"}
    assert told.body["messages"][0] == {"role": "system", "content": "S"}
    assert told.notices == ["stop:dropped", "temperature:dropped", "top_p:dropped"]


def test_a_request_that_only_warms_the_cache_asks_for_one_token() -> None:
    told = to_chat(max_tokens=0)
    assert (told.body["max_completion_tokens"], told.notices) == (1, ["max_tokens:raised_to_1"])


def test_more_stops_than_openai_takes_are_cut() -> None:
    told = to_chat(stop_sequences=list("abcde"))
    assert (told.body["stop"], told.notices) == (list("abcd"), ["stop:truncated"])


def test_thinking_switched_off_is_nothing_to_models_that_never_think() -> None:
    told = to_chat(profile_of("openai", "gpt-4.1"), thinking={"type": "disabled"})
    assert "reasoning_effort" not in told.body
    assert told.notices == []


def test_functions_come_before_an_effort_where_only_one_is_taken() -> None:
    told = to_chat(profile_of("openai", "gpt-5.6-luna"), tools=[TOOL], thinking={"type": "enabled", "budget_tokens": 4000})
    assert told.body["reasoning_effort"] == "none"
    assert told.notices == ["reasoning:dropped_with_tools"]


def test_a_schema_where_there_are_none_is_told_in_words() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    told = to_chat(profile_of("deepseek", "deepseek-chat"), output_config={"format": {"type": "json_schema", "schema": schema}}, system="S")
    assert told.body["response_format"] == {"type": "json_object"}
    assert [message["role"] for message in told.body["messages"]] == ["system", "system", "user"]
    assert '"properties"' in told.body["messages"][1]["content"]
    assert told.notices == ["response_format:json_object"]


@pytest.mark.parametrize("member", ["container", "mcp_servers", "thread"])
def test_state_and_tools_on_anthropics_side_are_refused(member: str) -> None:
    with pytest.raises(Untranslatable) as refused:
        to_chat(**{member: [{"name": "x"}] if member == "mcp_servers" else "x"})
    assert refused.value.param == member


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "odour"}]}]}, "messages[0].content[0].type"),
        ({"messages": [user({"type": "image", "source": {"type": "scan"}})]}, "messages[0].content[0].source.type"),
        ({"messages": [assistant({"type": "tool_use", "id": "a", "name": "f", "input": "x"})]}, "messages[0].content[0].input"),
        ({"system": 5}, "system"),
        ({"thinking": {"type": "hard"}}, "thinking.type"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
    ],
)
def test_what_is_of_the_wrong_type_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestRejected, match="expected") as refused:
        to_chat(**members)
    assert refused.value.param == param


def test_a_request_written_for_its_own_dialect_says_the_same() -> None:
    body = {"model": "m", **claude_code()}
    told = crossed("anthropic.messages", "anthropic.messages", body)
    assert told.notices == []
    assert told.body["context_management"] == body["context_management"]
    assert told.body["messages"][1] == body["messages"][1]
    assert told.body["system"] == body["system"]
