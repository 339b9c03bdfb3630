"""Owns the reading of `profiles.toml`: which facts hold for a model, by the globs that fit its name, in the order they are written."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files
from typing import Any

from respan_proxy.dialects.catalog import Globs
from respan_proxy.dialects.request import Profile
from respan_proxy.wire.remembered import remembered

_SETS = ("refuses", "rejects", "extra_params")
MEMBERS = frozenset(field.name for field in fields(Profile)) - {"model"}
"""What a rule may say of a model."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One table: facts about the models, at the providers, whose names fit."""

    models: Globs
    providers: Globs
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Rule:
        """Raises ValueError that names what is no fact."""
        facts = {name: value for name, value in table.items() if name not in ("models", "providers")}
        if unknown := facts.keys() - MEMBERS:
            raise ValueError(f"a profile says {', '.join(sorted(unknown))}; known are {', '.join(sorted(MEMBERS))}")
        return cls(Globs(tuple(table.get("models", ("*",)))), Globs(tuple(table.get("providers", ("*",)))), facts)

    def told(self, profile: Profile, provider: str, model: str) -> Profile:
        """The profile with this rule's facts, if it is about this model."""
        if not (self.models.match(model.lower().removeprefix("models/")) and self.providers.match(provider)):
            return profile
        return replace(profile, **{fact: _value(profile, fact, value) for fact, value in self.facts.items()})


@cache
def rules() -> Sequence[Rule]:
    tables = tomllib.loads(files(__package__).joinpath("profiles.toml").read_text("utf-8"))["profiles"]
    return tuple(Rule.of(table) for table in tables)


def profile_of(provider: str, model: str, more: Iterable[Rule] = ()) -> Profile:
    """What is known about a provider's model; `more` are the user's rules, which come last (`Config.profile` passes them)."""
    profile = _known(provider, model)
    for rule in more:
        profile = rule.told(profile, provider, model)
    return profile


@remembered(1024)  # 90 us; a gateway sees few models
def _known(provider: str, model: str) -> Profile:
    profile = Profile(model=model)
    for rule in rules():
        profile = rule.told(profile, provider, model)
    return profile


def _value(profile: Profile, fact: str, value: Any) -> Any:
    """Lists add to sets and replace tuples; TOML has no null, so the empty string says that there is no such member."""
    if fact in _SETS:
        removed = {name[1:] for name in value if name.startswith("-")}
        return (getattr(profile, fact) - removed) | {name for name in value if not name.startswith("-")}
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return None if value == "" else value
