"""The neutral request written as Gemini takes it: contents that alternate, results beside each other, signatures where they are demanded.

Model, method and `alt=sse` travel in the path, which is not written here. Source: the wire form of google-genai 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from respan_proxy.dialects.chat import Reasoning, Refusal, Text, ToolCall, arguments_object
from respan_proxy.dialects.crossing import answered, cannot_carry, foreign_block, leave_extras, own_extras, signed, usable_tools, within
from respan_proxy.dialects.dialect import TargetBody
from respan_proxy.dialects.efforts import budget_of, effort_of, step_down
from respan_proxy.dialects.events import Opaque
from respan_proxy.dialects.free_text import AS_FUNCTION, is_grammar
from respan_proxy.dialects.gemini_request_read import NAME, SKIP, media_type_of
from respan_proxy.dialects.gemini_schemas import for_gemini, to_openapi
from respan_proxy.dialects.names import GEMINI_NAMES, Naming
from respan_proxy.dialects.request import (
    Attachment,
    ChatRequest,
    Custom,
    Effort,
    FileRef,
    Function,
    Hosted,
    HostedBlock,
    Inline,
    JsonSchema,
    Link,
    Losses,
    Part,
    Profile,
    Tier,
    ToolResult,
    Turn,
    WebSearch,
    Written,
)
from respan_proxy.dialects.schemas import takes_nothing
from respan_proxy.errors import RequestRejected

_LEVELS: Mapping[Effort, str] = {
    "none": "MINIMAL",  # thinking in levels cannot be switched off
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "XHIGH",
    "max": "XHIGH",
}
_TIERS: Mapping[Tier, str] = {"default": "standard", "flex": "flex", "priority": "priority"}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_MEDIA = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4", "document": "application/pdf"}
_MAX_STOPS = 5
_MAX_TEMPERATURE = 2.0


def write_request(request: ChatRequest, profile: Profile, losses: Losses) -> TargetBody:
    leave_extras(request, NAME, losses)
    writing = _Writing(request, profile, losses, Naming(GEMINI_NAMES))
    members: dict[str, Any] = dict(own_extras(request, NAME))
    if system := [{"text": block.text} for block in request.system if block.text]:
        members["systemInstruction"] = {"parts": system}
    members["contents"] = writing.contents()
    members |= writing.tools()
    if config := writing.config():
        members["generationConfig"] = config
    if request.service_tier is not None and request.service_tier in _TIERS:
        members["serviceTier"] = _TIERS[request.service_tier]
    writing.left_out()
    return TargetBody(members, writing.naming.names)


@dataclass(slots=True)
class _Writing:
    request: ChatRequest
    profile: Profile
    losses: Losses
    naming: Naming

    # -------------------------------------------------------------------------------------------- contents

    def contents(self) -> list[dict[str, Any]]:
        """Turns of one role that follow each other are one content; in it, results of calls come first."""
        contents: list[dict[str, Any]] = []
        calls = self.request.calls
        for turn in answered(self.request.turns, self.losses):
            if turn.role == "system":
                self.losses.add("messages.system", "as_user")
            role = "model" if turn.role == "assistant" else "user"
            parts = [written for part in signed(iter(turn.parts)) for written in self._part(part, turn, calls)]
            if not parts:
                continue
            if contents and contents[-1]["role"] == role:
                contents[-1]["parts"] += parts
            else:
                contents.append({"role": role, "parts": parts})
        if not contents:
            raise RequestRejected("the conversation is empty; at least one message is needed besides instructions", param="messages")
        for content in contents:
            if content["role"] == "user":
                content["parts"].sort(key=lambda part: "functionResponse" not in part)
            elif self.profile.thinking == "level":
                _sign_first_call(content["parts"])
        return contents

    def _part(self, part: Part, turn: Turn, calls: Mapping[str, ToolCall]) -> Iterator[dict[str, Any]]:
        match part:
            case Text(text, signature):
                if text or _signature(signature):
                    yield _signed({"text": text}, signature)
            case Refusal(text):
                yield {"text": text}
            case Reasoning():
                yield from self._reasoning(part)
            case ToolCall():
                yield self._call(part)
            case ToolResult():
                yield self._result(part, turn, calls)
            case Attachment():
                if part.context:
                    yield {"text": part.context}
                yield self._attachment(part, turn)
            case HostedBlock():
                if part.dialect == NAME:
                    yield dict(part.members)
                else:
                    foreign_block(part, turn, self.losses)

    def _reasoning(self, part: Reasoning) -> Iterator[dict[str, Any]]:
        """Its own thoughts go back to it; those of others mean nothing to it."""
        if _signature(part.opaque) or self.request.dialect == NAME:
            yield _signed({"text": part.text, "thought": True}, part.opaque)
        else:
            self.losses.add("messages.reasoning")

    def _call(self, call: ToolCall) -> dict[str, Any]:
        args = {"input": call.arguments} if call.custom else arguments_object(call.arguments)
        named = {"name": self.naming.legal(call.name, custom=call.custom), "args": args}
        return _signed({"functionCall": {"id": call.id, **named} if call.id else named}, call.signature)

    def _result(self, result: ToolResult, turn: Turn, calls: Mapping[str, ToolCall]) -> dict[str, Any]:
        name = calls[result.call_id].name
        text, parts = result.text, []
        for part in result.parts:
            if isinstance(part, Attachment):
                written = self._attachment(part, turn)
                if "text" in written:
                    text = f"{text}\n\n{written['text']}" if text else written["text"]
                else:
                    parts.append(written)
        response: dict[str, Any] = {"id": result.call_id, "name": self.naming.legal(name), "response": _response(text, result.error)}
        return {"functionResponse": {**response, "parts": parts} if parts else response}

    def _attachment(self, attachment: Attachment, turn: Turn) -> dict[str, Any]:
        if attachment.detail not in (None, "auto"):
            self.losses.add("messages.image.detail")
        match attachment.source:
            case Inline(data):
                return {"inlineData": {"mimeType": attachment.media_type or _MEDIA[attachment.kind], "data": data}}
            case Link(url) | FileRef("gemini", url):
                media_type = attachment.media_type or media_type_of(url)
                return {"fileData": {"mimeType": media_type, "fileUri": url} if media_type else {"fileUri": url}}
            case Written(text):
                return {"text": "\n".join(filter(None, (attachment.name, text)))}
            case FileRef():
                raise cannot_carry(attachment, turn, "by file id")

    # -------------------------------------------------------------------------------------------- tools

    def tools(self) -> dict[str, Any]:
        told = usable_tools(self.request, NAME, self.losses)
        declarations = [self._declaration(tool) for tool in told if isinstance(tool, (Function, Custom))]
        tools: list[dict[str, Any]] = [{"functionDeclarations": declarations}] if declarations else []
        for tool in told:
            if isinstance(tool, WebSearch):
                tools += self._search(tool, declarations)
            elif isinstance(tool, Hosted):
                tools.append(dict(tool.declaration))
        config = self._choice(declarations)
        return ({"tools": tools} if tools else {}) | ({"toolConfig": config} if config else {})

    def _declaration(self, tool: Function | Custom) -> dict[str, Any]:
        custom = isinstance(tool, Custom)
        declaration: dict[str, Any] = {"name": self.naming.legal(tool.name, custom=custom)}
        if tool.description:
            declaration["description"] = tool.description
        schema: object = AS_FUNCTION
        if isinstance(tool, Function):
            schema = tool.parameters
            if tool.strict:
                self.losses.add("tools.strict")
        elif is_grammar(tool.format):
            self.losses.add("tools.custom.format")
        if takes_nothing(schema):
            return declaration
        if "parametersJsonSchema" in self.profile.refuses:
            return {**declaration, "parameters": to_openapi(schema)}
        return {**declaration, "parametersJsonSchema": for_gemini(schema)}

    def _search(self, search: WebSearch, declarations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if declarations and self.profile.thinking == "budget":  # models before Gemini 3 take functions or the search
            self.losses.add("tools.web_search")
            return []
        said = {
            "user_location": search.location,
            "allowed_domains": search.allowed_domains,
            "blocked_domains": search.blocked_domains,  # only Vertex has these
            "max_uses": search.max_uses,
            "search_context_size": search.context_size,
            "external_web_access": search.external is False,
        }
        for name, value in said.items():
            if value:
                self.losses.add(f"web_search.{name}")
        return [{"googleSearch": {}}]

    def _choice(self, declarations: list[dict[str, Any]]) -> dict[str, Any]:
        config: dict[str, Any] = {}
        choice = self.request.tool_choice
        if choice is not None and choice.hosted:
            self.losses.add("tool_choice")  # a search cannot be demanded
        elif choice is not None and declarations:
            calling: dict[str, Any] = {"mode": _MODES[choice.mode]}
            if choice.allowed and choice.mode != "none":
                calling["allowedFunctionNames"] = [self.naming.legal(name) for name in choice.allowed]
                if choice.mode == "auto":
                    calling["mode"] = "VALIDATED"
            config["functionCallingConfig"] = calling
        for extra in self.request.extras:
            if self.request.dialect == NAME and extra.path == "toolConfig.retrievalConfig":
                config["retrievalConfig"] = extra.value
        return config

    # -------------------------------------------------------------------------------------------- how to answer

    def config(self) -> dict[str, Any]:
        request = self.request
        config: dict[str, Any] = {}
        if request.dialect == NAME:
            config |= {
                extra.path.removeprefix("generationConfig."): extra.value
                for extra in request.extras
                if extra.path.startswith("generationConfig.")
            }
        if request.max_tokens is not None:
            config["maxOutputTokens"] = within(request.max_tokens, self.profile, self.losses)
        config |= self._sampling()
        if request.n is not None and request.n > 1:
            config["candidateCount"] = request.n
        if request.stop:
            config["stopSequences"] = list(request.stop[:_MAX_STOPS])
            if len(request.stop) > _MAX_STOPS:
                self.losses.add("stop", "truncated")
        if request.seed is not None:
            config["seed"] = request.seed
        if request.logprobs:
            config["responseLogprobs"] = True
            if request.top_logprobs is not None:
                config["logprobs"] = request.top_logprobs
        config |= self._output()
        if thinking := self._thinking():
            config["thinkingConfig"] = thinking
        return config

    def _sampling(self) -> dict[str, Any]:
        request, sampling = self.request, {}
        for name, member, value in (
            ("temperature", "temperature", request.temperature),
            ("top_p", "topP", request.top_p),
            ("top_k", "topK", request.top_k),
        ):
            if value is not None and not self.profile.sampling:
                self.losses.add(name)
            elif value is not None:
                sampling[member] = value
        if sampling.get("temperature", 0) > _MAX_TEMPERATURE:
            sampling["temperature"] = _MAX_TEMPERATURE
            self.losses.add("temperature", "clamped")
        for name, member, value in (
            ("frequency_penalty", "frequencyPenalty", request.frequency_penalty),
            ("presence_penalty", "presencePenalty", request.presence_penalty),
        ):
            if value and name in self.profile.refuses:
                self.losses.add(name)
            elif value:
                sampling[member] = value
        return sampling

    def _output(self) -> dict[str, Any]:
        output = self.request.output
        if output is None:
            return {}
        json = {"responseMimeType": "application/json"}
        if not isinstance(output, JsonSchema):
            return json
        if not self.profile.structured:
            self.losses.add("response_format.json_schema")
            return json
        if "responseJsonSchema" in self.profile.refuses:
            return {**json, "responseSchema": to_openapi(output.schema)}
        return {**json, "responseJsonSchema": for_gemini(output.schema)}

    def _thinking(self) -> dict[str, Any]:
        thinking = self.request.thinking
        if thinking is None:
            return {}
        effort = effort_of(thinking)
        if self.profile.thinking not in ("level", "budget"):
            if effort not in (None, "none"):
                self.losses.add("reasoning")
            return {}
        config: dict[str, Any] = {}
        # who asks for an effort in chat has no way to ask for thoughts, and is shown them
        shown = thinking.visible if thinking.visible is not None else effort is not None
        if shown and effort != "none":
            config["includeThoughts"] = True
        if self.profile.thinking == "level":
            if effort is not None:
                if (taken := step_down(effort, self.profile.efforts)) != effort:
                    self.losses.add("reasoning", "clamped")
                config["thinkingLevel"] = _LEVELS[taken]
        elif (budget := budget_of(thinking)) is not None:
            config["thinkingBudget"] = budget
        return config

    def left_out(self) -> None:
        """What Gemini has no member for and whose absence may be noticed; ids, metadata and cache keys go in silence."""
        request = self.request
        if request.parallel is False and request.tools:
            self.losses.add("parallel_tool_calls")
        for name, value in (
            ("logit_bias", request.logit_bias),
            ("verbosity", request.verbosity),
            ("user", request.user),
        ):
            if value:
                self.losses.add(name)


def _signature(opaque: Opaque | None) -> str | None:
    return opaque.data if opaque is not None and opaque.provider == "gemini" else None


def _signed(part: dict[str, Any], opaque: Opaque | None) -> dict[str, Any]:
    signature = _signature(opaque)
    return {**part, "thoughtSignature": signature} if signature else part


def _sign_first_call(parts: list[dict[str, Any]]) -> None:
    """Models that think in levels refuse a step whose first call is unsigned; of parallel calls the others never are."""
    first = next((part for part in parts if "functionCall" in part), None)
    if first is not None:
        first.setdefault("thoughtSignature", SKIP)


def _response(text: str, error: bool) -> dict[str, Any]:
    if error:
        return {"error": text}
    if text.startswith("{"):
        try:
            parsed = orjson.loads(text)
        except orjson.JSONDecodeError:
            parsed = None
        if isinstance(parsed, dict):
            return parsed
    return {"output": text}
