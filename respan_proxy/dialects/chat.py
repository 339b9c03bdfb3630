"""A whole reply as one value, and the assembler that makes it out of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from respan_proxy.dialects.events import (
    Citation,
    End,
    Event,
    Failure,
    Finish,
    FinishReason,
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
from respan_proxy.dialects.usage import Usage as Usage
from respan_proxy.frozen import frozen


@frozen
class Text:
    text: str
    signature: Opaque | None = None
    cache: Mapping[str, Any] | None = None  # in requests: the client marked the end of a cacheable prefix here


@frozen
class Refusal:
    text: str


@frozen
class Reasoning:
    """One block of thinking; `text` is empty where a provider gives only the opaque state."""

    text: str
    opaque: Opaque | None = None


@frozen
class ToolCall:
    """`arguments` as the provider wrote them: usually JSON of an object, possibly cut off or empty; free text when `custom`."""

    id: str | None
    name: str
    arguments: str
    custom: bool = False
    signature: Opaque | None = None
    cache: Mapping[str, Any] | None = None


Part = Text | Refusal | Reasoning | ToolCall | Media


@frozen
class Choice:
    """One of the n answers: its parts in the order they were said; neighbouring text is one part."""

    index: int = 0
    parts: tuple[Part, ...] = ()
    finish: FinishReason | None = None
    native_finish: str | None = None
    stop_sequence: str | None = None
    explanation: str | None = None
    category: str | None = None
    citations: tuple[Citation, ...] = ()
    logprobs: tuple[Logprobs, ...] = ()

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def refusal(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Refusal))

    @property
    def reasoning(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Reasoning))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def media(self) -> tuple[Media, ...]:
        return tuple(part for part in self.parts if isinstance(part, Media))


@frozen
class ChatReply:
    """A reply as far as it came: `complete` when the provider said so, `error` when it said otherwise."""

    id: str | None = None
    model: str | None = None
    created: int | None = None
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    error: Failure | None = None
    complete: bool = False

    @property
    def text(self) -> str:
        """Of the first choice."""
        return self.choices[0].text if self.choices else ""

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Of the first choice."""
        return self.choices[0].tool_calls if self.choices else ()


@dataclass(slots=True)
class _OpenPart:
    """A part still growing. `open` ends when another part must begin even if it is of the same kind."""

    kind: type[Text | Refusal | Reasoning | ToolCall | Media]
    pieces: list[str] = field(default_factory=list)
    opaque: Opaque | None = None
    start: ToolStart | None = None
    media: Media | None = None
    open: bool = True

    def freeze(self) -> Part:
        text = "".join(self.pieces)
        if self.kind is Text:
            return Text(text, self.opaque)
        if self.media is not None:
            return self.media
        if self.start is not None:
            return ToolCall(self.start.id, self.start.name, text, self.start.custom, self.start.signature)
        if self.kind is Refusal:
            return Refusal(text)
        return Reasoning(text, self.opaque)


@dataclass(slots=True)
class _OpenChoice:
    index: int
    parts: list[_OpenPart] = field(default_factory=list)
    calls: dict[int, _OpenPart] = field(default_factory=dict)
    finish: Finish | None = None
    citations: list[Citation] = field(default_factory=list)
    logprobs: list[Logprobs] = field(default_factory=list)

    def part(self, kind: type[Text | Refusal | Reasoning]) -> _OpenPart:
        """The part that text of this kind goes to: the last one if it is of the kind and open, else a new one."""
        if self.parts and self.parts[-1].kind is kind and self.parts[-1].open:
            return self.parts[-1]
        part = _OpenPart(kind)
        self.parts.append(part)
        return part

    def freeze(self) -> Choice:
        finish = self.finish or _UNFINISHED
        return Choice(
            self.index,
            tuple([part.freeze() for part in self.parts]),
            None if finish is _UNFINISHED else finish.reason,
            finish.native,
            finish.stop_sequence,
            finish.explanation,
            finish.category,
            tuple(self.citations),
            tuple(self.logprobs),
        )


_UNFINISHED = Finish("stop", None)
_NOBODY = Start(None, None)


class Assembler:
    """Collects events; `reply` is what they amount to so far, and may be asked for at any time."""

    __slots__ = ("_choices", "_complete", "_error", "_start", "_text", "_text_choice", "_usage")

    def __init__(self) -> None:
        self._start: Start | None = None
        self._choices: dict[int, _OpenChoice] = {}
        self._usage: Usage | None = None
        self._error: Failure | None = None
        self._complete = False
        self._text: list[str] | None = None  # where the text goes as long as nothing but text of one choice comes
        self._text_choice = 0

    def feed(self, event: Event) -> None:
        if type(event) is TextDelta:
            if self._text is None or event.choice != self._text_choice:
                self._text = self._choice(event.choice).part(Text).pieces
                self._text_choice = event.choice
            self._text.append(event.text)
            return
        self._text = None
        if type(event) is Start:  # first what every reply has
            self._start = event
        elif type(event) is Finish:
            self._choice(event.choice).finish = event
        elif type(event) is UsageReport:
            self._usage = event.usage
        elif type(event) is End:
            self._complete = True
        else:
            self._say(event)

    def _say(self, event: Event) -> None:
        match event:
            case ToolDelta(index, arguments, choice):
                if call := self._choice(choice).calls.get(index):
                    call.pieces.append(arguments)
            case ReasoningDelta(text, choice):
                self._choice(choice).part(Reasoning).pieces.append(text)
            case RefusalDelta(text, choice):
                self._choice(choice).part(Refusal).pieces.append(text)
            case ReasoningEnd(opaque, choice):
                opened = self._choice(choice)
                if opaque is not None or (opened.parts and opened.parts[-1].kind is Reasoning):
                    part = opened.part(Reasoning)
                    part.opaque, part.open = opaque, False
            case Signature(opaque, choice):
                self._choice(choice).parts.append(_OpenPart(Text, opaque=opaque))
            case ToolStart():
                opened = self._choice(event.choice)
                part = opened.calls[event.index] = _OpenPart(ToolCall, start=event)
                opened.parts.append(part)
            case ToolEnd():
                pass
            case Citation():
                self._choice(event.choice).citations.append(event)
            case Logprobs():
                self._choice(event.choice).logprobs.append(event)
            case Media():
                self._choice(event.choice).parts.append(_OpenPart(Media, media=event))
            case Failure():
                self._error = event

    def _choice(self, index: int) -> _OpenChoice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _OpenChoice(index)
        return choice

    @property
    def reply(self) -> ChatReply:
        start, opened = self._start or _NOBODY, self._choices
        choices = tuple([opened[index].freeze() for index in (sorted(opened) if len(opened) > 1 else opened)])
        return ChatReply(start.id, start.model, start.created, choices, self._usage, self._error, self._complete)


def assemble(events: Iterable[Event]) -> ChatReply:
    """The reply that a finished list of events amounts to."""
    assembler = Assembler()
    for event in events:
        assembler.feed(event)
    return assembler.reply


def arguments_object(arguments: str) -> dict[str, Any]:
    """A call's arguments for dialects that carry an object: nothing is `{}`, what is not an object is kept as `__raw_arguments`."""
    if not arguments.strip():
        return {}
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        parsed = None
    return parsed if isinstance(parsed, dict) and _can_be_written(parsed, arguments) else {"__raw_arguments": arguments}


def _can_be_written(parsed: dict[str, Any], text: str) -> bool:
    """Whether it is nested no deeper than orjson writes inside an answer (254 levels); only what could be is tried."""
    if text.count("{") + text.count("[") < _MANY_LEVELS:
        return True
    try:
        orjson.dumps([[[[[[[[parsed]]]]]]]])
    except orjson.JSONEncodeError:
        return False
    return True


_MANY_LEVELS = 200
