"""A client's limit of the answer is asked for as far as the model takes it, in every dialect."""

from __future__ import annotations

import json

import pytest

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.request import Profile
from tests.dialects.crossing import assert_typed, crossed


@pytest.mark.parametrize("target", DIALECTS)
@pytest.mark.parametrize(("asked", "told", "notices"), [(64000, 16384, ["max_tokens:clamped"]), (16384, 16384, []), (99, 99, [])])
def test_a_limit_beyond_the_models_is_clamped_and_told(target: str, asked: int, told: int, notices: list[str]) -> None:
    body = {"model": "m", "max_tokens": asked, "messages": [{"role": "user", "content": "hi"}]}
    there = crossed("anthropic.messages", target, body, Profile(max_tokens=16384))
    assert f": {told}" in json.dumps(there.body)
    assert there.notices == notices
    assert_typed(target, there.body)
