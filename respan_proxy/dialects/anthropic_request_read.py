"""An Anthropic Messages request read into the neutral one: tools, thinking, output, limits, and what only Claude knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from respan_proxy.dialects.anthropic_history_read import read_messages, read_system
from respan_proxy.dialects.asked import Asked, Table, read_by, wrong
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
    said, others = read_by(_READ, asked)
    if members.get("tool_choice") is not None:
        said["tool_choice"], said["parallel"] = _tool_choice(asked, said.get("tools", ()))
    if members.get("output_config") is not None:
        said["output"], said["thinking"] = _output(asked, "output_config"), _thinking(asked, "output_config")
    return ChatRequest(
        dialect="anthropic.messages",
        model=model or asked.one_text("model"),
        system=read_system(asked),
        turns=read_messages(asked),
        stream=stream or asked.flag("stream") or False,
        extras=tuple([Extra(name, members[name], _EFFECTS.get(name, "knob")) for name in others if members[name] != []]),
        **said,
    )


def _tier(asked: Asked, name: str) -> Tier | None:
    return asked.word(name, _TIERS)


def _user(asked: Asked, name: str) -> str | None:
    return asked.one_object(name).text("user_id")


def _tools(asked: Asked, name: str) -> tuple[Tool, ...]:
    return tuple(_each_tool(asked, name))


def _each_tool(asked: Asked, name: str) -> Iterator[Tool]:
    for tool in asked.objects(name):
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


def _tool_choice(asked: Asked, tools: tuple[Tool, ...]) -> tuple[ToolChoice, bool | None]:
    choice = asked.one_object("tool_choice")
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


def _output(asked: Asked, _: str) -> JsonSchema | None:
    config = asked.object("output_config")
    format = (config.object("format") if config else None) or asked.object("output_format")  # the latter was its beta
    if format is None:
        return None
    if format.text("type") != "json_schema":
        raise wrong(format.path("type"), format.members.get("type"), "'json_schema'")
    return JsonSchema(format.one_object("schema").members)


def _thinking(asked: Asked, _: str) -> Thinking | None:
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


_READ: Table = {
    **dict.fromkeys(("model", "messages", "system", "stream", "tool_choice", "output_config")),
    "tools": ("tools", _tools),
    "output_format": ("output", _output),
    "thinking": ("thinking", _thinking),
    "max_tokens": ("max_tokens", Asked.integer),
    "temperature": ("temperature", Asked.number),
    "top_p": ("top_p", Asked.number),
    "top_k": ("top_k", Asked.number),
    "stop_sequences": ("stop", Asked.texts),
    "metadata": ("user", _user),
    "service_tier": ("service_tier", _tier),
}
