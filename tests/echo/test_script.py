from __future__ import annotations

from typing import Any

import orjson
import pytest

from respan_proxy.dialects.chat import ChatReply, assemble
from respan_proxy.echo.manners import MANNERS, Manner, manner
from respan_proxy.echo.reading import Reading, Tool, Turn
from respan_proxy.echo.script import script
from respan_proxy.errors import RequestRejected

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASKED = (Turn("user", "What's the weather in Paris?"),)


def answered(reading: Reading, name: str = "echo/echo", *, stand_in: bool = False) -> ChatReply:
    return assemble(script(reading, Manner() if stand_in else manner(name), name, stand_in=stand_in))


def test_the_answer_quotes_the_question() -> None:
    reply = answered(Reading(ASKED))
    assert "What's the weather in Paris?" in reply.text
    assert (reply.choices[0].finish, reply.complete, reply.model) == ("stop", True, "echo/echo")


def test_a_long_question_is_quoted_in_part() -> None:
    assert 500 < len(answered(Reading((Turn("user", "x" * 9000),))).text) < 700


@pytest.mark.parametrize(
    ("model", "variable"),
    [("gpt-4.1-nano", "OPENAI_API_KEY"), ("claude-sonnet-4-5", "ANTHROPIC_API_KEY"), ("gemini-2.5-flash", "GEMINI_API_KEY")],
)
def test_standing_in_says_so_and_which_key_ends_it(model: str, variable: str) -> None:
    text = answered(Reading(ASKED), model, stand_in=True).text
    assert f"standing in for {model}" in text
    assert variable in text
    assert "Paris" in text


def test_an_offered_tool_is_called_once_with_arguments_that_fit_and_its_result_is_told() -> None:
    offered = Reading(ASKED, tools=(Tool("get_weather", CITY),))
    called = answered(offered)
    (call,) = called.tool_calls
    assert (call.name, orjson.loads(call.arguments), called.choices[0].finish, called.text) == ("get_weather", {"city": "city"}, "tool", "")
    told = answered(Reading((*ASKED, Turn("assistant", "get_weather"), Turn("tool", "Sunny, 72F")), tools=offered.tools))
    assert not told.tool_calls
    assert "Sunny, 72F" in told.text


def test_a_new_question_gets_a_call_again() -> None:
    turns = (*ASKED, Turn("tool", "Sunny"), Turn("assistant", "Sunny."), Turn("user", "And in Rome?"))
    assert answered(Reading(turns, tools=(Tool("get_weather", CITY),))).tool_calls


@pytest.mark.parametrize(
    ("reading", "called"),
    [
        (Reading(ASKED, (Tool("a"), Tool("b"))), "a"),
        (Reading((Turn("user", "use B please"),), (Tool("a"), Tool("please_b"), Tool("b"))), "b"),
        (Reading(ASKED, (Tool("a"), Tool("b")), allowed=frozenset({"b"})), "b"),
        (Reading((*ASKED, Turn("tool", "done")), (Tool("a"),), choice="required"), "a"),
        (Reading(ASKED, (Tool("a"),), choice="none"), None),
        (Reading(ASKED, (Tool("transfer_to_billing"),)), "transfer_to_billing"),
        (Reading((*ASKED, Turn("tool", '{"assistant": "Billing"}')), (Tool("refund"),)), None),
    ],
)
def test_which_tool_is_called(reading: Reading, called: str | None) -> None:
    calls = answered(reading).tool_calls
    assert (calls[0].name if calls else None) == called


def test_a_tool_that_takes_text_gets_text() -> None:
    (call,) = answered(Reading(ASKED, (Tool("sql", True, custom=True),))).tool_calls
    assert (call.custom, call.arguments) == (True, "input")


@pytest.mark.parametrize(
    ("schema", "value"), [(CITY, {"city": "city"}), (True, {"echo": ASKED[0].text}), ({"not": {}}, {"echo": ASKED[0].text})]
)
def test_a_requested_form_is_kept(schema: Any, value: Any) -> None:
    assert orjson.loads(answered(Reading(ASKED, schema=schema)).text) == value


def test_every_choice_answers() -> None:
    reply = answered(Reading(ASKED, choices=3))
    assert len({choice.text for choice in reply.choices}) == 1
    assert [choice.index for choice in reply.choices] == [0, 1, 2]


def test_usage_counts_what_was_read_and_said() -> None:
    reply = answered(Reading((Turn("user", "x" * 400),)), "echo/words-80")
    assert reply.usage is not None
    assert (reply.usage.prompt, reply.usage.output, reply.usage.reasoning) == (100, 100, 0)
    assert answered(Reading(ASKED), "echo/no-usage").usage is None


def test_thinking_is_shown_and_counted() -> None:
    reply = answered(Reading(ASKED), "echo/think")
    assert reply.choices[0].reasoning
    assert reply.usage is not None
    assert 0 < reply.usage.reasoning < reply.usage.output


@pytest.mark.parametrize(("name", "finish"), [("echo/length", "length"), ("echo/refuse", "filter")])
def test_other_ends_can_be_asked_for(name: str, finish: str) -> None:
    reply = answered(Reading(ASKED), name)
    assert reply.choices[0].finish == finish
    assert bool(reply.choices[0].refusal) == (finish == "filter")


def test_every_row_of_the_table_changes_something() -> None:
    for word in MANNERS:
        assert manner("echo/" + word.name.replace("N", "400")) != Manner(), word.name


def test_words_of_a_name_add_up() -> None:
    assert manner("echo/pace-50+cut-after-3") == Manner(pace_s=0.05, fault="cut", fault_after=3)
    assert manner("pace-50") == Manner(pace_s=0.05)


def test_a_name_in_no_row_just_answers() -> None:
    assert manner("echo/hello") == manner("gpt-4.1-nano") == Manner()


@pytest.mark.parametrize("name", ["echo/status-200", "echo/status-600", "echo/words-0"])
def test_a_number_out_of_range_is_refused_by_name(name: str) -> None:
    with pytest.raises(RequestRejected, match=name):
        manner(name)
