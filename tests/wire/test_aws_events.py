"""AWS's event-stream framing: the same messages for any split, and damage is found."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.errors import UpstreamInterrupted
from respan_proxy.wire.aws_events import Decoder, Message
from tests.fakes import aws

HEADERS = st.dictionaries(st.text(min_size=1, max_size=20).filter(lambda name: len(name.encode()) < 256), st.text(max_size=40), max_size=4)


@given(st.lists(st.tuples(HEADERS, st.binary(max_size=200)), max_size=4), st.data())
def test_any_split_of_the_bytes_gives_the_same_messages(said: list[tuple[dict[str, str], bytes]], data: st.DataObject) -> None:
    raw = b"".join(aws.message(headers, payload) for headers, payload in said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    decoder = Decoder()
    found = [m for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True) for m in decoder.feed(raw[start:end])]
    assert found == [Message(headers, payload) for headers, payload in said]
    assert decoder.complete


@given(st.binary(max_size=300))
def test_garbage_is_a_break_and_never_another_error(garbage: bytes) -> None:
    decoder = Decoder()
    try:
        assert decoder.feed(garbage) == []
    except UpstreamInterrupted:
        return
    assert len(garbage) < 16 or not decoder.complete


@given(st.data())
def test_every_changed_byte_is_found(data: st.DataObject) -> None:
    raw = bytearray(aws.chunk({"type": "ping"}))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UpstreamInterrupted, match="damaged"):
        Decoder().feed(bytes(raw))


def test_headers_that_are_not_text_are_passed_over() -> None:
    told = b"\x01a\x00\x01b\x01\x01c\x02x\x01d\x03xx\x01e\x04xxxx\x01f\x05xxxxxxxx\x01g\x06\x00\x02zz\x01h\x08xxxxxxxx\x01i\x09" + b"u" * 16
    told += b"\x01j\x07\x00\x02ok"
    prelude = struct.pack(">II", 16 + len(told), len(told))
    raw = prelude + struct.pack(">I", zlib.crc32(prelude)) + told
    assert Decoder().feed(raw + struct.pack(">I", zlib.crc32(raw))) == [Message({"j": "ok"}, b"")]


def test_a_message_that_is_not_whole_is_waited_for() -> None:
    raw = aws.chunk({"type": "ping"})
    decoder = Decoder()
    assert decoder.feed(raw[:-1]) == [] and not decoder.complete
    assert len(decoder.feed(raw[-1:])) == 1 and decoder.complete
