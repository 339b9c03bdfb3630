"""Respan's parameters over the wire: never forwarded, remembered, and `disable_log` obeyed to the last byte on the disk."""

from __future__ import annotations

import base64
import io
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Act, Answer, FakeProvider, html, streamed, whole

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
MESSAGES = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": []}


async def post(
    client: aiohttp.ClientSession, proxy: Proxy, path: str, body: Any, headers: dict[str, str] | None = None
) -> tuple[aiohttp.ClientResponse, bytes]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with client.post(
        f"{proxy.base}{path}", data=io.BytesIO(data), headers={"Content-Type": "application/json", **(headers or {})}
    ) as response:
        return response, await response.read()


def on_disk(proxy: Proxy) -> bytes:
    """Everything that lies in the database's files, bodies unpacked as well."""
    from respan_proxy.store.bodies import unpack

    path = Path(proxy.house.writer.path)
    raw = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    with sqlite3.connect(path) as database:
        dump = "\n".join(database.iterdump())
        kept = [unpack(encoding, data) for encoding, data in database.execute("SELECT enc, data FROM body")]
    database.close()
    return raw + dump.encode() + repr(kept).encode()


# What must not be found: in the request (also in JSON schemas, tools and template variables), in answers, in errors.
SECRET = "zanzibar"
SAID: dict[str, Any] = {
    "messages": [{"role": "user", "content": SECRET}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "description": SECRET, "schema": {}}},
    "tools": [{"type": "function", "function": {"name": "f", "description": SECRET}}],
    "user": SECRET,
    "variables": {"topic": SECRET},
}
HEADER = base64.b64encode(b'{"disable_log": true}').decode()
CARRIERS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "top level": ({"disable_log": True}, {}),
    "a word": ({"disable_log": "true"}, {}),
    "respan_params": ({"respan_params": {"disable_log": True}}, {}),
    "a string of respan_params": ({"respan_params": '{"disable_log": true}'}, {}),
    "keywordsai_params": ({"keywordsai_params": {"disable_log": True}}, {}),
    "header": ({}, {"X-Data-Respan-Params": HEADER}),
    "raw header": ({}, {"X-Data-Keywordsai-Params": '{"disable_log": true}'}),
}
QUOTE = json.dumps({"error": {"message": f"cannot answer {SECRET!r}", "type": "invalid_request_error", "code": None}}).encode()
ANSWERS: dict[str, Callable[[], Answer]] = {
    "answer": lambda: whole(json.dumps(recordings.CHAT).replace("world", SECRET)),
    "error": lambda: whole(QUOTE, 400),
    "odd error": lambda: whole(json.dumps({"detail": f"cannot answer {SECRET}"}), 400),
    "error in a 200": lambda: whole(QUOTE),
    "garbage": lambda: whole(f"{SECRET} is no JSON"),
    "html": lambda: html(502),
}
STREAMS: dict[str, Callable[[], Answer]] = {
    "stream": lambda: streamed(
        frame.replace(b"world", SECRET.encode())
        for frame in [*recordings.CHAT_STREAM[:-1], recordings.CHAT_USAGE, recordings.CHAT_STREAM[-1]]
    ),
    "break": lambda: streamed([frame.replace(b"lo ", SECRET.encode()) for frame in recordings.CHAT_STREAM[:3]], Act.RESET),
    "error first": lambda: streamed(b"data: " + QUOTE + b"\n\n"),
    "error later": lambda: streamed(recordings.CHAT_STREAM[:2], b"data: " + QUOTE + b"\n\n"),
    "garbage first": lambda: streamed(b"data: %b\n\n" % SECRET.encode()),
}


async def test_the_search_finds_what_is_kept(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    """The tests below look for what is not there; this one shows that they would find it."""
    provider.will(ANSWERS["error"]())
    await post(client, proxy, "/chat/completions", {**CHAT, **SAID})
    await proxy.house.writer.barrier(5)
    assert on_disk(proxy).count(SECRET.encode()) > 5


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("answer", [*ANSWERS, *STREAMS])
async def test_disable_log_keeps_metrics_and_no_content(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, carrier: str, answer: str
) -> None:
    more, headers = CARRIERS[carrier]
    provider.will((ANSWERS | STREAMS)[answer]())
    body = {**CHAT, **SAID, **more, "customer_identifier": "user_1"} | ({"stream": True} if answer in STREAMS else {})
    response, _ = await post(client, proxy, "/chat/completions", body, headers)
    row = await row_of(proxy, response)
    assert (row["model"], row["customer_identifier"]) != (None, None) and row["status_code"] and row["latency"] is not None
    if answer in ("answer", "stream"):
        assert row["status"] == "success" and row["completion_tokens"] > 0
    await proxy.house.writer.barrier(5)
    assert SECRET.encode() not in on_disk(proxy)


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/anthropic/v1/messages", {**MESSAGES, "system": SECRET, "metadata": {"respan_params": {"disable_log": True}}}, {}),
        ("/google/gemini/v1/models/gemini-2.5-flash:generateContent", {"contents": [SECRET], "respan_params": {"disable_log": True}}, {}),
        ("/responses", {"model": "gpt-4o", "input": SECRET, "disable_log": True}, {}),
        ("/embeddings", {"model": "text-embedding-3-small", "input": SECRET, "disable_log": True}, {}),
        ("/audio/speech", {"model": "tts-1", "input": SECRET, "voice": "alloy", "disable_log": True}, {}),
        # Bodies that nobody can read, and values that mean nothing: perhaps that was what was asked for.
        ("/chat/completions", b'{"model": "gpt-4o", "disable_log": true, "messages": "%b" oops' % SECRET.encode(), {}),
        ("/chat/completions", b'{"model": "gpt-4o", "messages": "%b" oops' % SECRET.encode(), {"X-Data-Respan-Params": HEADER}),
        ("/chat/completions", {**CHAT, **SAID, "disable_log": "perhaps"}, {}),
        ("/chat/completions", {**CHAT, **SAID, "respan_params": {"disable_log": True, "pad": "x" * 1_100_000}}, {}),
        ("/chat/completions", {**CHAT, **SAID, "respan_params": {"disable_log": True}, "pad": "x" * 1_100_000}, {}),
        ("/chat/completions", {**CHAT, **SAID, "model": "nobody-has-this", "disable_log": True}, {}),
    ],
)
async def test_disable_log_is_obeyed_at_every_endpoint(
    proxy: Proxy, client: aiohttp.ClientSession, row_of: Any, path: str, body: Any, headers: dict[str, str]
) -> None:
    response, _ = await post(client, proxy, path, body, headers)
    assert (await row_of(proxy, response))["status_code"] == response.status
    await proxy.house.writer.barrier(5)
    assert SECRET.encode() not in on_disk(proxy)


@pytest.mark.parametrize(("content", "answer", "kept"), [("none", "error", False), ("errors", "answer", False), ("errors", "error", True)])
async def test_content_is_the_global_form_of_it(
    start_proxy: StartProxy,
    environ: dict[str, str],
    provider: FakeProvider,
    client: aiohttp.ClientSession,
    content: str,
    answer: str,
    kept: bool,
) -> None:
    proxy = await start_proxy({"store": {"content": content}}, environ)
    provider.will(ANSWERS[answer]())
    await post(client, proxy, "/chat/completions", {**CHAT, **SAID})
    await proxy.house.writer.barrier(5)
    assert (SECRET.encode() in on_disk(proxy)) is kept


def form(**fields: str) -> bytes:
    parts = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items()]
    file = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg\r\n\r\nID3\x00\xff\r\n--not\r\n'
    )
    return b"".join([file, *parts, b"--b--\r\n"])


FORM_TYPE = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize("path", ["/audio/transcriptions", "/audio/transcription", "/audio/translations", "/images/edits"])
async def test_parameters_in_a_form_are_taken_out_and_remembered(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, path: str
) -> None:
    provider.will(whole({"text": "hello"}))
    theirs = {"model": "whisper-1", "prompt": "Once upon a time", "response_format": "json"}
    ours = {"customer_identifier": "user_1", "metadata": '{"a": "b"}', "respan_params": '{"thread_identifier": "t"}', "cache_ttl": "60"}
    response, body = await post(client, proxy, path, form(**ours, **theirs), FORM_TYPE)
    assert (response.status, json.loads(body)) == (200, {"text": "hello"})
    assert provider.last.body == form(**theirs)
    assert provider.last.headers["Content-Type"] == FORM_TYPE["Content-Type"]
    row = await row_of(proxy, response)
    assert (row["model"], row["customer_identifier"], row["thread_identifier"]) == ("whisper-1", "user_1", "t")
    assert row["metadata"] == {"a": "b"} and row["full_response"] == {"text": "hello"}


async def test_a_forms_model_decides_where_it_goes_and_is_rewritten_there(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    provider.will(whole({"text": "hello"}))
    await post(client, proxy, "/audio/transcriptions", form(model="openai/whisper-1"), FORM_TYPE)
    assert provider.last.body == form(model="whisper-1")
    response, _ = await post(client, proxy, "/audio/transcriptions", form(model="nobody-has-this"), FORM_TYPE)
    assert response.status == 404


async def test_credentials_in_a_form_reach_neither_provider_nor_row(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    provider.will(whole({"text": "hello"}))
    fields = {"model": "whisper-1", "customer_credentials": f'{{"openai": {{"api_key": "{SECRET}"}}}}'}
    response, _ = await post(client, proxy, "/audio/transcriptions", form(**fields), FORM_TYPE)
    assert response.status == 200 and provider.last.body == form(model="whisper-1")
    assert SECRET not in json.dumps(await row_of(proxy, response))
    await proxy.house.writer.barrier(5)
    assert SECRET.encode() not in on_disk(proxy)


async def test_disable_log_in_a_form_keeps_no_content(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    provider.will(whole({"text": SECRET}))
    await post(client, proxy, "/audio/transcriptions", form(model="whisper-1", prompt=SECRET, disable_log="True"), FORM_TYPE)
    await proxy.house.writer.barrier(5)
    assert SECRET.encode() not in on_disk(proxy)


async def test_credentials_in_a_body_that_cannot_be_read_are_not_kept(proxy: Proxy, client: aiohttp.ClientSession, row_of: Any) -> None:
    broken = b'{"model": "gpt-4o", "customer_credentials": {"openai": {"api_key": "%b"}}, oops' % SECRET.encode()
    response, _ = await post(client, proxy, "/chat/completions", broken)
    assert response.status == 400 and SECRET not in json.dumps(await row_of(proxy, response))
    await proxy.house.writer.barrier(5)
    assert SECRET.encode() not in on_disk(proxy)


async def test_tokens_of_tools_in_a_big_body_are_masked(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    tools = [{"type": "mcp", "server_url": "https://x", "authorization": SECRET, "pad": "x" * 70_000}]
    body = {"model": "gpt-4o", "input": "y" * 1_000_000, "tools": tools}
    response, _ = await post(client, proxy, "/responses", body)
    assert response.status == 200 and provider.last.json["tools"] == tools
    await proxy.house.writer.barrier(5)
    assert SECRET.encode() not in on_disk(proxy)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_breakdown_is_told_to_who_asks(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, stream: bool) -> None:
    body = {**CHAT, "request_breakdown": True, "metadata": {"a": 1}, "stream": stream}
    _, got = await post(client, proxy, "/chat/completions", body)
    assert b"request_breakdown" not in provider.last.body and b"metadata" not in provider.last.body
    if stream:
        frames = got.split(b"\n\n")
        assert frames[-2] == b"data: [DONE]" and frames[-1] == b""
        chunk = json.loads(frames[-3].removeprefix(b"data: "))
        breakdown = chunk["choices"][0]["request_breakdown"]
        assert b"".join(frame + b"\n\n" for frame in frames[:-3]) == b"".join(recordings.CHAT_STREAM[:-1]), "the rest is the provider's"
    else:
        breakdown = json.loads(got)["request_breakdown"]
    assert (breakdown["prompt_tokens"], breakdown["completion_tokens"], breakdown["stream"]) == (20, 5, stream)
    assert breakdown["prompt_messages"] == CHAT["messages"] and breakdown["completion_message"]["content"] == recordings.TEXT
    assert breakdown["metadata"] == {"a": "1"} and breakdown["status_code"] == 200


async def test_a_breakdown_is_not_told_of_a_stream_that_broke(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    provider.will(streamed(recordings.CHAT_STREAM[:3], Act.RESET))
    _, got = await post(client, proxy, "/chat/completions", {**CHAT, "request_breakdown": True, "stream": True})
    assert b"request_breakdown" not in got and b'data: {"error":' in got


@pytest.mark.parametrize(
    ("path", "body", "sent"),
    [
        ("/chat/completions", {"metadata": {"a": "b"}}, {}),
        ("/chat/completions", {"metadata": {"a": "b"}, "store": True}, {"metadata": {"a": "b"}, "store": True}),
        ("/responses", {"metadata": {"a": "b"}}, {"metadata": {"a": "b"}}),
        ("/responses", {"metadata": {"a": 1}}, {}),
        ("/responses", {"prompt": {"id": "pmpt_1"}}, {"prompt": {"id": "pmpt_1"}}),
        ("/responses", {"prompt": {"prompt_id": "p1", "variables": {}}}, {}),
        ("/chat/completions", {"echo": True, "properties": {"n": 1}}, {}),
        ("/completions", {"prompt": "Once", "echo": True}, {"prompt": "Once", "echo": True}),
        ("/embeddings", {"metadata": {"a": "b"}, "input": "x"}, {"input": "x"}),
    ],
)
async def test_words_that_openai_uses_too_are_told_apart(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, path: str, body: Any, sent: Any
) -> None:
    response, _ = await post(client, proxy, path, {"model": "gpt-4o", **body})
    assert provider.last.json == {"model": "gpt-4o", **sent}
    if metadata := body.get("metadata"):
        assert (await row_of(proxy, response))["metadata"] == {name: str(value) for name, value in metadata.items()}


async def test_anthropics_metadata_keeps_its_user_only(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    metadata = {"user_id": "u", "team": "x", "respan_params": {"thread_identifier": "t"}, "extra_headers": {"anthropic-beta": "b1"}}
    response, _ = await post(client, proxy, "/anthropic/v1/messages", {**MESSAGES, "metadata": metadata})
    assert provider.last.json == {**MESSAGES, "metadata": {"user_id": "u"}} and provider.last.headers["anthropic-beta"] == "b1"
    row = await row_of(proxy, response)
    assert (row["thread_identifier"], row["metadata"]) == ("t", {"team": "x"})


OUR_KEY = "rp-our-very-own-gateway-key"


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/chat/completions", CHAT, {"Authorization": f"Bearer {OUR_KEY}"}),
        ("/chat/completions", CHAT, {"Authorization": OUR_KEY, "api-key": OUR_KEY}),
        ("/responses", {"model": "gpt-4o", "input": "x"}, {"Authorization": f"bearer {OUR_KEY}"}),
        ("/anthropic/v1/messages", MESSAGES, {"x-api-key": OUR_KEY}),
        ("/anthropic/v1/messages", MESSAGES, {"Authorization": f"Bearer {OUR_KEY}", "x-api-key": OUR_KEY}),
        ("/google/gemini/v1beta/models/gemini-2.5-flash:generateContent", {"contents": []}, {"x-goog-api-key": OUR_KEY}),
        (f"/google/gemini/v1beta/models/gemini-2.5-flash:generateContent?a=1&key={OUR_KEY}", {"contents": []}, {}),
        ("/openai/v1/chat/completions", CHAT, {"Authorization": f"Bearer {OUR_KEY}", "x-openai-api-key": OUR_KEY}),
        (
            "/embeddings",
            {"model": "text-embedding-3-small", "input": "x"},
            {"Authorization": f"Bearer {OUR_KEY}", "Cookie": f"k={OUR_KEY}"},
        ),
        ("/files", b"x", {"Authorization": f"Bearer {OUR_KEY}", "Content-Type": "multipart/form-data; boundary=b"}),
    ],
)
async def test_our_own_key_reaches_no_provider(
    start_proxy: StartProxy,
    environ: dict[str, str],
    provider: FakeProvider,
    client: aiohttp.ClientSession,
    path: str,
    body: Any,
    headers: dict[str, str],
) -> None:
    proxy = await start_proxy({"keys": [{"name": "me", "key": OUR_KEY}]}, environ)
    await post(client, proxy, path, body, headers)
    sent = provider.last
    assert OUR_KEY not in f"{sent.target}\n{list(sent.headers.items())}" and OUR_KEY.encode() not in sent.body
    await proxy.house.writer.barrier(5)
    assert OUR_KEY.encode() not in on_disk(proxy)


async def test_a_request_without_our_key_is_refused_in_its_dialect_and_not_remembered(
    start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"keys": [{"name": "me", "key": OUR_KEY}]}, environ)
    for path, body, where in [
        ("/chat/completions", CHAT, "type"),
        ("/anthropic/v1/messages", MESSAGES, "type"),
        ("/google/gemini/v1/models/gemini-2.5-flash:generateContent", {"contents": []}, "status"),
    ]:
        response, got = await post(client, proxy, path, body, {"Authorization": "Bearer sk-someone-elses"})
        assert response.status == 401 and json.loads(got)["error"][where]
    assert not provider.received
    await proxy.house.writer.barrier(5)
    assert b"sk-someone-elses" not in on_disk(proxy)
