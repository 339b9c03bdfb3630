"""Owns the question which models a call may be answered by, in the order they are asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from respan_proxy.config import ModelRules
from respan_proxy.dialects import catalog
from respan_proxy.errors import RequestRejected
from respan_proxy.policy.grouping import Balanced

# More would be a mistake: each may take minutes.
MOST_FALLBACKS = 32


class Ask(NamedTuple):
    """One thing to ask for: a model, or a choice among several. `excluded`: providers that are not to answer it."""

    model: str | None
    choice: Balanced | None = None
    is_fallback: bool = False
    excluded: frozenset[str] = frozenset()


def plan(model: str | None, values: Mapping[str, Any], rules: ModelRules, choice: Balanced | None = None) -> tuple[Ask, ...]:
    """What to ask for in turn, each once: the request's own model or choice, then what it or the configuration falls back to.

    `values` are Respan's parameters: `fallback_models` wins over `models`, and both over the configuration; `models` without a `model` is
    the list itself, the router's; `disable_fallback` leaves the request's own model or choice alone. `exclude_models` and
    `exclude_providers` thin out `models` and nothing else.
    RequestRejected names an entry that is no model's name, and a list of which nothing is left.
    """
    if values.keys().isdisjoint(_LISTS) and not rules.fallback_models:
        return (Ask(model, choice),)
    listed = _listed(values, "models")
    excluded: frozenset[str] = frozenset()
    if listed:
        unwanted = _listed(values, "exclude_models")
        kept = tuple(name for name in listed if name not in unwanted and name.partition("/")[2] not in unwanted)
        if model is None and choice is None and not kept:
            raise RequestRejected("models: found none that exclude_models leaves, expected one at least", param="models")
        listed, known = kept, catalog.names()
        excluded = frozenset(known.get(name.strip().lower(), name) for name in _listed(values, "exclude_providers"))
    named = _listed(values, "fallback_models")
    if model is None and choice is None and listed:
        names = dict.fromkeys((*listed[1:], *named))
        return (Ask(listed[0], None, False, excluded), *(Ask(name, None, True, excluded if name in listed else _NOBODY) for name in names))
    first = Ask(model, choice)
    if values.get("disable_fallback") is True:
        return (first,)
    if not named and listed:
        return (first, *(Ask(name, None, True, excluded) for name in dict.fromkeys(listed) if choice is not None or name != model))
    further = named or rules.fallback_models
    return (first, *(Ask(name, None, True) for name in dict.fromkeys(further) if choice is not None or name != model))


_LISTS = frozenset({"models", "fallback_models"})
NAMES = _LISTS | {"model_name_map", "first_token_timeout"}
"""What a request says of models and of waiting for them; all else that it may say of them counts beside one of these alone."""

_NOBODY: frozenset[str] = frozenset()


def renamed(model: str | None, asked: str | None, provider: str, values: Mapping[str, Any]) -> str | None:
    """The model's name at the provider: as `model_name_map` says of the name that was asked for or of `provider/model`, else as it is."""
    said = values.get("model_name_map")
    if not said or model is None:
        return model
    spellings = [name for name, known in catalog.names().items() if known == provider] or [provider]
    for name in (asked, model, *(f"{spelling}/{model}" for spelling in spellings)):
        if name is not None and isinstance(found := said.get(name), str) and found:
            head, _, rest = found.partition("/")
            return rest if rest and head.lower() in spellings else found
    return model


def first_token_s(values: Mapping[str, Any], rules: ModelRules) -> float | None:
    """How long a target may take until its first words (an unstreamed one: until its answer); None: as long as its provider may."""
    said = values.get("first_token_timeout")
    if said is None:
        return rules.first_token_timeout
    if said <= 0:
        raise RequestRejected(f"first_token_timeout: found {said!r}, expected a number of seconds above 0", param="first_token_timeout")
    return float(said)


def _listed(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = values.get(name) or ()
    for place, entry in enumerate(found):
        if not isinstance(entry, str) or not entry.strip():
            raise RequestRejected(f"{name}[{place}]: found {entry!r:.40}, expected a model's name", param=name)
    if len(found) > MOST_FALLBACKS:
        raise RequestRejected(f"{name}: found {len(found)} models, expected {MOST_FALLBACKS} at the most", param=name)
    return tuple(found)
