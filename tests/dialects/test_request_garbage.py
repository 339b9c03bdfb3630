"""Whatever a caller sends, in any dialect, to any dialect: it is carried or refused by name, and nothing crashes."""

from __future__ import annotations

import json
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.asked import compact
from respan_proxy.dialects.request import Losses, Profile
from respan_proxy.errors import RequestRejected
from tests.dialects import vectors

MEMBERS = st.sampled_from(
    ("type", "text", "role", "content", "parts", "name", "id", "call_id", "arguments", "input", "output", "tools", "parameters", "thought",
     "signature", "format", "schema", "functionCall", "data", "mimeType", "image_url", "mode", "refusal", "summary", "encrypted_content")
)  # fmt: skip
WORDS = st.sampled_from(
    ("user", "assistant", "system", "developer", "model", "tool", "message", "function_call", "function_call_output", "reasoning", "custom",
     "input_text", "input_image", "input_file", "input_audio", "image", "document", "thinking", "tool_use", "tool_result", "web_search",
     "auto", "allowed_tools", "json_schema", "data:,a", "https://a.test/b", "AA==", "gw1.gemini.AA==", "{", "")
)  # fmt: skip
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4),
    max_leaves=8,
)
PROFILES = st.builds(
    Profile,
    thinking=st.sampled_from([None, "adaptive", "budget", "level", "none"]),
    sampling=st.booleans(),
    structured=st.booleans(),
    encrypted_reasoning=st.booleans(),
    mid_system=st.booleans(),
    refuses=st.frozensets(st.sampled_from(["responseJsonSchema", "parametersJsonSchema", "stop", "verbosity", "service_tier"])),
)

BODIES = [
    (vectors.NAMES[vector["dialect_in"]], vector["request_in"]["body"])
    for path in sorted(vectors.FOLDER.glob("[0-9]*.json"))
    if (vector := json.loads(path.read_text("utf-8")))["dialect_in"] in vectors.NAMES and "body" in vector["request_in"]
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Everything inside that can be replaced: (container, key)."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        pairs = [(value, name) for name in value]
    elif isinstance(value, list):
        pairs = [(value, index) for index in range(len(value))]
    return pairs + [inner for container, key in pairs for inner in places(container[key])]


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    dialect, body = draw(st.sampled_from(BODIES))
    body = deepcopy(body)
    for _ in range(draw(st.integers(1, 3))):
        if found := places(body):
            container, key = draw(st.sampled_from(found))
            container[key] = draw(JUNK)
    if draw(st.booleans()):
        body[draw(MEMBERS)] = draw(JUNK)
    return dialect, body


def carried(dialect: str, body: dict[str, Any], profile: Profile) -> None:
    """Anything but a refusal fails."""
    read = DIALECTS[dialect].read_request
    assert read is not None
    try:
        request = read(body, model="m")
    except RequestRejected:
        return
    for target in DIALECTS.values():
        assert target.write_request is not None
        with suppress(RequestRejected):
            compact(target.write_request(request, profile, Losses()).members, "request")


@given(damaged(), PROFILES)
def test_a_damaged_request_is_carried_or_refused(told: tuple[str, dict[str, Any]], profile: Profile) -> None:
    carried(*told, profile)


@given(
    st.sampled_from(list(DIALECTS)), st.dictionaries(MEMBERS | st.sampled_from(("messages", "contents", "model", "generationConfig")), JUNK)
)
def test_any_object_is_carried_or_refused(dialect: str, body: dict[str, Any]) -> None:
    carried(dialect, body, Profile())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_absurd_nesting_is_refused_not_overflowed(dialect: str) -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = {"items": deep, "type": "array"}
    bodies: dict[str, list[dict[str, Any]]] = {
        "openai.chat": [{"messages": [{"role": "user", "content": deep}]}],
        "openai.responses": [
            {"input": [{"role": "user", "content": [deep]}]},
            {"input": "a", "tools": [{"type": "function", "name": "f", "parameters": deep}]},
            {"input": "a", "text": {"format": {"type": "json_schema", "name": "n", "schema": deep}}},
        ],
        "anthropic.messages": [{"max_tokens": 1, "messages": [{"role": "user", "content": [deep]}]}],
        "gemini": [
            {"contents": [{"parts": [{"functionCall": {"name": "f", "args": deep}}]}]},
            {"contents": [{"parts": [{"text": "a"}]}], "tools": [{"functionDeclarations": [{"name": "f", "parameters": deep}]}]},
            {"contents": [{"parts": [{"text": "a"}]}], "generationConfig": {"responseSchema": deep}},
        ],
    }
    for body in bodies[dialect]:
        carried(dialect, body, Profile(thinking="level"))
        carried(dialect, body, Profile(refuses=frozenset(("responseJsonSchema", "parametersJsonSchema"))))
