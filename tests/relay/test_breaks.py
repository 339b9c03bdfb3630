"""What providers do to a call, and what the caller and the row are told: never a clean end, never a hang, never a key."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
from typing import Any

import aiohttp
import pytest

from respan_proxy.store.bodies import unpack
from tests.conftest import ANTHROPIC_KEY, OPENAI_KEY, Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Act, Answer, FakeProvider, garbage, html, silent, streamed, whole

CHAT = {"model": "gpt-4o", "messages": []}
DIALECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/chat/completions", {**CHAT, "stream": True}),
    "responses": ("/responses", {"model": "gpt-4o", "input": "hi", "stream": True}),
    "messages": ("/anthropic/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [], "stream": True}),
    "gemini": ("/google/gemini/v1/models/gemini-2.5-flash:streamGenerateContent?alt=sse", {"contents": []}),
}
BEGINNINGS = {
    "chat": recordings.CHAT_STREAM[:2],
    "responses": recordings.RESPONSES_STREAM[:4],
    "messages": recordings.MESSAGES_STREAM[:3],
    "gemini": recordings.GEMINI_STREAM[:1],
}
ERROR_MARKS = {
    "chat": b'data: {"error":{',
    "responses": b"event: response.failed\n",
    "messages": b'event: error\ndata: {"type":"error"',
    "gemini": b'data: {"error":{"code":502',
}


async def call(client: aiohttp.ClientSession, proxy: Proxy, name: str) -> tuple[aiohttp.ClientResponse, bytes]:
    path, body = DIALECTS[name]
    async with client.post(f"{proxy.base}{path}", json=body) as response:
        return response, await response.read()


def code_of(name: str, body: bytes) -> object:
    """The error's own words in the dialect's place for them."""
    error = json.loads(body)["error"]
    return error.get("status") if name == "gemini" else error["type"]


@pytest.mark.parametrize("ending", [Act.RESET, Act.CUT])
@pytest.mark.parametrize("name", DIALECTS)
async def test_a_break_ends_with_the_dialects_error_event(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, name: str, ending: Act
) -> None:
    whole_frames = b"".join(BEGINNINGS[name])
    provider.will(streamed(BEGINNINGS[name], b"data: {half a frame", ending))
    response, body = await call(client, proxy, name)
    assert body.startswith(whole_frames)
    assert body[len(whole_frames) :].startswith(ERROR_MARKS[name]) and b"half a frame" not in body
    row = await row_of(proxy, response)
    assert (row["status"], row["outcome"]) == ("failed", "upstream_broke")


@pytest.mark.parametrize("name", DIALECTS)
async def test_half_a_frame_at_a_clean_end_is_dropped_before_the_error_event(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, name: str
) -> None:
    whole_frames = b"".join(BEGINNINGS[name])
    provider.will(streamed(BEGINNINGS[name], b'data: {"half a frame'))
    _, body = await call(client, proxy, name)
    assert body.startswith(whole_frames)
    assert body[len(whole_frames) :].startswith(ERROR_MARKS[name]) and b"half a frame" not in body


@pytest.mark.parametrize("name", DIALECTS)
async def test_a_stream_that_just_ends_is_a_break(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, name: str
) -> None:
    provider.will(streamed(BEGINNINGS[name]))
    response, body = await call(client, proxy, name)
    assert ERROR_MARKS[name] in body
    assert (await row_of(proxy, response))["outcome"] == "upstream_broke"


ERRORS_FIRST = {
    "chat": b'data: {"error":{"message":"Overloaded","type":"overloaded_error","code":"boom"}}\n\n',
    "responses": b'event: error\ndata: {"type":"error","code":"rate_limit_exceeded","message":"slow down","sequence_number":0}\n\n',
    "messages": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
    "gemini": b'data: {"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}\r\n\r\n',
}
STATUS_FIRST = {"chat": 503, "responses": 429, "messages": 529, "gemini": 503}


@pytest.mark.parametrize("name", DIALECTS)
async def test_a_200_that_begins_with_an_error_is_that_error(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, name: str
) -> None:
    provider.will(streamed(b": hold on\n\n" if name != "gemini" else b"\r\n", ERRORS_FIRST[name]))
    response, body = await call(client, proxy, name)
    assert response.status == STATUS_FIRST[name], body
    assert response.headers["Content-Type"].startswith("application/json")
    assert code_of(name, body)
    row = await row_of(proxy, response)
    assert (row["status"], row["status_code"]) == ("failed", STATUS_FIRST[name])


@pytest.mark.parametrize("name", DIALECTS)
async def test_an_error_in_the_middle_passes_and_is_remembered_as_one(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, name: str
) -> None:
    sent = b"".join(BEGINNINGS[name]) + ERRORS_FIRST[name]
    provider.will(streamed(sent))
    response, body = await call(client, proxy, name)
    assert body == sent
    row = await row_of(proxy, response)
    assert (row["status"], row["outcome"]) == ("failed", "upstream_broke")


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("answer", ["empty", "html", "cut"])
async def test_a_200_without_an_answer_is_a_502(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, name: str, answer: str
) -> None:
    body = {"empty": b"", "html": b"<html>hello</html>", "cut": b'{"id": "c1", "choices": ['}[answer]
    provider.will(whole(body))
    response, told = await call(client, proxy, name)
    assert response.status == 502, told
    assert code_of(name, told)


@pytest.mark.parametrize("name", DIALECTS)
async def test_html_becomes_an_error_of_the_dialect_and_is_remembered_as_it_was(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, name: str
) -> None:
    provider.will(html(502))
    response, body = await call(client, proxy, name)
    assert response.status == 502 and response.headers["Content-Type"] == "application/json"
    assert "502" in json.loads(body)["error"]["message"]
    assert "<h1>502 Bad Gateway</h1>" in (await row_of(proxy, response))["full_response"]


async def test_a_providers_own_error_passes_with_its_headers(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    error = b'{"error": {"message":"slow down","type":"tokens","param":null,"code":"rate_limit_exceeded"}}'
    provider.will(whole(error, 429, {"Retry-After": "7", "x-request-id": "req_9"}))
    response, body = await call(client, proxy, "chat")
    assert (response.status, body, response.headers["Retry-After"]) == (429, error, "7")
    row = await row_of(proxy, response)
    assert (row["status"], row["status_code"], row["upstream_request_id"], row["outcome"]) == ("failed", 429, "req_9", "complete")
    assert "slow down" in row["error_message"]


@pytest.mark.parametrize("name", DIALECTS)
async def test_a_provider_that_never_begins_is_given_up(
    start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, name: str
) -> None:
    proxy = await start_proxy({"timeouts": {"first_byte_s": 0.05}}, environ)
    provider.will(silent())
    response, body = await call(client, proxy, name)
    assert response.status == 504, body
    async with asyncio.timeout(5):
        await provider.last.gone.wait()
    row = await row_of(proxy, response)
    assert (row["outcome"], row["status_code"]) == ("unavailable", 504)


@pytest.mark.parametrize("name", DIALECTS)
async def test_a_provider_that_falls_silent_is_given_up_in_its_stream(
    start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider, client: aiohttp.ClientSession, name: str
) -> None:
    proxy = await start_proxy({"timeouts": {"silence_s": 0.05}}, environ)
    provider.will(streamed(BEGINNINGS[name], Act.HANG))
    response, body = await call(client, proxy, name)
    assert response.status == 200
    assert b"sent nothing for 0.05 s" in body
    async with asyncio.timeout(5):
        await provider.last.gone.wait()


async def test_a_provider_that_refuses_is_named(start_proxy: StartProxy, client: aiohttp.ClientSession, row_of: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    proxy = await start_proxy({}, {"OPENAI_API_KEY": OPENAI_KEY, "RESPAN_PROXY_OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"})
    response, body = await call(client, proxy, "chat")
    assert response.status == 502 and f"127.0.0.1:{port}" in json.loads(body)["error"]["message"]
    row = await row_of(proxy, response)
    assert (row["outcome"], row["status"]) == ("unavailable", "failed")
    assert row["attempts"][0]["error"]


async def test_garbage_instead_of_http_is_a_502(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    provider.will(garbage())
    response, _ = await call(client, proxy, "chat")
    assert response.status == 502


async def test_a_whole_answer_that_breaks_off_is_a_502(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    provider.will(Answer(200, (("Content-Type", "application/json"), ("Content-Length", "1000")), [b'{"id":', Act.CUT]))
    async with client.post(f"{proxy.base}/chat/completions", json=CHAT) as response:
        assert response.status == 502


async def test_a_key_that_a_provider_echoes_is_seen_nowhere(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    provider.will(whole({"error": {"message": f"Incorrect API key provided: {OPENAI_KEY}.", "type": "x", "code": "invalid_api_key"}}, 401))
    response, body = await call(client, proxy, "chat")
    assert response.status == 401 and OPENAI_KEY.encode() not in body and b"provided: ***." in body
    assert OPENAI_KEY not in json.dumps(await row_of(proxy, response))


async def test_secrets_are_masked_in_a_call_as_in_a_span_and_the_provider_gets_what_was_said(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    secret = "sk-live-0123456789abcdef"
    said = f"Read https://host/?a=1&key={secret} and postgres://user:{secret}@host with Bearer {secret}"
    schema = {"type": "object", "properties": {"api_key": {"type": "string", "description": "The key"}}}
    body = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": said}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
        "metadata": {"password": secret, "tries": 2, "url": f"https://host/?key={secret}", "headers": {"Authorization": [secret]}},
        "properties": {"api_key": secret},
        "variables": {"credentials": [secret]},
        "note": f"{{'api-key': '{secret}'}}",
        "extra_headers": {"Authorization": [secret], "token": secret},
        "api_key": secret,
        "prompt_cache_key": "user-0123456789",
    }
    headers = {"Referer": f"https://host/?key={secret}", "X-Respan-Params": json.dumps({"metadata": {"secret": secret}})}
    async with client.post(f"{proxy.base}/chat/completions", json=body, headers=headers) as response:
        await response.read()
    row = await row_of(proxy, response)
    assert secret not in json.dumps(row)
    request = row["full_request"]
    assert request["messages"] == [{"role": "user", "content": said.replace(secret, "***")}]
    assert (request["tools"], request["prompt_cache_key"]) == (body["tools"], "user-0123456789")
    assert json.loads(provider.received[-1].body)["messages"] == body["messages"]


async def test_secrets_reach_no_file(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, tmp_path: Any
) -> None:
    secret = "sk-customers-own-credential"
    body = {
        **CHAT,
        "customer_credentials": {"openai": {"api_key": secret}},
        "respan_params": {"credential_override": {"gpt-4o": {"api_key": secret}}},
    }
    headers = {"Authorization": "Bearer sk-callers-own-credential", "x-openrouter-api-key": secret, "Cookie": f"session={secret}"}
    async with client.post(f"{proxy.base}/chat/completions?key={secret}", json=body, headers=headers) as response:
        assert response.status == 200
    assert secret not in json.dumps(await row_of(proxy, response))
    await proxy.house.writer.barrier(5)
    with sqlite3.connect(proxy.house.writer.path) as database:
        dump = "\n".join(database.iterdump())
        kept = [unpack(encoding, data) for encoding, data in database.execute("SELECT enc, data FROM body")]
    database.close()
    everything = dump + repr(kept)
    for word in (secret, "sk-callers-own-credential", OPENAI_KEY, ANTHROPIC_KEY):
        assert word not in everything


async def test_a_base_url_that_points_back_here_is_found_out(start_proxy: StartProxy, client: aiohttp.ClientSession) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    proxy = await start_proxy({}, {"OPENAI_API_KEY": OPENAI_KEY, "RESPAN_PROXY_OPENAI_BASE_URL": f"http://127.0.0.1:{port}/api"})
    # The proxy listens on a port of the system's choice; this one joins the two ends.
    relay = await asyncio.start_server(lambda reader, writer: _join(reader, writer, proxy.house.address.port), "127.0.0.1", port)
    async with relay:
        response, body = await call(client, proxy, "chat")
    assert response.status == 508 and b"points back" in body


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)
        sink.close()

    await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
