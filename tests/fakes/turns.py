"""One turn of a model, in the words of whichever vendor is asked: the path says the dialect, the body whether it streams."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes import recordings
from tests.fakes.provider import Answer, Received, streamed, whole
from tests.fakes.recordings import sse

THOUGHT = "Let me think."
# What no one but its vendor can read, as each of them sends it (base64).
SIGNATURE = "c2lnbmVkIHRob3VnaHQ="
INDEX = "RW5jcnlwdGVk"
PAGE, TITLE = "https://page.test/a", "A page"


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model says, in this order: a thought, a text, calls of tools.

    `calls`: name and arguments; a text for a custom tool, which is the argument `input` where the vendor knows functions only.
    `cited`: the words of the text that rest on `PAGE`, which a search has found.
    """

    text: str = ""
    calls: Sequence[tuple[str, Mapping[str, Any] | str]] = ()
    thought: str = ""
    cited: str = ""
    ids: Sequence[str] = field(default=("one", "two", "three"))

    @property
    def place(self) -> tuple[int, int]:
        """Where the cited words are, in characters; the beginning, of none."""
        start = self.text.index(self.cited)
        return start, start + len(self.cited)

    def __call__(self, request: Received) -> Answer:
        """For `FakeProvider.will`."""
        path = request.target.partition("?")[0].rstrip("/")
        verb = path.rsplit("/", 1)[-1].rpartition(":")[2]
        asked = request.json
        told, frames = _DIALECTS[verb.removeprefix("stream").lower()](self, asked)
        return streamed(frames) if asked.get("stream") is True or verb.startswith("stream") else whole(told)


_Said = tuple[dict[str, Any], list[bytes]]


def _object(arguments: Mapping[str, Any] | str) -> Mapping[str, Any]:
    return {"input": arguments} if isinstance(arguments, str) else arguments


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def _chat(turn: Turn, asked: Mapping[str, Any]) -> _Said:
    customs = {tool["custom"]["name"] for tool in asked.get("tools", ()) if tool["type"] == "custom"}
    calls: list[dict[str, Any]] = [
        {"id": f"call_{id}", "type": "custom", "custom": {"name": name, "input": arguments}}
        if name in customs
        else {"id": f"call_{id}", "type": "function", "function": {"name": name, "arguments": json.dumps(_object(arguments))}}
        for id, (name, arguments) in zip(turn.ids, turn.calls, strict=False)
    ]
    finish = "tool_calls" if calls else "stop"
    message: dict[str, Any] = {"role": "assistant", "content": turn.text or None, "refusal": None}
    page = {"start_index": turn.place[0], "end_index": turn.place[1], "title": TITLE, "url": PAGE}
    notes = [{"type": "url_citation", "url_citation": page}] if turn.cited else []
    if notes:
        message["annotations"] = notes
    if turn.thought:
        message["reasoning_content"] = turn.thought  # of compatible servers; OpenAI's own shows none here
    if calls:
        message["tool_calls"] = calls
    told = {**recordings.CHAT, "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}]}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1767225600, "model": "fake", "choices": [choice]}

    chunks = [chunk({"role": "assistant", "content": "" if turn.text else None, "refusal": None})]
    chunks += [chunk({"reasoning_content": half}) for half in _halves(turn.thought) if half]
    chunks += [chunk({"content": half}) for half in _halves(turn.text) if half]
    chunks += [chunk({"annotations": notes})] if notes else []
    for index, call in enumerate(calls):
        kind, member = ("custom", "input") if call["type"] == "custom" else ("function", "arguments")
        begun = {**call, "index": index, kind: {**call[kind], member: ""}}
        chunks.append(chunk({"tool_calls": [begun]}))
        chunks += [chunk({"tool_calls": [{"index": index, kind: {member: half}}]}) for half in _halves(call[kind][member])]
    chunks.append(chunk({}, finish))
    usage = [{**chunk({}), "choices": [], "usage": recordings.CHAT["usage"]}] if asked.get("stream_options") else []
    return told, sse(*chunks, *usage, "[DONE]")


def _responses(turn: Turn, asked: Mapping[str, Any]) -> _Said:
    customs = {tool["name"] for tool in asked.get("tools", ()) if tool["type"] == "custom"}
    spaces = {
        (function["name"]): tool["name"] for tool in asked.get("tools", ()) if tool["type"] == "namespace" for function in tool["tools"]
    }
    events: list[dict[str, Any]] = []
    output: list[dict[str, Any]] = []

    def add(begun: dict[str, Any], *between: dict[str, Any], done: dict[str, Any]) -> None:
        index = len(output)
        events.append({"type": "response.output_item.added", "output_index": index, "item": begun})
        events.extend({"item_id": done["id"], "output_index": index, **event} for event in between)
        events.append({"type": "response.output_item.done", "output_index": index, "item": done})
        output.append(done)

    if turn.thought:
        done = {
            "id": "rs_fake",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": turn.thought}],
            "encrypted_content": SIGNATURE,
        }
        part = {"summary_index": 0}
        add(
            {**done, "summary": []},
            {"type": "response.reasoning_summary_part.added", **part, "part": {"type": "summary_text", "text": ""}},
            {"type": "response.reasoning_summary_text.delta", **part, "delta": turn.thought},
            {"type": "response.reasoning_summary_text.done", **part, "text": turn.thought},
            {"type": "response.reasoning_summary_part.done", **part, "part": {"type": "summary_text", "text": turn.thought}},
            done=done,
        )
    if turn.text:
        page = {"start_index": turn.place[0], "end_index": turn.place[1], "title": TITLE, "url": PAGE}
        notes = [{"type": "url_citation", **page}] if turn.cited else []
        text = {"type": "output_text", "text": turn.text, "annotations": notes, "logprobs": []}
        done = {"id": "msg_fake", "type": "message", "status": "completed", "role": "assistant", "content": [text]}
        add(
            {**done, "status": "in_progress", "content": []},
            {"type": "response.content_part.added", "content_index": 0, "part": {**text, "text": "", "annotations": []}},
            *({"type": "response.output_text.delta", "content_index": 0, "delta": half, "logprobs": []} for half in _halves(turn.text)),
            *(
                {"type": "response.output_text.annotation.added", "content_index": 0, "annotation_index": 0, "annotation": note}
                for note in notes
            ),
            {"type": "response.output_text.done", "content_index": 0, "text": turn.text, "logprobs": []},
            {"type": "response.content_part.done", "content_index": 0, "part": text},
            done=done,
        )
    for id, (name, arguments) in zip(turn.ids, turn.calls, strict=False):
        kind, member, item = ("custom_tool_call", "input", f"ctc_{id}") if name in customs else ("function_call", "arguments", f"fc_{id}")
        told = arguments if name in customs and isinstance(arguments, str) else json.dumps(_object(arguments))
        done = {"id": item, "type": kind, "status": "completed", "call_id": f"call_{id}", "name": name, member: told}
        if name in spaces:
            done["namespace"] = spaces[name]
        spoken = f"response.{kind}_{member}"
        add(
            {**done, "status": "in_progress", member: ""},
            *({"type": f"{spoken}.delta", "delta": half} for half in _halves(told)),
            {"type": f"{spoken}.done", member: told, **({} if name in customs else {"name": name})},
            done=done,
        )
    whole = {**recordings.RESPONSE, "output": output}
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        *events,
        {"type": "response.completed", "response": whole},
    ]
    numbered = ({"type": event["type"], "sequence_number": number, **event} for number, event in enumerate(events))
    return whole, sse(*numbered, named=True)


def _messages(turn: Turn, asked: Mapping[str, Any]) -> _Said:
    content: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []

    def add(block: dict[str, Any], begun: dict[str, Any], *deltas: dict[str, Any]) -> None:
        index = len(content)
        content.append(block)
        events.append({"type": "content_block_start", "index": index, "content_block": begun})
        events.extend({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        events.append({"type": "content_block_stop", "index": index})

    if turn.thought:
        block = {"type": "thinking", "thinking": turn.thought, "signature": SIGNATURE}
        add(
            block,
            {**block, "thinking": "", "signature": ""},
            *({"type": "thinking_delta", "thinking": half} for half in _halves(turn.thought)),
            {"type": "signature_delta", "signature": SIGNATURE},
        )
    if turn.cited:
        search = {"type": "server_tool_use", "id": "srvtoolu_one", "name": "web_search", "input": {"query": "q"}}
        found = {"type": "web_search_result", "url": PAGE, "title": TITLE, "encrypted_content": INDEX, "page_age": None}
        result = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_one", "content": [found]}
        add(search, {**search, "input": {}}, {"type": "input_json_delta", "partial_json": '{"query": "q"}'})
        add(result, result)
        page = {"url": PAGE, "title": TITLE, "encrypted_index": INDEX, "cited_text": "It says so."}
        citation = {"type": "web_search_result_location", **page}
        for said in turn.text.partition(turn.cited):
            cites = [citation] if said == turn.cited else []
            block = {"type": "text", "text": said, **({"citations": cites} if cites else {})}
            begun = {**block, "text": "", **({"citations": []} if cites else {})}
            deltas = [{"type": "citations_delta", "citation": citation} for citation in cites]
            if said:
                add(block, begun, {"type": "text_delta", "text": said}, *deltas)
    elif turn.text:
        texts = ({"type": "text_delta", "text": half} for half in _halves(turn.text))
        add({"type": "text", "text": turn.text}, {"type": "text", "text": ""}, *texts)
    for id, (name, arguments) in zip(turn.ids, turn.calls, strict=False):
        call = {"type": "tool_use", "id": f"toolu_{id}", "name": name, "input": _object(arguments)}
        parts = ({"type": "input_json_delta", "partial_json": half} for half in _halves(json.dumps(_object(arguments))))
        add(call, {**call, "input": {}}, *parts)
    reason = "tool_use" if turn.calls else "end_turn"
    told = {**recordings.MESSAGE, "content": content, "stop_reason": reason}
    start = {**told, "content": [], "stop_reason": None, "usage": {**recordings.MESSAGE_USAGE, "output_tokens": 1}}
    return told, sse(
        {"type": "message_start", "message": start},
        {"type": "ping"},
        *events,
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
        named=True,
    )


def _gemini(turn: Turn, asked: Mapping[str, Any]) -> _Said:
    parts: list[dict[str, Any]] = []
    if turn.thought:
        parts.append({"text": turn.thought, "thought": True})
    if turn.text:
        parts.append({"text": turn.text})
    parts += [{"functionCall": {"name": name, "args": _object(arguments)}} for name, arguments in turn.calls]
    if turn.thought:  # on the first call; without calls, on the last part
        next((part for part in parts if "functionCall" in part), parts[-1])["thoughtSignature"] = SIGNATURE

    def candidate(parts: list[dict[str, Any]]) -> dict[str, Any]:
        return {"content": {"parts": parts, "role": "model"}, "index": 0}

    grounding: dict[str, Any] = {}
    if turn.cited:
        start, end = (len(turn.text[:place].encode()) for place in turn.place)
        grounding["groundingMetadata"] = {
            "webSearchQueries": ["q"],
            "groundingChunks": [{"web": {"uri": PAGE, "title": TITLE}}],
            "groundingSupports": [{"segment": {"startIndex": start, "endIndex": end, "text": turn.cited}, "groundingChunkIndices": [0]}],
        }
    last = {"usageMetadata": recordings.GEMINI_USAGE, "modelVersion": "gemini-2.5-flash", "responseId": "gem-fake"}
    told = {"candidates": [{**candidate(parts), "finishReason": "STOP", **grounding}], **last}
    events: list[dict[str, Any]] = [{"candidates": [candidate([part])], **last} for part in parts]
    events.append({"candidates": [{**candidate([{"text": ""}]), "finishReason": "STOP", **grounding}], **last})
    return told, sse(*events, end="\r\n\r\n")


_DIALECTS: Mapping[str, Callable[[Turn, Mapping[str, Any]], _Said]] = {
    "completions": _chat,
    "responses": _responses,
    "messages": _messages,
    "generatecontent": _gemini,
}
