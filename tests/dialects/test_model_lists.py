"""Model lists as the vectors have them: one vendor's list in another's shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from respan_proxy.dialects.model_lists import read_list, write_list
from tests.dialects import vectors

SHAPES = {"openai.models": "openai.chat", "anthropic.models": "anthropic.messages", "gemini.models": "gemini"}
OWNERS = {"openai.models": "openai", "anthropic.models": "anthropic", "gemini.models": "google"}
VECTORS = [
    pytest.param(json.loads(path.read_text("utf-8")), id=path.stem)
    for path in sorted(vectors.FOLDER.glob("*_models_*.json"))
    if "pass" not in path.stem
]


@pytest.mark.parametrize("vector", VECTORS)
def test_a_list_is_told_in_the_clients_shape(vector: dict[str, Any]) -> None:
    models = read_list(vectors.body(vector["upstream_response"]), OWNERS[vector["dialect_out"]])
    assert json.loads(write_list(SHAPES[vector["dialect_in"]], models)) == vector["client_response_expected"]["body"]


def test_every_vector_is_played() -> None:
    assert len(VECTORS) == 3
