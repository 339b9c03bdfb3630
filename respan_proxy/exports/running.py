"""Which exporters there are: one for each `[[export]]`, started, changed and ended with the configuration."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import aiohttp

from respan_proxy.config import Export

if TYPE_CHECKING:
    from respan_proxy.exports.collector import Collector
    from respan_proxy.exports.exporter import Exporter, Reads

# How long what waits may still go out at the end.
CLOSE_S = 5.0


class Exports:
    """All exports. Use as `async with`: its end passes on what waits, for at most `CLOSE_S`.

    `settle` waits until everything that was handed over to the writer is committed, and so told; `mark` is the id of this process,
    `headers` go with every post.
    """

    def __init__(self, read: Reads, settle: Callable[[], Awaitable[object]], mark: str, headers: Mapping[str, str]) -> None:
        self._read = read
        self._settle = settle
        self._mark = mark
        self._headers = headers
        self._session: aiohttp.ClientSession | None = None
        self._exporters: dict[str, tuple[Exporter, asyncio.Task[None]]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Exports:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._exporters:
            await self._settle()
        for exporter, task in self._exporters.values():
            self._end(exporter, task)
        self._exporters.clear()
        if self._ending:
            await asyncio.wait(self._ending)
        if self._session is not None:
            await self._session.close()

    def adopt(self, exports: Sequence[Export]) -> None:
        """From now on these. One that changed keeps what waits; one that is gone passes on what waits, and ends."""
        for name in self._exporters.keys() - {export.name for export in exports}:
            self._end(*self._exporters.pop(name))
        if not exports:
            return
        from respan_proxy.exports.exporter import Exporter  # 10 ms, for those who export

        for export in exports:
            if running := self._exporters.get(export.name):
                running[0].change(export)
            else:
                exporter = Exporter(export, self._read, self._collector(), self._mark)
                self._exporters[export.name] = exporter, asyncio.create_task(exporter.run(), name=f"export {export.name}")

    def told(self, ids: Collection[str]) -> None:
        """Rows that are committed and whole."""
        for exporter, _ in self._exporters.values():
            exporter.told(ids)

    def status(self) -> dict[str, Any]:
        return {name: exporter.status() for name, (exporter, _) in self._exporters.items()}

    def _collector(self) -> Collector:
        from respan_proxy.exports.collector import Collector

        if self._session is None:
            # Nobody's cookies, no outgoing proxy of the environment: as for providers.
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False)
        return Collector(self._session, self._headers)

    def _end(self, exporter: Exporter, task: asyncio.Task[None]) -> None:
        exporter.stop()
        ending = asyncio.create_task(_ended(exporter, task), name=f"end of export {exporter.export.name}")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


async def _ended(exporter: Exporter, task: asyncio.Task[None]) -> None:
    await asyncio.wait([task], timeout=CLOSE_S)
    if not task.done():
        exporter.give_up()
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
