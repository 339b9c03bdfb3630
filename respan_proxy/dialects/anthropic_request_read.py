"""An Anthropic Messages request read into the neutral one: tools, thinking, output, limits, and what only Claude knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from respan_proxy.dialects.anthropic_history_read import read_messages, read_system
from respan_proxy.dialects.asked import Asked, wrong
from respan_proxy.dialects.efforts import EFFORTS
from respan_proxy.dialects.request import (
    ChatRequest,
    Extra,
    Function,
    Hosted,
    JsonSchema,
    Thinking,
    Tier,
    Tool,
    ToolChoice,
    WebSearch,
)

_READ = frozenset((
    "model", "messages", "system", "stream", "tools", "tool_choice", "output_config", "output_format", "thinking",
    "max_tokens", "stop_sequences", "temperature", "top_p", "top_k", "metadata", "service_tier",
))  # fmt: skip
_EFFECTS: Mapping[str, Literal["hint", "meaning"]] = {
    "cache_control": "hint",
    "diagnostics": "hint",
    "betas": "hint",
    "fallback_credit_token": "hint",
    "billing_policy": "hint",
    "user_profile_id": "hint",
    "workspace_id": "hint",
    "container": "meaning",
    "thread": "meaning",
    "mcp_servers": "meaning",
}
_TIERS: Mapping[str, Tier] = {"auto": "auto", "standard_only": "default"}
_CHOICES: Mapping[str, Literal["auto", "none", "required"]] = {"auto": "auto", "any": "required", "none": "none"}


def read_request(members: Mapping[str, Any], model: str | None = None, stream: bool = False) -> ChatRequest:
    asked = Asked(members)
    tools = tuple(_tools(asked))
    choice, parallel = _tool_choice(asked, tools)
    metadata = asked.object("metadata")
    return ChatRequest(
        dialect="anthropic.messages",
        model=model or asked.one_text("model"),
        system=read_system(asked),
        turns=read_messages(asked),
        tools=tools,
        tool_choice=choice,
        parallel=parallel,
        output=_output(asked),
        thinking=_thinking(asked),
        max_tokens=asked.integer("max_tokens"),
        temperature=asked.number("temperature"),
        top_p=asked.number("top_p"),
        top_k=asked.number("top_k"),
        stop=asked.texts("stop_sequences"),
        user=metadata.text("user_id") if metadata else None,
        service_tier=asked.word("service_tier", _TIERS),
        stream=stream or asked.flag("stream") or False,
        extras=tuple(_extras(members)),
    )


def _extras(members: Mapping[str, Any]) -> Iterator[Extra]:
    for name, value in members.items():
        if name not in _READ and value is not None and value != []:
            yield Extra(name, value, _EFFECTS.get(name, "knob"))


def _tools(asked: Asked) -> Iterator[Tool]:
    for tool in asked.objects("tools"):
        cache = tool.mapping("cache_control")
        match tool.text("type"):
            case None | "custom":
                yield Function(tool.one_text("name"), tool.text("description"), tool.mapping("input_schema"), tool.flag("strict"), cache)
            case kind if kind.startswith("web_search_"):
                place = tool.mapping("user_location") or {}
                yield WebSearch(
                    {name: value for name, value in place.items() if name != "type" and isinstance(value, str)} or None,
                    tool.texts("allowed_domains"),
                    tool.texts("blocked_domains"),
                    tool.integer("max_uses"),
                    cache=cache,
                )
            case kind:
                yield Hosted("anthropic.messages", kind, tool.members, tool.path("type"), tool.text("name"))


def _tool_choice(asked: Asked, tools: tuple[Tool, ...]) -> tuple[ToolChoice | None, bool | None]:
    choice = asked.object("tool_choice")
    if choice is None:
        return None, None
    parallel = False if choice.flag("disable_parallel_tool_use") else None
    kind = choice.one_text("type")
    if kind == "tool":
        name = choice.one_text("name")
        for tool in tools:
            if isinstance(tool, Hosted) and tool.name == name:
                return ToolChoice("required", hosted=tool.type), parallel
            if isinstance(tool, WebSearch) and name == "web_search":
                return ToolChoice("required", hosted="web_search"), parallel
        return ToolChoice("required", (name,)), parallel
    if kind not in _CHOICES:
        raise wrong(choice.path("type"), kind, "'auto', 'any', 'tool' or 'none'")
    return ToolChoice(_CHOICES[kind]), parallel


def _output(asked: Asked) -> JsonSchema | None:
    config = asked.object("output_config")
    format = (config.object("format") if config else None) or asked.object("output_format")  # the latter was its beta
    if format is None:
        return None
    if format.text("type") != "json_schema":
        raise wrong(format.path("type"), format.members.get("type"), "'json_schema'")
    return JsonSchema(format.one_object("schema").members)


def _thinking(asked: Asked) -> Thinking | None:
    """`thinking` says whether, `output_config.effort` how much; either may come alone."""
    config = asked.object("output_config")
    effort = config.word("effort", EFFORTS) if config else None
    thinking = asked.object("thinking")
    if thinking is None:
        return Thinking(effort) if effort else None
    visible = thinking.text("display") != "omitted"
    match thinking.one_text("type"):
        case "disabled":
            return Thinking("none")
        case "enabled":
            return Thinking(effort, thinking.integer("budget_tokens"), visible)
        case "adaptive" | "between_tools":
            return Thinking(effort, visible=visible)
        case kind:
            raise wrong(thinking.path("type"), kind, "'adaptive', 'enabled', 'disabled' or 'between_tools'")
