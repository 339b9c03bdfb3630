"""Owns the little that echo must understand of a request: who said what, which tools are offered, what form the answer must have.

Reads leniently: whatever is missing or mistyped counts as not there. Source of the members: the four dialects' references.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from respan_proxy.dialects.usage import estimate
from respan_proxy.echo.schemas import from_openapi

Role = Literal["system", "user", "assistant", "tool"]
Choice = Literal["auto", "none", "required"]
Members = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """`text` of a tool's turn is what the tool gave back; of an assistant's, its calls too."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    schema: Any = True
    custom: bool = False  # takes free text instead of JSON arguments


@dataclass(frozen=True, slots=True)
class Reading:
    """`allowed` narrows the tools (empty: all). `schema` is the form asked for: None for prose, True for any JSON object."""

    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    choice: Choice = "auto"
    allowed: frozenset[str] = frozenset()
    schema: Any = None
    choices: int = 1
    include_usage: bool = False
    include_thoughts: bool = True
    encrypted_reasoning: bool = False
    repeated: Members = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The last thing the user said."""
        return next((turn.text for turn in reversed(self.turns) if turn.role == "user"), "")

    @property
    def results(self) -> tuple[str, ...]:
        """What tools gave back since the user's last word."""
        asked = max((place for place, turn in enumerate(self.turns) if turn.role == "user"), default=-1)
        return tuple(turn.text for turn in self.turns[asked + 1 :] if turn.role == "tool")

    @property
    def tokens(self) -> int:
        """The estimate of everything a model would read."""
        offered = "".join(tool.name + _dumps(tool.schema) for tool in self.tools)
        return max(1, estimate("\n".join(turn.text for turn in self.turns if turn.text) + offered))


def read(dialect: str, body: Any) -> Reading:
    """The reading of a parsed body in the dialect of that name; an unreadable one reads as a request that says nothing."""
    return _READERS[dialect](_members(body))


def _chat(body: Members) -> Reading:
    declared = [(tool.get("function") or tool.get("custom"), "custom" in tool) for tool in _objects(body, "tools")]
    declared += [(function, False) for function in _objects(body, "functions")]
    choice, allowed = _openai_choice(body.get("tool_choice"))
    wanted = _members(body.get("response_format"))
    return Reading(
        turns=tuple(turn for message in _objects(body, "messages") for turn in _chat_turns(message)),
        tools=tuple(_tool(_members(each), "parameters", is_custom) for each, is_custom in declared if _members(each).get("name")),
        choice=choice,
        allowed=allowed,
        schema=_wanted(wanted.get("type"), _members(wanted.get("json_schema")).get("schema")),
        choices=_count(body.get("n")),
        include_usage=_members(body.get("stream_options")).get("include_usage") is True,
    )


def _chat_turns(message: Members) -> Iterator[Turn]:
    calls = [_members(call.get("function") or call.get("custom")) for call in _objects(message, "tool_calls")]
    yield Turn(_ROLES.get(message.get("role", ""), "user"), _text(message.get("content")) + _dumps(calls if calls else None))


def _responses(body: Members) -> Reading:
    items = body.get("input")
    choice, allowed = _openai_choice(body.get("tool_choice"))
    wanted = _members(_members(body.get("text")).get("format"))
    spoken = (
        [Turn("user", items)] if isinstance(items, str) else [turn for item in _objects(body, "input") for turn in _responses_turns(item)]
    )
    include = body.get("include")
    return Reading(
        turns=(Turn("system", _text(body.get("instructions"))), *spoken),
        tools=tuple(
            _tool(tool, "parameters", tool.get("type") == "custom")
            for tool in _objects(body, "tools")
            if tool.get("name") and tool.get("type", "function") in ("function", "custom")
        ),
        choice=choice,
        allowed=allowed,
        schema=_wanted(wanted.get("type"), wanted.get("schema")),
        encrypted_reasoning=isinstance(include, list) and "reasoning.encrypted_content" in include,
        repeated={name: body[name] for name in _REPEATED.split() if body.get(name) is not None},
    )


def _responses_turns(item: Members) -> Iterator[Turn]:
    match item.get("type", "message"):
        case "message":
            yield Turn(_ROLES.get(item.get("role", ""), "user"), _text(item.get("content")))
        case "function_call" | "custom_tool_call":
            yield Turn("assistant", f"{item.get('name', '')}{_text(item.get('arguments') or item.get('input'))}")
        case "function_call_output" | "custom_tool_call_output":
            yield Turn("tool", _text(item.get("output")))


def _anthropic(body: Members) -> Reading:
    wanted = _members(_members(body.get("output_config")).get("format") or body.get("output_format"))
    choice = _members(body.get("tool_choice"))
    return Reading(
        turns=(
            Turn("system", _text(body.get("system"))),
            *(turn for each in _objects(body, "messages") for turn in _anthropic_turns(each)),
        ),
        tools=tuple(
            _tool(tool, "input_schema") for tool in _objects(body, "tools") if tool.get("name") and tool.get("type", "custom") == "custom"
        ),
        choice=_CHOICES.get(choice.get("type", ""), "auto"),
        allowed=_names([choice]),
        schema=_wanted(wanted.get("type"), wanted.get("schema")),
    )


def _anthropic_turns(message: Members) -> Iterator[Turn]:
    role = _ROLES.get(message.get("role", ""), "user")
    blocks = _objects(message, "content")
    results = [Turn("tool", _text(block.get("content"))) for block in blocks if block.get("type") == "tool_result"]
    calls = [{"name": block.get("name"), "input": block.get("input")} for block in blocks if block.get("type") == "tool_use"]
    yield from _beside(role, _text(message.get("content"), only="text") + _dumps(calls if calls else None), results)


def _gemini(body: Members) -> Reading:
    config = _members(_either(body, "generationConfig"))
    calling = _members(_either(_members(_either(body, "toolConfig")), "functionCallingConfig"))
    thinking = _members(_either(config, "thinkingConfig"))
    names = _either(calling, "allowedFunctionNames")
    contents = body.get("contents") or body.get("content")
    system = Turn("system", _text(_members(_either(body, "systemInstruction")).get("parts")))
    spoken = (
        [Turn("user", contents)]
        if isinstance(contents, str)
        else [turn for each in _list(contents) for turn in _gemini_turns(_members(each))]
    )
    return Reading(
        turns=(system, *spoken),
        tools=tuple(
            Tool(declared["name"], _gemini_schema(declared, "parameters", "parametersJsonSchema") or True)
            for tool in _objects(body, "tools")
            for declared in map(_members, _list(_either(tool, "functionDeclarations")))
            if declared.get("name")
        ),
        choice=_CHOICES.get(str(calling.get("mode", "")).lower(), "auto"),
        allowed=frozenset(name for name in _list(names) if isinstance(name, str)),
        schema=_gemini_wanted(config),
        choices=_count(_either(config, "candidateCount")),
        include_thoughts=_either(thinking, "includeThoughts") is True,
    )


def _gemini_turns(content: Members) -> Iterator[Turn]:
    role = _ROLES.get(content.get("role", ""), "user")
    parts = _objects(content, "parts")
    results = [
        Turn("tool", _gemini_result(_members(_either(part, "functionResponse")))) for part in parts if _either(part, "functionResponse")
    ]
    calls = [_either(part, "functionCall") for part in parts if _either(part, "functionCall")]
    yield from _beside(role, _text(parts) + _dumps(calls if calls else None), results)


def _gemini_result(answered: Members) -> str:
    response = _members(answered.get("response"))
    told = next((response[name] for name in ("output", "result", "error") if name in response), response)
    return told if isinstance(told, str) else _dumps(told)


def _gemini_wanted(config: Members) -> Any:
    schema = _gemini_schema(config, "responseSchema", "responseJsonSchema")
    return schema or (True if _either(config, "responseMimeType") == "application/json" else None)


def _gemini_schema(members: Members, openapi: str, json_schema: str) -> Any:
    return _either(members, json_schema) or from_openapi(_either(members, openapi))


_READERS: Mapping[str, Callable[[Members], Reading]] = {
    "openai.chat": _chat,
    "openai.responses": _responses,
    "anthropic.messages": _anthropic,
    "gemini": _gemini,
}
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
_CHOICES: Mapping[str, Choice] = {
    "none": "none",
    "required": "required",
    "any": "required",
    "tool": "required",
    "function": "required",
    "custom": "required",
}
# What a response repeats of its request (the Response object of OpenAI's API reference).
_REPEATED = """
    background instructions max_output_tokens max_tool_calls metadata parallel_tool_calls previous_response_id prompt prompt_cache_key
    reasoning safety_identifier service_tier store temperature text tool_choice tools top_logprobs top_p truncation user
"""


def _beside(role: Role, text: str, results: Sequence[Turn]) -> Iterator[Turn]:
    """Text that stands beside tool results is a remark to them, not a new question: agents add reminders there."""
    if text or not results:
        yield Turn("system" if results and role == "user" else role, text)
    yield from results


def _openai_choice(choice: Any) -> tuple[Choice, frozenset[str]]:
    """Of `"auto"`, `{"type": "function", "function": {"name"}}` or `{"type": "allowed_tools", "allowed_tools": {"mode", "tools"}}`.

    Responses writes the last two without the inner object.
    """
    if not isinstance(choice, Mapping):
        return _CHOICES.get(str(choice), "auto"), frozenset()
    if choice.get("type") == "allowed_tools":
        narrowed = _members(choice.get("allowed_tools")) or choice
        return _CHOICES.get(narrowed.get("mode", ""), "auto"), _names(_list(narrowed.get("tools")))
    return _CHOICES.get(choice.get("type", ""), "auto"), _names([choice])


def _names(tools: Sequence[Any]) -> frozenset[str]:
    flat = [tool.get("function") or tool.get("custom") or tool for tool in map(_members, tools)]
    return frozenset(each["name"] for each in map(_members, flat) if isinstance(each.get("name"), str))


def _wanted(kind: Any, schema: Any) -> Any:
    match kind:
        case "json_schema":
            return schema or True
        case "json_object":
            return True
    return None


def _tool(declared: Members, schema: str, is_custom: bool = False) -> Tool:
    return Tool(str(declared["name"]), declared.get(schema) or True, is_custom)


def _text(content: Any, only: str | None = None) -> str:
    """The text of content in any dialect: a string, parts with `text`, or parts that hold such; files and images say nothing."""
    match content:
        case str():
            return content
        case list():
            return "\n".join(filter(None, (_text(part, only) for part in content)))
        case Mapping() if only is None or content.get("type") == only:
            return _text(content.get("text") or content.get("refusal") or content.get("content"))
    return ""


def _members(value: Any) -> Members:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, Mapping) else []


def _objects(members: Members, name: str) -> list[Members]:
    return [each for each in _list(members.get(name)) if isinstance(each, Mapping)]


def _either(members: Members, name: str) -> Any:
    """A member of a Gemini body, whose clients mix camelCase and snake_case within one request."""
    if name in members:
        return members[name]
    return members.get("".join(f"_{char.lower()}" if char.isupper() else char for char in name))


def _count(number: Any) -> int:
    # 128 is OpenAI's own limit for `n`.
    return min(max(number, 1), 128) if isinstance(number, int) else 1


def _dumps(value: Any) -> str:
    return "" if value is None or value is True else orjson.dumps(value).decode()
