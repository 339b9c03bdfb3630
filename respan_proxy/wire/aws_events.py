"""Owns AWS's event-stream framing (`application/vnd.amazon.eventstream`): bytes in, checked messages out.

A message is its length, the length of its headers, a CRC of these two, the headers, the payload, a CRC of all before it; numbers are
big-endian, CRCs are CRC-32. Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html, botocore.eventstream.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from respan_proxy.errors import UpstreamInterrupted

MEDIA_TYPE: Final = "application/vnd.amazon.eventstream"

_PRELUDE: Final = struct.Struct(">III")
_CRC_BYTES: Final = 4
_LEAST_BYTES: Final = _PRELUDE.size + _CRC_BYTES

# botocore's own limit for a payload is 24 MiB.
_MOST_BYTES: Final = 24 * 1024 * 1024

# Types of a header's value: how many bytes it has. 0 and 1 are true and false, 6 and 7 bytes and text with a length of their own.
_SIZES: Final[Mapping[int, int]] = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES, _TEXT = 6, 7


@dataclass(frozen=True, slots=True)
class Message:
    """`headers` are those whose value is text (`:message-type`, `:event-type`, `:exception-type`), which is all that anybody sends."""

    headers: Mapping[str, str]
    payload: bytes


class Decoder:
    """The same messages for any split of the bytes. Bytes that are no messages raise `UpstreamInterrupted`."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    @property
    def complete(self) -> bool:
        """Whether the bytes so far end with a message."""
        return not self._held

    def feed(self, chunk: bytes) -> list[Message]:
        data = self._held + chunk
        messages, at = [], 0
        while len(data) - at >= _LEAST_BYTES:
            size = _size(data, at)
            if len(data) - at < size:
                break
            messages.append(_message(data[at : at + size]))
            at += size
        self._held = data[at:]
        return messages


def _size(data: bytes, at: int) -> int:
    size, headers, crc = _PRELUDE.unpack_from(data, at)
    if zlib.crc32(data[at : at + 8]) != crc:
        raise UpstreamInterrupted("the provider's event stream is damaged: the checksum of a message's beginning is wrong")
    if not _LEAST_BYTES + headers <= size <= _MOST_BYTES:
        raise UpstreamInterrupted(f"the provider's event stream is damaged: a message of {size} bytes with {headers} of headers")
    return int(size)


def _message(data: bytes) -> Message:
    end = len(data) - _CRC_BYTES
    if zlib.crc32(data[:end]) != int.from_bytes(data[end:], "big"):
        raise UpstreamInterrupted("the provider's event stream is damaged: the checksum of a message is wrong")
    begin = _PRELUDE.size + int.from_bytes(data[4:8], "big")
    return Message(_headers(data[_PRELUDE.size : begin]), data[begin:end])


def _headers(data: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            name_end = at + 1 + data[at]
            name, kind = data[at + 1 : name_end].decode("utf-8", "replace"), data[name_end]
            at = name_end + 1
            if kind in (_BYTES, _TEXT):
                size = int.from_bytes(data[at : at + 2], "big")
                at += 2
                if kind == _TEXT:
                    found[name] = data[at : at + size].decode("utf-8", "replace")
            else:
                size = _SIZES[kind]
            at += size
    except (IndexError, KeyError):
        raise UpstreamInterrupted("the provider's event stream is damaged: a message's headers cannot be read") from None
    return found
