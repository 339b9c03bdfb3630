"""An answer is judged before anything of it is sent on: a 200 that is none becomes the error that it is.

Providers answer 200 and then send an error as the first event, or nothing, or something unreadable; proxies in front of them
answer HTML. A streamed answer is committed when its first data frame is in hand: comments and pings before it are held and go with it.
"""

from __future__ import annotations

from typing import Any

import orjson
from multidict import CIMultiDict

from respan_proxy.dialects import bedrock_events
from respan_proxy.dialects.dialect import Dialect
from respan_proxy.errors import ProxyError, RequestRejected, TooLarge, UpstreamError, UpstreamInterrupted, UpstreamUnavailable
from respan_proxy.exchange import Attempt, Exchange, Next, Reply, Step, Stream
from respan_proxy.handlers.keep_secrets import SCRUBBED_BYTES, secrets_of
from respan_proxy.handlers.send import bound
from respan_proxy.wire import aws_events, encoding, json_array, sse
from respan_proxy.wire.headers import scrub

# An error that stands instead of an answer names itself in its first words; orjson then decides.
ERROR_WITHIN_BYTES = 400

# Longer first events than this are errors only if their first words say so.
LONGEST_ERROR = 4096

# Of an answer that was compressed unasked; more is not looked into.
MOST_DECODED_BYTES = 8 * 1024 * 1024

# Google says only in the body how long to wait; clients look at the header.
_WAITING = frozenset({429, 503})

_JUDGED_KINDS = frozenset({"generate", "embed", "count"})


async def judge(exchange: Exchange, call_next: Next) -> Reply:
    reply = await call_next(exchange)
    target, attempt = bound(exchange)
    kind = exchange.endpoint.kind
    error: ProxyError | None
    if isinstance(stream := reply.body, Stream):
        if kind != "generate":
            return reply
        try:
            error = await _commit(reply, stream, exchange)
        except BaseException:
            await reply.aclose()
            raise
        if error is not None:
            await stream.aclose()
            return _failed(reply, b"".join(stream.head), error, target.dialect, exchange.id, attempt)
    if isinstance(body := reply.body, Stream):
        return reply
    if reply.status >= 400:
        if "Content-Encoding" in reply.headers:
            reply.body = body = _readable(reply, body)
        # Here already: what is told of a long text is cut, and half a key would be found by nobody.
        reply.body = body = _without_secrets(body, exchange)
        if "Content-Encoding" not in reply.headers and not _is_error_body(body):
            told = target.dialect.read_error(reply.status, body)
            return _failed(reply, body, told, target.dialect, exchange.id, attempt, status=reply.status)
        if reply.status in _WAITING and "Retry-After" not in reply.headers:
            reply.headers.update(target.dialect.read_error(reply.status, body).headers)
    elif kind in _JUDGED_KINDS:
        error = _instead_of_answer(reply, body, exchange)
        if error is not None:
            return _failed(reply, body, error, target.dialect, exchange.id, attempt)
    return reply


async def _commit(reply: Reply, stream: Stream, exchange: Exchange) -> ProxyError | None:
    """Read until the first data frame; what was read stays in `stream.head`. Returns the error that the frame is, if it is one.

    A provider that does not stream and answers with one JSON object makes the reply a whole one.
    """
    target, attempt = bound(exchange)
    provider, dialect = target.provider.name, target.dialect
    layers: list[Step] = []
    if coding := reply.headers.get("Content-Encoding"):
        try:
            layers.append(encoding.Inflate(coding))
        except encoding.EncodingProblem:
            return UpstreamError(f"provider {provider!r} compressed its stream, though asked not to, in a way nobody here reads ({coding})")
        del reply.headers["Content-Encoding"]
    if aws_events.MEDIA_TYPE in reply.headers.get("Content-Type", ""):
        layers.append(bedrock_events.ToSse())
        reply.headers["Content-Type"] = bedrock_events.CONTENT_TYPE
    attempt.is_array = "json" in reply.headers.get("Content-Type", "")
    framer = json_array.Framer() if attempt.is_array else sse.Framer()
    decoder = json_array.Decoder() if attempt.is_array else sse.Decoder()
    stream.steps[:0] = [*layers, framer]
    stream.head_passed = len(layers) + 1
    begun = False
    try:
        async for chunk in stream.source:
            for layer in layers:
                chunk = layer.feed(chunk)
            if attempt.is_array and not begun and (begun := bool(chunk.strip())) and chunk.lstrip()[:1] == b"{":
                attempt.is_array = False
                reply.body = await _whole(chunk, stream, layers)
                return None
            chunk = framer.feed(chunk)
            if not chunk:
                continue
            stream.head.append(chunk)
            # A burst brings a hundred frames in one chunk: no more of them are read than it takes.
            for piece in (chunk,) if attempt.is_array else sse.frames(chunk):
                for frame in decoder.feed(piece):
                    data = frame if isinstance(frame, str) else frame.data
                    if not dialect.is_ping(frame) and data.strip():
                        if dialect.names_events and isinstance(frame, sse.Frame) and frame.event is None:
                            stream.steps.append(sse.Namer())
                        return _first(data, reply, exchange)
        rest = b"".join([step.end(None) for step in (*layers, framer)])
        for frame in decoder.feed(rest) + decoder.close() if rest else ():
            stream.head.append(rest)
            return _first(frame if isinstance(frame, str) else frame.data, reply, exchange)
    except UpstreamInterrupted as error:
        raise UpstreamUnavailable(
            f"{error.message}, before its first event", may_have_run=True, status=error.status, kind=error.kind
        ) from error
    body = b"".join(stream.head) + rest
    return _instead_of_answer(reply, body, exchange) or UpstreamError(
        f"provider {provider!r} answered {reply.status} with a stream that holds no event"
    )


def _first(data: str, reply: Reply, exchange: Exchange) -> ProxyError | None:
    """The error that the first data of a stream is, if it is one."""
    target, _ = bound(exchange)
    if not _looks_like_an_object(data):
        begins = _glimpse(data.encode(), exchange)
        return UpstreamError(f"provider {target.provider.name!r} answered {reply.status} with a stream that begins with {begins}")
    beginning = data[:ERROR_WITHIN_BYTES]
    if len(data) > LONGEST_ERROR and '"error"' not in beginning and "failed" not in beginning:
        return None  # response.created repeats the instructions and all tools: not worth parsing
    return target.dialect.first_error(data)


async def _whole(first: bytes, stream: Stream, layers: list[Step]) -> bytes:
    """The rest of a body that is no stream, taken together with its first piece."""
    pieces = [first]
    async for chunk in stream.source:
        for layer in layers:
            chunk = layer.feed(chunk)
        pieces.append(chunk)
    for layer in layers:
        layer.end(None)
    return b"".join(pieces)


def _looks_like_an_object(data: str) -> bool:
    """Whether it begins and ends like one; `first_error` parses it anyway, and a big one should not be parsed twice."""
    data = data.strip()
    return data.startswith("{") and data.endswith("}")


def _instead_of_answer(reply: Reply, body: bytes, exchange: Exchange) -> ProxyError | None:
    """The error that a whole body without an error's status is, or None when it is an answer."""
    target, _ = bound(exchange)
    provider, status = target.provider.name, reply.status
    if 300 <= status < 400:
        # Followed by nobody: a client would take its key, ours, to wherever this leads.
        place = reply.headers.get("Location", "").partition("?")[0]
        return UpstreamError(f"provider {provider!r} answered {status}, a redirect to {place!r}: is its base URL right?")
    if coding := reply.headers.get("Content-Encoding"):
        try:
            body = encoding.decode(body, coding, MOST_DECODED_BYTES)
        except encoding.EncodingProblem as problem:
            return None if problem.status == 415 else UpstreamError(f"provider {provider!r} answered {status}, but {problem}")
        except TooLarge:
            return None
    if body[:1] in (b"{", b"[") and body[-1:] in (b"}", b"]") and body.find(b'"error"', 0, ERROR_WITHIN_BYTES) == -1:
        return None  # nearly always
    # Of big bodies only the ends are looked at: stripping the whole would copy it.
    if not body[:ERROR_WITHIN_BYTES].strip() and not body.strip():
        return UpstreamError(f"provider {provider!r} answered {status} with an empty body")
    if body[:ERROR_WITHIN_BYTES].lstrip()[:1] not in (b"{", b"["):
        return UpstreamError(f"provider {provider!r} answered {status} with something that is not JSON: {_glimpse(body, exchange)}")
    if body[-ERROR_WITHIN_BYTES:].rstrip()[-1:] not in (b"}", b"]"):
        return UpstreamError(f"provider {provider!r} answered {status} with JSON that ends in the middle")
    if b'"error"' in body[:ERROR_WITHIN_BYTES] and _is_error_body(body):
        return target.dialect.read_error(200, _without_secrets(body, exchange))
    return None


def _readable(reply: Reply, body: bytes) -> bytes:
    """An error's body without its compression, which nobody asked for: what is in it must be looked at. As it is if that cannot be."""
    try:
        body = encoding.decode(body, reply.headers["Content-Encoding"], MOST_DECODED_BYTES)
    except RequestRejected:
        return body
    del reply.headers["Content-Encoding"]
    return body


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
    for name in ("Content-Encoding", "Location"):
        headers.popall(name, None)
    headers["Content-Type"] = "application/json"
    headers.update(error.headers)
    return Reply(status or mapped, headers, body)


def _glimpse(body: bytes, exchange: Exchange) -> str:
    return repr(_without_secrets(body, exchange)[:80].decode("utf-8", "replace"))


def _without_secrets(body: bytes, exchange: Exchange) -> bytes:
    return scrub(body, secrets_of(exchange)) if len(body) <= SCRUBBED_BYTES else body
