"""Names and ids that a target does not take, replaced reversibly, and a reply's events told in the client's words again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import field

import orjson

from respan_proxy.dialects.events import Event, Finish, TextDelta, ToolDelta, ToolEnd, ToolStart
from respan_proxy.frozen import frozen


@frozen
class Limits:
    """What a name or an id may be: a pattern that the whole must match, and what one character may be."""

    whole: re.Pattern[str]
    bad: re.Pattern[str]
    length: int


OPENAI_NAMES = Limits(re.compile(r"[a-zA-Z0-9_-]{1,64}"), re.compile(r"[^a-zA-Z0-9_-]"), 64)
ANTHROPIC_NAMES = Limits(re.compile(r"[a-zA-Z0-9_-]{1,128}"), re.compile(r"[^a-zA-Z0-9_-]"), 128)
GEMINI_NAMES = Limits(re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}"), re.compile(r"[^A-Za-z0-9_.:-]"), 128)

CHAT_IDS = re.compile(r".{1,40}", re.DOTALL)  # OpenAI's own limit
RESPONSES_IDS = re.compile(r".{1,64}", re.DOTALL)
ANTHROPIC_IDS = re.compile(r"[a-zA-Z0-9_-]{1,64}")
NINE_IDS = re.compile(r"[a-zA-Z0-9]{9}")  # Mistral


def legal_name(name: str, limits: Limits) -> str:
    """The name, or a legal one made of it: bad characters to `_`, cut, and 8 hex digits of SHA-256 that tell it from its like."""
    if limits.whole.fullmatch(name):
        return name
    cut = limits.bad.sub("_", name)[: limits.length - 9]
    if not limits.whole.match(cut):  # Gemini's may not begin with a digit
        cut = f"_{cut}"[: limits.length - 9]
    return f"{cut}_{_digest(name)[:8]}"


def legal_id(id: str, form: re.Pattern[str]) -> str:
    """The id, or one made of it: the same for the call and its result."""
    if form.fullmatch(id):
        return id
    return _digest(id)[:9] if form is NINE_IDS else f"call_{_digest(id)[:24]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@frozen
class NameMap:
    """How a reply's calls must be retold, because the request could not be said as the client said it."""

    said: Mapping[str, str] = field(default_factory=dict)
    """Name that was sent -> name the client gave it; only those that differ."""
    custom: frozenset[str] = frozenset()
    """Names, as sent, of free-text tools that went as functions with one string `input`."""
    answer: str | None = None
    """Name of the tool whose arguments are the answer itself: the stand-in for structured output."""

    def __bool__(self) -> bool:
        return bool(self.said or self.custom or self.answer)

    def restore(self) -> Callable[[Event], list[Event]]:
        """A mapping over one reply's events, in order; it keeps what it must remember of the reply."""
        return _Restoring(self)


class Naming:
    """Collects a request's names for one target: `legal` for every name that is written, `names` when all is."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._said: dict[str, str] = {}
        self._custom: set[str] = set()
        self.answer: str | None = None

    def legal(self, name: str, *, custom: bool = False) -> str:
        sent = legal_name(name, self._limits)
        if sent != name:
            self._said[sent] = name
        if custom:
            self._custom.add(sent)
        return sent

    @property
    def names(self) -> NameMap:
        return NameMap(self._said, frozenset(self._custom), self.answer)


class _Restoring:
    """One reply being retold."""

    __slots__ = ("_answers", "_called", "_free", "_names")

    def __init__(self, names: NameMap) -> None:
        self._names = names
        self._answers: set[tuple[int, int]] = set()  # (choice, index) of calls that are the answer
        self._called: set[int] = set()  # choices that call tools of the client's
        self._free: dict[tuple[int, int], list[str]] = {}  # arguments that must be whole before they can be retold

    def __call__(self, event: Event) -> list[Event]:
        match event:
            case ToolStart():
                return self._start(event)
            case ToolDelta(index, arguments, choice):
                if (choice, index) in self._answers:
                    return [TextDelta(arguments, choice)]
                if (choice, index) in self._free:
                    self._free[choice, index].append(arguments)
                    return []
                return [ToolDelta(self._place(choice, index), arguments, choice)] if self._answers else [event]
            case ToolEnd(index, choice):
                if (choice, index) in self._answers:
                    return []
                return [*self._free_text(choice, index), ToolEnd(self._place(choice, index), choice)]
            case Finish(reason, native, choice):
                told = [said for of, index in list(self._free) if of == choice for said in self._free_text(of, index)]
                answered = choice not in self._called and any(of == choice for of, _ in self._answers)
                if answered and reason == "tool":
                    event = Finish("stop", native, choice, event.stop_sequence, event.explanation, event.category)
                return [*told, event]
        return [event]

    def _start(self, event: ToolStart) -> list[Event]:
        if event.name == self._names.answer:
            self._answers.add((event.choice, event.index))
            return []
        self._called.add(event.choice)
        free = event.name in self._names.custom
        if free:
            self._free[event.choice, event.index] = []
        name = self._names.said.get(event.name, event.name)
        place = self._place(event.choice, event.index)
        return [ToolStart(place, event.id, name, event.choice, event.custom or free, event.signature)]

    def _free_text(self, choice: int, index: int) -> list[Event]:
        """The `input` of the arguments; arguments of another shape as they are."""
        arguments = "".join(self._free.pop((choice, index), ()))
        try:
            parsed = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            parsed = None
        said = parsed.get("input") if isinstance(parsed, dict) else None
        text = said if isinstance(said, str) else arguments
        return [ToolDelta(self._place(choice, index), text, choice)] if text else []

    def _place(self, choice: int, index: int) -> int:
        """The call's number among the client's: clients count without gaps."""
        return index - sum(of == choice and before < index for of, before in self._answers)
