"""What an answer that has passed says: read in bulk from a copy of its bytes, after the last of them. Never raises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import orjson

from respan_proxy.dialects.chat import ChatReply, ToolCall, assemble
from respan_proxy.dialects.dialect import Dialect
from respan_proxy.dialects.events import End, Event, Failure, Finish, FinishReason, Start, ToolStart, UsageReport
from respan_proxy.dialects.lenient import members, text
from respan_proxy.dialects.usage import Usage, estimate
from respan_proxy.frozen import frozen

Kind = Literal["generate", "embed", "count"] | str
"""What was asked for (`Endpoint.kind`); answers of any other kind are looked through for their usage only."""


@frozen
class Observed:
    """One answer, as far as it could be read."""

    reply: ChatReply | None = None
    usage: Usage | None = None
    model: str | None = None
    response_id: str | None = None
    error: str | None = None
    error_code: str | None = None
    finish: FinishReason | None = None
    calls_tools: bool = False
    complete: bool = True
    """The answer came to its end."""
    truncated: bool = False
    """The bytes ended before the provider's last word, its terminal or its error."""
    counted: int | None = None
    """Tokens, in the answer to a request that only counts them: nothing was spent."""
    unread: int = 0
    """Events of a stream that were left out because they are no JSON object; 0 also where not all of it was read."""

    @property
    def text(self) -> str:
        return self.reply.text if self.reply else ""

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self.reply.tool_calls if self.reply else ()


def observe(
    dialect: Dialect,
    kind: Kind,
    body: bytes,
    *,
    status: int = 200,
    streamed: bool,
    request: Mapping[str, Any] | None = None,
) -> Observed:
    """Read an answer of `status` that `dialect` gave. `request` (the body's members) serves to estimate what nobody counted."""
    if status >= 400:
        told = dialect.read_error(status, body)
        return Observed(error=told.message, error_code=told.code or told.kind)
    if kind != "generate":
        return _other(dialect, kind, body, request)
    truncated, unread = False, 0
    if streamed:
        reader = dialect.reader()
        events = reader.feed(body)
        events += reader.close()
        truncated, unread = not reader.complete, reader.unread
    else:
        events = dialect.read_reply(body)
    reply = assemble(events)
    return Observed(
        reply=reply,
        usage=_usage(reply, request),
        model=reply.model,
        response_id=reply.id,
        error=reply.error.message if reply.error else None,
        error_code=(reply.error.code or reply.error.kind) if reply.error else None,
        finish=reply.choices[0].finish if reply.choices else None,
        calls_tools=any(choice.tool_calls for choice in reply.choices),
        complete=reply.complete,
        truncated=truncated,
        unread=unread,
    )


def glance(dialect: Dialect, answer: bytes, *, streamed: bool) -> Observed | None:
    """What a whole and successful answer says of itself, without its text (`reply` is None): a fifth of the work of reading it all.

    Of a stream the first frame tells who answers, the last ones how it ended and what it cost. None when that is not enough: read
    it with `observe` then.
    """
    if streamed:
        return _glance_at_ends(dialect, answer)
    if dialect.outline is None:
        return summed_up(dialect.read_reply(answer))
    try:
        seen = dialect.outline(orjson.loads(answer))
    except orjson.JSONDecodeError:
        return None
    if seen is None:
        return None
    return Observed(usage=seen.usage, model=seen.model, response_id=seen.id, finish=seen.finish, calls_tools=seen.calls_tools)


# The last frames of a stream are its finish, its usage and its terminal.
_LAST_FRAMES = 3


def _glance_at_ends(dialect: Dialect, answer: bytes) -> Observed | None:
    head = answer.find(b"\n\n") + 2
    tail = len(answer)
    for _ in range(_LAST_FRAMES + 1):
        tail = answer.rfind(b"\n\n", head, tail)
        if tail == -1:
            return None
    if any(answer.find(word, head, tail) != -1 for word in dialect.telling):
        return None
    reader = dialect.reader()
    events = [*reader.feed(answer[:head]), *reader.feed(answer[tail + 2 :]), *reader.close()]
    return summed_up(events) if reader.complete else None


# Reading takes some 60 ms a megabyte, in which nobody else has a turn.
READ_BYTES = 512 * 1024
_SAMPLED_BYTES = 64 * 1024


def sample(dialect: Dialect, answer: bytes, total_bytes: int, *, request: Mapping[str, Any] | None = None) -> Observed:
    """What a stream too long to be read at once says of itself: its beginning and its end are read, the tokens between estimated.

    `total_bytes` is the stream's length, of which `answer` may be a part. `reply` is None.
    """
    blank = b"\r\n\r\n" if answer.find(b"\n\n", 0, _SAMPLED_BYTES) == -1 else b"\n\n"
    first, last = answer.rfind(blank, 0, _SAMPLED_BYTES), answer.find(blank, len(answer) - _SAMPLED_BYTES)
    if first == -1 or last == -1:  # no frames, or huge ones
        return observe(dialect, "generate", answer, streamed=True, request=request)
    head, tail = answer[:first], answer[last:]
    seen = observe(dialect, "generate", head + tail, streamed=True, request=request)
    usage = seen.usage
    if usage is not None and usage.estimated:
        usage = replace(usage, output=usage.output * total_bytes // (len(head) + len(tail)))
    return replace(seen, reply=None, usage=usage)


class Summary:
    """What a reply says of itself, gathered from its events as they pass: all but what was said."""

    __slots__ = ("_calls_tools", "_complete", "_finish", "_start", "_usage", "failure")

    def __init__(self) -> None:
        self._start: Start | None = None
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self.failure: Failure | None = None
        self._calls_tools = self._complete = False

    def feed(self, event: Event) -> None:
        if type(event) is Start:
            self._start = event
        elif type(event) is Finish:
            self._finish = self._finish or event
        elif type(event) is UsageReport:
            self._usage = event.usage
        elif type(event) is End:
            self._complete = True
        elif type(event) is ToolStart:
            self._calls_tools = True
        elif type(event) is Failure:
            self.failure = event

    def observed(self, unread: int = 0) -> Observed | None:
        """None where that is not enough: without usage the text must be read to estimate it, and failures are read whole."""
        start, finish, usage = self._start, self._finish, self._usage
        if self.failure is not None or start is None or finish is None or usage is None or not self._complete:
            return None
        calls_tools = self._calls_tools or finish.reason == "tool"
        return Observed(usage=usage, model=start.model, response_id=start.id, finish=finish.reason, calls_tools=calls_tools, unread=unread)


def summed_up(events: Iterable[Event]) -> Observed | None:
    """What the events of a whole reply say of it, without what was said; None when that takes a full reading."""
    summary = Summary()
    for event in events:
        summary.feed(event)
    return summary.observed()


def _other(dialect: Dialect, kind: Kind, body: bytes, request: Mapping[str, Any] | None) -> Observed:
    try:
        answer = members(orjson.loads(body if len(body) <= READ_BYTES else _last_members(body)))
    except orjson.JSONDecodeError:
        return Observed()
    if kind == "count":
        return Observed(counted=dialect.read_count(answer), model=text(answer.get("model")))
    usage = dialect.read_usage(answer)
    if usage is None and kind == "embed" and request is not None:
        usage = Usage(prompt=estimate_prompt(request), estimated=True)
    return Observed(usage=usage, model=text(answer.get("model")), response_id=text(answer.get("id")))


def _last_members(body: bytes) -> bytes:
    """The object that remains when a long list, of vectors or of images, is left out: OpenAI writes model and usage behind it."""
    tail = body[-_LAST_BYTES:]
    places = [at for at in (tail.find(b'"model"'), tail.find(b'"usage"')) if at != -1]
    return b"{" + tail[min(places) :] if places else b""


_LAST_BYTES = 1024


def _usage(reply: ChatReply, request: Mapping[str, Any] | None) -> Usage | None:
    """What the provider counted; estimated where it said nothing, or broke off before the count of its output was final."""
    usage = reply.usage
    if usage is not None and reply.complete:
        return usage
    if not reply.choices:
        return usage
    generated = estimate("".join(_said(reply)))
    if usage is None:
        return Usage(prompt=estimate_prompt(request) if request else 0, output=generated, estimated=True)
    return replace(usage, output=generated, estimated=True) if generated > usage.output else usage


def _said(reply: ChatReply) -> Iterator[str]:
    for choice in reply.choices:
        yield from (choice.text, choice.refusal, choice.reasoning)
        for call in choice.tool_calls:
            yield from (call.name, call.arguments)


_READ = (
    "messages",
    "input",
    "contents",
    "system",
    "instructions",
    "systemInstruction",
    "system_instruction",
    "prompt",
    "tools",
    "requests",
)
"""The members of a request, in all dialects, that a model reads."""


def estimate_prompt(request: Mapping[str, Any]) -> int:
    """Tokens of what a request's members, in any dialect, have a model read."""
    return estimate("".join(_strings(request[name] for name in _READ if name in request)))


def _strings(values: Iterable[Any]) -> Iterator[str]:
    """Every string inside, but for inline files: their bytes are not read as text."""
    for value in values:
        if isinstance(value, str):
            if not value.startswith("data:"):
                yield value
        elif isinstance(value, dict):
            yield from _strings(inner for name, inner in value.items() if name not in ("data", "file_data", "signature"))
        elif isinstance(value, list):
            yield from _strings(value)
