"""A request's body off the socket: bounded in size (also after decompression) and in the time between two pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.http_exceptions import PayloadEncodingError

from respan_proxy.errors import RequestRejected, TooLarge
from respan_proxy.wire.encoding import decode

# Decompression and big joins hold the loop: above this, before it or after it, they happen in a thread.
INLINE_BYTES = 262_144
JOINED_INLINE_BYTES = 2_000_000


def _anything(_: int) -> None:
    pass


async def read_body(
    request: web.BaseRequest,
    limit_bytes: int,
    pause_s: float,
    option: str = "limits.request_bytes",
    grows: Callable[[int], None] = _anything,
) -> bytes:
    """The body as the caller meant it: decoded from its Content-Encoding (gzip, deflate, zstd), at most `limit_bytes`, set by `option`.

    `grows` hears of each piece's bytes as it comes, and may raise what the caller is to be told instead. Raises `TooLarge` (413), or
    `RequestRejected`: 408 after `pause_s` of silence, 415 for another encoding, 400 for broken ones.
    """
    body = await _raw(request, limit_bytes, pause_s, option, grows)
    coding = request.headers.get("Content-Encoding")
    if not body or not coding or coding == "identity":
        return body
    if len(body) <= INLINE_BYTES:
        try:
            return decode(body, coding, min(limit_bytes, INLINE_BYTES))
        except TooLarge:
            if limit_bytes <= INLINE_BYTES:
                raise
    return await asyncio.to_thread(decode, body, coding, limit_bytes)


async def skip_body(request: web.BaseRequest, limit_bytes: int, pause_s: float, option: str) -> None:
    """Let the caller say what nobody wants to know; raises what `read_body` does, but for what is in it."""
    await _raw(request, limit_bytes, pause_s, option)


async def _raw(request: web.BaseRequest, limit_bytes: int, pause_s: float, option: str, grows: Callable[[int], None] = _anything) -> bytes:
    if not request.body_exists:
        return b""
    declared = request.content_length
    if declared is not None and declared > limit_bytes:
        raise _too_large(declared, limit_bytes, option)
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    content = request.content
    if content.is_eof():  # a small body is there with its head: one piece, no timer
        whole = content.read_nowait()
        if len(whole) > limit_bytes:  # in chunks, nothing was declared
            raise _too_large(len(whole), limit_bytes, option)
        grows(len(whole))
        return whole
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(pause_s) as limit:
            while piece := await content.readany():
                size += len(piece)
                if size > limit_bytes:
                    raise _too_large(size, limit_bytes, option)
                grows(len(piece))
                pieces.append(piece)
                limit.reschedule(asyncio.get_running_loop().time() + pause_s)
    except TimeoutError as error:
        raise RequestRejected(
            f"the request's body stopped coming: {size} bytes, then nothing for {pause_s:g} s", status=408, kind="timeout"
        ) from error
    except (web.RequestPayloadError, PayloadEncodingError) as error:
        raise RequestRejected(f"the request's body cannot be read: {error}") from error
    if size > JOINED_INLINE_BYTES:  # joining bytes lets go of the GIL
        return await asyncio.to_thread(b"".join, pieces)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large(size: int, limit_bytes: int, option: str) -> TooLarge:
    return TooLarge(f"the request's body has {size} bytes or more; at most {limit_bytes} are accepted ({option})")
