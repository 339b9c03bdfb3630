"""A target that is late gets company: the first to answer wins, the other is given up at once, and both are in the row."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import aiohttp
import pytest

from tests.conftest import StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Act, Answer, FakeProvider, silent, streamed, whole
from tests.reliability.conftest import CLIENTS, RowOf, ask
from tests.reliability.test_fallback import CLAUDE, GEMINI, GPT, HANGS, NEXT, OWN, said

BAD = whole({"error": {"message": "never heard of it", "type": "invalid_request_error"}}, 400)
SOON = {"routes": {"*": {"hedge_after_ms": 5}}}
NEVER = {"routes": {"*": {"hedge_after_ms": 3_600_000}}}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_the_second_wins_and_the_first_ones_connection_is_closed_at_once(
    start_proxy: StartProxy,
    provider: FakeProvider,
    environ: Mapping[str, str],
    http: aiohttp.ClientSession,
    row_of: RowOf,
    client: str,
    streams: bool,
) -> None:
    proxy = await start_proxy(SOON, environ)
    provider.will(silent())
    response, body = await ask(http, proxy, client, OWN[client], streams=streams, fallback_models=[NEXT[client]])
    assert response.status == 200 and said(client, body, streams) == recordings.TEXT
    async with asyncio.timeout(5):
        await provider.received[0].gone.wait()
    assert "answered_by_fallback" in response.headers["X-Respan-Warnings"]
    row = await row_of(proxy, response)
    first, second = row["attempts"]
    assert first["model"] == OWN[client] and first["error"].startswith("given up: ") and first["ended"]
    assert (second["model"], second["status_code"]) == (NEXT[client], 200) and "hedge_after_ms" in second["notes"][0]
    assert (row["status"], row["outcome"], row["total_request_tokens"] > 0) == ("warning", "complete", True)


@pytest.mark.parametrize("hang", HANGS)
async def test_a_stream_has_not_answered_before_its_first_data(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, hang: str
) -> None:
    proxy = await start_proxy(SOON, environ)
    provider.will(HANGS[hang])
    response, body = await ask(http, proxy, "chat", GPT, streams=True, fallback_models=[CLAUDE])
    assert response.status == 200 and said("chat", body, True) == recordings.TEXT
    async with asyncio.timeout(5):
        await provider.received[0].gone.wait()


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_the_first_may_win_after_all(
    start_proxy: StartProxy,
    provider: FakeProvider,
    environ: Mapping[str, str],
    http: aiohttp.ClientSession,
    row_of: RowOf,
    client: str,
    streams: bool,
) -> None:
    proxy = await start_proxy(SOON, environ)
    go_on = asyncio.Event()
    answer = _own_answer(client, streams)
    provider.will(Answer(answer.status, answer.headers, answer.steps, before=[go_on]), silent())
    call = asyncio.create_task(ask(http, proxy, client, OWN[client], streams=streams, fallback_models=[NEXT[client]]))
    await provider.arrival()
    second = await provider.arrival()
    go_on.set()
    response, body = await call
    assert response.status == 200 and said(client, body, streams) == recordings.TEXT
    assert "answered_by_fallback" not in response.headers.get("X-Respan-Warnings", "")
    async with asyncio.timeout(5):
        await second.gone.wait()
    row = await row_of(proxy, response)
    one, two = row["attempts"]
    assert one["status_code"] == 200 and "error" not in one and two["error"].startswith("given up: ")
    assert row["request_model"] == OWN[client] and row["routing_time"] == pytest.approx(one["started"], abs=1e-6)


def _own_answer(client: str, streams: bool) -> Answer:
    frames = {
        "chat": recordings.CHAT_STREAM,
        "responses": recordings.RESPONSES_STREAM,
        "messages": recordings.MESSAGES_STREAM,
        "gemini": recordings.GEMINI_STREAM,
    }
    bodies = {
        "chat": recordings.CHAT,
        "responses": recordings.RESPONSE,
        "messages": recordings.MESSAGE,
        "gemini": recordings.GEMINI,
    }
    return streamed(frames[client]) if streams else whole(bodies[client])


async def test_a_first_one_that_fails_before_is_followed_as_usual(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, row_of: RowOf
) -> None:
    proxy = await start_proxy(NEVER, environ)
    provider.will(BAD, BAD)
    response, _ = await ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE, GEMINI])
    assert response.status == 200
    attempts = (await row_of(proxy, response))["attempts"]
    assert [attempt["model"] for attempt in attempts] == [GPT, CLAUDE, GEMINI] and "notes" not in attempts[1]


async def test_when_one_of_two_fails_the_other_is_waited_for_and_a_third_follows_both(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, row_of: RowOf
) -> None:
    proxy = await start_proxy(SOON, environ)
    go_on = asyncio.Event()
    provider.will(Answer(BAD.status, BAD.headers, BAD.steps, before=[go_on]), BAD)
    call = asyncio.create_task(ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE, GEMINI]))
    await provider.arrival()
    await provider.arrival()
    assert len(provider.received) == 2 and not call.done()
    go_on.set()
    response, _ = await call
    assert response.status == 200
    attempts = (await row_of(proxy, response))["attempts"]
    assert [(attempt["model"], attempt["status_code"]) for attempt in attempts] == [(GPT, 400), (CLAUDE, 400), (GEMINI, 200)]


async def test_if_both_fail_the_caller_hears_the_first(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(SOON, environ)
    go_on = asyncio.Event()
    slow = whole({"error": {"message": "the first one's words", "type": "invalid_request_error"}}, 422)
    provider.will(Answer(slow.status, slow.headers, slow.steps, before=[go_on]), BAD)
    call = asyncio.create_task(ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE]))
    await provider.arrival()
    await (await provider.arrival()).answered.wait()
    go_on.set()
    response, body = await call
    assert response.status == 422 and json.loads(body)["error"]["message"] == "the first one's words"


async def test_a_caller_that_leaves_closes_both(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(SOON, environ)
    provider.will(silent(), silent())
    call = asyncio.create_task(ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE]))
    both = [await provider.arrival(), await provider.arrival()]
    call.cancel()
    async with asyncio.timeout(5):
        for request in both:
            await request.gone.wait()


async def test_without_another_target_it_is_waited_for(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(SOON, environ)
    go_on = asyncio.Event()
    plain = whole(recordings.CHAT)
    provider.will(Answer(plain.status, plain.headers, plain.steps, before=[go_on]))
    call = asyncio.create_task(ask(http, proxy, "chat", GPT))
    await provider.arrival()
    go_on.set()
    assert (await call)[0].status == 200 and len(provider.received) == 1


async def test_a_winner_that_breaks_later_is_told_in_band_and_the_loser_stays_away(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, row_of: RowOf
) -> None:
    proxy = await start_proxy(SOON, environ)
    provider.will(silent(), streamed(recordings.MESSAGES_STREAM[:4], Act.CUT))
    response, body = await ask(http, proxy, "chat", GPT, streams=True, fallback_models=[CLAUDE])
    assert response.status == 200 and b'"error"' in body
    row = await row_of(proxy, response)
    assert row["outcome"] == "upstream_broke" and row["model"].startswith("claude")


@pytest.mark.parametrize("streams", [False, True])
async def test_one_that_is_given_up_holds_no_slot_and_is_not_ill(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, streams: bool
) -> None:
    limits = {"providers": {"openai": {"max_concurrency": 1}}, "breaker": {"failures": 1}}
    proxy = await start_proxy({**SOON, **limits}, environ)
    for _ in range(3):
        provider.will(silent())
        response, _ = await ask(http, proxy, "chat", GPT, streams=streams, fallback_models=[CLAUDE])
        assert response.status == 200
    assert sum("messages" not in request.target for request in provider.received) == 3
