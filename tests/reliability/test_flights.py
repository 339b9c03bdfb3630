"""Who asks the same at the same moment waits for one call together; whoever leaves takes nobody along."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from respan_proxy.handlers import cache as cache_module
from respan_proxy.handlers.entries import Entries, Entry
from respan_proxy.handlers.flight import Flight
from tests.conftest import Proxy
from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider, Step, streamed, whole
from tests.reliability.conftest import CLIENTS, RowOf, ask
from tests.reliability.rich import ANSWERS, MODELS

CHAT: dict[str, Any] = {"model": "gpt-4.1-nano", "messages": [{"role": "user", "content": "hi"}], "cache_enabled": True}


def aloft() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("flight of")]


def flights() -> list[Flight]:
    return [task.get_coro().cr_frame.f_locals["self"] for task in aloft()]  # type: ignore[union-attr]


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """No flight outlives its callers."""
    yield
    async with asyncio.timeout(5):
        while aloft():
            await asyncio.sleep(0)


async def seated(count: int) -> None:
    """Wait until so many callers wait together."""
    async with asyncio.timeout(5):
        while sum(len(flight.seats) for flight in flights()) < count:
            await asyncio.sleep(0)


def begun(
    http: aiohttp.ClientSession, proxy: Proxy, kind: str, *, streams: bool = False
) -> asyncio.Task[tuple[aiohttp.ClientResponse, bytes]]:
    return asyncio.create_task(ask(http, proxy, kind, MODELS[kind], streams=streams, cache_enabled=True))


async def text_of(response: aiohttp.ClientResponse) -> str:
    async with response:
        return (await response.read()).decode()


@pytest.mark.parametrize("kind", CLIENTS)
async def test_twenty_identical_calls_make_one(
    http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, row_of: RowOf, kind: str
) -> None:
    """Eleven of them streamed, nine of them whole."""
    _, frames = ANSWERS[kind]
    go = asyncio.Event()
    provider.will(streamed(frames[:1], go, frames[1:]))
    calls = [begun(http, proxy, kind, streams=True)]
    await provider.arrival()
    calls += [begun(http, proxy, kind, streams=number % 2 == 0) for number in range(19)]
    await seated(20)
    go.set()
    answers = await asyncio.gather(*calls)
    assert len(provider.received) == 1
    assert [response.headers["X-Respan-Cache"] for response, _ in answers] == ["MISS", *["HIT"] * 19]
    assert len({said for response, said in answers if "event-stream" in response.headers["Content-Type"]}) == 1
    wholes = [said for response, said in answers if "event-stream" not in response.headers["Content-Type"]]
    assert len(wholes) == 9
    for said in wholes:
        assert recordings.TEXT in json.dumps(json.loads(said), ensure_ascii=False)
    rows = [await row_of(proxy, response) for response, _ in answers]
    assert rows[0]["cost"] > 0
    assert [row["cache_bit"] for row in rows] == [False, *[True] * 19]
    assert [row["attempts"] is not None for row in rows] == [True, *[False] * 19]
    assert {row["cost"] for row in rows[1:]} == {0}
    assert {row["saved_cost"] for row in rows[1:]} == {rows[0]["cost"]}
    assert {row["completion_message"]["content"] for row in rows} == {recordings.TEXT}


async def test_a_whole_answer_is_shared_by_streams(http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider) -> None:
    go = asyncio.Event()
    answer = whole(recordings.CHAT)
    provider.will(type(answer)(answer.status, answer.headers, answer.steps, before=[go]))
    first = begun(http, proxy, "chat")
    await provider.arrival()
    then = begun(http, proxy, "chat", streams=True)
    await seated(2)
    go.set()
    assert json.loads((await first)[1])["choices"][0]["message"]["content"] == recordings.TEXT
    said = (await then)[1].decode()
    assert said.endswith("data: [DONE]\n\n")
    assert '"usage":{' not in said, "which this caller did not ask for"
    assert len(provider.received) == 1


async def test_a_follower_hears_every_frame_when_the_leader_does(http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider) -> None:
    gates = [asyncio.Event() for _ in recordings.CHAT_STREAM]
    steps: list[Step] = [step for gate, frame in zip(gates, recordings.CHAT_STREAM, strict=True) for step in (frame, gate)]
    provider.will(streamed(*steps))
    leader = await http.post(f"{proxy.base}/chat/completions", json={**CHAT, "stream": True})
    follower = await http.post(f"{proxy.base}/chat/completions", json={**CHAT, "stream": True})
    assert (leader.headers["X-Respan-Cache"], follower.headers["X-Respan-Cache"]) == ("MISS", "HIT")
    for gate, frame in zip(gates, recordings.CHAT_STREAM, strict=True):
        for caller in (leader, follower):
            assert await caller.content.readexactly(len(frame)) == frame, "before the next one was sent"
        gate.set()
    for caller in (leader, follower):
        assert await caller.content.read() == b""
        caller.close()


@pytest.mark.parametrize("streams", [False, True], ids=["whole-followers", "streamed-followers"])
async def test_the_leader_leaving_takes_nobody_along(
    http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, row_of: RowOf, streams: bool
) -> None:
    go = asyncio.Event()
    provider.will(
        streamed(recordings.CHAT_STREAM[:2], go, [*recordings.CHAT_STREAM[2:-1], recordings.CHAT_USAGE, recordings.CHAT_STREAM[-1]])
    )
    leader = await http.post(f"{proxy.base}/chat/completions", json={**CHAT, "stream": True})
    await leader.content.readany()
    followers = [begun(http, proxy, "chat", streams=streams) for _ in range(3)]
    await seated(4)
    leader.close()
    async with asyncio.timeout(5):
        while len(flights()[0].seats) > 3:
            await asyncio.sleep(0)
    go.set()
    for response, said in await asyncio.gather(*followers):
        assert response.status == 200
        assert said.endswith(b"[DONE]\n\n") if streams else json.loads(said)["choices"][0]["message"]["content"] == recordings.TEXT
    left = await row_of(proxy, leader)
    assert (left["outcome"], left["status_code"], left["attempts"], left["cost"]) == ("client_left", 499, None, None)
    rows = [await row_of(proxy, task.result()[0]) for task in followers]
    paying = [row for row in rows if row["attempts"]]
    assert len(paying) == 1, "the first of those who stayed pays"
    assert paying[0]["cost"] > 0
    assert sorted(row["cost"] for row in rows if row is not paying[0]) == [0, 0]
    assert len(provider.received) == 1
    assert (await ask(http, proxy, "chat", "gpt-4.1-nano", cache_enabled=True))[0].headers["X-Respan-Cache"] == "HIT"


async def test_when_everybody_left_the_provider_is_told(http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider) -> None:
    provider.will(streamed(recordings.CHAT_STREAM[:2], Act.HANG))
    callers = [await http.post(f"{proxy.base}/chat/completions", json={**CHAT, "stream": True}) for _ in range(3)]
    received = await provider.arrival()
    for caller in callers:
        await caller.content.readany()
        assert not received.gone.is_set()
    for caller in callers:
        caller.close()
    async with asyncio.timeout(5):
        await received.gone.wait()
    then, _ = await ask(http, proxy, "chat", "gpt-4.1-nano", cache_enabled=True)
    assert then.headers["X-Respan-Cache"] == "MISS", "half an answer is not kept"
    assert len(provider.received) == 2


@pytest.mark.parametrize("ending", [Act.RESET, None], ids=["reset", "just-ends"])
@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_break_in_mid_flight_is_told_to_everybody(
    http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, row_of: RowOf, kind: str, ending: Act | None
) -> None:
    _, frames = ANSWERS[kind]
    go = asyncio.Event()
    provider.will(streamed(frames[:2], go, *([ending] if ending else [])))
    calls = [begun(http, proxy, kind, streams=True)]
    await provider.arrival()
    calls += [begun(http, proxy, kind, streams=streams) for streams in (True, False)]
    await seated(3)
    go.set()
    (leader, said), (follower, heard), (other, told) = await asyncio.gather(*calls)
    assert (leader.status, follower.status, other.status) == (200, 200, 502)
    assert said.replace(leader.headers["X-Respan-Log-Id"].encode(), b"") == heard.replace(follower.headers["X-Respan-Log-Id"].encode(), b"")
    assert said.startswith(b"".join(frames[:2]))
    assert b"error" in said[len(b"".join(frames[:2])) :]
    assert "error" in json.loads(told)
    rows = [await row_of(proxy, response) for response in (leader, follower, other)]
    assert [row["status"] for row in rows] == ["failed"] * 3
    assert [row["attempts"] is not None for row in rows] == [True, False, False]
    assert all(row["error_message"] for row in rows)
    assert not any(row["cache_bit"] for row in rows)
    then, _ = await ask(http, proxy, kind, MODELS[kind], cache_enabled=True)
    assert then.headers["X-Respan-Cache"] == "MISS"


@pytest.mark.parametrize("kind", CLIENTS)
async def test_a_refusal_is_shared_and_not_kept(
    http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, row_of: RowOf, kind: str
) -> None:
    go = asyncio.Event()
    body = {"type": "error", "error": {"type": "api_error", "message": "no luck", "code": 400, "status": "X"}}
    refused = whole(body, 400)
    provider.will(type(refused)(refused.status, refused.headers, refused.steps, before=[go]))
    calls = [begun(http, proxy, kind, streams=streams) for streams in (False, True, False)]
    await seated(3)
    go.set()
    answers = await asyncio.gather(*calls)
    assert [response.status for response, _ in answers] == [400] * 3
    assert len({said for _, said in answers}) == 1
    assert b"no luck" in answers[0][1]
    assert [response.headers["X-Respan-Cache"] for response, _ in answers] == ["MISS"] * 3
    rows = [await row_of(proxy, response) for response, _ in answers]
    assert [row["status"] for row in rows] == ["failed"] * 3
    assert all("no luck" in row["error_message"] for row in rows)
    assert sum(row["attempts"] is not None for row in rows) == 1
    assert len(provider.received) == 1


async def test_no_answer_at_all_is_shared_too(http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, row_of: RowOf) -> None:
    go = asyncio.Event()
    answer = whole(recordings.CHAT)
    provider.will(type(answer)(answer.status, answer.headers, [], before=[go, Act.RESET]))
    calls = [begun(http, proxy, "chat", streams=streams) for streams in (False, True)]
    await seated(2)
    go.set()
    answers = await asyncio.gather(*calls)
    assert [response.status for response, _ in answers] == [502] * 2
    assert all("error" in json.loads(said) for _, said in answers)
    rows = [await row_of(proxy, response) for response, _ in answers]
    assert [(row["status"], bool(row["error_message"])) for row in rows] == [("failed", True)] * 2


async def test_calls_that_do_not_ask_for_it_are_not_shared(http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider) -> None:
    go = asyncio.Event()
    plain = {name: value for name, value in CHAT.items() if name != "cache_enabled"}
    for _ in range(2):
        provider.will(streamed(recordings.CHAT_STREAM[:1], go, recordings.CHAT_STREAM[1:]))
    calls = [await http.post(f"{proxy.base}/chat/completions", json={**plain, "stream": True}) for _ in range(2)]
    go.set()
    for call in calls:
        assert (await text_of(call)).endswith("[DONE]\n\n")
    assert len(provider.received) == 2


async def test_memory_is_bounded_and_a_caller_that_sleeps_holds_nobody_up(
    http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream longer than what is held: who waits for all of it asks on its own, who reads is given everything, nothing is kept."""
    monkeypatch.setattr(cache_module, "KEPT_BYTES", 200_000)
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    frame = recordings.sse({**chunk, "choices": [{"index": 0, "delta": {"content": "x" * 50_000}, "finish_reason": None}]})[0]
    body = [recordings.CHAT_STREAM[0], *[frame] * 40, *recordings.CHAT_STREAM[-2:]]
    go = asyncio.Event()
    provider.will(streamed(body[:1], go, body[1:]))
    leader = await http.post(f"{proxy.base}/chat/completions", json={**CHAT, "stream": True})
    waiting = begun(http, proxy, "chat")
    await seated(2)
    flight = flights()[0]
    go.set()
    most, said = 0, b""
    while piece := await leader.content.readany():
        said += piece
        most = max(most, flight.held_bytes)
    assert said == b"".join(body)
    assert most < 400_000
    response, told = await waiting
    assert (response.status, json.loads(told)["choices"][0]["message"]["content"]) == (200, recordings.TEXT)
    assert len(provider.received) == 2
    assert (await ask(http, proxy, "chat", "gpt-4.1-nano", cache_enabled=True))[0].headers["X-Respan-Cache"] == "MISS"
    leader.close()


async def test_stopping_leaves_no_task(http: aiohttp.ClientSession, provider: FakeProvider, environ: dict[str, str], tmp_path: Any) -> None:
    from respan_proxy.app import running
    from respan_proxy.config import parse

    provider.will(streamed(recordings.CHAT_STREAM[:2], Act.HANG))
    config = parse({"limits": {"shutdown_s": 0.01}}, environ, "test.toml", {"listen": "127.0.0.1:0", "database": str(tmp_path / "x.db")})
    async with running(config) as house:
        caller = await http.post(f"http://127.0.0.1:{house.address.port}/api/chat/completions", json={**CHAT, "stream": True})
        await caller.content.readany()
        received = await provider.arrival()
    assert not aloft()
    async with asyncio.timeout(5):
        await received.gone.wait()
    caller.close()


async def test_a_caller_that_waits_for_all_of_it_does_not_hang_when_the_only_reader_leaves(
    http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream longer than what is held, and nobody left who takes any of it: the one who waits asks on its own."""
    monkeypatch.setattr(cache_module, "KEPT_BYTES", 1)
    go = asyncio.Event()
    provider.will(streamed(go, recordings.CHAT_STREAM))
    leader = begun(http, proxy, "chat", streams=True)
    waiting = begun(http, proxy, "chat")
    await seated(2)
    leader.cancel()
    await asyncio.wait([leader])
    async with asyncio.timeout(5):
        while sum(len(flight.seats) for flight in flights()) > 1:
            await asyncio.sleep(0)
    go.set()
    async with asyncio.timeout(5):
        response, told = await waiting
    assert (response.status, json.loads(told)["choices"][0]["message"]["content"]) == (200, recordings.TEXT)


async def test_an_answer_that_cannot_be_kept_is_given_and_harms_nobody(
    http: aiohttp.ClientSession, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def put(self: Entries, entry: Entry) -> bool:
        raise MemoryError("no room")

    monkeypatch.setattr(Entries, "put", put)
    async with asyncio.timeout(5):
        for _ in range(2):
            response, _ = await ask(http, proxy, "chat", MODELS["chat"], cache_enabled=True)
            assert (response.status, response.headers["X-Respan-Cache"]) == (200, "MISS")
    assert "could not be kept" in caplog.text
