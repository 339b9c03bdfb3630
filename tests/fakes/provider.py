"""A provider that does as it is told: exact bytes over a real socket, gates instead of sleeps, and a record of what it was sent."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from types import TracebackType
from typing import Any, cast

from multidict import CIMultiDict

from tests.fakes import recordings


class Act(Enum):
    """What a provider may do in the middle of things instead of sending bytes."""

    HANG = "say nothing more until the client leaves"
    CUT = "close the connection as if that were all"
    RESET = "reset the connection"


Step = bytes | asyncio.Event | Act
"""One move of an answer: bytes are one write (one chunk of a chunked body), an event is waited for, an act is done."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One scripted answer. `before` happens ahead of the head. A body without a length of its own is chunked."""

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    steps: Sequence[Step] = ()
    before: Sequence[Step] = ()
    raw: bool = False


@dataclass(slots=True)
class Received:
    """A request as it came over the wire. `gone` is set when the client closes before the answer is complete."""

    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes
    connection: int
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    written_bytes: int = 0

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def whole(body: bytes | str | Mapping[str, Any] | list[Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """One body with its length; a mapping or a list is written as JSON."""
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = CIMultiDict({"Content-Type": "application/json", "Content-Length": str(len(data))})
    lines.update(headers or {})
    return Answer(status, tuple(lines.items()), [data] if data else [])


def streamed(*steps: Step | Iterable[bytes], status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An SSE answer: each piece of bytes is one write, so that a test chooses where the cuts fall."""
    moves: list[Step] = []
    for step in steps:
        moves.extend([step] if isinstance(step, (bytes, asyncio.Event, Act)) else step)
    lines = CIMultiDict({"Content-Type": "text/event-stream; charset=utf-8", "Transfer-Encoding": "chunked"})
    lines.update(headers or {})
    return Answer(status, tuple(lines.items()), moves)


def html(status: int = 502) -> Answer:
    """What a load balancer says when nobody is behind it."""
    page = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center><h1>502 Bad Gateway</h1></center></body>\r\n</html>\r\n"
    return whole(page, status, {"Content-Type": "text/html"})


def gzipped(body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    """Compressed although nobody asked for it."""
    data = gzip.compress(body, mtime=0)
    return whole(data, headers={"Content-Encoding": "gzip", "Content-Length": str(len(data)), **(headers or {})})


def silent() -> Answer:
    """Takes the request and never says a word."""
    return Answer(before=[Act.HANG])


def garbage(data: bytes = b"\x00\x01 this is not HTTP\r\n\r\n") -> Answer:
    return Answer(steps=[data, Act.CUT], raw=True)


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


class FakeProvider:
    """Speaks all four dialects from recordings on 127.0.0.1; `will(...)` scripts the next answers instead.

    Use as `async with FakeProvider() as provider`. `received` holds every request but those for model lists, which a proxy makes on
    its own; they are in `listed`, are answered by `lists`, and take no scripted answer. `await arrival()` gives the next request.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.listed: list[Received] = []
        self.lists: Callable[[Received], Answer] = recorded
        self.unscripted: Callable[[Received], Answer] = recorded
        self.connections: set[_Connection] = set()
        self.opened = 0
        self._script: deque[Answer | Callable[[Received], Answer]] = deque()
        self._arrivals: asyncio.Queue[Received] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> FakeProvider:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        await self._server.wait_closed()

    def will(self, *answers: Answer | Callable[[Received], Answer]) -> None:
        """Script the answers to the next requests, in order; afterwards the recordings speak again."""
        self._script.extend(answers)

    def forget(self) -> None:
        """As if nothing had been asked or scripted."""
        self.received.clear()
        self._script.clear()

    async def arrival(self) -> Received:
        """The next request that has not been waited for yet. A test that would wait for ever fails after five seconds."""
        async with asyncio.timeout(5):
            return await self._arrivals.get()

    @property
    def last(self) -> Received:
        return self.received[-1]

    def start(self, connection: _Connection, request: Received) -> None:
        answer: Answer | Callable[[Received], Answer]
        if request.method == "GET" and request.target.partition("?")[0].endswith("/models"):
            self.listed.append(request)
            answer = self.lists
        else:
            self.received.append(request)
            self._arrivals.put_nowait(request)
            answer = self._script.popleft() if self._script else self.unscripted
        task = asyncio.get_running_loop().create_task(connection.answer(request, answer(request) if callable(answer) else answer))
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            self._tasks.discard(task)


class _Connection(asyncio.Protocol):
    """One client connection; requests are answered one after the other."""

    def __init__(self, provider: FakeProvider) -> None:
        self.provider = provider
        self.buffer = b""
        self.current: Received | None = None
        self.closed = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.provider.connections.add(self)
        self.provider.opened += 1
        self.number = self.provider.opened

    def connection_lost(self, error: Exception | None) -> None:
        self.provider.connections.discard(self)
        self.closed.set()
        self.writable.set()
        if self.current:
            self.current.gone.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.current is None and (request := self._request()):
            self.current = request
            self.provider.start(self, request)

    def _request(self) -> Received | None:
        head, blank, rest = self.buffer.partition(b"\r\n\r\n")
        if not blank:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers: CIMultiDict[str] = CIMultiDict()
        for line in lines:
            name, _, value = line.partition(":")
            headers.add(name, value.strip())
        if "chunked" in headers.get("Transfer-Encoding", ""):
            body, end = b"", 0
            while True:
                line_end = rest.find(b"\r\n", end)
                if line_end < 0:
                    return None
                size = int(rest[end:line_end], 16)
                if len(rest) < line_end + 4 + size:
                    return None
                body += rest[line_end + 2 : line_end + 2 + size]
                end = line_end + 4 + size
                if not size:
                    break
        else:
            end = int(headers.get("Content-Length", "0"))
            if len(rest) < end:
                return None
            body = rest[:end]
        self.buffer = rest[end:]
        return Received(method, target, headers, body, self.number)

    async def answer(self, request: Received, answer: Answer) -> None:
        chunked = any(name.lower() == "transfer-encoding" for name, _ in answer.headers)
        if not await self._play(request, answer.before, chunked=False):
            return
        if not answer.raw:
            lines = [f"HTTP/1.1 {answer.status} {_reason(answer.status)}", *(f"{name}: {value}" for name, value in answer.headers)]
            self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if not await self._play(request, answer.steps, chunked):
            return
        if chunked:
            self.transport.write(b"0\r\n\r\n")
        self.current = None
        request.answered.set()
        if any(name.lower() == "connection" and value.lower() == "close" for name, value in answer.headers):
            self.transport.close()
        self.data_received(b"")

    async def _play(self, request: Received, steps: Sequence[Step], chunked: bool) -> bool:
        """False when the connection is over before all steps were taken."""
        for step in steps:
            if self.closed.is_set():
                return False
            match step:
                case bytes():
                    self.transport.write(b"%x\r\n%b\r\n" % (len(step), step) if chunked else step)
                    request.written_bytes += len(step)
                    await self.writable.wait()
                    # One turn of the loop between two writes, so that the kernel sees two.
                    await asyncio.sleep(0)
                case asyncio.Event():
                    await step.wait()
                case Act.HANG:
                    await self.closed.wait()
                case Act.CUT:
                    self.transport.close()
                    await self.closed.wait()
                case Act.RESET:
                    # Linger of zero seconds: close() sends RST.
                    self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.transport.abort()
                    await self.closed.wait()
        return not self.closed.is_set()


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unassigned"


def recorded(request: Received) -> Answer:
    """What the provider of that path answers to a plain request."""
    path, _, query = request.target.partition("?")
    streams = b'"stream":true' in request.body.replace(b": ", b":")
    match path.rstrip("/").rsplit("/", 1)[-1]:
        case "completions":
            usage = b'"include_usage":true' in request.body.replace(b": ", b":")
            frames = recordings.CHAT_STREAM[:-1] + ([recordings.CHAT_USAGE] if usage else []) + recordings.CHAT_STREAM[-1:]
            return (
                streamed(frames, headers=recordings.OPENAI_HEADERS)
                if streams
                else whole(recordings.CHAT, headers=recordings.OPENAI_HEADERS)
            )
        case "responses":
            return streamed(recordings.RESPONSES_STREAM) if streams else whole(recordings.RESPONSE)
        case "messages":
            headers = recordings.ANTHROPIC_HEADERS
            return streamed(recordings.MESSAGES_STREAM, headers=headers) if streams else whole(recordings.MESSAGE, headers=headers)
        case "count_tokens":
            return whole({"input_tokens": 14}, headers=recordings.ANTHROPIC_HEADERS)
        case "embeddings":
            return whole(recordings.EMBEDDINGS, headers=recordings.OPENAI_HEADERS)
        case "models" if "x-goog-api-key" in request.headers:
            return whole(recordings.GEMINI_MODELS)
        case "models" if "anthropic-version" in request.headers:
            return whole(recordings.ANTHROPIC_MODELS)
        case "models":
            return whole(recordings.OPENAI_MODELS)
        case verb if verb.endswith(":streamGenerateContent"):
            if "alt=sse" in query:
                return streamed(recordings.GEMINI_STREAM)
            return streamed(recordings.GEMINI_ARRAY, headers={"Content-Type": "application/json; charset=UTF-8"})
        case verb if verb.endswith(":generateContent"):
            return whole(recordings.GEMINI)
        case verb if verb.endswith(":countTokens"):
            return whole({"totalTokens": 4})
        case verb if verb.endswith(":batchEmbedContents"):
            return whole({"embeddings": [{"values": [0.1, -0.2]}]})
        case _:
            return whole(
                {"error": {"message": f"no recording for {request.method} {request.target}", "type": "invalid_request_error"}}, 404
            )
