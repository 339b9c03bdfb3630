"""Owns the configured values of the choice among targets: groups of models, how one of several is picked, when a target rests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pick = Literal["weighted", "lowest_latency", "least_busy", "round_robin"]
PICKS: tuple[Pick, ...] = ("weighted", "lowest_latency", "least_busy", "round_robin")

# How long a call waits for its turn at a provider that takes only so many: what a person waits for a page.
MAX_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Member:
    """A model of a group, and its share of the group's calls beside the others' (any positive number)."""

    model: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Group:
    """Models of which one is picked for each call; the others are asked, in the order of the pick, when it fails."""

    name: str
    models: tuple[Member, ...] = ()
    pick: Pick = "weighted"


@dataclass(frozen=True, slots=True)
class Breaker:
    """A target that fails `failures` times in a row within `span_s` rests for `rest_s`, both seconds. No failures: nothing ever rests.

    5 in a row and 30 s of rest are the defaults of Envoy's outlier detection (consecutive_5xx, base_ejection_time). In a row, because a
    target that fails one call in five is better than none, and a busy one would come to any fixed number within the span.
    """

    failures: int = 5
    span_s: float = 30.0
    rest_s: float = 30.0
