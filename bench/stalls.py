"""How long a call with a big body keeps all others waiting: `python -m bench.stalls` prints the longest pauses of the product's loop.

The product runs in this process, beside a task that wakes every millisecond and sees how late it is; the provider and the caller
are processes of their own. Of each case, medians: the longest pause, the most of it that the loop itself worked, and the call's time.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import uvloop

from bench import spans
from respan_proxy.app import SWITCH_INTERVAL_S, running
from respan_proxy.config import parse

MEGABYTES = 30
PAUSE_S = 0.001
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    body: Callable[[], bytes]
    path: str = "/api/chat/completions"
    headers: str = "Content-Type: application/json\r\n"


def image(**more: object) -> bytes:
    url = "data:image/png;base64," + base64.b64encode(os.urandom(MEGABYTES * 750_000)).decode()
    content = [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    return json.dumps({"model": "gpt-4o", **more, "messages": [{"role": "user", "content": content}]}).encode()


def history() -> bytes:
    messages = [{"role": "user", "content": 'a "quoted" word and a\nline'} for _ in range(MEGABYTES * 15_500)]
    return json.dumps({"model": "gpt-4o", "messages": messages, "note": "x"}).encode()


def tools() -> bytes:
    function = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    return json.dumps({"model": "gpt-4o", "messages": [], "pad": "x" * (MEGABYTES * 1_000_000), "tools": [function] * 10_000}).encode()


def backslashes() -> bytes:
    return b'{"model":"gpt-4o","messages":["' + b'\\"' * (MEGABYTES * 500_000) + b'"]}'


def brackets() -> bytes:
    return b'{"model":"gpt-4o","messages":[' + b"[]," * (MEGABYTES * 333_000) + b"[]]}"


def members() -> bytes:
    return b'{"model":"gpt-4o",' + b",".join(b'"m%d":[1]' % number for number in range(1_000_000)) + b"}"


def form() -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n'
    audio = head % (b"file", b'; filename="a.mp3"') + os.urandom(MEGABYTES * 1_000_000)
    return audio + b"\r\n" + head % (b"model", b"") + b"whisper-1\r\n" + head % (b"note", b"") + b"x\r\n--b--\r\n"


def zstd(body: bytes) -> bytes:
    from backports.zstd import compress

    return compress(body)


CASES = (
    Case("a small call", lambda: b'{"model":"gpt-4o","messages":[]}'),
    Case("an image", image),
    Case("an image, a parameter to take out", lambda: image(note="x", customer_identifier="u")),
    Case("an image, content not kept", lambda: image(disable_log=True)),
    Case("a long history", history),
    Case("a thousand tools", tools),
    Case("nothing but escapes", backslashes),
    Case("nothing but brackets", brackets),
    Case("a million members", members),
    Case("an audio file", form, "/api/audio/transcriptions", "Content-Type: multipart/form-data; boundary=b\r\n"),
    Case("gzip", lambda: gzip.compress(image(), 1), headers="Content-Type: application/json\r\nContent-Encoding: gzip\r\n"),
    Case("zstd", lambda: zstd(image()), headers="Content-Type: application/json\r\nContent-Encoding: zstd\r\n"),
    *(Case(f"{spans.SPANS} spans: {name}", partial(spans.body, name), spans.PATH, said) for name, said in spans.ENCODINGS.items()),
    Case("a long answer: embeddings", lambda: b'{"model":"text-embedding-3-large","input":"x"}', "/api/embeddings"),
    Case("a long answer: an image", lambda: b'{"model":"gpt-4o","messages":[]}', "/api/chat/completions?long"),
    Case("a long answer: a stream", lambda: b'{"model":"gpt-4o","messages":[],"stream":true}', "/api/chat/completions?long"),
    Case("a long answer: a frame of 10 MB", lambda: b'{"model":"gpt-4o","messages":[],"stream":true}', "/api/chat/completions?frame"),
)


class Watch:
    """Wakes every millisecond; `late_s` is the most it was ever late since `reset`, `busy_s` the most that the thread worked meanwhile.

    On a machine that others use too the second is what is ours; waiting for the GIL is in the first only.
    """

    def __init__(self) -> None:
        self.late_s = self.busy_s = 0.0

    def reset(self) -> None:
        self.late_s = self.busy_s = 0.0

    async def run(self) -> None:
        while True:
            before, worked = time.perf_counter(), time.thread_time()
            await asyncio.sleep(PAUSE_S)
            self.late_s = max(self.late_s, time.perf_counter() - before - PAUSE_S)
            self.busy_s = max(self.busy_s, time.thread_time() - worked)


async def provide(port: int) -> None:
    """A provider that swallows bodies and answers as long as it is asked to."""
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": "word " * 20}}]}
    whole = {"id": "c", "model": "gpt-4o", "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}], "usage": {}}
    long = json.loads(json.dumps(whole))
    long["choices"][0]["message"]["content"] = "x" * (MEGABYTES * 1_000_000)
    vector = [round(0.123456 + number / 1e5, 8) for number in range(3072)]
    embeddings = {"data": [{"embedding": vector}] * (MEGABYTES * 28), "model": "e", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    bodies = {"short": json.dumps(whole).encode(), "long": json.dumps(long).encode(), "embeddings": json.dumps(embeddings).encode()}
    frame = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    end = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    streams = {
        "long": frame * (MEGABYTES * 1_000_000 // len(frame)) + end,
        "frame": frame.replace(b"word", b"w" * 500_000) + end,
    }

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                remaining, body = int(length or b"0"), b""
                while remaining:
                    data = await reader.read(min(remaining, 1_000_000))
                    remaining -= len(data)
                    body = body or data
                first = head.partition(b"\r\n")[0]
                if b'"stream":true' in body[:200]:
                    told = streams["frame" if b"?frame" in first else "long"]
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(told))
                else:
                    told = bodies["embeddings" if b"/embeddings" in first else "long" if b"?long" in first else "short"]
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(told))
                writer.write(told)
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port, limit=2**22)
    await server.serve_forever()


async def call(port: int, case: Case) -> None:
    """One call over a connection of its own; prints the answer's first line."""
    body = case.body()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    head = f"POST {case.path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{case.headers}Content-Length: {len(body)}\r\n\r\n"
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    writer.write(head.encode() + body)
    status = (await reader.readline()).decode().split()[1]
    while await reader.read(1_000_000):
        pass
    print(f"{status} {time.perf_counter() - began:.3f}", flush=True)


async def measured(watch: Watch, port: int, index: int) -> Iterator[str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.stalls", "call", str(port), str(index), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    await child.stdout.readline()
    watch.reset()
    child.stdin.write(b"\n")
    said = (await child.stdout.readline()).decode().split()
    await asyncio.sleep(0.3)  # the row is written after the answer
    await child.wait()
    return iter(said)


async def main(wanted: str) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    port = 18_741
    provider = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.stalls", "provide", str(port))
    while True:
        try:
            (await asyncio.open_connection("127.0.0.1", port))[1].close()
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
    with tempfile.TemporaryDirectory() as folder:
        environ = {"OPENAI_API_KEY": "sk-bench", "RESPAN_PROXY_OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
        config = parse({}, environ, "bench", {"listen": "127.0.0.1:0", "database": str(Path(folder) / "bench.db")})
        async with running(config) as house, asyncio.TaskGroup() as group:
            watch = Watch()
            watching = group.create_task(watch.run())
            await asyncio.sleep(1)
            for index, case in enumerate(CASES):
                if wanted not in case.name:
                    continue
                late, busy, times, statuses = [], [], [], set()
                for _ in range(ROUNDS):
                    status, took = await measured(watch, house.address.port, index)
                    late.append(watch.late_s * 1e3)
                    busy.append(watch.busy_s * 1e3)
                    times.append(float(took))
                    statuses.add(status)
                said = f"{case.name:36} {'/'.join(sorted(statuses))}  pause {median(late):6.1f} ms"
                print(f"{said}  of work {median(busy):6.1f} ms  call {median(times):5.2f} s", flush=True)
            watching.cancel()
    provider.terminate()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["provide", port]:
            uvloop.run(provide(int(port)))
        case ["call", port, index]:
            uvloop.run(call(int(port), CASES[int(index)]))
        case arguments:
            uvloop.run(main(arguments[0] if arguments else ""))
