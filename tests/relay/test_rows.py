"""The row of a call tells what happened, however the call ended, in the words that Respan's users know."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from respan_proxy.app import running
from respan_proxy.config import parse
from respan_proxy.server.gateway import Gateway
from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Act, Answer, FakeProvider, streamed, whole

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
MESSAGES = {**CHAT, "model": "claude-sonnet-4-5", "max_tokens": 9}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/chat/completions", CHAT),
    "responses": ("/responses", {"model": "gpt-4o", "input": "hi"}),
    "messages": ("/anthropic/v1/messages", MESSAGES),
    "gemini": ("/google/gemini/v1/models/gemini-2.5-flash:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]}),
}
GEMINI_STREAM = "/google/gemini/v1/models/gemini-2.5-flash:streamGenerateContent"


async def call(client: aiohttp.ClientSession, proxy: Proxy, path: str, body: Any, **more: Any) -> aiohttp.ClientResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = await client.post(f"{proxy.base}{path}", data=data, **more)
    await response.read()
    return response


def gemini(*parts: dict[str, Any], finish: str = "STOP") -> dict[str, Any]:
    return {
        "responseId": "resp_1",
        "modelVersion": "gemini-2.5-flash",
        "candidates": [{"index": 0, "content": {"role": "model", "parts": list(parts)}, "finishReason": finish}],
        "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "totalTokenCount": 9},
    }


def chat(message: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    usage = {"prompt_tokens": 4, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 3}}
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": finish}
    return {**recordings.CHAT, "choices": [choice], "usage": usage}


def message(*content: dict[str, Any], stop: str = "end_turn") -> dict[str, Any]:
    return {**recordings.MESSAGE, "content": list(content), "stop_reason": stop}


FINISHES: list[tuple[str, Answer, str]] = [
    ("chat", whole(chat({"content": "a"}, "stop")), "stop"),
    ("chat", whole(chat({"content": "a"}, "length")), "length"),
    ("chat", whole(recordings.CHAT_TOOLS), "tool_calls"),
    ("chat", whole(chat({"content": "a"}, "content_filter")), "content_filter"),
    ("responses", whole(recordings.RESPONSE_TOOLS), "tool_calls"),
    ("messages", whole(recordings.MESSAGE_TOOLS), "tool_calls"),
    ("messages", whole(message({"type": "text", "text": "a"}, stop="max_tokens")), "length"),
    ("messages", whole(message({"type": "text", "text": "a"}, stop="refusal")), "content_filter"),
    ("gemini", whole(recordings.GEMINI_TOOLS), "tool_calls"),
    ("gemini", whole(gemini({"text": "a"}, finish="MAX_TOKENS")), "length"),
    ("gemini", whole(gemini({"text": "a"}, finish="SAFETY")), "content_filter"),
]


@pytest.mark.parametrize(("name", "answer", "finish"), FINISHES)
async def test_the_reason_for_stopping_is_one_of_openais_words(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, name: str, answer: Answer, finish: str
) -> None:
    provider.will(answer)
    row = await row_of(proxy, await call(client, proxy, *CALLS[name]))
    assert (row["finish_reason"], row["has_tool_calls"]) == (finish, finish == "tool_calls")


def reasoning_stream() -> list[bytes]:
    start = {**recordings.MESSAGE, "content": [], "stop_reason": None}
    return recordings.sse(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "They greet."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
        named=True,
    )


def responses_reasoning() -> dict[str, Any]:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "They greet."}]}
    said = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
    text = {"type": "output_text", "text": "Hello", "annotations": []}
    return {**recordings.RESPONSE, "output": [thought, {**said, "content": [text]}]}


def chat_chunks(*deltas: dict[str, Any]) -> list[bytes]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    ends = [{**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    usage = {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9}
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    return recordings.sse(*chunks, *ends, {**head, "choices": [], "usage": usage}, "[DONE]")


def responses_stream() -> list[bytes]:
    part = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    text = {"item_id": "m", "output_index": 1, "content_index": 0}
    created = {**recordings.RESPONSE, "status": "in_progress", "output": [], "usage": None}
    return recordings.sse(
        {"type": "response.created", "sequence_number": 0, "response": created},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "rs_1", "summary": []}},
        {"type": "response.reasoning_summary_text.delta", **part, "delta": "They greet."},
        {"type": "response.output_text.delta", **text, "delta": "Hello"},
        {"type": "response.completed", "response": responses_reasoning()},
        named=True,
    )


THOUGHTS: dict[str, tuple[str, Answer]] = {
    "chat": ("chat", whole(chat({"content": "Hello", "reasoning_content": "They greet."}))),
    "chat stream": ("chat", streamed(chat_chunks({"role": "assistant", "reasoning_content": "They greet."}, {"content": "Hello"}))),
    "responses": ("responses", whole(responses_reasoning())),
    "responses stream": ("responses", streamed(responses_stream())),
    "messages": (
        "messages",
        whole(message({"type": "thinking", "thinking": "They greet.", "signature": "s"}, {"type": "text", "text": "Hello"})),
    ),
    "messages stream": ("messages", streamed(reasoning_stream())),
    "gemini": ("gemini", whole(gemini({"text": "They greet.", "thought": True}, {"text": "Hello"}))),
    "gemini stream": (
        "gemini",
        streamed(recordings.sse(gemini({"text": "They greet.", "thought": True}, {"text": "Hello"}), end="\r\n\r\n")),
    ),
}


@pytest.mark.parametrize("case", THOUGHTS)
async def test_reasoning_and_text_are_told_apart(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, case: str
) -> None:
    name, answer = THOUGHTS[case]
    provider.will(answer)
    path, body = CALLS[name]
    if "stream" in case:
        path, body = (f"{GEMINI_STREAM}?alt=sse", body) if name == "gemini" else (path, {**body, "stream": True})
    row = await row_of(proxy, await call(client, proxy, path, body))
    assert (row["status"], row["stream"]) == ("success", "stream" in case)
    assert row["completion_message"] == {"role": "assistant", "content": "Hello", "reasoning_content": "They greet."}


async def test_a_json_array_stream_is_put_together(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    row = await row_of(proxy, await call(client, proxy, GEMINI_STREAM, CALLS["gemini"][1]))
    assert row["completion_message"] == {"role": "assistant", "content": recordings.TEXT}
    assert row["status"] == "success" and row["time_to_first_token"] is not None


async def test_a_stream_that_was_answered_whole_is_put_together(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    provider.will(whole(recordings.CHAT))
    row = await row_of(proxy, await call(client, proxy, "/chat/completions", {**CHAT, "stream": True}))
    assert row["completion_message"]["content"] == recordings.TEXT


async def test_tokens_that_nobody_counted_are_estimated_and_said_to_be(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    provider.will(streamed(recordings.CHAT_STREAM))
    row = await row_of(proxy, await call(client, proxy, "/chat/completions", {**CHAT, "stream": True}))
    assert (row["status"], row["warnings"], row["usage_estimated"]) == ("warning", "estimated token usage", True)
    assert row["completion_tokens"] > 0


async def test_prices_said_in_the_request_are_the_cost(proxy: Proxy, client: aiohttp.ClientSession, row_of: Any) -> None:
    body = {**CHAT, "respan_params": {"prompt_unit_price": 100, "completion_unit_price": 1000}}
    row = await row_of(proxy, await call(client, proxy, "/chat/completions", body))
    assert row["cost"] == pytest.approx((100 * row["prompt_tokens"] + 1000 * row["completion_tokens"]) / 1e6)
    assert row["cost_source"] == "prompt_unit_price, completion_unit_price"


async def test_a_model_that_answers_under_a_name_of_its_own_costs_what_was_asked_for(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    provider.will(whole({**recordings.CHAT, "model": "a-deployment-of-mine"}))
    row = await row_of(proxy, await call(client, proxy, "/chat/completions", CHAT))
    assert (row["model"], row["request_model"]) == ("a-deployment-of-mine", "gpt-4o")
    assert row["cost"] > 0


HEADS: dict[str, tuple[str, list[bytes], int]] = {
    "chat": ("chat", chat_chunks({"role": "assistant", "content": ""}, {"content": "Hello"}), 1),
    "chat tools": ("chat", recordings.CHAT_TOOLS_STREAM, 0),
    "responses": ("responses", recordings.RESPONSES_STREAM, 4),
    "responses tools": ("responses", recordings.RESPONSES_TOOLS_STREAM, 2),
    "messages": ("messages", recordings.MESSAGES_STREAM, -1),
    "gemini": ("gemini", recordings.GEMINI_STREAM, 0),
}


@pytest.mark.parametrize("case", HEADS)
async def test_the_first_token_is_the_first_content_not_the_first_frame(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any, case: str
) -> None:
    name, frames, first = HEADS[case]
    path, body = CALLS[name]
    path, body = (f"{GEMINI_STREAM}?alt=sse", body) if name == "gemini" else (path, {**body, "stream": True})
    if first < 0:
        first = next(index for index, frame in enumerate(frames) if b"content_block_delta" in frame)
    gate = asyncio.Event()
    provider.will(streamed(frames[:first], gate, frames[first:]) if first else streamed(frames))
    async with client.post(f"{proxy.base}{path}", json=body) as response:
        if first:
            await response.content.readexactly(sum(map(len, frames[:first])))
            gate.set()
        await response.read()
    row = await row_of(proxy, response)
    came = next(at["time"] for at in row["frames"] if frames[first].decode() in at["data"])
    assert row["time_to_first_token"] == pytest.approx(came, abs=1e-6)
    assert row["time_to_first_token"] <= row["latency"]
    assert row["tokens_per_second"] > 0


async def test_what_was_said_before_a_break_is_counted_and_the_row_says_it_broke(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    provider.will(streamed(recordings.MESSAGES_STREAM[:4], Act.RESET))
    row = await row_of(proxy, await call(client, proxy, "/anthropic/v1/messages", {**MESSAGES, "stream": True}))
    assert (row["outcome"], row["status"], row["status_code"], row["error_code"]) == ("upstream_broke", "failed", 502, "upstream_broke")
    assert row["attempts"][0]["error"] == row["error_message"]
    assert row["attempts"][0]["ended"] <= row["latency"]
    assert row["completion_message"]["content"]
    assert "estimated token usage" in row["warnings"]


async def test_an_error_of_the_provider_is_kept_with_its_code(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    provider.will(whole(recordings.openai_error(429, "rate_limit_exceeded"), 429))
    row = await row_of(proxy, await call(client, proxy, "/chat/completions", CHAT))
    assert (row["outcome"], row["status"], row["status_code"], row["error_code"]) == ("complete", "failed", 429, "rate_limit_exceeded")
    assert row["full_response"]["error"]["code"] == "rate_limit_exceeded"
    assert (row["time_to_first_token"], row["tokens_per_second"], row["completion_tokens"]) == (None, None, None)


async def test_our_own_error_is_kept_as_it_was_answered(proxy: Proxy, client: aiohttp.ClientSession, row_of: Any) -> None:
    response = await call(client, proxy, "/chat/completions", {**CHAT, "model": "nobody-has-this"})
    row = await row_of(proxy, response)
    assert (row["outcome"], row["status"], row["status_code"]) == ("rejected", "failed", 404)
    assert row["full_response"] == await response.json()
    assert ["X-Respan-Log-Id", row["id"]] in row["response_headers"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [(b"not json", {}, 400), (b"", {}, 400), (b"x" * 3000, {}, 413), (b"{}", {"Content-Encoding": "br"}, 415)],
)
async def test_a_request_that_is_refused_is_a_row_too(
    start_proxy: StartProxy, client: aiohttp.ClientSession, row_of: Any, body: bytes, headers: dict[str, str], status: int
) -> None:
    proxy = await start_proxy({"limits": {"request_bytes": 2000}})
    response = await call(client, proxy, "/chat/completions", body, headers=headers)
    row = await row_of(proxy, response)
    assert response.status == status
    assert (row["outcome"], row["status"], row["status_code"]) == ("rejected", "failed", status)


async def test_who_has_no_key_is_told_so_before_anything_else_and_leaves_no_row(
    start_proxy: StartProxy, client: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"limits": {"request_bytes": 2000}, "keys": [{"name": "a", "key": "a-key-0123456789", "is_admin": True}]})
    for body in (b"x" * 3000, json.dumps(CHAT).encode()):
        response = await call(client, proxy, "/chat/completions", body)
        assert response.status == 401
        assert "X-Respan-Log-Id" not in response.headers
    async with client.get(f"{proxy.base}/request-logs/list/", headers={"Authorization": "Bearer a-key-0123456789"}) as seen:
        assert (await seen.json())["count"] == 0
    async with client.get(f"{proxy.root}/health/ready") as health:
        assert (await health.json())["requests"]["unauthorized"] == 2


async def test_a_running_call_is_found_from_the_moment_its_headers_arrive(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession, row_of: Any
) -> None:
    gate = asyncio.Event()
    provider.will(streamed(recordings.CHAT_STREAM[:2], gate, recordings.CHAT_STREAM[2:]))
    async with client.post(f"{proxy.base}/chat/completions", json={**CHAT, "stream": True, "customer_identifier": "u1"}) as response:
        row = await row_of(proxy, response)
        assert (row["status"], row["request_model"], row["customer_identifier"]) == ("running", "gpt-4o", "u1")
        gate.set()
        await response.read()
    assert (await row_of(proxy, response))["status"] == "warning"


async def test_without_the_header_a_call_is_found_by_the_list(
    start_proxy: StartProxy, environ: dict[str, str], client: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy({"server": {"link_header": False}}, environ)
    response = await call(client, proxy, "/chat/completions", {**CHAT, "thread_identifier": "t1"})
    assert "X-Respan-Log-Id" not in response.headers
    async with client.get(f"{proxy.base}/request-logs/list/?thread_identifier=t1") as seen:
        [row] = (await seen.json())["results"]
    assert (row["status"], row["thread_identifier"]) == ("success", "t1")


async def test_a_call_that_the_proxy_cuts_to_stop_reads_interrupted(
    environ: dict[str, str], provider: FakeProvider, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    database = tmp_path / "calls.db"
    flags = {"listen": "127.0.0.1:0", "database": str(database)}
    provider.will(streamed(recordings.CHAT_STREAM[:2], Act.HANG))
    async with running(parse({"limits": {"shutdown_s": 0.001}}, environ, "test.toml", flags)) as house:
        response = await client.post(f"{house.url}/chat/completions", json={**CHAT, "stream": True})
        await response.content.readany()
    response.close()
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT status, outcome, status_code, error_code FROM log").fetchall() == [
            ("interrupted", "stopped", 503, "stopped")
        ]


async def test_a_step_that_fails_after_the_last_byte_keeps_no_row_from_being_whole(
    proxy: Proxy, client: aiohttp.ClientSession, row_of: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr("respan_proxy.handlers.row.price", fails)
    row = await row_of(proxy, await call(client, proxy, "/chat/completions", CHAT))
    assert (row["status"], row["status_code"], row["prompt_tokens"]) == ("success", 200, 20)
    assert "out of order" in caplog.text
    monkeypatch.setattr("respan_proxy.handlers.observe.glance", fails)
    row = await row_of(proxy, await call(client, proxy, "/chat/completions", CHAT))
    assert (row["status"], row["status_code"]) == ("success", 200)


class Interrupted(Awaitable[Any]):
    """Runs a coroutine and cancels it where it waits for the `number`-th time. `waited` counts its waits."""

    def __init__(self, coroutine: Any, number: int) -> None:
        self._coroutine = coroutine
        self._number = number
        self.waited = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._coroutine.__await__()
        try:
            waits_for = next(steps)
            while True:
                self.waited += 1
                if self.waited == self._number:
                    if waits_for is not None:
                        waits_for._asyncio_future_blocking = False
                        waits_for.cancel()
                    waits_for = steps.throw(asyncio.CancelledError())
                    continue
                try:
                    sent = yield waits_for
                except BaseException as error:  # noqa: BLE001 - what is thrown in is handed through
                    waits_for = steps.throw(error)
                else:
                    waits_for = steps.send(sent)
        except StopIteration as done:
            return done.value


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_wherever_a_call_is_cut_its_row_comes_to_an_end(
    proxy: Proxy, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    original, number, waited = Gateway._exchange, 0, 0

    async def interrupted(*arguments: Any) -> Any:
        nonlocal waited
        run = Interrupted(original(*arguments), number)
        try:
            return await run
        finally:
            waited = run.waited

    monkeypatch.setattr(Gateway, "_exchange", interrupted)
    outcomes = set()
    while True:
        number += 1
        with suppress(aiohttp.ClientError):
            await call(client, proxy, "/chat/completions", {**CHAT, "stream": streams, "thread_identifier": f"cut-{number}"})
        await proxy.house.writer.barrier(30)
        async with client.get(f"{proxy.base}/request-logs/list/?thread_identifier=cut-{number}") as seen:
            rows = (await seen.json())["results"]
        outcomes |= {(row["status"], row["outcome"]) for row in rows}
        if waited < number:
            break
    assert number > 3
    assert outcomes == {("failed", "client_left"), ("success", "complete")}
