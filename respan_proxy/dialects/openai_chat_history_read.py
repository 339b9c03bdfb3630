"""Chat messages read into neutral turns: roles, parts, calls and their results, thinking that came back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from respan_proxy.dialects.asked import Asked, compact, wrong
from respan_proxy.dialects.attachments import data_url, image_at, inline_text, sniffed, standard_base64
from respan_proxy.dialects.chat import Reasoning, Refusal, Text, ToolCall
from respan_proxy.dialects.crossing import signed
from respan_proxy.dialects.events import Opaque
from respan_proxy.dialects.openai_chat_state import detail_state, google_signature
from respan_proxy.dialects.request import Attachment, FileRef, Inline, Kind, Link, Part, ToolResult, Turn, Written

_SYSTEM = ("system", "developer")
_ROLES = "system, developer, user, assistant, tool or function"
# What a message of the assistant may hold besides its content.
_THOUGHTS = frozenset(("reasoning_details", "thinking_blocks", "reasoning_content", "reasoning"))
_BESIDES = _THOUGHTS | {"extra_content", "refusal", "audio", "images", "tool_calls", "function_call"}
_SOUNDS: Mapping[str, str] = {"wav": "audio/wav", "mp3": "audio/mp3"}


def read_messages(asked: Asked) -> tuple[tuple[Text, ...], tuple[Turn, ...]]:
    """(leading system texts, turns)."""
    messages = asked.objects("messages")
    leading = 0
    while leading < len(messages) and messages[leading].text("role") in _SYSTEM:
        leading += 1
    system = tuple([text for message in messages[:leading] for text in _texts(message)])
    history = _History()
    return system, tuple([history.turn(messages[index], f"messages[{index}].content") for index in range(leading, len(messages))])


class _History:
    """What earlier messages said that later ones depend on: legacy calls have no ids, their results only names."""

    def __init__(self) -> None:
        self.unanswered: list[tuple[str, str]] = []  # (name, id we gave it)
        self.given = 0

    def turn(self, message: Asked, where: str) -> Turn:
        match message.one_text("role"):
            case "user":
                return Turn("user", tuple(_content(message, _user_part)), where)
            case "assistant":
                return Turn("assistant", tuple(self._assistant(message)), where)
            case "tool":
                result = ToolResult(message.one_text("tool_call_id"), _result(message), cache=_cache(message))
                return Turn("user", (result,), where)
            case "function":
                name = message.one_text("name")
                return Turn("user", (ToolResult(self._answered(name), _result(message), name=name),), where)
            case "system" | "developer":
                return Turn("system", tuple(_texts(message)), where)
            case role:
                raise wrong(message.path("role"), role, f"one of {_ROLES}")

    def _answered(self, name: str) -> str:
        for index, (called, id) in enumerate(self.unanswered):
            if called == name:
                del self.unanswered[index]
                return id
        return self._new_id()

    def _new_id(self) -> str:
        self.given += 1
        return f"call_{self.given}"

    def _assistant(self, message: Asked) -> Iterable[Part]:
        said = _content(message, _assistant_part)
        told = [name for name, value in message.members.items() if value is not None and name in _BESIDES]
        if not told:
            return said
        parts: list[Part] = [] if _THOUGHTS.isdisjoint(told) else list(_thinking(message))
        thinks = bool(parts)
        if "extra_content" in told:
            said = _signed_text(said, google_signature(message.members["extra_content"]))
        parts += said
        if refusal := message.text("refusal"):
            parts.append(Refusal(refusal))
        if audio := message.object("audio"):
            parts.append(Attachment("audio", FileRef("openai", audio.one_text("id"))))
        for image in message.objects("images"):  # our own extension, sent back
            parts.append(image_at(image.one_object("image_url").one_text("url"), image.path("image_url.url")))
        parts += map(_call, message.objects("tool_calls"))
        if legacy := message.object("function_call"):
            name, id = legacy.one_text("name"), self._new_id()
            self.unanswered.append((name, id))
            parts.append(ToolCall(id, name, legacy.text("arguments") or ""))
        return signed(iter(parts)) if thinks else parts


def _signed_text(parts: list[Part], signature: Opaque | None) -> list[Part]:
    """Gemini's signature of the text, on the first of it; by itself where there is none."""
    if signature is None:
        return parts
    for index, part in enumerate(parts):
        if isinstance(part, Text):
            return [*parts[:index], Text(part.text, signature, part.cache), *parts[index + 1 :]]
    return [*parts, Text("", signature)]


def _call(call: Asked) -> ToolCall:
    custom = call.text("type") == "custom" or "custom" in call.members
    function = call.one_object("custom" if custom else "function")
    arguments = function.members.get("input" if custom else "arguments")
    if isinstance(arguments, dict):  # as Mistral and Ollama say them
        arguments = compact(arguments, function.path("arguments"))
    elif arguments is not None and not isinstance(arguments, str):
        raise wrong(function.path("input" if custom else "arguments"), arguments, "a string")
    signature = google_signature(extra) if (extra := call.members.get("extra_content")) is not None else None
    return ToolCall(call.one_text("id"), function.one_text("name"), arguments or "", custom, signature, _cache(call))


def _thinking(message: Asked) -> Iterator[Reasoning]:
    """Thinking that came back, by the extension that keeps most of it."""
    if details := message.objects("reasoning_details"):
        for entry in details:
            text, state = entry.text("text") or entry.text("summary") or "", detail_state(entry.members)
            if text or state:
                yield Reasoning(text, state)
    elif blocks := message.objects("thinking_blocks"):  # LiteLLM's
        for block in blocks:
            data, signature = block.text("data"), block.text("signature")
            if data:
                yield Reasoning("", Opaque("anthropic", data, redacted=True))
            else:
                yield Reasoning(block.text("thinking") or "", Opaque("anthropic", signature) if signature else None)
    else:
        for name in ("reasoning_content", "reasoning"):
            value = message.members.get(name)
            if isinstance(value, str) and value:
                yield Reasoning(value)
                return


# ------------------------------------------------------------------------------------------------------------------- parts


def _content(message: Asked, part: Callable[[Asked], Part]) -> list[Part]:
    content = message.members.get("content")
    if isinstance(content, str):
        return [Text(content, None, _cache(message))] if content else []
    if content is None:
        return []
    if isinstance(content, list):
        return [part(item) for item in message.objects("content")]
    raise wrong(message.path("content"), content, "a string or an array of parts")


def _texts(message: Asked) -> list[Text]:
    return [part for part in _content(message, _text_part) if isinstance(part, Text)]


def _result(message: Asked) -> tuple[Text | Attachment, ...]:
    return tuple([part for part in _content(message, _user_part) if isinstance(part, (Text, Attachment))])


def _text_part(part: Asked) -> Part:
    if part.text("type") != "text":
        raise wrong(part.path("type"), part.members.get("type"), "'text'")
    return Text(part.one_text("text"), cache=_cache(part))


def _assistant_part(part: Asked) -> Part:
    match part.text("type"):
        case "text":
            return Text(part.one_text("text"), cache=_cache(part))
        case "refusal":
            return Refusal(part.one_text("refusal"))
        case "image_url":
            return _image(part)
        case kind:
            raise wrong(part.path("type"), kind, "'text' or 'refusal'")


def _user_part(part: Asked) -> Part:
    match part.text("type"):
        case "text":
            return Text(part.one_text("text"), cache=_cache(part))
        case "image_url":
            return _image(part)
        case "input_audio":
            sound = part.one_object("input_audio")
            format = sound.one_text("format")
            data = Inline(standard_base64(sound.one_text("data"), sound.path("data")))
            return Attachment("audio", data, _SOUNDS.get(format, f"audio/{format}"), cache=_cache(part))
        case "file":
            return _file(part)
        case "video_url":  # OpenRouter, vLLM
            return _inline_or_link("video", part.one_object("video_url"), "url", part)
        case kind:
            raise wrong(part.path("type"), kind, "one of text, image_url, input_audio, file")


def _image(part: Asked) -> Attachment:
    if isinstance(part.members.get("image_url"), str):
        return image_at(part.one_text("image_url"), part.path("image_url"), cache=_cache(part))
    image = part.one_object("image_url")
    return image_at(image.one_text("url"), image.path("url"), detail=image.text("detail"), cache=_cache(part))


def _inline_or_link(kind: Kind, of: Asked, name: str, part: Asked) -> Attachment:
    url = of.one_text(name)
    if inline := data_url(url, of.path(name)):
        return Attachment(kind, inline[1], inline[0], cache=_cache(part))
    return Attachment(kind, Link(url), cache=_cache(part))


def _file(part: Asked) -> Attachment:
    file = part.one_object("file")
    name, cache = file.text("filename"), _cache(part)
    if id := file.text("file_id"):
        return Attachment("document", FileRef("openai", id), name=name, cache=cache)
    data, where = file.one_text("file_data"), file.path("file_data")
    if data[:4].lower() == "http":  # OpenRouter
        return Attachment("document", Link(data), name=name, cache=cache)
    media_type, source = data_url(data, where) or (None, Inline(standard_base64(data, where)))
    media_type = media_type or sniffed(source)
    if (media_type or "").startswith("text/"):
        return Attachment("document", Written(inline_text(source, where)), media_type, name, cache=cache)
    kinds: Mapping[str, Kind] = {"image": "image", "audio": "audio", "video": "video"}
    return Attachment(kinds.get((media_type or "").split("/")[0], "document"), source, media_type, name, cache=cache)


def _cache(part: Asked) -> Mapping[str, Any] | None:
    """A cache mark in either spelling. The lifetimes of OpenAI's have no counterpart at Anthropic: only that it is there is kept."""
    if "cache_control" in part.members and (marked := part.mapping("cache_control")):
        return marked
    return {"type": "ephemeral"} if "prompt_cache_breakpoint" in part.members and part.mapping("prompt_cache_breakpoint") else None
