"""Pictures, PDFs and text files from every dialect to every other: the bytes arrive under their right type, or their place is named."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.request import Losses, Profile
from respan_proxy.errors import RequestRejected
from tests.dialects.crossing import assert_typed
from tests.dialects.family.said import LINK, PDF, PNG

PDF_LINK = "https://a.test/b.pdf"


def asked(dialect: str, part: Any) -> dict[str, Any]:
    match dialect:
        case "openai.responses":
            return {"model": "m", "input": [{"role": "user", "content": [{"type": "input_text", "text": "see"}, part]}]}
        case "gemini":
            return {"contents": [{"role": "user", "parts": [{"text": "see"}, part]}]}
        case _:
            return {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": [{"type": "text", "text": "see"}, part]}]}


def image(dialect: str, label: str) -> Any:
    """A PNG that says it is of type `label`."""
    url = f"data:{label};base64,{PNG}"
    return {
        "openai.chat": {"type": "image_url", "image_url": {"url": url}},
        "openai.responses": {"type": "input_image", "image_url": url, "detail": "auto"},
        "anthropic.messages": {"type": "image", "source": {"type": "base64", "media_type": label, "data": PNG}},
        "gemini": {"inlineData": {"mimeType": label, "data": PNG}},
    }[dialect]


def image_link(dialect: str) -> Any:
    return {
        "openai.chat": {"type": "image_url", "image_url": {"url": LINK}},
        "openai.responses": {"type": "input_image", "image_url": LINK, "detail": "auto"},
        "anthropic.messages": {"type": "image", "source": {"type": "url", "url": LINK}},
        "gemini": {"fileData": {"mimeType": "image/png", "fileUri": LINK}},
    }[dialect]


def pdf(dialect: str) -> Any:
    url = f"data:application/pdf;base64,{PDF}"
    return {
        "openai.chat": {"type": "file", "file": {"filename": "a.pdf", "file_data": url}},
        "openai.responses": {"type": "input_file", "filename": "a.pdf", "file_data": url},
        "anthropic.messages": {
            "type": "document",
            "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        },
        "gemini": {"inlineData": {"mimeType": "application/pdf", "data": PDF}},
    }[dialect]  # fmt: skip


def text_file(dialect: str) -> Any:
    url = "data:text/plain;base64,ZmlsZSBuw7Z0ZQ=="
    return {
        "openai.chat": {"type": "file", "file": {"filename": "a.txt", "file_data": url}},
        "openai.responses": {"type": "input_file", "filename": "a.txt", "file_data": url},
        "anthropic.messages": {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "file nöte"}},
        "gemini": {"inlineData": {"mimeType": "text/plain", "data": "ZmlsZSBuw7Z0ZQ=="}},
    }[dialect]


PAIRS = [(source, target) for source in DIALECTS for target in DIALECTS if source != target]


def written(source: str, target: str, part: Any) -> tuple[Any, list[str]]:
    """(the part as the target is told it, notices)"""
    read, write = DIALECTS[source].read_request, DIALECTS[target].write_request
    assert read is not None
    assert write is not None
    losses = Losses()
    body = write(read(asked(source, part), model="m"), Profile(), losses).members
    assert_typed(target, body)
    turns = body.get("messages") or body.get("input") or body["contents"]
    told = turns[0].get("content") or turns[0]["parts"]
    assert len(told) == 2
    if target == "openai.chat" and "image_url" in told[1]:
        told[1]["image_url"].pop("detail", None)  # Responses always says one
    return told[1], losses.notices


@pytest.mark.parametrize("label", ["image/png", "image/jpeg", "IMAGE/GIF"])
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_an_image_arrives_under_its_right_type_whatever_its_label_says(source: str, target: str, label: str) -> None:
    assert written(source, target, image(source, label)) == (image(target, "image/png"), [])


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_an_image_by_url_stays_one(source: str, target: str) -> None:
    assert written(source, target, image_link(source)) == (image_link(target), [])


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_pdf_arrives(source: str, target: str) -> None:
    told, notices = written(source, target, pdf(source))
    assert PDF in orjson.dumps(told).decode() and "application/pdf" in orjson.dumps(told).decode()
    assert notices == []
    if "gemini" not in (source, target):  # it has no names
        assert told == pdf(target)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_text_file_arrives_as_text(source: str, target: str) -> None:
    told, notices = written(source, target, text_file(source))
    said = told["source"]["data"] if target == "anthropic.messages" else told["text"]
    assert "file nöte" in said and notices == []


@pytest.mark.parametrize("source", ["openai.chat", "openai.responses"])
@pytest.mark.parametrize("url", ["ftp://a.test/x", "file:///etc/passwd", "x", "", "data:image/png;base64,?", "data:image/png;base64"])
def test_an_image_that_is_none_is_refused_by_its_place(source: str, url: str) -> None:
    part = image(source, "image/png")
    if source == "openai.chat":
        part["image_url"]["url"] = url
    else:
        part["image_url"] = url
    for target in DIALECTS:
        with pytest.raises(RequestRejected) as refused:
            written(source, target, part)
        assert refused.value.param is not None and "content[1].image_url" in refused.value.param


@pytest.mark.parametrize("source", DIALECTS)
def test_an_image_of_a_type_that_claude_does_not_read_is_refused(source: str) -> None:
    part = orjson.loads(orjson.dumps(image(source, "image/bmp")).replace(PNG.encode(), b"Qk0AAAAA"))
    if source != "anthropic.messages":
        with pytest.raises(RequestRejected, match="image/bmp"):
            written(source, "anthropic.messages", part)
