"""Owns the reading of `providers.toml` and `models.toml`: what is known about providers and models before anyone configures anything."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Globs:
    """Names by pattern: one of the globs must fit and none of those written with a leading `!` may."""

    patterns: tuple[str, ...] = ()
    _expression: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        wanted = [translate(glob) for glob in self.patterns if not glob.startswith("!")]
        barred = [translate(glob[1:]) for glob in self.patterns if glob.startswith("!")]
        bar = f"(?!{'|'.join(barred)})" if barred else ""
        # An empty group would match the empty name; `(?!)` matches nothing.
        object.__setattr__(self, "_expression", re.compile(bar + f"(?:{'|'.join(wanted) or '(?!)'})"))

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def match(self, name: str) -> bool:
        return self._expression.match(name) is not None


NOTHING = Globs()


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """One provider as the data file knows it. Field by field as in `providers.toml`, whose head explains them."""

    name: str
    base_url: str = ""
    dialects: tuple[str, ...] = ("openai.chat",)
    auth: str = "bearer"
    key_env: tuple[str, ...] = ()
    base_url_env: tuple[str, ...] = ()
    key_pattern: tuple[str, ...] = ()
    bearer_keys: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    paths: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    api_version: str = ""
    project_env: tuple[str, ...] = ()
    location: str = ""
    location_env: tuple[str, ...] = ()
    stream_paths: Mapping[str, str] = field(default_factory=dict)
    bodies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dialect_models: Mapping[str, list[str]] = field(default_factory=dict)
    auth_also: str = ""
    key_form: str = ""
    keys_refused: tuple[str, ...] = ()
    counts_tokens: bool = True
    ask_usage: bool = True
    stores_responses: bool = False
    choiceless_chunks: bool = False
    typed_content: bool = False
    bare_names: bool = False
    on_request: bool = False
    built_in: bool = False


@cache
def providers() -> Mapping[str, ProviderRow]:
    """Every known provider by name, in the order of the file (which is the order of preference within a family)."""
    return MappingProxyType({name: _row(name, row) for name, row in _read("providers.toml").items()})


@cache
def models() -> Mapping[str, tuple[str, ...]]:
    """Model names by the provider whose own they are: for near misses and for what `echo` stands in for. Not a limit."""
    return MappingProxyType({provider: tuple(names) for provider, names in _read("models.toml").items()})


@cache
def names() -> Mapping[str, str]:
    """Every name a provider goes by (its own, and aliases such as `azure` or `google`) to its own name."""
    found = {name: name for name in providers()}
    for name, row in providers().items():
        found.update(dict.fromkeys(row.aliases, name))
    return MappingProxyType(found)


def _row(name: str, row: Mapping[str, Any]) -> ProviderRow:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return ProviderRow(name, **values)


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(name).read_text("utf-8"))
