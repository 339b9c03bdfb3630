from __future__ import annotations

import math
import struct
from base64 import b64decode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.echo.vectors import embed, vector
from respan_proxy.errors import RequestRejected


def cosine(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(vector(one, 512), vector(other, 512), strict=True))


@given(st.text(), st.integers(1, 300))
def test_vectors_have_length_one_and_the_dimensions_asked_for(text: str, dimensions: int) -> None:
    values = vector(text, dimensions)
    assert len(values) == dimensions
    assert math.isclose(math.hypot(*values), 1, abs_tol=1e-5)
    assert values == vector(text, dimensions)


def test_texts_that_share_words_are_nearer() -> None:
    assert cosine("how to cook an omelette", "cook an omelette with cheese") > cosine("how to cook an omelette", "quarterly revenue report")


def test_base64_is_the_little_endian_float32_of_the_same_vector() -> None:
    asked: dict[str, Any] = {"input": ["a", "b"], "dimensions": 8}
    floats = orjson.loads(embed("openai.chat", "m", asked))
    packed = orjson.loads(embed("openai.chat", "m", {**asked, "encoding_format": "base64"}))
    for one, other in zip(floats["data"], packed["data"], strict=True):
        assert list(struct.unpack("<8f", b64decode(other["embedding"]))) == one["embedding"]
    assert floats["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


def test_one_string_and_token_ids_are_inputs_too() -> None:
    assert len(orjson.loads(embed("openai.chat", "m", {"input": "a"}))["data"][0]["embedding"]) == 1536
    assert orjson.loads(embed("openai.chat", "m", {"input": [1, 2, 3]}))["usage"]["prompt_tokens"] == 3


@pytest.mark.parametrize(
    "body", [None, {}, {"input": []}, {"input": [None]}, {"input": "a", "dimensions": 0}, {"input": "a", "dimensions": "8"}]
)
def test_what_openai_refuses_is_refused(body: Any) -> None:
    with pytest.raises(RequestRejected, match=r"input|dimensions"):
        embed("openai.chat", "m", body)


def test_gemini_embeds_one_content_or_a_batch() -> None:
    one = {"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 4}
    single = orjson.loads(embed("gemini", "m", one))["embedding"]
    batch = orjson.loads(embed("gemini", "m", {"requests": [one, {**one, "content": {"parts": [{"text": "b"}]}}]}))["embeddings"]
    assert batch[0] == single == {"values": vector("a", 4)}
    assert batch[1] == {"values": vector("b", 4)}
