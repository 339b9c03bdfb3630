"""The request side of every vector between chat and Anthropic, and whole exchanges: what leaves, what got lost, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from respan_proxy.dialects.events import Event
from respan_proxy.dialects.request import Losses, Profile
from respan_proxy.errors import RequestRejected
from tests.dialects import vectors
from tests.dialects.crossing import assert_typed

PAIR = {"openai.chat", "anthropic.messages"}


def cases() -> list[Any]:
    told = ((path.stem, json.loads(path.read_text("utf-8"))) for path in sorted(vectors.FOLDER.glob("[0-9]*.json")))
    return [pytest.param(vector, id=name) for name, vector in told if {vector["dialect_in"], vector["dialect_out"]} == PAIR]


CASES = cases()
SENT = [case for case in CASES if case.values[0]["upstream_request_expected"]]
REFUSED = [case for case in CASES if case not in SENT]
ANSWERED_WHOLE = [
    case for case in SENT if "body" in case.values[0]["upstream_response"] and case.values[0]["upstream_response"]["status"] == 200
]


def translated(vector: dict[str, Any], losses: Losses) -> Any:
    read, write = vectors.client(vector).read_request, vectors.provider(vector).write_request
    assert read is not None
    assert write is not None
    return write(read(vector["request_in"]["body"]), Profile(**vector["profile"]), losses)


@pytest.mark.parametrize("vector", SENT)
def test_a_request_leaves_as_its_target_takes_it_and_says_what_it_lost(vector: dict[str, Any]) -> None:
    losses = Losses()
    assert translated(vector, losses).members == vector["upstream_request_expected"]["body"]
    assert losses.notices == vector["warnings_expected"]


@pytest.mark.parametrize("vector", SENT)
def test_what_leaves_is_what_the_targets_sdk_types_allow(vector: dict[str, Any]) -> None:
    assert_typed(vector["dialect_out"], translated(vector, Losses()).members)


@pytest.mark.parametrize("vector", REFUSED)
def test_what_cannot_be_carried_is_refused_in_the_callers_dialect(vector: dict[str, Any]) -> None:
    with pytest.raises(RequestRejected) as refused:
        translated(vector, Losses())
    status, body = vectors.client(vector).write_error(refused.value, "")
    expected = vector["client_response_expected"]
    answer = json.loads(body)
    answer.pop("detail", None)
    assert (status, answer) == (expected["status"], expected["body"])


@pytest.mark.parametrize("vector", ANSWERED_WHOLE)
def test_a_whole_exchange_answers_in_the_clients_words(vector: dict[str, Any]) -> None:
    restore = translated(vector, Losses()).names.restore()
    events: list[Event] = [
        told for event in vectors.provider(vector).read_reply(vectors.body(vector["upstream_response"])) for told in restore(event)
    ]
    if vector["client_response_expected"]["status"] == 200:
        written = vectors.client(vector).write_reply(events, vectors.context(vector))
        assert json.loads(written) == vectors.expected_body(vector)


def test_every_vector_between_the_two_is_played() -> None:
    assert len(SENT) > 40
    assert len(REFUSED) == 3
