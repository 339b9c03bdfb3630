"""Names that begin with `_` are reserved for Respan's own tools: kept as they came, and shown to nobody.

They may be attributes (`_internal`), keys of the user's under a prefix (`respan.metadata._v`), or keys of metadata that came as one
object, or as its JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from respan_proxy.dialects.lenient import json_text
from respan_proxy.respan.params import CARRIERS
from respan_proxy.telemetry.attributes import mapping, place

_METADATA: Final = frozenset({"metadata", "respan.metadata"})


def public_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What everybody may see of metadata; None as it is."""
    return None if metadata is None else {name: value for name, value in metadata.items() if not name.startswith("_")}


def public_span(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a span in the form of `Told.raw`."""
    shown = {**raw, "attributes": public_attributes(raw.get("attributes"))}
    for name in ("events", "links"):
        shown[name] = public_each(raw.get(name))
    shown["resource"] = public_attributes(raw.get("resource"))
    if isinstance(scope := raw.get("scope"), dict):
        shown["scope"] = {**scope, "attributes": public_attributes(scope.get("attributes"))}
    return shown


def public_each(listed: Any) -> list[dict[str, Any]]:
    """The same of each of a span's events or links."""
    return [{**one, "attributes": public_attributes(one.get("attributes"))} for one in listed or ()]


def public_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """The same of attributes; a log's members are its attributes."""
    return {name: _public(name, value) for name, value in (attributes or {}).items() if not place(name).metadata.startswith("_")}


def _public(name: str, value: Any) -> Any:
    if (name not in _METADATA and name not in CARRIERS) or (found := mapping(value)) is None:
        return value
    shown = public_metadata(found) if name in _METADATA else {inner: _public(inner, said) for inner, said in found.items()}
    if shown == found:
        return value
    return json_text(shown).decode() if isinstance(value, str) else shown
