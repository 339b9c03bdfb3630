"""Usage and cost. Each test names the number of its case; here is where every one is claimed.

| case | in | claimed |
| --- | --- | --- |
| 88 | Anthropic's cache writes | here |
| 89 | a price of one's own and cache reads | here |
| 91 | usage in two events | here |
| 92 | the same answer streamed and not | here |
| 93 | usage not asked for, and asked for | here; tests/relay/test_bytes.py |
| 95 | Gemini's thoughts and tool prompts | here |
| 96 | a chat model's usage for an Anthropic client | here |
| 97 | a caller that leaves after some tokens | here; tests/relay/test_leaving.py |

Cases 90 and 94 do not exist.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.cases.conftest import Ask
from tests.conftest import Proxy
from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider, streamed, whole

CHAT = {"model": "gpt-4o", "messages": []}
MESSAGES = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": []}
WRITTEN = {"input_tokens": 3, "cache_creation_input_tokens": 12304, "cache_read_input_tokens": 0}


async def post(client: aiohttp.ClientSession, proxy: Proxy, path: str, body: Any) -> tuple[aiohttp.ClientResponse, bytes]:
    async with client.post(f"{proxy.base}{path}", json=body) as response:
        return response, await response.read()


def message(usage: dict[str, int]) -> dict[str, Any]:
    return {**recordings.MESSAGE, "model": "claude-sonnet-4-5", "usage": usage}


def message_stream(first: dict[str, int], last: dict[str, int]) -> list[bytes]:
    start = {**message(first), "content": [], "stop_reason": None}
    return recordings.sse(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": last},
        {"type": "message_stop"},
        named=True,
    )


def counted(row: dict[str, Any]) -> tuple[int, int, int, int]:
    names = ("prompt_tokens", "prompt_cache_hit_tokens", "prompt_cache_creation_tokens", "completion_tokens")
    return tuple(row[name] or 0 for name in names)  # type: ignore[return-value]


async def test_c6_88_cache_writes_are_counted_and_paid_once(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    provider.will(streamed(message_stream({**WRITTEN, "output_tokens": 1}, {"output_tokens": 550})))
    response, _ = await post(client, proxy, "/anthropic/v1/messages", {**MESSAGES, "stream": True})
    row = await row_of(proxy, response)
    assert counted(row) == (12307, 0, 12304, 550)
    assert row["cost"] == pytest.approx(0.0544, abs=0.0001)


async def test_c6_89_a_price_of_ones_own_is_not_charged_twice(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    """100 tokens at the full price, 700 written, 200 read: never more than 1000 at the full price."""
    usage = {"input_tokens": 100, "cache_creation_input_tokens": 700, "cache_read_input_tokens": 200, "output_tokens": 0}
    own = {"prompt_unit_price": 10, "completion_unit_price": 20}
    provider.will(whole(message(usage)))
    response, _ = await post(client, proxy, "/anthropic/v1/messages", {**MESSAGES, "respan_params": own})
    row = await row_of(proxy, response)
    assert counted(row) == (1000, 200, 700, 0)
    assert 100 * 10 / 1e6 <= row["cost"] <= 1000 * 10 / 1e6


async def test_c6_91_usage_in_two_events_is_counted_once(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    whole_usage = {**WRITTEN, "output_tokens": 550}
    provider.will(streamed(message_stream(whole_usage, whole_usage)))
    response, _ = await post(client, proxy, "/anthropic/v1/messages", {**MESSAGES, "stream": True})
    assert counted(await row_of(proxy, response)) == (12307, 0, 12304, 550)


@pytest.mark.parametrize(
    ("path", "body", "unary", "stream"),
    [
        (
            "/chat/completions",
            CHAT,
            recordings.CHAT,
            [*recordings.CHAT_STREAM[:-1], recordings.CHAT_USAGE, recordings.CHAT_STREAM[-1]],
        ),
        ("/responses", {"model": "gpt-4o", "input": "x"}, recordings.RESPONSE, recordings.RESPONSES_STREAM),
        (
            "/anthropic/v1/messages",
            MESSAGES,
            message({**WRITTEN, "output_tokens": 550}),
            message_stream({**WRITTEN, "output_tokens": 1}, {"output_tokens": 550}),
        ),
    ],
    ids=["chat", "responses", "messages"],
)
async def test_c6_92_streamed_or_not_costs_the_same(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, path: str, body: Any, unary: Any, stream: Any
) -> None:
    provider.will(whole(unary), streamed(stream))
    rows = [await row_of(proxy, (await post(client, proxy, path, {**body, **more}))[0]) for more in ({}, {"stream": True})]
    assert counted(rows[0]) == counted(rows[1])
    assert rows[0]["cost"] == rows[1]["cost"] > 0


async def test_c6_92_gemini_streamed_or_not_costs_the_same(proxy: Proxy, client: aiohttp.ClientSession, row_of: Any) -> None:
    base = "/google/gemini/v1beta/models/gemini-2.5-flash"
    paths = [f"{base}:generateContent", f"{base}:streamGenerateContent?alt=sse", f"{base}:streamGenerateContent"]
    rows = [await row_of(proxy, (await post(client, proxy, path, {"contents": []}))[0]) for path in paths]
    assert counted(rows[0]) == counted(rows[1]) == counted(rows[2])
    assert rows[0]["cost"] == rows[1]["cost"] == rows[2]["cost"] > 0


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_usage": True}, {"include_obfuscation": False}])
async def test_c6_93_the_usage_chunk_is_for_who_asked_for_it(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, options: dict[str, bool] | None
) -> None:
    body = {**CHAT, "stream": True} | ({} if options is None else {"stream_options": options})
    response, got = await post(client, proxy, "/chat/completions", body)
    assert provider.last.json["stream_options"] == {**(options or {}), "include_usage": True}
    asked = bool(options and options.get("include_usage"))
    events = got.split(b"\n\n")[:-1]
    assert [b'"choices":[]' in event for event in events] == [False] * (len(events) - 2) + [asked, False]
    assert events[-1] == b"data: [DONE]"
    assert (await row_of(proxy, response))["completion_tokens"] == 5


async def test_c6_95_geminis_thoughts_and_tool_prompts_are_in_the_sums(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    usage = {
        "promptTokenCount": 199,
        "candidatesTokenCount": 29,
        "thoughtsTokenCount": 140,
        "toolUsePromptTokenCount": 248,
        "totalTokenCount": 616,
    }
    provider.will(whole({**recordings.GEMINI, "usageMetadata": usage}))
    response, _ = await post(client, proxy, "/google/gemini/v1beta/models/gemini-2.5-flash:generateContent", {"contents": []})
    row = await row_of(proxy, response)
    names = ("prompt_tokens", "completion_tokens", "reasoning_tokens", "total_request_tokens")
    assert tuple(row[name] for name in names) == (447, 169, 140, 616)


@pytest.mark.parametrize("streams", [False, True])
async def test_c6_96_a_chat_models_usage_is_whole_for_an_anthropic_client(
    ask: Ask, proxy: Proxy, provider: FakeProvider, row_of: Any, streams: bool
) -> None:
    """Also when the provider tells it behind the finish; Anthropic counts what was read from the cache apart."""
    details = {"prompt_tokens_details": {"cached_tokens": 80}, "completion_tokens_details": {"reasoning_tokens": 6}}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, **details}
    chunk = {**recordings.CHAT, "object": "chat.completion.chunk", "choices": [], "usage": usage}
    frames = [*recordings.CHAT_STREAM[:-1], *recordings.sse(chunk, "[DONE]")]
    provider.will(streamed(frames) if streams else whole({**recordings.CHAT, "usage": usage}))
    told = await ask("anthropic.messages", "gpt-4o", stream=streams)
    counted = told.events[-2]["usage"] if streams else told.json["usage"]
    assert (counted["input_tokens"], counted["cache_read_input_tokens"], counted["output_tokens"]) == (20, 80, 20)
    row = await row_of(proxy, told)
    names = ("prompt_tokens", "completion_tokens", "prompt_cache_hit_tokens", "reasoning_tokens")
    assert tuple(row[name] for name in names) == (100, 20, 80, 6)
    if streams:
        assert provider.last.json["stream_options"] == {"include_usage": True}


async def test_c6_97_what_a_caller_read_before_it_left_is_counted(proxy: Proxy, provider: FakeProvider, finished: Any) -> None:
    word = json.dumps({"id": "c1", "model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": "four"}}]})
    sent = recordings.sse(*[word] * 40)
    provider.will(streamed(sent, Act.HANG))
    async with aiohttp.ClientSession() as client:
        response = await client.post(f"{proxy.base}/chat/completions", json={**CHAT, "stream": True})
        await response.content.readexactly(len(b"".join(sent)))
        response.close()
        async with asyncio.timeout(5):
            await provider.last.gone.wait()
    row = await finished(proxy, response)
    assert (row["outcome"], row["status_code"], row["completion_tokens"], row["usage_estimated"]) == ("client_left", 499, 40, True)
