"""Server-sent events mean the same in any cut, and pass byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from respan_proxy.errors import UpstreamInterrupted
from respan_proxy.wire import sse
from respan_proxy.wire.sse import Decoder, Frame, Framer, Namer, split

VECTORS = Path(__file__).parent.parent / "recordings" / "vectors"
ENDS = ("\n", "\r\n", "\r")
BROKE = UpstreamInterrupted("the provider broke off")

fields = ["data: a", "data:b", "data:  c", "data", "data:", "event: e", "event:", "id: 7", "id: \0", "retry: 5", "other: y"]
lines = st.sampled_from([*fields, ": comment", "dåta: ☃", "data: ☃\u2028\x85"])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Lines with drawn ends, blank ones among them."""
    parts = draw(st.lists(st.tuples(lines | st.just(""), st.sampled_from(ENDS)), max_size=20))
    return "".join(line + end for line, end in parts).encode() + draw(st.sampled_from([b"", b"data: tail", b"\xff"]))


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({at % (len(data) + 1) for at in cuts})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


cuts = st.lists(st.integers(0, 500), max_size=12)


def decoded(chunks: list[bytes]) -> list[Frame]:
    decoder = Decoder()
    return [frame for chunk in chunks for frame in decoder.feed(chunk)] + decoder.close()


def framed(chunks: list[bytes], error: UpstreamInterrupted | None = None) -> list[bytes]:
    framer = Framer()
    return [framer.feed(chunk) for chunk in chunks] + [framer.end(error)]


@given(streams() | st.binary(), cuts)
@example(b"data: a\r\n\r\n", [8, 9, 10])
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2, 3])
def test_any_cut_gives_the_same_events(data: bytes, places: list[int]) -> None:
    assert decoded(cut(data, places)) == decoded([data])


@given(streams() | st.binary(), cuts)
def test_any_cut_passes_the_same_bytes(data: bytes, places: list[int]) -> None:
    assert b"".join(framed(cut(data, places))) == data


@given(streams(), cuts)
def test_what_passes_before_a_break_is_whole_frames(data: bytes, places: list[int]) -> None:
    passed = b"".join(framed(cut(data, places), BROKE))
    assert data.startswith(passed)
    whole = Decoder()
    whole.feed(passed)
    assert whole.close() == []
    assert not whole.truncated


@given(streams(), cuts)
def test_an_event_passes_with_the_chunk_that_completes_it(data: bytes, places: list[int]) -> None:
    framer, behind, ahead = Framer(), Decoder(), Decoder()
    for chunk in cut(data, places):
        assert behind.feed(framer.feed(chunk)) == ahead.feed(chunk)


@pytest.mark.parametrize("end", ENDS)
def test_every_kind_of_line_end_ends_lines(end: str) -> None:
    text = end.join(["event: e", "data: 1", "data:2", "id: 3", "", ": comment", "", "data: 4", "", ""])
    assert decoded([text.encode()]) == [Frame("e", "1\n2", "3"), Frame(None, "4", "3")]


@pytest.mark.parametrize("blank", ["\n\n", "\n\r\n", "\n\r", "\r\n\n", "\r\n\r\n", "\r\n\r", "\r\r", "\r\r\n"])
def test_a_chunk_that_ends_with_a_blank_line_passes_as_the_same_object(blank: str) -> None:
    chunk = f"data: x{blank}".encode()
    assert Framer().feed(chunk) is chunk


def test_a_partial_frame_waits_for_its_rest() -> None:
    framer = Framer()
    assert framer.feed(b"data: 1\n\ndata: ") == b"data: 1\n\n"
    assert framer.feed(b"2\n") == b""
    assert framer.feed(b"\ndata: 3") == b"data: 2\n\n"
    assert framer.end(None) == b"data: 3"


def test_a_break_drops_the_partial_frame() -> None:
    framer = Framer()
    assert framer.feed(b"data: 1\n\ndata: {") == b"data: 1\n\n"
    assert framer.end(BROKE) == b""


@pytest.mark.parametrize("keep_alive", [b"\r\n", b"\n", b": ping\n\n"])
def test_a_keep_alive_between_frames_passes_at_once(keep_alive: bytes) -> None:
    framer = Framer()
    framer.feed(b"data: 1\r\n\r\n")
    assert framer.feed(keep_alive) == keep_alive


def test_the_lf_of_a_cut_crlf_passes_at_once() -> None:
    framer = Framer()
    assert framer.feed(b"data: 1\r\n\r") == b"data: 1\r\n\r"
    assert framer.feed(b"\n") == b"\n"


def test_line_separators_of_unicode_are_text() -> None:
    text = "a\u2028b\u2029c\x85d\x0be\x0cf"
    assert decoded([f"data: {text}\n\n".encode()]) == [Frame(None, text)]


def test_one_byte_at_a_time_garbles_no_character() -> None:
    data = "data: é日本語🎉\n\n".encode()
    assert decoded([data[i : i + 1] for i in range(len(data))]) == [Frame(None, "é日本語🎉")]


@pytest.mark.parametrize(("tail", "frames", "truncated"), [('{"a":1}', 1, False), ("[DONE]", 1, False), ('{"a":', 0, True)])
def test_a_last_event_without_its_blank_line_counts_if_it_is_whole(tail: str, frames: int, truncated: bool) -> None:
    decoder = Decoder()
    decoder.feed(f"data: 1\n\ndata: {tail}".encode())
    assert len(decoder.close()) == frames
    assert decoder.truncated is truncated


def test_an_event_above_the_limit_closes_the_decoder_and_breaks_the_framer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 10)
    decoder, framer = Decoder(), Framer()
    assert decoder.feed(b"data: 1\n\ndata: 12345678") == [Frame(None, "1")]
    assert decoder.feed(b"9\n\ndata: 2\n\n") == []
    assert decoder.truncated
    framer.feed(b"data: 12345678")
    with pytest.raises(UpstreamInterrupted):
        framer.feed(b"9")


@given(streams())
def test_splitting_whole_frames_loses_nothing(data: bytes) -> None:
    passed = b"".join(framed([data], BROKE))
    frames = split(passed)
    assert b"".join(frames) == passed
    assert [event for frame in frames for event in _data(frame)] == _data(passed)


def _data(chunk: bytes) -> list[str]:
    return [frame.data for frame in Decoder().feed(chunk)]


@pytest.mark.parametrize("name", ["002_pass_chat_stream_crlf_utf8_split", "004_pass_gemini_sse_crlf"])
@given(places=cuts)
def test_recorded_streams_pass_byte_for_byte_under_any_cut(name: str, places: list[int]) -> None:
    data = json.loads((VECTORS / f"{name}.json").read_text())["upstream_response"]["stream"]["utf8"].encode()
    assert b"".join(framed(cut(data, places))) == data
    assert b"".join(framed([data[i : i + 1] for i in range(len(data))])) == data


PAYLOADS = {b'{"type":"ping"}': "ping", b'{"type":"a"}': "a", b"{}": None, b"no json": None, b'{"type":1}': None}


@given(st.lists(st.sampled_from(list(PAYLOADS))), st.sampled_from([b"\n", b"\r\n", b"\r"]), cuts)
def test_events_are_given_the_names_they_lack_under_any_cut(payloads: list[bytes], end: bytes, places: list[int]) -> None:
    data = b"".join([b"data: " + payload + end + end for payload in payloads])
    framer, namer = Framer(), Namer()
    passed = b"".join([namer.feed(whole) for chunk in cut(data, places) if (whole := framer.feed(chunk))])
    assert [(frame.event, frame.data) for frame in decoded([passed])] == [(PAYLOADS[payload], payload.decode()) for payload in payloads]


def test_events_with_names_are_left_alone() -> None:
    frame = b'id: 1\nevent: mine\ndata: {"type":"theirs"}\n\n'
    assert Namer().feed(frame) == frame
