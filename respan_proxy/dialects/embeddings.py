"""Embeddings across OpenAI and Gemini: requests and replies, floats and base64 of little-endian float32.

Source: `EmbeddingCreateParams` (openai 3.54), whose SDK asks for base64 unless told otherwise; `:embedContent` and
`:batchEmbedContents` of google-genai 1.75 and 3.4, which batches even one text.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from respan_proxy.dialects.asked import Asked, missing, wrong
from respan_proxy.dialects.events import Failure
from respan_proxy.dialects.faults import broken, error_of
from respan_proxy.dialects.gemini_request_read import camel
from respan_proxy.dialects.lenient import members, objects, text
from respan_proxy.dialects.request import Losses
from respan_proxy.dialects.usage import Usage, openai_usage
from respan_proxy.errors import Untranslatable

Encoding = Literal["float", "base64"]
_ENCODINGS: Mapping[str, Encoding] = {"float": "float", "base64": "base64"}
_OPENAI_READ = frozenset(("model", "input", "dimensions", "encoding_format", "user"))
_GEMINI_READ = frozenset(("model", "content", "outputDimensionality", "taskType", "title", "embedContentConfig"))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """Texts to be embedded, and how the client wants them back."""

    dialect: str
    """`openai.chat` (its family has one form of embeddings) or `gemini`."""
    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    encoding: Encoding = "float"
    single: bool = False
    """Gemini's `:embedContent`, which answers with `embedding` instead of `embeddings`."""
    user: str | None = None
    knobs: Mapping[str, Any] | None = None
    """Members that only the client's dialect has (`taskType`, `title`): dropped with a notice."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """One vector for each text, in order."""

    vectors: tuple[Sequence[float], ...]
    model: str | None = None
    usage: Usage | None = None


# ------------------------------------------------------------------------------------------------ requests


def read_request(dialect: str, body: Mapping[str, Any], model: str | None = None) -> EmbedRequest:
    """A body's members -> neutral; `model` is the path's, where that says it. Raises RequestRejected naming the member."""
    return _read_gemini(Asked(body), model) if dialect == "gemini" else _read_openai(Asked(body), model)


def _read_openai(asked: Asked, model: str | None) -> EmbedRequest:
    told = asked.members.get("input")
    if told is None:
        raise missing("input", "a string or an array of strings")
    texts = [told] if isinstance(told, str) else told
    if not isinstance(texts, list) or not texts:
        raise wrong("input", told, "a string or an array of strings")
    if isinstance(texts[0], (int, list)):
        raise Untranslatable("token ids in 'input' mean nothing to the target model; send text", param="input")
    return EmbedRequest(
        dialect="openai.chat",
        model=model or asked.one_text("model"),
        texts=asked.texts("input") if isinstance(told, list) else (told,),
        dimensions=asked.integer("dimensions"),
        encoding=asked.word("encoding_format", _ENCODINGS) or "float",
        user=asked.text("user"),
        knobs={name: value for name, value in asked.members.items() if name not in _OPENAI_READ and value is not None},
    )


def _read_gemini(asked: Asked, model: str | None) -> EmbedRequest:
    asked = camel(asked)
    single = "requests" not in asked.members
    requests = [asked] if single else [camel(request) for request in asked.objects("requests")]
    if not requests:
        raise wrong("requests", [], "at least one request")
    texts, dimensions, knobs = [], set(), dict[str, Any]()
    for request in requests:
        config = request.object("embedContentConfig")
        settings = camel(config) if config is not None else request  # newer models nest them
        texts.append(_text(camel(request.one_object("content"))))
        dimensions.add(settings.integer("outputDimensionality"))
        knobs |= {name: value for name, value in settings.members.items() if name not in _GEMINI_READ and value is not None}
        knobs |= {name: settings.members[name] for name in ("taskType", "title") if settings.members.get(name) is not None}
        model = model or (request.text("model") or "").removeprefix("models/") or None
    if len(dimensions) > 1:
        raise Untranslatable("'requests' ask for different 'outputDimensionality'; the target model has one for all", param="requests")
    if model is None:
        raise missing("model", "a string")
    return EmbedRequest(dialect="gemini", model=model, texts=tuple(texts), dimensions=dimensions.pop(), single=single, knobs=knobs)


def _text(content: Asked) -> str:
    """The text of a Content: its parts are embedded as one."""
    texts = []
    for part in content.objects("parts"):
        text = part.text("text")
        if text is None:
            raise Untranslatable(f"'{part.where}' is no text; only text can be embedded by the target model", param=part.where)
        texts.append(text)
    return "".join(texts)


def write_request(dialect: str, request: EmbedRequest, losses: Losses, model: str | None = None) -> tuple[str, dict[str, Any]]:
    """(what is done, the body): Gemini's method, which is part of the path, or "" where the path says it all."""
    model = model or request.model
    for name in request.knobs or ():
        losses.add(name)
    if dialect == "gemini":
        if request.user:
            losses.add("user")
        size = {} if request.dimensions is None else {"outputDimensionality": request.dimensions}
        batch = [{"model": f"models/{model}", "content": {"parts": [{"text": text}]}, **size} for text in request.texts]
        return "batchEmbedContents", {"requests": batch}
    body: dict[str, Any] = {"model": model, "input": list(request.texts), "encoding_format": "float"}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.user:
        body["user"] = request.user
    return "", body


# ------------------------------------------------------------------------------------------------ replies


def read_reply(dialect: str, body: bytes) -> Embedded | Failure:
    """A whole 2xx body; a body that is an error or holds no vectors is a `Failure`. Never raises."""
    try:
        told = members(orjson.loads(body))
    except orjson.JSONDecodeError:
        return broken("Upstream sent malformed JSON")
    if told.get("error"):
        return Failure.of(error_of(told))
    rows = objects(told.get("embeddings")) or objects([told.get("embedding")]) if dialect == "gemini" else objects(told.get("data"))
    if dialect != "gemini":
        rows = sorted(rows, key=_index)
    vectors = [_vector(row.get("values" if dialect == "gemini" else "embedding")) for row in rows]
    known = tuple(vector for vector in vectors if vector is not None)
    if not known or len(known) < len(vectors):
        return broken("Upstream sent no embeddings" if not rows else "Upstream sent an embedding that is no vector")
    usage = told.get("usage")
    counted = members(told.get("usageMetadata")).get("promptTokenCount")
    if isinstance(usage, dict):
        return Embedded(known, text(told.get("model")), openai_usage(usage))
    return Embedded(known, text(told.get("model")), Usage(prompt=counted) if isinstance(counted, int) else None)


def _index(row: Mapping[str, Any]) -> int:
    index = row.get("index")
    return index if isinstance(index, int) else 0


def _vector(told: object) -> Sequence[float] | None:
    if isinstance(told, str):
        return _decoded(told)
    if not isinstance(told, list) or not all(isinstance(number, (int, float)) for number in told):
        return None
    return told


def _decoded(data: str) -> Sequence[float] | None:
    try:
        raw = base64.b64decode(data, validate=True)
        return struct.unpack(f"<{len(raw) // 4}f", raw)
    except (binascii.Error, ValueError, struct.error):
        return None


def write_reply(request: EmbedRequest, embedded: Embedded) -> bytes:
    """The answer in the dialect, form and encoding that the request asked for. Tokens that nobody counted are 0 here."""
    if request.dialect == "gemini":
        rows = [{"values": vector} for vector in embedded.vectors]
        return orjson.dumps({"embedding": rows[0]} if request.single else {"embeddings": rows})
    prompt = embedded.usage.prompt if embedded.usage else 0
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector) if request.encoding == "base64" else vector}
        for index, vector in enumerate(embedded.vectors)
    ]
    usage = {"prompt_tokens": prompt, "total_tokens": prompt}
    return orjson.dumps({"object": "list", "data": data, "model": embedded.model or request.model, "usage": usage})


def _encoded(vector: Sequence[float]) -> str:
    """Little-endian float32, which is what OpenAI's SDK decodes. Numbers beyond its range are infinite in it."""
    try:
        packed = struct.pack(f"<{len(vector)}f", *vector)
    except OverflowError:
        packed = b"".join(_packed(number) for number in vector)
    return base64.b64encode(packed).decode()


def _packed(number: float) -> bytes:
    try:
        return struct.pack("<f", number)
    except OverflowError:
        return struct.pack("<f", float("inf") if number > 0 else float("-inf"))
