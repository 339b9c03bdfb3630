"""What an app does with `google-genai`: content, tools, embeddings, token counts, models. Any version from 1.10 on."""

from __future__ import annotations

from typing import Any

from google import genai
from google.genai import types
from playing import KEY, play

SCHEMA = types.Schema(type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)}, required=["city"])
TOOLS = [types.Tool(function_declarations=[types.FunctionDeclaration(name="get_weather", parameters=SCHEMA)])]

THINKING = types.ThinkingConfig(include_thoughts=True, thinking_budget=1024)


def content(client: genai.Client, model: str, said: dict[str, Any], **more: Any) -> None:
    answer = client.models.generate_content(model=model, contents="Say hello", config=types.GenerateContentConfig(**more))
    said.update(text="", thought="", calls=[])
    said["all"] = _add(answer, said)


def content_streamed(client: genai.Client, model: str, said: dict[str, Any], **more: Any) -> None:
    said.update(text="", thought="", calls=[], all=[])
    for chunk in client.models.generate_content_stream(model=model, contents="Say hello", config=types.GenerateContentConfig(**more)):
        said["all"].append(_add(chunk, said))


def _add(answer: Any, said: dict[str, Any]) -> dict[str, Any]:
    """Without the HTTP headers that the SDK keeps beside an answer: a proxy adds some of its own."""
    for candidate in answer.candidates or ():
        for part in candidate.content.parts if candidate.content and candidate.content.parts else ():
            said["thought" if part.thought else "text"] += part.text or ""
            if part.function_call:
                said["calls"].append([part.function_call.name, part.function_call.args])
        if candidate.finish_reason:
            said["finish"] = candidate.finish_reason.name
    if (usage := answer.usage_metadata) and usage.candidates_token_count:
        said["usage"] = [usage.prompt_token_count, usage.candidates_token_count]
        said["thinking"] = usage.thoughts_token_count or 0
    dumped: dict[str, Any] = answer.model_dump(mode="json", exclude={"sdk_http_response"})
    return dumped


def count(client: genai.Client, model: str, said: dict[str, Any]) -> None:
    said["tokens"] = client.models.count_tokens(model=model, contents="Say hello").total_tokens


def embeddings(client: genai.Client, model: str, said: dict[str, Any]) -> None:
    said["vector"] = client.models.embed_content(model=model, contents="a").embeddings[0].values


def models(client: genai.Client, model: str, said: dict[str, Any]) -> None:
    said["ids"] = [each.name.removeprefix("models/") for each in client.models.list()]


def leave(client: genai.Client, model: str, said: dict[str, Any]) -> None:
    said["first"] = next(iter(client.models.generate_content_stream(model=model, contents="Say hello"))).candidates[0].content.role


if __name__ == "__main__":
    play(
        lambda base_url: genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=base_url, timeout=30_000)),
        {
            "content": content,
            "content_streamed": content_streamed,
            "content_tools": lambda *scene: content(*scene, tools=TOOLS),
            "content_tools_streamed": lambda *scene: content_streamed(*scene, tools=TOOLS),
            "content_accumulated": lambda *scene: content_streamed(*scene, thinking_config=THINKING),
            "content_tools_accumulated": lambda *scene: content_streamed(*scene, tools=TOOLS, thinking_config=THINKING),
            "count": count,
            "embeddings": embeddings,
            "models": models,
            "leave": leave,
        },
    )
