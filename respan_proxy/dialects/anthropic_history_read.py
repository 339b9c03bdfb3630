"""Anthropic messages read into neutral turns: every block of content, and state of other providers that comes back in signatures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from respan_proxy.dialects.asked import Asked, compact, missing, wrong
from respan_proxy.dialects.attachments import image_at, sniffed, standard_base64
from respan_proxy.dialects.chat import Reasoning, Text, ToolCall
from respan_proxy.dialects.crossing import signed
from respan_proxy.dialects.events import Opaque
from respan_proxy.dialects.request import Attachment, FileRef, HostedBlock, Inline, Link, Part, ToolResult, Turn, Written
from respan_proxy.errors import RequestRejected

_DEEPEST = 4  # a document in a result in a message is 2
_EXPECTED = "a kind of content block that can be carried (text, image, document, search_result, thinking, tool_use, tool_result)"


def read_system(asked: Asked) -> tuple[Text, ...]:
    return tuple([part for part in _blocks(asked, "system") if isinstance(part, Text)])


def read_messages(asked: Asked) -> tuple[Turn, ...]:
    if asked.members.get("messages") is None:
        raise missing("messages", "an array")
    return tuple([_turn(message, f"messages[{index}].content") for index, message in enumerate(asked.objects("messages"))])


def _turn(message: Asked, where: str) -> Turn:
    role, parts = message.one_text("role"), _blocks(message, "content")
    if Reasoning in map(type, parts):
        parts = list(signed(iter(parts)))
    match role:
        case "user" | "assistant" | "system":
            return Turn(role, tuple(parts), where)
        case _:
            raise wrong(message.path("role"), role, "'user', 'assistant' or 'system'")


def _blocks(asked: Asked, member: str, depth: int = 0) -> list[Part]:
    content = asked.members.get(member)
    if isinstance(content, str):
        return [Text(content)] if content else []
    if content is not None and not isinstance(content, list):
        raise wrong(asked.path(member), content, "a string or an array of blocks")
    if depth > _DEEPEST:
        raise RequestRejected(f"'{asked.where}' is nested too deeply", param=asked.where, code="invalid_value")
    return [part for block in asked.objects(member) for part in _block(block, depth)]


def _inner(block: Asked, depth: int) -> Iterator[Text | Attachment]:
    """What a result, a document or a search result may hold."""
    for part in _blocks(block, "content", depth + 1):
        if not isinstance(part, (Text, Attachment)):
            raise RequestRejected(f"'{block.path('content')}' holds blocks that only a message may hold", param=block.path("content"))
        yield part


def _block(block: Asked, depth: int) -> Iterable[Part]:
    cache = block.mapping("cache_control") if "cache_control" in block.members else None
    match block.text("type"):
        case "text":
            return [Text(block.one_text("text"), cache=cache)]
        case "thinking":
            return [Reasoning(block.text("thinking") or "", _state(block.text("signature")))]
        case "redacted_thinking":
            return [Reasoning("", Opaque("anthropic", block.one_text("data"), redacted=True))]
        case "tool_use":
            arguments = compact(block.one_object("input").members, block.path("input"))
            return [ToolCall(block.one_text("id"), block.one_text("name"), arguments, cache=cache)]
        case "tool_result":
            return [ToolResult(block.one_text("tool_use_id"), tuple(_inner(block, depth)), block.flag("is_error") or False, cache=cache)]
        case "image":
            return [_image(block, cache)]
        case "document":
            return _document(block, cache, depth)
        case "search_result":
            body = "".join(text.text for text in _inner(block, depth) if isinstance(text, Text))
            return [Text("\n".join((block.text("title") or "", block.text("source") or "", body)), cache=cache)]
        case "tool_reference":
            return [Text(block.one_text("tool_name"))]
        case "container_upload":
            return [Attachment("document", FileRef("anthropic", block.one_text("file_id")), cache=cache)]
        case "server_tool_use":
            name = block.one_text("name")
            return [HostedBlock("anthropic.messages", name, block.members, name == "web_search")]
        case str(kind) if kind.endswith("_tool_result"):
            return [HostedBlock("anthropic.messages", kind, block.members, kind == "web_search_tool_result")]
        case kind:
            raise wrong(block.path("type"), kind, _EXPECTED)


def _state(signature: str | None) -> Opaque | None:
    """A signature with a tag of ours is another provider's state; without one it is Claude's own; the empty one is none."""
    if not signature:
        return None
    return Opaque.untagged(signature) or Opaque("anthropic", signature)


def _image(block: Asked, cache: Mapping[str, Any] | None) -> Attachment:
    source = block.one_object("source")
    match source.text("type"):
        case "base64":
            data = Inline(standard_base64(source.one_text("data"), source.path("data")))
            return Attachment("image", data, sniffed(data) or source.text("media_type"), cache=cache)
        case "url":
            return image_at(source.one_text("url"), source.path("url"), cache=cache)
        case "file":
            return Attachment("image", FileRef("anthropic", source.one_text("file_id")), cache=cache)
        case kind:
            raise wrong(source.path("type"), kind, "'base64', 'url' or 'file'")


def _document(block: Asked, cache: Mapping[str, Any] | None, depth: int) -> Iterator[Attachment]:
    source = block.one_object("source")
    citations = block.object("citations")
    told: dict[str, Any] = {
        "name": block.text("title"),
        "context": block.text("context"),
        "citations": bool(citations and citations.flag("enabled")),
        "cache": cache,
    }
    match source.text("type"):
        case "base64":
            data = Inline(standard_base64(source.one_text("data"), source.path("data")))
            yield Attachment("document", data, source.text("media_type") or "application/pdf", **told)
        case "text":
            yield Attachment("document", Written(source.one_text("data")), "text/plain", **told)
        case "content":
            parts = list(_inner(source, depth))
            text = "".join(part.text for part in parts if isinstance(part, Text))
            yield Attachment("document", Written(text), "text/plain", **told)
            yield from (part for part in parts if isinstance(part, Attachment))
        case "url":
            yield Attachment("document", Link(source.one_text("url")), None, **told)
        case "file":
            yield Attachment("document", FileRef("anthropic", source.one_text("file_id")), None, **told)
        case kind:
            raise wrong(source.path("type"), kind, "'base64', 'text', 'content', 'url' or 'file'")
