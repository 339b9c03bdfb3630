"""Chat requests for Claude: what reaches Anthropic. Each test names the number of its case; here is where every one is claimed.

| case | in | claimed |
| --- | --- | --- |
| 27 | results followed by the user's words | here |
| 28 | calls beside an empty text | here; tests/dialects/test_chat_to_anthropic.py |
| 29 | an assistant that said nothing | here; tests/dialects/test_chat_to_anthropic.py in all spellings |
| 31 | no limit of tokens | here |
| 32 | no tool may be called | here |
| 33 | only one call at a time | here |
| 35 | a choice among some of the tools | here; tests/dialects/test_chat_to_anthropic.py |
| 36 | stop words of nothing but white space | here |
| 37 | a temperature above one | here |
| 39 | thinking beside what excludes it | here; tests/dialects/test_chat_to_anthropic.py |
| 40 | a schema for the answer | here |
| 41 | system messages, leading and in between | here |
| 43 | nothing but a system message | here |
| 44 | cache marks that live an hour | here |
| 45 | images by data URL, by URL, by nothing of use | here; tests/translate/test_media.py for all pairs |
| 47 | two user messages in a row | here |
| 48 | thinking that Claude did not sign | here |
| 49 | a call without a result | here; tests/dialects/test_chat_to_anthropic.py |

Cases 30, 34, 38, 42 and 46 do not exist.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.cases.conftest import USER, Ask

CLAUDE = "claude-sonnet-4-6"  # takes sampling, thinks adaptively when asked
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": PARAMETERS}, **more}


def called(*ids: str, **more: Any) -> dict[str, Any]:
    calls = [{"id": id, "type": "function", "function": {"name": "look", "arguments": '{"city":"Bern"}'}} for id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls, **more}


def result(id: str, text: str = "sunny") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": text}


async def test_c3_27_results_come_first_in_the_turn_they_share_with_the_users_words(ask: Ask) -> None:
    messages = [USER, called("a", "b"), result("a"), result("b", "rain"), {"role": "user", "content": "and now?"}]
    told = await ask("openai.chat", CLAUDE, messages=messages, tools=[tool("look")])
    assert told.status == 200 and told.sent["messages"][-1] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "sunny"},
            {"type": "tool_result", "tool_use_id": "b", "content": "rain"},
            {"type": "text", "text": "and now?"},
        ],
    }


async def test_c3_28_an_empty_text_beside_calls_is_no_block(ask: Ask) -> None:
    told = await ask("openai.chat", CLAUDE, messages=[USER, called("a", content=""), result("a")], tools=[tool("look")])
    use = {"type": "tool_use", "id": "a", "name": "look", "input": {"city": "Bern"}}
    assert told.sent["messages"][1] == {"role": "assistant", "content": [use]}


async def test_c3_29_an_assistant_that_said_nothing_is_left_out(ask: Ask) -> None:
    told = await ask("openai.chat", CLAUDE, messages=[USER, {"role": "assistant", "content": ""}, {"role": "user", "content": "well?"}])
    said = [{"type": "text", "text": "hi"}, {"type": "text", "text": "well?"}]
    assert told.sent["messages"] == [{"role": "user", "content": said}]


@pytest.mark.parametrize(
    ("members", "limit"),
    [({}, 8192), ({"max_tokens": 77}, 77), ({"max_completion_tokens": 78}, 78), ({"max_tokens": 5, "max_completion_tokens": 79}, 79)],
)
async def test_c3_31_a_limit_of_tokens_is_always_said(ask: Ask, members: dict[str, Any], limit: int) -> None:
    assert (await ask("openai.chat", CLAUDE, **members)).sent["max_tokens"] == limit


@pytest.mark.parametrize("model", [CLAUDE, "claude-opus-4-7", "claude-3-5-haiku-20241022"])
async def test_c3_32_none_of_the_tools_is_none(ask: Ask, model: str) -> None:
    told = await ask("openai.chat", model, tools=[tool("look")], tool_choice="none")
    assert told.sent["tool_choice"] == {"type": "none"} and len(told.sent["tools"]) == 1


async def test_c3_33_one_call_at_a_time_does_not_demand_one(ask: Ask) -> None:
    told = await ask("openai.chat", CLAUDE, tools=[tool("look")], parallel_tool_calls=False)
    assert told.sent["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert "tool_choice" not in (await ask("openai.chat", CLAUDE, tools=[tool("look")], parallel_tool_calls=True)).sent


@pytest.mark.parametrize(("mode", "kind"), [("auto", "auto"), ("required", "any")])
async def test_c3_35_only_the_allowed_tools_are_told_of(ask: Ask, mode: str, kind: str) -> None:
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": name}} for name in ("look", "hear")]}
    tools = [tool("look"), tool("buy"), tool("hear")]
    told = await ask("openai.chat", CLAUDE, tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert [said["name"] for said in told.sent["tools"]] == ["look", "hear"] and told.sent["tool_choice"] == {"type": kind}
    unknown = {"mode": mode, "tools": [{"type": "function", "function": {"name": "sing"}}]}
    refused = await ask("openai.chat", CLAUDE, tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": unknown})
    assert (refused.status, refused.param, refused.sent) == (400, "tool_choice", None)


async def test_c3_36_stop_words_of_white_space_are_left_out_and_one_word_is_a_list(ask: Ask) -> None:
    told = await ask("openai.chat", CLAUDE, stop=["A", "\n", " "])
    assert told.sent["stop_sequences"] == ["A"] and told.warnings == ["stop:whitespace_dropped"]
    assert (await ask("openai.chat", CLAUDE, stop="A")).sent["stop_sequences"] == ["A"]
    assert "stop_sequences" not in (await ask("openai.chat", CLAUDE, stop="\n")).sent


async def test_c3_37_a_temperature_above_one_is_one_and_the_caller_is_told(ask: Ask) -> None:
    told = await ask("openai.chat", CLAUDE, temperature=1.5)
    assert told.sent["temperature"] == 1 and told.warnings == ["temperature:clamped"]


@pytest.mark.parametrize("model", [CLAUDE, "claude-sonnet-4-5", "claude-opus-4-7", "claude-opus-5-5"])
async def test_c3_39_what_thinking_excludes_is_not_sent_beside_it(ask: Ask, model: str) -> None:
    told = await ask("openai.chat", model, reasoning_effort="high", temperature=0.3, top_p=0.5, top_k=3, max_tokens=30_000)
    assert told.sent["thinking"]["type"] in ("adaptive", "enabled")
    assert not told.sent.keys() & {"temperature", "top_p", "top_k"}
    assert told.warnings == ["temperature:dropped", "top_p:dropped", "top_k:dropped"]
    forced = {"type": "function", "function": {"name": "look"}}
    told = await ask("openai.chat", model, reasoning_effort="high", tools=[tool("look")], tool_choice=forced, max_tokens=30_000)
    if model == "claude-opus-5-5":  # it always thinks
        assert told.sent["tool_choice"] == {"type": "auto"} and told.warnings == ["tool_choice:auto"]
    else:
        assert told.sent["tool_choice"] == {"type": "tool", "name": "look"}
        assert told.sent.get("thinking", {"type": "disabled"}) == {"type": "disabled"}
        assert told.warnings == ["reasoning:dropped_forced_tool_choice"]


FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": PARAMETERS, "strict": True}}


async def test_c3_40_a_schema_for_the_answer_is_kept(ask: Ask) -> None:
    told = await ask("openai.chat", CLAUDE, response_format=FORMAT)
    assert told.sent["output_config"] == {"format": {"type": "json_schema", "schema": PARAMETERS}} and told.warnings == []
    told = await ask("openai.chat", "claude-sonnet-4-20250514", response_format=FORMAT)
    assert [said["input_schema"] for said in told.sent["tools"]] == [PARAMETERS]
    assert told.sent["tool_choice"] == {"type": "tool", "name": told.sent["tools"][0]["name"]}
    assert told.warnings == ["response_format:json_tool"]


@pytest.mark.parametrize(("model", "native"), [("claude-opus-4-8", True), (CLAUDE, False)])
async def test_c3_41_system_messages_stay_in_their_order_and_at_their_place(ask: Ask, model: str, native: bool) -> None:
    mark = {"type": "ephemeral"}
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "one", "cache_control": mark}]},
        {"role": "developer", "content": "two"},
        {"role": "user", "content": "a"},
        {"role": "system", "content": "three"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    told = await ask("openai.chat", model, messages=messages)
    assert told.sent["system"] == [{"type": "text", "text": "one", "cache_control": mark}, {"type": "text", "text": "two"}]
    said = [(message["role"], message["content"]) for message in told.sent["messages"]]
    if native:
        assert said == [("user", "a"), ("system", "three"), ("assistant", "b"), ("user", "c")]
    else:
        merged = [{"type": "text", "text": "a"}, {"type": "text", "text": "three"}]
        assert said == [("user", merged), ("assistant", "b"), ("user", "c")]
    assert told.warnings == ([] if native else ["messages.system:as_user"])


async def test_c3_43_nothing_but_a_system_message_is_refused_in_clear_words(ask: Ask) -> None:
    told = await ask("openai.chat", CLAUDE, messages=[{"role": "system", "content": "Be brief."}])
    assert (told.status, told.param, told.sent) == (400, "messages", None)
    assert "needs a user message" in told.json["error"]["message"]


async def test_c3_44_cache_marks_travel_whole(ask: Ask) -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    marked = [{"type": "text", "text": "x", "cache_control": mark}]
    messages = [{"role": "system", "content": marked}, {"role": "user", "content": marked}]
    told = await ask("openai.chat", CLAUDE, messages=messages, tools=[tool("look", cache_control=mark)])
    assert told.sent["system"] == marked and told.sent["messages"] == [{"role": "user", "content": marked}]
    assert told.sent["tools"][0]["cache_control"] == mark


@pytest.mark.parametrize(
    ("url", "source"),
    [
        (f"data:image/png;base64,{PNG}", {"type": "base64", "media_type": "image/png", "data": PNG}),
        (f"data:image/jpeg;base64,{PNG}", {"type": "base64", "media_type": "image/png", "data": PNG}),  # mislabelled
        ("https://a.test/x", {"type": "url", "url": "https://a.test/x"}),
        ("ftp://a.test/x", None),
        ("data:image/png;base64,?", None),
    ],
)
async def test_c3_45_images_travel_under_their_right_type_or_not_at_all(ask: Ask, url: str, source: Any) -> None:
    content = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": url}}]
    told = await ask("openai.chat", CLAUDE, messages=[{"role": "user", "content": content}])
    if source is None:
        assert (told.status, told.param, told.sent) == (400, "messages[0].content[1].image_url.url", None)
    else:
        assert told.sent["messages"][0]["content"] == [{"type": "text", "text": "see"}, {"type": "image", "source": source}]


async def test_c3_47_two_user_messages_become_one_in_their_order(ask: Ask) -> None:
    told = await ask("openai.chat", CLAUDE, messages=[USER, {"role": "user", "content": "there"}])
    assert told.sent["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "there"}]}]


@pytest.mark.parametrize(
    "thinking",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": ""}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "OTHER", "format": "openai-responses-v1"}]},
    ],
)
async def test_c3_48_thinking_that_claude_did_not_sign_is_left_out_and_told(ask: Ask, thinking: dict[str, Any]) -> None:
    messages = [USER, {"role": "assistant", "content": "a", **thinking}, USER]
    told = await ask("openai.chat", CLAUDE, messages=messages, reasoning_effort="low")
    assert told.sent["messages"][1] == {"role": "assistant", "content": "a"}
    assert told.warnings == ["messages.reasoning:dropped"]


@pytest.mark.parametrize("dialect", ["openai.chat", "openai.responses"])
async def test_c3_49_a_call_that_was_never_answered_is_answered_as_interrupted(ask: Ask, dialect: str) -> None:
    asked: dict[str, Any] = {"messages": [USER, called("a"), {"role": "user", "content": "never mind"}], "tools": [tool("look")]}
    if dialect == "openai.responses":
        call = {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"}
        asked = {"input": [USER, call, USER], "tools": [{"type": "function", "name": "look", "parameters": PARAMETERS, "strict": True}]}
    told = await ask(dialect, CLAUDE, **asked)
    first, second = told.sent["messages"][2]["content"]
    assert (first["type"], first["tool_use_id"], first["is_error"], second["type"]) == ("tool_result", "a", True, "text")
    assert told.warnings == ["messages.tool_result:synthesized"]
