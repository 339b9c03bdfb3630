"""A provider of chat completions and messages that costs next to nothing: a raw protocol, answers made beforehand.

The request's model says which answer: `gpt-4.1-nano` and `claude-haiku-4-5` one JSON object, `gpt-4.1-mini` and `claude-sonnet-4-5`
100 SSE chunks in one write, `gpt-4o-mini` and `claude-sonnet-4-6` one such chunk, `gpt-4.1` 50 chunks, one every 50 ms. Like the real
one, it ends a chat stream with a usage chunk when that is asked for.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

import uvloop

UNARY, BURST, PACED = "gpt-4.1-nano", "gpt-4.1-mini", "gpt-4.1"
SHORT = "gpt-4o-mini"
CLAUDE_UNARY, CLAUDE_BURST, CLAUDE_SHORT = "claude-haiku-4-5", "claude-sonnet-4-5", "claude-sonnet-4-6"
BURST_CHUNKS, PACED_CHUNKS, PACE_S = 100, 50, 0.05
USAGE = {"prompt_tokens": 210, "completion_tokens": 100, "total_tokens": 310, "prompt_tokens_details": {"cached_tokens": 0}}
CLAUDE_USAGE = {"input_tokens": 210, "output_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}

SENTENCE = "A relay is judged by what it adds: to the latency, to the bill, and to the number of things that can break. "


def _http(head: str, body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\n{head}x-request-id: req_bench\r\nopenai-processing-ms: 1\r\n\r\n".encode() + body


def _whole(value: object) -> bytes:
    body = json.dumps(value).encode()
    return _http(f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n", body)


def _frame(model: str, member: dict[str, object]) -> bytes:
    frame = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1767225600, "model": model, **member}
    return b"data: " + json.dumps(frame, separators=(",", ":")).encode() + b"\n\n"


def _chunk(data: bytes) -> bytes:
    """One chunk of HTTP's chunked coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _frames(model: str, count: int) -> list[bytes]:
    """`count` frames that carry text, the last one saying stop."""
    words = SENTENCE.split()
    deltas = [{"index": 0, "delta": {"content": words[i % len(words)] + " "}, "finish_reason": None} for i in range(count - 1)]
    return [_frame(model, {"choices": [delta]}) for delta in [*deltas, {"index": 0, "delta": {}, "finish_reason": "stop"}]]


def _event(payload: dict[str, object]) -> bytes:
    return f"event: {payload['type']}\ndata: {json.dumps(payload, separators=(',', ':'))}\n\n".encode()


def _message(model: str, **members: object) -> dict[str, object]:
    message: dict[str, object] = {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
    }
    return {**message, "stop_sequence": None, "usage": {**CLAUDE_USAGE, "output_tokens": 1}, **members}


def _events(model: str, count: int) -> bytes:
    """A message whose text comes in `count` deltas, each a chunk of HTTP's."""
    words = SENTENCE.split()
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": _message(model)},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]
    for place in range(count):
        delta = {"type": "text_delta", "text": words[place % len(words)] + " "}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    events.append({"type": "content_block_stop", "index": 0})
    events.append({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": CLAUDE_USAGE})
    events.append({"type": "message_stop"})
    return b"".join([_chunk(_event(event)) for event in events])


STREAM_HEAD = _http("Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n", b"")
DONE = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"

MODELS = _whole({"object": "list", "data": [{"id": UNARY, "object": "model", "created": 1, "owned_by": "openai"}]})
ANSWER = _whole(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1767225600,
        "model": UNARY,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": SENTENCE * 8, "refusal": None}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
)
CLAUDE_ANSWER = _whole(_message(CLAUDE_UNARY, content=[{"type": "text", "text": SENTENCE * 8}], stop_reason="end_turn", usage=CLAUDE_USAGE))
CLAUDE_BURST_BODY = _events(CLAUDE_BURST, BURST_CHUNKS)
CLAUDE_SHORT_BODY = _events(CLAUDE_SHORT, 1)
SHORT_USAGE = _chunk(_frame(SHORT, {"choices": [], "usage": USAGE}))
SHORT_BODY = b"".join(map(_chunk, _frames(SHORT, 2)))
BURST_USAGE = _chunk(_frame(BURST, {"choices": [], "usage": USAGE}))
BURST_BODY = b"".join(map(_chunk, _frames(BURST, BURST_CHUNKS)))
PACED_USAGE = _chunk(_frame(PACED, {"choices": [], "usage": USAGE}))
PACED_BODY = [_chunk(frame) for frame in _frames(PACED, PACED_CHUNKS)]


class Provider(asyncio.Protocol):
    """One connection; requests are answered in turn, never pipelined."""

    def __init__(self) -> None:
        self.buffer = b""
        self.loop = asyncio.get_running_loop()
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def connection_lost(self, error: Exception | None) -> None:
        if self.timer:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, blank, rest = self.buffer.partition(b"\r\n\r\n")
        if not blank:
            return
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self.buffer = b""
        self.answer(head, rest)

    def answer(self, head: bytes, body: bytes) -> None:
        write = self.transport.write
        if head.startswith(b"GET "):
            write(MODELS)
        elif head.startswith(b"POST /v1/messages"):
            if b'"claude-haiku-4-5"' in body:
                write(CLAUDE_ANSWER)
            else:
                write(STREAM_HEAD + (CLAUDE_BURST_BODY if b'"claude-sonnet-4-5"' in body else CLAUDE_SHORT_BODY) + b"0\r\n\r\n")
        elif b'"gpt-4.1-nano"' in body:
            write(ANSWER)
        elif b'"gpt-4.1-mini"' in body:
            write(STREAM_HEAD + BURST_BODY + (BURST_USAGE if b'"include_usage":' in body else b"") + DONE)
        elif b'"gpt-4o-mini"' in body:
            write(STREAM_HEAD + SHORT_BODY + (SHORT_USAGE if b'"include_usage":' in body else b"") + DONE)
        else:
            write(STREAM_HEAD)
            self.pace(0, (PACED_USAGE if b'"include_usage":' in body else b"") + DONE)

    def pace(self, index: int, end: bytes) -> None:
        if index == PACED_CHUNKS:
            self.transport.write(end)
            return
        self.transport.write(PACED_BODY[index])
        self.timer = self.loop.call_later(PACE_S, self.pace, index + 1, end)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
