"""State that only its provider can read comes back to it byte for byte, through every client that has a place for it."""

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
LOST = {("generate_content", "claude"), ("generate_content", "openai")}
"""There is no place in Gemini's contents for other providers' state."""
PAIRS = [(client, giver) for client in CLIENTS for giver in GIVERS if (client, giver) not in OWN | LOST]


@pytest.fixture
async def proxy(start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider) -> Proxy:
    providers = {
        "oracle": {"base_url": f"{provider.url}/v1", "dialects": ["openai.responses"], "key": "k"},
        "deepseek": {"base_url": f"{provider.url}/v1", "key": "k"},
    }
    return await start_proxy({"providers": providers}, environ)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "giver"), PAIRS)
async def test_what_a_client_carries_comes_back(proxy: Proxy, provider: FakeProvider, client: str, giver: str, streams: bool) -> None:
    state = GIVERS[giver]
    provider.will(state.answer(streams))
    await CLIENTS[client](proxy.base, state.model, streams, False)
    assert len(provider.received) == 2
    assert state.step(provider.last.json) == state.expected
