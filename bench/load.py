"""The load: keep-alive connections on a raw protocol that ask, count every byte of the answer, and ask again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import perf_counter
from types import TracebackType
from typing import cast


class WrongAnswer(Exception):
    """The server answered something else than the provider does: a number measured on it would mean nothing."""


@dataclass(slots=True)
class Job:
    """`count` times the same request over the pool's connections. Times in seconds, one per request."""

    payload: bytes
    count: int
    body_bytes: int | None
    done: asyncio.Future[None]
    sent: int = 0
    answered: int = 0
    latencies_s: list[float] = field(default_factory=list)
    first_bytes_s: list[float] = field(default_factory=list)
    elapsed_s: float = 0.0
    last_body_bytes: int = 0


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.job: Job | None = None
        self.reset()

    def reset(self) -> None:
        self.buffer = b""
        self.left: int | None = None  # bytes to come of the body, or of the current chunk with its CRLF; None: head not read yet
        self.chunked = False
        self.last = False
        self.body_bytes = 0
        self.first_byte_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def connection_lost(self, error: Exception | None) -> None:
        self.fail("closed the connection in the middle of a run")

    def fail(self, what: str) -> None:
        if self.job and not self.job.done.done():
            self.job.done.set_exception(WrongAnswer(f"the server {what}"))

    def ask(self, job: Job) -> None:
        self.reset()
        self.job = job if job.sent < job.count else None
        if self.job:
            job.sent += 1
            self.asked_at = perf_counter()
            self.transport.write(job.payload)

    def data_received(self, data: bytes) -> None:
        data = self.buffer + data
        at = 0
        if self.left is None:
            at = data.find(b"\r\n\r\n") + 4
            if at < 4:
                self.buffer = data
                return
            self.read_head(data[:at].lower())
        if at < len(data) and not self.first_byte_at:
            self.first_byte_at = perf_counter()
        if self.chunked:
            self.read_chunks(data, at)
        else:
            self.body_bytes += len(data) - at
            self.left = (self.left or 0) - (len(data) - at)
            self.buffer = b""
            if self.left <= 0:
                self.answered()

    def read_head(self, head: bytes) -> None:
        if not head.startswith(b"http/1.1 200"):
            self.fail(f"answered {head.splitlines()[0].decode('latin-1')}")
        self.chunked = b"transfer-encoding: chunked" in head
        at = head.find(b"content-length:")
        self.left = 0 if at < 0 else int(head[at + 15 :].split(b"\r\n", 1)[0])

    def read_chunks(self, data: bytes, at: int) -> None:
        left, end = self.left or 0, len(data)
        while True:
            if left:
                took = min(left, end - at)
                at += took
                left -= took
                if left:
                    break
                if self.last:
                    self.answered()
                    return
            line_end = data.find(b"\r\n", at)
            if line_end < 0:
                break
            size = int(data[at:line_end], 16)
            at = line_end + 2
            self.body_bytes += size
            self.last = not size
            left = size + 2
        self.left, self.buffer = left, data[at:]

    def answered(self) -> None:
        now, job = perf_counter(), self.job
        if job is None or job.done.done():
            return
        if job.body_bytes not in (None, self.body_bytes):
            self.fail(f"answered {self.body_bytes} bytes where the provider's answer has {job.body_bytes}")
            return
        job.latencies_s.append(now - self.asked_at)
        job.first_bytes_s.append(self.first_byte_at - self.asked_at)
        job.last_body_bytes = self.body_bytes
        job.answered += 1
        if job.answered == job.count:
            job.done.set_result(None)
        self.ask(job)


class Pool:
    """`size` connections to 127.0.0.1:port, opened once and kept."""

    def __init__(self, port: int, size: int) -> None:
        self.port, self.size = port, size
        self.connections: list[Connection] = []

    async def __aenter__(self) -> Pool:
        loop = asyncio.get_running_loop()
        for _ in range(self.size):
            _, connection = await loop.create_connection(Connection, "127.0.0.1", self.port)
            self.connections.append(connection)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for connection in self.connections:
            connection.job = None
            connection.transport.close()
        await asyncio.sleep(0)

    async def run(self, payload: bytes, count: int, body_bytes: int | None = None, spread_s: float = 0, limit_s: float = 60) -> Job:
        """The connections ask first within `spread_s` seconds, evenly. Raises WrongAnswer, and TimeoutError after `limit_s` seconds."""
        loop = asyncio.get_running_loop()
        job = Job(payload, count, body_bytes, loop.create_future())
        began = perf_counter()
        for place, connection in enumerate(self.connections):
            loop.call_later(spread_s * place / self.size, connection.ask, job)
        async with asyncio.timeout(limit_s):
            await job.done
        job.elapsed_s = perf_counter() - began
        return job
