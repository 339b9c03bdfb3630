"""The fake provider keeps its promises to the tests that lean on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider, Received, garbage, gzipped, in_pieces, silent, streamed, whole


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_scripted_answer_comes_once_and_then_the_recording(provider: FakeProvider, session: aiohttp.ClientSession) -> None:
    provider.will(whole({"error": {}}, 429, {"Retry-After": "7"}))
    async with session.post(f"{provider.url}/v1/chat/completions", json={"model": "m"}) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    async with session.post(f"{provider.url}/v1/chat/completions", json={"model": "m"}) as answer:
        assert await answer.json() == recordings.CHAT
    assert [request.json for request in provider.received] == [{"model": "m"}] * 2
    assert provider.opened == 1


async def test_a_gate_holds_the_answer_until_it_opens(provider: FakeProvider, session: aiohttp.ClientSession) -> None:
    gate = asyncio.Event()
    provider.will(streamed(b"data: 1\n\n", gate, b"data: 2\n\n"))
    async with session.post(provider.url, data=b"{}") as answer:
        assert await answer.content.readany() == b"data: 1\n\n"
        gate.set()
        assert await answer.content.read() == b"data: 2\n\n"


async def test_a_client_that_leaves_is_noticed(provider: FakeProvider, session: aiohttp.ClientSession) -> None:
    provider.will(silent())
    call = asyncio.create_task(session.post(provider.url, data=b"{}"))
    request: Received = await provider.arrival()
    call.cancel()
    async with asyncio.timeout(5):
        await request.gone.wait()


@pytest.mark.parametrize("act", [Act.CUT, Act.RESET])
async def test_a_broken_stream_is_broken_for_the_client(provider: FakeProvider, session: aiohttp.ClientSession, act: Act) -> None:
    provider.will(streamed(b"data: 1\n\n", act))
    async with session.post(provider.url, data=b"{}") as answer:
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_garbage_is_not_http(provider: FakeProvider, session: aiohttp.ClientSession) -> None:
    provider.will(garbage())
    with pytest.raises(aiohttp.ClientError):
        await session.post(provider.url, data=b"{}")


async def test_bodies_arrive_whole_whatever_their_coding(provider: FakeProvider, session: aiohttp.ClientSession) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in in_pieces(b"0123456789", 3):
            yield piece

    provider.will(gzipped(b"answer"))
    async with session.post(provider.url, data=pieces()) as answer:
        assert await answer.read() == b"answer"
    assert provider.last.body == b"0123456789"
