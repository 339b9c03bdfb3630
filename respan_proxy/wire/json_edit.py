"""Surgical edits of one JSON object: members are read, removed, replaced and added while every other byte survives.

A member is found without a tokenizer where that is certain: `parse` has proven the text to be JSON and the name to be a
top-level one, so the only key of that spelling is the one meant. Where a name occurs twice, or may be spelt with escapes,
and for bodies too big to parse in one go, `_locate` walks the top level.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterator, Mapping
from itertools import accumulate, zip_longest
from typing import Any, Final, NamedTuple, TypeVar, cast

import orjson

from respan_proxy.frozen import frozen

# One regular expression call may run this far before others get a turn: under 1 ms (measured).
_SLICE_BYTES: Final = 128 * 1024
# The same for text that may be nothing but brackets, each of which is looked at.
_DENSE_SLICE_BYTES: Final = 16 * 1024
_FIRST_SLICE_BYTES: Final = 256
# What a step of the walk costs besides the bytes it passes, in bytes that would cost the same.
_STEP_BYTES: Final = 500
# Members larger than this stay unread by `scan`: orjson needs about 0.1 ms for them; and those that are wanted all the same, 2 ms.
_READ_BYTES: Final = 64 * 1024
_WANTED_BYTES: Final = 1024 * 1024
# No request has a hundred; a million of them took Python's garbage collector 140 ms at a time.
_MAX_MEMBERS: Final = 10_000
# orjson's own limit; deeper JSON would pass `scan` and fail whoever reads it later.
_MAX_DEPTH: Final = 1024

_SPACE: Final = b" \t\n\r"
_AFTER_SPACE = re.compile(rb"[ \t\n\r]*+")
_COLON = re.compile(rb"[ \t\n\r]*+:[ \t\n\r]*+")
_COMMA = re.compile(rb"[ \t\n\r]*+,[ \t\n\r]*+")
_SCALAR = re.compile(rb"[^ \t\n\r,}\]\"{\[:]++")
_STRING_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_BRACKET = re.compile(rb"[{}\[\]]")
_NO_BRACKET: Final = bytes(range(256)).translate(None, b"{}[]")
_DELTA: Final = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}.__getitem__
_ASCII_ESCAPE = re.compile(rb"\\u00[2-7]")

_QUOTE, _BACKSLASH, _COMMA_BYTE, _OPEN = b'"\\,{'


_T = TypeVar("_T")


class _Unread:
    """The type of `UNREAD`."""

    def __repr__(self) -> str:
        return "UNREAD"


UNREAD: Final = _Unread()
"""Stands in `Document.members` for a value that `scan` left unread because of its size."""


class JsonProblem(ValueError):
    """The text is not one JSON object; the message says where (line and column) and what was found."""


class Span(NamedTuple):
    """Where one top-level member stands in the text: offsets of its key's quote, its value's first byte and the byte after it."""

    name: str
    key_start: int
    value_start: int
    value_end: int


@frozen
class Document:
    """A JSON object as text and as values. `members` holds the top level (of a duplicated name the last, as every parser does)."""

    raw: bytes
    members: dict[str, Any]
    spans: tuple[Span, ...] | None = None

    def edited(self, remove: Collection[str] = (), replace: Mapping[str, Any] | None = None) -> bytes:
        """What `edit` makes of it."""
        return edit(self, remove, replace)


def parse(body: bytes) -> Document:
    """Read a whole body at once; for up to 1 MB (longer ones stall the loop, see `scan`). Raises `JsonProblem`."""
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _problem(body, error) from None
    if not isinstance(members, dict):
        raise JsonProblem(f"expected a JSON object, found {_kind(members)}")
    return Document(body, members)


def scan(body: bytes, wanted: Collection[str] = ()) -> Generator[None, None, Document]:
    """Read the top level of a big body; yields after at most about 1 ms of work, returns the document. Raises `JsonProblem`.

    Only values up to 64 KB are parsed (of the `wanted` names up to 1 MB); of the larger ones no more is known than that their
    brackets and quotes close.
    """
    spans = yield from _locate(body)
    members: dict[str, Any] = {}
    work = 0
    for name, _, start, end in spans:
        size = end - start
        if size > _READ_BYTES and (name not in wanted or size > _WANTED_BYTES):
            members[name] = UNREAD
            continue
        try:
            members[name] = orjson.loads(memoryview(body)[start:end])
        except orjson.JSONDecodeError as error:
            raise JsonProblem(f"member {name!r} at {_place(body, start)} is not JSON: {error.msg}") from None
        if (work := work + size + _STEP_BYTES) > _SLICE_BYTES:
            work = 0
            yield
    return Document(body, members, tuple(spans))


def edit(document: Document, remove: Collection[str] = (), replace: Mapping[str, Any] | None = None) -> bytes:
    """The text with members removed, and replaced or (where absent) added; all other bytes stay as they are.

    Every occurrence of a duplicated name is treated alike; a name in both is replaced. Values are what orjson writes
    (`orjson.Fragment` for JSON text). Without anything to do the same object is returned.
    """
    replace = replace or {}
    raw, members = document.raw, document.members
    removed = [name for name in remove if name in members and name not in replace]
    replaced = [name for name in replace if name in members]
    added = [name for name in replace if name not in members]
    if not (removed or replaced or added):
        return raw

    patches = [(span.value_start, span.value_end, orjson.dumps(replace[span.name])) for span in _find(document, replaced)]
    addition = b",".join(orjson.dumps(name) + b":" + orjson.dumps(replace[name]) for name in added)
    close = raw.rindex(b"}")
    end_of_members = close
    while raw[end_of_members - 1] in _SPACE:
        end_of_members -= 1

    for start, end, glue in _cuts(raw, _find(document, removed)):
        if glue is not None and addition:
            patches.append((start, end, glue + addition))
            addition = b""
        else:
            patches.append((start, end, b""))
    if addition:
        glue = b"" if raw[end_of_members - 1] == _OPEN else b","
        patches.append((end_of_members, end_of_members, glue + addition))
    return b"".join(_patched(raw, patches))


def _patched(raw: bytes, patches: list[tuple[int, int, bytes]]) -> Iterator[bytes | memoryview]:
    view, done = memoryview(raw), 0
    for start, end, text in sorted(patches):
        yield view[done:start]
        yield text
        done = end
    yield view[done:]


def _cuts(raw: bytes, spans: list[Span]) -> Iterator[tuple[int, int, bytes | None]]:
    """What to delete so that the commas still fit: start, end and, when the last member goes, what an addition there starts with."""
    run_start = run_end = -1
    for span in sorted(spans, key=lambda span: span.key_start):
        if span.key_start != run_end:
            if run_end != -1:
                yield run_start, run_end, None
            run_start = span.key_start
        comma = _COMMA.match(raw, span.value_end)
        if comma is not None:
            run_end = comma.end()
            continue
        before = _back_over_space(raw, run_start) - 1
        if raw[before] == _COMMA_BYTE:
            yield before, span.value_end, b","
        else:
            yield run_start, span.value_end, b""
        return
    if run_end != -1:
        yield run_start, run_end, None


def _back_over_space(raw: bytes, position: int) -> int:
    while raw[position - 1] in _SPACE:
        position -= 1
    return position


def _find(document: Document, names: list[str]) -> list[Span]:
    """The spans of all members with these names, each of which the document is known to have."""
    if not names:
        return []
    spans: Collection[Span] | None = document.spans
    if spans is None:
        if (found := _keys(document.raw, names)) is not None:
            return found
        spans = _run(_locate(document.raw))
    wanted = frozenset(names)
    return [span for span in spans if span.name in wanted]


def _keys(raw: bytes, names: Collection[str]) -> list[Span] | None:
    """The spans, found by the spelling of their keys; None when a top-level key may be spelt otherwise.

    In valid JSON the bytes `"name"` not preceded by a backslash are a string token, and one followed by a colon is a key.
    With one such key, and a parse that found the name at the top level, it is that one; of several those at depth 1 are.
    """
    # rfind, because it takes half of find's time (measured on 90 KB: 40 against 80 us).
    if raw.rfind(b"\\u00") != -1 and _ASCII_ESCAPE.search(raw) is not None:
        return None
    found: list[Span] = []
    for name in names:
        token = orjson.dumps(name)
        if not name.isascii() or _BACKSLASH in token:
            return None
        at, last = raw.find(token), raw.rfind(token)
        keys = []
        while at != -1:
            if raw[at - 1] != _BACKSLASH and (colon := _COLON.match(raw, at + len(token))) is not None:
                keys.append((at, colon.end()))
            at = raw.find(token, at + len(token) - 1) if at < last else -1
        if len(keys) > 1:
            keys = _at_top(raw, keys)
        found += [Span(name, key, value, _value_end(raw, value)) for key, value in keys]
    return found


def _at_top(raw: bytes, keys: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those of the keys (offsets of key and value, in order) that stand at the top level."""
    top, depth, done = [], 0, 0
    for key, value in keys:
        outside = _outside(_pieces(raw[done:key]))
        depth += outside.count(b"{") + outside.count(b"[") - outside.count(b"}") - outside.count(b"]")
        done = key
        if depth == 1:
            top.append((key, value))
    return top


def _pieces(text: bytes) -> list[bytes]:
    """JSON text that begins outside a string, cut at the quotes: what is outside strings and what is inside, in turn."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
    return text.split(b'"')


def _outside(pieces: list[bytes]) -> bytes:
    return b"".join(pieces[::2])


def _value_end(raw: bytes, start: int) -> int:
    first = raw[start]
    if first == _QUOTE:
        end = raw.find(b'"', start + 1) + 1
        if raw.find(b"\\", start, end) == -1:
            return end
        return _run(_skip_string(raw, start))
    if first in b"{[":
        return _run(_skip_container(raw, start))
    return _end(_SCALAR, raw, start, len(raw))


def _run(work: Generator[None, None, _T]) -> _T:
    while True:
        try:
            next(work)
        except StopIteration as done:
            return cast(_T, done.value)


def _locate(raw: bytes) -> Generator[None, None, list[Span]]:
    """Walk the top level: where each member stands. Values are skipped by their brackets and quotes, not checked."""
    at = _space(raw, 0)
    if raw[at : at + 1] != b"{":
        raise JsonProblem(f"expected a JSON object, found {_found(raw, at)} at {_place(raw, at)}")
    spans: list[Span] = []
    at = _space(raw, at + 1)
    work = 0
    while raw[at : at + 1] != b"}" or spans:
        key_start = at
        if raw[at : at + 1] != b'"':
            raise _expected("a member name in quotes", raw, at)
        key_end = yield from _skip_string(raw, at)
        try:
            name = orjson.loads(memoryview(raw)[key_start:key_end])
        except orjson.JSONDecodeError as error:
            raise JsonProblem(f"the member name at {_place(raw, key_start)} is not JSON: {error.msg}") from None
        colon = _COLON.match(raw, key_end)
        if colon is None:
            raise _expected("a colon", raw, _space(raw, key_end))
        start = colon.end()
        first = raw[start : start + 1]
        if first == b'"':
            end = yield from _skip_string(raw, start)
        elif first in (b"{", b"["):
            end = yield from _skip_container(raw, start)
        elif scalar := _SCALAR.match(raw, start):
            end = scalar.end()
        else:
            raise _expected("a value", raw, start)
        spans.append(Span(name, key_start, start, end))
        if len(spans) > _MAX_MEMBERS:
            raise JsonProblem(f"more than {_MAX_MEMBERS} members at the top level")
        at = _space(raw, end)
        if raw[at : at + 1] == b"}":
            break
        if raw[at : at + 1] != b",":
            raise _expected("a comma or the closing brace", raw, at)
        at = _space(raw, at + 1)
        if (work := work + at - key_start + _STEP_BYTES) > _SLICE_BYTES:
            work = 0
            yield
    if (rest := _space(raw, at + 1)) != len(raw):
        raise _expected("the end of the body", raw, rest)
    return spans


def _skip_string(raw: bytes, start: int) -> Generator[None, None, int]:
    """The offset after the string whose opening quote is at `start`."""
    at, size = start + 1, len(raw)
    while True:
        stop = min(at + _SLICE_BYTES, size)
        quote = raw.find(b'"', at, stop)
        escape = raw.find(b"\\", at, stop if quote == -1 else quote)
        if escape != -1:
            # Stops at the closing quote, or before an escape that the slice cuts in two: the next round begins there.
            at = _end(_STRING_REST, raw, escape, min(escape + _SLICE_BYTES, size))
            if raw[at : at + 1] == b'"':
                return at + 1
        elif quote != -1:
            return quote + 1
        else:
            at = stop
        if at >= size - 1:
            raise JsonProblem(f"the string at {_place(raw, start)} is never closed")
        yield


def _skip_container(raw: bytes, start: int) -> Generator[None, None, int]:
    """The offset after the object or array that opens at `start`."""
    depth, at = 1, start + 1
    size = _FIRST_SLICE_BYTES  # most containers are small
    while True:
        text = raw[at : at + size]
        size = min(size * 8, _DENSE_SLICE_BYTES)
        if (len(text) - len(text.rstrip(b"\\"))) % 2:
            text = text[:-1]
        pieces = _pieces(text)
        if len(pieces) % 2 == 0:
            # The slice ends inside a string, which may be megabytes long.
            text = text[: -len(pieces.pop()) - 1]
        depths = list(accumulate(map(_DELTA, _outside(pieces).translate(None, _NO_BRACKET)), initial=depth))
        if 0 in depths:
            return at + _bracket(pieces, depths.index(0))
        if max(depths) > _MAX_DEPTH:
            raise JsonProblem(f"nested deeper than {_MAX_DEPTH} levels inside the value at {_place(raw, start)}")
        depth = depths[-1]
        at += len(text)
        if raw[at : at + 1] == b'"':
            at = yield from _skip_string(raw, at)
        elif not text:
            raise JsonProblem(f"the {'object' if raw[start] == _OPEN else 'array'} at {_place(raw, start)} is never closed")
        yield


def _bracket(pieces: list[bytes], ordinal: int) -> int:
    """The offset after the bracket with this number (the first is 1), counting those outside strings only."""
    offset = 0
    for outside, inside in zip_longest(pieces[::2], pieces[1::2], fillvalue=b""):
        for bracket in _BRACKET.finditer(outside):
            ordinal -= 1
            if ordinal == 0:
                return offset + bracket.end()
        offset += len(outside) + len(inside) + 2
    raise AssertionError("the bracket was counted before")


def _space(raw: bytes, at: int) -> int:
    return _end(_AFTER_SPACE, raw, at, len(raw))


def _end(pattern: re.Pattern[bytes], raw: bytes, at: int, stop: int) -> int:
    match = pattern.match(raw, at, stop)
    return at if match is None else match.end()


def _expected(what: str, raw: bytes, at: int) -> JsonProblem:
    return JsonProblem(f"expected {what} at {_place(raw, at)}, found {_found(raw, at)}")


def _found(raw: bytes, at: int) -> str:
    return repr(raw[at : at + 20].decode("utf-8", "replace")) if at < len(raw) else "the end of the body"


def _place(raw: bytes, at: int) -> str:
    return f"line {raw.count(10, 0, at) + 1} column {at - raw.rfind(10, 0, at)}"


def _problem(body: bytes, error: orjson.JSONDecodeError) -> JsonProblem:
    if not body.strip(_SPACE):
        return JsonProblem("expected a JSON object, found an empty body")
    found = error.doc[error.pos : error.pos + 20]
    return JsonProblem(f"line {error.lineno} column {error.colno}: {error.msg}" + (f", found {found!r}" if found else ""))


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case _:
            return "an array"
