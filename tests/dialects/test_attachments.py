"""How attachments spell their bytes, and what is made of it."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_proxy.dialects.attachments import data_url, image_at, inline_text, sniffed, standard_base64
from respan_proxy.dialects.request import Inline, Link
from respan_proxy.errors import RequestRejected


@given(st.binary(max_size=60), st.booleans(), st.booleans())
def test_either_alphabet_padded_or_not_becomes_the_standard_one(data: bytes, urlsafe: bool, padded: bool) -> None:
    spelled = (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(data).decode()
    spelled = " \n".join((spelled[:4], spelled[4:])) if padded else spelled.rstrip("=")
    assert standard_base64(spelled, "x") == base64.b64encode(data).decode()


def test_large_base64_of_the_other_alphabet_is_translated_too() -> None:
    data = bytes(range(256)) * 400
    assert standard_base64(base64.urlsafe_b64encode(data).decode(), "x") == base64.b64encode(data).decode()
    whole = base64.b64encode(data).decode()
    assert standard_base64(whole, "x") is whole


@pytest.mark.parametrize("wrong", ["%%%", "A", "é", "AA=A", "AAAA\u20ac"])
def test_what_is_no_base64_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(RequestRejected, match=r"'a\.b' holds no base64"):
        standard_base64(wrong, "a.b")


@pytest.mark.parametrize(
    ("url", "media_type", "data"),
    [
        ("data:image/png;base64,AAAA", "image/png", b"\0\0\0"),
        ("DATA:Image/PNG; charset=x;BASE64,AA%3D%3D", "image/png", b"\0"),
        ("data:,a%20b", None, b"a b"),
        ("data:text/plain;charset=utf-8,%E2%82%AC", "text/plain", "€".encode()),
    ],
)
def test_data_urls_of_any_spelling_are_read(url: str, media_type: str | None, data: bytes) -> None:
    assert data_url(url, "x") == (media_type, Inline(base64.b64encode(data).decode()))


def test_other_urls_are_no_data() -> None:
    assert data_url("https://a.test/data:,x", "x") is None


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"%PDF-1.7", "application/pdf"),
        (b"hello", None),
        (b"", None),
    ],
)
def test_first_bytes_tell_what_something_is(head: bytes, media_type: str | None) -> None:
    assert sniffed(Inline(base64.b64encode(head).decode())) == media_type


def test_an_image_is_inline_or_on_the_web() -> None:
    assert image_at("https://a.test/x", "w").source == Link("https://a.test/x")
    assert image_at("gs://bucket/x", "w").source == Link("gs://bucket/x")
    assert image_at("data:image/webp;base64,iVBORw0KGgo=", "w").media_type == "image/png"


def test_text_that_is_no_text_is_refused() -> None:
    assert inline_text(Inline("aMOp"), "x") == "hé"
    with pytest.raises(RequestRejected, match="not UTF-8"):
        inline_text(Inline("/w=="), "x")
