"""Faults made on purpose look like the provider's own to retries, fallbacks and SDKs, and never to people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from multidict import CIMultiDict

from respan_proxy.config import Config, parse
from respan_proxy.config.faults import Fault, WrongFault, fault
from respan_proxy.config.providers import Provider, Timeouts
from respan_proxy.config.values import ModelRules
from respan_proxy.dialects import DIALECTS
from respan_proxy.errors import ConfigError, ProxyError, UpstreamInterrupted, UpstreamUnavailable
from respan_proxy.exchange import Exchange, Reply, Request, Stream, Target
from respan_proxy.handlers.faults import faults
from respan_proxy.respan.endpoints import match
from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider
from tests.reliability.conftest import CLIENTS, RowOf, ask
from tests.reliability.test_fallback import GPT, NEXT, OWN, said

ALLOWED: dict[str, Any] = {"faults": {"per_request": True}}
AT_ONCE = {"retry_enabled": True, "num_retries": 1, "retry_after": 0}
CLAUDE = "claude-sonnet-4-6"


@pytest.fixture
async def willing(start_proxy: StartProxy, environ: Mapping[str, str]) -> Proxy:
    """A proxy that makes faults on request."""
    return await start_proxy(ALLOWED, environ)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_status_comes_in_the_callers_dialect_and_says_that_it_is_simulated(
    willing: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str, streams: bool
) -> None:
    response, body = await ask(http, willing, client, OWN[client], streams=streams, simulate={"status": 429, "retry_after": 7})
    assert (response.status, response.headers["Retry-After"]) == (429, "7")
    assert json.loads(body)["error"]["message"] == "simulated fault: status 429"
    assert response.headers["X-Respan-Warnings"] == "simulated_fault:status=429;retry_after=7"
    assert not provider.received, "nobody is paid for an error of ours"
    row = await row_of(willing, response)
    assert (row["status"], row["status_code"], row["error_message"]) == ("failed", 429, "simulated fault: status 429")
    assert row["attempts"][0]["notes"] == ["simulated fault: status=429, retry_after=7"]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("wrong", [{"status": 503}, {"garbage": True}, {"cut_after": 0}])
async def test_the_first_tries_alone_go_wrong_and_a_retry_is_seen_to_succeed(
    willing: Proxy,
    provider: FakeProvider,
    http: aiohttp.ClientSession,
    row_of: RowOf,
    client: str,
    streams: bool,
    wrong: dict[str, Any],
) -> None:
    response, body = await ask(
        http, willing, client, OWN[client], streams=streams, simulate={**wrong, "first_tries": 1}, retry_params=AT_ONCE
    )
    assert response.status == 200 and said(client, body, streams) == recordings.TEXT
    assert response.headers["X-Respan-Warnings"].startswith("simulated_fault:")
    row = await row_of(willing, response)
    first, second = row["attempts"]
    assert "simulated fault" in first["error"] and "notes" not in second
    assert row["status"] == "warning"


@pytest.mark.parametrize("client", CLIENTS)
async def test_another_model_is_asked_as_if_the_provider_had_failed(
    willing: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str
) -> None:
    response, _ = await ask(http, willing, client, OWN[client], fallback_models=[NEXT[client]], simulate={"status": 500, "first_tries": 1})
    assert response.status == 200
    (request,) = provider.received
    assert b"simulate" not in request.body
    first, second = (await row_of(willing, response))["attempts"]
    assert (first["status_code"], first["error"], second["model"]) == (500, "simulated fault: status 500", NEXT[client])


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_stream_breaks_after_as_many_events_as_was_asked(
    willing: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str
) -> None:
    response, body = await ask(http, willing, client, OWN[client], streams=True, simulate={"cut_after": 2})
    assert response.status == 200 and b"simulated fault: the connection broke after 2 events" in body
    row = await row_of(willing, response)
    assert (row["status"], row["outcome"]) == ("failed", "upstream_broke")
    assert row["error_message"] == "simulated fault: the connection broke after 2 events"


async def test_geminis_array_breaks_between_two_objects(willing: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    path, body = CLIENTS["gemini"]
    url = f"{willing.base}{path.format(model='gemini-2.5-flash', verb='streamGenerateContent')}"
    async with http.post(url, json=body, headers={"X-Respan-Simulate": '{"pace_ms": 1}'}) as response:
        whole = json.loads(await response.read())
    async with http.post(url, json=body, headers={"X-Respan-Simulate": '{"cut_after": 1}'}) as response:
        first, error = json.loads(await response.read())
    assert first == whole[0] and "simulated fault" in error["error"]["message"] and len(whole) > 1


async def test_the_header_reaches_no_provider_and_the_body_stays_as_it_was(
    willing: Proxy, provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    body = b'{"model":"gpt-4o", "messages": [{"role":"user","content":"hi"}]}'
    headers = {"X-Respan-Simulate": '{"delay_ms": 1}', "Content-Type": "application/json"}
    async with http.post(f"{willing.base}/chat/completions", data=body, headers=headers) as response:
        assert response.status == 200 and response.headers["X-Respan-Warnings"] == "simulated_fault:delay_ms=1"
    assert provider.last.body == body and not any("simulate" in name.lower() for name in provider.last.headers)


async def test_a_delay_is_a_silence_that_first_token_timeout_ends(
    willing: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf
) -> None:
    response, _ = await ask(
        http,
        willing,
        "chat",
        GPT,
        fallback_models=[CLAUDE],
        first_token_timeout=0.05,
        simulate={"delay_ms": 60_000, "first_tries": 1},
        retry_params={"retry_enabled": False},
    )
    assert response.status == 200 and provider.received[0].json["model"] == CLAUDE
    first, _ = (await row_of(willing, response))["attempts"]
    assert "first_token_timeout" in first["error"] and "simulated fault: delay_ms=60000" in first["notes"]


async def test_without_permission_nobody_makes_faults(proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    response, body = await ask(http, proxy, "messages", CLAUDE, simulate={"status": 500})
    assert response.status == 403 and b"faults.per_request" in body
    path, request = CLIENTS["chat"]
    async with http.post(f"{proxy.base}{path}", json={"model": GPT, **request}, headers={"X-Respan-Simulate": '{"status": 500}'}) as answer:
        assert answer.status == 403 and "faults.per_request" in (await answer.json())["error"]["message"]
    assert not provider.received


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"status": 200}, "simulate.status: found 200, expected a whole number from 400 to 599"),
        ({"statos": 500}, "simulate.statos: found 500, expected one of status"),
        ({"status": True}, "simulate.status: found True"),
        ({"delay_ms": -1}, "simulate.delay_ms: found -1"),
        ({"delay_ms": float("1e9")}, "simulate.delay_ms: found 1000000000.0"),
        ({"cut_after": 1.5}, "simulate.cut_after: found 1.5"),
        ({"garbage": "yes"}, "simulate.garbage: found 'yes'"),
        ({"status": 500, "share": 2}, "simulate.share: found 2"),
        ({"status": 500, "first_tries": 0}, "simulate.first_tries: found 0"),
        ({"status": 500, "cut_after": 3}, "simulate.cut_after: found 3, expected nothing beside status"),
        ({"status": 500, "pace_ms": 3}, "simulate.pace_ms: found 3, expected nothing beside status"),
        ({"retry_after": 3, "delay_ms": 1}, "simulate.retry_after: found 3, expected a status beside it"),
        ({"share": 0.5}, "simulate: found {'share': 0.5}, expected a table of status"),
        ("500", "simulate: found"),
    ],
)
async def test_a_fault_that_is_none_is_refused_by_name(
    willing: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, asked: Any, where: str
) -> None:
    response, body = await ask(http, willing, "chat", GPT, simulate=asked)
    assert response.status == 400 and where in json.loads(body)["error"]["message"], body
    assert not provider.received


async def test_a_header_that_is_no_json_is_refused(willing: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    path, body = CLIENTS["chat"]
    headers = {"X-Respan-Simulate": "status=500"}
    async with http.post(f"{willing.base}{path}", json={"model": GPT, **body}, headers=headers) as response:
        assert response.status == 400 and "simulate" in (await response.json())["error"]["message"]


async def test_a_route_goes_wrong_without_asking_and_others_do_not(
    start_proxy: StartProxy, environ: Mapping[str, str], provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf
) -> None:
    proxy = await start_proxy({"routes": {"gpt-*": {"simulate": {"status": 529}}}}, environ)
    response, _ = await ask(http, proxy, "chat", CLAUDE)
    assert response.status == 200 and "X-Respan-Warnings" not in response.headers
    response, _ = await ask(http, proxy, "chat", GPT, fallback_models=[CLAUDE])
    assert response.status == 200
    first, second = (await row_of(proxy, response))["attempts"]
    assert (first["error"], second["model"]) == ("simulated fault: status 529", CLAUDE)
    assert any("simulate" in warning for warning in proxy.house.config.warnings), "the start says so"


def test_a_route_whose_fault_is_none_is_named_at_the_start() -> None:
    with pytest.raises(ConfigError) as complaint:
        parse({"routes": {"gpt-*": {"simulate": {"status": 99}}, "*": {"simulate": 7}}}, {}, "f.toml")
    assert 'f.toml: routes."gpt-*".simulate.status: found a number 99, expected a whole number from 400 to 599' in complaint.value.problems
    assert 'f.toml: routes."*".simulate: found a number 7, expected a table of status' in "\n".join(complaint.value.problems)


async def test_the_sdks_raise_what_they_would_raise_at_the_provider(willing: Proxy, provider: FakeProvider) -> None:
    ask_it: Any = {"messages": [{"role": "user", "content": "hi"}], "extra_headers": {"X-Respan-Simulate": '{"status": 429}'}}
    async with openai.AsyncOpenAI(api_key="any", base_url=willing.base, max_retries=0) as gpt:
        with pytest.raises(openai.RateLimitError, match="simulated fault"):
            await gpt.chat.completions.create(model=GPT, **ask_it)
    async with anthropic.AsyncAnthropic(api_key="any", base_url=f"{willing.base}/anthropic", max_retries=0) as claude:
        with pytest.raises(anthropic.RateLimitError, match="simulated fault"):
            await claude.messages.create(model=CLAUDE, max_tokens=9, **ask_it)


# One link alone: the dice and the clock are the test's.


class Source:
    """Bytes as a socket gives them, and whether it was closed."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks: Iterator[bytes] = iter(chunks)
        self.is_closed = False

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> bytes:
        chunk = next(self.chunks, None)
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        self.is_closed = True


Outcome = Reply | ProxyError


async def through(made: Fault, *, source: Source | None = None, dice: float = 0.0, tries: int = 1) -> tuple[list[Outcome], list[float]]:
    """(what came of each try, what was slept) of a route's fault; the provider answers 200, streamed if there is a source."""
    endpoint = match("POST", "/api/chat/completions")
    assert endpoint is not None
    config = Config(routes=(ModelRules("m", simulate=made),))
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def last(exchange: Exchange) -> Reply:
        body = Stream(source) if source is not None else b"{}"
        return Reply(200, CIMultiDict({"Content-Type": "text/event-stream"}), body)

    request = Request("POST", "/", "", CIMultiDict(), b"{}", 0.0)
    exchange = Exchange("1", request, endpoint, DIALECTS["openai.chat"], 0.0, model="m", streams=source is not None)
    provider = Provider("p", timeouts=Timeouts(first_byte_s=5, silence_s=5))
    view = exchange.toward(Target(provider, DIALECTS["openai.chat"], "m"), 0.0)
    handle = faults(config, lambda: 0.0, sleep, lambda: dice)
    outcomes: list[Outcome] = []
    for number in range(tries):
        if number:
            view.again(0.0)
        try:
            outcomes.append(await handle(view, last))
        except ProxyError as error:
            outcomes.append(error)
    return outcomes, slept


async def test_a_share_of_the_tries_goes_wrong_as_the_dice_fall() -> None:
    for dice, status in ((0.0, 503), (0.24, 503), (0.25, 200), (0.99, 200)):
        (reply,), _ = await through(Fault(status=503, share=0.25), dice=dice)
        assert isinstance(reply, Reply) and reply.status == status


async def test_first_tries_count_all_tries_of_a_call() -> None:
    replies, _ = await through(Fault(status=503, first_tries=2), tries=4)
    assert [reply.status for reply in replies] == [503, 503, 200, 200]


async def test_events_come_whole_and_each_as_late_as_asked_however_the_socket_cut_them() -> None:
    source = Source(b"data: 1\n", b"\ndata: 2\n\ndata:", b" 3\n\ndata: 4")
    (reply,), slept = await through(Fault(pace_ms=20), source=source)
    assert isinstance(reply, Reply) and isinstance(reply.body, Stream)
    assert [chunk async for chunk in reply.body.source] == [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n", b"data: 4"]
    assert slept == [0.02] * 4


async def test_a_cut_closes_the_providers_connection() -> None:
    source = Source(b"data: 1\n\ndata: 2\n\n", b"data: 3\n\n")
    (reply,), _ = await through(Fault(cut_after=1), source=source)
    assert isinstance(reply, Reply) and isinstance(reply.body, Stream)
    heard = []
    with pytest.raises(UpstreamInterrupted, match="simulated fault: the connection broke after 1 events"):
        async for chunk in reply.body.source:
            heard.append(chunk)
    assert heard == [b"data: 1\n\n"] and source.is_closed


async def test_later_than_a_provider_may_be_is_a_timeout() -> None:
    (error,), slept = await through(Fault(delay_ms=60_000))
    assert isinstance(error, UpstreamUnavailable) and (error.status, error.kind, error.may_have_run) == (504, "timeout", True)
    assert slept == [5]
    source = Source(b"data: 1\n\n")
    (reply,), _ = await through(Fault(pace_ms=5_000), source=source)
    assert isinstance(reply, Reply) and isinstance(reply.body, Stream)
    with pytest.raises(UpstreamInterrupted, match="simulated fault: nothing came for 5 s"):
        await reply.body.source.__anext__()
    assert source.is_closed


def test_what_is_written_is_what_was_read() -> None:
    for table in ({"status": 503, "retry_after": 0, "share": 0.5}, {"cut_after": 0}, {"garbage": True, "delay_ms": 5, "first_tries": 2}):
        assert fault(table).table() == table
    assert fault({"cut_after": 0, "delay_ms": 1.5}).words == ("delay_ms=1.5", "cut_after=0")
    with pytest.raises(WrongFault):
        fault({"garbage": False})
