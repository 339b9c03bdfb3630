"""The reply side of every vector where a Responses or a Gemini party takes part: what the provider said becomes what the client expects."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.dialect import WriteContext
from respan_proxy.dialects.events import Event, Failure

VECTORS = Path(__file__).parent.parent / "recordings" / "vectors"
NAMES = {
    "openai.chat": "openai.chat",
    "openai.responses": "openai.responses",
    "anthropic.messages": "anthropic.messages",
    "gemini.generateContent": "gemini",
}


def _load() -> Iterator[Any]:
    for path in sorted(VECTORS.glob("[0-9]*.json")):
        vector = json.loads(path.read_text())
        parties = {vector["dialect_in"], vector["dialect_out"]}
        if parties <= NAMES.keys() and parties & {"openai.responses", "gemini.generateContent"} and vector.get("upstream_response"):
            yield pytest.param(vector, id=path.stem)


ALL = list(_load())
TRANSLATED = [case for case in ALL if "passthrough" not in case.values[0]["tags"]]
STREAMS = [case for case in TRANSLATED if "stream" in case.values[0]["upstream_response"]]
WHOLE = [case for case in TRANSLATED if "stream" not in case.values[0]["upstream_response"]]


def _blob(blob: dict[str, str]) -> bytes:
    return blob["utf8"].encode() if "utf8" in blob else base64.b64decode(blob["b64"])


def _counter() -> Callable[[str], str]:
    count = 0

    def new_id(prefix: str) -> str:
        nonlocal count
        count += 1
        return f"{prefix}{count:04}"

    return new_id


def _context(vector: dict[str, Any]) -> WriteContext:
    body = vector["request_in"].get("body") or {}
    thinking = body.get("generationConfig", {}).get("thinkingConfig", {})
    path = vector["request_in"]["path"]
    return WriteContext(
        now=vector["context"]["now"],
        new_id=_counter(),
        include_usage=bool(body.get("stream_options", {}).get("include_usage")),
        array=":stream" in path and "alt=sse" not in path,
        include_thoughts=bool(thinking.get("includeThoughts") or thinking.get("include_thoughts")),
        encrypted_reasoning="reasoning.encrypted_content" in body.get("include", ()),
        echo=body,
    )


def _pieces(stream: bytes, cuts: list[int] | str) -> list[bytes]:
    if isinstance(cuts, str):
        width = int(cuts.removeprefix("every:"))
        cuts = list(range(width, len(stream), width))
    return [stream[start:end] for start, end in pairwise([0, *cuts, len(stream)])]


def _every_cut(stream: dict[str, Any]) -> Iterator[list[bytes]]:
    data, dice = _blob(stream), random.Random(7)
    yield _pieces(data, stream["cuts"])
    yield [data]
    yield _pieces(data, "every:1")
    for _ in range(12):
        yield _pieces(data, sorted(dice.sample(range(len(data) + 1), 6)))


@pytest.mark.parametrize("vector", STREAMS)
def test_a_stream_is_written_byte_for_byte_under_any_cut(vector: dict[str, Any]) -> None:
    expected = vector["client_response_expected"]
    for pieces in _every_cut(vector["upstream_response"]["stream"]):
        reader = DIALECTS[NAMES[vector["dialect_out"]]].reader()
        writer = DIALECTS[NAMES[vector["dialect_in"]]].writer(_context(vector))
        events = [event for piece in pieces for event in reader.feed(piece)] + reader.close()
        written = b"".join(writer.feed(event) for event in events) + writer.close()
        assert written.decode() == _blob(expected["stream"]).decode()


@pytest.mark.parametrize("vector", WHOLE)
def test_a_whole_reply_or_error_is_written_as_expected(vector: dict[str, Any]) -> None:
    provider, client = DIALECTS[NAMES[vector["dialect_out"]]], DIALECTS[NAMES[vector["dialect_in"]]]
    told, expected = vector["upstream_response"], vector["client_response_expected"]
    body = json.dumps(told["body"]).encode() if "body" in told else told["body_utf8"].encode()
    error = None
    events: list[Event] = []
    if told["status"] >= 400:
        error = provider.read_error(told["status"], body)
    else:
        events = provider.read_reply(body)
        error = next((event.error() for event in events if isinstance(event, Failure)), None)
    if error is None:
        status, written = 200, client.write_reply(events, _context(vector))
    else:
        error.headers = {**{name: value for name, value in told["headers"].items() if name == "retry-after"}, **error.headers}
        status, written = client.write_error(error, "req_1")
    answer = json.loads(written)
    answer.pop("detail", None)  # Respan's own member beside OpenAI's `error`
    assert status == expected["status"]
    assert answer == expected["body"]
    if "retry-after" in expected["headers"]:
        assert error is not None
        assert {name.lower(): value for name, value in error.headers.items()} == {"retry-after": expected["headers"]["retry-after"]}


@pytest.mark.parametrize("vector", [case for case in ALL if "stream" in case.values[0]["upstream_response"]])
def test_a_native_stream_gives_the_same_events_under_any_cut(vector: dict[str, Any]) -> None:
    heard = []
    for pieces in _every_cut(vector["upstream_response"]["stream"]):
        reader = DIALECTS[NAMES[vector["dialect_out"]]].reader()
        heard.append([event for piece in pieces for event in reader.feed(piece)] + reader.close())
    assert heard.count(heard[0]) == len(heard)
