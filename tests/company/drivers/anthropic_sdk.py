"""What an app does with `anthropic`: messages, tools, token counts, models. Any version from 0.49 on."""

from __future__ import annotations

from typing import Any

import anthropic
from playing import KEY, play

HELLO: Any = [{"role": "user", "content": "Say hello"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: Any = [{"name": "get_weather", "input_schema": SCHEMA}]


# Its own models must be asked to think.
THINKING: Any = {"max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 1024}}


def message(client: anthropic.Anthropic, model: str, said: dict[str, Any], **more: Any) -> None:
    _message(client.messages.create(**{"model": model, "max_tokens": 64, "messages": HELLO, **more}), said)


def message_streamed(client: anthropic.Anthropic, model: str, said: dict[str, Any], **more: Any) -> None:
    said["text"] = ""
    with client.messages.stream(**{"model": model, "max_tokens": 64, "messages": HELLO, **more}) as stream:
        for piece in stream.text_stream:
            said["text"] += piece
        pieces = said["text"]
        _message(stream.get_final_message(), said)
        said["same"] = said["text"] == pieces


def _message(answer: Any, said: dict[str, Any]) -> None:
    said["text"] = "".join(block.text for block in answer.content if block.type == "text")
    said["thought"] = "".join(block.thinking for block in answer.content if block.type == "thinking")
    said["calls"] = [[block.name, block.input] for block in answer.content if block.type == "tool_use"]
    said["finish"] = answer.stop_reason
    said["usage"] = [answer.usage.input_tokens, answer.usage.output_tokens]
    said["all"] = answer.model_dump(mode="json")


def count(client: anthropic.Anthropic, model: str, said: dict[str, Any]) -> None:
    said["tokens"] = client.messages.count_tokens(model=model, messages=HELLO).input_tokens


def models(client: anthropic.Anthropic, model: str, said: dict[str, Any]) -> None:
    said["ids"] = [each.id for each in client.models.list()]


def leave(client: anthropic.Anthropic, model: str, said: dict[str, Any]) -> None:
    with client.messages.create(model=model, max_tokens=64, messages=HELLO, stream=True) as stream:
        said["first"] = next(iter(stream)).type


if __name__ == "__main__":
    play(
        lambda base_url: anthropic.Anthropic(base_url=base_url, api_key=KEY, max_retries=0, timeout=30),
        {
            "message": message,
            "message_streamed": message_streamed,
            "message_tools": lambda *scene: message(*scene, tools=TOOLS),
            "message_tools_streamed": lambda *scene: message_streamed(*scene, tools=TOOLS),
            "message_accumulated": lambda *scene: message_streamed(*scene, **THINKING),
            "message_tools_accumulated": lambda *scene: message_streamed(*scene, tools=TOOLS, **THINKING),
            "count": count,
            "models": models,
            "leave": leave,
        },
    )
