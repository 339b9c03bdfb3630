"""What is remembered of an answer, and what is made of one that nobody counted."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.chat import Choice, Reasoning, Text, ToolCall, arguments_object, assemble
from respan_proxy.dialects.events import (
    End,
    Finish,
    Opaque,
    ReasoningDelta,
    ReasoningEnd,
    Signature,
    Start,
    TextDelta,
    ToolDelta,
    ToolStart,
)
from respan_proxy.dialects.observe import observe
from respan_proxy.dialects.usage import Usage, estimate

CHAT = DIALECTS["openai.chat"]
CLAUDE = DIALECTS["anthropic.messages"]


def frames(*payloads: Any) -> bytes:
    return b"".join(b"data: " + orjson.dumps(payload) + b"\n\n" for payload in payloads)


def said(content: str | None = None, finish: str | None = None) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def test_a_stream_is_observed_whole() -> None:
    usage = {"id": "c1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    seen = observe(CHAT, "generate", frames(said("hel"), said("lo"), said(finish="stop"), usage) + b"data: [DONE]\n\n", streamed=True)
    assert (seen.text, seen.model, seen.response_id, seen.usage) == ("hello", "m", "c1", Usage(prompt=3, output=2))
    assert (seen.complete, seen.truncated, seen.error) == (True, False, None)


def test_usage_that_nobody_told_is_estimated_and_says_so() -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "x" * 35}]}
    seen = observe(CHAT, "generate", frames(said("y" * 10), said(finish="stop")), streamed=True, request=request)
    assert seen.usage == Usage(prompt=10, output=3, estimated=True)


def test_inline_files_do_not_count_as_text() -> None:
    parts = [{"type": "text", "text": "abcd"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4000}}]
    seen = observe(CHAT, "generate", frames(said("y"), said(finish="stop")), streamed=True, request={"messages": [{"content": parts}]})
    assert seen.usage is not None
    assert seen.usage.prompt < 10


def test_a_break_is_truncated_and_what_came_is_counted() -> None:
    start = {"type": "message_start", "message": {"id": "m1", "model": "c", "usage": {"input_tokens": 5, "output_tokens": 1}}}
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 40}}
    seen = observe(CLAUDE, "generate", frames(start, text), streamed=True)
    assert (seen.complete, seen.truncated, seen.text) == (False, True, "x" * 40)
    assert seen.usage == Usage(prompt=5, output=10, estimated=True)


def test_an_error_of_the_providers_own_is_no_truncation() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    seen = observe(CLAUDE, "generate", frames(error), streamed=True)
    assert (seen.complete, seen.truncated, seen.error) == (False, False, "Overloaded")


def test_a_refused_request_has_only_an_error() -> None:
    seen = observe(CHAT, "generate", b'{"error":{"message":"no"}}', status=400, streamed=False)
    assert (seen.error, seen.reply, seen.usage) == ("no", None, None)


def test_a_count_spends_nothing() -> None:
    seen = observe(CLAUDE, "count", b'{"input_tokens":12}', streamed=False)
    assert (seen.counted, seen.usage) == (12, None)


def test_embeddings_spend_what_they_read() -> None:
    body = {"object": "list", "data": [], "model": "e", "usage": {"prompt_tokens": 4, "total_tokens": 4}}
    seen = observe(CHAT, "embed", orjson.dumps(body), streamed=False)
    assert (seen.usage, seen.model) == (Usage(prompt=4), "e")


def test_embeddings_that_nobody_counted_are_estimated() -> None:
    seen = observe(DIALECTS["gemini"], "embed", b'{"embedding":{"values":[0.5]}}', streamed=False, request={"input": "abcdefgh"})
    assert seen.usage == Usage(prompt=2, estimated=True)


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("é☃", 2), ("\ud800", 1)])
def test_an_estimate_is_a_quarter_of_the_bytes(text: str, tokens: int) -> None:
    assert estimate(text) == tokens


def test_parts_keep_their_order_and_neighbouring_text_is_one() -> None:
    signature = Opaque("gemini", "S")
    events = [
        Start("i", "m"),
        *(ReasoningDelta("a"), ReasoningDelta("b"), ReasoningEnd(Opaque("anthropic", "X")), ReasoningDelta("c")),
        *(TextDelta("d"), TextDelta("e"), Signature(signature), TextDelta("f")),
        *(ToolStart(0, "t", "f"), ToolStart(1, None, "g"), ToolDelta(0, "{"), ToolDelta(1, "["), ToolDelta(0, "}"), ToolDelta(9, "lost")),
        *(TextDelta("g"), TextDelta("other", 1), TextDelta("h"), Finish("stop", "STOP"), End()),
    ]
    reply = assemble(events)
    assert reply.choices[0].parts == (
        *(Reasoning("ab", Opaque("anthropic", "X")), Reasoning("c"), Text("de"), Text("f", signature)),
        *(ToolCall("t", "f", "{}"), ToolCall(None, "g", "["), Text("gh")),
    )
    assert reply.choices[1] == Choice(1, (Text("other"),))
    assert (reply.text, reply.choices[0].reasoning, reply.complete) == ("defgh", "abc", True)


@pytest.mark.parametrize(
    ("arguments", "held"),
    [("", {}), (" ", {}), ('{"a":1}', {"a": 1}), ("[1]", {"__raw_arguments": "[1]"}), ('{"a', {"__raw_arguments": '{"a'})],
)
def test_arguments_become_an_object_and_are_never_lost(arguments: str, held: dict[str, Any]) -> None:
    assert arguments_object(arguments) == held


def test_usage_is_split_without_going_below_zero() -> None:
    assert Usage(prompt=10, cached=3, write=2).fresh == 5
    assert Usage(prompt=1, cached=3).fresh == 0
    assert Usage(prompt=1, output=2).total == 3
