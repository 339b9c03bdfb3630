"""Owns the question which models a call may be answered by, in the order they are asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from respan_proxy.config import ModelRules
from respan_proxy.dialects import catalog
from respan_proxy.errors import RequestRejected

# More would be a mistake: each may take minutes.
MOST_FALLBACKS = 32


def names(model: str | None, values: Mapping[str, Any], rules: ModelRules) -> tuple[str | None, ...]:
    """The models to ask in turn, each once: the request's own, then what it or the configuration falls back to.

    `values` are Respan's parameters: `fallback_models` wins over `models`, and both over the configuration; `models` without a `model` is
    the list itself; `disable_fallback` leaves the first alone. RequestRejected names an entry that is no model's name.
    """
    listed = _listed(values, "models")
    if model is None and listed:
        model, listed = listed[0], listed[1:]
    if values.get("disable_fallback") is True:
        return (model,)
    further = _listed(values, "fallback_models") or listed or rules.fallback_models
    if not further:
        return (model,)
    return tuple(dict.fromkeys((model, *further)))


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
