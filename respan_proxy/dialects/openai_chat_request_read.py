"""A chat completions request read into the neutral one: tools, output, thinking, limits, and what only chat knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from respan_proxy.dialects.asked import Asked, missing, wrong
from respan_proxy.dialects.efforts import EFFORTS
from respan_proxy.dialects.free_text import read_format
from respan_proxy.dialects.openai_chat_history_read import read_messages
from respan_proxy.dialects.request import (
    ChatRequest,
    Custom,
    Extra,
    Function,
    Hosted,
    JsonObject,
    JsonSchema,
    Thinking,
    Tier,
    Tool,
    ToolChoice,
    WebSearch,
)

TIERS: Mapping[str, Tier] = {
    "auto": "auto",
    "default": "default",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
    "scale": "default",
}
_MODES: Mapping[str, Literal["auto", "none", "required"]] = {"auto": "auto", "none": "none", "required": "required", "any": "required"}

_READ = frozenset((
    "model", "messages", "stream",
    "tools", "functions", "tool_choice", "function_call", "parallel_tool_calls", "web_search_options",
    "response_format", "verbosity", "reasoning_effort", "reasoning", "thinking",
    "max_tokens", "max_completion_tokens", "stop", "n", "seed", "temperature", "top_p", "top_k",
    "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs",
    "user", "safety_identifier", "metadata", "prompt_cache_key",
))  # fmt: skip
_AS_LIKED = ("default", "auto")  # Groq's and others' words for no effort at all
_HINTS = frozenset(("stream_options", "prompt_cache_options", "prompt_cache_retention", "include_reasoning", "betas", "usage"))


def read_request(members: Mapping[str, Any], model: str | None = None, stream: bool = False) -> ChatRequest:
    asked = Asked(members)
    if not isinstance(members.get("messages"), list):
        raise missing("messages", "an array") if members.get("messages") is None else wrong("messages", members["messages"], "an array")
    system, turns = read_messages(asked)
    return ChatRequest(
        dialect="openai.chat",
        model=model or asked.one_text("model"),
        system=system,
        turns=turns,
        tools=tuple(_tools(asked)),
        tool_choice=_tool_choice(asked),
        parallel=asked.flag("parallel_tool_calls"),
        output=_output(asked),
        thinking=_thinking(asked),
        max_tokens=asked.integer("max_completion_tokens") or asked.integer("max_tokens"),
        temperature=asked.number("temperature"),
        top_p=asked.number("top_p"),
        top_k=asked.number("top_k"),
        stop=_stop(asked),
        n=asked.integer("n"),
        seed=asked.integer("seed"),
        frequency_penalty=asked.number("frequency_penalty"),
        presence_penalty=asked.number("presence_penalty"),
        logit_bias=asked.mapping("logit_bias"),
        logprobs=asked.flag("logprobs"),
        top_logprobs=asked.integer("top_logprobs"),
        verbosity=asked.text("verbosity"),
        user=asked.text("safety_identifier") or asked.text("user"),
        metadata=asked.mapping("metadata"),
        service_tier=TIERS.get(asked.text("service_tier") or ""),
        cache_key=asked.text("prompt_cache_key"),
        stream=stream or asked.flag("stream") or False,
        extras=tuple(_extras(members)),
    )


def _extras(members: Mapping[str, Any]) -> Iterator[Extra]:
    for name, value in members.items():
        if name in _READ or value is None:
            continue
        if name == "modalities":
            if value != ["text"]:
                yield Extra(name, value, "meaning")
        elif name == "service_tier":
            if value not in TIERS:  # one of a server's own, as Groq's `on_demand`
                yield Extra(name, value, "knob")
        elif name == "audio":
            yield Extra(name, value, "hint")  # how to speak; `modalities` asks for it
        elif name in _HINTS or (name == "store" and value is False):
            yield Extra(name, value, "hint")
        else:
            yield Extra(name, value, "knob")


def _stop(asked: Asked) -> tuple[str, ...]:
    stop = asked.members.get("stop")
    return (stop,) if isinstance(stop, str) else asked.texts("stop")


def _tools(asked: Asked) -> Iterator[Tool]:
    for tool in asked.objects("tools"):
        match tool.members.get("type", "function" if "function" in tool.members else None):
            case "function":
                function = tool.one_object("function")
                cache = tool.mapping("cache_control") or function.mapping("cache_control")
                yield _function(function, function.flag("strict"), cache)
            case "custom":
                custom = tool.one_object("custom")
                yield Custom(custom.one_text("name"), custom.text("description"), read_format(custom))
            case "web_search" | "web_search_preview":
                yield WebSearch()
            case str(kind):
                yield Hosted("openai.chat", kind, tool.members, tool.path("type"), tool.text("name"))
            case kind:
                raise wrong(tool.path("type"), kind, "'function' or 'custom'")
    for function in asked.objects("functions"):
        yield _function(function, None, None)
    if search := asked.object("web_search_options"):
        location = search.object("user_location")
        place = location.object("approximate") if location else None
        yield WebSearch(
            {name: value for name in ("city", "region", "country", "timezone") if (value := place.text(name))} if place else None,
            context_size=search.text("search_context_size"),
        )


def _function(function: Asked, strict: bool | None, cache: Mapping[str, Any] | None) -> Function:
    return Function(function.one_text("name"), function.text("description"), function.mapping("parameters"), strict, cache)


def _tool_choice(asked: Asked) -> ToolChoice | None:
    name = "tool_choice" if asked.members.get("tool_choice") is not None else "function_call"
    choice = asked.members.get(name)
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in _MODES:
            raise wrong(name, choice, f"one of {', '.join(_MODES)}, or an object")
        return ToolChoice(_MODES[choice])
    chosen = asked.one_object(name)
    match chosen.members.get("type", "function"):
        case "function" if "function" in chosen.members:
            return ToolChoice("required", (chosen.one_object("function").one_text("name"),))
        case "function":  # the legacy form, and what many send who read the Responses documentation
            return ToolChoice("required", (chosen.one_text("name"),))
        case "custom":
            return ToolChoice("required", (chosen.one_object("custom").one_text("name"),))
        case "allowed_tools":
            allowed = chosen.one_object("allowed_tools")
            names = tuple(_named(tool) for tool in allowed.objects("tools"))
            return ToolChoice("required" if allowed.text("mode") == "required" else "auto", names)
        case str(kind) if any(tool.members.get("type") == kind for tool in asked.objects("tools")):
            return ToolChoice("required", hosted=kind)
        case kind:
            raise wrong(chosen.path("type"), kind, "'function', 'custom' or 'allowed_tools'")


def _named(tool: Asked) -> str:
    inner = tool.object("custom") or tool.object("function") or tool
    return inner.one_text("name")


def _output(asked: Asked) -> JsonObject | JsonSchema | None:
    format = asked.object("response_format")
    if format is None:
        return None
    match format.one_text("type"):
        case "text":
            return None
        case "json_object":
            return JsonObject()
        case "json_schema":
            told = format.one_object("json_schema")
            schema = told.mapping("schema")
            if schema is None:  # any JSON
                return JsonObject()
            return JsonSchema(schema, told.text("name"), told.flag("strict"), told.text("description"))
        case kind:
            raise wrong(format.path("type"), kind, "'text', 'json_object' or 'json_schema'")


def _thinking(asked: Asked) -> Thinking | None:
    """`reasoning_effort`, or the extensions of OpenRouter (`reasoning`) and LiteLLM (Anthropic's `thinking`)."""
    if asked.members.get("reasoning_effort") in _AS_LIKED:
        return None
    if (effort := asked.word("reasoning_effort", EFFORTS)) is not None:
        return Thinking(effort)
    if isinstance(asked.members.get("reasoning"), dict):
        reasoning = asked.one_object("reasoning")
        if reasoning.flag("enabled") is False:
            return Thinking("none")
        visible = False if reasoning.flag("exclude") else None
        return Thinking(reasoning.word("effort", EFFORTS), reasoning.integer("max_tokens"), visible)
    if isinstance(asked.members.get("thinking"), dict):
        thinking = asked.one_object("thinking")
        if thinking.text("type") == "disabled":
            return Thinking("none")
        return Thinking(budget=thinking.integer("budget_tokens"))
    return None
