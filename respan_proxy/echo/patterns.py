"""Owns strings that match a regular expression: the shortest obvious one, for `pattern` in a JSON schema."""

from __future__ import annotations

import re
from collections.abc import Iterable

# The standard library's own parser of expressions: private by name, the same since Python 3.11.
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

_LONGEST = 10_000  # characters
_PLAIN = [*map(chr, range(ord("a"), ord("z") + 1)), *map(chr, range(ord("A"), ord("Z") + 1)), *"0123456789 -_."]


def matching(pattern: str) -> str | None:
    """A string in which `pattern` is found (`re.search`), or None when the expression is invalid or too clever for this."""
    try:
        text = _spell(_parser.parse(pattern), {})
        return text if re.search(pattern, text) else None
    except (re.error, ValueError, RecursionError, OverflowError):
        return None


def _spell(tokens: Iterable[Any], groups: dict[int, str]) -> str:
    return "".join(_one(kind, argument, groups) for kind, argument in tokens)


def _one(kind: Any, argument: Any, groups: dict[int, str]) -> str:
    match kind:
        case op.LITERAL:
            return chr(int(argument))
        case op.ANY:
            return "a"
        case op.NOT_LITERAL:
            return str(next(char for char in _PLAIN if char != chr(argument)))
        case op.IN:
            return next((char for char in _PLAIN if _holds(argument, char)), "") or _first(argument)
        case op.BRANCH:
            return _spell(argument[1][0], groups)
        case op.SUBPATTERN:
            groups[argument[0]] = spelled = _spell(argument[3], groups)
            return spelled
        case op.GROUPREF:
            return groups.get(argument) or ""
        case op.MAX_REPEAT | op.MIN_REPEAT | op.POSSESSIVE_REPEAT:
            least, _, body = argument
            once = _spell(body, groups) if least else ""
            if len(once) * least > _LONGEST:
                raise ValueError("too long to be worth spelling")
            return once * int(least)
        case op.ATOMIC_GROUP:
            return _spell(argument, groups)
        case op.AT | op.ASSERT | op.ASSERT_NOT:
            return ""
    raise ValueError(f"no way to spell {kind}")


def _holds(members: list[Any], char: str) -> bool:
    """Whether a character class (`[a-z]`, `[^0-9]`, `\\d`) holds `char`."""
    return bool(re.fullmatch(_class(members), char))


def _class(members: list[Any]) -> str:
    parts = []
    for kind, argument in members:
        match kind:
            case op.NEGATE:
                parts.append("^")
            case op.LITERAL:
                parts.append(re.escape(chr(argument)))
            case op.RANGE:
                parts.append(f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}")
            case op.CATEGORY:
                parts.append(_CATEGORY_CLASSES[argument])
    return f"[{''.join(parts)}]"


_CATEGORY_CLASSES = {
    op.CATEGORY_DIGIT: r"\d",
    op.CATEGORY_NOT_DIGIT: r"\D",
    op.CATEGORY_SPACE: r"\s",
    op.CATEGORY_NOT_SPACE: r"\S",
    op.CATEGORY_WORD: r"\w",
    op.CATEGORY_NOT_WORD: r"\W",
}


def _first(members: list[Any]) -> str:
    kind, argument = next(member for member in members if member[0] is not op.NEGATE)
    return chr(argument if kind is op.LITERAL else argument[0])
