"""A user's own facts about models hold wherever a model is asked for anew."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from respan_proxy.config import parse
from tests.conftest import Proxy, StartProxy
from tests.fakes.provider import FakeProvider

RULE = {"models": ["gpt-4o"], "max_tokens": 40, "refuses": ["stop"], "dialect": "openai.responses"}
ASKED: dict[str, Any] = {"model": "gpt-4o", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


async def asked(proxy: Proxy, **more: Any) -> str | None:
    """What the caller was warned of."""
    async with anthropic.AsyncAnthropic(api_key="any", base_url=f"{proxy.base}/anthropic", max_retries=0) as client:
        raw = await client.messages.with_raw_response.create(**ASKED, **more)
        return raw.headers.get("X-Respan-Warnings")


async def test_a_users_profile_decides_dialect_limits_and_losses(
    start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider
) -> None:
    warned = await asked(await start_proxy({"profiles": [RULE]}, environ), stop_sequences=["X"])
    assert provider.last.target.endswith("/responses") and provider.last.json["max_output_tokens"] == 40
    assert warned is not None and "max_tokens:clamped" in warned


async def test_a_reload_brings_new_profiles(proxy: Proxy, environ: dict[str, str], provider: FakeProvider) -> None:
    await asked(proxy)
    assert provider.last.json["max_completion_tokens"] == 99
    proxy.house.adopt(parse({"profiles": [RULE]}, environ))
    await asked(proxy)
    assert provider.last.json["max_output_tokens"] == 40
