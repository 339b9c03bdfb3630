"""One conversation out of whatever an app told of it: messages in the form of OpenAI's chat, as Respan shows them.

Sources: numbered attributes (traceloop, OpenInference), message events (GenAI 1.28 to 1.36), messages of parts (1.37 and later), and the
plain input and output of a span.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from respan_proxy.dialects.lenient import json_text
from respan_proxy.telemetry.attributes import Family, parsed
from respan_proxy.telemetry.spans import Event

Numbered = dict[Family, Any]
Listed = dict[int, Numbered]
"""A list that came as numbered attributes: its places, and what is said at each."""

Message = dict[str, Any]

_PROMPTS: Final = ("gen_ai.prompt", "llm.input_messages", "llm.prompts")
_COMPLETIONS: Final = ("gen_ai.completion", "llm.output_messages", "llm.completions")
_EVENT_ROLES: Final[Mapping[str, str]] = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
    "gen_ai.choice": "assistant",
}
_MESSAGE: Final = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal", "reasoning_content", "reasoning_details"}
    | {"thinking_blocks", "annotations", "audio", "finish_reason"}
)
_SIMPLE: Final = frozenset({"role", "name", "tool_call_id", "finish_reason", "refusal", "reasoning_content"})

# As input or output of a call that failed: results of a batch have them.
_NOTHING: Final = frozenset({"", "[]", "{}", "null"})


def collect(families: dict[str, Listed], family: Family, value: Any) -> None:
    families.setdefault(family.name, {}).setdefault(family.index, {})[family] = value


def prompts(
    found: Mapping[str, Any], families: Mapping[str, Listed], events: Iterable[Event], *, is_generation: bool
) -> list[Message] | None:
    """What was asked. The plain input of a span that calls no model is no message."""
    for name in _PROMPTS:
        if listed := families.get(name):
            numbered = [{"role": "user", **_numbered(listed[index])} for index in sorted(listed)]
            return _instructed(found, _named(numbered, asked(found.get("input"))))
    if messages := _of_parts(found.get("input_messages")):
        return _instructed(found, messages)
    if messages := [_of_event(event) for event in events if event.name in _EVENT_ROLES and event.name != "gen_ai.choice"]:
        return messages
    if is_generation:
        for name in ("input", "input_value"):
            if told := asked(found.get(name)):
                return _instructed(found, told)
    return None


def _named(numbered: list[Message], whole: list[Message] | None) -> list[Message]:
    """Respan's numbered messages of agents say not which call a tool answers; its input, the same messages as JSON, does."""
    if whole is not None and len(whole) == len(numbered):
        for message, other in zip(numbered, whole, strict=True):
            if message["role"] == other.get("role") == "tool" and "tool_call_id" in other:
                message.setdefault("tool_call_id", other["tool_call_id"])
    return numbered


def completions(
    found: Mapping[str, Any], families: Mapping[str, Listed], events: Iterable[Event], *, is_generation: bool
) -> list[Message] | None:
    """What was answered: one message a choice."""
    for name in _COMPLETIONS:
        if listed := families.get(name):
            return [folded({"role": "assistant", **_numbered(listed[index])}) for index in sorted(listed)]
    if messages := _of_parts(found.get("output_messages")):
        return [folded(message) for message in messages]
    if messages := [folded(_of_event(event)) for event in events if event.name == "gen_ai.choice"]:
        return messages
    if is_generation:
        calls = tool_calls(found.get("tool_calls"))
        for name in ("output", "output_value"):
            if told := answered(found.get(name)):
                if calls and len(told) == 1:
                    told[0].setdefault("tool_calls", calls)
                return told
        if calls:
            return [{"role": "assistant", "content": None, "tool_calls": calls}]
    return None


def tools(found: Mapping[str, Any], families: Mapping[str, Listed]) -> Any:
    """The tools that were offered, as a list."""
    if listed := families.get("llm.request.functions"):
        functions = []
        for index in sorted(listed):
            function = {place.part: value for place, value in listed[index].items() if place.part}
            if (parameters := parsed(function.get("parameters"))) is not None:
                function["parameters"] = parameters
            functions.append({"type": "function", "function": function})
        return functions
    if listed := families.get("llm.tools"):  # OpenInference: `tool.json_schema` is the whole tool
        return [parsed(value) or value for index in sorted(listed) for value in listed[index].values()]
    return found.get("tools")


def tool_calls(value: Any) -> list[Any]:
    """Calls in chat's form, from a list of them in any: flat ones, the Vercel AI SDK's, Anthropic's blocks."""
    calls = parsed(value)
    return [_call(call) if isinstance(call, dict) else call for call in calls] if isinstance(calls, list) else []


def words(said: Iterable[Message]) -> str:
    """What was generated, as one text: contents, thoughts, and the names and arguments of calls."""
    found: list[Any] = []
    for message in said:
        content = message.get("content")
        pieces = content if isinstance(content, list) else [content]
        found += [piece.get("text") if isinstance(piece, dict) else piece for piece in pieces]
        found.append(message.get("reasoning_content"))
        for call in message.get("tool_calls") or ():
            if isinstance(call, dict) and isinstance(function := call.get("function"), dict):
                found += (function.get("name"), function.get("arguments"))
    return "".join([piece for piece in found if isinstance(piece, str)])


def as_text(value: Any) -> str | None:
    """What is stored as text: a text as it is, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json_text(value).decode()


def _call(call: dict[str, Any]) -> dict[str, Any]:
    if isinstance(call.get("function"), dict):
        return call
    name = call.get("name") or call.get("toolName")
    if not isinstance(name, str):
        return call
    arguments = next((call[key] for key in ("arguments", "args", "input") if key in call), None)
    id_ = call.get("id") or call.get("call_id") or call.get("toolCallId")
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": as_text(arguments) or "{}"}}


def _numbered(said: Numbered) -> Message:
    """One message of numbered attributes: `role`, `content`, `tool_calls.0.name`."""
    message: Message = {}
    calls: dict[int, dict[str, Any]] = {}
    pieces: dict[int, dict[str, Any]] = {}
    for place, value in said.items():
        name = place.part
        if place.number is not None:
            if name == "tool_calls":
                calls.setdefault(place.number, {})[place.rest.rpartition(".")[2]] = value
            elif name == "contents":
                pieces.setdefault(place.number, {})[place.rest.removeprefix("message_content.")] = value
        elif place.rest:
            continue
        elif name in _SIMPLE:
            message[name] = value
        elif name == "content":
            message["content"] = _content(value)
        elif name == "tool_calls" and (listed := tool_calls(value)):
            message["tool_calls"] = listed
    if calls:
        message["tool_calls"] = [_call(calls[index]) for index in sorted(calls)]
    if pieces and "content" not in message:
        message["content"] = [_piece(pieces[index]) for index in sorted(pieces)]
    return message


def _piece(said: dict[str, Any]) -> dict[str, Any]:
    """A part of a message as OpenInference numbers it: `type`, `text`, `image.image.url`."""
    url = said.get("image.image.url")
    return said if url is None else {"type": "image_url", "image_url": {"url": url}}


def _content(value: Any) -> Any:
    """Respan's instrumentation of Anthropic writes contents as JSON: a text in quotes, or a list of blocks."""
    if isinstance(value, str) and value.startswith(('"', "[")):
        try:
            read = orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
        if isinstance(read, str) or (isinstance(read, list) and read and all(isinstance(item, dict) and "type" in item for item in read)):
            return read
    return value


def _of_event(event: Event) -> Message:
    """A message event: its content and calls as attributes, or (a choice) a message within."""
    attributes = event.attributes
    inner = parsed(attributes.get("message"))
    said = {**attributes, **inner} if isinstance(inner, dict) else attributes
    message: Message = {"role": said.get("role") or _EVENT_ROLES[event.name], "content": _content(said.get("content"))}
    if calls := tool_calls(said.get("tool_calls")):
        message["tool_calls"] = calls
    if event.name == "gen_ai.tool.message" and (id_ := said.get("id")):
        message["tool_call_id"] = id_
    if reason := said.get("finish_reason"):
        message["finish_reason"] = reason
    return message


def _of_parts(messages: Any) -> list[Message]:
    if not isinstance(messages, list):
        return []
    return [said for message in messages if isinstance(message, dict) for said in _chat(message)]


def _chat(message: Mapping[str, Any]) -> list[Message]:
    """A message of parts as one of chat's, or as several: each result of a tool is a message there."""
    parts = message.get("parts")
    if not isinstance(parts, list):
        return [dict(message)]
    pieces: list[Any] = []
    thoughts: list[str] = []
    calls: list[Any] = []
    results: list[Message] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "reasoning" and isinstance(part.get("content"), str):
            thoughts.append(part["content"])
        elif kind == "tool_call":
            calls.append(_call(part))
        elif kind == "tool_call_response":
            result = part["response"] if "response" in part else part.get("result")
            results.append({"role": "tool", "tool_call_id": part.get("id"), "content": as_text(result)})
        else:
            pieces.append(_part(part))
    if results and not pieces and not calls:
        return results
    said: Message = {"role": message.get("role"), "content": _joined(pieces)}
    if thoughts:
        said["reasoning_content"] = "".join(thoughts)
    if calls:
        said["tool_calls"] = calls
    said |= {name: message[name] for name in ("name", "finish_reason") if message.get(name) is not None}
    return [*results, said]


def _part(part: Any) -> Any:
    match part:
        case {"type": "text", "content": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "uri", "modality": "image", "uri": str(uri)}:
            return {"type": "image_url", "image_url": {"url": uri}}
        case {"type": "blob", "modality": "image", "content": str(data)}:
            return {"type": "image_url", "image_url": {"url": f"data:{part.get('mime_type') or 'image/*'};base64,{data}"}}
        case {"type": "file", "file_id": str(id_)}:
            return {"type": "file", "file": {"file_id": id_}}
        case str():
            return {"type": "text", "text": part}
    return part


def _joined(pieces: list[Any]) -> Any:
    match pieces:
        case []:
            return None
        case [{"type": "text", "text": str(text)}]:
            return text
    return pieces


def _instructed(found: Mapping[str, Any], messages: list[Message]) -> list[Message]:
    """Instructions that stand outside the messages, in front of them."""
    said = found.get("instructions")
    if said is None:
        return messages
    parts = parsed(said) or said
    content = _joined([_part(part) for part in parts]) if isinstance(parts, list) else parts
    return [{"role": "system", "content": content}, *messages]


def asked(value: Any) -> list[Message] | None:
    """A span's plain input, where it is a conversation: a list of messages, an object with one, or a text."""
    read = parsed(value)
    if isinstance(read, dict):
        read = next((read[name] for name in ("messages", "contents") if isinstance(read.get(name), list)), None)
        if read is None:
            return None
    if isinstance(read, list):
        is_talk = bool(read) and all(isinstance(item, dict) and ("role" in item or "type" in item) for item in read)
        return _of_parts(read) if is_talk else None
    return [{"role": "user", "content": value}] if isinstance(value, str) and value not in _NOTHING else None


def answered(value: Any) -> list[Message] | None:
    """A span's plain output, where it is an answer: a message, blocks, what a client library calls its text, or a text."""
    match parsed(value):
        case {"choices": [{"message": dict()}, *_] as choices}:
            return [dict(choice["message"]) for choice in choices if isinstance(choice, dict) and isinstance(choice.get("message"), dict)]
        case {"output_text": str(text)} | {"text": str(text)}:
            return [{"role": "assistant", "content": text}]
        case {"output": list() as items}:  # a whole answer of the Responses API
            return [folded({"role": "assistant", "content": items})] if items else None
        case {"parts": list()} as message:
            return _chat({"role": "assistant", **message})
        case {"content": _} as message:  # a message, or a whole answer of Anthropic's
            kept = {name: value for name, value in message.items() if name in _MESSAGE}
            if not kept.get("tool_calls"):
                kept.pop("tool_calls", None)
            return [folded({"role": "assistant", **kept})]
        case [{"type": "message" | "function_call" | "reasoning"}, *_] as items:  # what the Responses API answers
            return [folded({"role": "assistant", "content": items})]
        case [{"role": str()}, *_] as messages:
            return [folded(message) for message in _of_parts(messages)]
        case [{"type": str()}, *_] as blocks:
            return [folded({"role": "assistant", "content": blocks})]
        case dict() | list():
            return None
    return [{"role": "assistant", "content": value}] if isinstance(value, str) and value not in _NOTHING else None


def folded(message: Message) -> Message:
    """An answer whose content is a list of blocks (Anthropic's, Responses') as text, thoughts and calls; others as they are."""
    blocks = message.get("content")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) and "type" in block for block in blocks):
        return message
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Any] = []
    for block in blocks:
        match block:
            case {"type": "text" | "output_text", "text": str(text)}:
                texts.append(text)
            case {"type": "thinking", "thinking": str(text)}:
                thoughts.append(text)
            case {"type": "message", "content": content}:
                texts.append(words([{"content": content}]))
            case {"type": "reasoning", "summary": list() as summary}:
                thoughts += [piece["text"] for piece in summary if isinstance(piece, dict) and isinstance(piece.get("text"), str)]
            case {"type": "tool_use" | "function_call"}:
                calls.append(_call(block))
            case {"type": "redacted_thinking"}:
                pass
            case _:
                return message  # something that chat has no word for: better whole
    folded = {**message, "content": "".join(texts) or None}
    if thoughts:
        folded.setdefault("reasoning_content", "".join(thoughts))
    if calls:
        folded.setdefault("tool_calls", calls)
    return folded
