"""What is remembered of texts from outside is bounded in its number and in their length."""

from __future__ import annotations

import gc

from respan_proxy.config import is_loopback
from respan_proxy.pool import _place
from respan_proxy.respan import endpoints
from respan_proxy.telemetry.attributes import place
from respan_proxy.telemetry.quoting import may_quote
from respan_proxy.telemetry.usage import seller
from respan_proxy.wire.remembered import LONGEST, remembered, remembered_name
from respan_proxy.wire.secrets import is_secret, is_secret_member


def test_short_texts_are_asked_of_once_and_long_ones_each_time() -> None:
    asked: list[tuple[str | None, str]] = []

    @remembered(2)
    def length(one: str | None, other: str) -> int:
        asked.append((one, other))
        return len(one or "") + len(other)

    short, long = "x" * LONGEST, "x" * (LONGEST + 1)
    assert [length(None, short), length(None, short), length(short, long), length(short, long)] == [256, 256, 513, 513]
    assert asked == [(None, short), (short, long), (short, long)]


def test_names_are_asked_of_once_until_there_are_too_many_of_them() -> None:
    asked: list[str] = []

    @remembered_name(2)
    def length(name: str) -> int:
        asked.append(name)
        return len(name)

    long = "x" * (LONGEST + 1)
    assert [length(name) for name in ("a", "bb", "a", long, long, "bb", "ccc", "a", "a")] == [1, 2, 1, 257, 257, 2, 3, 1, 1]
    assert asked == ["a", "bb", long, long, "ccc", "a"]


def test_no_name_of_an_attribute_and_of_a_model_is_kept_whatever_its_length() -> None:
    """Names of a megabyte each, in spans of one program, took 1.3 GB that never came back."""
    for number in range(3):
        name = f"{number}." + "k" * 1_000_000
        for function in (place, may_quote, is_secret, is_secret_member):
            function(name)
        seller(name, name)
        assert len([found for found in gc.get_referrers(name) if found is not globals()]) <= 1  # this frame


def test_no_host_path_or_url_is_kept_whatever_its_length() -> None:
    for number in range(3):
        text = f"http://{number}.example/" + "k" * 60_000
        is_loopback(text)
        endpoints.match("GET", text)
        _place(text)
        assert len([found for found in gc.get_referrers(text) if found is not globals()]) <= 1  # this frame
