"""The wire vectors of tests/recordings/vectors, and how their reply side is played: cuts, counters, contexts."""

from __future__ import annotations

import base64
import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.dialect import Dialect, WriteContext

FOLDER = Path(__file__).parent.parent / "recordings" / "vectors"
NAMES = {
    "openai.chat": "openai.chat",
    "openai.responses": "openai.responses",
    "anthropic.messages": "anthropic.messages",
    "gemini.generateContent": "gemini",
}
NEEDS_THE_REQUEST = {
    # The gateway turned a JSON schema into a forced tool, and must turn the call back into text: the reply alone does not tell.
    "017_c2a_json_schema_tool_fallback",
}


def answered() -> Iterator[Any]:
    """Every vector of the four dialects in which a provider answers."""
    for path in sorted(FOLDER.glob("[0-9]*.json")):
        vector = json.loads(path.read_text("utf-8"))
        if {vector["dialect_in"], vector["dialect_out"]} <= NAMES.keys() and vector.get("upstream_response"):
            yield pytest.param(vector, id=path.stem)


ANSWERED = list(answered())
STREAMED = [case for case in ANSWERED if "stream" in case.values[0]["upstream_response"]]
TRANSLATED = [case for case in ANSWERED if "passthrough" not in case.values[0]["tags"] and case.id not in NEEDS_THE_REQUEST]
TRANSLATED_STREAMS = [case for case in TRANSLATED if case in STREAMED]
TRANSLATED_WHOLE = [case for case in TRANSLATED if case not in STREAMED]


def provider(vector: dict[str, Any]) -> Dialect:
    return DIALECTS[NAMES[vector["dialect_out"]]]


def client(vector: dict[str, Any]) -> Dialect:
    return DIALECTS[NAMES[vector["dialect_in"]]]


def blob(told: dict[str, str]) -> bytes:
    return told["utf8"].encode() if "utf8" in told else base64.b64decode(told["b64"])


def body(told: dict[str, Any]) -> bytes:
    """A whole answer's bytes, however the vector spells them."""
    if "body" in told:
        return json.dumps(told["body"], ensure_ascii=False).encode()
    return told["body_utf8"].encode() if "body_utf8" in told else blob(told["raw"])


def expected_stream(vector: dict[str, Any]) -> bytes:
    """The stream a client is to get, byte for byte but for the ids of chat chunks: see `expected_body`."""
    stream = blob(vector["client_response_expected"]["stream"])
    return _CHAT_ID.sub(b'data: {"id":"chatcmpl-', stream) if vector["dialect_in"] == "openai.chat" else stream


_CHAT_ID = re.compile(rb'data: \{"id":"(?!chatcmpl-)')


def expected_body(vector: dict[str, Any]) -> dict[str, Any]:
    """The whole answer a client is to get.

    Where a vector and the example of Respan's own page differ, the page wins: ids of chat completions begin with `chatcmpl-`
    (vectors keep `msg_...`), and a message without refusal, a choice without logprobs, and usage without details have no such
    member (vectors hold nulls and zeros). Citations that vectors drop are told (`_CITED`).
    """
    body: dict[str, Any] = copy.deepcopy(vector["client_response_expected"]["body"])
    match _CITED.get(vector["name"]):
        case {"citations": _} as cited:
            body["content"][0].update(cited)
        case {"groundingMetadata": _} as cited:
            body["candidates"][0].update(cited)
    if vector["dialect_in"] != "openai.chat" or "choices" not in body:
        return body
    body["id"] = body["id"] if body["id"].startswith("chatcmpl-") else f"chatcmpl-{body['id']}"
    for choice in body["choices"]:
        if choice["logprobs"] is None:
            del choice["logprobs"]
        if choice["message"]["refusal"] is None:
            del choice["message"]["refusal"]
    for details in ("prompt_tokens_details", "completion_tokens_details"):
        if not any(body["usage"][details].values()):
            del body["usage"][details]
    return body


_CITED = {
    "a2r_signature_return": {
        "citations": [
            {
                "type": "web_search_result_location",
                "cited_text": "",
                "encrypted_index": "gw1.page",
                "url": "https://c.test",
                "title": "T",
            }
        ]
    },
    "g2r_unary": {
        "groundingMetadata": {
            "groundingChunks": [{"web": {"uri": "https://c.test", "title": "T"}}],
            "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 3, "text": "Hey"}, "groundingChunkIndices": [0]}],
        }
    },
}


def counter() -> Callable[[str], str]:
    count = 0

    def new_id(prefix: str) -> str:
        nonlocal count
        count += 1
        return f"{prefix}{count:04}"

    return new_id


def context(vector: dict[str, Any]) -> WriteContext:
    """What the request of the vector makes a writer do."""
    asked = vector["request_in"].get("body") or {}
    thinking = asked.get("generationConfig", {}).get("thinkingConfig", {})
    path = vector["request_in"]["path"]
    return WriteContext(
        now=vector["context"]["now"],
        new_id=counter(),
        include_usage=bool((asked.get("stream_options") or {}).get("include_usage")),
        array=":stream" in path and "alt=sse" not in path,
        include_thoughts=bool(thinking.get("includeThoughts") or thinking.get("include_thoughts")),
        encrypted_reasoning="reasoning.encrypted_content" in asked.get("include", ()),
        echo=asked,
    )


def pieces(stream: bytes, cuts: list[int] | str) -> list[bytes]:
    if isinstance(cuts, str):
        width = int(cuts.removeprefix("every:"))
        cuts = list(range(width, len(stream), width))
    return [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]


def every_cut(stream: dict[str, Any]) -> Iterator[list[bytes]]:
    """The vector's own cuts, none, every byte alone, and a dozen at random (always the same ones)."""
    data, dice = blob(stream), random.Random(7)
    yield pieces(data, stream["cuts"])
    yield [data]
    yield pieces(data, "every:1")
    for _ in range(12):
        yield pieces(data, sorted(dice.sample(range(len(data) + 1), 6)))
