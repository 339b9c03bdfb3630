"""Remembers what a function says of short texts: `functools.lru_cache` for texts that come from outside.

A cache of a thousand entries is bounded only where its keys are: attributes called by a megabyte each took gigabytes that never came back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Longer than names of attributes, models and providers that people give.
LONGEST: Final = 256


def remembered(maxsize: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Of the last `maxsize` calls what they returned. A call with a longer text is made anew each time. Arguments by position alone."""

    def wrap(function: Callable[P, T]) -> Callable[P, T]:
        known = lru_cache(maxsize)(function)

        @wraps(function)
        def asked(*args: P.args, **kwargs: P.kwargs) -> T:
            for arg in args:
                if isinstance(arg, str) and len(arg) > LONGEST:
                    return function(*args, **kwargs)
            return known(*args, **kwargs)  # type: ignore[arg-type]

        return asked

    return wrap


class _Known(dict[str, T]):
    """What a function of one text said; `[text]` asks it where that is not known."""

    __slots__ = ("_function", "_most")

    def __init__(self, function: Callable[[str], T], most: int) -> None:
        self._function, self._most = function, most

    def __missing__(self, text: str) -> T:
        said = self._function(text)
        if len(text) <= LONGEST:
            if len(self) >= self._most:
                self.clear()
            self[text] = said
        return said


def remembered_name(maxsize: int) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """The same for a function of one text that is asked dozens of times a call: a tenth of the time. Once `maxsize` names are known, all
    are forgotten."""
    return lambda function: _Known(function, maxsize).__getitem__
