"""What passes by itself is asked again at the same target, before the first byte, and never longer than promised."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Act, Answer, FakeProvider, garbage, html, streamed, whole
from tests.reliability.conftest import CLIENTS, RowOf, ask
from tests.reliability.test_fallback import ERROR_FIRST, OWN, said

CLAUDE = "claude-sonnet-4-6"
AT_ONCE = {"enabled": True, "retry_after": 0}

PASSING: dict[str, Answer] = {
    # First, on a new connection: on one that was used before, it is the connection that is replaced, within the same try.
    "reset": Answer(before=[Act.RESET]),
    **{str(status): whole({"error": {"message": "later", "type": "t"}}, status) for status in (408, 409, 429, 500, 502, 503, 504, 529)},
    "html": html(502),
    "garbage": garbage(),
    "empty": whole(b""),
    "200 that is an error": whole({"error": {"message": "inside", "type": "server_error"}}),
}


@pytest.fixture
async def patient(start_proxy: StartProxy, environ: Mapping[str, str]) -> Proxy:
    return await start_proxy({"retry": AT_ONCE}, environ)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
async def test_what_passes_by_itself_is_asked_again(
    patient: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str, streams: bool
) -> None:
    for trouble, answer in PASSING.items():
        provider.will(answer)
        response, body = await ask(http, patient, client, OWN[client], streams=streams)
        assert response.status == 200, trouble
        assert said(client, body, streams) == recordings.TEXT
        assert "x-should-retry" not in response.headers
        row = await row_of(patient, response)
        first, second = row["attempts"]
        assert (row["status"], bool(first["error"]), second["status_code"]) == ("warning", True, 200), trouble


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_model_of_another_dialect_is_asked_again_too(
    patient: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, client: str
) -> None:
    other = "gpt-4o" if client == "messages" else CLAUDE
    provider.will(PASSING["529"], streamed(ERROR_FIRST["chat" if client == "messages" else "messages"]))
    response, body = await ask(http, patient, client, other, streams=True)
    assert response.status == 200 and said(client, body, True) == recordings.TEXT
    assert provider.received[0].body == provider.received[1].body == provider.received[2].body


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_what_will_not_pass_is_not_asked_again(
    patient: Proxy, provider: FakeProvider, http: aiohttp.ClientSession, status: int
) -> None:
    provider.will(whole({"error": {"message": "no", "type": "t"}}, status))
    response, _ = await ask(http, patient, "chat", "gpt-4o")
    assert response.status == status and len(provider.received) == 1
    assert "x-should-retry" not in response.headers


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_last_error_comes_with_the_providers_wait_and_tells_sdks_not_to_begin_again(
    start_proxy: StartProxy, environ: Mapping[str, str], provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf, client: str
) -> None:
    proxy = await start_proxy({"retry": {**AT_ONCE, "num_retries": 2}}, environ)
    provider.will(
        *[whole({"error": {"message": "later", "type": "t", "code": 429}}, 429, {"Retry-After": wait}) for wait in ("0", "0", "5")]
    )
    response, _ = await ask(http, proxy, client, OWN[client])
    assert (response.status, response.headers["Retry-After"], response.headers["x-should-retry"]) == (429, "5", "false")
    assert len(provider.received) == 3
    row = await row_of(proxy, response)
    assert [attempt["status_code"] for attempt in row["attempts"]] == [429, 429, 429] and row["status"] == "failed"


async def test_a_longer_wait_than_ours_is_handed_on(patient: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    provider.will(whole({"error": {"message": "later", "type": "t"}}, 429, {"Retry-After": "60"}))
    response, _ = await ask(http, patient, "chat", "gpt-4o")
    assert (response.status, response.headers["Retry-After"], len(provider.received)) == (429, "60", 1)
    assert "x-should-retry" not in response.headers, "nothing of ours was spent"


async def test_geminis_delay_is_in_the_body(patient: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "13s"}]
    provider.will(whole({"error": {"code": 429, "message": "later", "status": "RESOURCE_EXHAUSTED", "details": details}}, 429))
    response, _ = await ask(http, patient, "gemini", "gemini-2.5-flash")
    assert (response.status, response.headers["Retry-After"], len(provider.received)) == (429, "13", 1)


async def test_a_request_says_itself_whether_and_how_often(patient: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    for params, tries in (({"retry_enabled": False}, 1), ({"retry_enabled": True, "num_retries": 1}, 2), ({"num_retries": 0}, 1)):
        provider.received.clear()
        provider.will(*[PASSING["503"]] * tries)
        response, _ = await ask(http, patient, "responses", "gpt-4o", retry_params=params)
        assert (response.status, len(provider.received)) == (503, tries)


async def test_a_request_may_ask_for_retries_where_the_configuration_has_none(
    proxy: Proxy, provider: FakeProvider, http: aiohttp.ClientSession
) -> None:
    provider.will(PASSING["503"])
    params = {"retry_enabled": True, "num_retries": 1, "retry_after": 0}
    response, _ = await ask(http, proxy, "messages", CLAUDE, retry_params=params)
    assert response.status == 200


async def test_after_the_first_byte_nothing_is_tried_again(patient: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    provider.will(streamed(recordings.CHAT_STREAM[:2], Act.RESET))
    response, body = await ask(http, patient, "chat", "gpt-4o", streams=True)
    assert response.status == 200 and b'"error"' in body and len(provider.received) == 1


async def test_retries_are_spent_before_another_model_is_asked(
    start_proxy: StartProxy, environ: Mapping[str, str], provider: FakeProvider, http: aiohttp.ClientSession, row_of: RowOf
) -> None:
    proxy = await start_proxy({"retry": {**AT_ONCE, "num_retries": 1}}, environ)
    provider.will(PASSING["503"], PASSING["503"])
    response, _ = await ask(http, proxy, "chat", "gpt-4o", fallback_models=[CLAUDE])
    assert response.status == 200 and "x-should-retry" not in response.headers
    models = [attempt["model"] for attempt in (await row_of(proxy, response))["attempts"]]
    assert models == ["gpt-4o", "gpt-4o", CLAUDE]


async def test_the_sdks_do_not_multiply_our_retries(start_proxy: StartProxy, environ: Mapping[str, str], provider: FakeProvider) -> None:
    proxy = await start_proxy({"retry": {**AT_ONCE, "num_retries": 1}}, environ)
    ask_it: Any = {"messages": [{"role": "user", "content": "hi"}]}
    provider.will(*[PASSING["503"]] * 2)
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base) as gpt:
        with pytest.raises(openai.InternalServerError):
            await gpt.chat.completions.create(model="gpt-4o", **ask_it)
    assert len(provider.received) == 2
    provider.will(*[PASSING["503"]] * 2)
    async with anthropic.AsyncAnthropic(api_key="any", base_url=f"{proxy.base}/anthropic") as claude:
        with pytest.raises(anthropic.APIStatusError):
            await claude.messages.create(model=CLAUDE, max_tokens=9, **ask_it)
    assert len(provider.received) == 4


async def test_a_wrong_word_is_refused_before_any_call(patient: Proxy, provider: FakeProvider, http: aiohttp.ClientSession) -> None:
    response, body = await ask(http, patient, "chat", "gpt-4o", retry_params={"num_retries": "many"})
    assert response.status == 400 and "retry_params.num_retries" in json.loads(body)["error"]["message"]
    assert not provider.received
