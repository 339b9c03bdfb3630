"""What a caller says of a log after it was made: notes, feedback, identifiers, metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from respan_proxy.errors import RequestRejected
from respan_proxy.respan.spans import CUSTOMER, IDENTIFIERS, Row
from respan_proxy.telemetry.span_logs import FIELDS, as_found, fill_customer, member, merged
from respan_proxy.telemetry.spans import Annotation
from respan_proxy.wire.masking import cleaned

# What may be said of a log after it was made. What was measured stays as it was.
ANNOTATIONS: Final = frozenset(
    {
        "note",
        "category",
        "positive_feedback",
        "metadata",
        "properties",
        *IDENTIFIERS,
    }
)


def annotation(said: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that are to be changed, by what a caller says of a log later; None for those that are to be emptied.

    `RequestRejected` names the member at fault.
    """
    said = cleaned(said)
    for name in said:
        if name not in ANNOTATIONS:
            raise RequestRejected(f"{name}: cannot be changed; expected one of {', '.join(sorted(ANNOTATIONS))}", param=name)
    if not said:
        raise RequestRejected(f"found nothing to change, expected one of {', '.join(sorted(ANNOTATIONS))}")
    fields = {field.column: field for field in FIELDS}
    return {name: member(said, name, fields[name].read, fields[name].expected) for name in said}


def said_of_a_call(log: Mapping[str, Any]) -> dict[str, Any]:
    """What a whole log says of a call that has a row already, whose own facts stand."""
    given = merged(cleaned(log))
    row = Row("")
    fill_customer(row, given)
    known = {name: value for name, value in given.items() if name in ANNOTATIONS}
    return {**_named(row), **(annotation(known) if known else {})}


def _named(row: Row) -> dict[str, Any]:
    return {name: value for name in CUSTOMER if (value := getattr(row, name)) is not None}


def named_annotation(item: Any) -> Annotation:
    """What a caller says of one of several logs, which it names by `unique_id` (or `id`)."""
    if not isinstance(item, dict):
        raise RequestRejected(f"a log: found {as_found(item)}, expected an object")
    said = dict(item)
    ids = [value for name in ("id", "unique_id") if (value := said.pop(name, None)) is not None]
    if not ids or not isinstance(ids[-1], str):
        raise RequestRejected("unique_id: expected the id of a log", param="unique_id")
    return ids[-1], annotation(said)
