"""Owns the question in which order several targets are asked, and what is counted for the answer: who is busy, who is quick, whose turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, log

from respan_proxy.config import Pick

Key = tuple[str, str | None, str | None, int]
"""What tells one target from another: provider, model, deployment, and a number for what a caller brought itself (0: nothing)."""

# How much the newest answer counts: the ten last ones make nine tenths.
NEWEST = 0.2

# A failure counts as an answer that took so long: no healthy one does.
FAILURE_S = 30.0

# After so long one call looks again how quick a target is, or the one that was slow once would stay slow for ever.
FRESH_S = 60.0

# More than any configuration has; callers may invent names of models.
TARGETS_REMEMBERED = 1024


def order(pick: Pick, weights: Sequence[float], costs: Sequence[float], turn: int, dice: Callable[[], float]) -> list[int]:
    """The places of several choices in the order in which they are asked.

    `weighted`: each is the first as often as its weight says, and so on among those that are left. `lowest_latency`, `least_busy`: the
    lowest of `costs` first, equals by weight. `round_robin`: one place further at each `turn`, whatever the weights.
    `dice` gives numbers evenly from [0, 1).
    """
    places = range(len(weights))
    if pick == "round_robin":
        return [(turn + place) % len(weights) for place in places]
    # The first of several that arrive at these rates: an exponential race, whose winner has exactly its share.
    by_chance = sorted(places, key=lambda place: -log(1.0 - dice()) / weights[place])
    return by_chance if pick == "weighted" else sorted(by_chance, key=costs.__getitem__)


class Loads:
    """How busy and how quick targets are, and whose turn it is. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._active: dict[Key, int] = {}
        self._latencies: dict[Key, tuple[float, float]] = {}
        self._turns: dict[str, int] = {}

    def begin(self, key: Key, now: float) -> None:
        self._active[key] = self._active.get(key, 0) + 1
        seconds, at = self._latencies.get(key, (inf, -inf))
        if now - at > FRESH_S:  # this call looks; the others go by what is known until it is back
            if len(self._latencies) >= TARGETS_REMEMBERED:
                self._latencies.clear()
            self._latencies[key] = seconds, now

    def answered(self, key: Key, took_s: float, now: float, *, failed: bool) -> None:
        """How long it took to the answer, of a stream to its first words."""
        if failed:
            took_s = max(took_s, FAILURE_S)
        seconds, _ = self._latencies.get(key, (inf, now))
        self._latencies[key] = (took_s if seconds == inf else seconds + NEWEST * (took_s - seconds)), now

    def end(self, key: Key) -> None:
        left = self._active.get(key, 1) - 1
        if left:
            self._active[key] = left
        else:
            self._active.pop(key, None)

    def cost(self, pick: Pick, key: Key, now: float) -> float:
        """What `order` compares: calls in flight, or seconds (below 0: not known any more)."""
        if pick == "least_busy":
            return float(self._active.get(key, 0))
        seconds, at = self._latencies.get(key, (-1.0, now))
        return seconds if now - at <= FRESH_S else -1.0

    def turn(self, name: str) -> int:
        """How often this was asked before."""
        if len(self._turns) >= TARGETS_REMEMBERED:
            self._turns.clear()
        turn = self._turns.get(name, 0)
        self._turns[name] = turn + 1
        return turn
