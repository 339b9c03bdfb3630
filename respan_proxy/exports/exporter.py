"""One export: the ids that wait for it, the batches that they become, and what was lost on the way.

Hand over is synchronous and waits for nothing; a queue that is full lets the oldest go, because a collector that comes back is asked about
now. A call that may still turn out to be a span of the app waits for that, so that the collector sees it once, in the right trace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Protocol

from respan_proxy.config import Export
from respan_proxy.errors import ProxyError
from respan_proxy.exports.collector import Collector, Outcome
from respan_proxy.telemetry.genai import span_of
from respan_proxy.telemetry.otlp_write import write
from respan_proxy.telemetry.spans import Remembered, Span

log = logging.getLogger(__name__)

# 512 spans are a batch of OpenTelemetry's own exporters; a second is what a person waits for a trace.
BATCH_SPANS = 512
COMPANY_S = 1.0

# How often the database is asked again while it cannot be read.
READ_AGAIN_S = 5.0

# Ids of what was passed on, so that a row that is touched again (an exporter that sent twice, a note) is not. At least half of these are
# known; all 64,000 are 8 MB.
SENT_REMEMBERED = 64_000


class Batch(Protocol):
    """What `Exporting.read` gives (store/exporting.py)."""

    @property
    def found(self) -> dict[str, Remembered]: ...

    @property
    def held(self) -> list[str]: ...

    @property
    def left(self) -> list[str]: ...


class Reads(Protocol):
    """What `Exporting.read` is, as far as an exporter needs it. `ProxyError` while the database is away."""

    async def __call__(self, ids: Sequence[str], *, patient: Collection[str], content: bool) -> Batch: ...


@dataclass(slots=True)
class Counters:
    """Spans, since the start: `sent`; lost because the queue was full (`dropped`), the collector said no (`refused`), took the others
    only (`rejected`), or was away for too long (`given_up`)."""

    sent: int = 0
    dropped: int = 0
    refused: int = 0
    rejected: int = 0
    given_up: int = 0

    @property
    def lost(self) -> int:
        return self.dropped + self.refused + self.rejected + self.given_up


class Exporter:
    """Passes on what it is `told` of, until it is stopped."""

    def __init__(self, export: Export, read: Reads, collector: Collector, mark: str, *, company_s: float = COMPANY_S) -> None:
        self.export = export
        self._read = read
        self._collector = collector
        self._mark = mark
        self._company_s = company_s
        self._counters = Counters()
        self._trouble: str | None = None
        # The order of the queue. To let the first of 20,000 go costs a plain dict 12 us, and an ordered one 1 us.
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._held: OrderedDict[str, float] = OrderedDict()
        # Two halves, of which the older is forgotten whole: one by one cost 54 us each (both measured).
        self._sent: set[str] = set()
        self._sent_before: set[str] = set()
        self._in_hand = 0
        self._work = asyncio.Event()
        self._full = asyncio.Event()
        self._hurry = asyncio.Event()
        self._stopping = asyncio.Event()

    def told(self, ids: Collection[str]) -> None:
        """Rows that are committed and whole. Of those that were passed on already nothing more is said."""
        for unique_id in ids:
            if unique_id in self._sent or unique_id in self._sent_before:
                continue
            self._held.pop(unique_id, None)
            self._waiting[unique_id] = None
        for _ in range(len(self._waiting) + len(self._held) - self.export.max_waiting):
            if self._held:
                self._held.popitem(last=False)
            else:
                self._waiting.popitem(last=False)
            self._counters.dropped += 1
            self._in_trouble(f"{self.export.max_waiting} wait already")
        self._work.set()
        if len(self._waiting) >= BATCH_SPANS:
            self._full.set()

    def status(self) -> dict[str, Any]:
        """For health: what waits, what was sent and lost, and why, while that lasts."""
        waiting = len(self._waiting) + len(self._held) + self._in_hand
        return {"waiting": waiting, **asdict(self._counters), "last_error": self._trouble}

    def change(self, export: Export) -> None:
        """From now on this. What was made for the one before, and is being tried again, is made anew: the change may be why it failed."""
        if export != self.export:
            self.export = export
            self._hurry.set()

    def stop(self) -> None:
        """Pass on what waits without waiting for anything more, and end."""
        self._stopping.set()
        self._hurry.set()
        self._work.set()
        self._full.set()

    async def run(self) -> None:
        """Until `stop`."""
        while not self._stopping.is_set() or self._waiting or self._held:
            await self._something()
            if ids := self._take():
                self._in_hand = len(ids)
                try:
                    await self._pass_on(ids)
                except Exception:
                    log.exception("export %s: a batch could not be passed on", self.export.name)
                    self._lose(self._in_hand, "given_up", "see the log")
                self._in_hand = 0
        if lost := self._counters.lost:
            log.warning("export %s ends: %d spans were passed on, %d lost (%s)", self.export.name, self._counters.sent, lost, self._trouble)

    @property
    def unsent(self) -> int:
        return len(self._waiting) + len(self._held) + self._in_hand

    def give_up(self) -> None:
        """What was not sent when the time was over is lost, and counted."""
        self._counters.given_up += self.unsent
        if self.unsent:
            log.error(
                "export %s: %d spans could not be passed on before the end: %s", self.export.name, self.unsent, self._trouble or "no answer"
            )

    async def _something(self) -> None:
        """Wait for work and its company, or for a call that has waited long enough."""
        if self._stopping.is_set():
            return
        if not self._waiting:
            self._work.clear()
            due_s = min(self._held.values()) - asyncio.get_running_loop().time() if self._held else None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._work.wait(), None if due_s is None else max(0.0, due_s))
        if self._waiting and len(self._waiting) < BATCH_SPANS and not self._stopping.is_set():
            self._full.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), self._company_s)

    def _take(self) -> dict[str, bool]:
        """The next batch: ids, and whether each may wait for a span that claims it. Calls that would fill the queue do not wait."""
        now = asyncio.get_running_loop().time()
        is_patient = self.export.wait_s > 0 and len(self._held) < self.export.max_waiting / 2
        is_last = self._stopping.is_set()
        due = list(islice((one for one, at in self._held.items() if is_last or at <= now), BATCH_SPANS))
        new = list(islice(self._waiting, BATCH_SPANS - len(due)))
        for one in due:
            del self._held[one]
        for one in new:
            del self._waiting[one]
        return dict.fromkeys(due, False) | dict.fromkeys(new, is_patient and not is_last)

    async def _pass_on(self, ids: dict[str, bool]) -> None:
        export = self.export
        try:
            batch = await self._read(
                list(ids), patient=[one for one, is_patient in ids.items() if is_patient], content=export.content == "full"
            )
        except ProxyError as error:
            self._in_trouble(error.message)
            self._again(ids)
            if self._stopping.is_set():
                self._lose(len(self._waiting) + len(self._held), "given_up", error.message)
                self._waiting.clear()
                self._held.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), READ_AGAIN_S)
            return
        until = asyncio.get_running_loop().time() + export.wait_s
        self._held.update((one, until) for one in batch.held)
        if batch.left:
            self._again(batch.left)
        if not batch.found:
            return
        self._in_hand = len(batch.found)
        self._remember(batch.found)
        for one in batch.found:
            self._waiting.pop(one, None)  # told again while it was read
        spans = await asyncio.to_thread(_spans, batch.found, export, self._mark)
        self._lose(untold := len(batch.found) - len(spans), "refused", "no span could be made of some rows")
        self._in_hand -= untold
        await self._send(export, spans)

    async def _send(self, export: Export, spans: Mapping[str, Span]) -> None:
        if not spans:
            return
        if not self._stopping.is_set():
            self._hurry.clear()
        if export is not self.export:
            self._make_anew(spans)
            return
        body = await asyncio.to_thread(write, spans.values(), export.encoding)
        outcome = await self._collector.post(export, body, self._in_trouble, self._hurry)
        match outcome:
            case Outcome("sent", said, why):
                rejected = min(max(said, 0), len(spans))  # a collector may say any number
                self._counters.sent += len(spans) - rejected
                self._lose(rejected, "rejected", why)
                if not rejected:
                    self._recovered()
            case Outcome("too_large") if len(spans) > 1:
                half = len(spans) // 2
                await self._send(export, dict(islice(spans.items(), half)))
                await self._send(export, dict(islice(spans.items(), half, None)))
                return
            case Outcome("given_up") if export is not self.export:
                self._make_anew(spans)
                return
            case Outcome("given_up"):
                self._lose(len(spans), "given_up", outcome.why)
            case _:
                self._lose(len(spans), "refused", outcome.why)
        self._in_hand -= len(spans)

    def _make_anew(self, ids: Collection[str]) -> None:
        self._sent.difference_update(ids)
        self._sent_before.difference_update(ids)
        self._again(ids)
        self._in_hand -= len(ids)

    def _again(self, ids: Iterable[str]) -> None:
        self._waiting = OrderedDict.fromkeys([*ids, *self._waiting])

    def _remember(self, ids: Iterable[str]) -> None:
        self._sent.update(ids)
        if len(self._sent) >= SENT_REMEMBERED // 2:
            self._sent_before, self._sent = self._sent, set()

    def _lose(self, count: int, how: str, why: str) -> None:
        if count:
            setattr(self._counters, how, getattr(self._counters, how) + count)
            self._in_trouble(why)

    def _in_trouble(self, why: str) -> None:
        """Said once, until it works again."""
        if self._trouble is None:
            log.warning("export %s: spans are not taken (%s); what is lost is counted in /health/ready", self.export.name, why)
        self._trouble = why

    def _recovered(self) -> None:
        if self._trouble is not None:
            log.warning("export %s: spans are taken again; lost so far: %d", self.export.name, self._counters.lost)
            self._trouble = None


def _spans(found: Mapping[str, Remembered], export: Export, mark: str) -> dict[str, Span]:
    """By id. In a thread: reading what was said costs some 0.2 ms a call. A row that cannot be told must not stop the others."""
    spans = {}
    for one, row in found.items():
        try:
            spans[one] = span_of(row, content=export.content, vocabulary=export.vocabulary, resource=export.resource, mark=mark)
        except Exception:
            log.exception("export %s: %s cannot be passed on", export.name, one)
    return spans
