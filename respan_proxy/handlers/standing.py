"""How the targets stand: what becomes of each try is told to the breaker and to the counters that picks go by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from respan_proxy.config import Config, Pick
from respan_proxy.errors import ProxyError
from respan_proxy.exchange import Exchange, Reply, Target
from respan_proxy.policy.balancing import Key, Loads, order
from respan_proxy.policy.breaking import Breaker, Rest
from respan_proxy.policy.retrying import Failure

_COUNTED: frozenset[Pick] = frozenset({"lowest_latency", "least_busy"})


def key_of(target: Target) -> Key:
    """What a caller brought tells nothing of our own keys, nor of another caller's."""
    provider = target.provider
    brought = hash((target.secret, provider.base_url)) or 1 if target.secret_is_callers else 0
    return provider.name, target.model, target.deployment, brought


class Standing:
    """Of one configuration; `breaker` and `loads` live as long as the process. `clock` is monotonic, `dice` even from [0, 1)."""

    def __init__(self, config: Config, breaker: Breaker, loads: Loads, clock: Callable[[], float], dice: Callable[[], float]) -> None:
        self.clock = clock
        self._rules = config.breaker
        self._breaker = breaker
        self._loads = loads
        self._dice = dice
        picks = [*(group.pick for group in config.groups.values()), *(provider.pick for provider in config.providers.values())]
        self._counts = not _COUNTED.isdisjoint(picks)

    def may_ask(self, key: Key) -> bool:
        return self._breaker.may_ask(key, self.clock(), self._rules)

    def rest(self, key: Key) -> Rest | None:
        return self._breaker.rest(key, self.clock())

    def order(self, pick: Pick, name: str, weights: Sequence[float], keys: Sequence[Key | None]) -> list[int]:
        """The places of several choices in the order in which they are asked; `name` is whose turn it is about, None leads nowhere."""
        now = self.clock()
        costs = [self._loads.cost(pick, key, now) if key is not None else float("inf") for key in keys] if pick in _COUNTED else ()
        return order(pick, weights, costs, self._loads.turn(name) if pick == "round_robin" else 0, self._dice)

    def begin(self, key: Key) -> None:
        if self._counts:
            self._loads.begin(key, self.clock())

    def left(self, key: Key) -> None:
        """A try ended and told nothing: its caller left, or another target was quicker."""
        if self._counts:
            self._loads.end(key)

    def judge(
        self, exchange: Exchange, view: Exchange, key: Key, outcome: Reply | ProxyError, failed: Failure | None, begun_at: float
    ) -> None:
        """What came of a try that was begun at `begun_at`; of a stream only the end tells whether the target is well."""
        now = self.clock()
        streams = failed is None and isinstance(outcome, Reply) and not isinstance(outcome.body, bytes)
        if failed is not None and failed.ill:
            self._breaker.failed(key, now, self._rules)
        elif isinstance(outcome, Reply) and not streams:
            self._breaker.answered(key, begun_at)
        if self._counts and (failed is None or failed.ill):
            self._loads.answered(key, now - begun_at, now, failed=failed is not None)
        if streams:
            view.on_complete.append(partial(self._streamed, exchange, view, key, begun_at))
        else:
            self.left(key)

    def _streamed(self, exchange: Exchange, view: Exchange, key: Key, begun_at: float) -> None:
        """A break in the middle is a failure too; a caller that left has nothing to tell."""
        self.left(key)
        if exchange.outcome == "upstream_broke" or (view.attempt is not None and view.attempt.error is not None):
            self._breaker.failed(key, self.clock(), self._rules)
        elif exchange.outcome == "complete":
            self._breaker.answered(key, begun_at)


def told(target: Target, rest: Rest) -> str:
    provider = target.provider
    name = f"{provider.name}/{target.model}" if target.deployment is None else f"{provider.name}/{target.model} ({target.deployment})"
    return f"{name} rests for another {rest.left_s:.1f} s: it failed {rest.failures} times in a row"
