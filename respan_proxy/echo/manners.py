"""Owns how an `echo/...` model behaves: one table of words, which a name may join with `+` (`echo/pace-50+cut-after-3`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from respan_proxy.dialects.events import FinishReason
from respan_proxy.errors import RequestRejected

Fault = Literal["silence", "cut", "error", "garbage", "empty"]


@dataclass(frozen=True, slots=True)
class Manner:
    """How to answer. Times in seconds; a fault comes after `fault_after` chunks, before the head when that is None."""

    pace_s: float | None = None
    delay_s: float = 0
    status: int = 200
    words: int = 0
    thinks: bool = False
    tells_usage: bool = True
    finish: FinishReason = "stop"
    fault: Fault | None = None
    fault_after: int | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """One row: `N` in the name is a number, `most` the largest there is."""

    name: str
    meaning: str
    effect: Callable[[int], Mapping[str, Any]]
    least: int = 0
    most: int = 1_000_000


MANNERS = (
    Word("pace-N", "N milliseconds between chunks", lambda n: {"pace_s": n / 1000}),
    Word("delay-N", "the answer begins after N milliseconds", lambda n: {"delay_s": n / 1000}),
    Word("words-N", "an answer of N words", lambda n: {"words": n}, least=1, most=100_000),
    Word("think", "reasons before it answers", lambda _: {"thinks": True}),
    Word("length", "stops at its token limit", lambda _: {"finish": "length"}),
    Word("refuse", "refuses to answer", lambda _: {"finish": "filter"}),
    Word("no-usage", "does not say how many tokens it took", lambda _: {"tells_usage": False}),
    Word("status-N", "fails with HTTP status N", lambda n: {"status": n}, least=400, most=599),
    Word("hang", "accepts the request and never answers", lambda _: {"fault": "silence"}),
    Word("hang-after-N", "goes silent after N chunks", lambda n: {"fault": "silence", "fault_after": n}),
    Word("cut-after-N", "the connection breaks after N chunks", lambda n: {"fault": "cut", "fault_after": n}),
    Word("error-first", "answers 200, and then an error as the first chunk", lambda _: {"fault": "error", "fault_after": 0}),
    Word("error-after-N", "an error event after N chunks", lambda n: {"fault": "error", "fault_after": n}),
    Word("garbage", "answers 200 with something that is not JSON", lambda _: {"fault": "garbage"}),
    Word("empty", "answers 200 with an empty body", lambda _: {"fault": "empty"}),
)
_PATTERNS = tuple((re.compile(word.name.replace("N", r"(\d{1,7})")), word) for word in MANNERS)


def manner(model: str) -> Manner:
    """What the name of a model asks for. A word that is in no row is a name like any other: `echo/hello` just answers.

    Raises `RequestRejected` for a number outside its range.
    """
    found = Manner()
    for part in model.removeprefix("echo/").split("+"):
        for pattern, word in _PATTERNS:
            if match := pattern.fullmatch(part):
                number = int(match[1]) if match.groups() else 0
                if not word.least <= number <= word.most:
                    raise RequestRejected(f"model 'echo/{part}': expected a number from {word.least} to {word.most}", param="model")
                found = replace(found, **word.effect(number))
    return found
