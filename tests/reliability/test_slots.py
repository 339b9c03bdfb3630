"""A provider is asked no more calls at a time than it is said to take; who comes then waits a while, and goes elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Act, Answer, FakeProvider, silent, streamed, whole
from tests.reliability.conftest import CLIENTS, RowOf, ask
from tests.reliability.test_fallback import CLAUDE, GPT, OWN

PROVIDERS = ("openai", "anthropic", "gemini")


def one_at_a_time(max_wait_s: float = 60, *names: str) -> dict[str, Any]:
    return {"providers": {name: {"max_concurrency": 1, "max_wait_s": max_wait_s} for name in names or PROVIDERS}}


def until(event: asyncio.Event, *, streams: bool) -> Answer:
    """An answer that is not over before the event."""
    if streams:
        return streamed(recordings.CHAT_STREAM[:2], event, recordings.CHAT_STREAM[2:])
    plain = whole(recordings.CHAT)
    return Answer(plain.status, plain.headers, plain.steps, before=[event])


@pytest.mark.parametrize("streams", [False, True])
async def test_a_further_call_waits_until_the_last_byte_of_the_one_before(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, row_of: RowOf, streams: bool
) -> None:
    proxy = await start_proxy(one_at_a_time(), environ)
    over = asyncio.Event()
    provider.will(until(over, streams=streams))
    first = asyncio.create_task(ask(http, proxy, "chat", GPT, streams=streams))
    await provider.arrival()
    second = asyncio.create_task(ask(http, proxy, "chat", GPT, streams=streams))
    other = await ask(http, proxy, "messages", CLAUDE)
    assert other[0].status == 200 and len(provider.received) == 2, "other providers are not waited for"
    over.set()
    assert (await first)[0].status == 200
    response, _ = await second
    assert response.status == 200
    (attempt,) = (await row_of(proxy, response))["attempts"]
    assert attempt["notes"][0].startswith("waited ") and "max_concurrency = 1" in attempt["notes"][0]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_without_a_turn_in_time_the_caller_hears_503_or_its_dialects_word_for_it(
    start_proxy: StartProxy,
    provider: FakeProvider,
    environ: Mapping[str, str],
    http: aiohttp.ClientSession,
    row_of: RowOf,
    client: str,
    streams: bool,
) -> None:
    proxy = await start_proxy({**one_at_a_time(0.02), "retry": {"enabled": True}}, environ)
    provider.will(silent())
    first = asyncio.create_task(ask(http, proxy, client, OWN[client], streams=streams))
    await provider.arrival()
    response, body = await ask(http, proxy, client, OWN[client], streams=streams)
    assert response.status == (529 if client == "messages" else 503) and b"max_concurrency" in body
    assert len(provider.received) == 1
    row = await row_of(proxy, response)
    (attempt,) = row["attempts"]
    assert row["status"] == "failed" and "max_wait_s" in attempt["error"] and "status_code" in attempt
    first.cancel()


@pytest.mark.parametrize("streams", [False, True])
async def test_without_a_turn_in_time_the_next_target_is_asked_and_the_provider_is_not_ill(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, row_of: RowOf, streams: bool
) -> None:
    proxy = await start_proxy({**one_at_a_time(0.02, "openai"), "breaker": {"failures": 1}}, environ)
    over = asyncio.Event()
    provider.will(until(over, streams=False))
    first = asyncio.create_task(ask(http, proxy, "chat", GPT))
    await provider.arrival()
    response, _ = await ask(http, proxy, "chat", GPT, streams=streams, fallback_models=[CLAUDE])
    assert response.status == 200
    one, two = (await row_of(proxy, response))["attempts"]
    assert "max_concurrency" in one["error"] and (two["model"], two["status_code"]) == (CLAUDE, 200)
    over.set()
    await first
    response, _ = await ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE])
    assert "X-Respan-Warnings" not in response.headers


ENDS: dict[str, Answer] = {
    "an error": whole({"error": {"message": "oops", "type": "server_error"}}, 500),
    "no answer": Answer(before=[Act.RESET]),
    "empty": whole(b""),
    "an error in the first frame": streamed([b'data: {"error":{"message":"no","type":"server_error","code":null}}\n\n']),
    "a break": streamed(recordings.CHAT_STREAM[:2], Act.CUT),
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_slot_is_free_again_however_the_call_ended(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, end: str
) -> None:
    proxy = await start_proxy(one_at_a_time(5), environ)
    provider.will(ENDS[end])
    await ask(http, proxy, "chat", GPT, streams=True)
    response, _ = await ask(http, proxy, "chat", GPT, streams=True)
    assert response.status == 200


@pytest.mark.parametrize("after", ["before the head", "in the stream"])
async def test_a_slot_is_free_again_when_its_caller_leaves(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, after: str
) -> None:
    proxy = await start_proxy(one_at_a_time(), environ)
    provider.will(silent() if after == "before the head" else streamed(recordings.CHAT_STREAM[:2], Act.HANG))
    first = asyncio.create_task(ask(http, proxy, "chat", GPT, streams=True))
    await provider.arrival()
    second = asyncio.create_task(ask(http, proxy, "chat", GPT))
    first.cancel()
    assert (await second)[0].status == 200


async def test_who_leaves_while_waiting_takes_no_turn(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy: Proxy = await start_proxy(one_at_a_time(), environ)
    over = asyncio.Event()
    provider.will(until(over, streams=False))
    first = asyncio.create_task(ask(http, proxy, "chat", GPT))
    await provider.arrival()
    async with aiohttp.ClientSession() as impatient:
        leaving = asyncio.create_task(ask(impatient, proxy, "chat", "gpt-4.1"))
        async with asyncio.timeout(5):
            while proxy.house.gateway.counters.active < 2:
                await asyncio.sleep(0)
        leaving.cancel()
    over.set()
    await first
    assert (await ask(http, proxy, "chat", GPT))[0].status == 200
    assert [request.json["model"] for request in provider.received] == [GPT, GPT]


async def test_many_calls_are_all_answered_and_never_more_at_a_time(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"providers": {"openai": {"max_concurrency": 3}}}, environ)
    at_once: list[int] = []

    def answer(_: object) -> Answer:
        at_once.append(sum(not request.answered.is_set() for request in provider.received))
        return whole(recordings.CHAT)

    provider.will(*[answer] * 40)
    answers = await asyncio.gather(*(ask(http, proxy, "chat", GPT) for _ in range(40)))
    assert {response.status for response, _ in answers} == {200}
    assert max(at_once) <= 3 and len(at_once) == 40
