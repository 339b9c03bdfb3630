"""Forms: fields are found and edited while every other byte survives; garbage raises nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.wire.multipart import Form, boundary_of, parse

BOUNDARY = b"----WebKitFormBoundary7MA4YWxkTrZu0gW"


def part(name: str, value: bytes, more: str = "", headers: str = "") -> bytes:
    head = f'--{BOUNDARY.decode()}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n{headers}\r\n'
    return head.encode() + value + b"\r\n"


END = b"--" + BOUNDARY + b"--\r\n"
FILE = part("file", b"ID3\x00\xff\r\n--not the boundary\r\n\r\n", '; filename="a.mp3"', "Content-Type: audio/mpeg\r\n")


def form(*parts: bytes) -> Form:
    return parse(b"".join([*parts, END]), BOUNDARY)


def test_text_fields_are_read_and_files_are_not() -> None:
    found = form(part("model", b"whisper-1"), FILE, part("prompt", "Zürich".encode()))
    assert found.members == {"model": "whisper-1", "prompt": "Zürich"}


def test_json_in_a_blob_is_a_field() -> None:
    """What browsers make of a typed Blob."""
    blob = part("respan_params", b"{}", '; filename="blob"', "Content-Type: application/json\r\n")
    assert form(blob).members == {"respan_params": "{}"}


@pytest.mark.parametrize("name", ['"a"', "a", '"a" ; x=y'])
def test_a_name_may_be_quoted_or_not(name: str) -> None:
    body = f"--b\r\ncontent-disposition: form-data; name={name}\r\n\r\n1\r\n--b--".encode()
    assert parse(body, b"b").members == {"a": "1"}


def test_a_removed_field_takes_nothing_else_with_it() -> None:
    ours, theirs = part("note", b"x"), part("model", b"whisper-1")
    for before, after in [
        ((ours, theirs, FILE), (theirs, FILE)),
        ((theirs, ours, FILE), (theirs, FILE)),
        ((FILE, ours), (FILE,)),
        ((ours, ours), ()),
    ]:
        assert form(*before).edited({"note"}) == b"".join([*after, END])


def test_a_replaced_field_keeps_its_headers() -> None:
    before = part("model", b"openai/whisper-1", headers="X-Odd: 1\r\n")
    assert form(before, FILE).edited((), {"model": "whisper-1"}) == before.replace(b"openai/", b"") + FILE + END


def test_without_anything_to_do_the_same_object_is_returned() -> None:
    found = form(part("model", b"m"))
    assert found.edited({"note"}, {"absent": "x"}) is found.raw


def test_preamble_epilogue_and_bare_line_feeds_survive() -> None:
    note = b"--b\nContent-Disposition: form-data; name=note\n\nx\n"
    model = b"--b\nContent-Disposition: form-data; name=model\n\nm\n"
    found = parse(b"preamble\n" + note + model + b"--b--\nepilogue", b"b")
    assert found.members == {"note": "x", "model": "m"}
    assert found.edited({"note"}) == b"preamble\n" + model + b"--b--\nepilogue"


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; BOUNDARY="a b;c"', b"a b;c"),
        ("multipart/form-data", None),
        ("application/json; boundary=abc", None),
    ],
)
def test_the_boundary_is_what_the_content_type_says(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary


lines = st.sampled_from(
    [
        b"--b\r\n",
        b"--b--",
        b"--b",
        b"\r\n",
        b"\n",
        b"Content-Disposition: form-data; name=",
        b'"note"',
        b"note",
        b"x",
        b"; filename=f",
        b"\xff",
    ]
)


@given(st.lists(lines, max_size=30).map(b"".join))
def test_garbage_raises_nothing_and_passes(body: bytes) -> None:
    found = parse(body, b"b")
    assert found.edited() is body
    assert "note" not in parse(found.edited({"note"}), b"b").members


names = st.sampled_from(["model", "note", "file", "respan_params"])
values = st.binary(max_size=20).filter(lambda value: b"--b" not in value and not value.endswith(b"\r"))


@given(st.lists(st.tuples(names, values), max_size=6), st.sets(names))
def test_an_edit_means_what_leaving_parts_out_means(fields: list[tuple[str, bytes]], remove: set[str]) -> None:
    def written(fields: list[tuple[str, bytes]]) -> bytes:
        written = [b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), value) for name, value in fields]
        return b"".join([*written, b"--b--\r\n"])

    expected = [(name, value) for name, value in fields if name not in remove]
    assert parse(written(fields), b"b").edited(remove) == written(expected)
