"""Errors in and around streams. Each test names the number of its case; here is where every one is claimed.

| case | in | claimed |
| --- | --- | --- |
| 16 | an error event after three deltas | here (native); tests/sdk/test_anthropic.py |
| 17 | a 200 whose first event is an error | here; tests/relay/test_breaks.py in all dialects |
| 19 | a failure of a responses stream | here; tests/sdk/test_openai.py |
| 20 | a connection cut after three events | here; tests/relay/test_breaks.py in all dialects |
| 21 | an error in band, with a code of its own | here |
| 23 | 429 with Retry-After | here |
| 24 | 502 with a page of HTML | here; tests/relay/test_breaks.py in all dialects |
| 25 | Google's RetryInfo | here |

Cases 18 and 22 do not exist; retries and fallbacks (17, 23, 25) and translated clients (16) come with those.
"""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy
from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider, streamed, whole

CHAT = {"model": "gpt-4o", "messages": [], "stream": True}
MESSAGES = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [], "stream": True}
OVERLOADED = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'


async def post(client: aiohttp.ClientSession, proxy: Proxy, path: str, body: Any) -> tuple[aiohttp.ClientResponse, bytes]:
    async with client.post(f"{proxy.base}{path}", json=body) as response:
        return response, await response.read()


async def test_c2_16_an_error_event_passes_and_is_remembered(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    sent = [*recordings.MESSAGES_STREAM[:2], *[recordings.MESSAGES_STREAM[3]] * 3, OVERLOADED]
    provider.will(streamed(sent))
    response, got = await post(client, proxy, "/anthropic/v1/messages", MESSAGES)
    assert got == b"".join(sent)
    row = await row_of(proxy, response)
    assert row["status"] == "failed" and "Overloaded" in row["error_message"]


async def test_c2_17_an_error_first_is_no_200(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any) -> None:
    provider.will(streamed(OVERLOADED))
    response, got = await post(client, proxy, "/anthropic/v1/messages", MESSAGES)
    assert response.status == 529 and json.loads(got)["error"] == {"type": "overloaded_error", "message": "Overloaded"}
    row = await row_of(proxy, response)
    assert (row["status"], row["status_code"]) == ("failed", 529)


async def test_c2_19_a_responses_stream_that_failed_says_so_after_it_was_created(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    """The SDK raises on a stream that does not begin with response.created."""
    provider.will(streamed(recordings.RESPONSES_STREAM[:3], Act.CUT))
    response, got = await post(client, proxy, "/responses", {"model": "gpt-4o", "input": "x", "stream": True})
    events = [json.loads(frame.partition(b"data: ")[2]) for frame in got.split(b"\n\n") if frame]
    assert response.status == 200 and events[0]["type"] == "response.created"
    assert events[-1]["type"] == "response.failed" and events[-1]["sequence_number"] == len(events) - 1
    provider.will(streamed(b": nothing\n\n", Act.CUT))
    response, got = await post(client, proxy, "/responses", {"model": "gpt-4o", "input": "x", "stream": True})
    assert response.status == 502 and json.loads(got)["error"]["message"]


@pytest.mark.parametrize("act", [Act.CUT, Act.RESET])
async def test_c2_20_a_cut_is_never_a_clean_end(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, act: Act
) -> None:
    provider.will(streamed(recordings.CHAT_STREAM[:3], act))
    response, got = await post(client, proxy, "/chat/completions", CHAT)
    *_, last, end = got.split(b"\n\n")
    assert json.loads(last.removeprefix(b"data: "))["error"]["message"] and not end and b"[DONE]" not in got
    assert (await row_of(proxy, response))["outcome"] == "upstream_broke"


async def test_c2_21_an_error_in_band_keeps_its_own_words(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    error = b'data: {"error":{"message":"it went boom","type":"strange_error","code":"boom"}}\n\n'
    provider.will(streamed(recordings.CHAT_STREAM[:2], error))
    _, got = await post(client, proxy, "/chat/completions", CHAT)
    assert got == b"".join(recordings.CHAT_STREAM[:2]) + error
    provider.will(streamed(error))
    _, got = await post(client, proxy, "/chat/completions", CHAT)
    told = json.loads(got)["error"]
    assert (told["message"], told["code"]) == ("it went boom", "boom")


@pytest.mark.parametrize("wait", ["7", "7.5", "Wed, 21 Oct 2037 07:28:00 GMT"])
async def test_c2_23_retry_after_is_handed_on(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, wait: str) -> None:
    provider.will(whole(recordings.openai_error(429), 429, {"Retry-After": wait}))
    response, _ = await post(client, proxy, "/chat/completions", CHAT)
    assert (response.status, response.headers["retry-after"]) == (429, wait)


async def test_c2_24_a_page_of_html_becomes_an_error_of_the_dialect(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    provider.will(whole(b"<html>" + b"x" * 100_000, 502, {"Content-Type": "text/html"}))
    response, got = await post(client, proxy, "/anthropic/v1/messages", MESSAGES)
    assert response.status == 502 and len(got) < 3_000
    assert json.loads(got)["error"]["type"] == "api_error"


@pytest.mark.parametrize("delay", ["13s", "12.3s"])
async def test_c2_25_googles_delay_becomes_a_header(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, delay: str
) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    error = {"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": details}}
    provider.will(whole(error, 429))
    response, got = await post(client, proxy, "/google/gemini/v1beta/models/gemini-2.5-flash:generateContent", {"contents": []})
    assert (response.status, response.headers["Retry-After"], json.loads(got)) == (429, "13", error)
