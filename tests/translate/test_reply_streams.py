"""A reply on its way from one dialect to another: read once, on its way at once, and whole but for what nobody can read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, gzipped, streamed

MODELS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-6", "gemini": "gemini-2.5-flash"}
STREAMS = {
    "openai": [*recordings.CHAT_STREAM[:-1], recordings.CHAT_USAGE, recordings.CHAT_STREAM[-1]],
    "anthropic": recordings.MESSAGES_STREAM,
    "gemini": recordings.GEMINI_STREAM,
}
WHOLE: dict[str, dict[str, Any]] = {"openai": recordings.CHAT, "anthropic": recordings.MESSAGE, "gemini": recordings.GEMINI}
# A client that is nobody's native one in these pairs: every provider is said anew for it, as for any other.
ASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("/anthropic/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}),
    "anthropic": ("/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    "gemini": ("/responses", {"input": "hi"}),
}


async def row_of(client: aiohttp.ClientSession, proxy: Proxy, id: str) -> dict[str, Any]:
    async with client.get(f"{proxy.base}/request-logs/{id}/") as answer:
        row: dict[str, Any] = await answer.json()
    return row


async def ask(proxy: Proxy, name: str, stream: bool) -> tuple[bytes, dict[str, Any]]:
    """What a foreign client is answered by this provider, and the row."""
    path, body = ASKS[name]
    async with aiohttp.ClientSession() as client:
        async with client.post(proxy.base + path, json={**body, "model": MODELS[name], "stream": stream}) as answer:
            assert answer.status == 200
            told = await answer.read()
        return told, await row_of(client, proxy, answer.headers["X-Respan-Log-Id"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", MODELS)
async def test_what_is_said_anew_is_read_once(
    proxy: Proxy, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, name: str, stream: bool
) -> None:
    def again(*args: object, **options: object) -> None:
        raise AssertionError("the answer was read a second time")

    monkeypatch.setattr("respan_proxy.handlers.observe.glance", again)
    monkeypatch.setattr("respan_proxy.handlers.observe.observe_answer", again)
    if stream:
        provider.will(streamed(STREAMS[name]))
    _, row = await ask(proxy, name, stream)
    assert (row["prompt_tokens"], row["completion_tokens"], row["finish_reason"], row["status"]) == (20, 5, "stop", "success")


@pytest.mark.parametrize("name", MODELS)
async def test_an_event_is_on_its_way_before_the_next_one_comes(proxy: Proxy, provider: FakeProvider, name: str) -> None:
    gates = [asyncio.Event() for _ in STREAMS[name]]
    provider.will(streamed(*[step for gate, frame in zip(gates, STREAMS[name], strict=True) for step in (gate, frame)]))
    path, body = ASKS[name]
    said, heard = "", b""
    async with aiohttp.ClientSession() as client, asyncio.timeout(10):
        opening = asyncio.create_task(client.post(proxy.base + path, json={**body, "model": MODELS[name], "stream": True}))
        for gate, frame in zip(gates, STREAMS[name], strict=True):
            gate.set()
            words = [word for word in ("Héllo ", "☃ ", "world") if json.dumps(word, ensure_ascii=False)[1:-1] in frame.decode()]
            said += "".join(words)
            if words:
                answer = await opening
                while words[-1].strip() not in heard.decode("utf-8", "replace") and words[-1].strip().encode() not in heard:
                    heard += await answer.content.readany()
        async with await opening as answer:
            heard += await answer.content.read()
    assert said


@pytest.mark.parametrize("name", MODELS)
async def test_one_event_that_nobody_can_read_is_skipped_and_noted(proxy: Proxy, provider: FakeProvider, name: str) -> None:
    frames = STREAMS[name]
    middle = next(place for place, frame in enumerate(frames) if "Héllo".encode() in frame)
    for broken in (b'data: {"choices": [{"delta": {"con\n\n', b"data: 7\n\n", b"data: \xff\xfe\n\n"):
        provider.will(streamed([*frames[:middle], *[frames[middle]] * 30, broken, *[frames[middle]] * 30, *frames[middle:]]))
        told, row = await ask(proxy, name, True)
        assert told.decode().count("Héllo") >= 61
        assert row["warnings"] == "unreadable events skipped: 1"
        assert row["status"] == "warning"
        assert row["completion_message"]["content"].count("Héllo") == 61


@pytest.mark.parametrize("name", MODELS)
async def test_an_answer_compressed_unasked_is_said_anew_all_the_same(proxy: Proxy, provider: FakeProvider, name: str) -> None:
    provider.will(gzipped(json.dumps(WHOLE[name]).encode()))
    told, row = await ask(proxy, name, False)
    assert recordings.TEXT in json.dumps(json.loads(told), ensure_ascii=False)
    assert row["status"] == "success"
