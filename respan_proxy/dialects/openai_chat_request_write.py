"""The neutral request written for chat completions: OpenAI's, and those of servers that take less or more, by their profile."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from respan_proxy.dialects.asked import compact
from respan_proxy.dialects.crossing import leave_extras, narrowed, own_extras, usable_tools, within
from respan_proxy.dialects.dialect import TargetBody
from respan_proxy.dialects.efforts import effort_of, step_down
from respan_proxy.dialects.free_text import AS_FUNCTION, chat_format, is_grammar
from respan_proxy.dialects.names import OPENAI_NAMES, Naming
from respan_proxy.dialects.openai_chat_history_write import write_messages
from respan_proxy.dialects.request import (
    ChatRequest,
    Custom,
    Function,
    Hosted,
    JsonObject,
    JsonSchema,
    Losses,
    Profile,
    ToolChoice,
    WebSearch,
)
from respan_proxy.dialects.schemas import is_strict, object_schema

DIALECT = "openai.chat"
_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_USER = 64

Body = dict[str, Any]


def write_request(request: ChatRequest, profile: Profile, losses: Losses) -> TargetBody:
    leave_extras(request, DIALECT, losses)
    naming = Naming(OPENAI_NAMES)
    body: Body = {"model": profile.model or request.model}
    body["messages"] = write_messages(request, profile, naming, losses)
    _tools(body, request, profile, naming, losses)
    if request.output is not None:
        _structure(body, request.output, profile, losses)
    _think(body, request, profile, losses)
    _limit(body, request, profile, losses)
    _sample(body, request, profile, losses)
    _account(body, request, profile, losses)
    if request.stream:
        body["stream"] = True
        if "stream_options" not in profile.refuses:
            body["stream_options"] = {"include_usage": True}
    extras = own_extras(request, DIALECT)
    return TargetBody(extras | body, naming.names)


# ------------------------------------------------------------------------------------------------------------------- tools


def _tools(body: Body, request: ChatRequest, profile: Profile, naming: Naming, losses: Losses) -> None:
    choice = request.tool_choice
    tools = usable_tools(request, DIALECT, losses, web_search="web_search_options" not in profile.refuses)
    if choice is not None and choice.mode == "none" and "tool_choice.none" in profile.refuses:
        return
    if "tool_choice.allowed_tools" in profile.refuses and choice is not None and (len(choice.allowed) > 1 or choice.mode == "auto"):
        tools, choice = narrowed(tools, choice), ToolChoice(choice.mode)
    customs = {tool.name for tool in tools if isinstance(tool, Custom)} if "tools.custom" not in profile.refuses else set()
    written: list[Body] = []
    for tool in tools:
        match tool:
            case Function():
                written.append({"type": "function", "function": _function(tool, naming, request, losses)})
                if tool.cache is not None and "cache_control" in profile.extra_params:
                    written[-1]["cache_control"] = tool.cache
            case Custom():
                written.append(_custom(tool, naming, tool.name in customs, losses))
            case WebSearch():
                body["web_search_options"] = _web_search(tool, losses)
            case Hosted():
                written.append(dict(tool.declaration))
    if not written:
        return
    body["tools"] = written
    if choice is not None:
        body["tool_choice"] = _choice(choice, customs, naming)
    if request.parallel is not None:
        if "parallel_tool_calls" not in profile.refuses:
            body["parallel_tool_calls"] = request.parallel
        elif not request.parallel:
            losses.add("parallel_tool_calls")


def _function(tool: Function, naming: Naming, request: ChatRequest, losses: Losses) -> Body:
    written: Body = {"name": naming.legal(tool.name)}
    if tool.description:
        written["description"] = tool.description
    schema = object_schema(tool.parameters)
    written["parameters"] = schema
    if tool.strict:
        if request.dialect == DIALECT or is_strict(schema):
            written["strict"] = True
        else:
            losses.add("tools.strict")
    return written


def _custom(tool: Custom, naming: Naming, native: bool, losses: Losses) -> Body:
    told = {"description": tool.description} if tool.description else {}
    if native:
        format = {"format": chat_format(tool.format)} if tool.format else {}
        return {"type": "custom", "custom": {"name": naming.legal(tool.name), **told, **format}}
    if is_grammar(tool.format):
        losses.add("tools.custom.format")
    return {"type": "function", "function": {"name": naming.legal(tool.name, custom=True), **told, "parameters": AS_FUNCTION}}


def _web_search(search: WebSearch, losses: Losses) -> Body:
    if search.external is False:
        losses.add("web_search.external_web_access")
    if search.max_uses is not None:
        losses.add("web_search.max_uses")
    if search.allowed_domains or search.blocked_domains:
        losses.add("web_search.domains")
    written: Body = {}
    if search.context_size is not None:
        written["search_context_size"] = search.context_size
    if search.location:
        written["user_location"] = {"type": "approximate", "approximate": dict(search.location)}
    return written


def _choice(choice: ToolChoice, customs: set[str], naming: Naming) -> str | Body:
    if choice.hosted is not None:
        return "auto"  # a search cannot be forced here
    if not choice.allowed:
        return choice.mode
    chosen = [_named("custom" if name in customs else "function", naming.legal(name)) for name in choice.allowed]
    if choice.mode == "required" and len(chosen) == 1:
        return chosen[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": chosen}}


def _named(kind: str, name: str) -> Body:
    return {"type": kind, kind: {"name": name}}


# ----------------------------------------------------------------------------------------------------- output and thinking


def _structure(body: Body, output: JsonObject | JsonSchema, profile: Profile, losses: Losses) -> None:
    if isinstance(output, JsonObject):
        body["response_format"] = {"type": "json_object"}
        return
    schema = dict(output.schema)
    if not profile.structured:
        losses.add("response_format", "json_object")
        body["response_format"] = {"type": "json_object"}
        told = f"Respond with JSON that matches this JSON schema: {compact(schema, 'response_format')}"
        body["messages"].insert(_after_system(body["messages"]), {"role": "system", "content": told})
        return
    title = schema.get("title")
    name = output.name or (title if isinstance(title, str) else None) or "response"
    written: Body = {"name": _NAME.sub("_", name)[:64], "schema": schema}
    if output.description:
        written["description"] = output.description
    written["strict"] = output.strict if output.strict is not None else is_strict(schema)
    body["response_format"] = {"type": "json_schema", "json_schema": written}


def _after_system(messages: list[Body]) -> int:
    return next((index for index, message in enumerate(messages) if message["role"] != "system"), len(messages))


def _think(body: Body, request: ChatRequest, profile: Profile, losses: Losses) -> None:
    effort = effort_of(request.thinking) if request.thinking else None
    if profile.thinking == "none":
        if effort not in (None, "none"):
            losses.add("reasoning")
    elif "tools" in body and "reasoning_effort.with_tools" in profile.refuses:
        if effort not in (None, "none"):
            losses.add("reasoning", "dropped_with_tools")
        body["reasoning_effort"] = "none"
    elif effort is not None:
        taken = step_down(effort, profile.efforts)
        if taken != effort:
            losses.add("reasoning", "clamped")
        body["reasoning_effort"] = taken


# -------------------------------------------------------------------------------------------------- limits, sampling, names


def _limit(body: Body, request: ChatRequest, profile: Profile, losses: Losses) -> None:
    if request.max_tokens is not None:
        tokens = within(request.max_tokens, profile, losses)
        if tokens < 1:  # Anthropic's 0: only warm the cache
            losses.add("max_tokens", "raised_to_1")
            tokens = 1
        body[profile.max_tokens_field] = tokens
    if request.n is not None:
        body["n"] = request.n
    if request.stop:
        if "stop" in profile.refuses:
            losses.add("stop")
        else:
            if len(request.stop) > profile.max_stops:
                losses.add("stop", "truncated")
            body["stop"] = list(request.stop[: profile.max_stops])


_SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs")


def _sample(body: Body, request: ChatRequest, profile: Profile, losses: Losses) -> None:
    for name in _SAMPLING:
        value = getattr(request, name)
        if value is None:
            continue
        if profile.takes(name, body.get("reasoning_effort")) and name not in profile.refuses:
            body[name] = value
        elif value:  # a penalty of 0 and logprobs false ask for nothing
            losses.add(name)
    if request.temperature is not None and not 0 <= request.temperature <= 2 and "temperature" in body:
        losses.add("temperature", "clamped")
        body["temperature"] = min(max(request.temperature, 0.0), 2.0)
    if request.top_k is not None:
        if "top_k" in profile.extra_params:
            body["top_k"] = int(request.top_k)
        else:
            losses.add("top_k")
    if request.seed is not None:
        if profile.seed_field:
            body[profile.seed_field] = request.seed
        else:
            losses.add("seed")
    if request.verbosity is not None:
        if "verbosity" in profile.refuses:
            losses.add("verbosity")
        else:
            body["verbosity"] = request.verbosity


def _account(body: Body, request: ChatRequest, profile: Profile, losses: Losses) -> None:
    if request.user:
        if profile.user_field is None:
            losses.add("user")
        else:
            body[profile.user_field] = short_user(request.user)
    # OpenAI takes `metadata` here only beside `store: true`, which a request of another dialect did not ask for.
    if request.metadata and request.dialect == DIALECT and "metadata" not in profile.refuses:
        body["metadata"] = dict(request.metadata)
    if request.cache_key and "prompt_cache_key" not in profile.refuses:
        body["prompt_cache_key"] = request.cache_key
    if request.service_tier is not None:
        if "service_tier" in profile.refuses:
            losses.add("service_tier")
        else:
            body["service_tier"] = request.service_tier


def short_user(user: str) -> str:
    """OpenAI takes 64 characters; Claude Code's ids have about 130."""
    return user if len(user) <= _LONGEST_USER else hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()
