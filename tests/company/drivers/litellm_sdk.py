"""What an app does with `litellm` as its client: each of its routes that takes a base URL."""

from __future__ import annotations

import json
from typing import Any

import litellm
from playing import KEY, PIXEL, play
from pydantic import BaseModel

litellm.suppress_debug_info = True

HELLO: Any = [{"role": "user", "content": "Say hello"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
TOOLS: Any = [{"type": "function", "function": {"name": "get_weather", "description": "The weather in a city.", "parameters": SCHEMA}}]

# What stands behind the proxy's address, for each prefix of a model's name.
DOORS = {"openai": "", "litellm_proxy": "", "anthropic": "/anthropic", "gemini": "/google/gemini"}


class City(BaseModel):
    """A city."""

    city: str


def _settings(base_url: str, model: str) -> dict[str, Any]:
    return {"model": model, "api_base": base_url + DOORS[model.partition("/")[0]], "api_key": KEY, "num_retries": 0}


def _read(answer: Any, said: dict[str, Any]) -> None:
    message = answer.choices[0].message
    said["text"], said["finish"] = message.content or "", answer.choices[0].finish_reason
    said["calls"] = [[call.function.name, json.loads(call.function.arguments)] for call in message.tool_calls or ()]
    said["usage"] = [answer.usage.prompt_tokens, answer.usage.completion_tokens]


def _ask(base_url: str, model: str, messages: Any, streams: bool, **more: Any) -> Any:
    if not streams:
        return litellm.completion(messages=messages, **_settings(base_url, model), **more)
    stream = litellm.completion(
        messages=messages, stream=True, stream_options={"include_usage": True}, **_settings(base_url, model), **more
    )
    return litellm.stream_chunk_builder(list(stream), messages=messages)


def text(base_url: str, model: str, said: dict[str, Any], *, streams: bool = False) -> None:
    _read(_ask(base_url, model, HELLO, streams), said)


def tools(base_url: str, model: str, said: dict[str, Any], *, streams: bool = False) -> None:
    answer = _ask(base_url, model, HELLO, streams, tools=TOOLS)
    _read(answer, said)
    calls = said["calls"]
    message = answer.choices[0].message
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls]
    _read(_ask(base_url, model, [*HELLO, message.model_dump(exclude_none=True), *results], streams, tools=TOOLS), said)
    said["calls"] = calls


def structured(base_url: str, model: str, said: dict[str, Any]) -> None:
    answer = litellm.completion(messages=HELLO, response_format=City, **_settings(base_url, model))
    said["parsed"] = json.loads(answer.choices[0].message.content)


def image(base_url: str, model: str, said: dict[str, Any]) -> None:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    _read(_ask(base_url, model, [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]}], streams=False), said)


def responses(base_url: str, model: str, said: dict[str, Any]) -> None:
    answer = litellm.responses(input="Say hello", **_settings(base_url, model))
    said["text"] = "".join(part.text for item in answer.output if item.type == "message" for part in item.content)
    said["usage"] = [answer.usage.input_tokens, answer.usage.output_tokens]


def embeddings(base_url: str, model: str, said: dict[str, Any]) -> None:
    answer = litellm.embedding(input=["a"], **_settings(base_url, model))
    said["vector"] = [round(number, 6) for number in answer.data[0]["embedding"]]


if __name__ == "__main__":
    play(
        str,
        {
            "text": text,
            "text_streamed": lambda *scene: text(*scene, streams=True),
            "tools": tools,
            "tools_streamed": lambda *scene: tools(*scene, streams=True),
            "structured": structured,
            "image": image,
            "responses": responses,
            "embeddings": embeddings,
        },
    )
