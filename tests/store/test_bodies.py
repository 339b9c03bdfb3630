"""Content packed for the database comes back as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.respan.spans import Content
from respan_proxy.store.bodies import ENCODING, Packer, unpack

HEADERS = st.lists(st.tuples(st.text(), st.text()))
CHUNKS = st.lists(st.tuples(st.integers(0, 10**9), st.binary(min_size=1)))


@given(HEADERS, st.binary(), st.none() | st.binary(), HEADERS, st.binary(), st.none() | st.binary())
def test_a_whole_answer_comes_back_byte_for_byte(
    asked: list[tuple[str, str]], body: bytes, sent: bytes | None, said: list[tuple[str, str]], answer: bytes, reply: bytes | None
) -> None:
    data, cut = Packer().pack(Content(asked, body, sent, said, answer, reply))
    kept = unpack(ENCODING, data)
    assert (kept.request_headers, kept.request_body, kept.sent_body) == (asked, body, sent)
    assert (kept.response_headers, kept.answer, kept.reply, kept.frames) == (said, answer, reply, [])
    assert not cut
    assert kept.cut == []


@given(CHUNKS)
def test_a_stream_comes_back_with_the_time_of_each_chunk(micros: list[tuple[int, bytes]]) -> None:
    started_at = 5000.0
    data, _ = Packer().pack(Content(answer=[(started_at + at / 1e6, chunk) for at, chunk in micros], started_at=started_at))
    kept = unpack(ENCODING, data)
    assert kept.answer == b"".join(chunk for _, chunk in micros)
    assert [chunk for _, chunk in kept.frames] == [chunk for _, chunk in micros]
    assert [at for at, _ in kept.frames] == pytest.approx([at / 1e6 for at, _ in micros], abs=2e-6)


def test_a_body_beyond_the_limit_is_cut_and_marked() -> None:
    data, cut = Packer(10).pack(Content(request_body=b"x" * 11, answer=[(0.0, b"12345"), (1.0, b"67890"), (2.0, b"abc")]))
    kept = unpack(ENCODING, data)
    assert cut
    assert kept.cut == ["request", "answer"]
    assert kept.request_body == b"x" * 10
    assert kept.frames == [(0.0, b"12345"), (1.0, b"67890")]


def test_an_answer_that_was_cut_while_it_was_kept_stays_marked() -> None:
    data, cut = Packer().pack(Content(answer=[(0.0, b"abc")], cut=True))
    assert cut
    assert unpack(ENCODING, data).cut == ["answer"]


def test_header_bytes_that_are_not_utf8_do_not_cost_the_call() -> None:
    data, _ = Packer().pack(Content(request_headers=[("x-name", "caf\udce9")], request_body=b"{}"))
    assert unpack(ENCODING, data).request_headers == [("x-name", "caf?")]


def test_a_form_this_program_does_not_know_is_named() -> None:
    with pytest.raises(ValueError, match="'zstd/9'"):
        unpack("zstd/9", b"")
