"""Who asks again is answered without a provider: whole or streamed, from either, in every dialect and through its SDK."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider, streamed, whole
from tests.reliability.conftest import CLIENTS, RowOf, ask
from tests.reliability.rich import ANSWERS, CHAT_RICH_STREAM, GEMINI_RICH_EVENTS, HEARD, MODELS, heard

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SDKs warn of the age of models and of aiohttp

FORMS = [False, True]


@pytest.mark.parametrize("then", FORMS, ids=["then-whole", "then-streamed"])
@pytest.mark.parametrize("first", FORMS, ids=["first-whole", "first-streamed"])
@pytest.mark.parametrize("kind", CLIENTS)
async def test_an_sdk_is_given_the_same_again(proxy: Proxy, provider: FakeProvider, kind: str, first: bool, then: bool) -> None:
    body, frames = ANSWERS[kind]
    provider.will(streamed(frames) if first else whole(body))
    assert await heard(kind, proxy, streams=first) == HEARD
    assert await heard(kind, proxy, streams=then) == HEARD
    assert len(provider.received) == 1


@pytest.mark.parametrize("then", FORMS, ids=["then-whole", "then-streamed"])
@pytest.mark.parametrize("first", FORMS, ids=["first-whole", "first-streamed"])
@pytest.mark.parametrize("kind", ["chat", "responses"])
async def test_a_translated_answer_is_given_again(proxy: Proxy, provider: FakeProvider, kind: str, first: bool, then: bool) -> None:
    body, frames = ANSWERS["messages"]
    provider.will(streamed(frames) if first else whole(body))
    assert await heard(kind, proxy, streams=first, model=MODELS["messages"], usage=False) == await heard(
        kind, proxy, streams=first, model=MODELS["messages"], usage=False
    )
    again = await heard(kind, proxy, streams=then, model=MODELS["messages"])
    assert again == HEARD, "with the usage, though nobody asked for it the first time"
    assert len(provider.received) == 1


async def post(http: aiohttp.ClientSession, proxy: Proxy, path: str, body: dict[str, Any], **headers: str) -> tuple[str | None, bytes]:
    """What the header says, and the answer."""
    async with http.post(proxy.base + path, json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        return response.headers.get("X-Respan-Cache"), await response.read()


CHAT: dict[str, Any] = {"model": "gpt-4.1-nano", "messages": [{"role": "user", "content": "hi"}], "cache_enabled": True}


@pytest.mark.parametrize("streams", FORMS)
@pytest.mark.parametrize("kind", CLIENTS)
async def test_the_same_form_is_given_again_to_the_byte(
    http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, kind: str, streams: bool
) -> None:
    first, said = await ask(http, proxy, kind, MODELS[kind], streams=streams, cache_enabled=True)
    then, said_again = await ask(http, proxy, kind, MODELS[kind], streams=streams, cache_enabled=True)
    assert said_again == said
    assert (first.headers["X-Respan-Cache"], then.headers["X-Respan-Cache"]) == ("MISS", "HIT")
    assert then.headers["Content-Type"] == first.headers["Content-Type"]
    assert then.headers["X-Respan-Log-Id"] != first.headers["X-Respan-Log-Id"]
    assert "x-ratelimit-remaining-requests" not in then.headers, "what a provider said of its limits then is not true now"
    assert len(provider.received) == 1


async def test_nothing_is_kept_or_said_unless_asked(http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider) -> None:
    for body in ({**CHAT, "cache_enabled": False}, {name: value for name, value in CHAT.items() if name != "cache_enabled"}) * 2:
        assert (await post(http, proxy, "/chat/completions", body))[0] is None
    assert len(provider.received) == 4


async def test_a_stream_tells_the_usage_to_those_who_asked(http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider) -> None:
    provider.will(streamed(CHAT_RICH_STREAM))
    asks = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    _, quiet = await post(http, proxy, "/chat/completions", {**CHAT, "stream": True})
    hit, told = await post(http, proxy, "/chat/completions", asks)
    hit_again, quiet_again = await post(http, proxy, "/chat/completions", {**CHAT, "stream": True})
    assert (hit, hit_again) == ("HIT", "HIT")
    assert told == b"".join(CHAT_RICH_STREAM)
    assert quiet == quiet_again == b"".join(frame for frame in CHAT_RICH_STREAM if b'"usage"' not in frame)


def _text(said: str) -> dict[str, Any]:
    return {"parts": [{"text": said}]}


async def test_googles_two_streams_are_told_from_each_other(http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider) -> None:
    path, body = "/google/gemini/v1/models/gemini-2.5-flash:streamGenerateContent", {"contents": [{"parts": [{"text": "hi"}]}]}
    for first, then in (("", "?alt=sse"), ("?alt=sse", "")):
        asked = {
            **body,
            "respan_params": {"cache_enabled": True},
            "labels": {"n": first},
            "system_instruction": _text(first),
        }
        provider.will(
            streamed(
                [f"{',' if number else '['}{json.dumps(event)}".encode() for number, event in enumerate(GEMINI_RICH_EVENTS)],
                b"]",
                headers={"Content-Type": "application/json"},
            )
            if not first
            else streamed([f"data: {json.dumps(event)}\r\n\r\n".encode() for event in GEMINI_RICH_EVENTS])
        )
        await post(http, proxy, path + first, asked)
        hit, told = await post(http, proxy, path + then, asked)
        assert hit == "HIT"
        if then:
            assert [json.loads(frame[6:]) for frame in told.decode().split("\r\n\r\n")[:-1]] == GEMINI_RICH_EVENTS
        else:
            assert json.loads(told) == GEMINI_RICH_EVENTS
    assert len(provider.received) == 2


async def test_embeddings_are_kept_too(http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, row_of: RowOf) -> None:
    body = {"model": "text-embedding-3-small", "input": "hi", "cache_enabled": True}
    first = await post(http, proxy, "/embeddings", body)
    assert await post(http, proxy, "/embeddings", body) == ("HIT", first[1])
    google = {"requests": [{"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "hi"}]}}]}
    google["respan_params"] = {"cache_enabled": True}  # type: ignore[assignment]
    path = "/google/gemini/v1beta/models/gemini-embedding-001:batchEmbedContents"
    first = await post(http, proxy, path, google)
    assert await post(http, proxy, path, google) == ("HIT", first[1])
    assert len(provider.received) == 2


@pytest.mark.parametrize("streams", FORMS)
async def test_the_row_of_a_hit_says_what_it_saved(
    http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, row_of: RowOf, streams: bool
) -> None:
    first, _ = await ask(http, proxy, "chat", "gpt-4.1-nano", cache_enabled=True)
    then, _ = await ask(http, proxy, "chat", "gpt-4.1-nano", streams=streams, cache_enabled=True)
    paid, hit = await row_of(proxy, first), await row_of(proxy, then)
    assert (paid["cache_bit"], hit["cache_bit"]) == (False, True)
    assert paid["cache_key"] == hit["cache_key"]
    assert len(hit["cache_key"]) == 64
    assert paid["cost"] > 0
    assert (hit["cost"], hit["saved_cost"], hit["cost_source"]) == (0, paid["cost"], "cache")
    assert paid["saved_cost"] is None
    assert (hit["model"], hit["model_tag"], paid["model_tag"]) == (paid["model"], "respan/cache", paid["model"])
    assert (hit["attempts"], hit["upstream_request_id"], hit["status"], hit["outcome"]) == (None, None, "success", "complete")
    for name in ("prompt_tokens", "completion_tokens", "prompt_cache_hit_tokens", "finish_reason", "response_id", "provider_id"):
        assert hit[name] == paid[name], name
    assert hit["completion_message"]["content"] == recordings.TEXT
    assert hit["output"] == paid["output"]


@pytest.mark.parametrize("streams", FORMS)
async def test_the_breakdown_of_a_hit_says_cached(http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, streams: bool) -> None:
    body = {**CHAT, "request_breakdown": True}
    _, paid = await post(http, proxy, "/chat/completions", body)
    _, told = await post(http, proxy, "/chat/completions", {**body, "stream": streams})
    if streams:
        frames = told.decode().split("\n\n")
        assert frames[-2] == "data: [DONE]"
        found = json.loads(frames[-3][6:])["choices"][0]["request_breakdown"]
    else:
        found = json.loads(told)["request_breakdown"]
    assert json.loads(paid)["request_breakdown"]["cached"] is False
    assert (found["cached"], found["cost"], found["prompt_tokens"]) == (True, 0, 20)
    assert found["completion_message"]["content"] == recordings.TEXT


async def test_a_hit_leaves_no_row_when_that_is_asked(http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider) -> None:
    for spelling in ("omit_log", "omit_logs"):
        body = {**CHAT, "cache_options": {spelling: True}, "messages": [{"role": "user", "content": spelling}]}
        async with http.post(f"{proxy.base}/chat/completions", json=body) as response:
            log_id = response.headers["X-Respan-Log-Id"]
        async with http.post(f"{proxy.base}/chat/completions", json=body) as response:
            assert response.headers["X-Respan-Cache"] == "HIT"
            assert "X-Respan-Log-Id" not in response.headers
        async with http.get(f"{proxy.base}/request-logs/{log_id}/") as response:
            assert (await response.json())["status"] == "success"
    async with http.get(f"{proxy.base}/request-logs/list/") as response:
        assert (await response.json())["total_count"] == 2


REFUSED = {**recordings.MESSAGE, "stop_reason": "refusal"}
OVERLOADED = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'
FILTERED = {**recordings.CHAT, "choices": [{**recordings.CHAT["choices"][0], "finish_reason": "content_filter"}]}
QUEUED = {**recordings.RESPONSE, "status": "queued", "output": [], "usage": None}


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("chat", whole({"error": {"message": "no luck", "type": "server_error"}}, 400)),
        ("chat", whole(FILTERED)),
        ("messages", whole(REFUSED)),
        ("responses", whole(QUEUED)),
        ("chat", streamed(recordings.CHAT_STREAM[:-2], Act.RESET)),
        ("chat", streamed(recordings.CHAT_STREAM[:-2])),
        (
            "messages",
            streamed(recordings.MESSAGES_STREAM[:-3], OVERLOADED),
        ),
    ],
    ids=["refused", "filtered", "refusal", "queued", "reset", "cut", "error-in-stream"],
)
async def test_only_whole_successes_are_kept(
    http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, kind: str, answer: Any
) -> None:
    streams = any(name == "Transfer-Encoding" for name, _ in answer.headers)
    provider.will(answer)
    await ask(http, proxy, kind, MODELS[kind], streams=streams, cache_enabled=True)
    then, _ = await ask(http, proxy, kind, MODELS[kind], streams=streams, cache_enabled=True)
    assert then.headers["X-Respan-Cache"] == "MISS"
    assert len(provider.received) == 2


async def test_what_another_model_answered_is_not_kept_under_this_ones_name(
    http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider
) -> None:
    failed = whole({"error": {"message": "no luck"}}, 404)
    params: dict[str, Any] = {"cache_enabled": True, "fallback_models": ["claude-sonnet-4-6"]}
    provider.will(failed)
    first, _ = await ask(http, proxy, "chat", "gpt-4.1-nano", **params)
    then, _ = await ask(http, proxy, "chat", "gpt-4.1-nano", **params)
    assert "model:answered_by_fallback" in first.headers["X-Respan-Warnings"]
    assert (then.headers["X-Respan-Cache"], "X-Respan-Warnings" in then.headers) == ("MISS", False)
    params["cache_options"] = {"is_cached_by_model": False}
    provider.will(failed)
    await ask(http, proxy, "chat", "gpt-4.1-mini", **params)
    other, _ = await ask(http, proxy, "chat", "gpt-4o", **params)
    assert other.headers["X-Respan-Cache"] == "HIT", "whoever's answer it is"


async def test_what_was_lost_in_translation_is_told_again(http: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider) -> None:
    for _ in range(2):
        async with http.post(f"{proxy.base}/chat/completions", json={**CHAT, "model": "claude-sonnet-4-6", "seed": 1}) as response:
            assert "seed:dropped" in response.headers["X-Respan-Warnings"]
    assert len(provider.received) == 1


async def test_every_call_is_kept_when_the_config_says_so(
    http: aiohttp.ClientSession, start_proxy: StartProxy, provider: FakeProvider, environ: dict[str, str]
) -> None:
    proxy = await start_proxy({"cache": {"enabled": True, "by_customer": True, "by_model": False}}, environ)
    plain = {name: value for name, value in CHAT.items() if name != "cache_enabled"}

    async def said(**more: Any) -> str | None:
        return (await post(http, proxy, "/chat/completions", {**plain, **more}))[0]

    assert [await said(), await said(), await said(model="gpt-4o")] == ["MISS", "HIT", "HIT"]
    assert [await said(customer_identifier="a"), await said(customer_identifier="b"), await said(customer_identifier="b")] == [
        "MISS",
        "MISS",
        "HIT",
    ]
    assert await said(cache_options={"is_cached_by_model": True}) == "MISS"
    assert await said(cache_enabled=False) is None


async def test_an_option_that_cannot_be_read_is_named(http: aiohttp.ClientSession, proxy: Proxy) -> None:
    async with http.post(f"{proxy.base}/chat/completions", json={**CHAT, "cache_options": {"omit_log": "perhaps"}}) as response:
        assert response.headers["X-Respan-Warnings"] == "cache_options.omit_log:ignored_not_true_or_false"


async def test_echo_alone_shows_a_hit(http: aiohttp.ClientSession, start_proxy: StartProxy) -> None:
    proxy = await start_proxy({}, {})
    for model in ("gpt-4.1-nano", "echo/hello"):
        first = await post(http, proxy, "/chat/completions", {**CHAT, "model": model})
        then = await post(http, proxy, "/chat/completions", {**CHAT, "model": model})
        assert (first[0], then) == ("MISS", ("HIT", first[1]))


@pytest.mark.parametrize("then", FORMS, ids=["then-whole", "then-streamed"])
async def test_typed_content_is_kept_as_the_text_that_it_is(
    http: aiohttp.ClientSession, start_proxy: StartProxy, provider: FakeProvider, environ: dict[str, str], then: bool
) -> None:
    """Mistral's lists of typed chunks: a hit says the same as the call that it repeats."""
    more = {"MISTRAL_API_KEY": "m-1234567890", "RESPAN_PROXY_MISTRAL_BASE_URL": f"{provider.url}/v1"}
    proxy = await start_proxy({}, {**environ, **more})
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hmm."}]}
    message = {"role": "assistant", "content": [thought, {"type": "text", "text": "Hello"}]}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    provider.will(whole({**recordings.CHAT, "choices": [choice]}))
    body = {**CHAT, "model": "mistral/magistral-medium-latest"}
    _, first = await post(http, proxy, "/chat/completions", body)
    hit, again = await post(http, proxy, "/chat/completions", {**body, "stream": then})
    assert hit == "HIT"
    said = json.loads(first)["choices"][0]["message"]
    assert (said["content"], said["reasoning_content"]) == ("Hello", "Hmm.")
    if then:
        assert b'"content":"Hello"' in again
        assert b'"reasoning_content":"Hmm."' in again
    else:
        assert again == first
