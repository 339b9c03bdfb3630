"""The four ways of asking, bare: how each client dialect says a thing, where it asks, and how its answers are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
CLIENTS = {
    "openai.chat": "Chat Completions",
    "openai.responses": "Responses",
    "anthropic.messages": "Messages",
    "gemini": "generateContent",
}


@dataclass(slots=True)
class Said:
    """What an answer holds: text, thought, calls (name, arguments), usage as it stands there, what of it is replayed, an error.

    `cited`: url, and the words it stands behind.
    """

    text: str = ""
    thought: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    usage: Json = field(default_factory=dict)
    replay: list[Json] = field(default_factory=list)
    error: str = ""
    cited: list[tuple[str, str]] = field(default_factory=list)


def path(client: str, model: str, *, streams: bool = False) -> str:
    if client == "gemini":
        return f"/google/gemini/v1beta/models/{model}:{'streamGenerateContent?alt=sse' if streams else 'generateContent'}"
    return {"openai.chat": "/chat/completions", "openai.responses": "/responses", "anthropic.messages": "/anthropic/v1/messages"}[client]


def user(client: str, *parts: Json, text: str = "hello") -> Json:
    """A request that says this, and these parts of the dialect's own kind."""
    words = {"text": text} if client == "gemini" else {"type": "input_text" if client == "openai.responses" else "text", "text": text}
    turn = {"role": "user", ("parts" if client == "gemini" else "content"): [words, *parts]}
    member = {"gemini": "contents", "openai.responses": "input"}.get(client, "messages")
    return {member: [turn], **({"max_tokens": 4000} if client == "anthropic.messages" else {})}


def turns(client: str, body: Json) -> list[Json]:
    found: list[Json] = body[{"gemini": "contents", "openai.responses": "input"}.get(client, "messages")]
    return found


def calling(client: str, *functions: tuple[str, Mapping[str, Any]], strict: bool = False) -> Json:
    """The member that offers functions (name, schema)."""
    mark = {"strict": True} if strict else {}
    match client:
        case "openai.chat":
            return {"tools": [{"type": "function", "function": {"name": name, "parameters": schema, **mark}} for name, schema in functions]}
        case "openai.responses":
            return {"tools": [{"type": "function", "name": name, "parameters": schema, "strict": strict} for name, schema in functions]}
        case "anthropic.messages":
            return {"tools": [{"name": name, "input_schema": schema, **mark} for name, schema in functions]}
    return {"tools": [{"functionDeclarations": [{"name": name, "parametersJsonSchema": schema} for name, schema in functions]}]}


def result(client: str, said: Said, *contents: Any) -> list[Json]:
    """The turns after calls: what was said, and for each call its result: a text, or parts of the dialect's own kind."""
    match client:
        case "openai.chat":
            (message,) = said.replay
            ids = [call["id"] for call in message["tool_calls"]]
            return [message, *({"role": "tool", "tool_call_id": id, "content": content} for id, content in zip(ids, contents, strict=True))]
        case "openai.responses":
            ids = [item["call_id"] for item in said.replay if "call_id" in item]
            outputs = zip(ids, contents, strict=True)
            return [*said.replay, *({"type": "function_call_output", "call_id": id, "output": content} for id, content in outputs)]
        case "anthropic.messages":
            ids = [block["id"] for block in said.replay if block["type"] == "tool_use"]
            results = [{"type": "tool_result", "tool_use_id": id, "content": told} for id, told in zip(ids, contents, strict=True)]
            return [{"role": "assistant", "content": said.replay}, {"role": "user", "content": results}]
    answers = []
    for call, content in zip([part["functionCall"] for part in said.replay if "functionCall" in part], contents, strict=True):
        response = {"response": {"output": content}} if isinstance(content, str) else {"response": {"output": "see"}, "parts": content}
        answers.append({"functionResponse": {"name": call["name"], **({"id": call["id"]} if "id" in call else {}), **response}})
    return [{"role": "model", "parts": said.replay}, {"role": "user", "parts": answers}]


def whole(client: str, answer: Json) -> Said:
    return _WHOLE[client](answer)


def _chat(answer: Json) -> Said:
    message = answer["choices"][0]["message"]
    calls = [call["function"] for call in message.get("tool_calls") or () if "function" in call]
    thought = message.get("reasoning_content") or "".join(part.get("text") or "" for part in message.get("reasoning_details") or ())
    customs = [(call["custom"]["name"], call["custom"]["input"]) for call in message.get("tool_calls") or () if "custom" in call]
    return Said(
        message["content"] or "",
        thought,
        [(call["name"], json.loads(call["arguments"])) for call in calls] + customs,
        answer.get("usage") or {},
        [message],
        cited=_noted(message["content"] or "", [note["url_citation"] for note in message.get("annotations") or ()]),
    )


def _noted(text: str, notes: list[Json]) -> list[tuple[str, str]]:
    """Of OpenAI's annotations, which count characters."""
    return [(note["url"], text[note["start_index"] : note["end_index"]]) for note in notes]


def _responses(answer: Json) -> Said:
    said = Said(usage=answer.get("usage") or {}, replay=answer["output"])
    for item in answer["output"]:
        match item["type"]:
            case "message":
                said.text += "".join(part.get("text", "") for part in item["content"])
                said.cited += [page for part in item["content"] for page in _noted(part.get("text", ""), part.get("annotations", []))]
            case "reasoning":
                said.thought += "".join(part["text"] for part in (*item["summary"], *(item.get("content") or ())))
            case "function_call":
                said.calls.append((item["name"], json.loads(item["arguments"])))
            case "custom_tool_call":
                said.calls.append((item["name"], item["input"]))
    return said


def _messages(answer: Json) -> Said:
    content = answer["content"]
    return Said(
        "".join(block.get("text", "") for block in content),
        "".join(block.get("thinking", "") for block in content),
        [(block["name"], block["input"]) for block in content if block["type"] == "tool_use"],
        answer["usage"],
        content,
        cited=[(page["url"], block["text"]) for block in content for page in block.get("citations") or ()],
    )


def _gemini(answer: Json) -> Said:
    parts = answer["candidates"][0]["content"]["parts"]
    return Said(
        "".join(part.get("text", "") for part in parts if not part.get("thought")),
        "".join(part.get("text", "") for part in parts if part.get("thought")),
        [(part["functionCall"]["name"], part["functionCall"]["args"]) for part in parts if "functionCall" in part],
        answer.get("usageMetadata") or {},
        parts,
        cited=_grounded(answer["candidates"][0]),
    )


def _grounded(candidate: Json) -> list[tuple[str, str]]:
    pages = candidate.get("groundingMetadata") or {"groundingSupports": []}
    return [
        (pages["groundingChunks"][number]["web"]["uri"], support["segment"]["text"])
        for support in pages["groundingSupports"]
        for number in support["groundingChunkIndices"]
    ]


_WHOLE: Mapping[str, Callable[[Json], Said]] = {
    "openai.chat": _chat,
    "openai.responses": _responses,
    "anthropic.messages": _messages,
    "gemini": _gemini,
}


def streamed(client: str, text: str) -> Said:
    """The same of a stream of events."""
    said = Said()
    arguments: dict[int, list[str]] = {}
    begins = 0
    for line in text.splitlines():
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        event = json.loads(line.removeprefix("data: "))
        kind = event.get("type", "")
        if "error" in event and kind in ("", "error"):
            said.error = str(event["error"])
        match client:
            case "openai.chat":
                for choice in event.get("choices", ()):
                    said.text += choice["delta"].get("content") or ""
                    said.cited += _noted(said.text, [note["url_citation"] for note in choice["delta"].get("annotations") or ()])
                    for call in choice["delta"].get("tool_calls") or ():
                        into = arguments.setdefault(call["index"], ["", ""])
                        into[0] += call["function"].get("name") or ""
                        into[1] += call["function"].get("arguments") or ""
                said.usage = event.get("usage") or said.usage
            case "openai.responses":
                if kind == "response.output_text.delta":
                    said.text += event["delta"]
                elif kind == "response.completed":
                    last = _responses(event["response"])
                    said.calls, said.usage, said.cited = last.calls, last.usage, last.cited
                elif kind == "response.failed":
                    said.error = str(event["response"]["error"])
            case "anthropic.messages":
                if kind == "content_block_start" and event["content_block"]["type"] == "tool_use":
                    arguments[event["index"]] = [event["content_block"]["name"], ""]
                elif kind == "content_block_start":
                    begins = len(said.text)
                elif kind == "content_block_delta":
                    said.text += event["delta"].get("text", "")
                    if "citation" in event["delta"]:
                        said.cited.append((event["delta"]["citation"]["url"], said.text[begins:]))
                    if "partial_json" in event["delta"] and event["index"] in arguments:  # a hosted tool's is not the client's to run
                        arguments[event["index"]][1] += event["delta"]["partial_json"]
                elif kind in ("message_start", "message_delta"):
                    said.usage = {**said.usage, **(event.get("message") or event).get("usage", {})}
            case _ if "candidates" in event:
                part = _gemini(
                    {**event, "candidates": [{"content": {"parts": event["candidates"][0].get("content", {}).get("parts", [])}}]}
                )
                said.cited += _grounded(event["candidates"][0])
                said.text, said.calls, said.usage = said.text + part.text, said.calls + part.calls, part.usage or said.usage
    said.calls += [(name, json.loads(told)) for name, told in arguments.values()]
    return said
