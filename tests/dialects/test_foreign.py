"""What is left out of a relayed history, and that nothing else is touched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.dialects.foreign import left_out, marks
from respan_proxy.dialects.profiles import profile_of
from respan_proxy.dialects.request import Losses, Profile

CLAUDE, STRICT = Profile(thinking="adaptive"), Profile(refuses=frozenset({"messages.extensions"}))
LEVEL = Profile(thinking="level")
OWN = {"type": "thinking", "thinking": "a", "signature": "EuYB"}
TAGGED = {"type": "thinking", "thinking": "", "signature": "gw1.gemini.U0lH"}
UNSIGNED = {"type": "thinking", "thinking": "b", "signature": ""}
TEXT = {"type": "text", "text": "ok"}
ASKED = {"role": "user", "content": "q"}

WORDS = st.sampled_from(
    ["assistant", "model", "user", "thinking", "text", "reasoning", "gw1.openai.x", "", "rs_0123456789abcdef01234567", "enabled"]
)
NAMES = st.sampled_from(["role", "content", "contents", "parts", "type", "signature", "messages", "input", "id"]) | st.sampled_from(
    ["functionCall", "thoughtSignature", "encrypted_content", "tool_calls", "extra_content", "thinking", "citations", "encrypted_index"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4)
)
DIALECTS = ["anthropic.messages", "openai.responses", "openai.chat", "gemini"]


def cleaned(dialect: str, members: dict[str, Any], profile: Profile) -> tuple[dict[str, Any], list[str]]:
    losses = Losses()
    return left_out(dialect, members, profile, losses), losses.notices


@given(st.sampled_from(DIALECTS), st.dictionaries(NAMES, JSON, max_size=4), st.sampled_from([CLAUDE, STRICT, LEVEL]))
def test_no_shape_of_a_request_breaks_it_and_nothing_is_left_the_second_time(
    dialect: str, members: dict[str, Any], profile: Profile
) -> None:
    instead, notices = cleaned(dialect, members, profile)
    assert bool(instead) == bool(notices)
    assert cleaned(dialect, {**members, **instead}, profile)[0] == {}


def test_claude_keeps_its_own_thinking() -> None:
    said = {"role": "assistant", "content": [OWN, TAGGED, UNSIGNED, TEXT]}
    instead, notices = cleaned("anthropic.messages", {"messages": [ASKED, said, ASKED]}, CLAUDE)
    assert instead == {"messages": [ASKED, {"role": "assistant", "content": [OWN, TEXT]}, ASKED]}
    assert notices == ["messages.reasoning:dropped"]
    assert cleaned("anthropic.messages", {"messages": [ASKED, {"role": "assistant", "content": [OWN, TEXT]}]}, CLAUDE) == ({}, [])


def test_a_message_of_nothing_else_goes() -> None:
    said = {"role": "assistant", "content": [TAGGED]}
    assert cleaned("anthropic.messages", {"messages": [ASKED, said, ASKED]}, CLAUDE)[0] == {"messages": [ASKED, ASKED]}


def test_others_that_speak_claudes_dialect_may_sign_nothing() -> None:
    said = {"role": "assistant", "content": [UNSIGNED, TEXT]}
    assert cleaned("anthropic.messages", {"messages": [ASKED, said]}, Profile()) == ({}, [])


@pytest.mark.parametrize(
    ("item", "stays"),
    [
        ({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}, True),
        ({"type": "reasoning", "id": "rs_68af4030baa48193b0b43b4c2a176a1a0e6967589f080e77", "summary": []}, True),
        ({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gw1.anthropic.S"}, False),
        ({"type": "reasoning", "id": "rs_0123456789abcdef01234567", "summary": []}, False),
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, True),
    ],
)
def test_openai_is_sent_reasoning_that_is_its_own(item: dict[str, Any], stays: bool) -> None:
    said = [{"role": "user", "content": "q"}, item]
    assert cleaned("openai.responses", {"input": said}, Profile())[0] == ({} if stays else {"input": said[:1]})


def test_gemini_is_told_to_skip_what_a_step_of_another_lacks() -> None:
    call, result = {"functionCall": {"name": "f", "args": {}}}, {"role": "user", "parts": [{"functionResponse": {"name": "f"}}]}
    own = {"role": "model", "parts": [{**call, "thoughtSignature": "U0lH"}, call]}
    streamed = [{"role": "model", "parts": [{"text": "x"}]}, {"role": "model", "parts": [{**call, "thought_signature": "U0lH"}]}]
    others = {"role": "model", "parts": [{"text": "x"}, call, call]}
    instead, notices = cleaned("gemini", {"contents": [own, result, *streamed, result, others, result]}, LEVEL)
    skipped = {**call, "thoughtSignature": "skip_thought_signature_validator"}
    assert instead == {"contents": [own, result, *streamed, result, {"role": "model", "parts": [{"text": "x"}, skipped, call]}, result]}
    assert notices == ["messages.reasoning:skipped"]
    assert cleaned("gemini", {"contents": [own, result, *streamed]}, LEVEL) == ({}, [])
    assert cleaned("gemini", {"contents": [others]}, Profile(thinking="budget")) == ({}, [])


def test_chat_servers_that_take_no_extensions_are_sent_none() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    told = [ASKED, {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [{**call, "extra_content": {}}]}]
    plain = [ASKED, {"role": "assistant", "content": None, "tool_calls": [call]}]
    assert cleaned("openai.chat", {"messages": told}, STRICT)[0] == {"messages": plain}
    assert cleaned("openai.chat", {"messages": told}, Profile())[0] == {}
    assert cleaned("openai.chat", {"messages": plain}, STRICT)[0] == {}


def test_chat_servers_that_refuse_what_openai_says_are_sent_no_annotations() -> None:
    note = {"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 1, "url": "https://a.test", "title": "a"}}
    plain = {"role": "assistant", "content": "ok"}
    for notes, notices in (([note], ["messages.citations:dropped"]), ([], [])):
        told = [ASKED, {**plain, "annotations": notes}]
        assert cleaned("openai.chat", {"messages": told}, profile_of("groq", "m")) == ({"messages": [ASKED, plain]}, notices)
        assert cleaned("openai.chat", {"messages": told}, STRICT) == ({}, []), "OpenAI takes what it says"


def test_a_big_body_is_read_for_the_servers_that_refuse_what_is_in_it() -> None:
    assert marks("openai.chat", Profile()) == ()
    assert {b"annotations", b"reasoning_content"} <= set(marks("openai.chat", profile_of("mistral", "m")))
    assert b"annotations" not in marks("openai.chat", profile_of("openai", "m"))
    assert marks("anthropic.messages", Profile()) == (b"gw1.",)


def test_claude_is_sent_citations_that_are_its_own() -> None:
    own = {"type": "web_search_result_location", "cited_text": "a", "encrypted_index": "EqgB", "url": "https://a.test", "title": "a"}
    others = {**own, "cited_text": "", "encrypted_index": "gw1.page"}
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}

    def said(*citations: Any) -> dict[str, Any]:
        return {"role": "assistant", "content": [{**TEXT, **({"citations": list(citations)} if citations else {})}, TEXT]}

    instead, notices = cleaned("anthropic.messages", {"messages": [ASKED, said(own, others), said(others), ASKED], **thinking}, CLAUDE)
    assert instead == {"messages": [ASKED, said(own), said(), ASKED]}
    assert notices == ["messages.citations:dropped"]
    assert cleaned("anthropic.messages", {"messages": [ASKED, said(own)]}, CLAUDE) == ({}, [])
