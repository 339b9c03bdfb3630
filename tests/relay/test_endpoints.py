"""Every endpoint goes where it belongs: the same path, method, query and body at the provider, and its answer back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.conftest import ANTHROPIC_KEY, GEMINI_KEY, OPENAI_KEY, Proxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, streamed, whole


async def ask(
    client: aiohttp.ClientSession, proxy: Proxy, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[aiohttp.ClientResponse, bytes]:
    data = json.dumps(body).encode() if body is not None else None
    url = URL(proxy.root + path, encoded=True)
    async with client.request(method, url, data=data, headers=headers, allow_redirects=False) as response:
        return response, await response.read()


@pytest.mark.parametrize(
    ("method", "path", "target", "key"),
    [
        ("GET", "/api/responses/resp_1", "/v1/responses/resp_1", OPENAI_KEY),
        ("GET", "/v1/responses/resp_1?stream=true&include[]=a", "/v1/responses/resp_1?stream=true&include[]=a", OPENAI_KEY),
        ("DELETE", "/api/responses/resp_1/", "/v1/responses/resp_1", OPENAI_KEY),
        ("POST", "/responses/resp_1/cancel", "/v1/responses/resp_1/cancel", OPENAI_KEY),
        ("GET", "/api//responses/resp_1/input_items?limit=2", "/v1/responses/resp_1/input_items?limit=2", OPENAI_KEY),
        ("GET", "/api/chat/completions?model=x", "/v1/chat/completions?model=x", OPENAI_KEY),
        ("DELETE", "/api/chat/completions/c%2F1", "/v1/chat/completions/c%2F1", OPENAI_KEY),
        ("GET", "/api/files/f/content", "/v1/files/f/content", OPENAI_KEY),
        ("POST", "/api/v1/batches/b/cancel", "/v1/batches/b/cancel", OPENAI_KEY),
        ("GET", "/api/anthropic/v1/messages/batches?limit=1", "/v1/messages/batches?limit=1", ANTHROPIC_KEY),
        ("GET", "/v1beta/cachedContents/c?key=secret&pageSize=2", "/v1beta/cachedContents/c?pageSize=2", GEMINI_KEY),
        ("DELETE", "/api/google/gemini/v1beta/files/f", "/v1beta/files/f", GEMINI_KEY),
    ],
)
async def test_what_a_provider_keeps_is_reached_and_leaves_no_row(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, method: str, path: str, target: str, key: str
) -> None:
    provider.will(whole(b'{"id":  "x"}', headers={"x-request-id": "req_1"}))
    response, body = await ask(client, proxy, method, path)
    assert (response.status, body, response.headers["x-request-id"]) == (200, b'{"id":  "x"}', "req_1")
    sent = provider.last
    assert (sent.method, sent.target, sent.body) == (method, target, b"") and key in str(sent.headers)
    assert "X-Respan-Log-Id" not in response.headers


async def test_a_stored_response_is_streamed_on_as_it_comes(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    gate = asyncio.Event()
    first, *rest = recordings.RESPONSES_STREAM
    provider.will(streamed(first, gate, rest))
    async with client.get(f"{proxy.base}/responses/resp_1?stream=true&starting_after=3") as response:
        assert await response.content.readexactly(len(first)) == first
        gate.set()
        assert await response.read() == b"".join(rest)


@pytest.mark.parametrize("path", ["/api/files/..%2Fmodels", "/api/files/%2e%2e", "/api/responses/..%2f..%2fadmin/cancel"])
async def test_no_path_climbs_out_of_its_place(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(URL(proxy.root + path, encoded=True)) as response:
        assert response.status in (404, 405)
    assert not provider.received


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/google/gemini/v1/models/gemini-2.5-flash:generateContent", "/v1/models/gemini-2.5-flash:generateContent"),
        ("/api/google/gemini/v1beta/models/gemini-2.5-flash:generateContent", "/v1beta/models/gemini-2.5-flash:generateContent"),
        ("/api/google/gemini/models/gemini-2.5-flash:generateContent", "/v1beta/models/gemini-2.5-flash:generateContent"),
        ("/v1beta/models/gemini-2.5-flash:generateContent?key=secret&alt=json", "/v1beta/models/gemini-2.5-flash:generateContent?alt=json"),
        ("/v1/models/gemini-2.5-flash:countTokens", "/v1/models/gemini-2.5-flash:countTokens"),
        ("/v1beta/models/gemini-embedding-001:batchEmbedContents?%6Bey=secret", "/v1beta/models/gemini-embedding-001:batchEmbedContents"),
    ],
)
async def test_gemini_is_reached_in_the_version_that_was_named_without_the_callers_key(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, path: str, target: str
) -> None:
    body = b'{"contents" : []}'
    async with client.post(URL(proxy.root + path, encoded=True), data=body) as response:
        assert response.status == 200, await response.text()
    assert (provider.last.target, provider.last.body) == (target, body)
    assert provider.last.headers["x-goog-api-key"] == GEMINI_KEY


RELAYED = (
    b'{"model":"gpt-4o", "messages":[],"stream":true,"note":"theirs","extra_body":{"top_k":3,"stream_options":{"x":1}},'
    b'"respan_params":{"note":"ours"}}'
)


@pytest.mark.parametrize("spelling", ["openai", "OpenAI"])
async def test_a_relay_passes_what_it_does_not_know_and_four_headers(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, spelling: str
) -> None:
    headers = {"X-OpenAI-Foo": "1", "X-Foo": "2", "Accept-Language": "de", "OpenAI-Beta": "x"}
    async with client.post(f"{proxy.base}/{spelling}/v1/chat/completions", data=RELAYED, headers=headers) as response:
        await response.read()
    expected = b'{"model":"gpt-4o", "messages":[],"stream":true,"note":"theirs","top_k":3,"stream_options":{"x":1}}'
    assert provider.last.body == expected, "nothing is asked for, nothing else is changed"
    assert provider.last.headers["X-OpenAI-Foo"] == "1" and provider.last.headers["Accept-Language"] == "de"
    assert "X-Foo" not in provider.last.headers and "OpenAI-Beta" not in provider.last.headers
    assert response.headers["X-Respan-Upstream-Request-Id"] == "req_fake_openai"
    row = await row_of(proxy, response)
    assert (row["note"], row["provider_id"]) == ("ours", "openai")


@pytest.mark.parametrize(("provider_name", "status"), [("anthropic", 404), ("nobody", 404), ("groq", 424)])
async def test_a_relay_to_who_is_not_there_says_so(proxy: Proxy, client: aiohttp.ClientSession, provider_name: str, status: int) -> None:
    body = {"model": "m", "messages": []}
    response, told = await ask(client, proxy, "POST", f"/api/{provider_name}/v1/chat/completions", body)
    assert response.status == status and provider_name in json.loads(told)["error"]["message"]


@pytest.mark.parametrize(
    ("pin", "status"), [("openai", 200), (" OPENAI ", 200), ("nobody", 404), ("groq", 424), ("vertex_ai", 424), ("anthropic", 400)]
)
async def test_a_pinned_provider_is_the_only_one_asked(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, pin: str, status: int
) -> None:
    headers = {"X-Respan-Route-Provider": pin}
    response, _ = await ask(client, proxy, "POST", "/api/chat/completions", {"model": "some-model", "messages": []}, headers)
    assert (response.status, len(provider.received)) == (status, 1 if status == 200 else 0)
    if status == 200:
        assert provider.last.json["model"] == "some-model" and "X-Respan-Route-Provider" not in provider.last.headers


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/api/chat/completions", {"model": "nobody-has-this", "messages": []}, "code"),
        ("/api/responses", {"model": "nobody-has-this", "input": "x"}, "code"),
        ("/api/anthropic/v1/messages", {"model": "nobody-has-this", "messages": []}, "type"),
        ("/api/google/gemini/v1/models/nobody-has-this:generateContent", {}, "status"),
        ("/api/embeddings", {"model": "nobody-has-this", "input": "x"}, "code"),
    ],
)
async def test_a_name_that_nobody_serves_is_a_404_of_the_dialect(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, path: str, body: Any, where: str
) -> None:
    response, told = await ask(client, proxy, "POST", path, body)
    assert response.status == 404 and json.loads(told)["error"][where]
    assert "nobody-has-this" in json.loads(told)["error"]["message"] and not provider.received
    assert response.headers["X-Respan-Log-Id"]


@pytest.mark.parametrize(
    ("headers", "query", "found"),
    [
        ({}, "", lambda answer: answer["object"] == "list" and answer["data"][0]["object"] == "model"),
        ({"anthropic-version": "2023-06-01"}, "", lambda answer: answer["data"][0]["type"] == "model"),
        ({"x-goog-api-key": "x"}, "", lambda answer: answer["models"][0]["name"].startswith("models/")),
        ({}, "?key=x", lambda answer: answer["models"][0]["name"].startswith("models/")),
    ],
)
async def test_models_are_listed_in_the_shape_the_caller_expects(
    proxy: Proxy, client: aiohttp.ClientSession, headers: dict[str, str], query: str, found: Any
) -> None:
    response, body = await ask(client, proxy, "GET", f"/v1/models{query}", headers=headers)
    assert response.status == 200 and found(json.loads(body))
