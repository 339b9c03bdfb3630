"""The built-in provider: one request in, one `Reply` out, as if a provider had sent it; no socket, no dice, no clock of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson
from multidict import CIMultiDict

from respan_proxy.dialects.dialect import Dialect, WriteContext
from respan_proxy.dialects.faults import error_of
from respan_proxy.echo.manners import Manner, manner
from respan_proxy.echo.reading import Reading, read
from respan_proxy.echo.script import script
from respan_proxy.echo.vectors import embed
from respan_proxy.errors import ProxyError, RequestRejected, UpstreamInterrupted, UpstreamUnavailable
from respan_proxy.exchange import Reply, Stream

if TYPE_CHECKING:
    from respan_proxy.respan.endpoints import Endpoint

Sleep = Callable[[float], Awaitable[object]]

# The statuses with which providers say when to come back, and the shortest wait that whole seconds can say.
_COME_BACK = frozenset({429, 503, 529})
_COME_BACK_AFTER_S = "1"
_GARBAGE = b"<html><body>This is not the answer you are looking for.</body></html>"


class Echo:
    """Answers every dialect. `pace_s` lies between two chunks of a stream unless a model's name says otherwise.

    The two limits are a provider's: how long to wait for the head of an answer that never comes, and through its silence.
    """

    def __init__(
        self, *, pace_s: float = 0.02, first_byte_s: float = 600.0, silence_s: float = 300.0, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._pace_s = pace_s
        self._first_byte_s = first_byte_s
        self._silence_s = silence_s
        self._sleep = sleep

    async def send(
        self,
        endpoint: Endpoint,
        dialect: Dialect,
        model: str | None,
        body: bytes,
        stream: bool,
        *,
        query: str = "",
        stand_in: bool = False,
        now: float,
    ) -> Reply:
        """One answer, the same bytes for the same request at the same `now` (seconds of the epoch).

        `model` is a name of echo's own (`echo/...`) or, with `stand_in`, a real model's that nobody has a key for.
        Raises `UpstreamUnavailable` where the name asks for no answer at all.
        """
        model = model or "echo/echo"
        new_id = _ids(dialect.name, endpoint.kind, model, body)
        request_id = new_id("req_")
        headers = CIMultiDict({"Content-Type": "application/json", _REQUEST_ID.get(dialect.name, "x-request-id"): request_id})
        try:
            how = Manner() if stand_in else manner(model)
            await self._begin(how)
            if how.status >= 400:
                raise _asked_for(how.status)
            match endpoint.kind:
                case "generate":
                    reading = read(dialect.name, _parsed(body))
                    return await self._generate(dialect, reading, how, model, stream, query, stand_in, now, new_id, headers)
                case "embed":
                    return Reply(200, headers, embed(dialect.name, model, _parsed(body)))
                case "count":
                    return Reply(200, headers, _count(dialect.name, _parsed(body)))
            raise RequestRejected(f"echo keeps nothing and lists nothing: it has no {endpoint.path}", status=404, kind="not_found")
        except ProxyError as error:
            if isinstance(error, UpstreamUnavailable):
                raise
            _, told = dialect.write_error(error, request_id)
            headers.update(error.headers)
            return Reply(error.status, headers, told)

    async def _begin(self, how: Manner) -> None:
        if how.delay_s:
            await self._sleep(how.delay_s)
        if how.fault == "silence" and how.fault_after is None:
            await self._silence()

    async def _silence(self) -> None:
        await self._sleep(self._first_byte_s)
        message = f"provider 'echo' did not begin to answer within {self._first_byte_s:g} s"
        raise UpstreamUnavailable(message, may_have_run=True, status=504, kind="timeout")

    async def _generate(
        self,
        dialect: Dialect,
        reading: Reading,
        how: Manner,
        model: str,
        stream: bool,
        query: str,
        stand_in: bool,
        now: float,
        new_id: Callable[[str], str],
        headers: CIMultiDict[str],
    ) -> Reply:
        is_array = dialect.name == "gemini" and "alt=sse" not in query.split("&")
        context = WriteContext(
            now=int(now),
            new_id=new_id,
            model=model,
            include_usage=reading.include_usage,
            array=is_array,
            include_thoughts=reading.include_thoughts,
            encrypted_reasoning=reading.encrypted_reasoning,
            echo=reading.repeated,
        )
        events = script(reading, how, model, stand_in=stand_in)
        error = _asked_for(500)
        if not stream:
            return Reply(
                200, headers, await self._whole(how, dialect.write_reply(events, context), dialect.write_error(error, new_id("req_"))[1])
            )
        if not is_array:
            headers["Content-Type"] = "text/event-stream"
            headers["Cache-Control"] = "no-cache"
        writer = dialect.writer(context)

        def frames() -> Iterator[bytes]:
            for event in events:
                yield writer.feed(event)
            yield writer.close()

        last_words = {
            "error": _error_frame(dialect.name, dialect.write_error(error, new_id("req_"))[1], is_array),
            "garbage": _GARBAGE_FRAME,
        }
        pace_s = self._pace_s if how.pace_s is None else how.pace_s
        return Reply(
            200, headers, Stream(_Frames(frames(), how, pace_s, self._silence_s, self._sleep, last_words.get(how.fault or "", b"")))
        )

    async def _whole(self, how: Manner, answer: bytes, error: bytes) -> bytes:
        """A whole answer comes whole or not at all, so a fault in its middle is a fault of all of it."""
        match how.fault:
            case "silence":
                await self._silence()
            case "cut":
                raise UpstreamUnavailable("provider 'echo' broke off its answer, as its model's name asks", may_have_run=True)
            case "error":
                return error
            case "garbage":
                return _GARBAGE
            case "empty":
                return b""
        return answer


class _Frames:
    """The chunks of a streamed answer at their pace, up to the fault that the manner asks for (a `ByteStream`)."""

    __slots__ = ("_frames", "_how", "_last_words", "_pace_s", "_sent", "_silence_s", "_sleep")

    def __init__(self, frames: Iterator[bytes], how: Manner, pace_s: float, silence_s: float, sleep: Sleep, last_words: bytes) -> None:
        self._frames = frames
        self._how = how
        self._pace_s = pace_s
        self._silence_s = silence_s
        self._sleep = sleep
        self._last_words = last_words
        self._sent = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._how.fault and self._sent >= (self._how.fault_after or 0):
            return await self._fail()
        chunk = next((frame for frame in self._frames if frame), None)
        if chunk is None:
            raise StopAsyncIteration
        if self._sent and self._pace_s:
            await self._sleep(self._pace_s)
        self._sent += 1
        return chunk

    async def _fail(self) -> bytes:
        match self._how.fault:
            case "cut":
                raise UpstreamInterrupted("provider 'echo' broke off its answer, as its model's name asks")
            case "silence":
                await self._sleep(self._silence_s)
                raise UpstreamInterrupted(f"provider 'echo' sent nothing for {self._silence_s:g} s", status=504, kind="timeout")
        last_words, self._last_words = self._last_words, b""
        if not last_words:
            raise StopAsyncIteration
        return last_words

    async def aclose(self) -> None:
        self._frames = iter(())
        self._last_words = b""


_REQUEST_ID: Mapping[str, str] = {"anthropic.messages": "request-id"}
_GARBAGE_FRAME = b"data: " + _GARBAGE + b"\n\n"


def _error_frame(dialect: str, error: bytes, is_array: bool) -> bytes:
    """An error as a provider puts it into a stream that began with 200 (dialects' own forms; nested for Responses, as seen in the wild)."""
    match dialect:
        case "openai.responses":
            return b'event: error\ndata: {"type":"error","sequence_number":0,' + error[1:] + b"\n\n"
        case "anthropic.messages":
            return b"event: error\ndata: " + error + b"\n\n"
        case "gemini":
            return b"[" + error + b"]" if is_array else b"data: " + error + b"\r\n\r\n"
    return b"data: " + error + b"\n\n"


def _asked_for(status: int) -> ProxyError:
    kind = error_of(None, status).kind
    headers = {"Retry-After": _COME_BACK_AFTER_S} if status in _COME_BACK else {}
    return ProxyError(f"echo fails with status {status}, as its model's name asks", status=status, kind=kind, headers=headers)


def _ids(*request: str | bytes) -> Callable[[str], str]:
    """Ids that follow from the request: `prefix` and 24 hex digits, another one each time."""
    seed = blake2b(b"\0".join(part.encode() if isinstance(part, str) else part for part in request), digest_size=16).digest()
    made = 0

    def new_id(prefix: str) -> str:
        nonlocal made
        made += 1
        return prefix + blake2b(seed + made.to_bytes(4, "big"), digest_size=12).hexdigest()

    return new_id


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestRejected(f"the body is not JSON: {error}") from error


def _count(dialect: str, body: Any) -> bytes:
    if dialect == "gemini" and isinstance(body, dict):
        return orjson.dumps({"totalTokens": read(dialect, body.get("generateContentRequest") or body).tokens})
    tokens = {"input_tokens": read(dialect, body).tokens}
    return orjson.dumps({"object": "response.input_tokens", **tokens} if dialect == "openai.responses" else tokens)
