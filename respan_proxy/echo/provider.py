"""The built-in provider: one request in, one `Reply` out, as if a provider had sent it; no socket, no dice, no clock of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson
from multidict import CIMultiDict

from respan_proxy.dialects.dialect import Dialect, WriteContext
from respan_proxy.dialects.events import Event
from respan_proxy.dialects.faults import error_of
from respan_proxy.echo.manners import Manner, manner
from respan_proxy.echo.reading import Reading, read
from respan_proxy.echo.script import script
from respan_proxy.echo.vectors import embed
from respan_proxy.errors import ProxyError, RequestRejected, UpstreamInterrupted, UpstreamUnavailable
from respan_proxy.exchange import Reply, Stream
from respan_proxy.respan.endpoints import streams_array

if TYPE_CHECKING:
    from respan_proxy.respan.endpoints import Endpoint

Sleep = Callable[[float], Awaitable[object]]

_ANSWERED = frozenset({"generate", "embed", "count"})

# The statuses with which providers say when to come back, and the shortest wait that whole seconds can say.
_COME_BACK = frozenset({429, 503, 529})
_COME_BACK_AFTER_S = "1"
_CUT = "provider 'echo' broke off its answer, as its model's name asks"
_GARBAGE = b"<html><body>This is not the answer you are looking for.</body></html>"


@dataclass(frozen=True, slots=True)
class _Call:
    """One request for words, understood. `error` is the body of the failure that a manner may ask for in the middle."""

    dialect: Dialect
    how: Manner
    events: Iterator[Event]
    context: WriteContext
    error: bytes

    def whole(self) -> bytes:
        return self.dialect.write_reply(self.events, self.context)

    def frames(self) -> Iterator[bytes]:
        writer = self.dialect.writer(self.context)
        for event in self.events:
            yield writer.feed(event)
        yield writer.close()

    def last_words(self) -> bytes:
        """What a stream says in the place of the rest."""
        match self.how.fault:
            case "error":
                if self.context.array:
                    return (b",\r\n" if self.how.fault_after else b"[") + self.error + b"]"
                return _ERROR_FRAMES[self.dialect.name] % self.error
            case "garbage":
                return b"data: " + _GARBAGE + b"\n\n"
        return b""


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
        says: str | None = None,
        now: float,
    ) -> Reply:
        """One answer, the same bytes for the same request at the same `now` (seconds of the epoch).

        `model` is a name of echo's own, with or without `echo/`, or with `stand_in` a real model's that nobody has a key for.
        With `says` that is the answer, under any name.
        Raises `UpstreamUnavailable` where the name asks for no answer at all.
        """
        name = (model or "echo") if stand_in or says is not None else f"echo/{(model or 'echo').removeprefix('echo/')}"
        new_id = _ids(dialect.name, endpoint.kind, name, body)
        request_id = new_id("req_")
        headers = CIMultiDict({"Content-Type": "application/json", _REQUEST_ID.get(dialect.name, "x-request-id"): request_id})
        try:
            how = Manner() if stand_in or says is not None else manner(name)
            await self._begin(how)
            if endpoint.kind not in _ANSWERED:
                raise RequestRejected(f"echo generates, embeds and counts tokens: it has no {endpoint.path}", status=404, kind="not_found")
            members = _parsed(body)
            match endpoint.kind:
                case "generate":
                    reading = read(dialect.name, members)
                    context = _context(dialect, reading, name, query, int(now), new_id)
                    error = dialect.write_error(_asked_for(500), request_id)[1]
                    call = _Call(dialect, how, script(reading, how, name, stand_in=stand_in, says=says), context, error)
                    return self._streamed(call, headers) if stream else Reply(200, headers, await self._whole(call))
                case "embed":
                    return Reply(200, headers, embed(dialect.name, name, members))
                case _:
                    return Reply(200, headers, _count(dialect.name, members))
        except UpstreamUnavailable:
            raise
        except ProxyError as error:
            headers.update(error.headers)
            return Reply(error.status, headers, dialect.write_error(error, request_id)[1])

    async def _begin(self, how: Manner) -> None:
        """What comes before the head of an answer."""
        if how.delay_s:
            await self._sleep(how.delay_s)
        if how.fault == "silence" and how.fault_after is None:
            await self._hang()
        if how.status >= 400:
            raise _asked_for(how.status)

    async def _hang(self) -> None:
        await self._sleep(self._first_byte_s)
        message = f"provider 'echo' did not begin to answer within {self._first_byte_s:g} s"
        raise UpstreamUnavailable(message, may_have_run=True, status=504, kind="timeout")

    async def _whole(self, call: _Call) -> bytes:
        """A whole answer comes whole or not at all, so a fault in its middle is a fault of all of it."""
        match call.how.fault:
            case "silence":
                await self._hang()
            case "cut":
                raise UpstreamUnavailable(_CUT, may_have_run=True)
            case "error":
                return call.error
            case "garbage":
                return _GARBAGE
            case "empty":
                return b""
        return call.whole()

    def _streamed(self, call: _Call, headers: CIMultiDict[str]) -> Reply:
        if not call.context.array:
            headers["Content-Type"] = "text/event-stream"
            headers["Cache-Control"] = "no-cache"
        pace_s = self._pace_s if call.how.pace_s is None else call.how.pace_s
        return Reply(200, headers, Stream(_Frames(call, pace_s, self._silence_s, self._sleep)))


class _Frames:
    """The chunks of a streamed answer at their pace, up to the fault that the manner asks for (a `ByteStream`)."""

    __slots__ = ("_fault", "_fault_after", "_frames", "_last_words", "_pace_s", "_sent", "_silence_s", "_sleep")

    def __init__(self, call: _Call, pace_s: float, silence_s: float, sleep: Sleep) -> None:
        self._frames = call.frames()
        self._fault = call.how.fault
        self._fault_after = call.how.fault_after or 0
        self._last_words = call.last_words()
        self._pace_s = pace_s
        self._silence_s = silence_s
        self._sleep = sleep
        self._sent = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._fault and self._sent >= self._fault_after:
            return await self._fail()
        chunk = next((frame for frame in self._frames if frame), None)
        if chunk is None:
            raise StopAsyncIteration
        if self._sent and self._pace_s:
            await self._sleep(self._pace_s)
        self._sent += 1
        return chunk

    async def _fail(self) -> bytes:
        match self._fault:
            case "cut":
                raise UpstreamInterrupted(_CUT)
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


# An error inside a stream that began with 200, as each dialect's providers send it (Responses: the shape its SDK raises on).
_ERROR_FRAMES: Mapping[str, bytes] = {
    "openai.chat": b"data: %b\n\n",
    "openai.responses": b"event: error\ndata: %b\n\n",
    "anthropic.messages": b"event: error\ndata: %b\n\n",
    "gemini": b"data: %b\r\n\r\n",
}
_REQUEST_ID: Mapping[str, str] = {"anthropic.messages": "request-id"}


def _context(dialect: Dialect, reading: Reading, model: str, query: str, now: int, new_id: Callable[[str], str]) -> WriteContext:
    return WriteContext(
        now=now,
        new_id=new_id,
        model=model,
        include_usage=reading.include_usage,
        array=streams_array(dialect.name, query),
        include_thoughts=reading.include_thoughts,
        encrypted_reasoning=reading.encrypted_reasoning,
        echo=reading.repeated,
    )


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
        return orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise RequestRejected(f"the body is not JSON: {error}") from error


def _count(dialect: str, body: Any) -> bytes:
    if dialect == "gemini" and isinstance(body, dict):
        return orjson.dumps({"totalTokens": read(dialect, body.get("generateContentRequest") or body).tokens})
    tokens = {"input_tokens": read(dialect, body).tokens}
    return orjson.dumps({"object": "response.input_tokens", **tokens} if dialect == "openai.responses" else tokens)
