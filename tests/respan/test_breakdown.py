"""`request_breakdown`, as Respan documents it, in whole and in streamed answers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import orjson
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.observe import Observed, observe
from respan_proxy.respan.breakdown import Breakdown, breakdown_chunk, with_breakdown
from respan_proxy.respan.params import Params
from respan_proxy.wire.json_edit import UNREAD
from respan_proxy.wire.sse import Decoder

BODY = (
    b'{ "id":"c","object":"chat.completion","created":1,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},'
    b'"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5} }\n'
)
REQUEST: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Hello"}],
    "customer_credentials": {"openai": {"api_key": "sk-secret"}},
    "request_breakdown": True,
}


def told(seen: Observed | None = None, members: dict[str, Any] | None = None) -> Breakdown:
    return Breakdown.of(
        Params({"category": "help", "metadata": {"a": "b"}}),
        REQUEST if members is None else members,
        seen or observe(DIALECTS["openai.chat"], "generate", BODY, streamed=False),
        model="m-1",
        cost_usd=0.25,
        stream=False,
        ended_at=1767225600.5,
        latency_s=1.5,
        routing_s=0.001,
    )


def test_a_whole_answer_gets_one_more_member_and_keeps_its_bytes() -> None:
    answer = with_breakdown(BODY, told())
    assert answer.startswith(BODY.rstrip()[:-2])
    assert answer.endswith(b" }\n")
    assert ChatCompletion.model_validate_json(answer).choices[0].message.content == "Hi"
    assert json.loads(answer)["request_breakdown"] == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "cost": 0.25,
        "prompt_messages": [{"role": "user", "content": "Hello"}],
        "completion_message": {"role": "assistant", "content": "Hi"},
        "model": "m-1",
        "cached": False,
        "timestamp": "2026-01-01T00:00:00.500000Z",
        "status_code": 200,
        "stream": False,
        "latency": 1.5,
        "scores": {},
        "category": "help",
        "metadata": {"a": "b"},
        "routing_time": 0.001,
        "full_request": {**REQUEST, "customer_credentials": {"openai": {"api_key": "***"}}},
        "sentiment_score": 0,
    }


def test_an_answer_that_is_no_object_stays_as_it_is() -> None:
    assert with_breakdown(b"<html>", told()) == b"<html>"


def test_a_streamed_answer_gets_a_chunk_that_clients_can_index() -> None:
    breakdown = replace(told(), stream=True)
    (frame,) = Decoder().feed(breakdown_chunk(breakdown))
    # As the SDK does with a chunk: it builds the object and does not validate it (`usage` is no usage).
    assert ChatCompletionChunk.construct(**orjson.loads(frame.data)).choices[0].delta.content is None
    assert orjson.loads(frame.data) == {
        "id": "request_breakdown",
        "object": "chat.completion.chunk",
        "created": 1767225600,
        "model": "extra_parameter",
        "system_fingerprint": None,
        "usage": {},
        "choices": [
            {
                "index": 0,
                "delta": {"content": None, "role": "assistant"},
                "message": {"content": None, "role": "assistant"},
                "finish_reason": "stop",
                "request_breakdown": json.loads(orjson.dumps(breakdown.values())),
            }
        ],
    }


def test_what_is_unknown_is_null_and_what_was_not_read_is_left_out() -> None:
    values = told(Observed(), {"model": "m", "messages": UNREAD}).values()
    assert values["prompt_tokens"] is values["completion_tokens"] is None
    assert values["prompt_messages"] == []
    assert values["full_request"] == {"model": "m"}
    assert orjson.dumps(values)
