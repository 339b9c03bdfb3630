"""Errors in and around streams. Each test names the number of its case; here is where every one is claimed.

| case | in | claimed |
| --- | --- | --- |
| 16 | an error event after three deltas | here, relayed and translated; tests/sdk/test_anthropic.py |
| 17 | a 200 whose first event is an error | here; tests/relay/test_breaks.py in all dialects |
| 19 | a failure of a responses stream | here, relayed and translated; tests/sdk/test_openai.py |
| 20 | a connection cut after three events | here; tests/relay/test_breaks.py in all dialects |
| 21 | an error in band, with a code of its own | here |
| 23 | 429 with Retry-After | here, relayed and translated |
| 24 | 502 with a page of HTML | here, relayed and translated; tests/relay/test_breaks.py in all dialects |
| 25 | Google's RetryInfo | here, relayed and translated |

Cases 18 and 22 do not exist. Retried and fallen back from (17, 23, 25): tests/reliability/test_misbehaviour.py, test_retry.py
"""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tests.cases.conftest import Ask
from tests.conftest import Proxy
from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider, streamed, whole

CHAT = {"model": "gpt-4o", "messages": [], "stream": True}
MESSAGES = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [], "stream": True}
FOREIGN = [("openai.chat", "claude-sonnet-4-5"), ("anthropic.messages", "gpt-4o"), ("gemini", "gpt-4o")]
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


async def test_c2_16_an_error_event_is_told_to_a_chat_client_and_nothing_follows(
    ask: Ask, proxy: Proxy, provider: FakeProvider, row_of: Any
) -> None:
    provider.will(streamed([*recordings.MESSAGES_STREAM[:2], *[recordings.MESSAGES_STREAM[3]] * 3, OVERLOADED]))
    told = await ask("openai.chat", "claude-sonnet-4-5", stream=True)
    *said, last = told.events
    # OpenAI has no type for it; what it is called there is the contract of the vectors (033_c2a_err_overloaded_529).
    assert {name: last["error"][name] for name in ("message", "type", "code")} == {
        "message": "Overloaded",
        "type": "server_error",
        "code": "overloaded",
    }
    assert [choice["finish_reason"] for event in said for choice in event["choices"]] == [None] * len(said)
    row = await row_of(proxy, told)
    assert row["status"] == "failed" and "Overloaded" in row["error_message"]


async def test_c2_16_a_failed_response_says_so_to_an_anthropic_client(ask: Ask, provider: FakeProvider) -> None:
    error = {"error": {"message": "it went boom", "type": "server_error", "code": None}}
    provider.will(streamed(recordings.CHAT_STREAM[:2], recordings.sse(error)))
    told = await ask("anthropic.messages", "gpt-4o", stream=True)
    assert told.events[-1]["type"] == "error" and told.events[-1]["error"]["message"] == "it went boom"
    assert not [event for event in told.events if event["type"] in ("message_delta", "message_stop")]


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


@pytest.mark.parametrize("failure", [OVERLOADED, Act.CUT, Act.RESET])
@pytest.mark.parametrize("said", [2, 4])
async def test_c2_19_a_translated_responses_stream_fails_after_it_was_created(
    ask: Ask, provider: FakeProvider, failure: bytes | Act, said: int
) -> None:
    provider.will(streamed(recordings.MESSAGES_STREAM[:said], failure))
    told = await ask("openai.responses", "claude-sonnet-4-5", stream=True)
    events = told.events
    assert events[0]["type"] == "response.created" and events[-1]["type"] == "response.failed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"]["error"]["message"]


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


@pytest.mark.parametrize(
    ("dialect", "model"), [("openai.chat", "claude-sonnet-4-5"), ("anthropic.messages", "gpt-4o"), ("gemini", "gpt-4o")]
)
async def test_c2_23_retry_after_is_handed_on_to_foreign_clients(ask: Ask, provider: FakeProvider, dialect: str, model: str) -> None:
    error = recordings.anthropic_error(429, "rate_limit_error") if model.startswith("claude") else recordings.openai_error(429)
    provider.will(whole(error, 429, {"Retry-After": "7"}))
    told = await ask(dialect, model)
    assert (told.status, told.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize(
    ("dialect", "model"), [("openai.chat", "claude-sonnet-4-5"), ("anthropic.messages", "gpt-4o"), ("gemini", "gpt-4o")]
)
async def test_c2_24_a_page_of_html_becomes_an_error_of_a_foreign_clients_dialect(
    ask: Ask, provider: FakeProvider, dialect: str, model: str
) -> None:
    provider.will(whole(b"<html>" + b"x" * 100_000, 502, {"Content-Type": "text/html"}))
    told = await ask(dialect, model)
    assert told.status == 502 and len(told.text) < 3_000 and told.json["error"]["message"]


async def test_c2_24_a_page_of_html_becomes_an_error_of_the_dialect(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    provider.will(whole(b"<html>" + b"x" * 100_000, 502, {"Content-Type": "text/html"}))
    response, got = await post(client, proxy, "/anthropic/v1/messages", MESSAGES)
    assert response.status == 502 and len(got) < 3_000
    assert json.loads(got)["error"]["type"] == "api_error"


@pytest.mark.parametrize("dialect", ["openai.chat", "openai.responses", "anthropic.messages"])
async def test_c2_25_googles_delay_reaches_foreign_clients(ask: Ask, provider: FakeProvider, dialect: str) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "13s"}]
    provider.will(whole({"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": details}}, 429))
    told = await ask(dialect, "gemini-2.5-flash")
    assert (told.status, told.headers["Retry-After"]) == (429, "13")


@pytest.mark.parametrize("delay", ["13s", "12.3s"])
async def test_c2_25_googles_delay_becomes_a_header(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, delay: str
) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    error = {"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": details}}
    provider.will(whole(error, 429))
    response, got = await post(client, proxy, "/google/gemini/v1beta/models/gemini-2.5-flash:generateContent", {"contents": []})
    assert (response.status, response.headers["Retry-After"], json.loads(got)) == (429, "13", error)
