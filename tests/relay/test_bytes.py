"""Same dialect on both sides: the provider's bytes come back, the caller's bytes go out, minus Respan's parameters."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import zlib
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Act, Answer, FakeProvider, gzipped, in_pieces, streamed, whole

ODD = (
    b'{ "model" : "gpt-4.1-nano",\n\t"messages":[{"role":"user","content":"caf\\u00e9 \\/ \xe2\x98\x83"}], '
    b'"temperature":1e0, "n":2, "seed":1, "seed":2, "x":null }'
)
JSON = {"Content-Type": "application/json"}


async def post(
    client: aiohttp.ClientSession, url: str, body: bytes | dict[str, Any], headers: dict[str, str] | None = None
) -> tuple[aiohttp.ClientResponse, bytes]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with client.post(url, data=io.BytesIO(data), headers=JSON | (headers or {})) as response:
        return response, await response.read()


async def test_an_odd_body_goes_out_as_it_came(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    await post(client, f"{proxy.base}/chat/completions", ODD)
    assert provider.last.body == ODD
    assert provider.last.target == "/v1/chat/completions"


async def test_only_respans_parameters_are_taken_out(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    body = ODD[:-2] + b', "customer_identifier" : "user_123", "fallback_models":["a"], "respan_params":{"note":"x"} }'
    await post(client, f"{proxy.base}/chat/completions", body)
    assert provider.last.body == ODD


async def test_an_answer_comes_back_byte_for_byte(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    answer = b'{"id":"c1","object":"chat.completion","choices":[],"new_field_2027":{"z":[1.50]},\n "created" : 1e3, "model":"m"}\n'
    passed = {"x-request-id": "req_u1", "openai-processing-ms": "12", "x-ratelimit-remaining-requests": "99"}
    headers = {**passed, "set-cookie": "a=b", "Keep-Alive": "5"}
    provider.will(whole(answer, headers=headers))
    response, body = await post(client, f"{proxy.base}/chat/completions", {"model": "gpt-4o", "messages": []})
    assert body == answer
    assert {name: response.headers.get(name) for name in headers} == headers | {"set-cookie": None, "Keep-Alive": None}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
async def test_a_stream_comes_back_byte_for_byte_however_it_was_cut(
    start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider, client: aiohttp.ClientSession, size: int
) -> None:
    proxy = await start_proxy({"server": {"ask_usage": False}}, environ)
    sent = b": OPENROUTER PROCESSING\r\n\r\n" + b"".join(recordings.CHAT_STREAM).replace(b"\n\n", b"\r\n\r\n")
    provider.will(streamed(in_pieces(sent, size)))
    _, body = await post(client, f"{proxy.base}/chat/completions", {"model": "gpt-4o", "messages": [], "stream": True})
    assert body == sent
    assert provider.last.json == {"model": "gpt-4o", "messages": [], "stream": True}


async def test_a_frame_reaches_the_caller_before_the_next_one_is_written(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    gates = [asyncio.Event() for _ in recordings.CHAT_STREAM]
    provider.will(streamed(*[step for frame, gate in zip(recordings.CHAT_STREAM, gates, strict=True) for step in (gate, frame)]))
    gates[0].set()
    async with client.post(f"{proxy.base}/chat/completions", json={"model": "gpt-4o", "messages": [], "stream": True}) as response:
        for frame, following in zip(recordings.CHAT_STREAM, [*gates[1:], asyncio.Event()], strict=True):
            assert await response.content.readexactly(len(frame)) == frame
            following.set()


async def test_usage_is_asked_for_and_withheld_from_who_did_not_ask(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    response, body = await post(client, f"{proxy.base}/chat/completions", {"model": "gpt-4o", "messages": [], "stream": True})
    assert provider.last.json["stream_options"] == {"include_usage": True}
    assert b'"choices":[]' not in body and body.endswith(b"data: [DONE]\n\n")
    assert (await row_of(proxy, response))["prompt_tokens"] == 20


async def test_usage_reaches_who_asked_once(proxy: Proxy, client: aiohttp.ClientSession) -> None:
    request = {"model": "gpt-4o", "messages": [], "stream": True, "stream_options": {"include_usage": True}}
    _, body = await post(client, f"{proxy.base}/chat/completions", request)
    assert body.count(b'"choices":[]') == 1


async def test_an_answer_compressed_unasked_is_relayed_and_read(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    answer = json.dumps(recordings.CHAT).encode()
    provider.will(gzipped(answer))
    response, body = await post(client, f"{proxy.base}/chat/completions", {"model": "gpt-4o", "messages": []})
    assert response.headers["Content-Encoding"] == "gzip" and gzip.decompress(body) == answer
    assert provider.last.headers["Accept-Encoding"] == "identity"
    assert (await row_of(proxy, response))["total_request_tokens"] == 25


async def test_a_stream_compressed_unasked_is_decoded(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    sent = b"".join(recordings.CHAT_STREAM)
    provider.will(streamed(in_pieces(gzip.compress(sent, mtime=0), 11), headers={"Content-Encoding": "gzip"}))
    response, body = await post(client, f"{proxy.base}/chat/completions", {"model": "gpt-4o", "messages": [], "stream": True})
    assert "Content-Encoding" not in response.headers and body == sent


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_request_is_accepted(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, coding: str, compress: Any
) -> None:
    response, _ = await post(client, f"{proxy.base}/chat/completions", compress(ODD), {"Content-Encoding": coding})
    assert response.status == 200 and provider.last.body == ODD
    assert "Content-Encoding" not in provider.last.headers


async def test_a_bomb_is_refused(
    start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"limits": {"request_bytes": 100_000}}, environ)
    response, body = await post(client, f"{proxy.base}/chat/completions", gzip.compress(bytes(10_000_000)), {"Content-Encoding": "gzip"})
    assert response.status == 413 and b"100000" in body and not provider.received


async def test_a_body_of_30_mb_passes(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    image = base64.b64encode(bytes(22_500_000)).decode()
    content = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}]
    body = json.dumps({"customer_identifier": "u", "messages": [{"role": "user", "content": content}], "model": "gpt-4o"}).encode()
    response, _ = await post(client, f"{proxy.base}/chat/completions", body)
    assert response.status == 200
    assert provider.last.body == body.replace(b'"customer_identifier": "u", ', b"")


async def test_head_and_first_chunk_of_an_unknown_kind_of_stream_pass(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    """Gemini without alt=sse: one JSON array, written piece by piece."""
    body = (
        b'[{"candidates":[{"content":{"parts":[{"text":"a"}],"role":"model"}}]}\n,\r\n'
        b'{"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}],'
        b'"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2,"totalTokenCount":3}}\n]'
    )
    provider.will(Answer(200, (("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")), in_pieces(body, 5)))
    _, got = await post(client, f"{proxy.base}/google/gemini/v1beta/models/gemini-2.5-flash:streamGenerateContent", {"contents": []})
    assert got == body


async def test_a_dead_kept_alive_connection_is_replaced_once(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    await post(client, f"{proxy.base}/chat/completions", {"model": "gpt-4o", "messages": []})
    provider.will(Answer(steps=[Act.CUT], raw=True))
    response, _ = await post(client, f"{proxy.base}/chat/completions", {"model": "gpt-4o", "messages": []})
    assert response.status == 200
    assert len(provider.received) == 3 and provider.received[2].connection != provider.received[1].connection
    row = await row_of(proxy, response)
    assert "kept-alive" in str(row["attempts"])
