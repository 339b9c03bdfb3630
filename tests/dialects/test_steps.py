"""The state of calls: collected as a reply is told, written down, and put back where it was said."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.dialects.chat import Reasoning, Text, ToolCall
from respan_proxy.dialects.events import Event, Finish, Opaque, ReasoningDelta, ReasoningEnd, Signature, TextDelta, ToolDelta, ToolStart
from respan_proxy.dialects.request import ChatRequest, Part, Profile, Thinking, ToolResult, Turn
from respan_proxy.dialects.steps import CallState, Collector, calls_without_state, gives_state, may_lose_state, with_state
from tests.dialects.test_opaque import STATES

THOUGHTS = st.lists(st.builds(Reasoning, st.text(), st.none() | STATES), max_size=3).map(tuple)
CALL_STATES = st.builds(CallState, st.text(), st.text(), THOUGHTS, THOUGHTS, st.none() | STATES)

SIGNED = Reasoning("hm", Opaque("anthropic", "S"))
SEALED = Reasoning("", Opaque("anthropic", "R", redacted=True))
USER = Turn("user", (Text("q"),), "messages[0].content")
RESULTS = Turn("user", (ToolResult("a"), ToolResult("b")), "messages[2].content")


@given(CALL_STATES)
def test_what_is_written_is_read_back(state: CallState) -> None:
    assert CallState.read(state.written()) == state


@given(
    st.binary()
    | st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner, max_size=5)).map(lambda v: str(v).encode())
)
def test_no_bytes_break_the_reading(data: bytes) -> None:
    state = CallState.read(data)
    assert state is None or CallState.read(state.written()) == state


def told(*events: Event, plain: bool = False) -> tuple[list[Event], dict[str, CallState]]:
    """(the events as they go on, what was kept)"""
    kept: dict[str, CallState] = {}

    def keep(states: Mapping[str, CallState]) -> None:
        assert not kept, "a choice finishes once"
        kept.update(states)

    collect = Collector("p", iter(["made_1", "made_2"]).__next__, keep, plain=plain)
    return [collect(event) for event in events], kept


def history(*parts: Part) -> ChatRequest:
    return ChatRequest(dialect="openai.chat", model="m", turns=(USER, Turn("assistant", parts, "messages[1].content"), RESULTS))


class TestCollecting:
    def test_thinking_belongs_to_the_call_it_precedes(self) -> None:
        events: list[Event] = [
            *(ReasoningDelta("h"), ReasoningDelta("m"), ReasoningEnd(SIGNED.opaque), ReasoningEnd(SEALED.opaque)),
            *(TextDelta("Let me"), TextDelta(" look."), ToolStart(0, "a", "f"), ToolDelta(0, "{}")),
            *(ReasoningDelta("and"), ReasoningEnd(Opaque("anthropic", "T")), ToolStart(1, "b", "f"), Finish("tool", None)),
        ]
        passed, kept = told(*events)
        assert passed == events
        assert kept == {
            "a": CallState("p", "f", first=(SIGNED, SEALED)),
            "b": CallState("p", "f", before=(Reasoning("and", Opaque("anthropic", "T")),)),
        }

    def test_of_parallel_calls_only_the_signed_one_is_kept(self) -> None:
        signature = Opaque("gemini", "S")
        _, kept = told(ToolStart(0, "a", "f", signature=signature), ToolStart(1, "b", "f"), Finish("tool", None))
        assert kept == {"a": CallState("p", "f", signature=signature)}

    def test_a_call_without_an_id_is_given_one(self) -> None:
        passed, kept = told(ToolStart(0, None, "f", signature=Opaque("gemini", "S")), ToolStart(1, None, "g"), Finish("tool", None))
        assert [event.id for event in passed if isinstance(event, ToolStart)] == ["made_1", "made_2"]
        assert [*kept] == ["made_1"]

    def test_unsigned_thinking_is_kept_for_those_who_want_it_back(self) -> None:
        events = (ReasoningDelta("h"), ReasoningDelta("m"), TextDelta("x"), ToolStart(0, "a", "f"), Finish("tool", None))
        assert told(*events, plain=True)[1] == {"a": CallState("p", "f", first=(Reasoning("hm"),))}
        assert told(*events)[1] == {}

    def test_nothing_is_kept_of_text_or_of_what_broke_off(self) -> None:
        assert told(ReasoningEnd(SIGNED.opaque), Signature(Opaque("gemini", "S")), TextDelta("x"), Finish("stop", None))[1] == {}
        assert told(ReasoningEnd(SIGNED.opaque), ToolStart(0, "a", "f"))[1] == {}

    def test_choices_do_not_mix(self) -> None:
        first, second = Opaque("gemini", "1"), Opaque("gemini", "2")
        kept: dict[str, CallState] = {}
        collect = Collector("p", str, kept.update, plain=False)
        for event in (
            ToolStart(0, "a", "f", 0, signature=first), ToolStart(0, "b", "f", 1, signature=second), Finish("tool", None, 0),
            Finish("tool", None, 1),
        ):  # fmt: skip
            collect(event)
        assert [(id, state.signature) for id, state in kept.items()] == [("a", first), ("b", second)]


KEPT = {
    "a": CallState("p", "f", first=(SIGNED, SEALED)),
    "b": CallState("p", "g", before=(Reasoning("and", Opaque("anthropic", "T")),), signature=Opaque("gemini", "G")),
}
BARE = history(Text("Let me look."), ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}"))


class TestRestoring:
    def test_each_part_goes_where_it_was(self) -> None:
        assert calls_without_state(BARE, plain=False) == ["a", "b"]
        restored = with_state(BARE, KEPT, "p", plain=False)
        assert restored.turns[1].parts == (
            SIGNED,
            SEALED,
            Text("Let me look."),
            ToolCall("a", "f", "{}"),
            Reasoning("and", Opaque("anthropic", "T")),
            ToolCall("b", "g", "{}", signature=Opaque("gemini", "G")),
        )
        assert (restored.turns[0], restored.turns[2]) == (USER, RESULTS)

    def test_a_step_in_several_messages_begins_with_its_thinking(self) -> None:
        said, called = Turn("assistant", (Text("x"),), "w"), Turn("assistant", (ToolCall("a", "f", "{}"),), "w")
        request = ChatRequest(dialect="openai.chat", model="m", turns=(USER, said, called, RESULTS))
        restored = with_state(request, KEPT, "p", plain=False)
        assert [part for turn in restored.turns[1:3] for part in turn.parts] == [SIGNED, SEALED, Text("x"), ToolCall("a", "f", "{}")]

    def test_what_a_client_brings_wins(self) -> None:
        mine = Reasoning("mine", Opaque("anthropic", "M"))
        request = history(mine, ToolCall("a", "f", "{}"))
        assert calls_without_state(request, plain=False) == []
        assert with_state(request, KEPT, "p", plain=False) == request

    def test_what_a_client_shows_of_the_same_thinking_makes_way_for_it(self) -> None:
        restored = with_state(history(Reasoning("h"), ToolCall("a", "f", "{}")), KEPT, "p", plain=False)
        assert restored.turns[1].parts == (SIGNED, SEALED, ToolCall("a", "f", "{}"))

    def test_another_providers_state_and_another_tools_are_left_out(self) -> None:
        assert with_state(BARE, KEPT, "other", plain=False) == BARE
        renamed = history(ToolCall("a", "another", "{}"))
        assert with_state(renamed, KEPT, "p", plain=False) == renamed

    def test_plain_thinking_that_a_client_brings_is_enough_for_those_who_want_it(self) -> None:
        request = history(Reasoning("h"), ToolCall("a", "f", "{}"))
        assert calls_without_state(request, plain=True) == []
        assert calls_without_state(request, plain=False) == ["a"]


def test_state_is_looked_for_only_where_there_may_be_any() -> None:
    plain, thinks = history(), ChatRequest(dialect="openai.chat", model="m", thinking=Thinking("low"))
    silent = ChatRequest(dialect="openai.chat", model="m", thinking=Thinking("none"))
    assert [gives_state("anthropic.messages", Profile(), request) for request in (plain, thinks, silent)] == [False, True, False]
    assert gives_state("anthropic.messages", Profile(thinking_default_on=True), plain)
    assert not gives_state("anthropic.messages", Profile(thinking="none"), thinks)
    assert [gives_state("gemini", Profile(thinking=form), plain) for form in ("level", "budget", "none")] == [True, True, False]  # type: ignore[arg-type]
    assert not gives_state("openai.responses", Profile(), plain)
    assert gives_state("openai.responses", Profile(encrypted_reasoning=True), plain)
    assert not gives_state("openai.chat", Profile(), plain)
    assert gives_state("openai.chat", Profile(replays_reasoning=True), plain)
    assert gives_state("openai.chat", Profile(extra_params=frozenset({"reasoning_details"})), plain)


def test_only_who_asks_for_encrypted_reasoning_carries_it_for_sure() -> None:
    assert not may_lose_state("openai.responses", {"include": ["reasoning.encrypted_content"]})
    assert may_lose_state("openai.responses", {"include": []})
    assert may_lose_state("openai.responses", {})
    assert may_lose_state("openai.chat", {"include": ["reasoning.encrypted_content"]})
