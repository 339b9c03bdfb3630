"""What an app does with LangChain: `langchain-openai`, `langchain-anthropic` or `langchain-google-genai`, whichever is there."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from playing import KEY, PIXEL, play
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    city: str


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return "sunny"


class OpenAI:
    """`base_url` is the proxy's own; what stands behind it is what the package wants there. `thinking` asks its models to."""

    thinking: Mapping[str, Any] = {"use_responses_api": True, "reasoning": {"effort": "low", "summary": "auto"}}

    def __init__(self, base_url: str) -> None:
        self.settings: dict[str, Any] = {"base_url": base_url, "api_key": KEY, "max_retries": 0}

    def chat(self, model: str, **more: Any) -> BaseChatModel:
        from langchain_openai import ChatOpenAI

        # Behind a base URL it asks for no usage of streams by itself.
        return ChatOpenAI(model=model, stream_usage=True, **self.settings, **more)

    def embeddings(self, model: str) -> Any:
        from langchain_openai import OpenAIEmbeddings

        # Else it counts tokens, for which it fetches a vocabulary, and sends those.
        return OpenAIEmbeddings(model=model, check_embedding_ctx_length=False, **self.settings)


class Anthropic(OpenAI):
    thinking: Mapping[str, Any] = {"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 1024}}

    def __init__(self, base_url: str) -> None:
        super().__init__(f"{base_url}/anthropic")

    def chat(self, model: str, **more: Any) -> BaseChatModel:
        from langchain_anthropic import ChatAnthropic

        return ChatAnthropic(model=model, **self.settings, **more)


class Google(OpenAI):
    thinking: Mapping[str, Any] = {"include_thoughts": True, "thinking_budget": 1024}

    def __init__(self, base_url: str) -> None:
        super().__init__(f"{base_url}/google/gemini")

    def chat(self, model: str, **more: Any) -> BaseChatModel:
        from langchain_google_genai import ChatGoogleGenerativeAI

        return ChatGoogleGenerativeAI(model=model, **self.settings, **more)

    def embeddings(self, model: str) -> Any:
        from langchain_google_genai import GoogleGenerativeAIEmbeddings

        return GoogleGenerativeAIEmbeddings(model=model, base_url=self.settings["base_url"], google_api_key=KEY)


PACKAGES = {"langchain_openai": OpenAI, "langchain_anthropic": Anthropic, "langchain_google_genai": Google}


def _read(answer: Any, said: dict[str, Any]) -> None:
    said["text"] = answer.text
    said["calls"] = [[call["name"], call["args"]] for call in answer.tool_calls]
    said["usage"] = [answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]]
    said["thought"] = "".join(
        block["reasoning"] for block in answer.content_blocks if block["type"] == "reasoning" and "reasoning" in block
    )


def _streamed(chat: Any, messages: Any) -> Any:
    whole = None
    for chunk in chat.stream(messages):
        whole = chunk if whole is None else whole + chunk
    return whole


def text(package: OpenAI, model: str, said: dict[str, Any], **more: Any) -> None:
    _read(package.chat(model, **more).invoke("Say hello"), said)


def text_streamed(package: OpenAI, model: str, said: dict[str, Any], **more: Any) -> None:
    _read(_streamed(package.chat(model, **more), "Say hello"), said)


def tools(package: OpenAI, model: str, said: dict[str, Any], ask: Any = lambda chat, messages: chat.invoke(messages), **more: Any) -> None:
    chat = package.chat(model, **more).bind_tools([get_weather])
    messages: list[Any] = [HumanMessage("What is the weather in Zürich?")]
    answer = ask(chat, messages)
    _read(answer, said)
    calls = said["calls"]
    messages += [answer, *(ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in answer.tool_calls)]
    _read(ask(chat, messages), said)
    said["calls"] = calls


def structured(package: OpenAI, model: str, said: dict[str, Any], **more: Any) -> None:
    said["parsed"] = package.chat(model).with_structured_output(City, **more).invoke("Name a city").model_dump()


def image(package: OpenAI, model: str, said: dict[str, Any]) -> None:
    picture = {"type": "image", "base64": PIXEL, "mime_type": "image/png"}
    _read(package.chat(model).invoke([HumanMessage([{"type": "text", "text": "What is this?"}, picture])]), said)


def embeddings(package: OpenAI, model: str, said: dict[str, Any]) -> None:
    said["vector"] = [round(number, 6) for number in package.embeddings(model).embed_query("a")]


if __name__ == "__main__":
    play(
        next(connect for name, connect in PACKAGES.items() if importlib.util.find_spec(name)),
        {
            "text": text,
            "text_streamed": text_streamed,
            "tools": tools,
            "tools_streamed": lambda *scene, **more: tools(*scene, ask=_streamed, **more),
            "responses": lambda *scene: text(*scene, use_responses_api=True),
            "responses_streamed": lambda *scene: text_streamed(*scene, use_responses_api=True),
            "responses_tools": lambda *scene: tools(*scene, use_responses_api=True),
            "responses_tools_streamed": lambda *scene: tools(*scene, ask=_streamed, use_responses_api=True),
            "thinking": lambda package, *scene: text_streamed(package, *scene, **package.thinking),
            "thinking_tools": lambda package, *scene: tools(package, *scene, ask=_streamed, **package.thinking),
            "structured": structured,
            "structured_by_tool": lambda *scene: structured(*scene, method="function_calling"),
            "image": image,
            "embeddings": embeddings,
        },
    )
