"""How much to think, in words and in tokens: each turned into the other, and stepped down to what a model takes.

The steps are any-llm's for Gemini (1024, 8192, 24576, 32768); 1024 is also the least that Claude takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from respan_proxy.dialects.request import Effort, Thinking

EFFORTS: Mapping[str, Effort] = {
    "none": "none",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
_ORDER: Sequence[Effort] = tuple(EFFORTS.values())
_BUDGETS: Mapping[Effort, int] = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 32768,
    "max": 32768,
}
_UP_TO: tuple[tuple[int, Effort], ...] = ((0, "none"), (1024, "low"), (8192, "medium"), (24576, "high"))


def effort_of(thinking: Thinking) -> Effort | None:
    """In words, as said or from the budget; None: as the model likes."""
    if thinking.effort is not None or thinking.budget is None:
        return thinking.effort
    return next((effort for most, effort in _UP_TO if thinking.budget <= most), "xhigh")


def budget_of(thinking: Thinking) -> int | None:
    """In tokens, as said or from the effort; 0: do not think; None: as the model likes."""
    if thinking.effort == "none":
        return 0
    if thinking.budget is not None or thinking.effort is None:
        return thinking.budget
    return _BUDGETS[thinking.effort]


def step_down(effort: Effort, allowed: Sequence[Effort]) -> Effort:
    """The greatest allowed effort that is not above this one, else the least allowed; itself where all are allowed."""
    if not allowed or effort in allowed:
        return effort
    below = [word for word in allowed if _ORDER.index(word) < _ORDER.index(effort)]
    return max(below, key=_ORDER.index) if below else min(allowed, key=_ORDER.index)
