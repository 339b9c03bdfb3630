"""What providers do to the framing of streams. Each test names the number of its case; here is where every one is claimed.

| case | in | claimed |
| --- | --- | --- |
| 1 | one byte a write, text beyond ASCII | here |
| 3 | line ends of bare CR | here; tests/wire/test_sse.py |
| 4 | no space after the colon | here |
| 5 | comments between and glued before events | here; tests/relay/test_bytes.py |
| 7 | id, event and retry lines around chunks | here |
| 8 | one event in several data lines | here |
| 9 | U+2028, U+0085, VT inside JSON | here; tests/wire/test_sse.py |
| 11 | all events in one segment | here |
| 12 | one broken event in the middle of good ones | here, relayed and translated |
| 13 | Anthropic's events without names | here |
| 15 | compressed although nobody asked | here; tests/relay/test_bytes.py |

Cases 2, 6, 10 and 14 do not exist.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, in_pieces, streamed, whole

TEXT = "é日本語🎉"


@pytest.fixture
async def proxy(start_proxy: StartProxy, environ: dict[str, str]) -> Proxy:
    """Byte-true: no usage is asked for."""
    return await start_proxy({"server": {"ask_usage": False}}, environ)


def chunk(text: str = "", finish: str | None = None, **more: Any) -> str:
    delta = {"content": text} if text else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}, ensure_ascii=False)


USAGE: dict[str, Any] = {"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}
CHUNKS = [chunk(TEXT), chunk(" and on"), chunk(finish="stop", **USAGE), "[DONE]"]


def frames(template: str = "data: {}\n\n", chunks: list[str] = CHUNKS) -> bytes:
    return "".join(template.replace("{}", text) for text in chunks).encode()


async def relayed(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, sent: bytes, size: int = 1_000_000
) -> tuple[aiohttp.ClientResponse, bytes]:
    provider.will(streamed(in_pieces(sent, size)))
    async with client.post(f"{proxy.base}/chat/completions", json={"model": "gpt-4o", "messages": [], "stream": True}) as response:
        return response, await response.read()


def said(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["completion_message"]["content"], row["status"], row["completion_tokens"]


COMPLETE = (f"{TEXT} and on", "success", 2)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(frames(), id="01, 11: plain"),
        pytest.param(frames("data: {}\r\r"), id="03: bare CR"),
        pytest.param(frames("data: {}\r\n\r\n"), id="CRLF"),
        pytest.param(frames("data:{}\n\n"), id="04: no space"),
        pytest.param(frames("event:x\ndata:{}\n\n"), id="04: no space, with a name"),
        pytest.param(b": OPENROUTER PROCESSING\n\n" + frames(": OPENROUTER PROCESSING\n\ndata: {}\n\n"), id="05: comments between"),
        pytest.param(frames(": OPENROUTER PROCESSING\ndata: {}\n\n"), id="05: comments glued"),
        pytest.param(frames("id: 7\nevent: message\nretry: 100\ndata: {}\n\n"), id="07: id, event, retry"),
        pytest.param(frames("retry: 100\n\ndata: {}\n\n"), id="07: a frame without data"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
async def test_c1_streams_pass_byte_for_byte_and_are_understood(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, sent: bytes, size: int
) -> None:
    """Cases 1, 3, 4, 5, 7, 11."""
    response, got = await relayed(proxy, provider, client, sent, size)
    assert got == sent
    assert said(await row_of(proxy, response)) == COMPLETE


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
async def test_c1_08_an_event_in_several_data_lines_is_one(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, size: int
) -> None:
    pretty = [json.dumps(json.loads(text), indent=1, ensure_ascii=False).replace("\n", "\ndata: ") for text in CHUNKS[:-1]]
    sent = frames(chunks=[*pretty, "[DONE]"])
    response, got = await relayed(proxy, provider, client, sent, size)
    assert got == sent
    assert said(await row_of(proxy, response)) == COMPLETE


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
async def test_c1_09_separators_of_unicode_are_no_line_ends(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, separator: str
) -> None:
    escaped = separator if separator > "\x1f" else f"\\u{ord(separator):04x}"  # JSON holds control characters only escaped
    sent = frames().replace(TEXT.encode(), f"a{escaped}b".encode())
    response, got = await relayed(proxy, provider, client, sent)
    assert got == sent
    assert (await row_of(proxy, response))["completion_message"]["content"] == f"a{separator}b and on"


async def test_c1_12_one_broken_event_among_sixty_spoils_nothing(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    sent = frames(chunks=[*[chunk("a")] * 30, '{"id": "c1", "cho', *[chunk("b")] * 30, *CHUNKS[2:]])
    response, got = await relayed(proxy, provider, client, sent, 100)
    assert got == sent
    row = await row_of(proxy, response)
    assert row["completion_message"]["content"] == "a" * 30 + "b" * 30 and row["outcome"] == "complete"


@pytest.mark.parametrize("size", [1, 100])
async def test_c1_12_one_broken_event_among_sixty_is_left_out_of_a_translation(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, size: int
) -> None:
    sent = frames(chunks=[*[chunk("a")] * 30, '{"id": "c1", "cho', *[chunk("b")] * 30, *CHUNKS[2:]])
    provider.will(streamed(in_pieces(sent, size)))
    body = {"model": "gpt-4o", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with client.post(f"{proxy.base}/anthropic/v1/messages", json=body) as response:
        got = (await response.read()).decode()
    events = [json.loads(line.removeprefix("data: ")) for line in got.splitlines() if line.startswith("data: ")]
    text = "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")
    assert text == "a" * 30 + "b" * 30 and events[-1]["type"] == "message_stop"
    assert (await row_of(proxy, response))["outcome"] == "complete"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 50, 1_000_000])
async def test_c1_13_anthropics_events_are_given_the_names_they_lack(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, size: int, end: bytes
) -> None:
    """Its SDKs drop events without one."""
    named = b"".join(recordings.MESSAGES_STREAM).replace(b"\n", end)
    nameless = b"".join(line for line in named.splitlines(keepends=True) if not line.startswith(b"event:"))
    provider.will(streamed(in_pieces(nameless, size)))
    body = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [], "stream": True}
    async with client.post(f"{proxy.base}/anthropic/v1/messages", json=body) as response:
        assert await response.read() == named


@pytest.mark.parametrize("stream", [False, True])
async def test_c1_15_a_compressed_answer_arrives_readable_and_is_counted(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, stream: bool
) -> None:
    plain = frames() if stream else json.dumps(recordings.CHAT).encode()
    packed = gzip.compress(plain, mtime=0)
    headers = {"Content-Encoding": "gzip"}
    provider.will(streamed(in_pieces(packed, 9), headers=headers) if stream else whole(packed, headers=headers))
    request = {"model": "gpt-4o", "messages": [], "stream": stream}
    async with client.post(f"{proxy.base}/chat/completions", json=request, headers={"Accept-Encoding": "gzip"}) as response:
        got = await response.read()
        if "Content-Encoding" in response.headers:
            got = gzip.decompress(got)
    assert got == plain
    assert (await row_of(proxy, response))["completion_tokens"] > 0
