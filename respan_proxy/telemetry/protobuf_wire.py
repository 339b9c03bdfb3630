"""Protobuf's wire format (https://protobuf.dev/programming-guides/encoding/), as far as it is taken apart by hand: the fields of a message,
and a message whose texts are no UTF-8 made readable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from respan_proxy.telemetry.otlp_received import Unreadable

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

_BEGIN, _END = 3, 4  # of a group; nobody writes them any more, and every parser passes over them
# Messages and groups within each other; protobuf's own readers stop there too.
_DEEPEST: Final = 100
_STRING: Final = 9  # `FieldDescriptor.TYPE_STRING`


def fields(data: memoryview) -> Iterator[tuple[int, memoryview | None, int]]:
    """(number, bytes, where it ends) of each field; None for what is no bytes. `Unreadable` where it breaks off, or is no protobuf."""
    at, size = 0, len(data)
    groups: list[int] = []
    while at < size:
        tag, at = _read_varint(data, at)
        number, form = tag >> 3, tag & 7
        if not number or number >= 1 << 29:
            raise Unreadable(f"found a field numbered {number} at byte {at}")
        value = None
        match form:
            case 2:
                length, at = _read_varint(data, at)
                value = data[at : at + length]
                at += length
            case 0:
                _, at = _read_varint(data, at)
            case 1:
                at += 8
            case 5:
                at += 4
            case 3 if len(groups) < _DEEPEST:
                groups.append(number)
                continue
            case 4 if groups and groups[-1] == number:
                groups.pop()
                continue
            case _:
                raise Unreadable(f"found a field of form {form} at byte {at}, expected one of 0, 1, 2, 5")
        if at > size:
            raise Unreadable(f"found the end of the bytes within field {number}, {at - size} bytes too early")
        if not groups:
            yield number, value, at
    if groups:
        raise Unreadable(f"found the end of the bytes within the group {groups[-1]}")


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    found = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found, at
        shift += 7
        if shift > 63:
            raise Unreadable(f"found a number of more than 64 bits at byte {at}")
    raise Unreadable("found the end of the bytes within a number")


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def in_utf8(data: memoryview, kind: Descriptor, depth: int = 0) -> bytes:
    """The message of this kind with U+FFFD for whatever in its texts is no UTF-8: programs that cut texts by the byte send half a
    character, and protobuf would refuse all of it. `Unreadable` as for `fields`."""
    if depth > _DEEPEST:
        raise Unreadable(f"found more than {_DEEPEST} messages within each other")
    whole = bytearray()
    before = 0
    for number, value, at in fields(data):
        field = kind.fields_by_number.get(number)
        inner = None
        if field is not None and value is not None:
            if field.type == _STRING:
                inner = bytes(value).decode("utf-8", "replace").encode()
            elif field.message_type is not None:
                inner = in_utf8(value, field.message_type, depth + 1)
        whole += data[before:at] if inner is None else varint(number << 3 | 2) + varint(len(inner)) + inner
        before = at
    return bytes(whole)
