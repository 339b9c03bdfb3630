"""What is said of a row after it was made: a note, feedback, metadata."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from respan_proxy.respan.spans import COLUMNS, Row, bind
from respan_proxy.store.knot import AMONG, as_json
from respan_proxy.telemetry.linking import LINKED, MERGED
from respan_proxy.telemetry.remarks import ANNOTATIONS
from respan_proxy.telemetry.spans import Annotation

_SAID = tuple(sorted(ANNOTATIONS))


def said_later(connection: sqlite3.Connection, made: Mapping[str, Mapping[str, Any]]) -> list[Annotation]:
    """What was said of rows after they were made; `made` are their columns as they were then, as stored values, by the rows' ids."""
    found: list[Annotation] = []
    sql = f"SELECT unique_id, {', '.join(_SAID)} FROM log WHERE unique_id {AMONG}"
    for unique_id, *values in connection.execute(sql, (as_json(made),)):
        changes: dict[str, Any] = {}
        for name, value in zip(_SAID, values, strict=True):
            if value == (before := made[unique_id].get(name)):
                continue
            if name in MERGED:
                now, then = (orjson.loads(text or "{}") for text in (value, before))
                changes[name] = {key: now.get(key) for key in {**then, **now} if now.get(key) != then.get(key)}
            else:
                changes[name] = value
        if changes:
            found.append((unique_id, changes))
    return found


def annotate(annotations: Sequence[Annotation], key_id: str | None, connection: sqlite3.Connection) -> list[bool]:
    """Within a transaction: which of the rows there are, among those of the key (None: all)."""
    return [_annotate(unique_id, changes, key_id, connection) for unique_id, changes in annotations]


def _annotate(unique_id: str, changes: Mapping[str, Any], key_id: str | None, connection: sqlite3.Connection) -> bool:
    sql = f"SELECT {', '.join(MERGED)} FROM log WHERE unique_id = ?1 AND (?2 IS NULL OR organization_key_id = ?2)"
    row = connection.execute(sql, (unique_id, key_id)).fetchone()
    if row is None:
        return False
    values = _stored(changes, dict(zip(MERGED, row, strict=True)))
    sets = ", ".join(f"{name} = ?" for name in values)
    connection.execute(f"UPDATE log SET {sets} WHERE unique_id = ?", (*values.values(), unique_id))
    # A call's own knowledge, from which it is told anew whenever a span is linked to it.
    for (own,) in connection.execute("SELECT own FROM linked WHERE unique_id = ?", (unique_id,)).fetchall():
        known = orjson.loads(own)
        known |= {name: value for name, value in _stored(changes, known).items() if name in LINKED}
        kept = orjson.dumps({name: value for name, value in known.items() if value is not None}).decode()
        connection.execute("UPDATE linked SET own = ? WHERE unique_id = ?", (kept, unique_id))
    return True


def _stored(changes: Mapping[str, Any], present: Mapping[str, str | None]) -> dict[str, Any]:
    """The new values as SQL has them."""
    new = dict(changes)
    for name in MERGED:
        if isinstance(said := new.get(name), dict):
            together = orjson.loads(present.get(name) or "{}") | said
            new[name] = {key: value for key, value in together.items() if value is not None} or None
    shape, bound = bind(Row("", **new), content=True)
    values = {COLUMNS[index].name: value for index, value in zip(shape, bound, strict=True)}
    return {name: values.get(name) for name in new}
