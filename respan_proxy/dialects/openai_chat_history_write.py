"""Neutral turns written as chat messages: results right after their calls, pictures of results in a user message behind them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from respan_proxy.dialects.attachments import DETAILS, as_data_url, inline_text
from respan_proxy.dialects.chat import Reasoning, Refusal, Text, ToolCall
from respan_proxy.dialects.crossing import answered, cannot_carry, foreign_block
from respan_proxy.dialects.free_text import as_arguments
from respan_proxy.dialects.names import CHAT_IDS, NINE_IDS, Naming, legal_id
from respan_proxy.dialects.openai_chat_state import detail, google_extra
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

_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mp3": "mp3", "audio/mpeg": "mp3"}
_NAMES = {"application/pdf": "document.pdf"}

Message = dict[str, Any]


def write_messages(request: ChatRequest, profile: Profile, naming: Naming, losses: Losses) -> list[Message]:
    writing = _Writing(profile, naming, losses)
    messages: list[Message] = []
    if system := [part for part in request.system if part.text]:
        messages.append({"role": "system", "content": writing.content(system)})
    for turns in _steps(answered(request.turns, losses)):
        match turns[0].role:
            case "user":
                messages.extend(writing.user(turns))
            case "assistant":
                messages.extend(message for turn in turns if (message := writing.assistant(turn)))
            case "system":
                texts = [[part for part in turn.parts if isinstance(part, Text) and part.text] for turn in turns]
                messages.extend({"role": "system", "content": writing.content(said)} for said in texts if said)
    return messages


def _steps(turns: Iterable[Turn]) -> Iterator[list[Turn]]:
    """Neighbouring turns of one role."""
    step: list[Turn] = []
    for turn in turns:
        if step and step[0].role != turn.role:
            yield step
            step = []
        step.append(turn)
    if step:
        yield step


class _Writing:
    """What messages are written with."""

    def __init__(self, profile: Profile, naming: Naming, losses: Losses) -> None:
        self._profile = profile
        self._naming = naming
        self._losses = losses
        self._ids: re.Pattern[str] = NINE_IDS if profile.call_ids == "nine" else CHAT_IDS

    def _takes(self, extension: str) -> bool:
        return extension in self._profile.extra_params

    # ------------------------------------------------------------------------------------------------------------ user

    def user(self, turns: Sequence[Turn]) -> Iterator[Message]:
        """All results of the step first, because a call must be followed by nothing but results; then each turn's other content."""
        for turn in turns:
            yield from (self._result(part) for part in turn.parts if isinstance(part, ToolResult))
        for turn in turns:
            parts = [*self._result_attachments(turn), *(part for part in turn.parts if not isinstance(part, ToolResult))]
            if content := [item for part in parts for item in self._user_part(part, turn)]:
                yield {"role": "user", "content": _plain(content)}

    def _result(self, result: ToolResult) -> Message:
        text = "\n".join(part.text for part in result.parts if isinstance(part, Text))
        if result.error:
            self._losses.add("messages.tool_result.is_error")
            text = text or "Error"
        return {"role": "tool", "tool_call_id": legal_id(result.call_id, self._ids), "content": text}

    def _result_attachments(self, turn: Turn) -> Iterator[Part]:
        """Tool messages take only text."""
        for result in turn.parts:
            if isinstance(result, ToolResult) and (attached := [part for part in result.parts if isinstance(part, Attachment)]):
                yield Text(f"Attachments of tool result {legal_id(result.call_id, self._ids)}:")
                yield from attached

    def _user_part(self, part: Part, turn: Turn) -> Iterator[dict[str, Any]]:
        match part:
            case Text(text) | Refusal(text):
                if text:
                    yield self._text(part)
            case Attachment():
                yield self._attachment(part, turn)
            case HostedBlock():
                foreign_block(part, turn, self._losses)
            case _:
                raise Untranslatable("A user message holds what only an assistant can say", param=turn.where)

    def content(self, texts: Sequence[Text]) -> str | list[dict[str, Any]]:
        return _plain([self._text(text) for text in texts])

    def _text(self, part: Text | Refusal) -> dict[str, Any]:
        return self._marked({"type": "text", "text": part.text}, part.cache if isinstance(part, Text) else None)

    def _marked(self, written: dict[str, Any], cache: object) -> dict[str, Any]:
        """OpenAI caches by itself; only servers that pass marks on to Claude are sent them."""
        if cache is not None and self._takes("cache_control"):
            written["cache_control"] = cache
        return written

    # ------------------------------------------------------------------------------------------------------- assistant

    def assistant(self, turn: Turn) -> Message | None:
        message: Message = {"role": "assistant", "content": None}
        said: list[str] = []
        refused: list[str] = []
        calls: list[dict[str, Any]] = []
        thinking: list[Reasoning] = []
        for part in turn.parts:
            match part:
                case Text():
                    said.append(part.text)
                    if part.signature is not None and not self._sign(message, part):
                        self._losses.add("messages.reasoning")
                case Refusal(text):
                    refused.append(text)
                case Reasoning():
                    thinking.append(part)
                case ToolCall():
                    calls.append(self._call(part))
                case Attachment():
                    self._losses.add(f"messages.{part.kind}")  # a generated one has no place in a chat message
                case HostedBlock():
                    foreign_block(part, turn, self._losses)
                case ToolResult():
                    raise Untranslatable("An assistant message holds a tool result", param=turn.where)
        if text := "".join(said):
            message["content"] = text
        if refusal := "".join(refused):
            message["refusal"] = refusal
        if calls:
            message["tool_calls"] = calls
        self._think(message, thinking)
        return message if text or refusal or calls else None

    def _sign(self, message: Message, part: Text) -> bool:
        if part.signature is None or not self._takes("extra_content"):
            return False
        message["extra_content"] = google_extra(part.signature)
        return True

    def _think(self, message: Message, thinking: list[Reasoning]) -> None:
        """Thinking goes back only to servers that want it: OpenAI keeps its own, and refuses members it does not know."""
        lost = [part for part in thinking if part.text or part.opaque is not None]
        if self._takes("reasoning_details") and any(part.opaque for part in lost):
            message["reasoning_details"] = [detail(part.text, part.opaque, index) for index, part in enumerate(lost) if part.opaque]
            lost = [part for part in lost if part.opaque is None]
        if self._profile.replays_reasoning and "tool_calls" in message and (text := "".join(part.text for part in thinking)):
            message["reasoning_content"] = text
            lost = [part for part in lost if part.opaque is not None]
        if lost:
            self._losses.add("messages.reasoning")

    def _call(self, call: ToolCall) -> dict[str, Any]:
        id, name = legal_id(call.id or "", self._ids), self._naming.legal(call.name)
        written: dict[str, Any]
        if call.custom and "tools.custom" not in self._profile.refuses:
            written = {"id": id, "type": "custom", "custom": {"name": name, "input": call.arguments}}
        else:
            arguments = as_arguments(call.arguments) if call.custom else call.arguments or "{}"
            written = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
        if call.signature is not None:
            if self._takes("extra_content"):
                written["extra_content"] = google_extra(call.signature)
            else:
                self._losses.add("messages.reasoning")
        return written

    # ----------------------------------------------------------------------------------------------------- attachments

    def _attachment(self, attachment: Attachment, turn: Turn) -> dict[str, Any]:
        match attachment.kind:
            case "image":
                written = self._image(attachment, turn)
            case "audio":
                written = _sound(attachment, turn)
            case "document":
                written = self._document(attachment, turn)
            case _:
                raise cannot_carry(attachment, turn)
        return self._marked(written, attachment.cache)

    def _image(self, image: Attachment, turn: Turn) -> dict[str, Any]:
        match image.source:
            case Inline():
                url = as_data_url(image.media_type, image.source)
            case Link(url) if url[:4].lower() == "http":
                pass
            case _:
                raise _elsewhere(turn)
        detail = {"detail": image.detail} if image.detail in DETAILS else {}
        return {"type": "image_url", "image_url": {"url": url, **detail}}

    def _document(self, document: Attachment, turn: Turn) -> dict[str, Any]:
        if document.context:
            self._losses.add("messages.document.context")
        if document.citations:
            self._losses.add("messages.document.citations")
        match document.source:
            case Written(text):
                return _titled(document.name, text)
            case Inline() if (document.media_type or "").startswith("text/"):
                return _titled(document.name, inline_text(document.source, turn.where))
            case Inline():
                name = document.name or _NAMES.get(document.media_type or "", "document")
                return {"type": "file", "file": {"filename": name, "file_data": as_data_url(document.media_type, document.source)}}
            case FileRef("openai", id):
                return {"type": "file", "file": {"file_id": id}}
            case FileRef():
                raise _elsewhere(turn)
            case Link():
                raise Untranslatable("Documents by URL are not supported by the target model", param=turn.where)


def _plain(content: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """A lone text without marks is written as a string."""
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        text: str = content[0]["text"]
        return text
    return content


def _titled(name: str | None, text: str) -> dict[str, Any]:
    return {"type": "text", "text": f"{name}\n{text}" if name else text}


def _sound(sound: Attachment, turn: Turn) -> dict[str, Any]:
    format = _FORMATS.get(sound.media_type or "")
    if not isinstance(sound.source, Inline) or format is None:
        raise cannot_carry(sound, turn)
    return {"type": "input_audio", "input_audio": {"data": sound.source.data, "format": format}}


def _elsewhere(turn: Turn) -> Untranslatable:
    return Untranslatable("A file that was uploaded to another provider cannot be read by the target model", param=turn.where)
