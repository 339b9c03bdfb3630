"""The request side of every vector in which Responses or Gemini ask or are asked: what leaves, what is lost, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.request import Losses, Profile
from respan_proxy.errors import RequestRejected
from tests.dialects import vectors
from tests.dialects.crossing import assert_typed

OURS = {"openai.responses", "gemini"}


def cases() -> Any:
    for path in sorted(vectors.FOLDER.glob("[0-9]*.json")):
        vector = json.loads(path.read_text("utf-8"))
        known = {vector["dialect_in"], vector["dialect_out"]} <= vectors.NAMES.keys()
        if (
            known
            and "passthrough" not in vector["tags"]
            and OURS & {vectors.NAMES[vector["dialect_in"]], vectors.NAMES[vector["dialect_out"]]}
        ):
            yield pytest.param(vector, id=path.stem)


CASES = list(cases())
SENT = [case for case in CASES if case.values[0]["upstream_request_expected"]]
REFUSED = [case for case in CASES if case not in SENT]


def in_path(vector: dict[str, Any]) -> dict[str, Any]:
    """What only Gemini's path says."""
    path = vector["request_in"]["path"]
    if vector["dialect_in"] != "gemini.generateContent":
        return {}
    model, _, method = path.partition("/models/")[2].partition(":")
    return {"model": model, "stream": method.startswith("stream")}


def translated(vector: dict[str, Any]) -> tuple[dict[str, Any], list[str], str, bool]:
    """(body, notices, model, streamed)"""
    read, write = vectors.client(vector).read_request, vectors.provider(vector).write_request
    assert read is not None
    assert write is not None
    request = read(vector["request_in"]["body"], **in_path(vector))
    losses = Losses()
    outgoing = write(request, Profile(**vector["profile"]), losses)
    return outgoing.members, losses.notices, request.model, request.stream


@pytest.mark.parametrize("vector", SENT)
def test_what_leaves_and_what_is_lost_are_as_expected(vector: dict[str, Any]) -> None:
    body, notices, model, streamed = translated(vector)
    expected = vector["upstream_request_expected"]
    assert body == expected["body"]
    assert notices == vector["warnings_expected"]
    if vector["dialect_out"] == "gemini.generateContent":
        assert expected["path"] == f"/v1beta/models/{model}:{'streamGenerateContent?alt=sse' if streamed else 'generateContent'}"


@pytest.mark.parametrize("vector", REFUSED)
def test_what_cannot_be_carried_is_refused_by_name(vector: dict[str, Any]) -> None:
    with pytest.raises(RequestRejected) as refused:
        translated(vector)
    status, body = vectors.client(vector).write_error(refused.value, "")
    expected = vector["client_response_expected"]
    answer = json.loads(body)
    answer.pop("detail", None)
    assert (status, answer) == (expected["status"], expected["body"])


@pytest.mark.parametrize("vector", SENT)
def test_what_leaves_is_what_the_targets_sdk_types_allow(vector: dict[str, Any]) -> None:
    assert_typed(vectors.NAMES[vector["dialect_out"]], translated(vector)[0])


@pytest.mark.parametrize("vector", SENT)
def test_what_leaves_is_read_back_by_its_own_dialect(vector: dict[str, Any]) -> None:
    """Written by us, understood by us: nothing that a writer says is unknown to the reader of the same dialect."""
    read = DIALECTS[vectors.NAMES[vector["dialect_out"]]].read_request
    assert read is not None
    request = read(vector["upstream_request_expected"]["body"], model="m")
    assert request.turns
