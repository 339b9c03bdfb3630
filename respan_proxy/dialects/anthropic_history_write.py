"""Neutral turns written as Anthropic messages: merged by role, results first, nothing empty, no thinking that Claude did not sign."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from respan_proxy.dialects.attachments import inline_text
from respan_proxy.dialects.chat import Reasoning, Refusal, Text, ToolCall, arguments_object
from respan_proxy.dialects.crossing import answered, cannot_carry, foreign_block
from respan_proxy.dialects.names import ANTHROPIC_IDS, Naming, legal_id
from respan_proxy.dialects.request import (
    Attachment,
    ChatRequest,
    FileRef,
    HostedBlock,
    Inline,
    Link,
    Losses,
    Part,
    Profile,
    ToolResult,
    Turn,
    Written,
)
from respan_proxy.errors import Untranslatable

_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_BREAKPOINTS = 4  # more are refused
_CACHE = "cache_control"

Block = dict[str, Any]


def write_system(texts: Iterable[Text]) -> str | list[Block] | None:
    """One plain block as a string; None when nothing is said."""
    blocks = [_text(part) for part in texts if part.text.strip()]
    return _plain(blocks) if blocks else None


def write_messages(request: ChatRequest, profile: Profile, naming: Naming, losses: Losses) -> list[dict[str, Any]]:
    writing = _Writing(profile, naming, losses)
    merged: list[tuple[str, list[Block]]] = []
    for turn in answered(request.turns, losses):
        role = writing.role(turn, merged[-1][0] if merged else None)
        blocks = writing.blocks(turn, role)
        if not blocks:
            continue
        if merged and merged[-1][0] == role:
            merged[-1][1].extend(blocks)
        else:
            merged.append((role, blocks))
    if not merged:
        raise Untranslatable("The conversation holds nothing but system messages; the target model needs a user message", param="messages")
    _strip_prefill(merged)
    return [{"role": role, "content": _plain(_results_first(blocks))} for role, blocks in merged]


def _results_first(blocks: list[Block]) -> list[Block]:
    """Results of calls must come before everything else in their turn."""
    if len(blocks) == 1:
        return blocks
    return sorted(blocks, key=lambda block: block["type"] != "tool_result")


def _plain(blocks: list[Block]) -> str | list[Block]:
    """A lone text without marks is written as a string."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _strip_prefill(merged: list[tuple[str, list[Block]]]) -> None:
    """The beginning of an answer may not end in white space."""
    role, blocks = merged[-1]
    if role == "assistant" and blocks[-1]["type"] == "text":
        blocks[-1]["text"] = blocks[-1]["text"].rstrip()


def limit_breakpoints(body: dict[str, Any], losses: Losses) -> None:
    """At most four cache marks, the last ones: a prefix holds the prefixes before it."""
    system = body.get("system")
    marked: list[Block] = [block for block in (*body.get("tools", ()), *(system if isinstance(system, list) else ())) if _CACHE in block]
    for message in body["messages"]:
        if isinstance(message["content"], list):
            for block in message["content"]:
                if isinstance(inner := block.get("content"), list):
                    marked += [within for within in inner if _CACHE in within]
                if _CACHE in block:
                    marked.append(block)
    for block in marked[:-_BREAKPOINTS]:
        del block[_CACHE]
        losses.add("cache_control")


class _Writing:
    """What blocks are written with."""

    def __init__(self, profile: Profile, naming: Naming, losses: Losses) -> None:
        self._profile = profile
        self._naming = naming
        self._losses = losses

    def role(self, turn: Turn, before: str | None) -> str:
        """A system message in mid-conversation stays where it was said: as itself where the model takes it, else as the user's words."""
        if turn.role != "system":
            return turn.role
        if self._profile.mid_system and before == "user":
            return "system"
        self._losses.add("messages.system", "as_user")
        return "user"

    def blocks(self, turn: Turn, role: str) -> list[Block]:
        blocks: list[Block] = []
        for part in turn.parts:
            self._write(part, turn, role, blocks)
        return blocks

    def _write(self, part: Part, turn: Turn, role: str, blocks: list[Block]) -> None:
        match part:
            case Text():
                if part.signature is not None:
                    self._losses.add("messages.reasoning")
                if part.text.strip():
                    blocks.append(_text(part))
            case Refusal(text):
                if text.strip():
                    blocks.append({"type": "text", "text": text})
            case Reasoning():
                blocks += self._thinking(part)
            case ToolCall():
                blocks.append(self._call(part))
            case ToolResult():
                blocks.append(self._result(part, turn))
            case Attachment():
                if role == "assistant":
                    self._losses.add(f"messages.{part.kind}")  # a generated one: Claude cannot have said it
                else:
                    blocks += self._attachment(part, turn)
            case HostedBlock():
                if part.dialect == "anthropic.messages":
                    blocks.append(dict(part.members))
                else:
                    foreign_block(part, turn, self._losses)

    def _thinking(self, part: Reasoning) -> Iterator[Block]:
        state = part.opaque
        if state is not None and state.provider == "anthropic":
            if state.redacted:
                yield {"type": "redacted_thinking", "data": state.data}
            else:
                yield {"type": "thinking", "thinking": part.text, "signature": state.data}
        elif part.text or state is not None:
            self._losses.add("messages.reasoning")

    def _call(self, call: ToolCall) -> Block:
        if call.signature is not None:
            self._losses.add("messages.reasoning")
        given = {"input": call.arguments} if call.custom else arguments_object(call.arguments)
        id = legal_id(call.id or "", ANTHROPIC_IDS)
        return _marked({"type": "tool_use", "id": id, "name": self._naming.legal(call.name), "input": given}, call.cache)

    def _result(self, result: ToolResult, turn: Turn) -> Block:
        block: Block = {"type": "tool_result", "tool_use_id": legal_id(result.call_id, ANTHROPIC_IDS)}
        content: list[Block] = []
        for part in result.parts:
            if isinstance(part, Attachment):
                content.extend(self._attachment(part, turn))
            elif part.text.strip():
                content.append(_text(part))
        if content:
            block["content"] = _plain(content)
        if result.error:
            block["is_error"] = True
        return _marked(block, result.cache)

    def _attachment(self, attachment: Attachment, turn: Turn) -> Iterator[Block]:
        match attachment.kind:
            case "image":
                yield _marked({"type": "image", "source": _image_source(attachment, turn)}, attachment.cache)
            case "document":
                yield _document(attachment, turn)
            case _:
                raise cannot_carry(attachment, turn)


def _text(part: Text) -> Block:
    return _marked({"type": "text", "text": part.text}, part.cache)


def _marked(block: Block, cache: object) -> Block:
    if cache is not None:
        block[_CACHE] = cache
    return block


def _image_source(image: Attachment, turn: Turn) -> Block:
    match image.source:
        case Inline(data):
            if image.media_type not in _IMAGES:
                raise Untranslatable(f"Images of type {image.media_type} are not supported by the target model", param=turn.where)
            return {"type": "base64", "media_type": image.media_type, "data": data}
        case Link(url) if url[:4].lower() == "http":
            return {"type": "url", "url": url}
        case FileRef("anthropic", id):
            return {"type": "file", "file_id": id}
        case FileRef() | Link():
            raise _elsewhere(turn)
        case Written():
            raise cannot_carry(image, turn)


def _document(document: Attachment, turn: Turn) -> Block:
    block: Block = {"type": "document", "source": _document_source(document, turn)}
    if document.name:
        block["title"] = document.name
    if document.context:
        block["context"] = document.context
    if document.citations:
        block["citations"] = {"enabled": True}
    return _marked(block, document.cache)


def _document_source(document: Attachment, turn: Turn) -> Block:
    match document.source:
        case Inline(data) if document.media_type == "application/pdf":
            return {"type": "base64", "media_type": "application/pdf", "data": data}
        case Inline() if (document.media_type or "").startswith("text/") or document.media_type == "application/json":
            return {"type": "text", "media_type": "text/plain", "data": inline_text(document.source, turn.where)}
        case Inline():
            raise Untranslatable(f"Documents of type {document.media_type} are not supported by the target model", param=turn.where)
        case Written(text):
            return {"type": "text", "media_type": "text/plain", "data": text}
        case Link(url) if url[:4].lower() == "http":
            return {"type": "url", "url": url}
        case FileRef("anthropic", id):
            return {"type": "file", "file_id": id}
        case _:
            raise _elsewhere(turn)


def _elsewhere(turn: Turn) -> Untranslatable:
    return Untranslatable("A file that was uploaded to another provider cannot be read by the target model", param=turn.where)
