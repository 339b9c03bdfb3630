"""A chat completions request read into the neutral one: tools, output, thinking, limits, and what only chat knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from respan_proxy.dialects.asked import Asked, Table, missing, read_by, wrong
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

_AS_LIKED = ("default", "auto")  # Groq's and others' words for no effort at all
# `audio` is how to speak; `modalities` asks for it.
_HINTS = frozenset(("stream_options", "prompt_cache_options", "prompt_cache_retention", "include_reasoning", "betas", "usage", "audio"))


def read_request(members: Mapping[str, Any], model: str | None = None, stream: bool = False) -> ChatRequest:
    asked = Asked(members)
    if not isinstance(members.get("messages"), list):
        raise missing("messages", "an array") if members.get("messages") is None else wrong("messages", members["messages"], "an array")
    system, turns = read_messages(asked)
    model, tier = model or asked.one_text("model"), asked.text("service_tier")
    said, others = read_by(_READ, asked)
    extras = [Extra(name, members[name], effect) for name in others if (effect := _effect(name, members[name])) is not None]
    return ChatRequest(
        dialect="openai.chat",
        model=model,
        system=system,
        turns=turns,
        service_tier=TIERS.get(tier) if tier is not None else None,
        stream=stream or asked.flag("stream") or False,
        extras=tuple(extras),
        **said,
    )


def _effect(name: str, value: object) -> Literal["hint", "knob", "meaning"] | None:
    """Of a member that the neutral request has no place for, or none for this value; None: there is nothing to say of it."""
    if name == "modalities":
        return None if value == ["text"] else "meaning"
    if name == "service_tier":
        return None if value in TIERS else "knob"  # one of a server's own, as Groq's `on_demand`
    if name in _HINTS or (name == "store" and value is False):
        return "hint"
    return "knob"


def _limit(asked: Asked, _: str) -> int | None:
    return asked.integer("max_completion_tokens") or asked.integer("max_tokens")


def _user(asked: Asked, _: str) -> str | None:
    return asked.text("safety_identifier") or asked.text("user")


def _stop(asked: Asked, name: str) -> tuple[str, ...]:
    stop = asked.members.get(name)
    return (stop,) if isinstance(stop, str) else asked.texts(name)


def _tools(asked: Asked, _: str) -> tuple[Tool, ...]:
    return tuple(_each_tool(asked))


def _each_tool(asked: Asked) -> Iterator[Tool]:
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


def _tool_choice(asked: Asked, _: str) -> ToolChoice | None:
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


def _output(asked: Asked, name: str) -> JsonObject | JsonSchema | None:
    format = asked.object(name)
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


def _thinking(asked: Asked, _: str) -> Thinking | None:
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


_READ: Table = {
    **dict.fromkeys(("model", "messages", "stream")),
    "tools": ("tools", _tools),
    "functions": ("tools", _tools),
    "web_search_options": ("tools", _tools),
    "tool_choice": ("tool_choice", _tool_choice),
    "function_call": ("tool_choice", _tool_choice),
    "parallel_tool_calls": ("parallel", Asked.flag),
    "response_format": ("output", _output),
    "verbosity": ("verbosity", Asked.text),
    "reasoning_effort": ("thinking", _thinking),
    "reasoning": ("thinking", _thinking),
    "thinking": ("thinking", _thinking),
    "max_tokens": ("max_tokens", _limit),
    "max_completion_tokens": ("max_tokens", _limit),
    "stop": ("stop", _stop),
    "n": ("n", Asked.integer),
    "seed": ("seed", Asked.integer),
    "temperature": ("temperature", Asked.number),
    "top_p": ("top_p", Asked.number),
    "top_k": ("top_k", Asked.number),
    "frequency_penalty": ("frequency_penalty", Asked.number),
    "presence_penalty": ("presence_penalty", Asked.number),
    "logit_bias": ("logit_bias", Asked.mapping),
    "logprobs": ("logprobs", Asked.flag),
    "top_logprobs": ("top_logprobs", Asked.integer),
    "user": ("user", _user),
    "safety_identifier": ("user", _user),
    "metadata": ("metadata", Asked.mapping),
    "prompt_cache_key": ("cache_key", Asked.text),
}
