"""Answers that are odd but HTTP: other statuses, no length, wrong or unasked encodings, whole where a stream was asked for."""

from __future__ import annotations

import gzip
import json
from typing import Any

import aiohttp
import pytest

from tests.conftest import OPENAI_KEY, Proxy
from tests.fakes import recordings
from tests.fakes.provider import Act, Answer, FakeProvider, streamed, whole

CALLS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "chat": ("/chat/completions", {"model": "gpt-4o", "messages": []}, recordings.CHAT),
    "responses": ("/responses", {"model": "gpt-4o", "input": "hi"}, recordings.RESPONSE),
    "messages": ("/anthropic/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": []}, recordings.MESSAGE),
}
GEMINI = {
    False: "/google/gemini/v1/models/gemini-2.5-flash:generateContent",
    True: "/google/gemini/v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
}
NAMES = [*CALLS, "gemini"]


async def call(client: aiohttp.ClientSession, proxy: Proxy, name: str, stream: bool = False) -> tuple[aiohttp.ClientResponse, bytes]:
    path, body = (GEMINI[stream], {"contents": []}) if name == "gemini" else CALLS[name][:2]
    if stream and name != "gemini":
        body = {**body, "stream": True}
    async with client.post(f"{proxy.base}{path}", json=body, allow_redirects=False) as response:
        return response, await response.read()


def answer_of(name: str) -> bytes:
    return json.dumps(recordings.GEMINI if name == "gemini" else CALLS[name][2]).encode()


def raw(*steps: Any) -> Answer:
    return Answer(steps=steps, raw=True)


def http(body: bytes, status: str = "200 OK", *headers: str, length: bool = True, version: str = "1.1") -> bytes:
    lines = [f"HTTP/{version} {status}", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@pytest.mark.parametrize("hint", ["100 Continue", "102 Processing", "103 Early Hints"])
@pytest.mark.parametrize("name", NAMES)
async def test_a_word_before_the_answer_is_passed_over(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, name: str, hint: str
) -> None:
    body = answer_of(name)
    provider.will(raw(f"HTTP/1.1 {hint}\r\nLink: </a>\r\n\r\n".encode() + http(body, "200 OK", "Content-Type: application/json")))
    response, got = await call(client, proxy, name)
    assert (response.status, got) == (200, body)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("name", NAMES)
async def test_an_answer_without_a_length_ends_with_its_connection(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, name: str, version: str
) -> None:
    body = answer_of(name)
    head = ("Content-Type: application/json", "Connection: close")
    provider.will(raw(http(body[:50], "200 OK", *head, length=False, version=version), body[50:], Act.CUT))
    response, got = await call(client, proxy, name)
    assert (response.status, got) == (200, body)
    assert response.headers.get("Connection") is None


@pytest.mark.parametrize("name", NAMES)
async def test_a_stream_without_chunks_ends_with_its_connection(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, name: str
) -> None:
    frames = {
        "chat": recordings.CHAT_STREAM,
        "responses": recordings.RESPONSES_STREAM,
        "messages": recordings.MESSAGES_STREAM,
        "gemini": recordings.GEMINI_STREAM,
    }[name]
    provider.will(raw(http(b"", "200 OK", "Content-Type: text/event-stream", length=False, version="1.0"), *frames, Act.CUT))
    response, got = await call(client, proxy, name, stream=True)
    assert got == b"".join(frames)
    assert (await row_of(proxy, response))["outcome"] == "complete"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", ["204 No Content", "205 Reset Content", "304 Not Modified"])
@pytest.mark.parametrize("name", NAMES)
async def test_an_answer_without_a_body_is_a_502(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, name: str, status: str, stream: bool
) -> None:
    provider.will(raw(http(b"", status, length=status.startswith("205"))))
    response, got = await call(client, proxy, name, stream)
    assert response.status == 502 and status[:3].encode() in got


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", NAMES)
async def test_a_redirect_is_neither_followed_nor_handed_on(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, name: str, status: int, stream: bool
) -> None:
    """A client that followed it would take the gateway's key there."""
    provider.will(whole(b"", status, {"Location": f"{provider.url}/elsewhere?sig=abc"}))
    response, got = await call(client, proxy, name, stream)
    assert response.status == 502 and "Location" not in response.headers
    assert f"{provider.url}/elsewhere".encode() in got and b"sig=abc" not in got
    assert len(provider.received) == 1


@pytest.mark.parametrize("name", CALLS)
async def test_a_provider_that_does_not_stream_is_relayed_whole(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, name: str
) -> None:
    provider.will(whole(answer_of(name)))
    response, got = await call(client, proxy, name, stream=True)
    assert (response.status, got) == (200, answer_of(name))
    row = await row_of(proxy, response)
    assert (row["status"], row["outcome"]) == ("success", "complete") and row["completion_tokens"] > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frame", [b"data: garbage\n\n", b"data: [DONE]\n\n", b'data: {"cut": "in the mid\n\n', b"data: 42\n\n"])
async def test_a_stream_that_begins_without_json_is_a_502(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, name: str, frame: bytes
) -> None:
    provider.will(streamed(frame, b"data: [DONE]\n\n"))
    response, got = await call(client, proxy, name, stream=True)
    assert response.status == 502 and json.loads(got)["error"]["message"]


async def test_empty_data_before_the_first_event_is_a_keep_alive(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    sent = b"data:\n\n: wait\n\ndata: \n\n" + b"".join(recordings.CHAT_STREAM)
    provider.will(streamed(sent))
    response, got = await call(client, proxy, "chat", stream=True)
    assert (response.status, got) == (200, sent)


@pytest.mark.parametrize("name", NAMES)
async def test_a_compressed_error_is_read_and_the_key_in_it_hidden(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, name: str
) -> None:
    from tests.conftest import ANTHROPIC_KEY, GEMINI_KEY

    key = {"messages": ANTHROPIC_KEY, "gemini": GEMINI_KEY}.get(name, OPENAI_KEY)
    body = gzip.compress(json.dumps({"error": {"message": f"bad key {key}", "type": "x", "code": 400}}).encode())
    provider.will(whole(body, 400, {"Content-Encoding": "gzip"}))
    response, got = await call(client, proxy, name)
    assert response.status == 400 and "Content-Encoding" not in response.headers
    assert b"bad key ***" in got and key not in json.dumps(await row_of(proxy, response))


@pytest.mark.parametrize(
    "body", [f"no such key: {OPENAI_KEY}", json.dumps({"detail": f"no such key: {OPENAI_KEY}"})], ids=["text", "fastapi"]
)
async def test_a_key_in_an_error_of_another_shape_is_hidden_everywhere(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, body: str
) -> None:
    provider.will(whole(body, 401))
    response, got = await call(client, proxy, "chat")
    assert response.status == 401 and json.loads(got)["error"]["message"] == "no such key: ***"
    assert OPENAI_KEY not in json.dumps(await row_of(proxy, response))


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("status", "within"), [(200, 80), (401, 2000)])
async def test_a_key_is_hidden_where_what_is_told_of_a_page_would_cut_it_in_two(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, streams: bool, status: int, within: int
) -> None:
    text = "x" * (within - 12) + OPENAI_KEY
    provider.will(streamed([f"data: {text}\n\n".encode()]) if streams and status == 200 else whole(text, status))
    response, got = await call(client, proxy, "chat", stream=streams)
    assert response.status >= 400
    for shown in (got.decode(), json.dumps(await row_of(proxy, response))):
        assert OPENAI_KEY[:10] not in shown


async def test_a_key_in_a_long_error_is_hidden_too(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    provider.will(whole({"error": {"message": "x" * 100_000 + OPENAI_KEY, "code": "x"}}, 400))
    response, got = await call(client, proxy, "chat")
    assert OPENAI_KEY.encode() not in got and len(got) > 100_000
    assert OPENAI_KEY not in json.dumps(await row_of(proxy, response))


async def test_a_200_that_is_not_what_its_encoding_says_is_a_502(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    provider.will(whole(b'{"a": 1}', headers={"Content-Encoding": "gzip"}))
    response, got = await call(client, proxy, "chat")
    assert response.status == 502 and b"gzip" in got and "Content-Encoding" not in response.headers


async def test_an_encoding_that_nobody_here_reads_passes_whole_and_is_refused_in_a_stream(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    provider.will(whole(b"\x1b\x00\x00\x00", headers={"Content-Encoding": "br"}))
    response, got = await call(client, proxy, "chat")
    assert (response.status, response.headers["Content-Encoding"], got) == (200, "br", b"\x1b\x00\x00\x00")
    provider.will(streamed(b"\x1b\x00\x00\x00", headers={"Content-Encoding": "br"}))
    response, got = await call(client, proxy, "chat", stream=True)
    assert response.status == 502 and b"'openai'" in got and b"br" in got


async def test_an_error_inside_a_compressed_200_is_found(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    provider.will(whole(gzip.compress(b'{"error":{"message":"busy","code":503}}'), headers={"Content-Encoding": "gzip"}))
    response, got = await call(client, proxy, "chat")
    assert response.status == 503 and b"busy" in got


async def test_an_answer_that_is_no_http_says_so(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    provider.will(raw(b"HTTP/1.1 200 OK\r\nBad Header: 1\r\nContent-Length: 2\r\n\r\n{}"))
    response, got = await call(client, proxy, "chat")
    assert response.status == 502 and b"not HTTP" in got


async def test_a_break_that_nothing_in_band_can_tell_cuts_the_callers_connection(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, finished: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Audio: half a file must not look like a whole one."""
    provider.will(Answer(200, (("Content-Type", "audio/mpeg"), ("Transfer-Encoding", "chunked")), [b"\xff\xfb\x00", Act.CUT]))
    async with client.post(f"{proxy.base}/audio/speech", json={"model": "tts-1", "input": "x"}) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    row = await finished(proxy, response)
    assert (row["status"], row["outcome"], row["answer_bytes"]) == ("failed", "upstream_broke", 3) and row["error_message"]
    assert "Traceback" not in caplog.text
