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
from base64 import b64decode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Literal

import aiohttp
import orjson
from yarl import URL

from respan_proxy import __version__
from respan_proxy.config import Export
from respan_proxy.policy.retrying import retry_after_s
from respan_proxy.telemetry.otlp_write import CONTENT_TYPES
from respan_proxy.wire.secrets import is_secret, scrub, without_known_forms

RETRIED = frozenset({429, 502, 503, 504})

# To the socket, and for all of a post; OpenTelemetry's exporters allow 10 s for the latter, for batches without content.
CONNECT_S = 10.0
POST_S = 30.0
# For the body of an answer, once its head is here: what it says is good to know, and no more.
BODY_S = 5.0

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
    """Posts to where an export goes. `marks` are headers of every post."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        marks: Mapping[str, str],
        *,
        dice: Callable[[], float] = random.random,
        first_wait_s: float = FIRST_WAIT_S,
        body_s: float = BODY_S,
    ) -> None:
        self._session = session
        self._marks = marks
        self._dice = dice
        self._first_wait_s = first_wait_s
        self._body_s = body_s

    async def post(self, export: Export, body: bytes, on_trouble: Callable[[str], None], hurry: asyncio.Event) -> Outcome:
        """Send a request's bytes until the collector says something final, or for `GIVE_UP_S`. `on_trouble` hears why it takes longer;
        `hurry` ends every pause: what then fails is not tried again."""
        headers = self._headers(export)
        secrets = _secrets(export.headers)
        if export.compression == "gzip":
            body = await _packed(body)
        loop = asyncio.get_running_loop()
        until, wait_s = loop.time() + GIVE_UP_S, self._first_wait_s
        while True:
            answer = await self._once(export, headers, body)
            if isinstance(answer, Outcome):
                return replace(answer, why=_shown(answer.why, secrets))
            why, asked_s = _shown(answer[0], secrets), answer[1]
            on_trouble(why)
            # Half to one and a half times: collectors are not to hear everybody at once. Not sooner when asked to: some say 0.
            pause_s = max(asked_s or 0.0, wait_s * (0.5 + self._dice()))
            if hurry.is_set() or loop.time() + pause_s > until:
                return Outcome("given_up", why=why)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hurry.wait(), pause_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _once(self, export: Export, headers: Mapping[str, str], body: bytes) -> Outcome | tuple[str, float | None]:
        """One try: what came of it, or why it may be tried again and after how many seconds."""
        try:
            async with self._session.post(
                URL(export.endpoint, encoded=True),
                data=BytesIO(body),
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=POST_S, sock_connect=CONNECT_S),
            ) as response:
                if response.status in RETRIED:
                    return f"HTTP {response.status}", retry_after_s(response.headers, time.time())
                if 300 <= response.status < 400 and (place := response.headers.get("Location")):  # not followed: the key is for one host
                    return Outcome("refused", why=f"HTTP {response.status} (to {place})")
                if response.status == 413:
                    return Outcome("too_large", why=f"HTTP 413 for {len(body)} bytes")
                said = await _said(response, self._body_s)
                if not 200 <= response.status < 300:
                    text = said.decode("utf-8", "replace")
                    return Outcome("refused", why=f"HTTP {response.status}: {text}" if text else f"HTTP {response.status}")
                rejected, why = _partial_success(said, response.content_type)
                return Outcome("sent", rejected, why)
        except TimeoutError:
            return f"no answer in {POST_S:g} s", None
        except (aiohttp.ClientError, OSError) as error:
            return f"no connection ({type(error).__name__}: {error})", None

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


async def _said(response: aiohttp.ClientResponse, body_s: float) -> bytes:
    """The beginning of an answer's body. The head has decided already: a body that breaks or takes long says what came of it."""
    said = bytearray()
    if response.headers.get("Content-Encoding", "identity") != "identity":  # nobody asked for it
        return b""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(body_s):
            while len(said) < ANSWER_BYTES and (piece := await response.content.read(ANSWER_BYTES - len(said))):
                said += piece
    return bytes(said)


def _secrets(headers: Mapping[str, str]) -> frozenset[str]:
    """What a collector may not echo into our log: the values of secret headers, with and without a scheme, and the password of Basic."""
    found: set[str] = set()
    for name, value in headers.items():
        scheme, _, word = value.rpartition(" ")
        if not is_secret(name):
            continue
        found |= {value, word}
        if scheme.lower() == "basic":
            with contextlib.suppress(ValueError):
                pair = b64decode(word).decode()
                found |= {pair, pair.partition(":")[2]}
    return frozenset(found)


def _shown(text: str, secrets: Collection[str]) -> str:
    """The beginning of what a collector said, on one line, without what it may have echoed of our keys."""
    text = without_known_forms(scrub(text.encode("utf-8", "replace"), secrets).decode())
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:QUOTED_CHARACTERS]


def _partial_success(said: bytes, content_type: str) -> tuple[int, str]:
    """(rejected spans, why) of an `ExportTraceServiceResponse`. What cannot be read says nothing: the status was a success."""
    if not said:
        return 0, ""
    if content_type == CONTENT_TYPES["json"]:
        try:
            told = orjson.loads(said)
            partial = told.get("partialSuccess") or {}
            return int(partial.get("rejectedSpans") or 0), str(partial.get("errorMessage") or "")
        except (AttributeError, TypeError, ValueError, OverflowError):
            return 0, ""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        read = ExportTraceServiceResponse.FromString(said)
    except DecodeError:
        return 0, ""
    return read.partial_success.rejected_spans, read.partial_success.error_message
