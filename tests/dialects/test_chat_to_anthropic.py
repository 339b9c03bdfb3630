"""What an OpenAI client says to Claude, beyond the vectors: each test a claim of what arrives."""

from __future__ import annotations

from typing import Any

import pytest

from respan_proxy.dialects.request import Profile
from respan_proxy.errors import RequestRejected, Untranslatable
from tests.dialects.crossing import to_claude

PNG = "iVBORw0KGgo="
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
OTHER = {"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {}}}}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def called(*ids: str, content: Any = None, name: str = "f", **more: Any) -> dict[str, Any]:
    calls = [{"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}} for id in ids]
    return {"role": "assistant", "content": content, "tool_calls": calls, **more}


def result(id: str, content: Any = "r") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


# ---------------------------------------------------------------------------------------------------------------- messages


def test_empty_text_beside_calls_is_left_out() -> None:
    body = to_claude(messages=[user("go"), called("a", content=""), result("a")], tools=[TOOL]).body
    assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_use"]


@pytest.mark.parametrize("empty", ["", None, " \n", [], [{"type": "text", "text": ""}]])
def test_an_assistant_that_said_nothing_is_left_out_and_its_neighbours_join(empty: Any) -> None:
    body = to_claude(messages=[user("a"), {"role": "assistant", "content": empty}, user("b")]).body
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]


def test_nothing_but_system_messages_is_refused() -> None:
    with pytest.raises(Untranslatable, match="needs a user message") as refused:
        to_claude(messages=[{"role": "system", "content": "S"}])
    assert refused.value.param == "messages"


def test_a_system_message_in_mid_conversation_keeps_its_role_where_the_model_takes_it_and_its_place_always() -> None:
    messages = [user("1"), {"role": "system", "content": "S"}, {"role": "assistant", "content": "2"}, {"role": "system", "content": "T"}]
    told = to_claude(Profile(mid_system=True), messages=[*messages, user("3")])
    assert [(message["role"], message["content"]) for message in told.body["messages"]] == [
        ("user", "1"),
        ("system", "S"),
        ("assistant", "2"),
        ("user", [{"type": "text", "text": "T"}, {"type": "text", "text": "3"}]),  # not behind a user: it would be refused
    ]
    assert told.notices == ["messages.system:as_user"]


def test_the_beginning_of_an_answer_loses_its_trailing_space() -> None:
    assert to_claude(messages=[user("a"), {"role": "assistant", "content": "{ "}]).body["messages"][-1]["content"] == "{"


def test_cache_marks_arrive_whole_on_text_tools_and_system() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    told = to_claude(
        messages=[
            {"role": "system", "content": [{"type": "text", "text": "S", "cache_control": mark}]},
            user([{"type": "text", "text": "u", "cache_control": mark}]),
        ],
        tools=[{**TOOL, "cache_control": mark}],
    )
    assert told.body["system"][0]["cache_control"] == mark
    assert told.body["tools"][0]["cache_control"] == mark
    assert told.body["messages"][0]["content"][0]["cache_control"] == mark


def test_openais_cache_breakpoint_becomes_a_mark() -> None:
    part = {"type": "text", "text": "u", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}
    assert to_claude(messages=[user([part])]).body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}


def test_of_more_than_four_cache_marks_the_last_four_stay() -> None:
    parts = [{"type": "text", "text": str(index), "cache_control": {"type": "ephemeral"}} for index in range(6)]
    told = to_claude(messages=[user(parts)])
    assert ["cache_control" in block for block in told.body["messages"][0]["content"]] == [False] * 2 + [True] * 4
    assert told.notices == ["cache_control:dropped"]


def test_a_call_without_a_result_is_answered_as_interrupted() -> None:
    told = to_claude(messages=[user("go"), called("a", "b"), result("a"), user("never mind")], tools=[TOOL])
    content = told.body["messages"][2]["content"]
    assert [(block["type"], block.get("tool_use_id"), block.get("is_error")) for block in content] == [
        ("tool_result", "b", True),
        ("tool_result", "a", None),
        ("text", None, None),
    ]
    assert told.notices == ["messages.tool_result:synthesized"]


def test_legacy_function_messages_find_their_calls() -> None:
    told = to_claude(
        functions=[{"name": "f", "parameters": {"type": "object", "properties": {}}}],
        function_call={"name": "f"},
        messages=[
            user("go"),
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "r"},
        ],
    )
    use, answer = told.body["messages"][1]["content"][0], told.body["messages"][2]["content"][0]
    assert use["id"] == answer["tool_use_id"]
    assert told.body["tool_choice"] == {"type": "tool", "name": "f"}


def test_ids_that_claude_refuses_are_replaced_alike_in_call_and_result() -> None:
    body = to_claude(messages=[user("go"), called("fc:1/x"), result("fc:1/x")], tools=[TOOL]).body
    id = body["messages"][1]["content"][0]["id"]
    assert id.startswith("call_")
    assert body["messages"][2]["content"][0]["tool_use_id"] == id


def test_arguments_that_are_no_object_are_kept_as_they_are() -> None:
    message = called("a")
    message["tool_calls"][0]["function"]["arguments"] = '{"city": "R'
    body = to_claude(messages=[user("go"), message, result("a")], tools=[TOOL]).body
    assert body["messages"][1]["content"][0]["input"] == {"__raw_arguments": '{"city": "R'}


# ------------------------------------------------------------------------------------------------------------------- media


def test_a_mislabelled_image_goes_under_its_right_type() -> None:
    part = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PNG}"}}
    source = to_claude(messages=[user([part])]).body["messages"][0]["content"][0]["source"]
    assert source == {"type": "base64", "media_type": "image/png", "data": PNG}


def test_an_image_by_url_stays_one() -> None:
    part = {"type": "image_url", "image_url": {"url": "https://a.test/x.png", "detail": "low"}}
    body = to_claude(messages=[user([part])]).body
    assert body["messages"][0]["content"] == [{"type": "image", "source": {"type": "url", "url": "https://a.test/x.png"}}]


@pytest.mark.parametrize("url", ["ftp://a.test/x", "file:///etc/passwd", "x", "data:image/png;base64,%%%", "data:image/png;base64", ""])
def test_an_image_url_of_no_use_is_refused_by_name(url: str) -> None:
    with pytest.raises(RequestRejected) as refused:
        to_claude(messages=[user([{"type": "image_url", "image_url": {"url": url}}])])
    assert refused.value.param == "messages[0].content[0].image_url.url"


def test_an_image_of_a_kind_that_claude_does_not_read_is_refused() -> None:
    with pytest.raises(Untranslatable, match="image/bmp"):
        to_claude(messages=[user([{"type": "image_url", "image_url": {"url": "data:image/bmp;base64,Qk0="}}])])


def test_files_become_documents() -> None:
    pdf = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
    text = {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain,hello%20you"}}
    content = to_claude(messages=[user([pdf, text])]).body["messages"][0]["content"]
    assert content == [
        {"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}},
        {"type": "document", "title": "a.txt", "source": {"type": "text", "media_type": "text/plain", "data": "hello you"}},
    ]


def test_a_file_of_openais_is_refused() -> None:
    with pytest.raises(Untranslatable, match="uploaded to another provider"):
        to_claude(messages=[user([{"type": "file", "file": {"file_id": "file-1"}}])])


# ------------------------------------------------------------------------------------------------------------------- tools


def test_no_tools_may_be_said() -> None:
    assert to_claude(tools=[TOOL], tool_choice="none").body["tool_choice"] == {"type": "none"}


def test_one_call_at_a_time_is_asked_of_automatic_choice() -> None:
    body = to_claude(tools=[TOOL], parallel_tool_calls=False).body
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize(("mode", "kind"), [("auto", "auto"), ("required", "any")])
def test_allowed_tools_are_all_that_is_offered(mode: str, kind: str) -> None:
    named = [{"type": "function", "function": {"name": name}} for name in ("f", "h")]
    tools = [TOOL, OTHER, {"type": "function", "function": {"name": "h"}}]
    body = to_claude(tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": named}}).body
    assert [tool["name"] for tool in body["tools"]] == ["f", "h"]
    assert body["tool_choice"] == {"type": kind}


def test_allowing_tools_that_are_not_there_is_refused() -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "x"}}]}}
    with pytest.raises(RequestRejected, match="'x'") as refused:
        to_claude(tools=[TOOL], tool_choice=choice)
    assert refused.value.param == "tool_choice"


def test_a_strict_tool_has_claudes_schema() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"], "additionalProperties": False}
    body = to_claude(tools=[{"type": "function", "function": {"name": "f", "strict": True, "parameters": schema}}]).body
    assert body["tools"][0]["strict"] is True
    assert body["tools"][0]["input_schema"]["properties"]["n"] == {"type": "integer", "description": "{minimum: 1}"}


def test_web_search_goes_beside_functions() -> None:
    body = to_claude(tools=[TOOL], web_search_options={}).body
    assert [tool["name"] for tool in body["tools"]] == ["f", "web_search"]


# ------------------------------------------------------------------------------------------------------ output and thinking


SCHEMA = {"type": "json_schema", "json_schema": {"name": "p", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}}


def test_a_schema_stays_beside_an_effort() -> None:
    config = to_claude(response_format=SCHEMA, reasoning_effort="high").body["output_config"]
    assert config["effort"] == "high"
    assert config["format"]["type"] == "json_schema"


@pytest.mark.parametrize(("choice", "kind"), [("auto", "any"), (None, "any"), ("required", "any")])
def test_an_answer_by_tool_leaves_the_other_tools_their_chance(choice: str | None, kind: str) -> None:
    told = to_claude(Profile(structured=False), tools=[TOOL], tool_choice=choice, response_format=SCHEMA)
    assert [tool["name"] for tool in told.body["tools"]] == ["f", "json_tool_call"]
    assert told.body["tool_choice"] == {"type": kind}


def test_an_answer_by_tool_is_the_only_one_when_no_tool_may_be_called() -> None:
    told = to_claude(Profile(structured=False), tools=[TOOL], tool_choice="none", response_format=SCHEMA)
    assert [tool["name"] for tool in told.body["tools"]] == ["json_tool_call"]
    assert told.body["tool_choice"] == {"type": "tool", "name": "json_tool_call"}


def test_thinking_and_sampling_exclude_each_other() -> None:
    told = to_claude(reasoning_effort="low", temperature=0.3, top_k=5)
    assert told.body.keys() & {"temperature", "top_k"} == set()
    assert told.notices == ["temperature:dropped", "top_k:dropped"]


def test_minimal_effort_is_low_and_none_is_none() -> None:
    assert to_claude(reasoning_effort="minimal").body["output_config"] == {"effort": "low"}
    assert to_claude(reasoning_effort="none").body["thinking"] == {"type": "disabled"}


def test_an_effort_that_the_model_does_not_take_steps_down() -> None:
    told = to_claude(Profile(efforts=("low", "medium", "high", "max")), reasoning_effort="xhigh")
    assert told.body["output_config"] == {"effort": "high"}


def test_a_model_that_always_thinks_is_not_told_to_stop() -> None:
    always = Profile(thinking_default_on=True, refuses=frozenset(("thinking.disabled",)))
    told = to_claude(always, reasoning_effort="none")
    assert "thinking" not in told.body
    assert told.notices == ["reasoning:always_on"]


def test_a_model_that_always_thinks_cannot_be_made_to_call() -> None:
    always = Profile(thinking_default_on=True, refuses=frozenset(("thinking.disabled",)))
    told = to_claude(always, tools=[TOOL], tool_choice={"type": "function", "function": {"name": "f"}}, parallel_tool_calls=False)
    assert told.body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert told.notices == ["tool_choice:auto"]


def test_without_a_limit_a_budget_comes_on_top_of_the_answers_room() -> None:
    body = to_claude(Profile(thinking="budget", default_max_tokens=4096), reasoning_effort="medium").body
    assert body["max_tokens"] == 4096 + 8192
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 8192}


def test_manual_thinking_is_switched_off_inside_a_tool_loop_without_its_signature() -> None:
    told = to_claude(
        Profile(thinking="budget"),
        messages=[user("go"), called("a", reasoning_content="hm"), result("a")],
        tools=[TOOL],
        reasoning_effort="low",
    )
    assert "thinking" not in told.body
    assert told.notices == ["messages.reasoning:dropped", "reasoning:dropped_missing_signature"]


def test_thinking_that_litellms_clients_bring_back_is_claudes_own() -> None:
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "S"}, {"type": "redacted_thinking", "data": "D"}]
    body = to_claude(messages=[user("go"), called("a", thinking_blocks=blocks), result("a")], tools=[TOOL]).body
    assert body["messages"][1]["content"][:2] == blocks


def test_state_of_other_providers_never_reaches_claude() -> None:
    details = [{"type": "reasoning.text", "text": "t", "signature": "E", "format": "openai-responses-v1", "index": 0}]
    call = called("a", reasoning_details=details)
    call["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": "G"}}
    told = to_claude(messages=[user("go"), call, result("a")], tools=[TOOL])
    assert [block["type"] for block in told.body["messages"][1]["content"]] == ["tool_use"]
    assert told.notices == ["messages.reasoning:dropped"]


# ---------------------------------------------------------------------------------------------------------- limits and rest


def test_more_tokens_than_the_model_has_are_clamped() -> None:
    told = to_claude(Profile(max_tokens=8192), max_tokens=100_000)
    assert (told.body["max_tokens"], told.notices) == (8192, ["max_tokens:clamped"])


def test_an_address_is_no_user_id() -> None:
    told = to_claude(user="me@example.com")
    assert "metadata" not in told.body
    assert told.notices == ["user:dropped"]


def test_spoken_answers_are_refused() -> None:
    with pytest.raises(Untranslatable) as refused:
        to_claude(modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"})
    assert refused.value.param == "modalities"


def test_words_of_other_servers_are_no_reason_to_refuse() -> None:
    told = to_claude(service_tier="on_demand", reasoning_effort="default", min_p=0.1)
    assert told.body.keys() == {"model", "messages", "max_tokens"}
    assert told.notices == ["service_tier:dropped", "min_p:dropped"]


def test_hints_vanish_and_knobs_are_told() -> None:
    told = to_claude(
        store=False, prompt_cache_key="k", metadata={"a": "b"}, prediction={"type": "content", "content": "x"}, verbosity="low"
    )
    assert told.notices == ["prediction:dropped", "verbosity:dropped"]


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"model": 5}, "model"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [5]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"stop": [5]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
    ],
)
def test_what_is_of_the_wrong_type_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestRejected, match="expected") as refused:
        to_claude(**members)
    assert refused.value.param == param
    assert refused.value.status == 400
