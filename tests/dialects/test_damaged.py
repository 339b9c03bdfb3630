"""Every place of every kind of request with something else in it: what leaves is still of the vendors' types, or the place is named."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.asked import compact
from respan_proxy.dialects.profiles import profile_of
from respan_proxy.dialects.request import ChatRequest, Losses
from respan_proxy.errors import RequestRejected
from tests.dialects import family
from tests.dialects.crossing import MODELS
from tests.dialects.sound import complaints_of
from tests.dialects.test_request_garbage import places
from tests.dialects.typed import outgoing

JUNK: list[Any] = [None, True, -1, 1.5, "", "x", [], ["a"], [None], {}, {"type": "x"}, {"a": None}]
# Told as they are, because their forms are their makers' business: cache marks, signatures, OpenAI's words to OpenAI.
OPAQUE = ("cache_control", "thoughtSignature", "verbosity", "search_context_size")
# A wish of OpenAI's own client that OpenAI itself would refuse is left to it: a strict schema that is not.
LEFT = ("not strict", "a format that is not strict")


def unnamed(refused: RequestRejected) -> None:
    """Fails when the refusal does not say what it is about."""
    assert refused.param, refused


def read(dialect: str, body: dict[str, Any]) -> ChatRequest | None:
    reader = DIALECTS[dialect].read_request
    assert reader is not None
    try:
        return reader(body, model="m")
    except RequestRejected as refused:
        return unnamed(refused)


def wrong(target: str, request: ChatRequest) -> list[str]:
    write = DIALECTS[target].write_request
    assert write is not None
    try:
        members = write(request, profile_of(*MODELS[target][-1 if target != "openai.chat" else 0]), Losses()).members
    except RequestRejected as refused:
        return unnamed(refused) or []
    body = json.loads(compact(members, "request"))
    said = [line for line in outgoing(target, body) if not any(name in line for name in OPAQUE)]
    return said + [line for line in complaints_of(target, body) if not line.startswith(LEFT)]


@pytest.mark.parametrize("every", [len(JUNK), pytest.param(1, marks=pytest.mark.slow)])  # all of it in every place takes a minute
@pytest.mark.parametrize("source", DIALECTS)
def test_something_else_in_any_place_is_carried_whole_or_refused_by_name(source: str, every: int) -> None:
    carried = 0
    for name, body in family.requests(source):
        if " " in name:  # together they have no place that one of them has not
            continue
        for index, (container, _) in enumerate(places(body)):
            assert isinstance(container, (dict, list))
            for number, junk in enumerate(JUNK):
                if (index + number) % every:
                    continue
                damaged = deepcopy(body)
                at, key = places(damaged)[index]
                at[key] = deepcopy(junk)
                request = read(source, damaged)
                for target in DIALECTS if request is not None else ():
                    if target != source and request is not None:
                        carried += 1
                        assert wrong(target, request) == [], (name, key, junk, target)
    assert carried > 300
