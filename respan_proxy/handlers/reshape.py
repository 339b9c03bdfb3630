"""Where the caller's view differs from the provider's: usage asked for and hidden again, and `request_breakdown`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from respan_proxy.config import Config, Quirks
from respan_proxy.dialects import typed_content
from respan_proxy.dialects.observe import observe
from respan_proxy.errors import UpstreamInterrupted
from respan_proxy.exchange import Exchange, Handler, Next, Reply, Stream
from respan_proxy.handlers.observe import observed
from respan_proxy.respan.breakdown import Breakdown, breakdown_chunk, with_breakdown
from respan_proxy.respan.pricing import price
from respan_proxy.respan.spans import NANO
from respan_proxy.wire import sse

NO_QUIRKS = Quirks()

_DONE = b"[DONE]"
NO_CHOICES = (b'"choices":[]', b'"choices": []')


def reshape(config: Config, clock: Callable[[], float]) -> Handler:
    ask_usage = config.ask_usage

    async def handler(exchange: Exchange, call_next: Next) -> Reply:
        if exchange.endpoint.kind != "generate" or exchange.dialect.name != "openai.chat":
            return await call_next(exchange)
        asks = ask_usage and exchange.streams and not exchange.endpoint.is_relay and _ask_for_usage(exchange)
        wants_breakdown = exchange.params.request_breakdown
        reply = await call_next(exchange)
        quirks = attempt.target.provider.quirks if (attempt := exchange.answered_by) is not None else NO_QUIRKS
        if quirks.typed_content and not exchange.endpoint.is_relay:
            say_plainly(reply)
        body = reply.body
        if isinstance(body, Stream):
            if asks and quirks.ask_usage and attempt is not None:
                body.steps.append(HideUsage(everything=quirks.choiceless_chunks))
            if wants_breakdown:
                body.steps.append(AddBreakdown(exchange, clock))
        elif wants_breakdown and reply.status == 200 and "Content-Encoding" not in reply.headers:
            reply.body = with_breakdown(body, _breakdown(exchange, clock()))
        return reply

    return handler


def say_plainly(reply: Reply) -> None:
    """Content in typed parts becomes the text that clients expect; harmless when said again."""
    if isinstance(reply.body, Stream):
        reply.body.steps.append(typed_content.Plain())
    elif reply.status == 200 and "Content-Encoding" not in reply.headers:
        reply.body = typed_content.plain(reply.body)


def _ask_for_usage(exchange: Exchange) -> bool:
    """Ask for the usage chunk unless the caller did; whether it must be hidden then."""
    members: dict[str, Any] = exchange.document.members if exchange.document is not None else {}
    options = members.get("stream_options")
    if isinstance(options, dict):
        if options.get("include_usage") is True:
            return False
    elif options is not None:
        return False
    exchange.edits.replace["stream_options"] = {**(options or {}), "include_usage": True}
    return True


class HideUsage:
    """A step that withholds the one chunk with no choices that tells the usage; clients index `choices[0]` unguarded.

    `everything`: other chunks without choices, too.
    """

    __slots__ = ("_is_hidden",)

    def __init__(self, *, everything: bool = False) -> None:
        self._is_hidden = _is_choiceless if everything else _is_usage_frame

    def feed(self, chunk: bytes) -> bytes:
        if b'"choices":[]' not in chunk and b'"choices": []' not in chunk:
            return chunk
        return sse.without(chunk, NO_CHOICES, self._is_hidden)

    def end(self, error: UpstreamInterrupted | None) -> bytes:
        return b""


def _is_usage_frame(frame: bytes) -> bool:
    value = _chunk(frame)
    return value.get("choices") == [] and isinstance(value.get("usage"), dict)


def _is_choiceless(frame: bytes) -> bool:
    value = _chunk(frame)
    return value.get("choices") == [] and "error" not in value


def _chunk(frame: bytes) -> dict[str, Any]:
    """The object that a frame holds; empty for any other."""
    data = b"\n".join([line[5:] for line in frame.splitlines() if line.startswith(b"data:")])
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


class AddBreakdown:
    """A step that holds `[DONE]` back until the breakdown chunk has gone before it."""

    __slots__ = ("_clock", "_exchange", "_held")

    def __init__(self, exchange: Exchange, clock: Callable[[], float]) -> None:
        self._exchange = exchange
        self._clock = clock
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        if self._held:
            self._held += chunk
            return b""
        if _DONE not in chunk:
            return chunk
        frames = sse.split(chunk)
        for index, frame in enumerate(frames):
            if frame.startswith(b"data:") and frame[5:].strip() == _DONE:
                self._held = b"".join(frames[index:])
                return b"".join(frames[:index])
        return chunk

    def end(self, error: UpstreamInterrupted | None) -> bytes:
        if error is not None:
            return b""
        return breakdown_chunk(_breakdown(self._exchange, self._clock())) + self._held


def _breakdown(exchange: Exchange, now: float) -> Breakdown:
    attempt, borrowed = exchange.answered_by, exchange.borrowed
    if borrowed is not None:
        answer = borrowed.answer
        whole = answer if isinstance(answer, bytes) else b"".join([chunk for _, chunk in answer])
        seen = observe(exchange.dialect, "generate", whole, streamed=whole is not answer)
        seen = replace(borrowed.observed, reply=seen.reply)
    elif attempt is not None:
        seen = observed(exchange, attempt, whole=True)
    else:
        raise RuntimeError("a reply that nobody gave has no breakdown")
    model = seen.model or exchange.model
    cost: int | None = 0
    if attempt is not None and attempt.target.says is None:
        cost = price(model, attempt.target.provider.name, seen.usage, said=exchange.params.values)[0] if seen.usage else None
    latency_s = now - exchange.started_at
    return Breakdown.of(
        exchange.params,
        exchange.document.members if exchange.document is not None else {},
        seen,
        model=model,
        cost_usd=cost / NANO if cost is not None else None,
        stream=exchange.streams,
        ended_at=exchange.request.received_at + latency_s,
        latency_s=latency_s,
        routing_s=attempt.started_at - exchange.started_at if attempt is not None else None,
        cached=borrowed is not None,
    )
