"""Multipart forms: their text fields are read, and removed or replaced while every other byte survives.

Rules: RFC 2046 5.1.1 and RFC 7578. What is no form as these have it has no fields, and is left to the provider to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

import orjson

# Larger fields are files by another name: nothing that has a meaning here is as long.
READ_BYTES: Final = 1024 * 1024

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_HEADERS_END = re.compile(rb"\r?\n\r?\n")
_DISPOSITION = re.compile(rb"^content-disposition:(.*)$", re.IGNORECASE | re.MULTILINE)
_NAME = re.compile(rb';\s*name=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
_FILENAME = re.compile(rb";\s*filename\*?=", re.IGNORECASE)
_JSON_TYPE = re.compile(rb"^content-type:\s*application/json\b", re.IGNORECASE | re.MULTILINE)
# How clients write a quote in a name (browsers write %22, which no name that matters here has).
_ESCAPED = re.compile(rb"\\(.)")


class Part(NamedTuple):
    """Where one part stands in the body: offsets of its delimiter's first dash, its value and the end of that, and the next delimiter."""

    name: str
    start: int
    value_start: int
    value_end: int
    end: int


@dataclass(frozen=True, slots=True)
class Form:
    """A form as text and as values: `members` holds the text fields (of a repeated name the last one), files are not read."""

    raw: bytes
    members: dict[str, str]
    parts: tuple[Part, ...]

    def edited(self, remove: Collection[str] = (), replace: Mapping[str, Any] | None = None) -> bytes:
        """The body with every part of these names removed, and the values of others replaced; all other bytes stay as they are.

        A value that is no string is written as JSON. Names that the form does not have add nothing.
        """
        replace = replace or {}
        view, done = memoryview(self.raw), 0
        pieces: list[bytes | memoryview] = []
        for part in self.parts:
            if part.name in replace:
                value = replace[part.name]
                pieces += [view[done : part.value_start], value.encode() if isinstance(value, str) else orjson.dumps(value)]
                done = part.value_end
            elif part.name in remove:
                pieces.append(view[done : part.start])
                done = part.end
        return b"".join([*pieces, view[done:]]) if pieces else self.raw


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a `multipart/form-data` content type names; None for any other type."""
    if not content_type.lower().startswith("multipart/form-data"):
        return None
    found = _BOUNDARY.search(content_type)
    return (found[1] or found[2]).encode("latin-1", "replace") if found else None


def parse(body: bytes, boundary: bytes) -> Form:
    """Read a form; never raises. In files only delimiters are looked for: 8 ms for 30 MB."""
    members: dict[str, str] = {}
    parts: list[Part] = []
    delimiters = list(_delimiters(body, b"--" + boundary))
    for (start, after), (end, _) in pairwise(delimiters):
        headers = _HEADERS_END.search(body, after, min(end, after + 16_384))
        if headers is None:
            continue
        value_start = headers.end()
        value_end = max(value_start, end - (2 if body[end - 2 : end] == b"\r\n" else 1))
        name, is_file = _named(body[after : headers.start()])
        if name is None:
            continue
        parts.append(Part(name, start, value_start, value_end, end))
        if not is_file and value_end - value_start <= READ_BYTES:
            members[name] = body[value_start:value_end].decode("utf-8", "replace")
    return Form(body, members, tuple(parts))


def _delimiters(body: bytes, delimiter: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each delimiter that stands at the beginning of a line."""
    at = body.find(delimiter)
    while at != -1:
        after = at + len(delimiter)
        if (at == 0 or body[at - 1 : at] == b"\n") and body[after : after + 2].startswith((b"\r\n", b"--", b"\n", b" ", b"\t")):
            yield at, after
        at = body.find(delimiter, after)


def _named(headers: bytes) -> tuple[str | None, bool]:
    """The name that a part's headers give it, and whether it is a file (JSON that a browser wraps in a Blob has a file's name too)."""
    disposition = _DISPOSITION.search(headers)
    if disposition is None or (found := _NAME.search(disposition[1])) is None:
        return None, False
    name = _ESCAPED.sub(rb"\1", found[1] if found[1] is not None else found[2])
    is_file = _FILENAME.search(disposition[1]) is not None and _JSON_TYPE.search(headers) is None
    return name.decode("utf-8", "replace"), is_file
