"""What one model cannot answer, the next one does, in whatever dialect; if none can, the caller hears what the first one said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Act, Answer, FakeProvider, garbage, html, silent, streamed, whole
from tests.reliability.conftest import CLIENTS, RowOf, ask

GPT, CLAUDE, GEMINI = "gpt-4o", "claude-sonnet-4-6", "gemini-2.5-flash"
OWN = {"chat": GPT, "responses": GPT, "messages": CLAUDE, "gemini": GEMINI}
NEXT = {"chat": CLAUDE, "responses": CLAUDE, "messages": GPT, "gemini": CLAUDE}

ONLY_ONCE = {"retry_enabled": False}

ERROR_FIRST = {
    "chat": [b'data: {"error":{"message":"no","type":"server_error","code":null}}\n\n'],
    "responses": [b'event: error\ndata: {"type":"error","error":{"type":"server_error","message":"no"},"sequence_number":0}\n\n'],
    "messages": [b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"no"}}\n\n'],
    "gemini": [b'data: {"error":{"code":503,"message":"no","status":"UNAVAILABLE"}}\r\n\r\n'],
}

TROUBLES: dict[str, Answer] = {
    "429": whole({"error": {"message": "slow down", "type": "rate_limit_error"}}, 429, {"Retry-After": "7"}),
    "400": whole({"error": {"message": "never heard of it", "type": "invalid_request_error"}}, 400),
    "401 of the configured key": whole({"error": {"message": "who?", "type": "authentication_error"}}, 401),
    "500": whole({"error": {"message": "oops", "type": "server_error"}}, 500),
    "html": html(502),
    "garbage": garbage(),
    "reset": Answer(before=[Act.RESET]),
    "empty": whole(b""),
    "unreadable": whole(b"{not json"),
    "200 that is an error": whole({"error": {"message": "inside", "type": "server_error"}}),
}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_any_trouble_falls_back_across_dialects(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, trouble: str, client: str, streams: bool
) -> None:
    provider.will(TROUBLES[trouble])
    response, body = await ask(http, proxy, client, OWN[client], streams=streams, fallback_models=[NEXT[client]], retry_params=ONLY_ONCE)
    assert response.status == 200, body
    assert "answered_by_fallback" in response.headers["X-Respan-Warnings"]
    assert "".join(recordings.TEXT.split()) in "".join(said(client, body, streams).split())
    row = await row_of(proxy, response)
    assert (row["status"], row["request_model"]) == ("warning", OWN[client])
    first, second = row["attempts"]
    assert first["error"] and first["model"] == OWN[client]
    assert (second["model"], second["status_code"]) == (NEXT[client], 200)


def said(client: str, body: bytes, streams: bool) -> str:
    """All strings of text in an answer of this dialect, joined."""
    values = [json.loads(line[5:]) for line in body.splitlines() if line.startswith(b"data: {")] if streams else [json.loads(body)]
    return "".join(text for value in values for text in _texts(client, value))


def _texts(client: str, value: Any) -> list[str]:
    match client, value:
        case "chat", {"choices": [{"delta": {"content": str(text)}}]} | {"choices": [{"message": {"content": str(text)}}]}:
            return [text]
        case "responses", {"type": "response.output_text.delta", "delta": text}:
            return [text]
        case "responses", {"object": "response", "output": [{"content": [{"text": text}]}]}:
            return [text]
        case "messages", {"delta": {"text": text}} | {"content": [{"text": text}]}:
            return [text]
        case "gemini", {"candidates": [{"content": {"parts": parts}}]}:
            return [part["text"] for part in parts]
    return []


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_stream_whose_first_frame_is_an_error_falls_back(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, client: str
) -> None:
    provider.will(streamed(ERROR_FIRST[client]))
    response, body = await ask(http, proxy, client, OWN[client], streams=True, fallback_models=[NEXT[client]], retry_params=ONLY_ONCE)
    assert response.status == 200 and said(client, body, True) == recordings.TEXT


async def test_each_target_travels_with_its_own_credential_and_none_of_anothers_headers(
    proxy: Proxy, provider: FakeProvider, environ: dict[str, str]
) -> None:
    provider.will(TROUBLES["500"], TROUBLES["500"])
    body = {
        "model": CLAUDE,
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
        "respan_params": {"fallback_models": [GPT, GEMINI], "retry_params": ONLY_ONCE},
    }
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{proxy.base}/anthropic/v1/messages", json=body, headers={"anthropic-beta": "x-1", "anthropic-version": "2023-06-01"}),
    ):
        pass
    sent = [{name.lower(): value for name, value in request.headers.items()} for request in provider.received]
    for headers, name in zip(sent, ("ANTHROPIC", "OPENAI", "GEMINI"), strict=True):
        own = environ[f"{name}_API_KEY"]
        assert own in str(headers)
        assert not any(key in str(headers) for other, key in environ.items() if other.endswith("_API_KEY") and key != own)
        assert ("anthropic-beta" in headers) == (name == "ANTHROPIC")


@pytest.mark.parametrize("streams", [False, True])
async def test_if_all_fail_the_caller_hears_the_first_and_the_row_tells_of_all(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, streams: bool
) -> None:
    provider.will(TROUBLES["429"], TROUBLES["500"], TROUBLES["html"])
    response, body = await ask(http, proxy, "chat", GPT, streams=streams, fallback_models=[CLAUDE, GEMINI], retry_params=ONLY_ONCE)
    assert response.status == 429 and json.loads(body)["error"]["message"] == "slow down"
    assert response.headers["Retry-After"] == "7"
    row = await row_of(proxy, response)
    assert (row["status"], row["status_code"], row["model"], row["outcome"]) == ("failed", 429, GPT, "complete")
    assert [(attempt["model"], attempt["status_code"]) for attempt in row["attempts"]] == [(GPT, 429), (CLAUDE, 500), (GEMINI, 502)]
    assert "slow down" in row["attempts"][0]["error"] and "oops" in row["attempts"][1]["error"]


async def test_a_model_that_leads_nowhere_is_passed_over_with_a_word(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession, row_of: RowOf
) -> None:
    proxy = await start_proxy({}, {name: value for name, value in environ.items() if "ANTHROPIC" not in name})
    response, _ = await ask(http, proxy, "chat", "no-such-model", fallback_models=[CLAUDE, GPT])
    assert response.status == 200
    (attempt,) = (await row_of(proxy, response))["attempts"]
    assert "no-such-model" in attempt["notes"][0] and "ANTHROPIC_API_KEY" in attempt["notes"][1]
    response, body = await ask(http, proxy, "chat", "no-such-model", fallback_models=[CLAUDE])
    assert response.status == 404 and b"no-such-model" in body


async def test_what_one_model_cannot_be_told_the_next_one_may_be(proxy: Proxy, provider: FakeProvider) -> None:
    body = {"model": CLAUDE, "messages": [{"role": "user", "content": "hi"}], "n": 2, "fallback_models": [GPT]}
    async with aiohttp.ClientSession() as http, http.post(f"{proxy.base}/chat/completions", json=body) as response:
        assert response.status == 200
    (sent,) = provider.received
    assert (sent.json["model"], sent.json["n"]) == (GPT, 2) and "fallback_models" not in sent.json


async def test_losses_on_the_way_to_a_model_that_failed_are_not_told(proxy: Proxy, provider: FakeProvider) -> None:
    provider.will(TROUBLES["500"])
    body = {
        "model": CLAUDE,
        "messages": [{"role": "user", "content": "hi"}],
        "seed": 7,
        "fallback_models": [GPT],
        "retry_params": ONLY_ONCE,
    }
    async with aiohttp.ClientSession() as http, http.post(f"{proxy.base}/chat/completions", json=body) as response:
        assert response.headers["X-Respan-Warnings"] == "model:answered_by_fallback"
    assert provider.last.json["seed"] == 7


async def test_our_own_refusal_of_a_request_is_not_taken_elsewhere(proxy: Proxy, provider: FakeProvider) -> None:
    body = {"model": CLAUDE, "messages": "no list", "fallback_models": [GPT]}
    async with aiohttp.ClientSession() as http, http.post(f"{proxy.base}/chat/completions", json=body) as response:
        assert response.status == 400
    assert not provider.received


async def test_a_callers_own_key_that_is_refused_is_told_to_the_caller(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str]
) -> None:
    proxy = await start_proxy({}, {name: value for name, value in environ.items() if name != "OPENAI_API_KEY"})
    provider.will(TROUBLES["401 of the configured key"])
    body = {"model": GPT, "messages": [{"role": "user", "content": "hi"}], "fallback_models": [CLAUDE]}
    headers = {"Authorization": "Bearer sk-of-the-caller"}
    async with aiohttp.ClientSession(headers=headers) as http, http.post(f"{proxy.base}/chat/completions", json=body) as response:
        assert response.status == 401
    assert len(provider.received) == 1


@pytest.mark.parametrize(
    ("params", "asked"),
    [
        ({"fallback_models": [CLAUDE], "disable_fallback": True}, [GPT]),
        ({"models": [CLAUDE, GEMINI]}, [GPT, CLAUDE, GEMINI]),
        ({"models": [GEMINI], "fallback_models": [CLAUDE]}, [GPT, CLAUDE]),
        ({"fallback_models": [GPT, CLAUDE, CLAUDE]}, [GPT, CLAUDE]),
    ],
)
async def test_respans_words_say_who_is_asked(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, params: dict[str, Any], asked: list[str]
) -> None:
    provider.will(*[TROUBLES["400"]] * 3)
    response, _ = await ask(http, proxy, "chat", GPT, **params)
    assert [attempt["model"] for attempt in (await row_of(proxy, response))["attempts"]] == asked


async def test_models_without_a_model_are_the_list_itself(proxy: Proxy, provider: FakeProvider) -> None:
    provider.will(TROUBLES["400"])
    body = {"messages": [{"role": "user", "content": "hi"}], "models": [GPT, CLAUDE]}
    async with aiohttp.ClientSession() as http, http.post(f"{proxy.base}/chat/completions", json=body) as response:
        assert response.status == 200
    assert [request.json["model"] for request in provider.received] == [GPT, CLAUDE]


async def test_the_configuration_says_what_a_model_falls_back_to(
    start_proxy: StartProxy, provider: FakeProvider, environ: Mapping[str, str], http: aiohttp.ClientSession
) -> None:
    routes = {"gpt-*": {"fallback_models": [CLAUDE]}, "*": {"fallback_models": [GPT]}}
    proxy = await start_proxy({"routes": routes}, environ)
    provider.will(TROUBLES["400"])
    await ask(http, proxy, "chat", GPT)
    assert provider.last.target.endswith("/messages")
    provider.will(TROUBLES["400"])
    await ask(http, proxy, "gemini", GEMINI)
    assert provider.last.target.endswith("/chat/completions")


@pytest.mark.parametrize("entry", [7, "", None, {"model": GPT}])
async def test_an_entry_that_is_no_models_name_is_refused_by_its_place(proxy: Proxy, provider: FakeProvider, entry: Any) -> None:
    body = {"model": GPT, "messages": [], "fallback_models": [CLAUDE, entry]}
    async with aiohttp.ClientSession() as http, http.post(f"{proxy.base}/chat/completions", json=body) as response:
        assert response.status == 400 and "fallback_models[1]" in (await response.json())["error"]["message"]
    assert not provider.received


HANGS = {"before the head": silent(), "after the head": streamed(Act.HANG), "after a ping": streamed([b": ping\n\n"], Act.HANG)}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("hang", HANGS)
async def test_a_target_that_says_nothing_in_time_is_left_and_its_connection_closed(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, hang: str, client: str
) -> None:
    provider.will(HANGS[hang])
    response, body = await ask(http, proxy, client, OWN[client], streams=True, fallback_models=[NEXT[client]], first_token_timeout=0.5)
    assert response.status == 200 and said(client, body, True) == recordings.TEXT
    async with asyncio.timeout(5):
        await provider.received[0].gone.wait()
    assert "first_token_timeout" in (await row_of(proxy, response))["attempts"][0]["error"]


async def test_without_another_target_the_caller_hears_of_the_time_limit(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    provider.will(silent())
    response, body = await ask(http, proxy, "chat", GPT, first_token_timeout=0.5)
    assert response.status == 504 and b"first_token_timeout" in body


async def test_embeddings_fall_back_across_dialects(proxy: Proxy, provider: FakeProvider) -> None:
    provider.will(TROUBLES["500"], whole({"embeddings": [{"values": [0.5, -0.25]}]}))
    body = {
        "model": "text-embedding-3-small",
        "input": "x",
        "encoding_format": "float",
        "fallback_models": ["gemini-embedding-001"],
        "retry_params": ONLY_ONCE,
    }
    async with aiohttp.ClientSession() as http, http.post(f"{proxy.base}/embeddings", json=body) as response:
        assert (await response.json())["data"][0]["embedding"] == [0.5, -0.25]


async def test_a_caller_that_leaves_during_the_second_try_closes_it(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    provider.will(TROUBLES["500"], silent())
    call = asyncio.create_task(ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE], retry_params=ONLY_ONCE))
    await provider.arrival()
    second = await provider.arrival()
    call.cancel()
    async with asyncio.timeout(5):
        await second.gone.wait()
