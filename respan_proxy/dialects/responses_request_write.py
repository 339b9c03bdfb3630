"""The neutral request written as OpenAI Responses takes it: every turn as its items, `strict` and `detail` always said, nothing stored.

Source: `ResponseCreateParams` of openai 3.54. There is no `stop`, `seed`, `n`, `top_k`, penalty or `logit_bias` here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from respan_proxy.dialects.attachments import DETAILS, EXTENSIONS, as_data_url
from respan_proxy.dialects.chat import Reasoning, Refusal, Text, ToolCall
from respan_proxy.dialects.crossing import answered, cannot_carry, foreign_block, leave_extras, own_extras, usable_tools, within
from respan_proxy.dialects.dialect import TargetBody
from respan_proxy.dialects.efforts import effort_of, step_down
from respan_proxy.dialects.names import OPENAI_NAMES, RESPONSES_IDS, Naming, legal_id
from respan_proxy.dialects.request import (
    Attachment,
    ChatRequest,
    Custom,
    Effort,
    FileRef,
    Function,
    HostedBlock,
    Inline,
    JsonSchema,
    Link,
    Losses,
    Profile,
    Tool,
    ToolChoice,
    ToolResult,
    Turn,
    WebSearch,
    Written,
)
from respan_proxy.dialects.responses_request_read import NAME
from respan_proxy.dialects.schemas import is_strict, object_schema
from respan_proxy.errors import RequestRejected, Untranslatable

_MIN_TOKENS = 16
_MAX_USER = 64
_OPENAI = ("openai.chat", NAME)
# Members that chat has under the same name with the same meaning.
_SHARED = frozenset(("prompt_cache_options", "prompt_cache_retention", "moderation"))


def write_request(request: ChatRequest, profile: Profile, losses: Losses) -> TargetBody:
    shared = {extra.path: extra.value for extra in request.extras if request.dialect == "openai.chat" and extra.path in _SHARED}
    _leave(request, shared, losses)
    if request.n is not None and request.n > 1:
        raise Untranslatable("'n' greater than 1 is not supported by the target model", param="n")
    writing = _Writing(request, profile, losses, Naming(OPENAI_NAMES))
    members: dict[str, Any] = {**own_extras(request, NAME), **shared, "model": profile.model or request.model}
    if instructions := "\n\n".join(block.text for block in request.system if block.text):
        members["instructions"] = instructions
    members["input"] = writing.items()
    members |= writing.tools()
    members |= writing.limits()
    if text := writing.text():
        members["text"] = text
    if reasoning := writing.reasoning():
        members["reasoning"] = reasoning
    if include := writing.include():
        members["include"] = include
    members |= writing.who()
    members.setdefault("store", False)
    if request.stream:
        members["stream"] = True
    return TargetBody(members, writing.naming.names)


def _leave(request: ChatRequest, shared: Mapping[str, Any], losses: Losses) -> None:
    """Account for members of the client's dialect that are neither repeated nor shared."""
    found = Losses()
    leave_extras(request, NAME, found)
    for notice in found.notices:
        path, _, action = notice.rpartition(":")
        if path not in shared:
            losses.add(path, action)


@dataclass(slots=True)
class _Writing:
    request: ChatRequest
    profile: Profile
    losses: Losses
    naming: Naming
    made: int = 0
    customs: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.customs = frozenset(tool.name for tool in self.request.tools if isinstance(tool, Custom))

    def _id(self, prefix: str) -> str:
        """Demanded of items that the model once made, and looked up nowhere: nothing is stored."""
        self.made += 1
        return f"{prefix}{self.made - 1:04}"

    # -------------------------------------------------------------------------------------------- items

    def items(self) -> list[dict[str, Any]]:
        items = [item for turn in answered(self.request.turns, self.losses) for item in self._turn(turn)]
        if not items:
            raise RequestRejected("the conversation is empty; at least one message is needed besides instructions", param="messages")
        return items

    def _turn(self, turn: Turn) -> Iterator[dict[str, Any]]:
        """Results first; then what was said, with reasoning and calls at their places."""
        for part in turn.parts:
            if isinstance(part, ToolResult):
                yield self._result(part, turn)
        said: list[Text | Refusal | Attachment] = []
        for part in turn.parts:
            match part:
                case ToolResult():
                    pass
                case Text(text) | Refusal(text):
                    if text:
                        said.append(part)
                case Attachment():
                    if turn.role == "assistant":
                        yield from self._message(said, turn)
                        said.clear()
                        yield self._generated(part, turn)
                    else:
                        said.append(part)
                case Reasoning() | ToolCall() | HostedBlock():
                    yield from self._message(said, turn)
                    said.clear()
                    yield from self._own_item(part, turn)
        yield from self._message(said, turn)

    def _own_item(self, part: Reasoning | ToolCall | HostedBlock, turn: Turn) -> Iterator[dict[str, Any]]:
        match part:
            case Reasoning(text, opaque):
                if opaque is None or opaque.provider != "openai":
                    # OpenAI knows reasoning by its encrypted form alone, and refuses a bare summary
                    if text or opaque is not None:
                        self.losses.add("messages.reasoning")
                    return
                summary = [{"type": "summary_text", "text": text}] if text else []
                # the service checks that what is encrypted came in the item of this id
                yield {"type": "reasoning", "id": opaque.id or self._id("rs_"), "summary": summary, "encrypted_content": opaque.data}
            case ToolCall(id, name, arguments, custom):
                called = {"call_id": legal_id(id or "", RESPONSES_IDS), "name": self.naming.legal(name)}
                if custom:
                    yield {"type": "custom_tool_call", **called, "input": arguments}
                else:
                    yield {"type": "function_call", **called, "arguments": arguments or "{}"}
            case HostedBlock():
                if part.dialect == NAME:
                    yield dict(part.members)
                else:
                    foreign_block(part, turn, self.losses)

    def _message(self, said: list[Text | Refusal | Attachment], turn: Turn) -> Iterator[dict[str, Any]]:
        if not said:
            return
        if turn.role != "assistant":
            content = [self._content(part, turn) for part in said]
            yield {"type": "message", "role": "developer" if turn.role == "system" else "user", "content": content}
        elif len(said) == 1 and isinstance(said[0], Text):
            yield {"type": "message", "role": "assistant", "content": said[0].text}
        else:
            parts: list[dict[str, Any]] = [
                {"type": "refusal", "refusal": part.text}
                if isinstance(part, Refusal)
                else {"type": "output_text", "text": part.text, "annotations": []}
                for part in said
                if not isinstance(part, Attachment)
            ]
            yield {"type": "message", "id": self._id("msg_"), "status": "completed", "role": "assistant", "content": parts}

    def _generated(self, attachment: Attachment, turn: Turn) -> dict[str, Any]:
        """What the model itself drew."""
        if attachment.kind != "image" or not isinstance(attachment.source, Inline):
            raise cannot_carry(attachment, turn, "in what the model said")
        return {"type": "image_generation_call", "id": self._id("ig_"), "status": "completed", "result": attachment.source.data}

    def _result(self, result: ToolResult, turn: Turn) -> dict[str, Any]:
        kind = "custom_tool_call_output" if result.custom else "function_call_output"
        if result.error:
            self.losses.add("messages.tool_result.is_error")
        output: str | list[dict[str, Any]] = result.text
        if any(isinstance(part, Attachment) for part in result.parts):
            output = [self._content(part, turn) for part in result.parts if not isinstance(part, Text) or part.text]
        elif result.error and not output:
            output = "Error"
        return {"type": kind, "call_id": legal_id(result.call_id, RESPONSES_IDS), "output": output}

    def _content(self, part: Text | Refusal | Attachment, turn: Turn) -> dict[str, Any]:
        if not isinstance(part, Attachment):
            return {"type": "input_text", "text": part.text}
        if part.kind in ("audio", "video"):
            raise cannot_carry(part, turn)
        if isinstance(part.source, FileRef) and part.source.provider != "openai":
            raise cannot_carry(part, turn, "by file id")
        if isinstance(part.source, Link) and not part.source.url.lower().startswith(("http://", "https://")):
            raise cannot_carry(part, turn, "by this URL")
        return self._image(part) if part.kind == "image" else self._file(part)

    def _image(self, image: Attachment) -> dict[str, Any]:
        detail = image.detail if image.detail in DETAILS else "auto"
        match image.source:
            case FileRef(_, id):
                return {"type": "input_image", "file_id": id, "detail": detail}
            case Link(url):
                return {"type": "input_image", "image_url": url, "detail": detail}
            case Inline() as source:
                return {"type": "input_image", "image_url": as_data_url(image.media_type or "image/png", source), "detail": detail}
            case Written(text):
                return {"type": "input_text", "text": text}

    def _file(self, file: Attachment) -> dict[str, Any]:
        match file.source:
            case FileRef(_, id):
                return {"type": "input_file", "file_id": id}
            case Link(url):
                return {"type": "input_file", "file_url": url}
            case Inline() as source:
                media_type = file.media_type or "application/pdf"
                name = file.name or f"document.{EXTENSIONS.get(media_type, 'bin')}"
                return {"type": "input_file", "filename": name, "file_data": as_data_url(media_type, source)}
            case Written(text):
                return {"type": "input_text", "text": "\n".join(filter(None, (file.name, file.context, text)))}

    # -------------------------------------------------------------------------------------------- tools

    def tools(self) -> dict[str, Any]:
        told = usable_tools(self.request, NAME, self.losses)
        if not told:
            return {}
        members: dict[str, Any] = {"tools": [self._tool(tool) for tool in told]}
        if self.request.tool_choice is not None:
            members["tool_choice"] = self._choice(self.request.tool_choice)
        if self.request.parallel is not None:
            members["parallel_tool_calls"] = self.request.parallel
        return members

    def _tool(self, tool: Tool) -> dict[str, Any]:
        match tool:
            case Function(name, description, parameters, strict):
                function: dict[str, Any] = {"type": "function", "name": self.naming.legal(name)}
                if description:
                    function["description"] = description
                schema = object_schema(parameters)
                # left out, it would mean strict wherever the schema allows
                return {**function, "parameters": schema, "strict": self._strict(strict, schema, "tools")}
            case Custom(name, description, form):
                custom: dict[str, Any] = {"type": "custom", "name": self.naming.legal(name)}
                return custom | ({"description": description} if description else {}) | ({"format": form} if form else {})
            case WebSearch():
                return self._search(tool)
            case _:
                return dict(tool.declaration)

    def _strict(self, strict: bool | None, schema: Mapping[str, Any], where: str) -> bool:
        """Other vendors' strict is less strict: theirs close objects and let properties be left out."""
        if strict and self.request.dialect not in _OPENAI and not is_strict(schema):
            self.losses.add(f"{where}.strict")
            return False
        return bool(strict)

    def _search(self, search: WebSearch) -> dict[str, Any]:
        told: dict[str, Any] = {"type": "web_search"}
        if search.allowed_domains:
            told["filters"] = {"allowed_domains": list(search.allowed_domains)}
        if search.location:
            told["user_location"] = {"type": "approximate", **search.location}
        if search.context_size:
            told["search_context_size"] = search.context_size
        if search.external is not None:
            told["external_web_access"] = search.external
        for name, value in (("blocked_domains", search.blocked_domains), ("max_uses", search.max_uses)):
            if value:
                self.losses.add(f"web_search.{name}")
        return told

    def _choice(self, choice: ToolChoice) -> str | dict[str, Any]:
        if choice.hosted:
            return {"type": choice.hosted}
        if not choice.allowed or choice.mode == "none":
            return choice.mode
        tools = [{"type": "custom" if name in self.customs else "function", "name": self.naming.legal(name)} for name in choice.allowed]
        if choice.mode == "required" and len(tools) == 1:
            return tools[0]
        return {"type": "allowed_tools", "mode": choice.mode, "tools": tools}

    # -------------------------------------------------------------------------------------------- how to answer

    def limits(self) -> dict[str, Any]:
        request = self.request
        members: dict[str, Any] = {}
        if request.max_tokens is not None:
            members["max_output_tokens"] = max(within(request.max_tokens, self.profile, self.losses), _MIN_TOKENS)
            if request.max_tokens < _MIN_TOKENS:
                self.losses.add("max_tokens", f"raised_to_{_MIN_TOKENS}")
        effort = self.effort()
        for name, value in (("temperature", request.temperature), ("top_p", request.top_p)):
            if value is not None and not self.profile.takes(name, effort):
                self.losses.add(name)
            elif value is not None:
                members[name] = value
        for name, lost in (
            ("top_k", request.top_k),
            ("seed", request.seed),
            ("stop", request.stop),
            ("frequency_penalty", request.frequency_penalty),
            ("presence_penalty", request.presence_penalty),
            ("logit_bias", request.logit_bias),
        ):
            if lost not in (None, (), {}) and (name == "seed" or lost != 0):
                self.losses.add(name)
        if request.logprobs and not self.profile.takes("logprobs", effort):
            self.losses.add("logprobs")
        elif request.logprobs and request.top_logprobs is not None:
            members["top_logprobs"] = request.top_logprobs
        return members

    def text(self) -> dict[str, Any]:
        text: dict[str, Any] = {}
        output = self.request.output
        if isinstance(output, JsonSchema):
            text["format"] = self._format(output)
        elif output is not None:
            text["format"] = {"type": "json_object"}
        if self.request.verbosity and "verbosity" in self.profile.refuses:
            self.losses.add("verbosity")
        elif self.request.verbosity:
            text["verbosity"] = self.request.verbosity
        return text

    def _format(self, output: JsonSchema) -> dict[str, Any]:
        title = output.schema.get("title")
        name = output.name or (title if isinstance(title, str) else None) or "response"
        strict = is_strict(output.schema) if output.strict is None else self._strict(output.strict, output.schema, "response_format")
        told: dict[str, Any] = {"type": "json_schema", "name": _schema_name(name), "schema": output.schema, "strict": strict}
        return {**told, "description": output.description} if output.description else told

    def effort(self) -> Effort | None:
        """As it is told to the model; None: not at all."""
        effort = effort_of(self.request.thinking) if self.request.thinking else None
        return None if effort is None or self.profile.thinking == "none" else step_down(effort, self.profile.efforts)

    def reasoning(self) -> dict[str, Any]:
        thinking = self.request.thinking
        if thinking is None:
            return {}
        effort = effort_of(thinking)
        if self.profile.thinking == "none":
            if effort not in (None, "none"):
                self.losses.add("reasoning")
            return {}
        if (taken := self.effort()) != effort:
            self.losses.add("reasoning", "clamped")
        told: dict[str, Any] = {"effort": taken} if taken is not None else {}
        return {**told, "summary": "auto"} if thinking.visible and effort != "none" else told

    def include(self) -> list[str]:
        own = own_extras(self.request, NAME).get("include")
        include = [word for word in own if isinstance(word, str)] if isinstance(own, list) else []
        if self.profile.encrypted_reasoning:
            include.append("reasoning.encrypted_content")
        if self.request.logprobs and self.profile.takes("logprobs", self.effort()):
            include.append("message.output_text.logprobs")
        return list(dict.fromkeys(include))

    def who(self) -> dict[str, Any]:
        request, members = self.request, dict[str, Any]()
        if request.metadata is not None and all(isinstance(value, str) for value in request.metadata.values()):
            members["metadata"] = request.metadata
        if request.user and self.profile.user_field:
            user = request.user
            members[self.profile.user_field] = (
                user if len(user) <= _MAX_USER else hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()
            )
        if request.service_tier is not None and "service_tier" in self.profile.refuses:
            self.losses.add("service_tier")
        elif request.service_tier is not None:
            members["service_tier"] = request.service_tier
        if request.cache_key:
            members["prompt_cache_key"] = request.cache_key
        return members


def _schema_name(name: str) -> str:
    return OPENAI_NAMES.bad.sub("_", name)[: OPENAI_NAMES.length]
