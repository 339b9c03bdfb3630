"""Where answers are kept: in memory, bounded in bytes, each for a time of its own.

`Entries` is all that the rest of the house knows of it; a store that several machines share would take its place. Times are seconds of
the epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cachetools import Cache, TLRUCache

from respan_proxy.dialects.forms import Form
from respan_proxy.dialects.observe import Observed

# An entry without its texts: two dozen slots, the observation and what they point to (sys.getsizeof: 1.4 KB).
ENTRY_BYTES = 1536

NEVER = float("inf")  # no expiry date


@dataclass(slots=True)
class Entry:
    """One answer, in the dialect of its callers, with what was seen of it and what it cost in nano-dollars.

    `request` is the body that brought it, credentials masked; empty where its caller asked that nothing said be shown (`is_private`)
    or where it is too long to be kept beside its answer.
    """

    key: str
    dialect: str
    kind: str
    form: Form
    content_type: str
    body: bytes
    observed: Observed = field(repr=False)
    created_at: float
    expires_at: float
    model: str | None = None
    provider_id: str | None = None
    simulated: bool | None = None
    stands_in: bool = False
    cost: int | None = None
    latency_s: float = 0.0
    warnings: tuple[str, ...] = ()
    quiet_warnings: tuple[str, ...] = ()
    request: bytes = b""
    is_private: bool = False
    key_id: str | None = None
    log_id: str | None = None
    updated_at: float = 0.0
    hits: int = 0

    @property
    def size_bytes(self) -> int:
        return ENTRY_BYTES + len(self.body) + len(self.request)


class Entries:
    """Answers by key. What was not asked for longest goes first when `max_bytes` are full; `now` is the clock."""

    def __init__(self, max_bytes: int, now: Callable[[], float]) -> None:
        self.now = now
        self.max_bytes = max_bytes
        self._kept = self._empty()

    def get(self, key: str) -> Entry | None:
        """The answer, which counts as asked for."""
        return self._kept.get(key)

    def put(self, entry: Entry) -> bool:
        """Keep it, instead of one of the same key; False when its time is over already, or it is larger than all may be together."""
        if entry.size_bytes > self.max_bytes or entry.expires_at <= self.now():
            self.remove(entry.key)
            return False
        self._kept[entry.key] = entry
        return True

    def remove(self, key: str) -> bool:
        return self._kept.pop(key, None) is not None

    def all(self) -> list[Entry]:
        """Those whose time is not over, the oldest first; looking through them does not count as asking."""
        return [Cache.__getitem__(self._kept, key) for key in self._kept]

    def resize(self, max_bytes: int) -> None:
        """What fits is kept, the newest first."""
        if max_bytes == self.max_bytes:
            return
        entries, self.max_bytes = self.all(), max_bytes
        self._kept = self._empty()
        for entry in entries:
            self.put(entry)

    def _empty(self) -> TLRUCache[str, Entry]:
        return TLRUCache(self.max_bytes, lambda _, entry, now: entry.expires_at, self.now, lambda entry: entry.size_bytes)
