"""A collector of OpenTelemetry: one post of spans, tried again where the specification says so.

Source: opentelemetry-proto, docs/specification.md (OTLP/HTTP): 429, 502, 503, 504 and broken connections are tried again, with
`Retry-After`; every other failure is for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import aiohttp
import orjson
from yarl import URL

from respan_proxy import __version__
from respan_proxy.config import Export
from respan_proxy.policy.retrying import retry_after_s
from respan_proxy.telemetry.otlp_write import CONTENT_TYPES
from respan_proxy.wire.secrets import MASK

RETRIED = frozenset({429, 502, 503, 504})

# To the socket, and for all of a post; OpenTelemetry's exporters allow 10 s for the latter, for batches without content.
CONNECT_S = 10.0
POST_S = 30.0

# First wait, longest wait, and all of a batch together: the 30 s and 300 s of OpenTelemetry's collector, which begins with 5 s.
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
GIVE_UP_S = 300.0

# Of an answer that says no; and the most that is read of any answer.
QUOTED_CHARACTERS = 200
ANSWER_BYTES = 65_536

# Half of level 6's time: 21 against 46 ms for 512 calls with 9 KB of content each (measured).
GZIP_LEVEL = 1

# Beyond this many bytes, packing happens in a thread.
PACKED_INLINE_BYTES = 20_000

Fate = Literal["sent", "refused", "too_large", "given_up"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a post. `rejected` of its spans the collector took the others only; `why` says what it said."""

    fate: Fate
    rejected: int = 0
    why: str = ""


class Collector:
    """Where an export goes. `stopping` ends every wait: what then fails is not tried again."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        stopping: asyncio.Event,
        marks: Mapping[str, str],
        *,
        dice: Callable[[], float] = random.random,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self._session = session
        self._stopping = stopping
        self._marks = marks
        self._dice = dice
        self._first_wait_s = first_wait_s

    async def post(self, export: Export, body: bytes, on_trouble: Callable[[str], None]) -> Outcome:
        """Send a request's bytes until the collector says something final, or for `GIVE_UP_S`. `on_trouble` hears why it takes longer."""
        headers = self._headers(export)
        if export.compression == "gzip":
            body = await _packed(body)
        loop = asyncio.get_running_loop()
        until, wait_s = loop.time() + GIVE_UP_S, self._first_wait_s
        while True:
            answer = await self._once(export, headers, body)
            if isinstance(answer, Outcome):
                return answer
            why, asked_s = answer
            on_trouble(why)
            # Half to one and a half times: collectors are not to hear everybody at once.
            pause_s = asked_s if asked_s is not None else wait_s * (0.5 + self._dice())
            if self._stopping.is_set() or loop.time() + pause_s > until:
                return Outcome("given_up", why=why)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _once(self, export: Export, headers: Mapping[str, str], body: bytes) -> Outcome | tuple[str, float | None]:
        """One try: what came of it, or why it may be tried again and after how many seconds."""
        try:
            async with self._session.post(
                URL(export.endpoint, encoded=True),
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=POST_S, sock_connect=CONNECT_S),
            ) as response:
                if response.status in RETRIED:
                    return f"HTTP {response.status}", retry_after_s(response.headers, time.time())
                said = await response.content.read(ANSWER_BYTES)
                if response.status == 413:
                    return Outcome("too_large", why=f"HTTP 413 for {len(body)} bytes")
                if not 200 <= response.status < 300:
                    return Outcome("refused", why=f"HTTP {response.status}{_quoted(said, headers)}")
                rejected, why = _partial_success(said, response.content_type)
                return Outcome("sent", rejected, why)
        except TimeoutError:
            return f"no answer in {POST_S:g} s", None
        except (aiohttp.ClientError, OSError) as error:
            return f"no connection ({type(error).__name__}: {error})"[:QUOTED_CHARACTERS], None

    def _headers(self, export: Export) -> dict[str, str]:
        return {
            "Content-Type": CONTENT_TYPES[export.encoding],
            "User-Agent": f"respan-proxy/{__version__}",
            "Accept-Encoding": "identity",
            **({"Content-Encoding": "gzip"} if export.compression == "gzip" else {}),
            **self._marks,
            **export.headers,
        }


async def _packed(body: bytes) -> bytes:
    if len(body) <= PACKED_INLINE_BYTES:
        return gzip.compress(body, GZIP_LEVEL)
    return await asyncio.to_thread(gzip.compress, body, GZIP_LEVEL)


def _quoted(said: bytes, headers: Mapping[str, str]) -> str:
    """The beginning of what a collector said, without what it may have echoed of our key."""
    text = said.decode("utf-8", "replace")
    for value in headers.values():
        secret = value.rpartition(" ")[2]
        if len(secret) >= 8:
            text = text.replace(secret, MASK)
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:QUOTED_CHARACTERS]
    return f": {text}" if text else ""


def _partial_success(said: bytes, content_type: str) -> tuple[int, str]:
    """(rejected spans, why) of an `ExportTraceServiceResponse`. What cannot be read says nothing: the status was a success."""
    if not said:
        return 0, ""
    if content_type == CONTENT_TYPES["json"]:
        try:
            told = orjson.loads(said)
            partial = told.get("partialSuccess") or {}
            return int(partial.get("rejectedSpans") or 0), str(partial.get("errorMessage") or "")[:QUOTED_CHARACTERS]
        except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
            return 0, ""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        read = ExportTraceServiceResponse.FromString(said)
    except DecodeError:
        return 0, ""
    return read.partial_success.rejected_spans, read.partial_success.error_message[:QUOTED_CHARACTERS]
