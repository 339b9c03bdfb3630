"""The neutral request written for Anthropic Messages: limits clamped, thinking in the model's form, schemas in Claude's subset."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from respan_proxy.dialects.anthropic_history_write import limit_breakpoints, write_messages, write_system
from respan_proxy.dialects.chat import Text
from respan_proxy.dialects.crossing import called_only, leave_extras, narrowed, own_extras, usable_tools, within
from respan_proxy.dialects.dialect import TargetBody
from respan_proxy.dialects.efforts import budget_of, effort_of, step_down
from respan_proxy.dialects.free_text import AS_FUNCTION, is_grammar
from respan_proxy.dialects.names import ANTHROPIC_NAMES, Naming
from respan_proxy.dialects.request import (
    ChatRequest,
    Custom,
    Function,
    Hosted,
    JsonObject,
    JsonSchema,
    Losses,
    Profile,
    Thinking,
    Tool,
    ToolChoice,
    WebSearch,
)
from respan_proxy.dialects.schemas import for_anthropic, object_schema
from respan_proxy.errors import Untranslatable

DIALECT = "anthropic.messages"
WITHOUT_SAMPLING = "2026-10-21"  # from this version on any temperature, top_p or top_k is a 400
_LEAST_BUDGET = 1024
_JSON_TOOL = "json_tool_call"
_INSTRUCTION = Text("Respond with a single valid JSON value and nothing else.")
_TIERS = {"auto": "auto", "default": "standard_only"}

Body = dict[str, Any]


def write_request(request: ChatRequest, profile: Profile, losses: Losses) -> TargetBody:
    leave_extras(request, DIALECT, losses)
    if request.n is not None and request.n > 1:
        raise Untranslatable("'n' greater than 1 is not supported by the target model", param="n")
    naming = Naming(ANTHROPIC_NAMES)
    body: Body = {"model": profile.model or request.model, "max_tokens": _max_tokens(request, profile, losses)}
    body["messages"] = write_messages(request, profile, naming, losses)
    instructed = isinstance(request.output, JsonObject)
    if instructed:
        losses.add("response_format.json_object", "instructed")
    if (system := write_system((*request.system, _INSTRUCTION) if instructed else request.system)) is not None:
        body["system"] = system
    _tools(body, request, profile, naming, losses)
    if isinstance(request.output, JsonSchema):
        _structure(body, request.output, profile, naming, losses)
    _think(body, request, profile, losses)
    _sample(body, request, profile, losses)
    _account(body, request, losses)
    if request.stream:
        body["stream"] = True
    body |= own_extras(request, DIALECT)
    limit_breakpoints(body, losses)
    return TargetBody(body, naming.names)


def _max_tokens(request: ChatRequest, profile: Profile, losses: Losses) -> int:
    """Demanded by the API. Where none was given, thinking by budget comes on top of the model's default."""
    asked = request.max_tokens
    if asked is None:
        thought = budget_of(request.thinking) if request.thinking and profile.thinking == "budget" else None
        tokens = profile.default_max_tokens + (thought or 0)
        return min(tokens, profile.max_tokens) if profile.max_tokens else tokens
    return within(asked, profile, losses)


# ------------------------------------------------------------------------------------------------------------------- tools


def _tools(body: Body, request: ChatRequest, profile: Profile, naming: Naming, losses: Losses) -> None:
    tools = usable_tools(request, DIALECT, losses, web_search="tools.web_search" not in profile.refuses)
    choice = request.tool_choice
    if not tools and request.calls:  # calls in the history without definitions are refused
        losses.add("tools", "synthesized_from_history")
        tools, choice = called_only(request), ToolChoice("none")
    written = [_tool(tool, naming, losses) for tool in narrowed(tools, choice)]
    if not written:
        return
    body["tools"] = written
    if said := _choice(choice, request, naming):
        body["tool_choice"] = said


def _tool(tool: Tool, naming: Naming, losses: Losses) -> Body:
    match tool:
        case Function(name, description, parameters, strict, cache):
            written: Body = {"name": naming.legal(name)}
            if description:
                written["description"] = description
            schema = object_schema(parameters)
            written["input_schema"] = for_anthropic(schema) if strict else schema
            if strict:
                written["strict"] = True
            if cache is not None:
                written["cache_control"] = cache
            return written
        case Custom(name, description, format):
            if is_grammar(format):
                losses.add("tools.custom.format")
            told = {"description": description} if description else {}
            return {"name": naming.legal(name, custom=True), **told, "input_schema": AS_FUNCTION}
        case WebSearch():
            return _web_search(tool, losses)
        case Hosted():
            return dict(tool.declaration)


def _web_search(search: WebSearch, losses: Losses) -> Body:
    if search.context_size is not None:
        losses.add("web_search.search_context_size")
    if search.external is False:
        losses.add("web_search.external_web_access")
    written: Body = {"type": "web_search_20250305", "name": "web_search"}
    if search.location:
        written["user_location"] = {"type": "approximate", **search.location}
    if search.allowed_domains:
        written["allowed_domains"] = list(search.allowed_domains)
    elif search.blocked_domains:  # never both
        written["blocked_domains"] = list(search.blocked_domains)
    if search.max_uses is not None:
        written["max_uses"] = search.max_uses
    if search.cache is not None:
        written["cache_control"] = search.cache
    return written


def _choice(choice: ToolChoice | None, request: ChatRequest, naming: Naming) -> Body | None:
    serial = {"disable_parallel_tool_use": True} if request.parallel is False else {}
    match choice:
        case None:
            return {"type": "auto", **serial} if serial else None
        case ToolChoice("none"):
            return {"type": "none"}
        case ToolChoice("auto"):
            return {"type": "auto", **serial}
        case ToolChoice(hosted=str(kind)):
            named = (tool.name for tool in request.tools if isinstance(tool, Hosted) and tool.type == kind)
            return {"type": "tool", "name": next(named, None) or "web_search", **serial}
        case ToolChoice(allowed=(name,)):
            return {"type": "tool", "name": naming.legal(name), **serial}
        case _:
            return {"type": "any", **serial}


def _forced(body: Body) -> bool:
    return body.get("tool_choice", {}).get("type") in ("any", "tool")


# ----------------------------------------------------------------------------------------------------- output and thinking


def _structure(body: Body, output: JsonSchema, profile: Profile, naming: Naming, losses: Losses) -> None:
    if profile.structured:
        body["output_config"] = {"format": {"type": "json_schema", "schema": for_anthropic(dict(output.schema))}}
        return
    # Claude before 4.5: a tool whose arguments are the answer.
    losses.add("response_format", "json_tool")
    naming.answer = _JSON_TOOL
    tool: Body = {"name": _JSON_TOOL, "description": "Return the final answer as structured data."}
    tool["input_schema"] = object_schema(dict(output.schema))
    choice = body.get("tool_choice", {})
    others = body.get("tools", []) if choice.get("type") != "none" else []
    body["tools"] = [*others, tool]
    if not others:
        body["tool_choice"] = {"type": "tool", "name": _JSON_TOOL}
    elif not _forced(body):  # a tool of the client's, or the answer
        body["tool_choice"] = {**choice, "type": "any"}


def _think(body: Body, request: ChatRequest, profile: Profile, losses: Losses) -> None:
    asked = request.thinking
    wanted = asked is not None and effort_of(asked) != "none"
    form = profile.thinking or "adaptive"
    if form == "none":
        if wanted:
            losses.add("reasoning")
        return
    if _forced(body) and (wanted or profile.thinking_default_on):  # a call cannot be forced while the model thinks
        if _stop_thinking(body, profile):
            if wanted:
                losses.add("reasoning", "dropped_forced_tool_choice")
            return
        losses.add("tool_choice", "auto")
        body["tool_choice"]["type"] = "auto"
        body["tool_choice"].pop("name", None)
    if asked is None:
        return
    if not wanted:
        if not _stop_thinking(body, profile):
            losses.add("reasoning", "always_on")
    elif form == "adaptive":
        _adapt(body, asked, profile, losses)
    else:
        _budget(body, asked, losses)


def _stop_thinking(body: Body, profile: Profile) -> bool:
    """False when the model thinks whatever it is told. Models that think only on demand need not be told; some refuse to be."""
    if "thinking.disabled" in profile.refuses:
        return not profile.thinking_default_on
    if (profile.thinking or "adaptive") == "adaptive":
        body["thinking"] = {"type": "disabled"}
    return True


def _adapt(body: Body, thinking: Thinking, profile: Profile, losses: Losses) -> None:
    body["thinking"] = {"type": "adaptive", "display": "omitted" if thinking.visible is False else "summarized"}
    if (effort := effort_of(thinking)) is not None:
        taken = step_down("low" if effort == "minimal" else effort, profile.efforts)
        if taken != effort:
            losses.add("reasoning", "clamped")
        body["output_config"] = {"effort": taken, **body.get("output_config", {})}


def _budget(body: Body, thinking: Thinking, losses: Losses) -> None:
    """Manual thinking needs room below max_tokens, and signed thinking at the start of the step that called tools."""
    budget = budget_of(thinking)
    tokens = min(max(budget if budget is not None else 8192, _LEAST_BUDGET), body["max_tokens"] - 1)
    if tokens < _LEAST_BUDGET:
        losses.add("reasoning", "dropped_max_tokens_too_small")
    elif unsigned_loop(body["messages"]):
        losses.add("reasoning", "dropped_missing_signature")
    else:
        body["thinking"] = {"type": "enabled", "budget_tokens": tokens}


def unsigned_loop(messages: list[Body]) -> bool:
    """Whether the conversation is inside a tool loop whose last step does not begin with thinking."""
    if len(messages) < 2 or messages[-1]["role"] != "user" or not isinstance(messages[-1]["content"], list):
        return False
    if not any(block["type"] == "tool_result" for block in messages[-1]["content"]):
        return False
    step = messages[-2]["content"]
    return messages[-2]["role"] == "assistant" and isinstance(step, list) and not step[0]["type"].endswith("thinking")


# ------------------------------------------------------------------------------------------------------- sampling and names


def _sample(body: Body, request: ChatRequest, profile: Profile, losses: Losses) -> None:
    stop = [word for word in request.stop if word.strip()]
    if len(stop) < len(request.stop):
        losses.add("stop", "whitespace_dropped")
    if stop:
        body["stop_sequences"] = stop
    thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    if thinks or not profile.sampling or profile.version >= WITHOUT_SAMPLING:
        for name in ("temperature", "top_p", "top_k"):
            if getattr(request, name) is not None:
                losses.add(name)
    else:
        _temperature(body, request, losses)
    if _KNOBS(request) != _UNTURNED:
        for name in _untaken(request):
            losses.add(name)


def _temperature(body: Body, request: ChatRequest, losses: Losses) -> None:
    if request.temperature is not None:
        clamped = min(max(request.temperature, 0.0), 1.0)
        if clamped != request.temperature:
            losses.add("temperature", "clamped")
        body["temperature"] = clamped
    if request.top_p is not None:
        if request.temperature is None:
            body["top_p"] = request.top_p
        else:
            losses.add("top_p")  # newer models refuse both at once
    if request.top_k is not None:
        body["top_k"] = int(request.top_k)


# What `_untaken` looks at, one by one, where anything is said of any of it.
_KNOBS = attrgetter("seed", "verbosity", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "logit_bias")
_UNTURNED = (None,) * 7


def _untaken(request: ChatRequest) -> Iterator[str]:
    """Knobs that Claude does not have, where they were turned."""
    for name in ("seed", "verbosity"):
        if getattr(request, name) is not None:
            yield name
    for name in ("frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "logit_bias"):
        if getattr(request, name):
            yield name


def _account(body: Body, request: ChatRequest, losses: Losses) -> None:
    if request.user:
        if "@" in request.user:  # Anthropic asks for opaque ids and refuses addresses
            losses.add("user")
        else:
            user = request.user if len(request.user) <= 256 else hashlib.sha256(request.user.encode("utf-8", "replace")).hexdigest()
            body["metadata"] = {"user_id": user}
    if request.service_tier is not None:
        if request.service_tier in _TIERS:
            body["service_tier"] = _TIERS[request.service_tier]
        else:
            losses.add("service_tier")
