"""OpenAI Responses replies written from events: every item opened and closed, numbered without gaps, the whole response at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from respan_proxy.dialects.dialect import WriteContext
from respan_proxy.dialects.events import (
    Citation,
    End,
    Event,
    Failure,
    Finish,
    Logprobs,
    Media,
    Opaque,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    Signature,
    Start,
    TextDelta,
    ToolDelta,
    ToolEnd,
    ToolStart,
    UsageReport,
)
from respan_proxy.dialects.faults import TRUNCATED, broken
from respan_proxy.dialects.lenient import json_text
from respan_proxy.dialects.namespaces import apart
from respan_proxy.dialects.openai_responses_shape import failed_error, frame, head, write_usage
from respan_proxy.dialects.usage import Usage

_INCOMPLETE: Mapping[str, str] = {"length": "max_output_tokens", "context": "max_output_tokens", "filter": "content_filter"}


@dataclass(slots=True)
class _Block:
    """The message or reasoning item that is growing; `part` is its open content part or summary, `pieces` the text said in it."""

    index: int
    item: dict[str, Any]
    part: dict[str, Any] | None = None
    pieces: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Call:
    """A function or custom call. Only one is told at a time; the others keep their pieces until it is their turn."""

    start: ToolStart
    pieces: list[str] = field(default_factory=list)
    ended: bool = False
    index: int = 0
    item: dict[str, Any] = field(default_factory=dict)


class Writer:
    """Writes a stream. Only the first choice exists here: a request for more is refused before it is sent."""

    __slots__ = (
        "_block", "_call", "_calls", "_context", "_failure", "_finish", "_head", "_out", "_output", "_over", "_parts", "_sequence",
        "_spaces", "_usage", "_written",
    )  # fmt: skip

    def __init__(self, context: WriteContext) -> None:
        self._context = context
        self._head: dict[str, Any] = {}
        self._output: list[dict[str, Any]] = []
        self._block: _Block | None = None
        self._calls: dict[int, _Call] = {}  # the one that is told, and those that wait for it
        self._call: _Call | None = None
        self._parts: list[tuple[int, dict[str, Any]]] = []  # text parts and where each begins in the joined text
        self._written = 0
        self._finish: Finish | None = None
        self._failure: Failure | None = None
        self._usage: Usage | None = None
        self._sequence = 0
        self._spaces: Mapping[str, tuple[str, str]] | None = None  # read when the first call comes
        self._out: list[bytes] = []
        self._over = False

    def feed(self, event: Event) -> bytes:
        if not self._over:
            self._write(event)
        out = b"".join(self._out)
        self._out.clear()
        return out

    def close(self) -> bytes:
        return self.feed(End() if self._finish else broken(TRUNCATED.format(terminal="terminal event")))

    def response(self) -> dict[str, Any]:
        """The whole response, as its terminal event carries it."""
        reason = _INCOMPLETE.get(self._finish.reason) if self._finish else None
        status = "failed" if self._failure else "incomplete" if reason else "completed"
        response = {**self._head, "status": status, "output": self._output}
        if self._failure:  # what was counted until then would not be what the reply cost
            return {**response, "error": failed_error(self._failure)}
        if self._usage is not None:
            response["usage"] = write_usage(self._usage)
        if reason:
            response["incomplete_details"] = {"reason": reason}
        else:
            response["completed_at"] = self._context.now
        return response

    def _write(self, event: Event) -> None:
        if getattr(event, "choice", 0):
            self._context.lost("choices")
            return
        match event:
            case TextDelta(text):
                self._say("output_text", text)
            case ToolDelta(index, arguments):
                self._tool_delta(index, arguments)
            case ReasoningDelta(text):
                self._think(text)
            case RefusalDelta(text):
                self._say("refusal", text)
            case ReasoningEnd(opaque):
                self._thought(opaque)
            case Signature(opaque):
                self._signed(opaque)
            case ToolStart():
                self._tool_start(event)
            case ToolEnd(index):
                self._tool_end(index)
            case Citation():
                self._cite(event)
            case Logprobs(tokens):
                self._begun()
                if self._parts and not event.refusal:
                    self._parts[-1][1].setdefault("logprobs", []).extend(tokens)
                else:
                    self._context.lost("logprobs")
            case Media():
                self._media(event)
            case UsageReport(usage):
                self._usage = usage
            case Start():
                self._begin(event)
            case Finish():
                self._end_items(event)
            case Failure():
                self._fail(event)
            case End():
                self._begun()
                self._terminal()

    def _emit(self, kind: str, **members: Any) -> None:
        self._out.append(frame(kind, self._sequence, members))
        self._sequence += 1

    # ------------------------------------------------------------------------------------------------ the response as a whole

    def _begin(self, start: Start) -> None:
        if self._head:
            return
        id = start.id if start.id and start.id.startswith("resp_") else self._context.new_id("resp_")
        self._head = head(id, self._context, start.model)
        self._emit("response.created", response=self._head)
        self._emit("response.in_progress", response=self._head)

    def _begun(self) -> None:
        if not self._head:
            self._begin(Start(None, None))

    def _terminal(self) -> None:
        self._over = True
        response = self.response()
        self._emit(f"response.{response['status']}", response=response)

    def _end_items(self, finish: Finish) -> None:
        """The choice ended: so does everything that is open, in the order it was opened."""
        self._begun()
        self._finish = finish
        status = "incomplete" if finish.reason in _INCOMPLETE else "completed"
        self._close_block(status)
        while self._call:
            cut = len(self._calls) == 1 and not self._call.ended  # only the last thing said can be
            self._close_call(self._call, status if cut else "completed")

    def _fail(self, failure: Failure) -> None:
        """What was said so far stays said: open items are handed over unfinished."""
        self._begun()
        self._failure = failure
        if self._block:
            self._block.item["status"] = "incomplete"
            self._settle(self._block)
        if self._call:
            self._call.item["status"] = "incomplete"
            self._call.item[_arguments(self._call.start)] = "".join(self._call.pieces)
        self._terminal()

    # ------------------------------------------------------------------------------------------------ messages and reasoning

    def _open_item(self, item: dict[str, Any]) -> int:
        """The item's output index. It is shown as it is now; the output keeps the dict, which is completed later."""
        self._emit("response.output_item.added", output_index=len(self._output), item=item)
        self._output.append(item)
        return len(self._output) - 1

    def _say(self, kind: str, text: str) -> None:
        self._begun()
        block = self._block
        if block is None or block.item["type"] != "message":
            self._close_block()
            item = {"id": self._context.new_id("msg_"), "type": "message", "status": "in_progress", "role": "assistant", "content": []}
            block = self._block = _Block(self._open_item(item), item)
        if block.part is None or block.part["type"] != kind:
            self._close_part(block)
            self._open_part(block, kind)
        block.pieces.append(text)
        where = {"item_id": block.item["id"], "output_index": block.index, "content_index": len(block.item["content"]) - 1}
        if kind == "refusal":
            self._emit("response.refusal.delta", **where, delta=text)
        else:
            self._written += len(text)
            self._emit("response.output_text.delta", **where, delta=text, logprobs=[])

    def _open_part(self, block: _Block, kind: str) -> None:
        part: dict[str, Any] = {"type": "refusal", "refusal": ""}
        if kind == "output_text":
            part = {"type": "output_text", "text": "", "annotations": []}
            self._parts.append((self._written, part))
        content = block.item["content"]
        self._emit("response.content_part.added", item_id=block.item["id"], output_index=block.index, content_index=len(content), part=part)
        content.append(part)
        block.part = part

    def _think(self, text: str) -> None:
        self._begun()
        block = self._block
        if block is None or block.item["type"] != "reasoning":
            self._close_block()
            item: dict[str, Any] = {"id": self._context.new_id("rs_"), "type": "reasoning", "summary": []}
            part = {"type": "summary_text", "text": ""}
            block = self._block = _Block(self._open_item(item), item, part)
            self._emit("response.reasoning_summary_part.added", **_summary(block), part=part)
            item["summary"].append(part)
        block.pieces.append(text)
        self._emit("response.reasoning_summary_text.delta", **_summary(block), delta=text)

    def _thought(self, opaque: Opaque | None) -> None:
        """A block of thinking is over. State that came without any text is an item of its own."""
        encrypted = self._encrypted(opaque)
        if self._block and self._block.item["type"] == "reasoning":
            self._close_block(encrypted=encrypted)
        elif encrypted:
            self._begun()
            self._close_block()
            self._sealed(encrypted)

    def _signed(self, opaque: Opaque) -> None:
        """Gemini signed the text that follows: as with its calls, the signature is an item before it."""
        if encrypted := self._encrypted(opaque):
            self._begun()
            self._close_block()
            self._sealed(encrypted)

    def _sealed(self, encrypted: dict[str, str]) -> None:
        item = {"id": self._context.new_id("rs_"), "type": "reasoning", "summary": [], **encrypted}
        self._emit("response.output_item.done", output_index=self._open_item(item), item=item)

    def _encrypted(self, opaque: Opaque | None) -> dict[str, str]:
        if opaque is None or not self._context.encrypted_reasoning:
            return {}
        return {"encrypted_content": opaque.tagged() if opaque.id or opaque.provider != "openai" else opaque.data}

    def _settle(self, block: _Block) -> str:
        """Write what was said into the open part; returns it."""
        text = "".join(block.pieces)
        block.pieces.clear()
        if block.part is not None:
            block.part["refusal" if block.part["type"] == "refusal" else "text"] = text
        return text

    def _close_part(self, block: _Block) -> None:
        part = block.part
        if part is None:
            return
        text = self._settle(block)
        block.part = None
        if part["type"] == "summary_text":
            self._emit("response.reasoning_summary_text.done", **_summary(block), text=text)
            self._emit("response.reasoning_summary_part.done", **_summary(block), part=part)
            return
        where = {"item_id": block.item["id"], "output_index": block.index, "content_index": len(block.item["content"]) - 1}
        if part["type"] == "refusal":
            self._emit("response.refusal.done", **where, refusal=text)
        else:
            self._emit("response.output_text.done", **where, text=text, logprobs=part.get("logprobs", []))
        self._emit("response.content_part.done", **where, part=part)

    def _close_block(self, status: str = "completed", encrypted: Mapping[str, str] | None = None) -> None:
        block, self._block = self._block, None
        if block is None:
            return
        self._close_part(block)
        if block.item["type"] == "message":
            block.item["status"] = status
        block.item.update(encrypted or {})
        self._emit("response.output_item.done", output_index=block.index, item=block.item)

    def _cite(self, citation: Citation) -> None:
        """An annotation belongs to the part that holds its first character, and counts from that part's start."""
        self._begun()
        held = [(begins, part) for begins, part in self._parts if begins <= citation.start]
        if not held:
            self._context.lost("citations")
            return
        begins, part = held[-1]
        annotation = {
            "type": "url_citation",
            "start_index": citation.start - begins,
            "end_index": citation.end - begins,
            "title": citation.title,
            "url": citation.url,
        }
        part["annotations"].append(annotation)
        block = self._block
        if block is not None and block.part is part:
            self._emit(
                "response.output_text.annotation.added",
                item_id=block.item["id"],
                output_index=block.index,
                content_index=len(block.item["content"]) - 1,
                annotation_index=len(part["annotations"]) - 1,
                annotation=annotation,
            )

    def _media(self, media: Media) -> None:
        """A picture is the result of a hosted tool here; what is only known by its address has no place."""
        if media.data is None or media.kind not in ("image", "media"):
            self._context.lost(media.kind)
            return
        self._begun()
        self._close_block()
        item = {"id": self._context.new_id("ig_"), "type": "image_generation_call", "status": "completed", "result": media.data}
        if media.media_type and media.media_type.startswith("image/"):
            item["output_format"] = media.media_type.removeprefix("image/")
        self._emit("response.output_item.done", output_index=self._open_item({**item, "status": "in_progress", "result": None}), item=item)
        self._output[-1] = item

    # ------------------------------------------------------------------------------------------------ calls

    def _tool_start(self, start: ToolStart) -> None:
        self._begun()
        self._calls[start.index] = call = _Call(start)
        if self._call is None:
            self._open_call(call)

    def _tool_delta(self, index: int, arguments: str) -> None:
        call = self._calls.get(index)
        if call is not None:
            call.pieces.append(arguments)
            if call is self._call:
                self._say_arguments(call, arguments)

    def _tool_end(self, index: int) -> None:
        call = self._calls.get(index)
        if call is not None:
            call.ended = True
            while self._call and self._call.ended:
                self._close_call(self._call)

    def _open_call(self, call: _Call) -> None:
        self._close_block()
        self._call = call
        start = call.start
        if start.custom:
            item = {"id": self._context.new_id("ctc_"), "type": "custom_tool_call"}
        else:
            item = {"id": self._context.new_id("fc_"), "type": "function_call", "status": "in_progress"}
        call.item = {**item, "call_id": start.id or self._context.new_id("call_"), **self._named(start.name), _arguments(start): ""}
        if encrypted := self._encrypted(start.signature):
            self._sealed(encrypted)
        call.index = self._open_item(call.item)
        if call.pieces:
            self._say_arguments(call, "".join(call.pieces))

    def _named(self, name: str) -> dict[str, str]:
        """A tool that the request had in a namespace is called by both names."""
        if self._spaces is None:
            self._spaces = apart(self._context.echo)
        namespace, name = self._spaces.get(name, (None, name))
        return {"namespace": namespace, "name": name} if namespace else {"name": name}

    def _say_arguments(self, call: _Call, arguments: str) -> None:
        kind = "custom_tool_call_input" if call.start.custom else "function_call_arguments"
        self._emit(f"response.{kind}.delta", item_id=call.item["id"], output_index=call.index, delta=arguments)

    def _close_call(self, call: _Call, status: str = "completed") -> None:
        """End the call that is told, and begin with the next of those that wait."""
        if not call.pieces and not call.start.custom and status == "completed":
            call.pieces.append("{}")
            self._say_arguments(call, "{}")
        arguments = call.item[_arguments(call.start)] = "".join(call.pieces)
        where = {"item_id": call.item["id"], "output_index": call.index}
        if call.start.custom:
            self._emit("response.custom_tool_call_input.done", **where, input=arguments)
        else:
            call.item["status"] = status
            where = {"item_id": call.item["id"], "name": call.item["name"], "output_index": call.index}  # openai 2.x wants the name
            self._emit("response.function_call_arguments.done", **where, arguments=arguments)
        self._emit("response.output_item.done", output_index=call.index, item=call.item)
        self._calls = {index: other for index, other in self._calls.items() if other is not call}
        self._call = None
        if self._calls:
            self._open_call(next(iter(self._calls.values())))


def write_reply(events: Iterable[Event], context: WriteContext) -> bytes:
    """The response that the stream of the same events would end with."""
    writer = _Whole(context)
    for event in events:
        writer.feed(event)
    writer.close()
    return json_text(writer.response())


class _Whole(Writer):
    """Comes to the same response, and writes none of the frames on the way: they are half of the work."""

    __slots__ = ()

    def _emit(self, kind: str, **members: Any) -> None:
        pass


def _summary(block: _Block) -> dict[str, Any]:
    return {"item_id": block.item["id"], "output_index": block.index, "summary_index": 0}


def _arguments(start: ToolStart) -> str:
    return "input" if start.custom else "arguments"
