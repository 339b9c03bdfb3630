"""Which requests may have one answer, and which may not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from respan_proxy.config import Cache
from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.forms import Form
from respan_proxy.dialects.observe import Observed
from respan_proxy.exchange import Caller, Exchange, Request
from respan_proxy.policy.caching import Wish, asks, key, wish, worth_keeping
from respan_proxy.respan import params
from respan_proxy.respan.endpoints import match
from respan_proxy.wire import json_edit

PLAIN = Wish(60.0, by_customer=False, by_model=True, omit_log=False)
CHAT: dict[str, Any] = {
    "model": "gpt-4.1-nano",
    "messages": [{"role": "user", "content": "hi"}],
    "temperature": 0.5,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
    "cache_enabled": True,
}
CLAUDE: dict[str, Any] = {"model": "claude-sonnet-4-6", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def exchange(
    body: bytes, path: str = "/api/chat/completions", *, credential: str | None = None, headers: dict[str, str] | None = None
) -> Exchange:
    """A request as the cache sees it: behind the parameters."""
    place, _, query = path.partition("?")
    endpoint = match("POST", place)
    assert endpoint is not None
    lines = CIMultiDict(headers or {})
    document = json_edit.parse(body)
    read = params.read(document.members, lines, endpoint)
    found = Exchange("id", Request("POST", place, query, lines, body, 0.0), endpoint, DIALECTS[endpoint.dialect], 0.0)
    found.document, found.params, found.headers = document, read.params, read.headers
    found.edits.remove |= read.remove
    found.edits.replace.update(read.replace)
    found.caller = Caller(credential=credential)
    found.model = endpoint.model or document.members.get("model")
    found.streams = endpoint.stream if endpoint.stream is not None else document.members.get("stream") is True
    return found


def key_of(members: dict[str, Any], path: str = "/api/chat/completions", by: Wish = PLAIN, form: Form = "whole", **more: Any) -> str:
    return key(exchange(json.dumps(members).encode(), path, **more), by, form)


def reversed_members(value: Any) -> Any:
    match value:
        case dict():
            return {name: reversed_members(inner) for name, inner in reversed(value.items())}
        case list():
            return [reversed_members(inner) for inner in value]
    return value


def test_the_order_of_members_and_the_way_of_writing_change_nothing() -> None:
    turned = json.dumps(reversed_members(CHAT), indent=2).encode()
    assert turned != json.dumps(CHAT).encode()
    assert key(exchange(turned), PLAIN, "whole") == key_of(CHAT)


@pytest.mark.parametrize(
    "more",
    [
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"cache_ttl": 5},
        {"cache_options": {"omit_log": True}},
        {"customer_identifier": "a"},
        {"metadata": {"a": "b"}},
        {"respan_params": {"thread_identifier": "t"}},
        {"fallback_models": ["gpt-4o"]},
        {"user": "a"},
        {"prompt_cache_key": "a"},
        {"request_breakdown": True},
    ],
    ids=str,
)
def test_the_same_answer_is_meant(more: dict[str, Any]) -> None:
    assert key_of({**CHAT, **more}) == key_of(CHAT)


DIFFERENT: list[dict[str, Any]] = [
    {"model": "gpt-4.1-mini"},
    {"messages": [{"role": "user", "content": "hi!"}]},
    {"messages": [{"role": "system", "content": "hi"}]},
    {"messages": [{"role": "user", "content": "hi"}, {"role": "user", "content": "hi"}]},
    {"temperature": 0.6},
    {"temperature": None},
    {"tools": []},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}}}]},
    {"tool_choice": "required"},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "array"}}}},
    {"response_format": {"type": "text"}},
    {"n": 2},
    {"seed": 1},
    {"max_tokens": 5},
    {"stop": ["x"]},
    {"reasoning_effort": "low"},
    {"logprobs": True},
    {"store": True},
    {"a_field_of_tomorrow": 1},
    {"on_loss": "error"},
    {"customer_credentials": {"openai": {"api_key": "sk-a"}}},
    {"mock_response": "hi"},
]


def test_what_is_said_and_asked_makes_another_answer() -> None:
    keys = [key_of(CHAT), *(key_of({**CHAT, **more}) for more in DIFFERENT)]
    assert len(set(keys)) == len(keys)


def test_who_asks_and_what_is_switched_on_makes_another_answer() -> None:
    keys = [
        key_of(CHAT),
        key_of(CHAT, credential="sk-one"),
        key_of(CHAT, credential="sk-two"),
        key_of(CHAT, headers={"OpenAI-Beta": "assistants=v2"}),
        key_of(CHAT, headers={"OpenAI-Organization": "org-a"}),
        key_of(CHAT, headers={"X-Respan-Route-Provider": "azure"}),
        key_of(CHAT, "/api/openai/v1/chat/completions"),
        key_of(CHAT, "/api/groq/v1/chat/completions"),
        key_of(CHAT, "/api/responses"),
        key_of(CLAUDE, "/api/anthropic/v1/messages"),
        key_of(CLAUDE, "/api/anthropic/v1/messages", headers={"anthropic-beta": "context-1m"}),
        key_of(CLAUDE, "/api/anthropic/v1/messages", headers={"anthropic-version": "2023-06-01"}),
        key_of(CLAUDE, "/api/anthropic/v1/messages?beta=true"),
    ]
    assert len(set(keys)) == len(keys)
    assert not any("sk-one" in one for one in keys)
    owned = exchange(json.dumps(CHAT).encode())
    owned.caller = replace(owned.caller, key_id="a1b2")
    assert key(owned, PLAIN, "whole") != key_of(CHAT)


def test_spellings_of_one_path_are_one() -> None:
    assert len({key_of(CHAT, path) for path in ("/api/chat/completions", "/v1/chat/completions/", "/chat/completions")}) == 1
    google = {"contents": [{"parts": [{"text": "hi"}]}]}
    base = "/api/google/gemini/v1/models/gemini-2.5-flash"
    paths = [f"{base}:generateContent?key=a", f"{base}:streamGenerateContent?alt=sse", f"{base}:streamGenerateContent"]
    assert len({key_of(google, path) for path in paths}) == 1
    assert key_of(google, f"{base.replace('flash', 'pro')}:generateContent") != key_of(google, paths[0])


def test_what_claude_code_says_of_its_session_is_not_the_conversation() -> None:
    path = "/api/anthropic/v1/messages"
    assert key_of({**CLAUDE, "metadata": {"user_id": "session-1"}}, path) == key_of(CLAUDE, path)


def test_the_model_counts_unless_it_is_not_to() -> None:
    any_model = replace(PLAIN, by_model=False)
    assert key_of({**CHAT, "model": "gpt-4o"}, by=any_model) == key_of(CHAT, by=any_model) != key_of(CHAT)


def test_customers_have_their_own_when_asked() -> None:
    each = replace(PLAIN, by_customer=True)
    keys = [key_of({**CHAT, "customer_identifier": name}, by=each) for name in ("a", "b")]
    assert len({*keys, key_of(CHAT, by=each)}) == 3


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/api/responses", {"model": "gpt-4.1", "input": "hi", "tools": [{"type": "web_search"}]}),
        ("/api/anthropic/v1/messages", {**CLAUDE, "tools": [{"type": "web_search_20260209", "name": "web_search"}]}),
        ("/api/google/gemini/v1/models/gemini-2.5-flash:generateContent", {"contents": [], "tools": [{"codeExecution": {}}]}),
        ("/api/chat/completions", {**CHAT, "modalities": ["audio"], "audio": {"voice": "a"}}),
    ],
    ids=["responses", "messages", "gemini", "chat"],
)
def test_what_cannot_be_told_in_another_form_is_kept_by_form(path: str, members: dict[str, Any]) -> None:
    assert key_of(members, path, form="whole") != key_of(members, path, form="sse")
    plain = {name: value for name, value in members.items() if name not in ("tools", "audio")}
    assert key_of(plain, path, form="whole") == key_of(plain, path, form="sse")


@given(st.dictionaries(st.text(max_size=5), st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5), max_size=5))
def test_any_body_has_a_key(members: dict[str, Any]) -> None:
    body = json.dumps({**members, "model": "m"}).encode()
    assert key(exchange(body), PLAIN, "whole") == key(exchange(body), PLAIN, "whole")


def test_members_too_big_to_be_read_count_by_their_text() -> None:
    def big(letter: str, *, last: bool) -> Exchange:
        text = f'"messages": "{letter * 1_100_000}"'
        model = '"model": "m"'
        found = exchange(b'{"model": "m"}')
        scan = json_edit.scan(f"{{{', '.join([model, text] if last else [text, model])}}}".encode())
        while True:
            try:
                next(scan)
            except StopIteration as done:
                found.document = done.value
                return found

    keys = [key(big(letter, last=last), PLAIN, "whole") for letter, last in (("a", True), ("a", False), ("b", True))]
    assert keys[0] == keys[1] != keys[2]


def test_a_wish_is_read_from_the_request_and_else_from_the_config() -> None:
    warnings: list[str] = []
    assert [asks("generate", {}, Cache()), asks("generate", {}, Cache(enabled=True))] == [False, True]
    assert [asks("generate", {"cache_enabled": said}, Cache(enabled=not said)) for said in (False, True)] == [False, True]
    assert [asks(kind, {"cache_enabled": True}, Cache()) for kind in ("embed", "count", "passthrough")] == [True, False, False]
    assert wish({}, Cache(enabled=True, ttl_s=5), warnings) == Wish(5, by_customer=False, by_model=True, omit_log=False)
    said = {"cache_by_customer": True, "is_cached_by_model": False, "omit_logs": True}
    asked = {"cache_enabled": True, "cache_ttl": 9, "cache_options": said}
    assert wish(asked, Cache(), warnings) == Wish(9, by_customer=True, by_model=False, omit_log=True)
    assert not warnings


@pytest.mark.parametrize(
    ("seen", "kept"),
    [
        (Observed(finish="stop"), True),
        (Observed(finish="tool"), True),
        (Observed(finish="length"), True),
        (Observed(finish="filter"), False),
        (Observed(finish="pause"), False),
        (Observed(), False),
        (Observed(finish="stop", error="no luck"), False),
        (Observed(finish="stop", truncated=True), False),
        (Observed(finish="stop", complete=False), False),
    ],
    ids=str,
)
def test_what_is_worth_keeping(seen: Observed, kept: bool) -> None:
    assert worth_keeping("generate", seen) is kept
