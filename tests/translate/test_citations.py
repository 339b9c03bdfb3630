"""The pages that an answer rests on reach every client, whoever searched; and what cannot reach a client is told, wherever that can be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from google import genai

from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, streamed, whole
from tests.fakes.turns import INDEX, PAGE, TITLE, Turn

# The words are cited in the middle, after characters of two and three bytes.
TEXT, CITED = "Zürich ☃: sunny today. Take no umbrella.", "sunny today"
TURN = Turn(TEXT, cited=CITED)
MODELS = ["gpt-4o", "claude-sonnet-4-6", "gemini-2.5-flash", "mine/chat"]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SDKs warn of the age of models and of aiohttp

Cited = list[tuple[str, str, str]]
"""(url, title, the words that it stands behind)"""
Again = Callable[[str], Awaitable[str]]
"""Asks a model with what was answered in the history, as the SDK gave it; returns the text of the answer."""


@pytest.fixture
async def proxy(start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider) -> Proxy:
    return await start_proxy({"providers": {"mine": {"base_url": f"{provider.url}/v1", "auth": "none"}}}, environ)


def gpt(base: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="any", base_url=base, max_retries=0)


async def chat(base: str, model: str, streams: bool) -> tuple[Cited, Again]:
    messages: list[Any] = [{"role": "user", "content": "hi"}]
    async with gpt(base) as client:
        if streams:
            async with client.chat.completions.stream(model=model, messages=messages) as stream:
                message: Any = (await stream.get_final_completion()).choices[0].message
        else:
            message = (await client.chat.completions.create(model=model, messages=messages)).choices[0].message
    said = message.to_dict()
    notes = [note["url_citation"] for note in said["annotations"]]
    cited = [(note["url"], note["title"], message.content[note["start_index"] : note["end_index"]]) for note in notes]

    async def again(then: str) -> str:
        history: Any = [*messages, said, {"role": "user", "content": "go on"}]
        async with gpt(base) as client:
            return str((await client.chat.completions.create(model=then, messages=history)).choices[0].message.content)

    return cited, again


async def responses(base: str, model: str, streams: bool) -> tuple[Cited, Again]:
    added = 0
    async with gpt(base) as client:
        if streams:
            async with client.responses.stream(model=model, input="hi", store=False) as stream:
                async for event in stream:
                    added += event.type == "response.output_text.annotation.added"
                response: Any = await stream.get_final_response()
        else:
            response = await client.responses.create(model=model, input="hi", store=False)
    assert added == streams
    parts = [part for item in response.output if item.type == "message" for part in item.content]
    cited = [(note.url, note.title, part.text[note.start_index : note.end_index]) for part in parts for note in part.annotations]

    async def again(then: str) -> str:
        output = [item.model_dump(exclude_none=True) for item in response.output]
        async with gpt(base) as client:
            items: Any = [{"role": "user", "content": "hi"}, *output, {"role": "user", "content": "go on"}]
            return (await client.responses.create(model=then, input=items, store=False)).output_text

    return cited, again


async def messages(base: str, model: str, streams: bool) -> tuple[Cited, Again]:
    def claude() -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(api_key="any", base_url=f"{base}/anthropic", max_retries=0)

    asked: Any = {"max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}
    async with claude() as client:
        if streams:
            async with client.messages.stream(model=model, **asked) as stream:
                final: Any = await stream.get_final_message()
        else:
            final = await client.messages.create(model=model, **asked)
    texts = [block for block in final.content if block.type == "text"]
    assert "".join(block.text for block in texts) == TEXT
    cited = [(citation.url, citation.title, block.text) for block in texts for citation in block.citations or ()]

    async def again(then: str) -> str:
        said = {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in final.content]}
        async with claude() as client:
            history: Any = [*asked["messages"], said, {"role": "user", "content": "go on"}]
            reply = await client.messages.create(model=then, max_tokens=99, messages=history)
        return "".join(block.text for block in reply.content if block.type == "text")

    return cited, again


async def generate_content(base: str, model: str, streams: bool) -> tuple[Cited, Again]:
    def google() -> Any:
        return genai.Client(api_key="any", http_options={"base_url": f"{base}/google/gemini"}).aio

    async with google() as client:
        talk = client.chats.create(model=model)
        last = [piece async for piece in await talk.send_message_stream("hi")][-1] if streams else await talk.send_message("hi")
    [candidate] = last.candidates
    assert candidate.finish_reason == "STOP"
    cited: Cited = []
    for support in candidate.grounding_metadata.grounding_supports:
        words = TEXT.encode()[support.segment.start_index : support.segment.end_index].decode()
        assert words == support.segment.text
        pages = [candidate.grounding_metadata.grounding_chunks[number].web for number in support.grounding_chunk_indices]
        cited += [(page.uri, page.title, words) for page in pages]

    async def again(then: str) -> str:
        async with google() as client:
            return str((await client.chats.create(model=then, history=talk.get_history()).send_message("go on")).text)

    return cited, again


CLIENTS = {"chat": chat, "responses": responses, "messages": messages, "generate_content": generate_content}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_the_page_behind_the_words_arrives_and_may_come_back(
    proxy: Proxy, provider: FakeProvider, client: str, model: str, streams: bool
) -> None:
    provider.will(TURN)
    cited, again = await CLIENTS[client](proxy.base, model, streams)
    [(url, title, words)] = cited
    assert (url, title) == (PAGE, TITLE)
    if client == "messages" and streams and not model.startswith("claude"):
        assert CITED in words, "the block was open when its citation came"
    else:
        assert words == CITED
    for then in MODELS:
        provider.will(Turn("So be it."))
        assert await again(then) == "So be it."
        assert "gw1." not in json.dumps(provider.last.json), "what stands for Claude's key goes to nobody"
    if client == "messages":
        provider.will(Turn("So be it."))
        await again("claude-sonnet-4-6")
        assert (INDEX in json.dumps(provider.last.json)) == model.startswith("claude"), "Claude is told its own again"


# What is lost

PICTURE = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
PAINTED = {**recordings.GEMINI, "candidates": [{"index": 0, "finishReason": "STOP", "content": {"parts": [{"text": "so"}, PICTURE]}}]}
TOKEN = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}


_SO = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "so"}}


def _chat(**more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "so", **more.pop("message", {})}
    return {**recordings.CHAT, "choices": [{**_SO, "message": message, **more.pop("choice", {})}], **more}


PYTHON = [
    {"type": "server_tool_use", "id": "s", "name": "code_execution", "input": {}},
    {"type": "code_execution_tool_result", "tool_use_id": "s", "content": {"type": "code_execution_result", "stdout": "1"}},
    {"type": "text", "text": "so"},
]
LOST: dict[str, tuple[str, str, Any, str]] = {
    "a picture": ("messages", "gemini-2.5-flash", PAINTED, "image"),
    "probabilities": ("messages", "mine/chat", _chat(choice={"logprobs": {"content": [TOKEN], "refusal": None}}), "logprobs"),
    "of a refusal": ("responses", "mine/chat", _chat(choice={"logprobs": {"content": None, "refusal": [TOKEN]}}), "logprobs"),
    "sound": ("responses", "mine/chat", _chat(message={"audio": {"id": "a", "data": "AA==", "transcript": "so"}}), "audio"),
    "pages without a place": ("generate_content", "mine/chat", _chat(citations=[PAGE]), "citations"),
    "a program's output": ("chat", "claude-sonnet-4-6", {**recordings.MESSAGE, "content": PYTHON}, "hosted_tools"),
    "another answer": (
        "messages",
        "mine/chat",
        {**(two := _chat()), "choices": [*two["choices"], {**two["choices"][0], "index": 1}]},
        "choices",
    ),
}
PATHS = {
    "chat": "/chat/completions",
    "responses": "/responses",
    "messages": "/anthropic/v1/messages",
    "generate_content": "/google/gemini/v1beta/models/{model}:generateContent",
}


async def ask(proxy: Proxy, client: str, model: str, **more: Any) -> tuple[str | None, str | None, bytes]:
    """(the warnings that the header tells, those of the row, the answer)"""
    said = {"role": "user", "content": "hi"}
    body: dict[str, Any] = {
        "chat": {"model": model, "messages": [said]},
        "responses": {"model": model, "input": "hi", "store": False},
        "messages": {"model": model, "max_tokens": 9, "messages": [said]},
        "generate_content": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
    }[client]
    async with aiohttp.ClientSession() as session:
        async with session.post(proxy.base + PATHS[client].format(model=model), json={**body, **more}) as answer:
            told = await answer.read()
            assert answer.status == 200, told
        async with session.get(f"{proxy.base}/request-logs/{answer.headers['X-Respan-Log-Id']}/") as read:
            return answer.headers.get("X-Respan-Warnings"), (await read.json())["warnings"], told


@pytest.mark.parametrize("case", LOST)
async def test_what_a_client_cannot_be_told_of_a_reply_is_told_as_a_loss(proxy: Proxy, provider: FakeProvider, case: str) -> None:
    client, model, answer, what = LOST[case]
    provider.will(whole(answer))
    header, row, told = await ask(proxy, client, model)
    assert header == row == f"reply.{what}:dropped"
    assert b"so" in told


async def test_a_reply_is_served_whatever_is_lost_of_it(proxy: Proxy, provider: FakeProvider) -> None:
    provider.will(whole(PAINTED), whole(PAINTED))
    header, row, _ = await ask(proxy, "messages", "gemini-2.5-flash", on_loss="error")
    assert header == row == "reply.image:dropped", "it is there, and paid for"
    header, row, _ = await ask(proxy, "messages", "gemini-2.5-flash", on_loss="silent")
    assert (header, row) == (None, "reply.image:dropped")
    provider.will(streamed(recordings.sse(PAINTED, end="\r\n\r\n")))
    header, row, _ = await ask(proxy, "messages", "gemini-2.5-flash", stream=True, on_loss="error")
    assert (header, row) == (None, "reply.image:dropped"), "the header of a stream is gone by then"


async def test_the_row_tells_what_was_lost_of_a_stream_also_of_one_that_is_shared_and_kept(proxy: Proxy, provider: FakeProvider) -> None:
    gate = asyncio.Event()
    provider.will(streamed(recordings.sse(recordings.GEMINI_EVENTS[0], end="\r\n\r\n"), gate, recordings.sse(PAINTED, end="\r\n\r\n")))
    body = {"model": "gemini-2.5-flash", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with aiohttp.ClientSession() as session, asyncio.timeout(10):

        async def begin() -> aiohttp.ClientResponse:
            answer = await session.post(proxy.base + PATHS["messages"], json={**body, "cache_enabled": True})
            await answer.content.readany()  # the header is gone, and no picture has come
            return answer

        shared = [await begin(), await begin()]
        gate.set()
        for answer in shared:
            async with answer:
                assert "X-Respan-Warnings" not in answer.headers and b"message_stop" in await answer.read()
            async with session.get(f"{proxy.base}/request-logs/{answer.headers['X-Respan-Log-Id']}/") as read:
                assert (await read.json())["warnings"] == "reply.image:dropped"
    header, row, told = await ask(proxy, "messages", "gemini-2.5-flash", stream=True, cache_enabled=True)
    assert (header, row) == (None, "reply.image:dropped") and b"message_stop" in told
    assert len(provider.received) == 1
