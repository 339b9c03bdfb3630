from __future__ import annotations

from typing import Any

import orjson
import pytest

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.chat import assemble
from respan_proxy.echo.provider import Echo
from respan_proxy.errors import UpstreamInterrupted, UpstreamUnavailable
from respan_proxy.exchange import Stream
from tests.echo.serving import ask, collected

PATHS = {
    "openai.chat": "/v1/chat/completions",
    "openai.responses": "/v1/responses",
    "anthropic.messages": "/v1/messages",
    "gemini": "/v1beta/models/{model}:{verb}",
}


class Clock:
    """Sleeps without waiting, and remembers for how long."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def request(dialect: str, model: str, *, stream: bool) -> tuple[str, bytes, str]:
    says: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "input": "Hello", "model": model, "stream": stream}
    if dialect == "gemini":
        path = PATHS[dialect].format(model=model, verb="streamGenerateContent" if stream else "generateContent")
        return path, orjson.dumps({"contents": [{"parts": [{"text": "Hello"}]}]}), "alt=sse"
    return PATHS[dialect], orjson.dumps(says), ""


everywhere = pytest.mark.parametrize("dialect", PATHS)
either_way = pytest.mark.parametrize("stream", [False, True])


@everywhere
@either_way
async def test_the_same_request_gets_the_same_bytes(dialect: str, stream: bool) -> None:
    asked = request(dialect, "echo/think", stream=stream)
    replies = [await ask(Echo(pace_s=0), *asked) for _ in range(2)]
    one, other = [await collected(reply) for reply in replies]
    assert one == other
    assert replies[0].headers == replies[1].headers
    different = request(dialect, "echo/echo", stream=stream)
    assert await collected(await ask(Echo(pace_s=0), *different)) != one


@everywhere
async def test_whole_and_streamed_say_the_same(dialect: str) -> None:
    whole = await collected(await ask(Echo(pace_s=0), *request(dialect, "echo/think", stream=False)))
    streamed = await collected(await ask(Echo(pace_s=0), *request(dialect, "echo/think", stream=True)))
    reader = DIALECTS[dialect].reader()
    one = assemble(DIALECTS[dialect].read_reply(whole))
    other = assemble([*reader.feed(streamed), *reader.close()])
    assert reader.complete
    assert one.text == other.text
    assert "Hello" in one.text
    assert one.choices[0].reasoning == other.choices[0].reasoning


@everywhere
async def test_the_pace_of_a_name_beats_the_configured_one_and_lies_between_chunks(dialect: str) -> None:
    clock = Clock()
    reply = await ask(Echo(pace_s=9, sleep=clock.sleep), *request(dialect, "echo/pace-50", stream=True))
    assert isinstance(reply.body, Stream)
    chunks = [chunk async for chunk in reply.body.chunks()]
    assert clock.slept == [0.05] * (len(chunks) - 1)
    assert len(chunks) > 5


@everywhere
@either_way
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 418, 422, 429, 500, 502, 503, 504, 529])
async def test_any_status_can_be_asked_for_in_the_dialects_own_shape(dialect: str, stream: bool, status: int) -> None:
    reply = await ask(Echo(pace_s=0), *request(dialect, f"echo/status-{status}", stream=stream))
    assert reply.status == status
    assert isinstance(reply.body, bytes)
    told = orjson.loads(reply.body)["error"]
    assert f"status {status}" in told["message"]
    assert ("Retry-After" in reply.headers) == (status in (429, 503, 529))


@everywhere
@pytest.mark.parametrize("stream", [False, True])
async def test_hanging_ends_with_the_time_limit_for_the_head(dialect: str, stream: bool) -> None:
    clock = Clock()
    with pytest.raises(UpstreamUnavailable, match="did not begin to answer within 7 s") as raised:
        await ask(Echo(first_byte_s=7, sleep=clock.sleep), *request(dialect, "echo/hang", stream=stream))
    assert (raised.value.status, raised.value.may_have_run, clock.slept) == (504, True, [7])


@everywhere
@pytest.mark.parametrize(("model", "status"), [("echo/hang-after-3", 504), ("echo/cut-after-3", 502)])
async def test_a_stream_breaks_after_the_chunks_asked_for(dialect: str, model: str, status: int) -> None:
    reply = await ask(Echo(pace_s=0, silence_s=5, sleep=Clock().sleep), *request(dialect, model, stream=True))
    assert isinstance(reply.body, Stream)
    seen = []
    with pytest.raises(UpstreamInterrupted) as raised:
        async for chunk in reply.body.source:
            seen.append(chunk)
    assert (len(seen), raised.value.status) == (3, status)


@everywhere
@pytest.mark.parametrize(("model", "status"), [("echo/hang-after-3", 504), ("echo/cut-after-3", 502)])
async def test_a_whole_answer_that_breaks_is_no_answer(dialect: str, model: str, status: int) -> None:
    with pytest.raises(UpstreamUnavailable) as raised:
        await ask(Echo(sleep=Clock().sleep), *request(dialect, model, stream=False))
    assert raised.value.status == status


@everywhere
async def test_an_error_can_be_the_first_frame(dialect: str) -> None:
    reply = await ask(Echo(pace_s=0), *request(dialect, "echo/error-first", stream=True))
    assert reply.status == 200
    reader = DIALECTS[dialect].reader()
    (failure,) = reader.feed(await collected(reply))
    assert "status 500" in getattr(failure, "message", "")


@everywhere
async def test_an_error_can_come_in_the_middle(dialect: str) -> None:
    reply = await ask(Echo(pace_s=0), *request(dialect, "echo/error-after-9", stream=True))
    told = assemble(DIALECTS[dialect].reader().feed(await collected(reply)))
    assert told.error
    assert "status 500" in told.error.message
    assert told.text


@everywhere
@pytest.mark.parametrize("model", ["echo/garbage", "echo/empty"])
@either_way
async def test_a_200_can_be_no_answer_at_all(dialect: str, model: str, stream: bool) -> None:
    reply = await ask(Echo(pace_s=0), *request(dialect, model, stream=stream))
    assert reply.status == 200
    assert (b"html" in await collected(reply)) == (model == "echo/garbage")


async def test_gemini_streams_a_json_array_unless_asked_for_events() -> None:
    path, body, _ = request("gemini", "echo/echo", stream=True)
    reply = await ask(Echo(pace_s=0), path, body)
    assert reply.headers["Content-Type"] == "application/json"
    parts = orjson.loads(await collected(reply))
    assert len(parts) > 5
    assert parts[-1]["candidates"][0]["finishReason"] == "STOP"
    broken = await ask(Echo(pace_s=0), path.replace("echo/echo", "echo/error-first"), body)
    assert orjson.loads(await collected(broken))[0]["error"]["code"] == 500
    failing = await ask(Echo(pace_s=0), path.replace("echo/echo", "echo/error-after-3"), body)
    assert orjson.loads(await collected(failing))[3]["error"]["code"] == 500


async def test_closing_a_stream_ends_it_at_once() -> None:
    reply = await ask(Echo(pace_s=0), *request("openai.chat", "echo/echo", stream=True))
    assert isinstance(reply.body, Stream)
    await reply.body.source.__anext__()
    await reply.aclose()
    await reply.aclose()
    with pytest.raises(StopAsyncIteration):
        await reply.body.source.__anext__()


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "x" * 40}]}, {"input_tokens": 10}),
        ("/v1/responses/input_tokens", {"input": "x" * 40}, {"object": "response.input_tokens", "input_tokens": 10}),
        ("/v1beta/models/echo/echo:countTokens", {"contents": [{"parts": [{"text": "x" * 40}]}]}, {"totalTokens": 10}),
        ("/v1/models/e:countTokens", {"generateContentRequest": {"contents": [{"parts": [{"text": "x" * 40}]}]}}, {"totalTokens": 10}),
    ],
)
async def test_tokens_are_counted_by_the_same_estimate(path: str, body: Any, told: Any) -> None:
    assert orjson.loads(await collected(await ask(Echo(), path, orjson.dumps(body)))) == told


async def test_what_echo_does_not_do_is_refused_in_the_dialects_shape() -> None:
    for path, body in (("/v1/responses/resp_1", b""), ("/v1/chat/completions", b'{"model":"echo/status-99"}'), ("/v1/embeddings", b"{}")):
        reply = await ask(Echo(), path, body)
        assert reply.status in (400, 404)
        assert isinstance(reply.body, bytes)
        assert orjson.loads(reply.body)["error"]["message"]
