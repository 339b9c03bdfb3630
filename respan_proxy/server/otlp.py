"""Where spans come in: OTLP/HTTP on every path that exporters make of the address they are given, answered as the protocol says.

Answers are given after the commit. A database that is away is no fault of the sender's, and some senders never try again: what has come
is kept in memory and written as soon as it can be, within the writer's limit; beyond that, 429 with Retry-After.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from aiohttp import web

from respan_proxy.config import Config, Listen
from respan_proxy.errors import LimitExceeded, ProxyError, RequestRejected
from respan_proxy.exchange import Caller
from respan_proxy.policy.credentials import identify, refuse_strangers
from respan_proxy.server.reading import read_body, skip_body
from respan_proxy.telemetry import otlp
from respan_proxy.telemetry.otlp_answers import refusal, success
from respan_proxy.telemetry.otlp_received import Received
from respan_proxy.telemetry.spans import Told, has_passed
from respan_proxy.telemetry.vocabularies import tell

log = logging.getLogger(__name__)

# OTLP's own path is /v1/traces, Respan's /v2/traces; and exporters append /v1/traces to whatever their endpoint variable says.
_PATH = re.compile(r"(?:/api)?(?:/v[12](?:/(?:traces|logs|metrics))?)?/v[12]/(traces|logs|metrics)/?")

# Larger ones are read in a thread.
INLINE_BYTES = 16_384
# Senders wait for 10 s (OpenTelemetry's exporters) or 30 s (Respan's), and some lose what was not answered by then.
ANSWERED_WITHIN_S = 5.0
RETRY_AFTER_S = 5
# Bodies that are read or wait for their commit, as multiples of the largest.
BODIES_UNDER_WAY = 2

_STOCK: Final = "OTel-OTLP-Exporter"  # how OpenTelemetry's own exporters begin their User-Agent


class Ingests(Protocol):
    """What `Writer` is, as far as it is needed here."""

    async def ingest(self, told: Sequence[Told], size_bytes: int, content: Literal["full", "errors", "none"]) -> int: ...


@dataclass(slots=True)
class Counters:
    """Spans since the start; `waiting_bytes` of bodies that are being read, or are not answered because their commit is awaited."""

    received: int = 0
    rejected: int = 0
    waiting_bytes: int = 0


class Telemetry:
    """One for the whole proxy. Large bodies are read one at a time: a stream shares the interpreter with one of them at the most."""

    def __init__(self, writer: Ingests, mark: str | None = None) -> None:
        """`mark`: the id of this process, by which it knows spans that it passed on itself."""
        self.counters = Counters()
        self._writer = writer
        self._mark = mark
        self._turn = asyncio.Lock()

    async def answer(self, request: web.BaseRequest, path: str, config: Config, listen: Listen) -> web.Response | None:
        """The answer on the socket `listen`; None for a path that is none of OTLP's."""
        if (found := _PATH.fullmatch(path)) is None:
            return None
        encoding = otlp.JSON
        try:
            content_type = request.headers.get("Content-Type", "")
            if content_type:
                encoding = otlp.encoding_of(content_type)
            caller = _admitted(request, config, listen)
            if found[1] == "traces":
                encoding, body = await self._traces(request, content_type, caller, config)
            else:  # exporters send these to the address of the traces, and would complain at every turn
                await skip_body(request, config.telemetry.body_bytes, config.limits.upload_s, "telemetry.body_bytes")
                body = success(encoding)
            return web.Response(body=body, content_type=encoding)
        except ProxyError as error:
            return _refusal(encoding, error)
        except ConnectionError:
            raise
        except Exception:
            log.exception("spans were not taken")
            return _refusal(encoding, ProxyError("the proxy failed while it read the spans; its log says why", status=503))

    async def _traces(self, request: web.BaseRequest, content_type: str, caller: Caller, config: Config) -> tuple[str, bytes]:
        """(the encoding of the answer, the answer)"""
        limit = config.telemetry.body_bytes
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            if self.counters.waiting_bytes + size > BODIES_UNDER_WAY * limit:
                raise LimitExceeded(f"{self.counters.waiting_bytes} bytes of spans are being read already; try again in {RETRY_AFTER_S} s")
            self.counters.waiting_bytes += size
            held += size

        try:
            body = await read_body(request, limit, config.limits.upload_s, "telemetry.body_bytes", hold)
            encoding, size = otlp.encoding_of(content_type, body), len(body)
            hold(size - held)  # decompressed
            received, told = await self._told(body, encoding, caller)
            del body
            self.counters.received += len(received.spans)
            self.counters.rejected += received.rejected
            notes = [received.message] if received.message else []
            rejected = received.rejected
            try:
                async with asyncio.timeout(ANSWERED_WITHIN_S):
                    if lost := await self._writer.ingest(told, size, config.content):
                        rejected += lost
                        notes.append(f"{lost} spans cannot be stored; the proxy's log says why")
            except TimeoutError:
                notes.append(f"the spans wait in the proxy's memory: its database has not taken all of them in {ANSWERED_WITHIN_S:g} s")
        finally:
            self.counters.waiting_bytes -= held
        message = "; ".join(notes)
        if message:
            log.warning("spans of %s: %s", caller.key_name or "an app", message)
        is_stock = request.headers.get("User-Agent", "").startswith(_STOCK)
        return encoding, success(encoding, rejected, message, spelled_out=not is_stock)

    async def _told(self, body: bytes, encoding: str, caller: Caller) -> tuple[Received, list[Told]]:
        if len(body) <= INLINE_BYTES and otlp.is_ready(encoding):
            return _tell(body, encoding, caller, self._mark)
        async with self._turn:
            return await asyncio.to_thread(_tell, body, encoding, caller, self._mark)


def _tell(body: bytes, encoding: str, caller: Caller, mark: str | None) -> tuple[Received, list[Told]]:
    received = otlp.read(body, encoding)
    return received, [tell(span, caller) for span in received.spans if mark is None or not has_passed(span.source.resource, mark)]


def _admitted(request: web.BaseRequest, config: Config, listen: Listen) -> Caller:
    refuse_strangers(request.headers, config, listen)
    caller = identify(request.headers, request.rel_url.raw_query_string, config)
    if request.method != "POST":
        raise RequestRejected(f"OTLP is sent with POST, not with {request.method}", status=405, headers={"Allow": "POST"})
    return caller


def _refusal(encoding: str, error: ProxyError) -> web.Response:
    response = web.Response(status=error.status, body=refusal(encoding, error.status, error.message), content_type=encoding)
    response.headers.update(error.headers)
    if error.status in (429, 503):
        response.headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return response
