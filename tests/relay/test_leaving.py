"""A caller that leaves takes the provider's connection with it; a slow caller slows the provider."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy
from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider, silent, streamed

REQUESTS = {
    "chat": ("/chat/completions", {"model": "gpt-4o", "messages": []}),
    "responses": ("/responses", {"model": "gpt-4o", "input": "hi"}),
    "messages": ("/anthropic/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": []}),
    "gemini": ("/google/gemini/v1/models/gemini-2.5-flash:generateContent", {"contents": []}),
}


async def gone(provider: FakeProvider) -> None:
    async with asyncio.timeout(5):
        await provider.last.gone.wait()


@pytest.mark.parametrize("name", REQUESTS)
async def test_leaving_before_the_first_byte_closes_the_upstream_connection(proxy: Proxy, provider: FakeProvider, name: str) -> None:
    path, body = REQUESTS[name]
    provider.will(silent())
    async with aiohttp.ClientSession() as client:
        call = asyncio.create_task(client.post(f"{proxy.base}{path}", json=body))
        await provider.arrival()
        call.cancel()
        await gone(provider)


async def test_leaving_during_silence_closes_the_upstream_connection(proxy: Proxy, provider: FakeProvider, finished: Any) -> None:
    provider.will(streamed(recordings.CHAT_STREAM[:3], Act.HANG))
    async with aiohttp.ClientSession() as client:
        response = await client.post(f"{proxy.base}/chat/completions", json={"model": "gpt-4o", "messages": [], "stream": True})
        await response.content.readexactly(sum(map(len, recordings.CHAT_STREAM[:3])))
        response.close()
        await gone(provider)
    row = await finished(proxy, response)
    assert (row["outcome"], row["status"], row["status_code"]) == ("client_left", "failed", 499)
    assert row["completion_tokens"] > 0, "what was read before is counted"


async def test_leaving_in_a_flood_closes_the_upstream_connection(proxy: Proxy, provider: FakeProvider) -> None:
    frame = recordings.CHAT_STREAM[1]
    provider.will(streamed([frame * 500] * 2_000, Act.HANG))
    async with aiohttp.ClientSession() as client:
        response = await client.post(f"{proxy.base}/chat/completions", json={"model": "gpt-4o", "messages": [], "stream": True})
        await response.content.readexactly(len(frame))
        response.close()
        await gone(provider)


async def test_a_slow_caller_slows_the_provider(proxy: Proxy, provider: FakeProvider) -> None:
    """A provider with 100 MB to say gets rid of no more than sockets and buffers hold while the caller reads nothing."""
    frame = recordings.CHAT_STREAM[1]
    piece = frame * (1_000_000 // len(frame))
    provider.will(streamed([piece] * 100, Act.HANG))
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.house.address.port, limit=2**10)
    body = json.dumps({"model": "gpt-4o", "messages": [], "stream": True}).encode()
    writer.write(b"POST /api/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    request = await provider.arrival()
    await reader.readexactly(12)
    written = -1
    async with asyncio.timeout(10):
        while written != request.written_bytes or not written:  # until it stands still for a while of loop turns
            written = request.written_bytes
            for _ in range(2_000):
                await asyncio.sleep(0)
    assert written < 60_000_000
    writer.close()
    await gone(provider)


async def test_many_callers_leaving_leave_nothing_behind(proxy: Proxy, provider: FakeProvider) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        provider.will(*[silent() for _ in range(100)])
        calls = [
            asyncio.create_task(client.post(f"{proxy.base}/chat/completions", json={"model": "gpt-4o", "messages": []})) for _ in range(100)
        ]
        arrived = [await provider.arrival() for _ in range(100)]
        for call in calls:
            call.cancel()
        async with asyncio.timeout(10):
            for request in arrived:
                await request.gone.wait()
            while proxy.house.gateway.counters.active:
                await asyncio.sleep(0)
        answers = await asyncio.gather(
            *[client.post(f"{proxy.base}/chat/completions", json={"model": "gpt-4o", "messages": []}) for _ in range(20)]
        )
        assert [answer.status for answer in answers] == [200] * 20
