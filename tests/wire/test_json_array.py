"""A JSON array that comes in pieces: its objects are read whole and passed on whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.errors import UpstreamInterrupted
from respan_proxy.wire import json_array
from respan_proxy.wire.json_array import Decoder, Framer

VECTORS = Path(__file__).parent.parent / "recordings" / "vectors"

texts = st.text(alphabet='a"\\{}[],é🎉\n', max_size=8)
values = st.recursive(
    texts | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
objects = st.lists(st.dictionaries(texts, values, max_size=3), max_size=5)
layouts = st.sampled_from([None, 2])
cuts = st.lists(st.integers(0, 500), max_size=12)


def written(items: list[Any], indent: int | None) -> bytes:
    return ("[" + "\n,\r\n".join(json.dumps(item, indent=indent, ensure_ascii=False) for item in items) + "]\n").encode()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    places = sorted({at % (len(data) + 1) for at in places})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def decoded(chunks: list[bytes]) -> list[str]:
    decoder = Decoder()
    return [text for chunk in chunks for text in decoder.feed(chunk)] + decoder.close()


@given(objects, layouts, cuts)
def test_any_cut_gives_the_same_objects(items: list[Any], indent: int | None, places: list[int]) -> None:
    assert [json.loads(text) for text in decoded(cut(written(items, indent), places))] == items


@given(objects, layouts, cuts)
def test_objects_pass_whole_and_byte_for_byte(items: list[Any], indent: int | None, places: list[int]) -> None:
    data = written(items, indent)
    framer, passed, reader = Framer(), b"", Decoder()
    for chunk in cut(data, places):
        piece = framer.feed(chunk)
        passed += piece
        reader.feed(piece)
        assert not reader._boundaries.inside
    assert passed + framer.end(None) == data


@given(objects, cuts, st.integers(0, 300))
def test_a_break_drops_half_an_object(items: list[Any], places: list[int], length: int) -> None:
    framer = Framer()
    data = written(items, None)[:length]
    passed = b"".join([framer.feed(chunk) for chunk in cut(data, places)]) + framer.end(UpstreamInterrupted("broke"))
    assert data.startswith(passed)
    assert [json.loads(text) for text in decoded([passed])] == [json.loads(text) for text in decoded([data])]


@given(st.binary() | st.text(alphabet='[]{}",\\a').map(str.encode), cuts)
def test_garbage_raises_nothing_and_passes(data: bytes, places: list[int]) -> None:
    framer = Framer()
    decoded(cut(data, places))
    assert b"".join([framer.feed(chunk) for chunk in cut(data, places)]) + framer.end(None) == data


def test_brackets_and_commas_between_objects_pass_at_once() -> None:
    framer = Framer()
    assert [framer.feed(piece) for piece in (b"[", b'{"a":', b"1}\n", b",\r\n", b"{", b"}", b"]")] == [
        b"[", b"", b'{"a":1}\n', b",\r\n", b"", b"{}", b"]",
    ]  # fmt: skip


def test_an_object_without_an_array_is_read_too() -> None:
    assert decoded([b'{"error":', b'{"code":400}}']) == ['{"error":{"code":400}}']


def test_an_end_inside_an_object_is_truncation() -> None:
    decoder = Decoder()
    decoder.feed(b'[{"a":1},{"b":')
    assert decoder.close() == []
    assert decoder.truncated


def test_an_object_above_the_limit_closes_the_decoder_and_breaks_the_framer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_array, "MAX_EVENT_BYTES", 10)
    decoder, framer = Decoder(), Framer()
    assert decoder.feed(b'[{"a":"0123456789') == []
    assert decoder.truncated
    assert decoder.feed(b'"},{}') == []
    with pytest.raises(UpstreamInterrupted):
        framer.feed(b'[{"a":"0123456789')


@given(places=cuts)
def test_the_recorded_array_passes_byte_for_byte_under_any_cut(places: list[int]) -> None:
    data = json.loads((VECTORS / "005_pass_gemini_json_array.json").read_text())["upstream_response"]["stream"]["utf8"].encode()
    framer = Framer()
    assert b"".join([framer.feed(chunk) for chunk in cut(data, places)]) + framer.end(None) == data
    assert [json.loads(text)["candidates"][0]["content"]["parts"][0]["text"] for text in decoded(cut(data, places))] == ["A", "B"]
