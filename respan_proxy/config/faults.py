"""Owns the form of a fault that is made on purpose: what may be asked for, in a route or in a request, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# A person who tests waits no longer; an app's own limits are reached long before.
LONGEST_MS = 600_000


class WrongFault(ValueError):
    """`member` (empty: the whole) was `found` and not what was `expected`."""

    def __init__(self, member: str, found: object, expected: str) -> None:
        super().__init__(f"{member}: expected {expected}" if member else f"expected {expected}")
        self.member = member
        self.found = found
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, and how often. `cut_after` counts events of a stream; `share` is of 1; `first_tries` counts all tries of a call."""

    status: int | None = None
    retry_after: float | None = None
    delay_ms: float = 0
    pace_ms: float = 0
    cut_after: int | None = None
    garbage: bool = False
    share: float = 1
    first_tries: int | None = None

    def strikes(self, number: int, dice: Callable[[], float]) -> bool:
        """Whether try `number` of a call (the first is 1) is to go wrong; `dice` gives numbers evenly from [0, 1)."""
        return (self.first_tries is None or number <= self.first_tries) and (self.share >= 1 or dice() < self.share)

    @property
    def words(self) -> tuple[str, ...]:
        """What is done, as it was asked for: `status=503`, `retry_after=2`."""
        return tuple(f"{name}={'true' if value is True else format(value, 'g')}" for name, value in self.table().items() if name in _DOES)

    def table(self) -> dict[str, Any]:
        """As it is written: the members that are not as they are by themselves."""
        return {name: value for name in _MEMBERS if (value := getattr(self, name)) != getattr(_NONE, name)}


def _whole(value: object, least: float, most: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _true(value: object, least: float, most: float) -> bool:
    return isinstance(value, bool)


_Check = Callable[[object, float, float], bool]

_MEMBERS: Mapping[str, tuple[_Check, float, float, str]] = {
    "status": (_whole, 400, 599, "a whole number from 400 to 599"),
    "retry_after": (_number, 0, 3600, "a number of seconds from 0 to 3600"),
    "delay_ms": (_number, 0, LONGEST_MS, f"a number of milliseconds from 0 to {LONGEST_MS}"),
    "pace_ms": (_number, 0, LONGEST_MS, f"a number of milliseconds from 0 to {LONGEST_MS}"),
    "cut_after": (_whole, 0, 1_000_000, "a whole number of events from 0 to 1000000"),
    "garbage": (_true, 0, 0, "true or false"),
    "share": (_number, 0, 1, "a number from 0 to 1"),
    "first_tries": (_whole, 1, 1000, "a whole number from 1 to 1000"),
}
_DOES = ("status", "retry_after", "delay_ms", "pace_ms", "cut_after", "garbage")
_NONE = Fault()

# Of these only one can happen to an answer.
_ENDS = ("status", "cut_after", "garbage")

EXPECTED = "a table of status, delay_ms, pace_ms, cut_after or garbage, with retry_after, share and first_tries"


def fault(value: object) -> Fault:
    """The fault that a table asks for. Raises WrongFault, which names the member."""
    if not isinstance(value, Mapping):
        raise WrongFault("", value, EXPECTED)
    for name, found in value.items():
        if name not in _MEMBERS:
            raise WrongFault(str(name), found, f"one of {', '.join(_MEMBERS)}")
        fits, least, most, expected = _MEMBERS[name]
        if not fits(found, least, most):
            raise WrongFault(name, found, expected)
    asked = Fault(**value)
    ends = [name for name in _ENDS if name in value and value[name] is not False]
    if len(ends) > 1:
        raise WrongFault(ends[1], value[ends[1]], f"nothing beside {ends[0]}")
    if asked.retry_after is not None and asked.status is None:
        raise WrongFault("retry_after", asked.retry_after, "a status beside it")
    if asked.pace_ms and ends not in ([], ["cut_after"]):
        raise WrongFault("pace_ms", asked.pace_ms, f"nothing beside {ends[0]}")
    if not ends and not asked.delay_ms and not asked.pace_ms:
        raise WrongFault("", value, EXPECTED)
    return asked
