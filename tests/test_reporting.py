"""Lines on stderr: for people or for programs, as loud as asked for, and without a secret in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from respan_proxy.config import parse
from respan_proxy.reporting import report

log = logging.getLogger("respan_proxy.somewhere")


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before, level
    root.setLevel(level)


def reported(mapping: dict[str, Any] | None = None, **environ: str) -> io.StringIO:
    stream = io.StringIO()
    report(parse({"log": mapping or {}}, environ), stream)
    return stream


def test_text_says_when_how_bad_where_and_what() -> None:
    stream = reported()
    log.warning("the disk is %s", "full")
    assert stream.getvalue().endswith(" warning respan_proxy.somewhere: the disk is full\n")


def test_json_is_one_object_a_line_even_with_a_traceback() -> None:
    stream = reported({"format": "json"})
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("it failed")
    log.info("listening", extra={"facts": {"address": "http://127.0.0.1:1/api"}})
    failed, listening = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (failed["level"], failed["logger"], failed["message"]) == ("error", "respan_proxy.somewhere", "it failed")
    assert "ValueError: two\nlines" in failed["exception"]
    assert failed["time"].endswith("Z")
    assert listening["address"] == "http://127.0.0.1:1/api"


@pytest.mark.parametrize(("level", "said"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_decides_what_is_worth_a_line(level: str, said: int) -> None:
    stream = reported({"level": level})
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log.log(number, "said")
    assert len(stream.getvalue().splitlines()) == said


def test_a_second_report_takes_the_place_of_the_first() -> None:
    first = reported()
    second = reported({"level": "error"})
    log.warning("unheard")
    log.error("heard")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize(
    "secret",
    [
        "the-configured-key",
        "sk-proj-of_a_caller123",
        "sk-ant-api03-of-a-caller",
        "AIzaSyOfACaller",
        "gsk_of_a_caller",
        "ya29.token-of-a-caller",
        "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl",
    ],
)
def test_no_line_holds_a_secret(style: str, secret: str) -> None:
    stream = reported({"format": style}, OPENAI_API_KEY="the-configured-key")
    try:
        raise RuntimeError(f"refused: {secret}")
    except RuntimeError:
        log.exception("a call with %s failed", secret)
    assert "refused: ***" in stream.getvalue()
    assert secret not in stream.getvalue()


@pytest.mark.parametrize("text", ["Authorization: Bearer abc", "GET /v1beta/models?key=abc&alt=sse", "GET /x?alt=sse&key=abc"])
def test_a_credential_is_known_by_where_it_stands(text: str) -> None:
    stream = reported()
    log.error("%s", text)
    assert "***" in stream.getvalue()
    assert "abc" not in stream.getvalue()


def test_plain_words_stay() -> None:
    stream = reported()
    log.error("the key of provider 'openai' is missing; task-force risk-averse sk-8")
    assert stream.getvalue().endswith("task-force risk-averse sk-8\n")
