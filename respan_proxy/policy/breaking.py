"""Owns the question which targets rest: one that failed again and again is not asked for a while, as long as another is left.

A rest never makes a call fail: a target that rests is asked last, and it is asked when there is no other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from respan_proxy.config import Breaker as Rules
from respan_proxy.policy.balancing import TARGETS_REMEMBERED, Key


@dataclass(slots=True)
class _Health:
    """Of a target that failed: when, as far as it counts; and since when and until when it rests."""

    failures: list[float] = field(default_factory=list)
    rests_since: float | None = None
    rests_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Rest:
    """A target that rests, and for how many seconds more (0: the next call tries)."""

    key: Key
    failures: int
    left_s: float

    @property
    def is_brought(self) -> bool:
        """Whether it is known by what a caller brought: nobody else's business."""
        return bool(self.key[3])

    def told(self) -> dict[str, Any]:
        """For people and programs: `deployment` where there are several, `left_s` how long it rests still."""
        provider, model, deployment, _ = self.key
        where = {"provider": provider, "model": model, **({"deployment": deployment} if deployment is not None else {})}
        return {**where, "failures": self.failures, "left_s": round(self.left_s, 1)}


class Breaker:
    """What is known of targets that failed; of all others nothing is kept. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._ill: dict[Key, _Health] = {}

    def may_ask(self, key: Key, now: float, rules: Rules) -> bool:
        """Whether it is asked in its turn. When its rest is over one call tries; the others wait for what it brings, or a rest more."""
        health = self._ill.get(key) if self._ill else None
        if health is None or health.rests_since is None:
            return True
        if now < health.rests_until:
            return False
        health.rests_until = now + rules.rest_s
        return True

    def failed(self, key: Key, now: float, rules: Rules) -> None:
        if not rules.failures:
            return
        health = self._ill.get(key)
        if health is None:
            if len(self._ill) >= TARGETS_REMEMBERED:
                del self._ill[next(iter(self._ill))]
            health = self._ill[key] = _Health()
        health.failures = [at for at in health.failures[1 - rules.failures :] if now - at <= rules.span_s] if rules.failures > 1 else []
        health.failures.append(now)
        if health.rests_since is not None or len(health.failures) >= rules.failures:
            health.rests_since = now
            health.rests_until = now + rules.rest_s

    def answered(self, key: Key, begun_at: float) -> None:
        """It is well, unless this answer is to a call from before it began to rest."""
        if self._ill and (health := self._ill.get(key)) is not None and (health.rests_since is None or begun_at >= health.rests_since):
            del self._ill[key]

    def rest(self, key: Key, now: float) -> Rest | None:
        health = self._ill.get(key)
        if health is None or health.rests_since is None:
            return None
        return Rest(key, len(health.failures), max(0.0, health.rests_until - now))

    def rests(self, now: float) -> list[Rest]:
        return [rest for key in self._ill if (rest := self.rest(key, now)) is not None]
