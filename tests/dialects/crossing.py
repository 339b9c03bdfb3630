"""How tests take a request across: read in one dialect, written for another, held against the target's SDK types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.names import NameMap
from respan_proxy.dialects.profiles import profile_of
from respan_proxy.dialects.request import Losses, Profile
from respan_proxy.errors import Untranslatable
from tests.dialects import family
from tests.dialects.typed import outgoing


@dataclass(frozen=True, slots=True)
class Crossed:
    body: dict[str, Any]
    notices: list[str]
    names: NameMap


def crossed(source: str, target: str, body: dict[str, Any], profile: Profile | None = None) -> Crossed:
    read, write = DIALECTS[source].read_request, DIALECTS[target].write_request
    assert read is not None
    assert write is not None
    losses = Losses()
    told = write(read(body), profile or Profile(), losses)
    return Crossed(told.members, losses.notices, told.names)


def to_claude(profile: Profile | None = None, /, **members: Any) -> Crossed:
    """A chat request for Claude."""
    told = crossed("openai.chat", "anthropic.messages", {"model": "m", "messages": [{"role": "user", "content": "hi"}], **members}, profile)
    assert_typed("anthropic.messages", told.body)
    return told


def to_chat(profile: Profile | None = None, /, **members: Any) -> Crossed:
    """A Messages request for a chat server."""
    whole = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}], **members}
    told = crossed("anthropic.messages", "openai.chat", whole, profile)
    if not (profile and (profile.extra_params or profile.replays_reasoning)):
        assert_typed("openai.chat", told.body)
    return told


def assert_typed(dialect: str, body: dict[str, Any], told: str = "") -> None:
    """The official SDK's own types allow the body."""
    assert outgoing(dialect, body) == [], told


# Of each dialect, models that take much and models that take little.
MODELS: Mapping[str, Sequence[tuple[str, str]]] = {
    "openai.chat": [("openai", "gpt-4.1"), ("openai", "gpt-5.1"), ("openai", "o3"), ("groq", "llama-3.3-70b-versatile")],
    "openai.responses": [("openai", "gpt-4.1"), ("openai", "gpt-5.6-luna")],
    "anthropic.messages": [
        ("anthropic", "claude-3-5-haiku-20241022"),
        ("anthropic", "claude-sonnet-4-5"),
        ("anthropic", "claude-sonnet-4-6"),
        ("anthropic", "claude-opus-5-5"),
    ],
    "gemini": [("gemini", "gemini-2.0-flash"), ("gemini", "gemini-2.5-flash"), ("gemini", "gemini-3-pro-preview")],
}


def swept(source: str, target: str) -> Iterator[tuple[str, str, dict[str, Any] | None]]:
    """(wish, model, body) of the whole family; no body where the request is refused."""
    read, write = DIALECTS[source].read_request, DIALECTS[target].write_request
    assert read is not None
    assert write is not None
    for name, body in family.requests(source):
        request = read(body, model="m")
        for company, model in MODELS[target]:
            try:
                yield name, model, write(request, profile_of(company, model), Losses()).members
            except Untranslatable:
                yield name, model, None
