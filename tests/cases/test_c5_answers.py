"""Answers of one company in the words of another. Each test names the number of its case; here is where every one is claimed.

| case | in | claimed |
| --- | --- | --- |
| 65 | a call in one chunk of Gemini's, its end in the next | here |
| 67 | three calls of one tool, one a chunk | here |
| 68 | two calls in one chunk, for an Anthropic client | here |
| 69 | Claude's parallel calls | here |
| 71 | two choices | here |
| 72 | the role comes first | here, from every provider |
| 73 | the order of an Anthropic stream | here; tests/dialects/test_anthropic_messages.py for anything that can be said |
| 75 | why it ended | here, whole and streamed |
| 76 | a prompt that was blocked | here, whole and streamed |
| 77 | an end without content | here |
| 79 | redacted thinking | here (there and back) |
| 80 | the order of a Responses stream | here; tests/dialects/test_openai_responses_write.py for anything that can be said |
| 81 | text and a call in one response | here |
| 83 | thinking has one place in each dialect | here |
| 84 | no content is null | here |
| 85 | a result with an image that failed | here |
| 87 | what only the dialect knows, on its own route | here; tests/relay/test_bytes.py |

Cases 66, 70, 74, 78, 82 and 86 do not exist.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from tests.cases.conftest import USER, Ask
from tests.conftest import Proxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, streamed, whole

GPT, CLAUDE, GEMINI = "gpt-4o", "claude-sonnet-4-6", "gemini-2.5-flash"
TOOLS: Any = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("look", "hear")]
CLAUDES_TOOLS: Any = [{"name": name, "input_schema": {"type": "object"}} for name in ("look", "hear")]
GEMINIS_USAGE = {"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 12}


@pytest.fixture
async def gpt(proxy: Proxy) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as sdk:
        yield sdk


@pytest.fixture
async def claude(proxy: Proxy) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(api_key="any", base_url=f"{proxy.base}/anthropic", max_retries=0) as sdk:
        yield sdk


def candidate(*parts: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    content = {"content": {"role": "model", "parts": list(parts)}} if parts else {}
    return {"candidates": [{**content, "index": 0, **({"finishReason": finish} if finish else {}), **more}], "usageMetadata": GEMINIS_USAGE}


def called(name: str, **args: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": args}}


def gemini_says(*documents: dict[str, Any]) -> Any:
    return streamed(recordings.sse(*documents, end="\r\n\r\n"))


def claude_says(*blocks: dict[str, Any], stop: str = "end_turn", **more: Any) -> dict[str, Any]:
    return {**recordings.MESSAGE, "content": list(blocks), "stop_reason": stop, "stop_sequence": None, **more}


def claude_streams(*blocks: dict[str, Any], stop: str = "end_turn") -> Any:
    """Blocks as the API streams them: opened empty, said in deltas, closed."""
    events: list[dict[str, Any]] = [{"type": "message_start", "message": claude_says(stop="", stop_reason=None)}]
    for index, block in enumerate(blocks):
        opened, deltas = dict(block), []
        match block["type"]:
            case "text":
                opened["text"], deltas = "", [{"type": "text_delta", "text": block["text"]}]
            case "tool_use":
                opened["input"], deltas = {}, [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
            case "thinking":
                opened |= {"thinking": "", "signature": ""}
                deltas = [
                    {"type": "thinking_delta", "thinking": block["thinking"]},
                    {"type": "signature_delta", "signature": block["signature"]},
                ]
        events.append({"type": "content_block_start", "index": index, "content_block": opened})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 5}})
    return streamed(recordings.sse(*events, {"type": "message_stop"}, named=True))


def use(id: str, name: str, **input: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": input}


async def chat_stream(gpt: openai.AsyncOpenAI, model: str, **members: Any) -> Any:
    """The completion as the SDK's own accumulator gives it."""
    async with gpt.chat.completions.stream(model=model, messages=[USER], **members) as stream:  # type: ignore[list-item]
        return await stream.get_final_completion()


# ------------------------------------------------------------------------------------------------------------------- calls


@pytest.mark.parametrize("rest", [candidate({"text": ""}, finish="STOP"), candidate(finish="STOP")])
async def test_c5_65_a_call_and_its_end_in_two_chunks_are_a_call(gpt: openai.AsyncOpenAI, provider: FakeProvider, rest: Any) -> None:
    provider.will(gemini_says(candidate(called("look", city="Bern")), rest))
    choice = (await chat_stream(gpt, GEMINI, tools=TOOLS)).choices[0]
    assert choice.finish_reason == "tool_calls" and not choice.message.content
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"city": "Bern"}


async def test_c5_67_calls_of_one_tool_in_many_chunks_stay_apart(gpt: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    provider.will(gemini_says(*(candidate(called("look", n=n)) for n in range(3)), candidate(finish="STOP")))
    deltas = []
    async for chunk in await gpt.chat.completions.create(model=GEMINI, messages=[USER], tools=TOOLS, stream=True):  # type: ignore[list-item]
        deltas += [call for choice in chunk.choices for call in choice.delta.tool_calls or []]
    ids = {call.index: call.id for call in deltas if call.id}
    said = {index: "".join(call.function.arguments or "" for call in deltas if call.index == index) for index in ids}
    assert list(ids) == [0, 1, 2] and len(set(ids.values())) == 3
    assert {index: json.loads(text) for index, text in said.items()} == {n: {"n": n} for n in range(3)}


async def test_c5_68_two_calls_of_one_chunk_are_two_blocks(claude: anthropic.AsyncAnthropic, provider: FakeProvider) -> None:
    provider.will(gemini_says(candidate(called("look", n=1), called("hear", n=2), finish="STOP")))
    async with claude.messages.stream(model=GEMINI, max_tokens=9, messages=[USER], tools=CLAUDES_TOOLS) as stream:  # type: ignore[list-item]
        final = await stream.get_final_message()
    assert [(block.name, block.input) for block in final.content if block.type == "tool_use"] == [("look", {"n": 1}), ("hear", {"n": 2})]
    assert final.stop_reason == "tool_use"


async def test_c5_69_calls_count_from_zero_whatever_was_said_before(gpt: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    text = {"type": "text", "text": "let me see"}
    provider.will(claude_streams(text, use("toolu_1", "look", n=1), use("toolu_2", "hear", n=2), stop="tool_use"))
    indices = set()
    async for chunk in await gpt.chat.completions.create(model=CLAUDE, messages=[USER], tools=TOOLS, stream=True):  # type: ignore[list-item]
        indices |= {call.index for choice in chunk.choices for call in choice.delta.tool_calls or []}
    assert indices == {0, 1}
    provider.will(claude_streams(text, use("toolu_1", "look", n=1), use("toolu_2", "hear", n=2), stop="tool_use"))
    message = (await chat_stream(gpt, CLAUDE, tools=TOOLS)).choices[0].message
    assert message.content == "let me see"
    assert [(call.id, call.function.name) for call in message.tool_calls] == [("toolu_1", "look"), ("toolu_2", "hear")]


async def test_c5_71_two_choices_stay_two(gpt: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    both = [candidate({"text": "a"}, finish="STOP"), candidate({"text": "b"}, finish="STOP")]
    both[1]["candidates"][0]["index"] = 1
    provider.will(gemini_says(*both), whole({**both[0], "candidates": [one["candidates"][0] for one in both]}))
    said = [(choice.index, choice.message.content) for choice in (await chat_stream(gpt, GEMINI, n=2)).choices]
    reply = await gpt.chat.completions.create(model=GEMINI, messages=[USER], n=2)  # type: ignore[list-item]
    assert said == [(choice.index, choice.message.content) for choice in reply.choices] == [(0, "a"), (1, "b")]
    assert provider.last.json["generationConfig"]["candidateCount"] == 2
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": GPT}
    spoken = [{"index": index, "delta": {"content": text}, "finish_reason": None} for index, text in ((0, "a"), (1, "b"))]
    ended = [{"index": index, "delta": {}, "finish_reason": "stop"} for index in (0, 1)]
    provider.will(streamed(recordings.sse(*({**chunk, "choices": [choice]} for choice in spoken + ended), "[DONE]")))
    choices = (await chat_stream(gpt, GPT, n=2)).choices
    assert {choice.index: choice.message.content for choice in choices if choice is not None} == {0: "a", 1: "b"}


@pytest.mark.parametrize("model", [GPT, CLAUDE, GEMINI])
async def test_c5_72_the_first_delta_says_the_role(ask: Ask, model: str) -> None:
    told = await ask("openai.chat", model, stream=True)
    first = next(event for event in told.events if event["choices"])
    assert first["choices"][0]["delta"]["role"] == "assistant"


# ---------------------------------------------------------------------------------------------------------- the order of things


CALLS_CHUNKS = recordings.sse(
    *(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": GPT, "choices": [{"index": 0, "finish_reason": None, **said}]}
        for said in (
            {"delta": {"role": "assistant", "content": ""}},
            {"delta": {"reasoning_content": "hm"}},
            {"delta": {"content": "let me "}},
            {"delta": {"content": "see"}},
            {"delta": {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "look", "arguments": ""}}]}},
            {"delta": {"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "hear", "arguments": '{"n":'}}]}},
            {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"n":1}'}}]}},
            {"delta": {"tool_calls": [{"index": 1, "function": {"arguments": "2}"}}]}},
            {"delta": {}, "finish_reason": "tool_calls"},
        )
    ),
    {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": GPT, "choices": [], "usage": recordings.CHAT["usage"]},
    "[DONE]",
)


async def test_c5_73_an_anthropic_stream_opens_and_closes_everything_once(ask: Ask, provider: FakeProvider) -> None:
    provider.will(streamed(CALLS_CHUNKS))
    told = await ask("anthropic.messages", GPT, stream=True, tools=CLAUDES_TOOLS)
    kinds = [event["type"] for event in told.events]
    assert kinds[0] == "message_start" and kinds.count("message_start") == 1
    start = told.events[0]["message"]
    assert start["content"] == [] and start["role"] == "assistant" and start["usage"].keys() >= {"input_tokens", "output_tokens"}
    open_block, opened = None, 0
    for event in told.events[1:-2]:
        if event["type"] == "content_block_start":
            assert open_block is None and event["index"] == opened
            open_block, opened = event["index"], opened + 1
        else:
            assert event["index"] == open_block
            open_block = None if event["type"] == "content_block_stop" else open_block
    assert open_block is None and opened == 4  # thinking, text, two calls
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert told.events[-2]["delta"]["stop_reason"] == "tool_use" and told.events[-2]["usage"]["output_tokens"] == 5
    names = [line.removeprefix("event: ") for line in told.text.splitlines() if line.startswith("event: ")]
    assert names == kinds


async def test_c5_80_81_a_responses_stream_tells_every_item_from_its_beginning_to_its_end(ask: Ask, provider: FakeProvider) -> None:
    text, call = {"type": "text", "text": "let me see"}, use("toolu_1", "look", n=1)
    provider.will(claude_streams(text, call, stop="tool_use"))
    tools = [{"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}]
    told = await ask("openai.responses", CLAUDE, stream=True, tools=tools)
    events = told.events
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    names = [line.removeprefix("event: ") for line in told.text.splitlines() if line.startswith("event: ")]
    assert names == [event["type"] for event in events]
    assert {(event["output_index"], event["content_index"], event["item_id"]) for event in events[3:7]} == {(0, 0, events[2]["item"]["id"])}
    assert [event["output_index"] for event in events if event["type"] == "response.output_item.done"] == [0, 1]
    response = events[-1]["response"]
    assert response["output"] == [events[7]["item"], events[11]["item"]]
    assert response["id"] == events[0]["response"]["id"] and response["model"] and response["usage"]["output_tokens"] == 5


# -------------------------------------------------------------------------------------------------------------- why it ended


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("said", "chat"),
    [
        ("end_turn", "stop"), ("max_tokens", "length"), ("tool_use", "tool_calls"), ("stop_sequence", "stop"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"), ("model_context_window_exceeded", "length"), ("of_2031", "stop"),
    ],
)  # fmt: skip
async def test_c5_75_why_claude_stopped(ask: Ask, provider: FakeProvider, streams: bool, said: str, chat: str) -> None:
    blocks = [use("toolu_1", "look")] if said == "tool_use" else [{"type": "text", "text": "a"}]
    provider.will(claude_streams(*blocks, stop=said) if streams else whole(claude_says(*blocks, stop=said)))
    told = await ask("openai.chat", CLAUDE, stream=streams, tools=TOOLS)
    assert finish(told, streams) == chat


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("said", "claude"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use"), ("content_filter", "refusal"), ("of_2031", "end_turn")],
)
async def test_c5_75_why_a_chat_model_stopped(ask: Ask, provider: FakeProvider, streams: bool, said: str, claude: str) -> None:
    message = recordings.CHAT_TOOLS["choices"][0]["message"] if said == "tool_calls" else {"role": "assistant", "content": "a"}
    choice = {"index": 0, "finish_reason": said, "message": message}
    calls = [{"index": 0, **call} for call in message.get("tool_calls", [])]
    delta = {"index": 0, "finish_reason": said, "delta": {**message, "tool_calls": calls} if calls else message}
    chunk = {**recordings.CHAT, "object": "chat.completion.chunk", "choices": [delta]}
    provider.will(streamed(recordings.sse(chunk, "[DONE]")) if streams else whole({**recordings.CHAT, "choices": [choice]}))
    told = await ask("anthropic.messages", GPT, stream=streams, tools=CLAUDES_TOOLS)
    assert (told.events[-2]["delta"] if streams else told.json)["stop_reason"] == claude


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("said", "chat"),
    [
        ("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"), ("PROHIBITED_CONTENT", "content_filter"), ("SPII", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "stop"), ("OF_2031", "stop"),
    ],
)  # fmt: skip
async def test_c5_75_why_gemini_stopped(ask: Ask, provider: FakeProvider, streams: bool, said: str, chat: str) -> None:
    answer = candidate({"text": "a"}, finish=said)
    provider.will(gemini_says(answer) if streams else whole(answer))
    told = await ask("openai.chat", GEMINI, stream=streams)
    assert finish(told, streams) == chat


async def test_c5_75_a_model_that_lost_its_way_before_a_word_is_an_error(ask: Ask, provider: FakeProvider) -> None:
    provider.will(whole(candidate(finish="MALFORMED_FUNCTION_CALL")))
    told = await ask("openai.chat", GEMINI)
    assert told.status == 502 and "MALFORMED_FUNCTION_CALL" in told.json["error"]["message"]


def finish(told: Any, streams: bool) -> Any:
    if not streams:
        return told.json["choices"][0]["finish_reason"]
    said = [choice["finish_reason"] for event in told.events if event != "[DONE]" for choice in event["choices"]]
    assert [reason for reason in said if reason] == said[-1:]
    return said[-1]


BLOCKED = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7}}


@pytest.mark.parametrize("streams", [False, True])
async def test_c5_76_a_blocked_prompt_is_a_filtered_answer(ask: Ask, provider: FakeProvider, streams: bool) -> None:
    blocked = gemini_says(BLOCKED) if streams else whole(BLOCKED)
    provider.will(blocked, blocked)
    told = await ask("openai.chat", GEMINI, stream=streams, **({"stream_options": {"include_usage": True}} if streams else {}))
    assert told.status == 200 and finish(told, streams) == "content_filter"
    usage = told.events[-2]["usage"] if streams else told.json["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (7, 0)
    if not streams:
        assert not told.json["choices"][0]["message"]["content"]
    told = await ask("anthropic.messages", GEMINI, stream=streams)
    assert (told.events[-2]["delta"] if streams else told.json)["stop_reason"] == "refusal"
    assert (told.events[-2] if streams else told.json)["usage"]["input_tokens"] == 7


@pytest.mark.parametrize("streams", [False, True])
async def test_c5_77_an_end_without_content_is_a_choice(ask: Ask, provider: FakeProvider, streams: bool) -> None:
    answer = candidate(finish="MAX_TOKENS")
    provider.will(gemini_says(answer) if streams else whole(answer))
    told = await ask("openai.chat", GEMINI, stream=streams)
    assert told.status == 200 and finish(told, streams) == "length"


# ------------------------------------------------------------------------------------------------------------ what was said


async def test_c5_79_redacted_thinking_goes_there_and_back_and_is_never_shown(gpt: openai.AsyncOpenAI, provider: FakeProvider) -> None:
    redacted = {"type": "redacted_thinking", "data": "c2VhbGVk"}
    call = use("toolu_1", "look", n=1)
    for answer in (whole(claude_says(redacted, call, stop="tool_use")), claude_streams(redacted, call, stop="tool_use")):
        provider.will(answer)
        if answer.steps and len(answer.steps) > 1:
            message = (await chat_stream(gpt, CLAUDE, tools=TOOLS)).choices[0].message
        else:
            message = (await gpt.chat.completions.create(model=CLAUDE, messages=[USER], tools=TOOLS)).choices[0].message  # type: ignore[list-item]
        assert not message.content and not message.model_extra.get("reasoning_content")
        history: Any = [USER, message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": "toolu_1", "content": "x"}]
        await gpt.chat.completions.create(model=CLAUDE, messages=history, tools=TOOLS, reasoning_effort="low")
        assert provider.last.json["messages"][1]["content"] == [redacted, call]


@pytest.mark.parametrize("streams", [False, True])
async def test_c5_83_thinking_has_its_own_place_in_every_dialect(ask: Ask, provider: FakeProvider, streams: bool) -> None:
    thinking, text = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}, {"type": "text", "text": "a"}
    provider.will(claude_streams(thinking, text) if streams else whole(claude_says(thinking, text)))
    told = await ask("openai.chat", CLAUDE, stream=streams, reasoning_effort="low")
    if streams:
        deltas = [choice["delta"] for event in told.events[:-1] for choice in event["choices"]]
        said = {name: "".join(delta.get(name) or "" for delta in deltas) for name in ("content", "reasoning_content")}
    else:
        said = told.json["choices"][0]["message"]
    assert (said["content"], said["reasoning_content"]) == ("a", "hm")
    for name in ("reasoning_content", "reasoning"):
        message = {"role": "assistant", "content": "a", name: "hm"}
        chunks = [{"index": 0, "delta": message, "finish_reason": None}, {"index": 0, "delta": {}, "finish_reason": "stop"}]
        frames = [{**recordings.CHAT, "object": "chat.completion.chunk", "choices": [chunk]} for chunk in chunks]
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        provider.will(streamed(recordings.sse(*frames, "[DONE]")) if streams else whole({**recordings.CHAT, "choices": [choice]}))
        told = await ask("anthropic.messages", GPT, stream=streams)
        if streams:
            blocks = [event["content_block"]["type"] for event in told.events if event["type"] == "content_block_start"]
            deltas = [event["delta"] for event in told.events if event["type"] == "content_block_delta"]
            assert [delta.get("thinking") or delta.get("text") for delta in deltas if delta["type"] != "signature_delta"] == ["hm", "a"]
        else:
            blocks = [block["type"] for block in told.json["content"]]
            assert (told.json["content"][0]["thinking"], told.json["content"][1]["text"]) == ("hm", "a")
        assert blocks == ["thinking", "text"]


@pytest.mark.parametrize("model", [CLAUDE, GEMINI])
async def test_c5_84_no_content_is_null_never_a_word(ask: Ask, provider: FakeProvider, model: str) -> None:
    answers = {CLAUDE: claude_says(use("toolu_1", "look"), stop="tool_use"), GEMINI: candidate(called("look"), finish="STOP")}
    provider.will(whole(answers[model]))
    message = (await ask("openai.chat", model, tools=TOOLS)).json["choices"][0]["message"]
    assert message["content"] is None and message["tool_calls"]


async def test_c5_84_a_null_or_a_refusal_of_a_chat_model_is_no_text(ask: Ask, provider: FakeProvider) -> None:
    provider.will(whole(recordings.CHAT_TOOLS))
    assert recordings.CHAT_TOOLS["choices"][0]["message"]["content"] is None
    told = await ask("anthropic.messages", GPT, tools=CLAUDES_TOOLS)
    assert [block["type"] for block in told.json["content"]] == ["tool_use"]
    message = {"role": "assistant", "content": None, "refusal": "I will not."}
    provider.will(whole({**recordings.CHAT, "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}))
    told = await ask("anthropic.messages", GPT)
    assert told.json["content"] == [{"type": "text", "text": "I will not."}]


async def test_c5_85_a_result_that_failed_keeps_its_words_and_its_image_follows(ask: Ask) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    result = {"type": "tool_result", "tool_use_id": "a", "is_error": True, "content": [{"type": "text", "text": "no map"}, image]}
    messages = [USER, {"role": "assistant", "content": [use("a", "look")]}, {"role": "user", "content": [result]}]
    told = await ask("anthropic.messages", GPT, messages=messages, tools=CLAUDES_TOOLS)
    answer, shown = told.sent["messages"][2:]
    assert (answer["role"], answer["tool_call_id"]) == ("tool", "a") and "no map" in answer["content"]
    assert shown["role"] == "user" and shown["content"][1] == {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="},
    }
    assert told.warnings == ["messages.tool_result.is_error:dropped"]


async def test_c5_87_what_only_the_dialect_knows_is_untouched_on_its_own_route(
    proxy: Proxy, provider: FakeProvider, client: aiohttp.ClientSession
) -> None:
    request = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"logprobs":true,"service_tier":"flex","of_2031":{"a":[1.0]}}'
    answer = json.dumps(
        {
            **recordings.CHAT,
            "choices": [{**recordings.CHAT["choices"][0], "logprobs": {"content": [{"token": "a", "logprob": -0.10, "bytes": [97]}]}}],
            "system_fingerprint": "fp_1",
            "service_tier": "flex",
            "of_2031": 1.0,
        }
    ).encode()
    provider.will(whole(answer))
    async with client.post(f"{proxy.base}/chat/completions", data=request) as response:
        assert await response.read() == answer
    assert provider.last.body == request
