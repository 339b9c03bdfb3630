"""OpenAI Responses requests read into the neutral request: items become turns, and what only OpenAI keeps is refused by name.

Source: `ResponseCreateParams` and the item types of openai 3.54. State that OpenAI would look up (`previous_response_id`,
`item_reference`) must have been expanded by the caller: here it is a 404, as OpenAI words it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from respan_proxy.dialects.asked import Asked, Table, read_by, wrong
from respan_proxy.dialects.attachments import EXTENSIONS, data_url, image_at, inline_text, sniffed, standard_base64
from respan_proxy.dialects.chat import Reasoning, Refusal, Text, ToolCall
from respan_proxy.dialects.efforts import EFFORTS
from respan_proxy.dialects.events import Opaque
from respan_proxy.dialects.free_text import read_format
from respan_proxy.dialects.namespaces import joined
from respan_proxy.dialects.request import (
    Attachment,
    ChatRequest,
    Custom,
    Extra,
    FileRef,
    Function,
    Hosted,
    HostedBlock,
    Inline,
    JsonObject,
    JsonSchema,
    Link,
    Part,
    Role,
    Thinking,
    Tier,
    Tool,
    ToolChoice,
    ToolResult,
    Turn,
    WebSearch,
    Written,
)
from respan_proxy.dialects.responses_state import unknown_previous
from respan_proxy.dialects.schemas import is_strict
from respan_proxy.errors import RequestRejected

NAME = "openai.responses"

_EFFECTS: Mapping[str, Literal["hint", "meaning"]] = {
    **dict.fromkeys(("background", "conversation", "prompt"), "meaning"),
    **dict.fromkeys(("store", "include", "stream_options", "prompt_cache_options", "prompt_cache_retention", "background_options"), "hint"),
    "client_metadata": "hint",  # Codex
}
_SAYS_NOTHING: Mapping[str, Any] = {"background": False, "truncation": "disabled"}
_TIERS: Mapping[str, Tier] = {"auto": "auto", "default": "default", "flex": "flex", "priority": "priority", "fast": "priority"}
_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_MODES: Mapping[str, Literal["auto", "none", "required"]] = {"auto": "auto", "none": "none", "required": "required"}
_ALLOWED_MODES: Mapping[str, Literal["auto", "required"]] = {"auto": "auto", "required": "required"}
_SEARCH = "web_search"
# Item types of hosted tools and of OpenAI's own bookkeeping; a misspelt `message` is none of them.
_HOSTED_ITEMS = ("_call", "_output", "_list_tools", "_approval_request", "_approval_response")
_BOOKKEEPING = frozenset(("compaction", "program"))


def read_request(members: Mapping[str, Any], model: str | None = None, stream: bool = False) -> ChatRequest:
    asked = Asked(members)
    model = model or asked.one_text("model")
    _no_state(asked)
    conversation = _Conversation()
    if instructions := asked.text("instructions"):
        conversation.system.append(Text(instructions))
    conversation.read(members.get("input"))
    said, others = read_by(_READ, asked)
    extras = conversation.extras
    if (reasoning := asked.object("reasoning")) is not None:
        said["thinking"], beside = _thinking(reasoning)
        extras += beside
    if (text := asked.object("text")) is not None:
        said["output"], said["verbosity"] = _output(text), text.text("verbosity")
    if (tier := members.get("service_tier")) is not None:
        said["service_tier"] = known = _TIERS.get(tier) if isinstance(tier, str) else None
        if known is None:
            extras.append(Extra("service_tier", tier, "knob"))
    # Without `include` no answer shows them, and chat servers refuse a number of them alone.
    if "include" in others and "message.output_text.logprobs" in asked.texts("include"):
        said["logprobs"], said["top_logprobs"] = True, asked.integer("top_logprobs")
    for name in others:
        value = members[name]
        extras.append(Extra(name, value, "hint" if value == _SAYS_NOTHING.get(name) else _EFFECTS.get(name, "knob")))
    return ChatRequest(
        dialect=NAME,
        model=model,
        system=tuple(conversation.system),
        turns=tuple([Turn(turn.role, tuple(turn.parts), turn.where) for turn in conversation.turns]),
        tools=(*read_tools(asked), *conversation.tools),
        stream=stream or bool(asked.flag("stream")),
        extras=tuple(extras),
        **said,
    )


def _user(asked: Asked, _: str) -> str | None:
    return asked.text("safety_identifier") or asked.text("user")


def _no_state(asked: Asked) -> None:
    if id := asked.text("previous_response_id"):
        raise unknown_previous(id)


def _thinking(reasoning: Asked) -> tuple[Thinking | None, list[Extra]]:
    effort = reasoning.word("effort", EFFORTS)
    summary = reasoning.text("summary") or reasoning.text("generate_summary")
    # OpenAI shows no thinking unless a summary is asked for
    thinking = Thinking(effort, visible=summary is not None) if effort or summary else None
    return thinking, [Extra(reasoning.path(name), reasoning.members[name], "knob") for name in ("context", "mode") if reasoning.text(name)]


def _output(text: Asked) -> JsonObject | JsonSchema | None:
    form = text.object("format")
    if form is None:
        return None
    match form.one_text("type"):
        case "text":
            return None
        case "json_object":
            return JsonObject()
        case "json_schema":
            return JsonSchema(form.one_object("schema").members, form.text("name"), form.flag("strict"), form.text("description"))
        case kind:
            raise wrong(form.path("type"), kind, "text, json_object or json_schema")


# ------------------------------------------------------------------------------------------------ tools


def read_tools(asked: Asked) -> list[Tool]:
    tools: list[Tool] = []
    for tool in asked.objects("tools"):
        if tool.text("type") == "namespace":
            tools += [_tool(inner, tool.one_text("name")) for inner in tool.objects("tools")]
        else:
            tools.append(_tool(tool))
    return tools


def _tool(tool: Asked, namespace: str | None = None) -> Tool:
    kind = tool.one_text("type")
    match kind:
        case "function":
            parameters = tool.mapping("parameters")
            strict = tool.flag("strict")
            if strict is None and parameters and is_strict(parameters):
                strict = True  # said by leaving it out: the service turns strict on wherever the schema allows
            return Function(_name(tool, namespace), tool.text("description"), parameters, strict)
        case "custom":
            return Custom(_name(tool, namespace), tool.text("description"), read_format(tool))
        case _ if kind.startswith(_SEARCH):
            filters = tool.object("filters") or Asked({})
            return WebSearch(
                location=_location(tool.object("user_location")),
                allowed_domains=filters.texts("allowed_domains"),
                context_size=tool.text("search_context_size"),
                external=tool.flag("external_web_access"),
            )
        case _:
            return Hosted(NAME, kind, tool.members, tool.path("type"), tool.text("name"))


def _name(named: Asked, namespace: str | None) -> str:
    return joined(namespace, named.one_text("name")) if namespace else named.one_text("name")


def _location(location: Asked | None) -> Mapping[str, str] | None:
    if location is None:
        return None
    told = {name: location.text(name) for name in ("city", "region", "country", "timezone")}
    return {name: value for name, value in told.items() if value} or None


def _tool_choice(asked: Asked, name: str) -> ToolChoice | None:
    value = asked.members[name]
    if isinstance(value, str):
        if value in _MODES:
            return ToolChoice(_MODES[value])
        raise wrong(name, value, "none, auto, required or an object")
    choice = asked.one_object(name)
    kind = choice.one_text("type")
    if kind in ("function", "custom"):
        return ToolChoice("required", (choice.one_text("name"),))
    if kind != "allowed_tools":
        return ToolChoice("required", hosted=_SEARCH if kind.startswith(_SEARCH) else kind)
    mode = choice.word("mode", _ALLOWED_MODES) or "auto"
    tools = choice.objects("tools")
    named = tuple(tool.one_text("name") for tool in tools if tool.text("type") in ("function", "custom"))
    if not named and tools:
        return ToolChoice(mode, hosted=tools[0].one_text("type")) if mode == "required" else ToolChoice(mode)
    return ToolChoice(mode, named)


_READ: Table = {
    **dict.fromkeys(("model", "input", "instructions", "tools", "text", "reasoning", "service_tier", "stream", "top_logprobs")),
    "previous_response_id": None,
    "tool_choice": ("tool_choice", _tool_choice),
    "parallel_tool_calls": ("parallel", Asked.flag),
    "max_output_tokens": ("max_tokens", Asked.integer),
    "temperature": ("temperature", Asked.number),
    "top_p": ("top_p", Asked.number),
    "metadata": ("metadata", Asked.mapping),
    "user": ("user", _user),
    "safety_identifier": ("user", _user),
    "prompt_cache_key": ("cache_key", Asked.text),
}


# ------------------------------------------------------------------------------------------------ items


@dataclass(slots=True)
class _Open:
    """A turn that following items may add to."""

    role: Role
    parts: list[Part]
    where: str


@dataclass(slots=True)
class _Conversation:
    """What the items amount to, one after the other. Reasoning, text and calls that follow each other are one assistant turn."""

    system: list[Text] = field(default_factory=list)
    turns: list[_Open] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    extras: list[Extra] = field(default_factory=list)

    def read(self, said: object) -> None:
        if isinstance(said, str):
            self.turns.append(_Open("user", [Text(said)] if said else [], "input"))
            return
        if said is None:
            raise RequestRejected("'input' is missing; expected a string or an array of items", param="input")
        if not isinstance(said, list):
            raise wrong("input", said, "a string or an array of items")
        for item in Asked({"input": said}).objects("input"):
            self._item(item)

    def _item(self, item: Asked) -> None:
        kind = item.text("type") or ("message" if "role" in item.members else "item_reference")
        if read := _ITEMS.get(kind):
            read(self, item)
        elif kind in _BOOKKEEPING or kind.endswith(_HOSTED_ITEMS):
            self._assistant([HostedBlock(NAME, kind, item.members, web_search=kind == "web_search_call")], item)
        else:
            raise wrong(item.path("type"), kind, "the type of an input item")

    def _assistant(self, parts: list[Part], item: Asked, *, message: bool = False) -> None:
        last = self.turns[-1] if self.turns else None
        if last is None or last.role != "assistant" or (message and _closed(last)):
            self.turns.append(_Open("assistant", parts, item.where))
        else:
            last.parts += parts

    def _message(self, item: Asked) -> None:
        role = item.word("role", _ROLES)
        parts = _content(item, "content")
        if role == "assistant":
            self._assistant(parts, item, message=True)
        elif role == "system" and not self.turns:
            self.system += _only_text(parts, item)
        elif role == "system":
            self.turns.append(_Open("system", [*_only_text(parts, item)], item.where))
        elif role == "user":
            self.turns.append(_Open("user", parts, item.where))
        else:
            raise wrong(item.path("role"), None, f"one of {', '.join(_ROLES)}")

    def _call(self, item: Asked) -> None:
        custom = item.members.get("type") == "custom_tool_call"
        arguments = item.text("input" if custom else "arguments") or ""
        self._assistant([ToolCall(item.one_text("call_id"), _name(item, item.text("namespace")), arguments, custom)], item)

    def _result(self, item: Asked) -> None:
        parts = [part for part in _content(item, "output") if isinstance(part, (Text, Attachment))]
        custom = item.members.get("type") == "custom_tool_call_output"
        result = ToolResult(item.one_text("call_id"), tuple(parts), name=item.text("name"), custom=custom)
        self.turns.append(_Open("user", [result], item.where))

    def _reasoning(self, item: Asked) -> None:
        shown = item.objects("summary") or item.objects("content")
        text = "\n\n".join(said for part in shown if (said := part.text("text")))
        encrypted = item.text("encrypted_content")
        opaque = (Opaque.untagged(encrypted) or Opaque("openai", encrypted, id=item.text("id"))) if encrypted else None
        if text or opaque:
            self._assistant([Reasoning(text, opaque)], item)

    def _reference(self, item: Asked) -> None:
        id = item.one_text("id")
        raise RequestRejected(f"Item with id {id!r} not found.", status=404, kind="not_found", param="input", code="item_not_found")

    def _more_tools(self, item: Asked) -> None:
        self.tools += read_tools(item)

    def _setting(self, item: Asked) -> None:
        """A wish in the middle of the input (`configuration_update`, `compaction_trigger`)."""
        self.extras.append(Extra(f"input.{item.members['type']}", item.members, "knob"))


_ITEMS: Mapping[str, Callable[[_Conversation, Asked], None]] = {
    "message": _Conversation._message,
    "function_call": _Conversation._call,
    "custom_tool_call": _Conversation._call,
    "function_call_output": _Conversation._result,
    "custom_tool_call_output": _Conversation._result,
    "reasoning": _Conversation._reasoning,
    "item_reference": _Conversation._reference,
    "additional_tools": _Conversation._more_tools,
    "configuration_update": _Conversation._setting,
    "compaction_trigger": _Conversation._setting,
}


def _closed(turn: _Open) -> bool:
    """Whether another message would be another turn: this one has said its text and waits for no result of a call."""
    return any(isinstance(part, (Text, Refusal)) for part in turn.parts) and not any(isinstance(part, ToolCall) for part in turn.parts)


def _only_text(parts: list[Part], item: Asked) -> list[Text]:
    texts = [part for part in parts if isinstance(part, Text)]
    if len(texts) < len(parts):
        raise RequestRejected(f"'{item.path('content')}' holds more than text; instructions are text", param=item.path("content"))
    return texts


# ------------------------------------------------------------------------------------------------ content


def _content(item: Asked, name: str) -> list[Part]:
    value = item.members.get(name)
    if isinstance(value, str):
        return [Text(value)] if value else []
    return [part for told in item.objects(name) if (part := _part(told)) is not None]


def _part(part: Asked) -> Part | None:
    """None of an empty text."""
    match part.one_text("type"):
        case "input_text" | "output_text" | "text" | "summary_text":
            text = part.one_text("text")
            return Text(text, cache=_cache(part)) if text else None
        case "refusal":
            return Refusal(refusal) if (refusal := part.one_text("refusal")) else None
        case "input_image":
            if id := part.text("file_id"):
                return Attachment("image", FileRef("openai", id), detail=part.text("detail"), cache=_cache(part))
            return image_at(part.one_text("image_url"), part.path("image_url"), detail=part.text("detail"), cache=_cache(part))
        case "input_file":
            return _file(part)
        case "input_audio":
            audio = part.one_object("input_audio")
            source = Inline(standard_base64(audio.one_text("data"), audio.path("data")))
            return Attachment("audio", source, f"audio/{audio.text('format') or 'wav'}")
        case kind:
            raise wrong(part.path("type"), kind, "input_text, output_text, refusal, input_image or input_file")


def _file(part: Asked) -> Attachment:
    name, cache = part.text("filename"), _cache(part)
    if id := part.text("file_id"):
        return Attachment("document", FileRef("openai", id), name=name, cache=cache)
    if url := part.text("file_url"):
        return Attachment("document", Link(url), name=name, cache=cache)
    data, where = part.one_text("file_data"), part.path("file_data")
    media_type, source = data_url(data, where) or (None, Inline(standard_base64(data, where)))
    media_type = sniffed(source) or media_type or _by_extension(name) or "application/pdf"
    if media_type.startswith("image/"):
        return Attachment("image", source, media_type, name, cache=cache)
    if media_type.startswith("text/") or media_type == "application/json":
        return Attachment("document", Written(inline_text(source, where)), media_type, name, cache=cache)
    return Attachment("document", source, media_type, name, cache=cache)


def _by_extension(name: str | None) -> str | None:
    extension = (name or "").rpartition(".")[2].lower()
    return next((media_type for media_type, known in EXTENSIONS.items() if known == extension), None)


def _cache(part: Asked) -> Mapping[str, Any] | None:
    """A breakpoint in Anthropic's words. Lifetimes do not correspond: 30 minutes or 12 hours there, 5 minutes or an hour here."""
    if "prompt_cache_breakpoint" not in part.members:
        return None
    return {"type": "ephemeral"} if part.mapping("prompt_cache_breakpoint") is not None else None
