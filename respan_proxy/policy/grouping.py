"""Owns the reading of what a request says about load balancing: the models among which one is picked, with weights and credentials.

Source of the forms: Respan's documentation of `load_balance_group` and of `load_balance_models` (`{model, weight, credentials?}`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from respan_proxy.config import Config, Group, Pick
from respan_proxy.errors import RequestRejected
from respan_proxy.policy.brought import Credential, read_one

NAMES = frozenset({"load_balance_group", "load_balance_models"})

# As for fallback models: more would be a mistake.
MOST_ITEMS = 32


@dataclass(frozen=True, slots=True)
class Item:
    model: str
    weight: float = 1.0
    credentials: Mapping[str, Credential] | Credential | None = None


@dataclass(frozen=True, slots=True)
class Balanced:
    """The models of one choice. `name` is what rows call it; one of the request's own may have none."""

    name: str | None
    items: tuple[Item, ...]
    pick: Pick = "weighted"


def stored(group: Group) -> Balanced:
    return Balanced(group.name, tuple(Item(member.model, member.weight) for member in group.models), group.pick)


def read(values: Mapping[str, Any], config: Config, *, may_place: bool) -> Balanced | None:
    """The choice that the request asks for, None for nearly every call. `may_place`: the caller may say where a provider is.

    RequestRejected names an item of another form by its place, and the known groups (404) for a `group_id` that is none of them.
    """
    if values.keys().isdisjoint(NAMES):
        return None
    said = values.get("load_balance_group") or {}
    name = said.get("group_id")
    if name is not None and not isinstance(name, str):
        raise _wrong("load_balance_group.group_id", name, "a group's name")
    group = config.groups.get(name) if name else None
    for where, listed in (
        ("load_balance_group.models", said.get("models")),
        ("load_balance_models", values.get("load_balance_models")),
    ):
        if listed:
            items = _items(listed, where, config, may_place=may_place)
            return Balanced(name or None, items, group.pick if group is not None else "weighted")
    if group is not None:
        return stored(group)
    if name:
        known = ", ".join(config.groups) or "none is configured"
        raise RequestRejected(
            f"load_balance_group.group_id: found {name!r:.80}, expected the name of a group ({known}), or models beside it",
            status=404,
            kind="not_found",
            param="load_balance_group.group_id",
            code="group_not_found",
        )
    if said:
        raise _wrong("load_balance_group", None, "a group_id or models", found="neither")
    return None


def _items(listed: object, where: str, config: Config, *, may_place: bool) -> tuple[Item, ...]:
    if not isinstance(listed, list):
        raise _wrong(where, listed, "an array of {model, weight, credentials?}")
    if len(listed) > MOST_ITEMS:
        raise _wrong(where, None, f"{MOST_ITEMS} at the most", found=f"{len(listed)} models")
    return tuple(_item(item, f"{where}[{place}]", config, may_place=may_place) for place, item in enumerate(listed))


def _item(item: object, where: str, config: Config, *, may_place: bool) -> Item:
    if not isinstance(item, Mapping):
        raise _wrong(where, item, "an object {model, weight, credentials?}")
    model, weight, credentials = item.get("model"), item.get("weight"), item.get("credentials")
    if not isinstance(model, str) or not model.strip():
        raise _wrong(f"{where}.model", model, "a model's name")
    if weight is None:
        weight = 1.0
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
        raise _wrong(f"{where}.weight", weight, "a number above 0")
    brought = read_one(credentials, f"{where}.credentials", config, may_place=may_place) if credentials else None
    return Item(model, float(weight), brought)


def _wrong(where: str, value: object, expected: str, *, found: str | None = None) -> RequestRejected:
    """Of what may hold credentials only its type is told."""
    if found is None:
        found = repr(value)[:40] if isinstance(value, str | int | float) or value is None else f"a {type(value).__name__}"
    return RequestRejected(f"{where}: found {found}, expected {expected}", param=where, code="invalid_value")
