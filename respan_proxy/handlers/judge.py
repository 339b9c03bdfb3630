"""An answer is judged before anything of it is sent on: a 200 that is none becomes the error that it is.

Providers answer 200 and then send an error as the first event, or nothing, or something unreadable; proxies in front of them
answer HTML. A streamed answer is committed when its first data frame is in hand: comments and pings before it are held and go with it.
"""

from __future__ import annotations

from typing import Any

import orjson
from multidict import CIMultiDict

from respan_proxy.dialects.dialect import Dialect
from respan_proxy.errors import ProxyError, UpstreamError, UpstreamInterrupted, UpstreamUnavailable
from respan_proxy.exchange import Attempt, Exchange, Next, Reply, Step, Stream
from respan_proxy.handlers.send import bound
from respan_proxy.wire import encoding, json_array, sse

# An error that stands instead of an answer names itself in its first words; orjson then decides.
ERROR_WITHIN_BYTES = 400

_JUDGED_KINDS = frozenset({"generate", "embed", "count"})


async def judge(exchange: Exchange, call_next: Next) -> Reply:
    reply = await call_next(exchange)
    target, attempt = bound(exchange)
    body = reply.body
    if isinstance(body, Stream):
        if exchange.endpoint.kind != "generate":
            return reply
        try:
            error = await _commit(reply, body, target.dialect, attempt)
        except BaseException:
            await reply.aclose()
            raise
        if error is None:
            return reply
        await reply.aclose()
        return _failed(reply, b"".join(body.head), error, target.dialect, exchange.id, attempt)
    if reply.status >= 400:
        if "Content-Encoding" not in reply.headers and not _is_error_body(body):
            told = target.dialect.read_error(reply.status, body)
            return _failed(reply, body, told, target.dialect, exchange.id, attempt, status=reply.status)
    elif reply.status == 200 and exchange.endpoint.kind in _JUDGED_KINDS and "Content-Encoding" not in reply.headers:
        error = _instead_of_answer(body, target.provider.name, target.dialect)
        if error is not None:
            return _failed(reply, body, error, target.dialect, exchange.id, attempt)
    return reply


async def _commit(reply: Reply, stream: Stream, dialect: Dialect, attempt: Attempt) -> ProxyError | None:
    """Read until the first data frame; what was read stays in `stream.head`. Returns the error that the frame is, if it is one."""
    steps: list[Step] = []
    if coding := reply.headers.get("Content-Encoding"):
        steps.append(encoding.Inflate(coding))
        del reply.headers["Content-Encoding"]
    attempt.is_array = "json" in reply.headers.get("Content-Type", "")
    steps.append(json_array.Framer() if attempt.is_array else sse.Framer())
    stream.steps[:0] = steps
    stream.head_passed = len(steps)
    first = _FirstData(dialect, attempt.is_array)
    try:
        async for chunk in stream.source:
            for step in steps:
                chunk = step.feed(chunk)
            if not chunk:
                continue
            stream.head.append(chunk)
            if first.is_in(chunk):
                return first.error
    except UpstreamInterrupted as error:
        raise UpstreamUnavailable(
            f"{error.message}, before its first event", may_have_run=True, status=error.status, kind=error.kind
        ) from error
    rest = b""
    for step in steps:
        rest = (step.feed(rest) if rest else b"") + step.end(None)
    if rest:
        stream.head.append(rest)
        if first.is_in(rest, last=True):
            return first.error
    return _instead_of_answer(b"".join(stream.head), attempt.target.provider.name, dialect) or UpstreamError(
        f"provider {attempt.target.provider.name!r} answered 200 with a stream that holds no event"
    )


class _FirstData:
    """Looks for the first frame that carries data; pings are none. `error` is what it says if it is an error."""

    def __init__(self, dialect: Dialect, is_array: bool) -> None:
        self._dialect = dialect
        self._is_array = is_array
        self._decoder = json_array.Decoder() if is_array else sse.Decoder()
        self.error: ProxyError | None = None

    def is_in(self, chunk: bytes, *, last: bool = False) -> bool:
        for piece in (chunk,) if self._is_array else sse.frames(chunk):
            for frame in self._decoder.feed(piece):
                if not self._dialect.is_ping(frame):
                    return self._found(frame)
        for frame in self._decoder.close() if last else ():
            return self._found(frame)
        return False

    def _found(self, frame: sse.Frame | str) -> bool:
        self.error = self._dialect.first_error(frame)
        return True


def _instead_of_answer(body: bytes, provider: str, dialect: Dialect) -> ProxyError | None:
    """The error that a 200's whole body is, or None when it is an answer."""
    if not body.strip():
        return UpstreamError(f"provider {provider!r} answered 200 with an empty body")
    if body[:ERROR_WITHIN_BYTES].lstrip()[:1] not in (b"{", b"["):
        return UpstreamError(f"provider {provider!r} answered 200 with something that is not JSON: {_glimpse(body)}")
    if body.rstrip()[-1:] not in (b"}", b"]"):
        return UpstreamError(f"provider {provider!r} answered 200 with JSON that ends in the middle")
    if b'"error"' in body[:ERROR_WITHIN_BYTES] and _is_error_body(body):
        return dialect.read_error(200, body)
    return None


def _is_error_body(body: bytes) -> bool:
    """Whether this is the JSON that a provider's SDK reads an error from: an object (or a list of one) whose `error` is an object."""
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    if isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, dict) and isinstance(value.get("error"), dict)


def _failed(
    reply: Reply, original: bytes, error: ProxyError, dialect: Dialect, request_id: str, attempt: Attempt, *, status: int | None = None
) -> Reply:
    mapped, body = dialect.write_error(error, request_id)
    attempt.status = status or mapped
    attempt.original = original
    attempt.notes.append(f"answered {reply.status}: {error.message}")
    headers = CIMultiDict(reply.headers)
    headers.popall("Content-Encoding", None)
    headers["Content-Type"] = "application/json"
    headers.update(error.headers)
    return Reply(status or mapped, headers, body)


def _glimpse(body: bytes) -> str:
    return repr(body[:80].decode("utf-8", "replace"))
