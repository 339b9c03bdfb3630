"""What happens to what only the client's dialect knows when a request leaves for another: refused, dropped, or told as a loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from respan_proxy.dialects.chat import Reasoning, Text, ToolCall
from respan_proxy.dialects.request import (
    Attachment,
    ChatRequest,
    Custom,
    Function,
    Hosted,
    HostedBlock,
    Losses,
    Part,
    Profile,
    Tool,
    ToolChoice,
    ToolResult,
    Turn,
    WebSearch,
)
from respan_proxy.errors import RequestRejected, Untranslatable

_OWNERS: Mapping[str, str] = {"openai.chat": "OpenAI", "openai.responses": "OpenAI", "anthropic.messages": "Anthropic", "gemini": "Gemini"}
_KIND = {"image": "Image", "audio": "Audio", "video": "Video", "document": "Document"}


def leave_extras(request: ChatRequest, dialect: str, losses: Losses) -> None:
    """Account for the members that only the client's dialect has; a writer of that dialect puts them back itself."""
    if request.dialect == dialect:
        return
    for extra in request.extras:
        if extra.effect == "meaning":
            raise Untranslatable(f"'{extra.path}' is not supported by the target model", param=extra.path)
        if extra.effect == "knob":
            losses.add(extra.path)


def own_extras(request: ChatRequest, dialect: str) -> dict[str, object]:
    """Top-level members to repeat when a request is written in the dialect it was read from."""
    return {extra.path: extra.value for extra in request.extras if "." not in extra.path} if request.dialect == dialect else {}


def usable_tools(request: ChatRequest, dialect: str, losses: Losses, *, web_search: bool = True) -> tuple[Tool, ...]:
    """The tools that the target can be told of.

    Tools that only another dialect hosts are dropped with a loss beside tools that remain; refused when they are all there is or
    when the choice names one.
    """
    if not request.tools:
        return ()

    def foreign(tool: Tool) -> bool:
        return (isinstance(tool, Hosted) and tool.dialect != dialect) or (isinstance(tool, WebSearch) and not web_search)

    lost = [tool for tool in request.tools if not isinstance(tool, (Function, Custom)) and foreign(tool)]
    if not lost:
        return request.tools
    kept = tuple(tool for tool in request.tools if not foreign(tool))
    functions = any(isinstance(tool, (Function, Custom)) for tool in kept)
    chosen = request.tool_choice.hosted if request.tool_choice else None
    for tool in lost:
        kind = tool.type if isinstance(tool, Hosted) else "web_search"
        named = {kind, tool.name} if isinstance(tool, Hosted) else {kind}
        if not functions or (chosen is not None and chosen in named):
            raise only_available(kind, request.dialect, tool.where if isinstance(tool, Hosted) else "tools")
        losses.add(f"tools.{kind}")
    return kept


def within(tokens: int, profile: Profile, losses: Losses) -> int:
    """A limit of the answer that the model can be asked for."""
    if profile.max_tokens is None or tokens <= profile.max_tokens:
        return tokens
    losses.add("max_tokens", "clamped")
    return profile.max_tokens


def offers_search(members: Mapping[str, Any]) -> bool:
    """Whether a request of Messages or Gemini, not read yet, offers a search of the web."""
    tools = members.get("tools")
    return isinstance(tools, list) and any(isinstance(tool, dict) and _searches(tool) for tool in tools)


def _searches(tool: Mapping[str, Any]) -> bool:
    kind = tool.get("type")
    return "googleSearch" in tool or "google_search" in tool or (isinstance(kind, str) and kind.startswith("web_search_"))


def only_available(kind: str, dialect: str, where: str) -> Untranslatable:
    return Untranslatable(f"Tool type '{kind}' is only available on {_OWNERS.get(dialect, dialect)} models", param=where)


def narrowed(tools: tuple[Tool, ...], choice: ToolChoice | None) -> tuple[Tool, ...]:
    """Only the functions that the choice allows, for dialects that cannot say so otherwise."""
    if choice is None or not choice.allowed:
        return tools
    if not any(isinstance(tool, (Function, Custom)) and tool.name in choice.allowed for tool in tools):
        names = ", ".join(repr(name) for name in choice.allowed)
        told = f"'tool_choice' allows only {names}, which 'tools' does not define"
        raise RequestRejected(told, param="tool_choice", code="invalid_value")
    return tuple(tool for tool in tools if not isinstance(tool, (Function, Custom)) or tool.name in choice.allowed)


def called_only(request: ChatRequest) -> tuple[Function, ...]:
    """Definitions of nothing but the names of calls in the history: for dialects that refuse calls of tools that are not there."""
    return tuple(Function(name) for name in dict.fromkeys(call.name for call in request.calls.values()))


def foreign_block(block: HostedBlock, turn: Turn, losses: Losses) -> None:
    """A hosted tool's call or result in the history of another dialect: searches are left out, of others the history would lie."""
    if not block.web_search:
        raise only_available(block.type, block.dialect, turn.where)
    losses.add(f"messages.{block.type}")


def cannot_carry(attachment: Attachment, turn: Turn, how: str = "input") -> Untranslatable:
    return Untranslatable(f"{_KIND[attachment.kind]} {how} is not supported by the target model", param=turn.where)


def signed(parts: Iterator[Part]) -> Iterator[Part]:
    """Gemini's signatures back on the parts they sign: foreign clients hold each as an empty block of thinking before its part."""
    waiting: Reasoning | None = None
    for part in parts:
        if isinstance(part, Reasoning) and not part.text and part.opaque is not None and part.opaque.provider == "gemini":
            if waiting is not None:
                yield waiting
            waiting = part
            continue
        if waiting is not None and isinstance(part, (Text, ToolCall)) and part.signature is None:
            part, waiting = replace(part, signature=waiting.opaque), None
        elif waiting is not None:
            yield waiting
            waiting = None
        yield part
    if waiting is not None:
        yield waiting


def answered(turns: tuple[Turn, ...], losses: Losses) -> tuple[Turn, ...]:
    """The same turns with a result for every call: a turn that was aborted would be refused by the provider from then on.

    A result without a call is refused here, as every provider would: the history was cut in the middle of a step.
    """
    results: dict[str, Turn] = {}
    called: set[str | None] = set()
    for turn in turns:
        for part in turn.parts:
            if isinstance(part, ToolResult):
                results[part.call_id] = turn
            elif isinstance(part, ToolCall):
                if turn.role != "assistant":
                    told = f"'{turn.where}' holds a call of a tool, which only the model can make; found it said by the {turn.role}"
                    raise RequestRejected(told, param=turn.where, code="invalid_value")
                called.add(part.id)
    if called == results.keys():
        return turns
    for id, turn in results.items():
        if id not in called:
            told = f"'{turn.where}' holds a result of the call {id!r}, which no message makes"
            raise RequestRejected(told, param=turn.where, code="invalid_value")
    losses.add("messages.tool_result", "synthesized")
    made: list[Turn] = []
    for turn in turns:
        made.append(turn)
        lacking = [part for part in turn.parts if isinstance(part, ToolCall) and part.id not in results]
        if lacking:
            made.append(Turn("user", tuple(_no_result(call) for call in lacking), turn.where))
    return tuple(made)


def _no_result(call: ToolCall) -> ToolResult:
    return ToolResult(call.id or "", (Text("No result: the call was interrupted."),), error=True, name=call.name, custom=call.custom)
