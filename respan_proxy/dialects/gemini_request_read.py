"""Gemini requests read into the neutral request: camelCase and snake_case alike, both alphabets of base64, calls paired with results.

Source: the wire form of google-genai 1.75 and 3.4, which mixes both spellings in one body (`inlineData: {mime_type}`). Free-form
objects (`args`, `response`, schemas, labels) are the caller's own and stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from respan_proxy.dialects.asked import Asked, Table, compact, found, missing, read_by, wrong
from respan_proxy.dialects.attachments import inline_text, sniffed, standard_base64
from respan_proxy.dialects.chat import Reasoning, Text, ToolCall
from respan_proxy.dialects.events import Opaque
from respan_proxy.dialects.gemini_schemas import from_openapi
from respan_proxy.dialects.request import (
    Attachment,
    ChatRequest,
    Effort,
    Extra,
    FileRef,
    Function,
    Hosted,
    HostedBlock,
    Inline,
    JsonObject,
    JsonSchema,
    Kind,
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
from respan_proxy.errors import RequestRejected

NAME = "gemini"
SKIP = "skip_thought_signature_validator"
"""Stands where a signature is demanded and none can be had (Google's own FAQ on thought signatures). Not base64."""
# Those of Google's FAQ, as text and as litellm 1.110 sends the first: as the bytes that a signature is.
_STAND_INS = frozenset((SKIP, "context_engineering_is_the_way_to_go", "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="))

_ROLES: Mapping[str, Role] = {"user": "user", "model": "assistant", "function": "user", "tool": "user"}
_TIERS: Mapping[str, Tier] = {"standard": "default", "flex": "flex", "priority": "priority"}
_LEVELS: Mapping[str, Effort] = {"MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high", "XHIGH": "xhigh"}
_MODES: Mapping[str, Literal["auto", "none", "required"]] = {"AUTO": "auto", "VALIDATED": "auto", "ANY": "required", "NONE": "none"}
_SEARCHES = frozenset(("googleSearch", "googleSearchRetrieval"))
_PROVIDER_PARTS = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse", "audioTranscription")

Effect = Literal["hint", "knob", "meaning"]
_TOP_EFFECTS: Mapping[str, Effect] = {
    **dict.fromkeys(("labels", "store"), "hint"),
    **dict.fromkeys(("cachedContent", "continuationToken"), "meaning"),
}


def read_request(members: Mapping[str, Any], model: str | None = None, stream: bool = False) -> ChatRequest:
    asked = camel(Asked(members))
    model = model or asked.one_text("model").removeprefix("models/")
    if "contents" not in asked.members:
        raise missing("contents", "an array")
    said, others = read_by(_READ, asked)
    # An empty list asks for nothing: langchain-google-genai 4.4 always sends `safetySettings: []`.
    extras = [Extra(name, asked.members[name], "hint" if asked.members[name] == [] else _TOP_EFFECTS.get(name, "knob")) for name in others]
    if (given := asked.object("generationConfig")) is not None:
        config = camel(given)
        told, unread = read_by(_CONFIG, config)
        said.update(told)
        extras += [Extra(config.path(name), config.members[name], "knob") for name in unread]
        extras += _unwritten(config)
    if "tool_choice" in said and (retrieval := _inner(asked, "toolConfig").mapping("retrievalConfig")) is not None:
        extras.append(Extra("toolConfig.retrievalConfig", retrieval, "knob"))
    conversation = _Conversation()
    for content in asked.objects("contents"):
        conversation.read(camel(content))
    return ChatRequest(
        dialect=NAME,
        model=model,
        turns=tuple(conversation.turns),
        stream=stream,
        extras=tuple(extras),
        **said,
    )


_SNAKE = re.compile(r"(?<=[A-Za-z0-9])_([a-z0-9])")


def camel(asked: Asked) -> Asked:
    """The same object with its own members in camelCase; what is inside them is not touched."""
    if "_" not in "".join(asked.members):  # the usual case, at a tenth of the price of asking each
        return asked
    return Asked({_SNAKE.sub(lambda found: found[1].upper(), name): value for name, value in asked.members.items()}, asked.where)


def _inner(asked: Asked, name: str) -> Asked:
    value = asked.object(name)
    return camel(value) if value is not None else Asked({}, asked.path(name))


def _unwritten(config: Asked) -> Iterator[Extra]:
    """Answers that are asked for and are no text."""
    modalities = config.texts("responseModalities")
    if modalities and {modality.upper() for modality in modalities} != {"TEXT"}:
        yield Extra(config.path("responseModalities"), list(modalities), "meaning")
    if config.text("responseMimeType") not in (None, "text/plain", "application/json"):
        yield Extra(config.path("responseMimeType"), config.members["responseMimeType"], "meaning")


def _tier(asked: Asked, name: str) -> Tier | None:
    return _TIERS.get((asked.text(name) or "").lower().removeprefix("service_tier_"))


def _thinking(config: Asked, name: str) -> Thinking | None:
    asked = _inner(config, name)
    budget, level = asked.integer("thinkingBudget"), (asked.text("thinkingLevel") or "").upper()
    visible = asked.flag("includeThoughts")
    effort: Effort | None = "none" if budget == 0 else _LEVELS.get(level)
    if budget is not None and budget <= 0:  # -1: as the model likes
        budget = None
    return Thinking(effort, budget, visible) if effort or budget or visible is not None else None


def _output(config: Asked, _: str) -> JsonObject | JsonSchema | None:
    openapi = config.mapping("responseSchema")
    schema = config.mapping("responseJsonSchema") or config.mapping("_responseJsonSchema")
    if openapi is not None and schema is None:
        schema = from_openapi(openapi)
    if schema is not None:
        return JsonSchema(schema)
    return JsonObject() if config.text("responseMimeType") == "application/json" else None


# ------------------------------------------------------------------------------------------------ tools


def _tools(asked: Asked, name: str) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for told in asked.objects(name):
        tool = camel(told)
        tools += [_function(camel(declaration)) for declaration in tool.objects("functionDeclarations")]
        for kind, declaration in tool.members.items():
            if kind == "functionDeclarations" or declaration is None:
                continue
            if kind in _SEARCHES:
                tools.append(WebSearch(blocked_domains=_inner(tool, kind).texts("excludeDomains")))
            else:
                tools.append(Hosted(NAME, kind, {kind: declaration}, tool.path(kind)))
    return tuple(tools)


def _function(declaration: Asked) -> Function:
    schema = declaration.mapping("parametersJsonSchema")
    if schema is None and (openapi := declaration.mapping("parameters")) is not None:
        schema = from_openapi(openapi)
    return Function(declaration.one_text("name"), declaration.text("description"), schema)


def _tool_choice(asked: Asked, name: str) -> ToolChoice | None:
    config = _inner(_inner(asked, name), "functionCallingConfig")
    mode = _MODES.get((config.text("mode") or "").upper())
    return ToolChoice(mode, config.texts("allowedFunctionNames")) if mode else None


# ------------------------------------------------------------------------------------------------ contents


def _system(asked: Asked, name: str) -> tuple[Text, ...]:
    """A Content, of which only the text counts; typed clients send a role with it."""
    instruction = asked.members[name]
    if isinstance(instruction, str):
        return (Text(instruction),) if instruction else ()
    texts = []
    for told in asked.one_object(name).objects("parts"):
        part = camel(told)
        text = part.text("text")
        if text is None and part.members:
            raise RequestRejected(f"'{part.where}' is no text; instructions are text", param=part.where, code="invalid_value")
        if text:
            texts.append(Text(text))
    return tuple(texts)


_READ: Table = {
    **dict.fromkeys(("model", "contents", "generationConfig")),
    "systemInstruction": ("system", _system),
    "tools": ("tools", _tools),
    "toolConfig": ("tool_choice", _tool_choice),
    "serviceTier": ("service_tier", _tier),
}
_CONFIG: Table = {
    "responseModalities": None,
    "temperature": ("temperature", Asked.number),
    "topP": ("top_p", Asked.number),
    "topK": ("top_k", Asked.number),
    "candidateCount": ("n", Asked.integer),
    "maxOutputTokens": ("max_tokens", Asked.integer),
    "stopSequences": ("stop", Asked.texts),
    "seed": ("seed", Asked.integer),
    "presencePenalty": ("presence_penalty", Asked.number),
    "frequencyPenalty": ("frequency_penalty", Asked.number),
    "responseLogprobs": ("logprobs", Asked.flag),
    "logprobs": ("top_logprobs", Asked.integer),
    "responseMimeType": ("output", _output),
    "responseSchema": ("output", _output),
    "responseJsonSchema": ("output", _output),
    "_responseJsonSchema": ("output", _output),
    "thinkingConfig": ("thinking", _thinking),
}


@dataclass(slots=True)
class _Conversation:
    """The contents so far. Ids of calls are optional here: where there is none, `call_1` and so on, and results are paired by name."""

    turns: list[Turn] = field(default_factory=list)
    made: int = 0
    unanswered: list[ToolCall] = field(default_factory=list)

    def read(self, content: Asked) -> None:
        role = content.text("role") or "user"
        if role not in _ROLES:
            raise wrong(content.path("role"), role, "user or model")
        parts = [read for told in content.objects("parts") if (read := self._part(camel(told))) is not None]
        last = self.turns[-1] if self.turns else None
        if role == "model" and last is not None and last.role == "assistant":  # an SDK's chat keeps every chunk of a stream
            self.turns[-1] = Turn("assistant", tuple(_joined((*last.parts, *parts))), last.where)
        else:
            self.turns.append(Turn(_ROLES[role], tuple(parts), content.path("parts")))

    def _part(self, part: Asked) -> Part | None:
        text = part.text("text")
        if text and len(part.members) == 1:  # the usual part
            return Text(text)
        signature = _signature(part)
        if text is not None:
            if part.flag("thought"):
                return Reasoning(text, signature) if text or signature else None
            return Text(text, signature) if text or signature else None
        for name, value in part.members.items():
            if value is not None and (read := _PARTS.get(name)) is not None:
                return read(self, camel(part.one_object(name)), signature)
        for name in _PROVIDER_PARTS:
            if (told := part.mapping(name)) is not None:
                return HostedBlock(NAME, name, {name: told})
        if signature:
            return Text("", signature)
        if part.members.keys() - {"thought", "thoughtSignature", "partMetadata"}:
            raise RequestRejected(
                f"'{part.where}' is a part of no known kind ({', '.join(sorted(part.members)[:3])})", param=part.where, code="invalid_value"
            )
        return None

    def _inline(self, blob: Asked, signature: Opaque | None) -> Attachment:
        return _inline(blob)

    def _file(self, file: Asked, signature: Opaque | None) -> Attachment:
        return _file(file)

    def _call(self, call: Asked, signature: Opaque | None) -> ToolCall:
        id = call.text("id")
        if not id:
            self.made += 1
            id = f"call_{self.made}"
        arguments = compact(call.mapping("args") or {}, call.path("args"))
        told = ToolCall(id, call.one_text("name"), arguments, signature=signature)
        self.unanswered.append(told)
        return told

    def _result(self, response: Asked, signature: Opaque | None) -> ToolResult:
        name, id = response.one_text("name"), response.text("id")
        call = next((call for call in self.unanswered if (call.id == id if id else call.name == name)), None)
        if call is not None:
            self.unanswered.remove(call)
            id = call.id
        if not id:
            raise RequestRejected(f"'{response.where}' answers no functionCall named {found(name)}", param=response.where)
        parts, error = _response(response)
        for told in response.objects("parts"):
            part = camel(told)
            if (blob := part.object("inlineData")) is not None:
                parts.append(_inline(camel(blob)))
            elif (file := part.object("fileData")) is not None:
                parts.append(_file(camel(file)))
        return ToolResult(id, tuple(parts), error, name)


_PARTS: Mapping[str, Callable[[_Conversation, Asked, Opaque | None], Part]] = {
    "inlineData": _Conversation._inline,
    "fileData": _Conversation._file,
    "functionCall": _Conversation._call,
    "functionResponse": _Conversation._result,
}


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Increments of one text, or of one thought, are one part; what is signed stays as it is."""
    growing: Text | Reasoning | None = None
    for part in parts:
        if isinstance(growing, Text) and isinstance(part, Text) and growing.signature is None and part.signature is None:
            growing = Text(growing.text + part.text)
        elif isinstance(growing, Reasoning) and isinstance(part, Reasoning) and growing.opaque is None and part.opaque is None:
            growing = Reasoning(growing.text + part.text)
        else:
            if growing is not None:
                yield growing
            growing = part if isinstance(part, (Text, Reasoning)) else None
            if growing is None:
                yield part
    if growing is not None:
        yield growing


def _response(response: Asked) -> tuple[list[Text | Attachment], bool]:
    """What a function gave. Google's words: `output` holds it, `error` what went wrong; any other object is the result itself."""
    given = response.mapping("response") or {}
    error = given.keys() == {"error"}
    value = given["error"] if error else given["output"] if "output" in given else given.get("result", given)
    text = value if isinstance(value, str) else compact(value, response.path("response"))
    return ([Text(text)] if text else []), error


def _signature(part: Asked) -> Opaque | None:
    signature = part.text("thoughtSignature")
    if not signature or signature in _STAND_INS:
        return None
    return Opaque("gemini", signature.replace("-", "+").replace("_", "/"))


_KINDS: Mapping[str, Kind] = {"image": "image", "audio": "audio", "video": "video"}
_EXTENSIONS: Mapping[str, str] = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif", "heic": "image/heic",
    "pdf": "application/pdf", "txt": "text/plain", "md": "text/markdown", "csv": "text/csv", "html": "text/html",
    "mp3": "audio/mp3", "wav": "audio/wav", "mp4": "video/mp4", "mov": "video/mov", "webm": "video/webm",
}  # fmt: skip


def media_type_of(url: str) -> str | None:
    """What the extension of a URL's path tells."""
    name = url.partition("#")[0].partition("?")[0].rpartition("/")[2]
    return _EXTENSIONS.get(name.rpartition(".")[2].lower()) if "." in name else None


def _kind(media_type: str | None) -> Kind:
    return _KINDS.get((media_type or "").partition("/")[0], "document")


def _inline(blob: Asked) -> Attachment:
    where = blob.path("data")
    source = Inline(standard_base64(blob.one_text("data"), where))
    media_type = sniffed(source) or (blob.text("mimeType") or "application/octet-stream").lower()
    if media_type.startswith("text/"):
        return Attachment("document", Written(inline_text(source, where)), media_type, blob.text("displayName"))
    return Attachment(_kind(media_type), source, media_type, blob.text("displayName"))


def _file(file: Asked) -> Attachment:
    uri = file.one_text("fileUri")
    media_type = file.text("mimeType") or media_type_of(uri)
    if uri.startswith(("https://www.youtube.com/", "https://youtu.be/", "https://youtube.com/")):
        return Attachment("video", Link(uri), media_type)
    uploaded = uri.startswith(("files/", "https://generativelanguage.googleapis.com/"))
    return Attachment(_kind(media_type), FileRef("gemini", uri) if uploaded else Link(uri), media_type, file.text("displayName"))
