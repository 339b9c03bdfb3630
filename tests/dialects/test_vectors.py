"""The reply side of every vector: what a provider of one dialect said becomes what a client of another expects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from respan_proxy.dialects.events import Event, Failure
from tests.dialects import vectors


@pytest.mark.parametrize("vector", vectors.TRANSLATED_STREAMS)
def test_a_stream_is_written_byte_for_byte_under_any_cut(vector: dict[str, Any]) -> None:
    expected = vectors.expected_stream(vector)
    for pieces in vectors.every_cut(vector["upstream_response"]["stream"]):
        reader, writer = vectors.provider(vector).reader(), vectors.client(vector).writer(vectors.context(vector))
        events = [event for piece in pieces for event in reader.feed(piece)] + reader.close()
        written = b"".join(writer.feed(event) for event in events) + writer.close()
        assert written.decode() == expected.decode()


@pytest.mark.parametrize("vector", vectors.TRANSLATED_WHOLE)
def test_a_whole_reply_or_error_is_written_as_expected(vector: dict[str, Any]) -> None:
    provider, client = vectors.provider(vector), vectors.client(vector)
    told, expected = vector["upstream_response"], vector["client_response_expected"]
    error = None
    events: list[Event] = []
    if told["status"] >= 400:
        error = provider.read_error(told["status"], vectors.body(told))
    else:
        events = provider.read_reply(vectors.body(told))
        error = next((event.error() for event in events if isinstance(event, Failure)), None)
    if error is None:
        status, written = 200, client.write_reply(events, vectors.context(vector))
    else:
        error.headers = {**{name: value for name, value in told["headers"].items() if name == "retry-after"}, **error.headers}
        status, written = client.write_error(error, "")
    answer = json.loads(written)
    answer.pop("detail", None)  # Respan's own member beside OpenAI's `error`
    assert status == expected["status"]
    assert answer == vectors.expected_body(vector)
    if "retry-after" in expected["headers"]:
        assert error is not None
        assert {name.lower(): value for name, value in error.headers.items()} == {"retry-after": expected["headers"]["retry-after"]}


@pytest.mark.parametrize("vector", vectors.STREAMED)
def test_a_stream_gives_the_same_events_and_completeness_under_any_cut(vector: dict[str, Any]) -> None:
    heard = []
    for pieces in vectors.every_cut(vector["upstream_response"]["stream"]):
        reader = vectors.provider(vector).reader()
        events = [event for piece in pieces for event in reader.feed(piece)] + reader.close()
        heard.append((events, reader.complete))
    assert heard.count(heard[0]) == len(heard)
    assert heard[0][0]
