"""Names and ids that a target does not take, and replies told in the client's words again, whole and streamed."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.dialect import WriteContext
from respan_proxy.dialects.events import Event, Finish, TextDelta, ToolDelta, ToolEnd, ToolStart
from respan_proxy.dialects.names import (
    ANTHROPIC_IDS,
    ANTHROPIC_NAMES,
    CHAT_IDS,
    GEMINI_NAMES,
    NINE_IDS,
    OPENAI_NAMES,
    RESPONSES_IDS,
    Limits,
    NameMap,
    legal_id,
    legal_name,
)
from respan_proxy.dialects.request import Profile
from tests.dialects import vectors
from tests.dialects.crossing import crossed


@pytest.mark.parametrize("limits", [OPENAI_NAMES, ANTHROPIC_NAMES, GEMINI_NAMES])
@given(name=st.text(min_size=1, max_size=300))
def test_every_name_becomes_a_legal_one_that_stays_what_it_is(limits: Limits, name: str) -> None:
    legal = legal_name(name, limits)
    assert limits.whole.fullmatch(legal)
    assert legal_name(legal, limits) == legal


@pytest.mark.parametrize("form", [CHAT_IDS, RESPONSES_IDS, ANTHROPIC_IDS, NINE_IDS])
@given(id=st.text(max_size=300))
def test_every_id_becomes_a_legal_one_that_stays_what_it_is(form: re.Pattern[str], id: str) -> None:
    legal = legal_id(id, form)
    assert form.fullmatch(legal)
    assert legal_id(legal, form) == legal


def test_names_that_differ_only_where_they_are_cut_stay_apart() -> None:
    assert legal_name("a" * 100 + "b", OPENAI_NAMES) != legal_name("a" * 100 + "c", OPENAI_NAMES)
    assert legal_name("a.b", OPENAI_NAMES) != legal_name("a:b", OPENAI_NAMES)


LONG = "mcp__" + "x" * 100


def said_by_claude(name: str, arguments: str) -> bytes:
    """A streamed reply that calls one tool, in three pieces of arguments."""
    cut = len(arguments) // 2
    payloads: list[dict[str, Any]] = [
        {
            "type": "message_start",
            "message": {"id": "msg_1", "model": "c", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t1", "name": name, "input": {}}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}}
            for piece in ("", arguments[:cut], arguments[cut:])
        ),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    return b"".join(b"event: %s\ndata: %s\n\n" % (payload["type"].encode(), orjson.dumps(payload)) for payload in payloads)


def heard(source: str, target: str, names: NameMap, stream: bytes) -> bytes:
    """What the client hears of a provider's stream, cut byte by byte."""
    reader = DIALECTS[target].reader()
    writer = DIALECTS[source].writer(WriteContext(now=0, new_id=vectors.counter()))
    restore = names.restore()
    events = [event for piece in vectors.pieces(stream, "every:1") for event in reader.feed(piece)] + reader.close()
    return b"".join(writer.feed(told) for event in events for told in restore(event)) + writer.close()


def chunks(stream: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in stream.decode().split("\n\n") if line.startswith("data: {")]


def deltas(stream: bytes) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in chunks(stream) for choice in chunk["choices"]]


def test_a_long_name_goes_out_short_and_comes_back_long() -> None:
    tools = [{"name": LONG, "input_schema": {"type": "object", "properties": {}}}]
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": LONG, "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "r"}]},
    ]
    body = {"model": "m", "max_tokens": 9, "messages": messages, "tools": tools, "tool_choice": {"type": "tool", "name": LONG}}
    told = crossed("anthropic.messages", "openai.chat", body)
    short = told.body["tools"][0]["function"]["name"]
    assert len(short) == 64
    assert told.body["messages"][1]["tool_calls"][0]["function"]["name"] == short
    assert told.body["tool_choice"]["function"]["name"] == short
    start = ToolStart(0, "c", short)
    assert told.names.restore()(start) == [ToolStart(0, "c", LONG)]


def custom_request() -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "go"}], "tools": [{"type": "custom", "custom": {"name": "shell"}}]}


def test_a_free_text_tool_crosses_as_a_function_and_its_call_comes_back_as_text() -> None:
    told = crossed("openai.chat", "anthropic.messages", custom_request())
    assert told.body["tools"][0]["input_schema"]["required"] == ["input"]
    said = deltas(heard("openai.chat", "anthropic.messages", told.names, said_by_claude("shell", '{"input": "ls -l"}')))
    calls = [call for delta in said for call in delta.get("tool_calls", ())]
    assert calls[0]["type"] == "custom"
    assert "".join(call["custom"]["input"] for call in calls) == "ls -l"


def test_a_free_text_call_of_another_shape_is_kept_as_it_is() -> None:
    told = crossed("openai.chat", "anthropic.messages", custom_request())
    said = deltas(heard("openai.chat", "anthropic.messages", told.names, said_by_claude("shell", '{"command": 1}')))
    calls = [call for delta in said for call in delta.get("tool_calls", ())]
    assert "".join(call["custom"]["input"] for call in calls) == '{"command": 1}'


def test_free_text_of_a_provider_that_never_ends_a_call_is_told_when_the_choice_ends() -> None:
    restore = NameMap(custom=frozenset(("shell",))).restore()
    events: list[Event] = [ToolStart(0, "a", "shell"), ToolDelta(0, '{"input":'), ToolDelta(0, '"ls"}'), Finish("tool", "tool_calls")]
    told = [said for event in events for said in restore(event)]
    assert told == [ToolStart(0, "a", "shell", custom=True), ToolDelta(0, "ls"), Finish("tool", "tool_calls")]


def test_an_answer_that_came_as_a_call_streams_as_text() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": schema}},
    }
    told = crossed("openai.chat", "anthropic.messages", body, Profile(structured=False))
    stream = heard("openai.chat", "anthropic.messages", told.names, said_by_claude("json_tool_call", '{"city":"Bern"}'))
    said = deltas(stream)
    assert "".join(delta.get("content") or "" for delta in said) == '{"city":"Bern"}'
    assert not any("tool_calls" in delta for delta in said)
    finishes = [choice["finish_reason"] for chunk in chunks(stream) for choice in chunk["choices"]]
    assert finishes[-1] == "stop"


def test_a_clients_own_call_beside_an_answer_tool_stays_a_call() -> None:
    restore = NameMap(answer="json_tool_call").restore()
    events: list[Event] = [ToolStart(0, "a", "f"), ToolDelta(0, "{}"), ToolEnd(0), Finish("tool", "tool_use")]
    assert [said for event in events for said in restore(event)] == events


def test_an_answer_beside_a_clients_call_leaves_the_reply_a_call() -> None:
    restore = NameMap(answer="json").restore()
    events: list[Event] = [
        ToolStart(0, "a", "json"),
        ToolDelta(0, "{}"),
        ToolEnd(0),
        ToolStart(1, "b", "f"),
        ToolEnd(1),
        Finish("tool", None),
    ]
    told = [said for event in events for said in restore(event)]
    assert told == [TextDelta("{}"), ToolStart(0, "b", "f"), ToolEnd(0), Finish("tool", None)]


def test_choices_are_told_apart() -> None:
    restore = NameMap(answer="json").restore()
    events: list[Event] = [
        ToolStart(0, None, "json", choice=1),
        ToolDelta(0, "{}", choice=0),
        ToolDelta(0, "[]", choice=1),
        Finish("tool", None, choice=0),
        Finish("tool", None, choice=1),
    ]
    told = [said for event in events for said in restore(event)]
    assert told == [ToolDelta(0, "{}", choice=0), TextDelta("[]", choice=1), Finish("tool", None, choice=0), Finish("stop", None, choice=1)]


def test_a_map_of_nothing_says_so() -> None:
    assert not NameMap()
    assert NameMap(answer="x")
