"""Streams of megabytes: every byte passes, the row keeps the beginning and what the end tells."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from respan_proxy.handlers.observe import KEPT_BYTES
from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, streamed

CASES: dict[str, tuple[str, dict[str, Any], list[bytes], bytes]] = {
    "chat": (
        "/chat/completions",
        {"model": "gpt-4o", "messages": [], "stream": True},
        recordings.CHAT_STREAM,
        recordings.CHAT_USAGE,
    ),
    "messages": (
        "/anthropic/v1/messages",
        {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [], "stream": True},
        recordings.MESSAGES_STREAM,
        b"",
    ),
}


def long(frames: list[bytes], index: int, before_last: bytes, size: int) -> list[bytes]:
    """The frames with one of them so often that all are longer than `size`, some 100 KB a piece."""
    many = frames[index] * (100_000 // len(frames[index]))
    return [*frames[: index + 1], *[many] * (size // len(many) + 1), *frames[index + 1 : -1], before_last + frames[-1]]


@pytest.mark.parametrize("name", CASES)
async def test_of_a_stream_over_8_mb_the_row_keeps_the_beginning_and_counts_by_the_end(
    start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, name: str
) -> None:
    proxy = await start_proxy({"server": {"ask_usage": False}}, environ)
    path, body, frames, usage = CASES[name]
    sent = long(frames, 3 if name == "messages" else 1, usage, KEPT_BYTES + 1_000_000)
    provider.will(streamed(sent))
    async with client.post(f"{proxy.base}{path}", json=body) as response:
        got = await response.read()
    assert got == b"".join(sent)
    row = await row_of(proxy, response)
    assert (row["status"], row["outcome"], row["content_cut"]) == ("success", "complete", True)
    assert row["answer_bytes"] == len(got) and row["completion_tokens"] > 0 and not row["usage_estimated"]
    assert row["finish_reason"] == "stop"


async def test_a_long_stream_that_nobody_counted_is_estimated(
    start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    proxy = await start_proxy({"server": {"ask_usage": False}}, environ)
    path, body, frames, _ = CASES["chat"]
    sent = long(frames, 1, b"", 2_000_000)
    provider.will(streamed(sent))
    async with client.post(f"{proxy.base}{path}", json=body) as response:
        assert await response.read() == b"".join(sent)
    row = await row_of(proxy, response)
    texts = b"".join(sent).count(b"H\xc3\xa9llo ")
    assert row["usage_estimated"] and row["completion_tokens"] == pytest.approx(texts * 7 / 4, rel=0.02)


async def test_a_long_stream_that_just_ends_is_a_break(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    path, body, frames, _ = CASES["chat"]
    sent = long(frames, 1, b"", KEPT_BYTES + 1_000_000)[:-3]
    provider.will(streamed(sent))
    async with client.post(f"{proxy.base}{path}", json=body) as response:
        got = await response.read()
    assert got.startswith(b"".join(sent)) and b'data: {"error":' in got[-1000:]
    assert (await row_of(proxy, response))["outcome"] == "upstream_broke"
