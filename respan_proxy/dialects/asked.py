"""A caller's JSON members, each of the type it should be or refused by name: what readers of requests read with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson

from respan_proxy.errors import RequestRejected

T = TypeVar("T")

_KINDS: Mapping[type, str] = {dict: "an object", list: "an array", bool: "a boolean", type(None): "null"}


def found(value: object) -> str:
    """A value as a message tells it: short ones whole, long ones by their kind."""
    if isinstance(value, str):
        return repr(value) if len(value) <= 40 else f"a string of {len(value)} characters"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value)
    return _KINDS.get(type(value), type(value).__name__)


def wrong(where: str, value: object, expected: str) -> RequestRejected:
    """The complaint: which member, what was found, what was expected."""
    return RequestRejected(f"'{where}' is {found(value)}; expected {expected}", param=where, code="invalid_value")


def missing(where: str, expected: str) -> RequestRejected:
    return RequestRejected(f"'{where}' is missing; expected {expected}", param=where, code="missing_required_parameter")


def compact(value: object, where: str) -> str:
    """A free-form value as JSON text. Raises RequestRejected when it is nested deeper than orjson writes (254 levels)."""
    return compact_bytes(value, where).decode()


def compact_bytes(value: object, where: str) -> bytes:
    """The same in UTF-8."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise RequestRejected(f"'{where}' is nested too deeply", param=where, code="invalid_value") from None


class Asked:
    """An object of the request and its place. Every accessor takes null for absent, and raises RequestRejected on another type.

    The place is put into words only for a complaint: a conversation has thousands.
    """

    __slots__ = ("_index", "_name", "_parent", "members")

    def __init__(self, members: Mapping[str, Any], name: str = "", parent: Asked | None = None, index: int | None = None) -> None:
        self.members = members
        self._name = name
        self._parent = parent
        self._index = index

    @property
    def where(self) -> str:
        name = self._name if self._index is None else f"{self._name}[{self._index}]"
        above = self._parent.where if self._parent is not None else ""
        return f"{above}.{name}" if above else name

    def path(self, name: str) -> str:
        where = self.where
        return f"{where}.{name}" if where else name

    def text(self, name: str) -> str | None:
        value = self.members.get(name)
        if value is None or isinstance(value, str):
            return value
        raise wrong(self.path(name), value, "a string")

    def one_text(self, name: str) -> str:
        """Present, or refused."""
        value = self.members.get(name)
        if isinstance(value, str):
            return value
        raise missing(self.path(name), "a string") if value is None else wrong(self.path(name), value, "a string")

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.members.get(name)
        if value is None:
            return ()
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise wrong(self.path(name), value, "an array of strings")

    def word(self, name: str, words: Mapping[str, T]) -> T | None:
        value = self.text(name)
        if value is None:
            return None
        if value not in words:
            raise wrong(self.path(name), value, f"one of {', '.join(words)}")
        return words[value]

    def number(self, name: str) -> float | None:
        """An int stays one."""
        value = self.members.get(name)
        if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            return value
        raise wrong(self.path(name), value, "a number")

    def integer(self, name: str) -> int | None:
        value = self.number(name)
        if value is None or isinstance(value, int):
            return value
        if value.is_integer() and abs(value) < 2**53:  # typed clients of Gemini send 20.0; beyond, floats are no longer exact
            return int(value)
        raise wrong(self.path(name), value, "an integer")

    def flag(self, name: str) -> bool | None:
        value = self.members.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise wrong(self.path(name), value, "true or false")

    def object(self, name: str) -> Asked | None:
        value = self.members.get(name)
        if value is None:
            return None
        if isinstance(value, dict):
            return Asked(value, name, self)
        raise wrong(self.path(name), value, "an object")

    def one_object(self, name: str) -> Asked:
        value = self.object(name)
        if value is None:
            raise missing(self.path(name), "an object")
        return value

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """A free-form object: a schema, a map, an extension."""
        value = self.members.get(name)
        if value is None or isinstance(value, dict):
            return value
        raise wrong(self.path(name), value, "an object")

    def objects(self, name: str) -> list[Asked]:
        value = self.members.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise wrong(self.path(name), value, "an array")
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                raise wrong(f"{self.path(name)}[{index}]", item, "an object")
        return [Asked(item, name, self, index) for index, item in enumerate(value)]


Table = Mapping[str, tuple[str, Callable[[Asked, str], Any]] | None]
"""A member that is not null -> what the neutral request calls it, and how it is read; None where that is no matter of one member.
Where several say the same, each reads them all."""


def read_by(table: Table, asked: Asked) -> tuple[dict[str, Any], list[str]]:
    """What is said of what the table knows, and the names of members that it does not. A request says few things of many."""
    said: dict[str, Any] = {}
    others: list[str] = []
    for name, value in asked.members.items():
        if value is None:
            continue
        if name not in table:
            others.append(name)
        elif (read := table[name]) is not None:
            said[read[0]] = read[1](asked, name)
    return said, others
