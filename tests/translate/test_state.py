"""State that only its provider can read comes back to it byte for byte, through every client, whether it carries it or not."""

from __future__ import annotations

import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes.provider import FakeProvider
from tests.translate.clients import CLIENTS
from tests.translate.states import GIVERS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

OWN = {
    ("messages", "claude"),
    ("responses", "openai"),
    ("chat", "deepseek"),
    ("generate_content", "gemini"),
    ("generate_content", "gemini-text"),
}
"""Clients of the provider's own dialect are relayed: their bytes are their own."""
PAIRS = [(client, giver) for client in CLIENTS for giver in GIVERS if (client, giver) not in OWN]


@pytest.fixture
async def proxy(start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider) -> Proxy:
    providers = {
        "oracle": {"base_url": f"{provider.url}/v1", "dialects": ["openai.responses"], "key": "k"},
        "deepseek": {"base_url": f"{provider.url}/v1", "key": "k"},
    }
    return await start_proxy({"providers": providers}, environ)


@pytest.mark.parametrize("plain", [False, True], ids=["", "plain"])
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "giver"), PAIRS)
async def test_state_comes_back_to_who_gave_it(
    proxy: Proxy, provider: FakeProvider, client: str, giver: str, streams: bool, plain: bool
) -> None:
    state = GIVERS[giver]
    provider.will(state.answer(streams))
    await CLIENTS[client](proxy.base, state.model, streams, plain)
    assert len(provider.received) == 2
    body = provider.last.json
    assert state.step(body) == (state.unsigned_text or state.expected if plain else state.expected)
    if giver == "claude":
        assert body["thinking"]["type"] == "enabled", "what begins with its thinking may go on thinking"
