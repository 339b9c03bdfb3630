"""What an app does with `openai`: chat completions, responses, embeddings, models. Any version from 1.66 on."""

from __future__ import annotations

import json
from typing import Any

import openai
from playing import KEY, play

HELLO: Any = [{"role": "user", "content": "Say hello"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
FUNCTION = {"name": "get_weather", "parameters": SCHEMA}
CHAT_TOOLS: Any = [{"type": "function", "function": FUNCTION}]
# What the helpers that parse ask for.
STRICT_CHAT_TOOLS: Any = [{"type": "function", "function": {**FUNCTION, "strict": True}}]
RESPONSE_TOOLS: Any = [{"type": "function", "strict": True, **FUNCTION}]


def chat(client: openai.OpenAI, model: str, said: dict[str, Any], **more: Any) -> None:
    completion = client.chat.completions.create(model=model, messages=HELLO, **more)
    choice = completion.choices[0]
    said["text"], said["finish"] = choice.message.content or "", choice.finish_reason
    said["calls"] = [[call.function.name, json.loads(call.function.arguments)] for call in choice.message.tool_calls or ()]
    said["usage"] = [completion.usage.prompt_tokens, completion.usage.completion_tokens]
    said["all"] = completion.model_dump(mode="json")


def chat_streamed(client: openai.OpenAI, model: str, said: dict[str, Any], **more: Any) -> None:
    said.update(text="", calls=[], all=[])
    arguments: list[str] = []
    for chunk in client.chat.completions.create(model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}, **more):
        said["all"].append(chunk.model_dump(mode="json"))
        if chunk.usage:
            said["usage"] = [chunk.usage.prompt_tokens, chunk.usage.completion_tokens]
        for choice in chunk.choices:
            said["text"] += choice.delta.content or ""
            said["finish"] = choice.finish_reason
            for call in choice.delta.tool_calls or ():
                if call.function.name:
                    said["calls"].append([call.function.name])
                    arguments.append("")
                arguments[call.index] += call.function.arguments or ""
    for call, text in zip(said["calls"], arguments, strict=True):
        call.append(json.loads(text))


def response(client: openai.OpenAI, model: str, said: dict[str, Any], **more: Any) -> None:
    _response(client.responses.create(model=model, input="Say hello", **more), said)
    said["all"] = said.pop("whole")


def response_streamed(client: openai.OpenAI, model: str, said: dict[str, Any], **more: Any) -> None:
    said.update(text="", all=[])
    for event in client.responses.create(model=model, input="Say hello", stream=True, **more):
        said["all"].append(event.model_dump(mode="json"))
        if event.type == "response.output_text.delta":
            said["text"] += event.delta
        if event.type in ("response.completed", "response.failed", "response.incomplete"):
            pieces = said["text"]
            _response(event.response, said)
            said["same"] = said["text"] == pieces
            del said["whole"]


def _response(answer: Any, said: dict[str, Any]) -> None:
    said["text"], said["finish"] = answer.output_text, answer.status
    said["calls"] = [[item.name, json.loads(item.arguments)] for item in answer.output if item.type == "function_call"]
    if answer.usage:
        said["usage"] = [answer.usage.input_tokens, answer.usage.output_tokens]
    said["whole"] = answer.model_dump(mode="json")


def chat_accumulated(client: openai.OpenAI, model: str, said: dict[str, Any], **more: Any) -> None:
    """The SDK's own helper adds up the pieces, those of members it has no type for as well."""
    asked: dict[str, Any] = {"model": model, "messages": HELLO, "stream_options": {"include_usage": True}, **more}
    helper = client.chat.completions.stream if hasattr(client.chat.completions, "stream") else client.beta.chat.completions.stream
    with helper(**asked) as stream:
        completion = stream.get_final_completion()
    choice = completion.choices[0]
    said["text"], said["finish"] = choice.message.content or "", choice.finish_reason
    said["calls"] = [[call.function.name, json.loads(call.function.arguments)] for call in choice.message.tool_calls or ()]
    said["usage"] = [completion.usage.prompt_tokens, completion.usage.completion_tokens]
    said["thought"] = getattr(choice.message, "reasoning_content", None)


def response_accumulated(client: openai.OpenAI, model: str, said: dict[str, Any], **more: Any) -> None:
    with client.responses.stream(model=model, input="Say hello", reasoning={"effort": "low", "summary": "auto"}, **more) as stream:
        answer = stream.get_final_response()
    _response(answer, said)
    del said["whole"]
    said["thought"] = "".join(part.text for item in answer.output if item.type == "reasoning" for part in item.summary)


def embeddings(client: openai.OpenAI, model: str, said: dict[str, Any]) -> None:
    result = client.embeddings.create(model=model, input=["a"])
    said["vector"] = [round(number, 6) for number in result.data[0].embedding]


def models(client: openai.OpenAI, model: str, said: dict[str, Any]) -> None:
    said["ids"] = [each.id for each in client.models.list()]


def leave(client: openai.OpenAI, model: str, said: dict[str, Any]) -> None:
    with client.chat.completions.create(model=model, messages=HELLO, stream=True) as stream:
        said["first"] = next(iter(stream)).object


if __name__ == "__main__":
    play(
        lambda base_url: openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=0, timeout=30),
        {
            "chat": chat,
            "chat_streamed": chat_streamed,
            "chat_tools": lambda *scene: chat(*scene, tools=CHAT_TOOLS),
            "chat_tools_streamed": lambda *scene: chat_streamed(*scene, tools=CHAT_TOOLS),
            "response": response,
            "response_streamed": response_streamed,
            "response_tools": lambda *scene: response(*scene, tools=RESPONSE_TOOLS),
            "response_tools_streamed": lambda *scene: response_streamed(*scene, tools=RESPONSE_TOOLS),
            "chat_accumulated": chat_accumulated,
            "chat_tools_accumulated": lambda *scene: chat_accumulated(*scene, tools=STRICT_CHAT_TOOLS),
            "response_accumulated": response_accumulated,
            "response_tools_accumulated": lambda *scene: response_accumulated(*scene, tools=RESPONSE_TOOLS),
            "embeddings": embeddings,
            "models": models,
            "leave": leave,
        },
    )
