"""Owns embeddings: unit vectors of a text's words, alike where the words are alike, and no model behind them."""

from __future__ import annotations

import math
import struct
from base64 import b64encode
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from respan_proxy.dialects.usage import estimate
from respan_proxy.echo.reading import read
from respan_proxy.errors import RequestRejected

DEFAULT_DIMENSIONS = 1536  # OpenAI's text-embedding-3-small
MOST_DIMENSIONS = 4096
MOST_INPUTS = 2048  # OpenAI's limit for one request


def vector(text: str, dimensions: int) -> list[float]:
    """A unit vector of float32 values: every word adds to a few places (feature hashing), so shared words mean a smaller angle."""
    places = [0.0] * dimensions
    for word in [*text.casefold().split(), text]:
        for place, sign in struct.iter_unpack("<IB3x", blake2b(word.encode("utf-8", "surrogatepass"), digest_size=32).digest()):
            places[place % dimensions] += 1.0 if sign & 1 else -1.0
    length = math.sqrt(sum(value * value for value in places))
    if not length:  # every word was cancelled by another
        places[0] = length = 1.0
    return list(struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *(value / length for value in places))))


def embed(dialect: str, model: str, body: Any) -> bytes:
    """The answer to an embedding request of OpenAI (`/embeddings`) or Gemini (`:embedContent`, `:batchEmbedContents`).

    Raises `RequestRejected` for what OpenAI would refuse too.
    """
    members = body if isinstance(body, Mapping) else {}
    return _gemini(members) if dialect == "gemini" else _openai(model, members)


def _openai(model: str, body: Mapping[str, Any]) -> bytes:
    given = body.get("input")
    if isinstance(given, str) or (isinstance(given, list) and given and all(isinstance(token, int) for token in given)):
        given = [given]
    if not isinstance(given, list) or not 0 < len(given) <= MOST_INPUTS or not all(isinstance(each, str | list) for each in given):
        raise RequestRejected(f"input: expected a string, token ids, or a list of up to {MOST_INPUTS} of either", param="input")
    dimensions = _dimensions(body.get("dimensions"), "dimensions")
    vectors = (vector(text if isinstance(text, str) else " ".join(map(str, text)), dimensions) for text in given)
    is_base64 = body.get("encoding_format") == "base64"
    tokens = sum(estimate(each) if isinstance(each, str) else len(each) for each in given)
    return orjson.dumps(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": place, "embedding": _base64(values) if is_base64 else values}
                for place, values in enumerate(vectors)
            ],
            "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _gemini(body: Mapping[str, Any]) -> bytes:
    requests = body.get("requests")
    if not isinstance(requests, list):
        return orjson.dumps({"embedding": _values(body), **_tokens([body])})
    return orjson.dumps({"embeddings": [_values(each) for each in requests if isinstance(each, Mapping)], **_tokens(requests)})


def _values(request: Mapping[str, Any]) -> dict[str, list[float]]:
    config = request.get("embedContentConfig") or request.get("embed_content_config") or request
    wanted = config.get("outputDimensionality") or config.get("output_dimensionality")
    return {"values": vector(read("gemini", request).question, _dimensions(wanted, "outputDimensionality"))}


def _tokens(requests: list[Any]) -> dict[str, Any]:
    return {"usageMetadata": {"promptTokenCount": sum(estimate(read("gemini", each).question) for each in requests)}}


def _dimensions(wanted: Any, name: str) -> int:
    if wanted is None:
        return DEFAULT_DIMENSIONS
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted <= MOST_DIMENSIONS:
        raise RequestRejected(f"{name}: expected a number from 1 to {MOST_DIMENSIONS}", param=name)
    return wanted


def _base64(values: list[float]) -> str:
    return b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
