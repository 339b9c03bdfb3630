"""How tests take a request across: read in one dialect, written for another, held against the target's SDK types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anthropic.types.message_create_params import MessageCreateParams
from openai.types.chat.completion_create_params import CompletionCreateParams
from openai.types.responses import ResponseCreateParams

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.names import NameMap
from respan_proxy.dialects.request import Losses, Profile
from tests.dialects.typed import complaints, gemini_types

LEGACY = {"temperature", "top_p", "top_k"}  # of version 2023-06-01: gone from the types of anthropic 2.x
EXTENSIONS = {"top_k", "random_seed"}  # of compatible servers


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
    outgoing = write(read(body), profile or Profile(), losses)
    return Crossed(outgoing.members, losses.notices, outgoing.names)


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


def assert_typed(dialect: str, body: dict[str, Any]) -> None:
    """The official SDK's own types allow the body."""
    match dialect:
        case "anthropic.messages":
            assert complaints({name: value for name, value in body.items() if name not in LEGACY}, MessageCreateParams) == []
        case "openai.chat":
            assert complaints({name: value for name, value in body.items() if name not in EXTENSIONS}, CompletionCreateParams) == []
        case "openai.responses":
            assert complaints(body, ResponseCreateParams) == []
        case _:
            gemini_types(body)
