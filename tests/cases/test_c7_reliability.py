"""Reliability, connections, cache. Each test names the number of its case; here is where every one is claimed.

| case | in | claimed |
| --- | --- | --- |
| 99 | a caller that leaves in mid-stream | tests/relay/test_leaving.py; tests/cases/test_c6_usage.py (97) |
| 100 | a caller that leaves before the first token | tests/relay/test_leaving.py; tests/reliability/test_fallback.py |
| 101 | 500 streams left, then 200 calls | here |
| 103 | retries that see other waits each time | tests/reliability/test_waits.py, test_retry.py, test_misbehaviour.py |
| 104 | two deployments at one throttled host | here; tests/reliability/test_breaker.py |
| 105 | what is retried, and what is not | tests/reliability/test_retry.py; tests/policy/test_retrying.py |
| 107 | a fallback to another provider | tests/reliability/test_fallback.py |
| 108 | a first token that does not come | tests/reliability/test_fallback.py in all dialects |
| 109 | the same request twice | tests/reliability/test_cache.py |
| 111 | what makes two requests the same | tests/policy/test_caching.py |
| 112 | twenty identical misses at once | tests/reliability/test_flights.py |
| 113 | a database that cannot be written | tests/store/test_writer.py |
| 115 | a body of 30 MB | tests/server/test_limits.py; bench/stalls.py |
| 116 | SIGTERM with live streams | tests/process/test_life.py |

Cases 102, 106, 110 and 114 do not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider, streamed, whole
from tests.reliability.test_chaos import open_files

CHAT = {"model": "gpt-4o", "messages": []}
LEAVING, AT_ONCE, STAYING = 500, 50, 200


async def test_c7_101_five_hundred_streams_left_leave_nothing_behind(proxy: Proxy, provider: FakeProvider) -> None:
    url = f"{proxy.base}/chat/completions"

    async def leave(http: aiohttp.ClientSession) -> None:
        response = await http.post(url, json={**CHAT, "stream": True})
        await response.content.readany()
        response.close()

    async def quiet() -> None:
        async with asyncio.timeout(10):
            while proxy.house.gateway.counters.active or any(one.current is not None for one in provider.connections):
                await asyncio.sleep(0)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        async with http.post(url, json=CHAT) as response:  # everything that is imported late has been
            assert response.status == 200
        await quiet()
        tasks, files = len(asyncio.all_tasks()), open_files()
        for _ in range(LEAVING // AT_ONCE):
            provider.will(*[streamed(recordings.CHAT_STREAM[:3], Act.HANG)] * AT_ONCE)
            await asyncio.gather(*[leave(http) for _ in range(AT_ONCE)])
        await quiet()
        for _ in range(STAYING // AT_ONCE):
            answers = await asyncio.gather(*[http.post(url, json=CHAT) for _ in range(AT_ONCE)])
            assert [answer.status for answer in answers] == [200] * AT_ONCE
            for answer in answers:
                await answer.read()
        await quiet()
        kept = len(provider.connections)
        assert kept <= AT_ONCE + 1, "connections that were left are closed, those that were not are used again"
    async with asyncio.timeout(10):
        # The callers' connections are closed on both sides; what is left is the pool towards the provider, two ends each.
        while len(asyncio.all_tasks()) > tasks or open_files() > files + 2 * kept:
            await asyncio.sleep(0)


async def test_c7_104_two_deployments_at_one_throttled_host_are_asked_once_each(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str]
) -> None:
    deployments = [{"name": "one", "key": "sk-one"}, {"name": "two", "key": "sk-two"}]
    proxy = await start_proxy({"providers": {"openai": {"deployments": deployments}}, "retry": {"enabled": True}}, environ)
    provider.will(*[whole({"error": {"message": "slow down", "type": "rate_limit_error"}}, 429, {"Retry-After": "60"})] * 20)
    async with aiohttp.ClientSession() as http, http.post(f"{proxy.base}/chat/completions", json=CHAT) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "60")
    keys = [request.headers["Authorization"] for request in provider.received]
    assert len(keys) == len(set(keys)) <= 3, "each credential once: a minute is not waited, and nothing is sent before it is over"
