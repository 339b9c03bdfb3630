"""Model lists in three shapes: what a provider lists, and one merged list as the caller's SDK expects it.

Source: the list types of openai 3.54, anthropic 2.12 (where `lifecycle` is required) and google-genai 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

# What nearly every model of Google's list can do; other vendors do not say.
METHODS = ("generateContent", "streamGenerateContent")


@dataclass(frozen=True, slots=True)
class Model:
    """`id` as callers name it, `created` in seconds of the epoch, limits in tokens."""

    id: str
    owner: str
    created: int = 0
    display_name: str | None = None
    input_limit: int | None = None
    output_limit: int | None = None
    lifecycle: str = "active"
    methods: tuple[str, ...] = METHODS


def read_list(body: bytes, owner: str) -> list[Model]:
    """Models of a provider's list in any of the three shapes; what cannot be read is left out."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    if not isinstance(value, dict):
        return []
    rows = value.get("data") or value.get("models") or []
    if not isinstance(rows, list):
        return []
    return [model for row in rows if isinstance(row, dict) and (model := _read(row, owner)) is not None]


def _read(row: dict[str, Any], owner: str) -> Model | None:
    name = row.get("id") or row.get("name")
    if not isinstance(name, str) or not name:
        return None
    return Model(
        id=name.removeprefix("models/"),
        owner=owner,
        created=_created(row),
        display_name=_text(row.get("display_name") or row.get("displayName")),
        input_limit=_number(row.get("max_input_tokens") or row.get("inputTokenLimit")),
        output_limit=_number(row.get("max_tokens") or row.get("outputTokenLimit")),
        lifecycle=_text(row.get("lifecycle")) or "active",
        methods=tuple(row["supportedGenerationMethods"]) if isinstance(row.get("supportedGenerationMethods"), list) else METHODS,
    )


def _created(row: dict[str, Any]) -> int:
    match row.get("created"), row.get("created_at"):
        case int(seconds), _:
            return seconds
        case _, str(moment):
            try:
                return int(datetime.fromisoformat(moment).timestamp())
            except ValueError:
                return 0
        case _:
            return 0


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def write_list(dialect: str, models: Sequence[Model]) -> bytes:
    """The whole list on one page, in the shape of `dialect`."""
    rows = [_write(dialect, model) for model in models]
    match dialect:
        case "anthropic.messages":
            ends = {"first_id": models[0].id if models else None, "last_id": models[-1].id if models else None}
            return orjson.dumps({"data": rows, "has_more": False, **ends})
        case "gemini":
            return orjson.dumps({"models": rows})
        case _:
            return orjson.dumps({"object": "list", "data": rows})


def write_model(dialect: str, model: Model) -> bytes:
    """One model as `GET /models/{id}` answers it."""
    return orjson.dumps(_write(dialect, model))


def _write(dialect: str, model: Model) -> dict[str, Any]:
    match dialect:
        case "anthropic.messages":
            row: dict[str, Any] = {
                "type": "model",
                "id": model.id,
                "display_name": model.display_name or model.id,
                "created_at": datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "lifecycle": model.lifecycle,
            }
            limits = {"max_input_tokens": model.input_limit, "max_tokens": model.output_limit}
        case "gemini":
            row = {
                "name": f"models/{model.id}",
                "displayName": model.display_name or model.id,
                "supportedGenerationMethods": list(model.methods),
            }
            limits = {"inputTokenLimit": model.input_limit, "outputTokenLimit": model.output_limit}
        case _:
            return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owner}
    row.update({name: limit for name, limit in limits.items() if limit is not None})
    return row
