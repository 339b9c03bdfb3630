"""Embeddings between OpenAI and Gemini: the vectors, the SDK's own decoding, and everything that is refused or malformed."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse, EmbeddingCreateParams

from respan_proxy.dialects.embeddings import Embedded, EmbedRequest, read_reply, read_request, write_reply, write_request
from respan_proxy.dialects.events import Failure
from respan_proxy.dialects.request import Losses
from respan_proxy.errors import RequestRejected
from tests.dialects import vectors
from tests.dialects.typed import complaints

VECTORS = [
    pytest.param(json.loads(path.read_text("utf-8")), id=path.stem)
    for path in sorted(vectors.FOLDER.glob("*_emb_*.json"))
    if "pass" not in path.stem
]
junk = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3), max_leaves=6)


def crossed(dialect: str, body: dict[str, Any], to: str, model: str | None = None) -> tuple[EmbedRequest, str, dict[str, Any], list[str]]:
    losses = Losses()
    request = read_request(dialect, body, model)
    method, members = write_request(to, request, losses)
    return request, method, members, losses.notices


@pytest.mark.parametrize("vector", VECTORS)
def test_an_exchange_is_the_vectors(vector: dict[str, Any]) -> None:
    request, method, members, notices = crossed("openai.chat", vector["request_in"]["body"], "gemini")
    expected = vector["upstream_request_expected"]
    assert (f"/v1beta/models/{request.model}:{method}", members, notices) == (
        expected["path"],
        expected["body"],
        vector["warnings_expected"],
    )
    embedded = read_reply("gemini", vectors.body(vector["upstream_response"]))
    assert isinstance(embedded, Embedded)
    assert json.loads(write_reply(request, embedded)) == vector["client_response_expected"]["body"]


def test_every_vector_is_played() -> None:
    assert len(VECTORS) == 2


def test_a_gemini_batch_crosses_to_openai_and_back() -> None:
    body = {
        "requests": [
            {
                "model": "models/e",
                "content": {"parts": [{"text": "a"}, {"text": "b"}]},
                "output_dimensionality": 2,
                "taskType": "RETRIEVAL_QUERY",
            },
            {"model": "models/e", "content": {"parts": [{"text": "c"}]}, "embedContentConfig": {"outputDimensionality": 2}},
        ]
    }
    request, method, members, notices = crossed("gemini", body, "openai.chat")
    assert (method, notices) == ("", ["taskType:dropped"])
    assert members == {"model": "e", "input": ["ab", "c"], "encoding_format": "float", "dimensions": 2}
    assert complaints(members, EmbeddingCreateParams) == []
    answer = {
        "data": [{"index": 1, "embedding": "AACAPw=="}, {"index": 0, "embedding": [0.5]}],
        "model": "e",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    embedded = read_reply("openai.chat", orjson.dumps(answer))
    assert isinstance(embedded, Embedded)
    assert embedded.usage is not None
    assert embedded.usage.prompt == 3
    told = json.loads(write_reply(request, embedded))
    assert told == {"embeddings": [{"values": [0.5]}, {"values": [1.0]}]}
    types.EmbedContentResponse.model_validate(told)


def test_one_content_is_answered_with_one_embedding() -> None:
    request, _, members, _ = crossed("gemini", {"content": {"parts": [{"text": "a"}]}}, "openai.chat", "e")
    assert members["input"] == ["a"]
    assert json.loads(write_reply(request, Embedded(((1.0,),)))) == {"embedding": {"values": [1.0]}}
    assert read_reply("gemini", b'{"embedding":{"values":[1.0]},"usageMetadata":{"promptTokenCount":2}}') != read_reply(
        "gemini", b'{"embedding":{"values":[1.0]}}'
    )


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), max_size=5), min_size=1, max_size=4))
def test_base64_says_the_same_numbers(numbers: list[list[float]]) -> None:
    request = EmbedRequest(dialect="openai.chat", model="e", texts=("a",) * len(numbers), encoding="base64")
    written = write_reply(request, Embedded(tuple(numbers)))
    again = read_reply("openai.chat", written)
    assert isinstance(again, Embedded)
    assert [list(vector) for vector in again.vectors] == numbers
    CreateEmbeddingResponse.model_validate(
        {
            **json.loads(written),
            "data": [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(numbers)],
        }
    )


def test_numbers_beyond_float32_are_infinite() -> None:
    request = EmbedRequest(dialect="openai.chat", model="e", texts=("a",), encoding="base64")
    again = read_reply("openai.chat", write_reply(request, Embedded(((1e300, -1e300, 1.0),))))
    assert isinstance(again, Embedded)
    assert list(again.vectors[0]) == [float("inf"), float("-inf"), 1.0]


@pytest.mark.parametrize(
    ("dialect", "body", "param"),
    [
        ("openai.chat", {"model": "e", "input": [1, 2]}, "input"),
        ("openai.chat", {"model": "e", "input": [[1, 2]]}, "input"),
        ("openai.chat", {"model": "e", "input": []}, "input"),
        ("openai.chat", {"model": "e"}, "input"),
        ("openai.chat", {"model": "e", "input": "a", "encoding_format": "int8"}, "encoding_format"),
        ("openai.chat", {"input": "a"}, "model"),
        ("gemini", {"requests": []}, "requests"),
        ("gemini", {"content": {"parts": [{"inlineData": {}}]}, "model": "models/e"}, "content.parts[0]"),
        ("gemini", {"content": {"parts": [{"text": "a"}]}}, "model"),
        (
            "gemini",
            {"requests": [{"model": "e", "content": {"parts": []}, "outputDimensionality": size} for size in (1, 2)]},
            "requests",
        ),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(dialect: str, body: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestRejected) as refused:
        read_request(dialect, body)
    assert refused.value.param == param


def test_unknown_members_and_the_user_are_told_as_lost() -> None:
    _, _, _, notices = crossed("openai.chat", {"model": "e", "input": "a", "user": "u", "priority": 1}, "gemini")
    assert notices == ["priority:dropped", "user:dropped"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>", "bad_gateway"),
        (b"{}", "bad_gateway"),
        (b'{"error":{"message":"no","code":429}}', "rate_limit"),
        (b'{"embeddings":[{"values":["a"]}]}', "bad_gateway"),
    ],
)
def test_a_reply_without_vectors_is_a_failure(body: bytes, kind: str) -> None:
    failure = read_reply("gemini", body)
    assert isinstance(failure, Failure)
    assert failure.kind == kind


@given(
    st.sampled_from(["openai.chat", "gemini"]),
    st.dictionaries(st.sampled_from(["model", "input", "content", "requests", "dimensions", "parts", "user"]), junk),
)
def test_garbage_is_rejected_and_never_crashes(dialect: str, body: dict[str, Any]) -> None:
    try:
        request = read_request(dialect, body)
    except RequestRejected:
        return
    for to in ("openai.chat", "gemini"):
        orjson.dumps(write_request(to, request, Losses())[1])


@given(
    st.sampled_from(["openai.chat", "gemini"]),
    st.dictionaries(st.sampled_from(["data", "embeddings", "embedding", "usage", "error"]), junk),
)
def test_garbage_replies_never_crash(dialect: str, body: dict[str, Any]) -> None:
    assert isinstance(read_reply(dialect, orjson.dumps(body)), (Embedded, Failure))
