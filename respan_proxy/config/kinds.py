"""Owns the types of options: how each is read from TOML or a variable, how it is written, and what a complaint says was expected."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from respan_proxy.config.balancing import Member
from respan_proxy.config.faults import EXPECTED, Fault, WrongFault, fault
from respan_proxy.config.values import Listen

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)


class Unfit(ValueError):
    """The value is not of this kind; the kind's `expected` says what would be.

    Of a table that has members, three arguments say more: the member at fault, what was found there, what was expected.
    """


@dataclass(frozen=True, slots=True)
class Kind:
    """`read` turns what TOML gave into the value or raises Unfit; `write` gives the TOML form of a value. A secret is never shown."""

    expected: str
    read: Callable[[object], Any]
    write: Callable[[Any], str]
    secret: bool = False


def literal(value: object) -> str:
    """A value as TOML (numbers, strings, booleans, lists and tables of these; None is the empty string)."""
    match value:
        case None:
            return '""'
        case bool():
            return "true" if value else "false"
        case float() if value == int(value):
            return str(int(value))
        case int() | float():
            return str(value)
        case Mapping():
            inner = ", ".join(f"{literal(str(key))} = {literal(item)}" for key, item in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(literal(item) for item in value)}]"
        case _:
            # JSON leaves DEL as it is, TOML does not.
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def parse_listen(text: str) -> Listen:
    """`HOST:PORT`, `PORT`, `[::1]:PORT` or `unix:PATH`. Unfit otherwise."""
    if text.startswith("unix:"):
        path = text[5:].removeprefix("//")
        if not path:
            raise Unfit
        return Listen("", 0, path)
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise Unfit
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise Unfit
    return Listen(host or Listen().host, int(port))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Unfit
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Unfit
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise Unfit
    return float(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Unfit
    return value


def _wait(value: object) -> float:
    if (seconds := _number(value)) == 0:
        raise Unfit
    return seconds


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())) and (unit := _UNITS.get(match[2].lower())):
        return int(float(match[1]) * unit)
    raise Unfit


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Unfit
    return tuple(_text(item) for item in value)


def _globs(value: object) -> tuple[str, ...]:
    found = _texts(value)
    if not found or not all(glob.lstrip("!") for glob in found):
        raise Unfit
    return found


def _command(value: object) -> tuple[str, ...]:
    found = _texts(value)
    if not found or not found[0].strip() or any("\0" in part for part in found):
        raise Unfit
    return found


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Unfit
    return value


def _table(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise Unfit
    return {str(key): _text(item) for key, item in value.items()}


def _origins(value: object) -> tuple[str, ...]:
    found = _texts(value)
    # As browsers write them. "*" is none: it would let every website in.
    if not all(re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s*?#@A-Z]+", text) for text in found):
        raise Unfit
    return found


def _listen(value: object) -> Listen:
    return parse_listen(_text(value))


def _listen_or_none(value: object) -> Listen | None:
    return None if value == "" else _listen(value)


def _url(value: object) -> str:
    text = _text(value).rstrip("/")
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  reading it is the check
    except ValueError:
        raise Unfit from None
    plain = not parts.query and not parts.fragment and parts.username is None
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain or re.search(r"\s", text):
        raise Unfit
    return text


def _proxy_url(value: object) -> str:
    text = _text(value)
    try:
        parts = urlsplit(text)
    except ValueError:
        raise Unfit from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unfit
    return text


def _write_size(value: int) -> str:
    for unit in ("GB", "MB", "KB"):
        if value and value % _UNITS[unit.lower()] == 0:
            return f'"{value // _UNITS[unit.lower()]} {unit}"'
    return str(value)


def _header(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text):
        raise Unfit
    return text


def _headers(value: object) -> dict[str, str]:
    found = _table(value)
    for name, text in found.items():
        _header(name)
        if "\r" in text or "\n" in text:
            raise Unfit
    return found


def _key(value: object) -> str:
    text = _text(value)
    # What cannot stand in a header would fail at the first call, far from here.
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise Unfit
    return text


def choice(*words: str) -> Kind:
    def read(value: object) -> str:
        if value not in words:
            raise Unfit
        return str(value)

    return Kind("one of " + ", ".join(f'"{word}"' for word in words), read, literal)


def texts_of(*words: str) -> Kind:
    def read(value: object) -> tuple[str, ...]:
        found = _texts(value)
        if not found or not set(found) <= set(words):
            raise Unfit
        return found

    return Kind("a list out of " + ", ".join(f'"{word}"' for word in words), read, literal)


def _fault(value: object) -> Fault:
    try:
        return fault(value)
    except WrongFault as wrong:
        raise Unfit(wrong.member, wrong.found, wrong.expected) from wrong


def _digest(value: object) -> str:
    text = _text(value).lower()
    if not re.fullmatch(r"sha256\$[0-9a-f]{64}", text):
        raise Unfit
    return text


def _members(value: object) -> tuple[Member, ...]:
    if not isinstance(value, list) or not value:
        raise Unfit
    return tuple(_member(item) for item in value)


def _member(item: object) -> Member:
    if isinstance(item, str):
        item = {"model": item}
    if not isinstance(item, Mapping) or not item.keys() <= {"model", "weight"} or not _text(item.get("model")).strip():
        raise Unfit
    return Member(item["model"].strip(), _wait(item.get("weight", 1.0)))


TEXT = Kind("a string", _text, literal)
FLAG = Kind("true or false", _flag, literal)
NUMBER = Kind("a number, not negative", _number, literal)
COUNT = Kind("a whole number above 0", _count, literal)
WHOLE = Kind("a whole number, not negative", _whole, literal)
WEIGHT = Kind("a number above 0", _wait, literal)
SECONDS = Kind("a number of seconds above 0", _wait, literal)
SIZE = Kind('a size: bytes as a number, or a string like "64 MB" or "2 GiB"', _size, _write_size)
TEXTS = Kind("a list of strings", _texts, literal)
GLOBS = Kind('a list of globs, like ["gpt-5*", "!gpt-5-mini*"]', _globs, literal)
COMMAND = Kind('a program and its arguments, like ["gcloud", "auth", "print-access-token"]', _command, literal)
ORIGINS = Kind('a list of origins as browsers send them: "https://host[:port]", no path, no "*"', _origins, literal)
MEMBERS = Kind('a list of models and weights above 0, like [{ model = "gpt-4o", weight = 2 }, { model = "gpt-4.1" }]', _members, literal)
TABLE = Kind("a table of strings", _table, literal)
LISTEN = Kind('"HOST:PORT" or "unix:PATH"', _listen, literal)
LISTEN_OR_NONE = Kind('"HOST:PORT" or "unix:PATH", or "" for none', _listen_or_none, literal)
URL = Kind("an http:// or https:// URL without user name, query and fragment", _url, literal)
PROXY_URL = Kind("the http:// or https:// URL of a proxy", _proxy_url, literal, secret=True)
HEADER = Kind('"bearer", "none" or the name of a header', _header, literal)
HEADERS = Kind("a table of header names and values", _headers, literal, secret=True)
SECRET = Kind('a key (printable ASCII, no spaces) or "env:NAME"', _key, literal, secret=True)
FAULT = Kind(EXPECTED, _fault, lambda value: literal(value.table()))
DIGEST = Kind('"sha256$" and 64 hex digits', _digest, literal, secret=True)
