"""What a step changes of a stream that holds a response, and that it changes nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from respan_proxy.exchange import Reply
from respan_proxy.handlers.told import Tell, tell_whole
from respan_proxy.wire import sse
from tests.fakes import recordings

MEMBERS = {"store": True, "previous_response_id": "resp_before"}
STREAM = b"".join(recordings.RESPONSES_STREAM)


class Kept(list[Mapping[str, Any]]):
    """What was given to be kept."""

    def __call__(self, text: bytes, response: Mapping[str, Any]) -> None:
        assert orjson.loads(text) == response
        self.append(response)


def responses(stream: bytes) -> list[dict[str, Any]]:
    events = [orjson.loads(frame.data) for frame in sse.Decoder().feed(stream)]
    return [event["response"] for event in events if "response" in event]


@given(st.lists(st.integers(0, len(recordings.RESPONSES_STREAM)), max_size=4))
def test_every_event_of_a_response_tells_the_same_however_the_frames_come(cuts: list[int]) -> None:
    kept = Kept()
    tell = Tell(MEMBERS, kept)
    edges = [0, *sorted(cuts), len(recordings.RESPONSES_STREAM)]
    out = b"".join(tell.feed(b"".join(recordings.RESPONSES_STREAM[start:end])) for start, end in pairwise(edges) if start < end)
    assert [response["previous_response_id"] for response in responses(out)] == ["resp_before"] * 3
    [response] = kept
    assert response == {**recordings.RESPONSE, **MEMBERS}
    others = [frame for frame in recordings.RESPONSES_STREAM if b'"response"' not in frame]
    assert [frame for frame in sse.split(out) if b'"response"' not in frame] == others


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_other_bytes_of_an_event_stay(line_end: bytes) -> None:
    kept = Kept()
    frame = b': hi\nevent: response.completed\ndata: {"type":"response.completed", "x" : 1.0, "response": {"id":"resp_1","y":  2.50}}\n\n'
    out = Tell(MEMBERS, kept).feed(frame.replace(b"\n", line_end))
    told = b'"y":  2.50,"store":true,"previous_response_id":"resp_before"}}'
    assert out == frame.replace(b'"y":  2.50}}', told).replace(b"\n", line_end)
    assert kept == [{"id": "resp_1", "y": 2.5, **MEMBERS}]


def test_data_of_several_lines_stays_so() -> None:
    out = Tell(MEMBERS, Kept()).feed(b'event: response.created\ndata: {"type":"response.created",\ndata: "response":{"id":"resp_1"}}\n\n')
    [response] = responses(out)
    assert response == {"id": "resp_1", **MEMBERS}
    assert out.startswith(b"event: response.created\ndata: ") and out.count(b"\ndata: ") == 2


def test_an_id_of_an_earlier_turn_is_given_to_no_other() -> None:
    kept = Kept()
    out = Tell(MEMBERS, kept, {"resp_fake"}).feed(STREAM)
    [id] = {response["id"] for response in responses(out)}
    assert id.startswith("resp_") and id != "resp_fake"
    assert [response["id"] for response in kept] == [id]


def test_items_that_the_last_event_does_not_repeat_are_kept_all_the_same() -> None:
    kept = Kept()
    last = b'data: {"type":"response.completed","response":{"id":"resp_1","status":"completed","output":[]}}\n\n'
    Tell(MEMBERS, kept).feed(b"".join(recordings.RESPONSES_STREAM[:-1]) + last)
    assert kept[0]["output"] == recordings.RESPONSE["output"]


def test_a_response_that_failed_says_that_it_is_not_stored() -> None:
    kept = Kept()
    out = Tell(MEMBERS, kept).feed(b'data: {"type":"response.failed","response":{"id":"resp_1","status":"failed","store":true}}\n\n')
    assert responses(out)[0]["store"] is False
    assert kept == []


WORDS = st.sampled_from(
    [b'"response"', b"data: ", b"{", b"}", b":", b"\n\n", b"response.output_item.done", b'"encrypted_content"', b"1", b"\xff"]
)


@given(st.lists(WORDS | st.binary(max_size=4), max_size=12))
def test_garbage_passes_as_it_is(pieces: list[bytes]) -> None:
    garbage = b"".join(pieces)
    assert Tell(MEMBERS, Kept(), hides_thoughts=True).feed(garbage) == garbage
    for kind in ("application/json", "text/event-stream"):
        reply = Reply(200, CIMultiDict({"Content-Type": kind}), garbage)
        tell_whole(reply, Tell(MEMBERS, Kept()))
        assert reply.body == garbage
