"""State of other providers under its tag: read back as it was, and nothing else taken for it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.chat import Reasoning, Text, ToolCall
from respan_proxy.dialects.events import Opaque
from respan_proxy.dialects.openai_chat_state import detail, detail_state

DATA = st.text("ABCxyz019+/=-_", min_size=1)
IDS = st.text("abc019_-", min_size=1, max_size=64).filter(lambda id: id != "redacted")
STATES = st.one_of(
    st.builds(Opaque, st.sampled_from(["gemini", "anthropic"]), DATA),
    st.builds(Opaque, st.just("openai"), DATA, id=st.none() | IDS),
    st.builds(Opaque, st.just("anthropic"), DATA, redacted=st.just(True)),
)


@given(STATES)
def test_what_is_tagged_is_read_back(state: Opaque) -> None:
    assert Opaque.untagged(state.tagged()) == state
    assert detail_state(detail("thought", state, 0)) == state


@given(st.text() | st.text().map(lambda rest: f"gw1.{rest}"))
def test_no_text_breaks_the_reading_of_tags(text: str) -> None:
    state = Opaque.untagged(text)
    assert state is None or state.tagged() == text


def test_the_chunks_that_an_sdk_keeps_of_a_stream_are_one_turn() -> None:
    said: list[list[dict[str, Any]]] = [
        [{"text": "Two ", "thought": True}],
        [{"text": "cities.", "thought": True}],
        [{"text": "Let"}],
        [{"text": " me "}],
        [{"text": "look.", "thoughtSignature": "c2ln"}],
        [{"functionCall": {"id": "a", "name": "f", "args": {}}}],
        [{"functionCall": {"id": "b", "name": "f", "args": {}}}],
    ]
    contents = [{"role": "user", "parts": [{"text": "q"}]}, *({"role": "model", "parts": parts} for parts in said)]
    read = DIALECTS["gemini"].read_request
    assert read is not None
    request = read({"contents": contents}, "m")
    assert [turn.role for turn in request.turns] == ["user", "assistant"]
    assert request.turns[1].parts == (
        Reasoning("Two cities."),
        Text("Let me "),
        Text("look.", Opaque("gemini", "c2ln")),
        ToolCall("a", "f", "{}"),
        ToolCall("b", "f", "{}"),
    )
