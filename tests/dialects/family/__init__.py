"""A family of valid requests in each dialect: what clients say, each thing alone and many of them together, always the same ones.

`requests(dialect)` gives (name, body). A wish is a group's variant: its members are laid over the plainest request.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from tests.dialects.family import chat, gemini, messages, responses
from tests.dialects.family.said import Members

PLAIN: Mapping[str, Members] = {
    "openai.chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "openai.responses": {"model": "m", "input": [{"role": "user", "content": "hi"}]},
    "anthropic.messages": {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}
WISHES = {"openai.chat": chat.WISHES, "openai.responses": responses.WISHES, "anthropic.messages": messages.WISHES, "gemini": gemini.WISHES}
_TOGETHER = 60


def requests(dialect: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(what is wished, body): the plainest request, each wish alone, and as many again of several together."""
    wishes, dice = WISHES[dialect], random.Random(7)
    yield "plain", dict(PLAIN[dialect])
    for group, variants in wishes.items():
        for name, members in variants.items():
            yield f"{group}.{name}", _laid_over(PLAIN[dialect], members)
    for _ in range(_TOGETHER):
        body, names = dict(PLAIN[dialect]), []
        for group, variants in wishes.items():
            if dice.random() < 0.7:
                name = dice.choice(list(variants))
                body, names = _laid_over(body, variants[name]), [*names, f"{group}.{name}"]
        yield " ".join(names), body


def _laid_over(body: Members, members: Members) -> dict[str, Any]:
    """Groups of one member (`generationConfig`, `output_config`, `include`) are joined."""
    merged = dict(body)
    for name, value in members.items():
        before = merged.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            value = {**before, **value}
        elif name == "include" and isinstance(before, list):
            value = [*before, *value]
        merged[name] = value
    return merged
