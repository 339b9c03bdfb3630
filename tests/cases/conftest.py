"""The relay's own fixtures, and a way to ask that tells both sides: what the provider was sent, what the caller was answered."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy
from tests.fakes.provider import FakeProvider
from tests.relay.conftest import client, finished, row_of

__all__ = ["Ask", "Told", "ask", "asking", "client", "finished", "row_of"]

USER = {"role": "user", "content": "hi"}
PATHS = {
    "openai.chat": ("/chat/completions", {"messages": [USER]}),
    "openai.responses": ("/responses", {"input": "hi"}),
    "anthropic.messages": ("/anthropic/v1/messages", {"max_tokens": 64, "messages": [USER]}),
    "gemini": ("/google/gemini/v1beta/models/{model}:{verb}", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
}


@dataclass(frozen=True, slots=True)
class Told:
    """`sent` is the body that reached the provider; None when no call was made."""

    status: int
    headers: Any
    text: str
    sent: Any
    target: str | None

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def events(self) -> list[Any]:
        """The data of every frame of a stream; `[DONE]` as it is."""
        said = [line.removeprefix("data: ") for line in self.text.splitlines() if line.startswith("data: ")]
        return [data if data == "[DONE]" else json.loads(data) for data in said]

    @property
    def warnings(self) -> list[str]:
        """What got lost; that nothing was, is an empty list."""
        told = self.headers.get("X-Respan-Warnings", "")
        return told.split(", ") if told else []

    @property
    def param(self) -> Any:
        """Which member a refusal names, of OpenAI's errors."""
        return self.json["error"]["param"]


Ask = Callable[..., Awaitable[Told]]


@pytest.fixture
def ask(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> Ask:
    """`await ask(dialect, model, **members)`: a small request of that dialect with those members."""
    return asking(proxy, provider, client)


def asking(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> Ask:
    """The same of a proxy with a configuration of its own."""

    async def send(dialect: str, model: str, **members: Any) -> Told:
        path, least = PATHS[dialect]
        body = {**least, **members}
        if dialect == "gemini":
            streams = body.pop("stream", False)
            path = path.format(model=model, verb="streamGenerateContent?alt=sse" if streams else "generateContent")
        else:
            body["model"] = model
        before = len(provider.received)
        async with client.post(f"{proxy.base}{path}", json=body) as response:
            text = await response.text()
        asked = provider.received[before:]
        assert len(asked) <= 1
        return Told(response.status, response.headers, text, *((asked[0].json, asked[0].target) if asked else (None, None)))

    return send
