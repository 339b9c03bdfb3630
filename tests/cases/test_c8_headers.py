"""Headers, credentials and secrets. Each test names the number of its case; here is where every one is claimed.

| case | in | claimed |
| --- | --- | --- |
| 117 | anthropic-beta, future values too | here; tests/sdk/test_anthropic.py |
| 119 | the first system block of Claude Code | here |
| 120 | which headers travel, which do not | here; tests/wire/test_headers.py |
| 121 | no secret anywhere | here; tests/relay/test_breaks.py, test_parameters.py, test_strange_answers.py |
| 123 | count_tokens for another family's model | here |

Cases 118 and 122 do not exist.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import ANTHROPIC_KEY, GEMINI_KEY, OPENAI_KEY, Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, whole

CHAT = {"model": "gpt-4o", "messages": []}
MESSAGES = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": []}


async def test_c8_117_betas_pass_as_they_were_said(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    headers = {"anthropic-beta": "oauth-2025-04-20,fine-grained-tool-streaming-2025-05-14, of-2031", "anthropic-version": "2031-01-01"}
    async with client.post(f"{proxy.base}/anthropic/v1/messages", json=MESSAGES, headers=headers) as response:
        assert response.status == 200
    assert {name: provider.last.headers[name] for name in headers} == headers


async def test_c8_119_a_system_block_is_not_touched(proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession) -> None:
    body = (
        b'{"model":"claude-sonnet-4-5","max_tokens":9,"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1"},'
        b'{"type":"text", "text":"You are","cache_control":{"type":"ephemeral"}}],"messages":[]}'
    )
    async with client.post(f"{proxy.base}/anthropic/v1/messages", data=body) as response:
        assert response.status == 200
    assert provider.last.body == body


async def test_c8_120_headers_of_the_hop_and_of_the_gateway_stay_here(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    stays = {
        "Authorization": "Bearer gateway-key",
        "Connection": "keep-alive, X-Only-Here",
        "X-Only-Here": "1",
        "Keep-Alive": "timeout=5",
        "Proxy-Authorization": "Basic eDp5",
        "TE": "trailers",
        "Cookie": "session=1",
        "X-Forwarded-For": "10.0.0.1",
        "X-Respan-Beta": "token-breakdown-2026-03-26",
        "X-Data-Respan-Params": "e30=",
    }
    travels = {
        "X-Custom": "1",
        "OpenAI-Beta": "assistants=v2",
        "OpenAI-Organization": "org",
        "X-Stainless-Lang": "python",
        "User-Agent": "me/1",
    }
    async with client.post(f"{proxy.base}/chat/completions", json=CHAT, headers=stays | travels) as response:
        assert response.status == 200
    sent = provider.last.headers
    assert {name: sent.get(name) for name in travels} == travels
    assert sent["Host"] == f"127.0.0.1:{provider.port}" and sent["Authorization"] == f"Bearer {OPENAI_KEY}"
    assert not [name for name in stays if name not in ("Authorization", "Connection") and name in sent]
    assert "X-Only-Here" not in sent.get("Connection", "")


async def test_c8_120_what_a_provider_says_of_a_call_reaches_the_caller(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    told = {
        "x-request-id": "req_1",
        "request-id": "req_2",
        "x-ratelimit-remaining-tokens": "5",
        "openai-processing-ms": "12",
        "anthropic-ratelimit-tokens-remaining": "6",
        "x-should-retry": "false",
        "cf-ray": "abc",
    }
    kept = {"Connection": "X-Hop", "X-Hop": "1", "Set-Cookie": "a=b", "Keep-Alive": "timeout=5", "Strict-Transport-Security": "max-age=1"}
    provider.will(whole(recordings.CHAT, headers=told | kept))
    async with client.post(f"{proxy.base}/chat/completions", json=CHAT) as response:
        assert {name: response.headers.get(name) for name in told} == told
        assert not [name for name in kept if name in response.headers]


SECRETS = ("sk-callers-secret", "AIza-callers-secret", "oat-callers-secret", "cookie-secret", OPENAI_KEY, ANTHROPIC_KEY, GEMINI_KEY)


@pytest.mark.parametrize("status", [200, 401, 500])
async def test_c8_121_no_secret_is_remembered_logged_or_told(
    start_proxy: StartProxy,
    environ: dict[str, str],
    provider: FakeProvider,
    client: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy = await start_proxy({}, environ)
    headers = {
        "Authorization": "Bearer oat-callers-secret",
        "x-api-key": "sk-callers-secret",
        "x-goog-api-key": "AIza-callers-secret",
        "Cookie": "s=cookie-secret",
    }
    told = b""
    for path, body, key in [
        ("/chat/completions", CHAT, OPENAI_KEY),
        ("/responses", {"model": "gpt-4o", "input": "x"}, OPENAI_KEY),
        ("/anthropic/v1/messages", MESSAGES, ANTHROPIC_KEY),
        ("/google/gemini/v1beta/models/gemini-2.5-flash:generateContent?key=AIza-callers-secret", {"contents": []}, GEMINI_KEY),
    ]:
        if status != 200:
            provider.will(whole({"error": {"message": f"no: {key}", "code": status, "type": "x"}}, status))
        async with client.post(f"{proxy.base}{path}", json=body, headers=headers) as response:
            assert response.status == status
            told += await response.read()
        for secret in SECRETS:
            assert secret not in str(provider.last.headers) or secret == key
    await proxy.house.writer.barrier(5)
    async with client.get(f"{proxy.base}/request-logs/list/") as listed:
        rows = await listed.json()
    for row in rows["results"]:
        async with client.get(f"{proxy.base}/request-logs/{row['id']}/") as found:
            told += await found.read()
    database = Path(proxy.house.writer.path)
    told += b"".join(file.read_bytes() for file in database.parent.glob(f"{database.name}*"))
    for secret in SECRETS:
        assert secret.encode() not in told, "told or kept"
        assert secret not in caplog.text, "logged"


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/anthropic/v1/messages/count_tokens", {"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 400}]}, "input_tokens"),
        (
            "/anthropic/v1/messages/count_tokens",
            {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "system": "x" * 1_200_000},
            "input_tokens",
        ),
        ("/google/gemini/v1/models/gpt-4o:countTokens", {"contents": [{"parts": [{"text": "x" * 400}]}]}, "totalTokens"),
    ],
)
async def test_c8_123_tokens_that_a_model_s_provider_cannot_count_are_estimated(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, path: str, body: dict[str, Any], name: str
) -> None:
    import io

    provider.will(whole({"error": {"message": "no such endpoint", "type": "invalid_request_error"}}, 404))
    async with client.post(f"{proxy.base}{path}", data=io.BytesIO(json.dumps(body).encode())) as response:
        answer = await response.json()
        assert response.status == 200 and "count:estimated" in response.headers["X-Respan-Warnings"]
    longest = max(len(json.dumps(value)) for value in body.values())
    assert answer[name] == pytest.approx(longest / 4, rel=0.3)
    assert (await row_of(proxy, response))["status"] == "warning"


async def test_c8_123_tokens_of_another_familys_model_are_counted_by_its_provider(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    provider.will(whole({"input_tokens": 77}))
    async with client.post(f"{proxy.base}/responses/input_tokens", json={"model": "claude-sonnet-4-5", "input": "hello"}) as response:
        assert (await response.json())["input_tokens"] == 77
    assert provider.last.target == "/v1/messages/count_tokens"


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ({"Authorization": "Bearer sk-ant-oat01-theirs"}, {"Authorization": "Bearer sk-ant-oat01-theirs"}),
        ({"x-api-key": "sk-ant-api03-theirs"}, {"x-api-key": "sk-ant-api03-theirs"}),
        ({"Authorization": "Bearer sk-ant-api03-theirs"}, {"x-api-key": "sk-ant-api03-theirs"}),
    ],
)
async def test_c8_121_a_callers_own_key_travels_to_its_company_only_and_is_not_kept(
    start_proxy: StartProxy, provider: FakeProvider, client: aiohttp.ClientSession, headers: dict[str, str], sent: dict[str, str]
) -> None:
    """Claude Code with a subscription brings an OAuth bearer; nothing is configured here but addresses."""
    environ = {"RESPAN_PROXY_ANTHROPIC_BASE_URL": provider.url, "RESPAN_PROXY_OPENAI_BASE_URL": f"{provider.url}/v1"}
    proxy = await start_proxy({}, environ)
    async with client.post(f"{proxy.base}/anthropic/v1/messages", json=MESSAGES, headers=headers) as response:
        assert response.status == 200
    credentials = {name: value for name, value in provider.last.headers.items() if name.lower() in ("authorization", "x-api-key")}
    assert credentials == sent
    async with client.post(f"{proxy.base}/chat/completions", json=CHAT, headers=headers) as response:
        assert response.status == 424 or "answered_by_echo" in response.headers["X-Respan-Warnings"]
    assert len(provider.received) == 1
    await proxy.house.writer.barrier(5)
    database = Path(proxy.house.writer.path)
    assert b"theirs" not in b"".join(file.read_bytes() for file in database.parent.glob(f"{database.name}*"))
