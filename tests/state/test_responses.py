"""Conversations by `previous_response_id`, and kept Responses, over providers that keep none: the official SDK over real sockets."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Act, Answer, FakeProvider, Received, streamed, whole
from tests.state.conftest import FORGETFUL, KEEPS_ITSELF, Sdk

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
TOOLS: Any = [{"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": True}]
ASIDE = {name: model for name, model in FORGETFUL.items() if name != "echo"}
CALLS: dict[str, tuple[Answer, Answer]] = {
    "anthropic": (whole(recordings.MESSAGE_TOOLS), streamed(recordings.MESSAGES_TOOLS_STREAM)),
    "gemini": (whole(recordings.GEMINI_TOOLS), streamed(recordings.GEMINI_TOOLS_STREAM)),
    "chat": (whole(recordings.CHAT_TOOLS), streamed(recordings.CHAT_TOOLS_STREAM)),
    "native": (whole(recordings.RESPONSE_TOOLS), streamed(recordings.RESPONSES_TOOLS_STREAM)),
}
UNKNOWN = "resp_0123456789"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SDKs warn of the age of models


def told(request: Received) -> str:
    """What a provider was told, without escapes."""
    return json.dumps(request.json, ensure_ascii=False)


async def say(client: openai.AsyncOpenAI, streams: bool = False, **asked: Any) -> Any:
    """A response, whole or as the last event of its stream has it."""
    if not streams:
        return await client.responses.create(**asked)
    async with client.responses.stream(**asked) as stream:
        first: Any = None
        async for event in stream:
            first = first or event
        final = await stream.get_final_response()
        for name in ("id", "store", "previous_response_id"):
            assert getattr(first.response, name, None) == getattr(final, name, None)
        return final


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", ASIDE)
async def test_a_conversation_goes_on(client: openai.AsyncOpenAI, provider: FakeProvider, name: str, streams: bool) -> None:
    first = await say(client, streams, model=FORGETFUL[name], input="I am Ada", instructions="Be brief.")
    assert (first.store, first.previous_response_id) == (True, None)
    second = await say(client, streams, model=FORGETFUL[name], input="Who am I?", previous_response_id=first.id)
    assert (second.store, second.previous_response_id) == (True, first.id)
    third = await say(client, streams, model=FORGETFUL[name], input="Sure?", previous_response_id=second.id)
    sent = told(provider.last)
    assert [sent.count(words) for words in ("I am Ada", recordings.TEXT, "Who am I?", "Sure?")] == [1, 2, 1, 1]
    assert sent.index("I am Ada") < sent.index(recordings.TEXT) < sent.index("Who am I?") < sent.index("Sure?")
    assert "Be brief." not in sent, "instructions are of one turn alone, as OpenAI documents"
    assert "previous_response_id" not in sent
    assert len({first.id, second.id, third.id}) == 3


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", ASIDE)
async def test_a_tool_is_called_and_its_result_returned(
    client: openai.AsyncOpenAI, provider: FakeProvider, name: str, streams: bool
) -> None:
    provider.will(CALLS[name][streams])
    first = await say(client, streams, model=FORGETFUL[name], input="Weather?", tools=TOOLS)
    [call] = [item for item in first.output if item.type == "function_call"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny, 21 degrees"}
    second = await say(client, streams, model=FORGETFUL[name], input=[result], tools=TOOLS, previous_response_id=first.id)
    assert second.output_text == recordings.TEXT
    sent = told(provider.last)
    assert sent.index("Weather?") < sent.index("Zürich") < sent.index("sunny, 21 degrees")


async def test_echo_remembers_by_the_proxys_own_store(client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(model="echo/echo", input="I am Ada")
    again = await client.responses.create(model="echo/echo", input="Who am I?")
    second = await client.responses.create(model="echo/echo", input="Who am I?", previous_response_id=first.id)
    assert second.usage is not None and again.usage is not None
    assert second.usage.input_tokens > again.usage.input_tokens
    assert (await client.responses.retrieve(second.id)).output_text == second.output_text
    listed = await client.responses.input_items.list(second.id, order="asc")
    assert [item.role for item in listed.data] == ["user", "assistant", "user"]  # type: ignore[union-attr]
    await client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(first.id)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", FORGETFUL)
async def test_a_response_is_retrieved_as_it_was_told_and_deleted(client: openai.AsyncOpenAI, name: str, streams: bool) -> None:
    first = await say(client, streams, model=FORGETFUL[name], input="I am Ada", metadata={"team": "blue"})
    again = await client.responses.retrieve(first.id)
    assert again.to_dict() == {name: value for name, value in first.to_dict().items() if name != "parsed"} or streams
    assert (again.id, again.output_text, again.status, again.store) == (first.id, first.output_text, "completed", True)
    answer = await client.responses.with_raw_response.delete(first.id)
    assert json.loads(answer.text) == {"id": first.id, "object": "response", "deleted": True}
    for gone in (client.responses.retrieve, client.responses.delete, client.responses.cancel, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            await gone(first.id)  # type: ignore[operator]
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model=FORGETFUL[name], input="Who am I?", previous_response_id=first.id)


@pytest.mark.parametrize("name", FORGETFUL)
async def test_an_unknown_id_is_not_found(client: openai.AsyncOpenAI, provider: FakeProvider, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.responses.create(model=FORGETFUL[name], input="hi", previous_response_id=UNKNOWN)
    error: Any = caught.value.body
    assert (error["code"], error["param"], error["type"]) == (
        "previous_response_not_found",
        "previous_response_id",
        "invalid_request_error",
    )
    assert error["message"] == f"Previous response with id '{UNKNOWN}' not found."
    assert provider.received == []


async def test_with_nobody_else_to_ask_an_unknown_id_is_not_found_as_openai_says_it(start_proxy: StartProxy, sdk: Sdk) -> None:
    client = await sdk(await start_proxy())
    for asked in (client.responses.retrieve, client.responses.delete, client.responses.cancel, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError) as caught:
            await asked(UNKNOWN)  # type: ignore[operator]
        error: Any = caught.value.body
        assert (error["message"], error["type"], error["param"]) == (
            f"Response with id '{UNKNOWN}' not found.",
            "invalid_request_error",
            None,
        )


async def test_what_was_not_to_be_stored_is_not(client: openai.AsyncOpenAI, proxy: Proxy, tmp_path: Path) -> None:
    for model in FORGETFUL.values():
        for streams in (False, True):
            first = await say(client, streams, model=model, input="I am Ada", store=False)
            with pytest.raises(openai.NotFoundError):
                await client.responses.create(model=model, input="Who am I?", previous_response_id=first.id)
            if model != "echo/echo":
                assert not getattr(first, "store", False)  # a provider of this dialect may say nothing of it
    assert await proxy.house.writer.barrier(30)
    assert kept(tmp_path) == []


def kept(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path / "calls.db")
    try:
        return connection.execute("SELECT kind, owner FROM kept ORDER BY kind, owner").fetchall()
    finally:
        connection.close()


async def test_a_stored_turn_may_be_followed_by_one_that_is_not(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    first = await client.responses.create(model="qwen3", input="I am Ada")
    second = await client.responses.create(model="qwen3", input="Who am I?", previous_response_id=first.id, store=False)
    assert (second.store, second.previous_response_id) == (False, first.id)
    assert "I am Ada" in told(provider.last)
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="qwen3", input="Sure?", previous_response_id=second.id)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_a_conversation_passes_from_provider_to_provider(client: openai.AsyncOpenAI, provider: FakeProvider, streams: bool) -> None:
    previous = None
    for number, model in enumerate([*ASIDE.values(), "echo/echo", *ASIDE.values()]):
        extra = {"previous_response_id": previous} if previous else {}
        previous = (await say(client, streams, model=model, input=f"sentence {number}.", **extra)).id
    sent = told(provider.last)
    places = [sent.index(f"sentence {number}.") for number in range(9)]
    assert places == sorted(places)


async def test_a_conversation_kept_here_goes_on_at_openai(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    first = await client.responses.create(model="claude-sonnet-4-6", input="I am Ada")
    await client.responses.create(model=KEEPS_ITSELF, input="Who am I?", previous_response_id=first.id)
    sent = provider.last.json
    assert "previous_response_id" not in sent
    assert [item["role"] for item in sent["input"]] == ["user", "assistant", "user"]
    assert sent["input"][1]["content"][0]["text"] == recordings.TEXT


async def test_what_openai_keeps_passes_through_untouched(client: openai.AsyncOpenAI, proxy: Proxy, provider: FakeProvider) -> None:
    body = b'{ "model":"gpt-4o", "input" : "Who am I?", "previous_response_id":"resp_theirs", "store":true, "x": 1.0 }'
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{proxy.base}/responses", data=body, headers={"Content-Type": "application/json"}) as response:
            assert await response.json() == recordings.RESPONSE
        assert provider.last.body == body
        streaming = body.replace(b'"store"', b'"stream":true, "store"')
        async with session.post(f"{proxy.base}/responses", data=streaming, headers={"Content-Type": "application/json"}) as response:
            assert await response.read() == b"".join(recordings.RESPONSES_STREAM)
        assert provider.last.body == streaming
    provider.will(whole(recordings.RESPONSE), whole({"id": "resp_theirs", "object": "response", "deleted": True}))
    assert (await client.responses.retrieve("resp_theirs")).output_text == recordings.TEXT
    assert (provider.last.method, provider.last.target) == ("GET", "/v1/responses/resp_theirs")
    await client.responses.delete("resp_theirs")
    assert (provider.last.method, provider.last.target) == ("DELETE", "/v1/responses/resp_theirs")
    assert provider.last.headers["Authorization"] == "Bearer sk-the-providers-own"


async def test_stored_responses_are_asked_of_who_keeps_them(
    start_proxy: StartProxy, providers: Any, provider: FakeProvider, sdk: Sdk
) -> None:
    """A provider that speaks Responses and keeps none is not asked for one, whether or not it comes first."""
    client = await sdk(await start_proxy({"providers": providers}, {"GROQ_API_KEY": "gsk_x"}))
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve("resp_theirs")
    assert provider.received == []


async def test_a_provider_of_ones_own_may_be_said_to_keep_them(
    start_proxy: StartProxy, providers: Any, provider: FakeProvider, sdk: Sdk
) -> None:
    providers["native"]["stores_responses"] = True
    client = await sdk(await start_proxy({"providers": providers}, {"GROQ_API_KEY": "gsk_x"}))
    provider.will(whole(recordings.RESPONSE))
    assert (await client.responses.retrieve("resp_theirs")).output_text == recordings.TEXT


async def test_one_keys_responses_are_not_anothers(start_proxy: StartProxy, environ: dict[str, str], providers: Any, sdk: Sdk) -> None:
    keys = [{"name": "ada", "key": "key-of-ada"}, {"name": "bob", "key": "key-of-bob"}]
    proxy = await start_proxy({"keys": keys, "providers": providers}, {})
    ada, bob = await sdk(proxy, "key-of-ada"), await sdk(proxy, "key-of-bob")
    hers = await ada.responses.create(model="chatty", input="I am Ada")
    with pytest.raises(openai.NotFoundError):
        await bob.responses.retrieve(hers.id)
    with pytest.raises(openai.NotFoundError):
        await bob.responses.delete(hers.id)
    with pytest.raises(openai.NotFoundError):
        await bob.responses.create(model="chatty", input="Who am I?", previous_response_id=hers.id)
    reference: Any = [{"type": "item_reference", "id": hers.output[0].id}]
    with pytest.raises(openai.NotFoundError):
        await bob.responses.create(model="chatty", input=reference)
    assert (await ada.responses.retrieve(hers.id)).id == hers.id


async def test_input_items_are_listed_in_pages(client: openai.AsyncOpenAI) -> None:
    said: Any = [{"role": "user", "content": f"sentence {number}"} for number in range(5)]
    first = await client.responses.create(model="chatty", input=said)
    page = await client.responses.input_items.list(first.id, limit=2)
    assert (page.has_more, len(page.data)) == (True, 2)
    texts = [item.content[0].text async for item in client.responses.input_items.list(first.id, limit=2)]  # type: ignore[union-attr]
    assert texts == [f"sentence {number}" for number in (4, 3, 2, 1, 0)]
    rest = await client.responses.input_items.list(first.id, order="asc", after=page.data[0].id or "")
    assert rest.data == []
    ascending = await client.responses.input_items.list(first.id, order="asc")
    assert all((item.id or "").startswith("msg_") for item in ascending.data)
    result: Any = [
        {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    ]
    second = await client.responses.create(model="chatty", input=result, tools=TOOLS)
    listed = await client.responses.input_items.list(second.id, order="asc")
    assert [(item.type, (item.id or "")[:3]) for item in listed.data] == [("function_call", "fc_"), ("function_call_output", "fco")]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "limit=1000000000", "order=up", "after=msg_nowhere", "before=nothing"]
)
async def test_a_page_that_cannot_be_is_refused_by_name(client: openai.AsyncOpenAI, proxy: Proxy, query: str) -> None:
    first = await client.responses.create(model="chatty", input="hi")
    async with aiohttp.ClientSession() as session, session.get(f"{proxy.base}/responses/{first.id}/input_items?{query}") as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == query.partition("=")[0]


async def test_what_does_not_run_in_the_background_is_neither_cancelled_nor_streamed_again(client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(model="chatty", input="hi")
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
        await client.responses.cancel(first.id)
    with pytest.raises(openai.BadRequestError, match="cannot be streamed again"):
        await client.responses.retrieve(first.id, stream=True)


async def test_an_answer_that_broke_off_is_not_kept(
    client: openai.AsyncOpenAI, provider: FakeProvider, tmp_path: Path, proxy: Proxy
) -> None:
    provider.will(streamed(*recordings.RESPONSES_STREAM[:6], Act.RESET), streamed(*recordings.MESSAGES_STREAM[:3], Act.RESET))
    for model in ("qwen3", "claude-sonnet-4-6"):
        kinds = [event.type async for event in await client.responses.create(model=model, input="hi", stream=True)]
        assert kinds[-1] == "response.failed"
    assert await proxy.house.writer.barrier(30)
    assert kept(tmp_path) == []


async def test_a_conversation_longer_than_a_request_may_be_is_refused(
    start_proxy: StartProxy, providers: Any, provider: FakeProvider, sdk: Sdk
) -> None:
    providers["native"]["request_bytes"] = 2000
    client = await sdk(await start_proxy({"providers": providers}, {}))
    first = await client.responses.create(model="chatty", input="word " * 300)
    second = await client.responses.create(model="chatty", input="word " * 300, previous_response_id=first.id)
    before = len(provider.received)
    with pytest.raises(openai.APIStatusError, match="more than 2000 bytes") as caught:
        await client.responses.create(model="qwen3", input="hi", previous_response_id=second.id)
    assert caught.value.status_code == 413
    assert len(provider.received) == before


async def test_items_are_meant_by_their_ids_too(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    """The Vercel AI SDK sends back what was stored as `item_reference`."""
    first = await client.responses.create(model="claude-sonnet-4-6", input="I am Ada")
    said: Any = [
        {"role": "user", "content": "I am Ada"},
        {"type": "item_reference", "id": first.output[0].id},
        {"role": "user", "content": "?"},
    ]
    await client.responses.create(model="claude-sonnet-4-6", input=said)
    assert told(provider.last).count(recordings.TEXT) == 1


async def test_tokens_of_a_whole_conversation_are_counted(client: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    first = await client.responses.create(model="claude-sonnet-4-6", input="I am Ada")
    count = await client.responses.input_tokens.count(model="claude-sonnet-4-6", input="Who am I?", previous_response_id=first.id)
    assert count.input_tokens == 14
    assert "I am Ada" in told(provider.last)


@pytest.mark.parametrize("name", FORGETFUL)
async def test_a_conversation_of_openais_is_refused_by_name_elsewhere(
    client: openai.AsyncOpenAI, provider: FakeProvider, name: str
) -> None:
    with pytest.raises(openai.BadRequestError, match="'conversation' is not supported"):
        await client.responses.create(model=FORGETFUL[name], input="hi", conversation="conv_1")
    assert provider.received == []


THINKING = {
    **recordings.MESSAGE,
    "content": [
        {"type": "thinking", "thinking": "Let me look.", "signature": "c2lnbmF0dXJl"},
        {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Zürich"}},
    ],
    "stop_reason": "tool_use",
}


async def test_thoughts_keep_their_signature_though_the_caller_did_not_ask_to_see_it(
    client: openai.AsyncOpenAI, provider: FakeProvider
) -> None:
    provider.will(whole(THINKING))
    asked: Any = {"model": "claude-sonnet-4-6", "tools": TOOLS, "reasoning": {"effort": "low", "summary": "auto"}}
    first = await client.responses.create(input="Weather?", **asked)
    [thought] = [item for item in first.output if item.type == "reasoning"]
    assert thought.encrypted_content is None
    again = await client.responses.retrieve(first.id)
    assert "c2lnbmF0dXJl" not in again.to_json()
    again = await client.responses.retrieve(first.id, include=["reasoning.encrypted_content"])
    assert "c2lnbmF0dXJl" in again.to_json()
    result: Any = [{"type": "function_call_output", "call_id": "toolu_1", "output": "sunny"}]
    await client.responses.create(input=result, previous_response_id=first.id, **asked)
    [assistant] = [message for message in provider.last.json["messages"] if message["role"] == "assistant"]
    assert assistant["content"][0] == {"type": "thinking", "thinking": "Let me look.", "signature": "c2lnbmF0dXJl"}
    await client.responses.create(input=result, previous_response_id=first.id, model=KEEPS_ITSELF)
    assert "c2lnbmF0dXJl" not in told(provider.last), "OpenAI refuses thoughts that are not its own"


async def test_content_that_may_not_reach_the_disk_does_not_and_the_conversation_goes_on(
    start_proxy: StartProxy, providers: Any, provider: FakeProvider, sdk: Sdk, tmp_path: Path
) -> None:
    proxy = await start_proxy({"store": {"content": "none"}, "providers": providers}, {})
    client = await sdk(proxy)
    first = await client.responses.create(model="chatty", input="the canary sings")
    await client.responses.create(model="chatty", input="Who sings?", previous_response_id=first.id)
    assert "the canary sings" in told(provider.last)
    assert await proxy.house.writer.barrier(30)
    assert kept(tmp_path) == []


async def test_a_call_that_is_not_to_be_logged_is_kept_in_memory_alone(client: openai.AsyncOpenAI, tmp_path: Path, proxy: Proxy) -> None:
    first = await client.responses.create(model="chatty", input="hi", extra_body={"disable_log": True})
    assert (await client.responses.retrieve(first.id)).id == first.id
    assert await proxy.house.writer.barrier(30)
    assert kept(tmp_path) == []


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", ["anthropic", "native"])
async def test_the_token_of_another_server_is_not_given_back_nor_kept(
    client: openai.AsyncOpenAI, provider: FakeProvider, name: str, streams: bool
) -> None:
    server = {"type": "mcp", "server_label": "docs", "server_url": "https://docs.example"}
    tools: Any = [*TOOLS, {**server, "authorization": "token-of-docs", "headers": {"X-Key": "token-of-docs"}}]
    if name == "native":  # one that repeats what it was told
        response = {**recordings.RESPONSE, "tools": tools}
        done = recordings.sse({"type": "response.completed", "sequence_number": 9, "response": response})
        provider.will(streamed([*recordings.RESPONSES_STREAM[:-1], *done]) if streams else whole(response))
    said = await say(client, streams, model=FORGETFUL[name], input="hi", tools=tools)
    assert "token-of-docs" not in said.model_dump_json() and "docs.example" in said.model_dump_json()
    assert "token-of-docs" not in (await client.responses.retrieve(said.id)).model_dump_json()


async def test_no_secret_is_kept(client: openai.AsyncOpenAI, proxy: Proxy, tmp_path: Path) -> None:
    extra = {"customer_credentials": {"anthropic": {"api_key": "sk-ant-the-canary"}}}
    first = await client.responses.create(model="chatty", input="hi", extra_body=extra)
    again = await client.responses.with_raw_response.retrieve(first.id, include=["reasoning.encrypted_content"])
    assert "canary" not in again.text and "of-chat-only" not in again.text


async def test_a_database_that_is_away_keeps_nobody_from_openai(
    client: openai.AsyncOpenAI, proxy: Proxy, provider: FakeProvider, tmp_path: Path
) -> None:
    for file in tmp_path.glob("calls.db*"):
        file.unlink()
    (tmp_path / "calls.db").mkdir()
    second = await client.responses.create(model=KEEPS_ITSELF, input="hi", previous_response_id="resp_theirs")
    assert second.output_text == recordings.TEXT
    provider.will(whole(recordings.RESPONSE))
    assert (await client.responses.retrieve("resp_theirs")).output_text == recordings.TEXT
    with pytest.raises(openai.APIStatusError, match="cannot be read"):
        await client.responses.create(model="qwen3", input="hi", previous_response_id=UNKNOWN)
