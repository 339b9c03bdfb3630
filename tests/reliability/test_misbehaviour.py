"""Whatever a provider does to a call, in whatever dialect, whole or streamed: the caller hears its own dialect, the row tells the truth.

| what it does | alone | with a retry | with a fallback |
| --- | --- | --- | --- |
| refuses, resets, answers HTML, garbage, nothing, an error in a 200 | its error | the second try answers | the next model answers |
| hangs before or after the head | 504 | 504: it may be at work on it | the next model answers |
| hangs, resets or ends in mid-stream | an error event | the same: what was said cannot be unsaid | the same |
| 429, each form of saying for how long | the wait is handed on | waited for, where it is short | the next model answers |
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Act, Answer, FakeProvider, garbage, html, silent, streamed, whole
from tests.reliability.conftest import CLIENTS, RowOf, ask
from tests.reliability.test_fallback import CLAUDE, ERROR_FIRST, GEMINI, GPT, OWN, said

FOREIGN = {"chat": GEMINI, "responses": CLAUDE, "messages": GPT, "gemini": CLAUDE}
# A third one, whose dialect the first two do not speak wherever there is one.
NEXT = {"chat": CLAUDE, "responses": GEMINI, "messages": GEMINI, "gemini": GPT}
# In which dialect a model is asked by a client of another (of its own: that one's).
SPOKEN = {GPT: "chat", CLAUDE: "messages", GEMINI: "gemini"}

VENDORS = ("openai", "anthropic", "gemini")
ONCE_MORE = {"retry_enabled": True, "num_retries": 1, "retry_after": 0}
PLAIN: dict[str, Any] = {"retry": {"enabled": False}, "breaker": {"failures": 0}}
# Long enough for a machine that is busy, short enough to wait for.
HASTY: dict[str, Any] = {**PLAIN, "providers": {name: {"first_byte_s": 0.4, "silence_s": 0.4} for name in VENDORS}}

# The head of an answer of which not all comes.
HALF = (("Content-Type", "application/json"), ("Content-Length", "99"))

# Each with the statuses that may be told of it.
TROUBLES: dict[str, tuple[Answer, set[int]]] = {
    "resets": (Answer(before=[Act.RESET]), {502}),
    "answers HTML": (html(502), {502}),
    "answers HTML as if all were well": (html(200), {502}),
    "answers what is not HTTP": (garbage(), {502}),
    "answers what is not JSON": (whole(b"{not json"), {502}),
    "answers nothing": (whole(b""), {502}),
    "answers an error inside a 200": (whole({"error": {"message": "inside", "type": "server_error"}}), {500}),
    "breaks off a whole answer": (
        Answer(200, HALF, [b'{"id":', Act.CUT]),
        {502},
    ),
}

BEGINNINGS = {
    "chat": recordings.CHAT_STREAM[:2],
    "responses": recordings.RESPONSES_STREAM[:4],
    "messages": recordings.MESSAGES_STREAM[:3],
    "gemini": recordings.GEMINI_STREAM[:1],
}


def forget_connections(provider: FakeProvider) -> None:
    """So that the next call opens one: a reset on a connection that was used before is mended within the same try."""
    for connection in provider.connections:
        connection.transport.close()


def spoken(client: str, model: str) -> str:
    return client if model == OWN[client] else SPOKEN[model]


def message_of(client: str, status: int, body: bytes) -> str:
    """What an error says, if it is one of this dialect."""
    value = json.loads(body)
    error = value["error"]
    match client:
        case "gemini":
            assert error["code"] == status and error["status"]
        case "messages":
            assert value["type"] == "error" and error["type"]
        case _:
            assert error["type"]
    text: str = error["message"]
    return text


def broken(client: str, body: bytes) -> bool:
    """Whether a stream ends in this dialect's way of saying that it broke, and in no other."""
    last = body.rstrip().rsplit(b"\n\n", 1)[-1].rsplit(b"\r\n\r\n", 1)[-1]
    data = json.loads(last.rsplit(b"data: ", 1)[1])
    return "error" in data or data.get("type") == "response.failed"


@pytest.fixture
async def plain(start_proxy: StartProxy, environ: Mapping[str, str]) -> Proxy:
    return await start_proxy(PLAIN, environ)


@pytest.fixture
async def hasty(start_proxy: StartProxy, environ: Mapping[str, str]) -> Proxy:
    return await start_proxy(HASTY, environ)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that refuses connections: bound, so that nobody else takes it, and not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
async def refused(start_proxy: StartProxy, environ: Mapping[str, str], nobody: str) -> Proxy:
    """OpenAI cannot be reached."""
    return await start_proxy(PLAIN, {**environ, "RESPAN_PROXY_OPENAI_BASE_URL": f"{nobody}/v1"})


def both(client: str) -> tuple[str, str]:
    return OWN[client], FOREIGN[client]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_alone_it_is_told_as_the_error_that_it_is(
    plain: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str, streams: bool
) -> None:
    for name, (answer, statuses) in TROUBLES.items():
        for model in both(client):
            forget_connections(provider)
            provider.will(answer)
            before = len(provider.received)
            response, body = await ask(http, plain, client, model, streams=streams)
            assert response.status in statuses, (name, model, body)
            assert message_of(client, response.status, body), name
            assert len(provider.received) == before + 1
            row = await row_of(plain, response)
            (attempt,) = row["attempts"]
            assert (row["status"], row["status_code"]) == ("failed", response.status), (name, model)
            assert row["error_message"] and attempt["model"] == model


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_with_a_retry_the_second_try_answers(
    plain: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str, streams: bool
) -> None:
    for name, (answer, _) in TROUBLES.items():
        for model in both(client):
            forget_connections(provider)
            provider.will(answer)
            response, body = await ask(http, plain, client, model, streams=streams, retry_params=ONCE_MORE)
            assert response.status == 200 and same(said(client, body, streams)), (name, model, body)
            row = await row_of(plain, response)
            first, second = row["attempts"]
            assert (row["status"], second["status_code"]) == ("warning", 200), name
            assert first["error"] and first["model"] == second["model"] == model


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_with_a_fallback_the_next_model_answers(
    plain: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str, streams: bool
) -> None:
    for name, (answer, _) in TROUBLES.items():
        for model in both(client):
            forget_connections(provider)
            provider.will(answer)
            response, body = await ask(http, plain, client, model, streams=streams, fallback_models=[NEXT[client]])
            assert response.status == 200 and same(said(client, body, streams)), (name, model, body)
            row = await row_of(plain, response)
            assert (row["status"], row["request_model"]) == ("warning", model)
            first, second = row["attempts"]
            assert first["error"] and (first["model"], second["model"]) == (model, NEXT[client])


def same(text: str) -> bool:
    return "".join(text.split()) == "".join(recordings.TEXT.split())


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", ["chat", "responses", "messages"])
async def test_a_provider_that_refuses_connections(
    refused: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str, streams: bool
) -> None:
    """OpenAI's dialects and a translation to them. Gemini's client: the same targets, seen in the matrix above."""
    for params, tries in (({}, 1), ({"retry_params": ONCE_MORE}, 2)):
        response, body = await ask(http, refused, client, GPT, streams=streams, **params)
        assert response.status == 502 and "cannot be reached" in message_of(client, 502, body)
        row = await row_of(refused, response)
        assert row["status"] == "failed" and len(row["attempts"]) == tries
        assert all("cannot be reached" in attempt["error"] for attempt in row["attempts"])
        assert response.headers.get("x-should-retry") == ("false" if tries > 1 else None)
    response, body = await ask(http, refused, client, GPT, streams=streams, retry_params=ONCE_MORE, fallback_models=[CLAUDE])
    assert response.status == 200 and same(said(client, body, streams))
    row = await row_of(refused, response)
    assert [attempt["model"] for attempt in row["attempts"]] == [GPT, GPT, CLAUDE] and row["status"] == "warning"


HANGS: dict[str, dict[bool, Answer]] = {
    "before the head": {False: silent(), True: silent()},
    "after the head": {
        False: Answer(200, HALF, [Act.HANG]),
        True: streamed(Act.HANG),
    },
    "in the middle of a whole answer": {
        False: Answer(200, HALF, [b'{"id":', Act.HANG]),
        True: streamed([b": ping\n\n"], Act.HANG),
    },
}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_hang_before_the_first_words_is_a_504_that_is_not_asked_again_but_elsewhere(
    hasty: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str, streams: bool
) -> None:
    for name, answers in HANGS.items():
        model = both(client)[name == "after the head"]
        provider.will(answers[streams])
        response, body = await ask(http, hasty, client, model, streams=streams, retry_params=ONCE_MORE)
        assert response.status == 504 and message_of(client, 504, body), name
        row = await row_of(hasty, response)
        assert (row["status"], row["status_code"], len(row["attempts"])) == ("failed", 504, 1), name
        provider.will(answers[streams])
        response, body = await ask(http, hasty, client, model, streams=streams, fallback_models=[NEXT[client]])
        assert response.status == 200 and same(said(client, body, streams)), name
        first, second = (await row_of(hasty, response))["attempts"]
        assert first["error"] and second["model"] == NEXT[client]


@pytest.mark.parametrize("ending", [Act.HANG, Act.RESET, Act.CUT])
@pytest.mark.parametrize("client", CLIENTS)
async def test_in_mid_stream_the_caller_hears_that_it_broke_and_nobody_else_is_asked(
    hasty: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str, ending: Act
) -> None:
    for model in both(client):
        provider.will(streamed(BEGINNINGS[spoken(client, model)], ending))
        before = len(provider.received)
        response, body = await ask(http, hasty, client, model, streams=True, retry_params=ONCE_MORE, fallback_models=[NEXT[client]])
        assert response.status == 200 and broken(client, body), body
        assert len(provider.received) == before + 1
        row = await row_of(hasty, response)
        assert (row["status"], row["outcome"], len(row["attempts"])) == ("failed", "upstream_broke", 1)
        assert row["error_message"]


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_first_event_that_is_an_error_is_one_wherever_it_comes_from(
    plain: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str
) -> None:
    for model in both(client):
        error = streamed(ERROR_FIRST[spoken(client, model)])
        provider.will(error)
        response, body = await ask(http, plain, client, model, streams=True)
        assert response.status >= 500 and message_of(client, response.status, body) == "no"
        for remedy, asked in ({"retry_params": ONCE_MORE}, model), ({"fallback_models": [NEXT[client]]}, NEXT[client]):
            provider.will(error)
            response, body = await ask(http, plain, client, model, streams=True, **remedy)
            assert response.status == 200 and same(said(client, body, True))
            first, second = (await row_of(plain, response))["attempts"]
            assert first["error"] and second["model"] == asked


def too_many(headers: Mapping[str, str] | None = None, details: list[dict[str, str]] | None = None) -> Answer:
    error: dict[str, Any] = {"message": "slow down", "type": "rate_limit_error", "code": 429, "status": "RESOURCE_EXHAUSTED"}
    return whole({"type": "error", "error": {**error, "details": details or []}}, 429, headers)


def retry_info(delay: str) -> list[dict[str, str]]:
    return [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]


def waits(seconds: int) -> dict[str, Answer]:
    """Each form of asking for this wait."""
    return {
        "seconds": too_many({"Retry-After": str(seconds)}),
        "a date": too_many({"Retry-After": formatdate(time.time() + seconds, usegmt=True)}),
        "milliseconds": too_many({"retry-after-ms": str(seconds * 1000)}),
        "RetryInfo": too_many(details=retry_info(f"{seconds}s")),
    }


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_429_with_each_form_of_delay(
    plain: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str, streams: bool
) -> None:
    for form in waits(0):
        for model in {*both(client), GEMINI} if form != "RetryInfo" else {GEMINI}:
            long, short = waits(3600)[form], waits(0)[form]
            for remedy in ({}, {"retry_params": ONCE_MORE}):
                provider.will(long)
                response, body = await ask(http, plain, client, model, streams=streams, **remedy)
                assert response.status == 429 and message_of(client, 429, body) == "slow down"
                assert any(name in response.headers for name in ("Retry-After", "retry-after-ms")), (form, model)
                row = await row_of(plain, response)
                assert (row["status_code"], len(row["attempts"])) == (429, 1), "an hour is not waited for"
            provider.will(short)
            response, body = await ask(http, plain, client, model, streams=streams, retry_params=ONCE_MORE)
            assert response.status == 200 and same(said(client, body, streams)), (form, model)
            assert [attempt["status_code"] for attempt in (await row_of(plain, response))["attempts"]] == [429, 200]
            other = NEXT[client] if model != NEXT[client] else OWN[client]
            provider.will(long)
            response, body = await ask(http, plain, client, model, streams=streams, retry_params=ONCE_MORE, fallback_models=[other])
            assert response.status == 200 and same(said(client, body, streams)), (form, model)
            attempts = (await row_of(plain, response))["attempts"]
            assert [attempt["status_code"] for attempt in attempts] == [429, 200] and attempts[1]["model"] == other
