"""Messages of any dialect -> messages of parts, as the GenAI conventions 1.37 and later tell a conversation.

Rows keep a conversation in the words of its own dialect (chat, Responses, Claude's blocks, Gemini's parts) or as an app told it; this is
the one form that collectors are told. A part that has no word there is handed on as it is: the conventions allow any `type`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

Part = dict[str, Any]

_ROLES: Final[Mapping[str, str]] = {"model": "assistant", "developer": "system", "function": "tool"}
_TEXTS: Final = frozenset({"text", "input_text", "output_text", "refusal", "summary_text", "reasoning_text"})


def input_messages(messages: Iterable[Any], *, instructions_apart: bool) -> tuple[list[Part], list[dict[str, Any]]]:
    """(the instructions as parts, the conversation as messages). Instructions stay in the conversation unless they came `apart` from it."""
    told = [told for message in messages if (told := _message(message)) is not None]
    first = 0
    while instructions_apart and first < len(told) and told[first]["role"] == "system":
        first += 1
    return [part for message in told[:first] for part in message["parts"]], told[first:]


def output_messages(messages: Iterable[Any], finish_reason: str | None) -> list[dict[str, Any]]:
    """What was answered, one message a choice, each with why it ended (required there)."""
    told = [told for message in messages if (told := _message(message, "assistant")) is not None]
    return [{**message, "finish_reason": message.get("finish_reason") or finish_reason or "stop"} for message in told]


def tool_definitions(tools: Any) -> list[Any]:
    """What a model was offered: functions with name, description and parameters, hosted tools as they were said."""
    return [told for tool in (tools if isinstance(tools, list) else []) for told in _definitions(tool)]


def _message(message: Any, role: str = "user") -> dict[str, Any] | None:
    if not isinstance(message, Mapping):
        return None if message is None else {"role": role, "parts": [_text(message)]}
    said = message.get("role") if isinstance(message.get("role"), str) else None
    told: dict[str, Any] = {"role": _ROLES.get(said, said) if said else _role_of_item(message, role)}
    if isinstance(name := message.get("name"), str) and said:
        told["name"] = name
    if isinstance(reason := message.get("finish_reason"), str):
        told["finish_reason"] = reason
    told["parts"] = _parts(message)
    return told


def _role_of_item(item: Mapping[str, Any], role: str) -> str:
    """Items of Responses that are no messages have no role: calls are the model's, their results the tool's."""
    match item.get("type"):
        case str(kind) if kind.endswith("_output"):
            return "tool"
        case "reasoning":
            return "assistant"
        case str(kind) if kind.endswith("_call"):
            return "assistant"
    return role


def _parts(message: Mapping[str, Any]) -> list[Part]:
    content = message.get("content")
    if message.get("role") in ("tool", "function") and "parts" not in message:
        return [{"type": "tool_call_response", "id": message.get("tool_call_id") or message.get("name"), "response": _answer(content)}]
    parts: list[Part] = []
    if reasoning := message.get("reasoning_content"):
        parts.append({"type": "reasoning", "content": str(reasoning)})
    if isinstance(inner := message.get("parts"), list):
        parts += [_part(part) for part in inner]
    elif "content" not in message and "role" not in message and "type" in message:
        parts.append(_part(message))  # an item of Responses
    elif isinstance(content, list):
        parts += [_part(part) for part in content]
    elif isinstance(content, Mapping):
        parts += [_part(part) for part in content["parts"]] if isinstance(content.get("parts"), list) else [_part(content)]
    elif content is not None and content != "":
        parts.append(_text(content))
    if refusal := message.get("refusal"):
        parts.append(_text(refusal))
    calls = message.get("tool_calls")
    parts += [_call(call) for call in (calls if isinstance(calls, list) else []) if isinstance(call, Mapping)]
    return parts


def _text(said: Any) -> Part:
    return {"type": "text", "content": said if isinstance(said, str) else str(said)}


def _answer(content: Any) -> Any:
    """A result's text, where its content is one; blocks of a single text are that text."""
    match content:
        case [{"type": "text" | "input_text" | "output_text", "text": str(text)}]:
            return text
    return "" if content is None else content


def _call(call: Mapping[str, Any]) -> Part:
    function = call.get("function")
    inner = function if isinstance(function, Mapping) else call
    arguments = next((inner[name] for name in ("arguments", "input", "args") if inner.get(name) is not None), None)
    return {
        "type": "tool_call",
        "id": call.get("call_id") or call.get("id"),
        "name": str(inner.get("name") or ""),
        "arguments": _parsed(arguments) if isinstance(arguments, str) else arguments,
    }


def _parsed(text: str) -> Any:
    """Arguments as the object they are; half of one, from a stream that broke, as its text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _part(part: Any) -> Part:
    if not isinstance(part, Mapping):
        return _text(part)
    match part:
        # The conventions' own, and whatever says its type and content as they do.
        case {"type": "text" | "reasoning", "content": str()} | {"type": "tool_call", "name": str()} | {"type": "tool_call_response"}:
            return dict(part)
        case {"type": str(kind), "text": str(text)} if kind in _TEXTS:
            return _text(text)
        case {"type": "refusal", "refusal": str(text)}:
            return _text(text)
        # Claude
        case {"type": "thinking", "thinking": str(text)}:
            return {"type": "reasoning", "content": text}
        case {"type": "tool_use" | "function_call"}:
            return _call(part)
        case {"type": "tool_result"}:
            return {"type": "tool_call_response", "id": part.get("tool_use_id"), "response": _answer(part.get("content"))}
        case {"type": str(kind), "source": {"type": "base64", "data": str(data)} as source}:
            return _blob(kind, source.get("media_type"), data)
        case {"type": str(kind), "source": {"type": "url", "url": str(url)}}:
            return {"type": "uri", "modality": _modality(kind, None), "mime_type": None, "uri": url}
        # Responses
        case {"type": "function_call_output"}:
            return {"type": "tool_call_response", "id": part.get("call_id"), "response": _answer(part.get("output"))}
        case {"type": "reasoning"}:
            thoughts = [item for name in ("summary", "content") if isinstance(item := part.get(name), list)]
            texts = [str(item.get("text", "")) for items in thoughts for item in items if isinstance(item, Mapping)]
            return {"type": "reasoning", "content": "\n".join(filter(None, texts))}
        # Chat, and images of Responses
        case {"type": "image_url" | "input_image", "image_url": {"url": str(url)} | str(url)}:
            return _address("image", url)
        case {"type": "input_audio", "input_audio": {"data": str(data)} as audio}:
            return _blob("audio", f"audio/{audio.get('format') or 'wav'}", data)
        case {"type": "file" | "input_file"}:
            return _file(part)
        # Gemini, in both spellings
        case {"text": str(text)} if "type" not in part:
            return {"type": "reasoning" if part.get("thought") else "text", "content": text}
        case {"inlineData": {"data": str(data)} as source} | {"inline_data": {"data": str(data)} as source}:
            return _blob("", source.get("mimeType") or source.get("mime_type"), data)
        case {"fileData": Mapping() as place} | {"file_data": Mapping() as place}:
            mime_type = place.get("mimeType") or place.get("mime_type")
            uri = str(place.get("fileUri") or place.get("file_uri") or "")
            return {"type": "uri", "modality": _modality("", mime_type), "mime_type": mime_type, "uri": uri}
        case {"functionCall": Mapping() as call} | {"function_call": Mapping() as call}:
            return _call(call)
        case {"functionResponse": Mapping() as answer} | {"function_response": Mapping() as answer}:
            return {"type": "tool_call_response", "id": answer.get("id") or answer.get("name"), "response": answer.get("response")}
    return dict(part) if isinstance(part.get("type"), str) else {**part, "type": "unknown"}


def _file(part: Mapping[str, Any]) -> Part:
    inner = part.get("file")
    file = inner if isinstance(inner, Mapping) else part
    if isinstance(data := file.get("file_data"), str):
        return _address("", data)
    if isinstance(url := file.get("file_url"), str):
        return _address("", url)
    return {"type": "file", "modality": "", "mime_type": None, "file_id": str(file.get("file_id") or "")}


def _address(modality: str, url: str) -> Part:
    """An address, or what a `data:` address holds."""
    head, comma, data = url.partition(";base64,")
    if comma and head.startswith("data:"):
        return _blob(modality, head[5:], data)
    return {"type": "uri", "modality": modality, "mime_type": None, "uri": url}


def _blob(kind: str, mime_type: Any, data: str) -> Part:
    mime_type = mime_type if isinstance(mime_type, str) else None
    return {"type": "blob", "modality": _modality(kind, mime_type), "mime_type": mime_type, "content": data}


def _modality(kind: str, mime_type: str | None) -> str:
    return kind if kind in ("image", "audio", "video") else (mime_type or "").partition("/")[0] or kind


def _definitions(tool: Any) -> list[Any]:
    match tool:
        case {"function": {"name": str()} as function}:
            return [{"type": "function", **function}]
        case {"name": str(name), "input_schema": schema}:
            return [{"type": "function", "name": name, "description": tool.get("description"), "parameters": schema}]
        case {"functionDeclarations": list(functions)} | {"function_declarations": list(functions)}:
            return [{"type": "function", **function} for function in functions if isinstance(function, dict)]
        case {"type": str()}:
            return [tool]
        case {"name": str(), "parameters": _}:
            return [{"type": "function", **tool}]
    return [tool]
