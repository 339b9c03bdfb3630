"""Names and ids that a target does not take, replaced reversibly, and a reply's events told in the client's words again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import orjson

from respan_proxy.dialects.events import Event, Finish, TextDelta, ToolDelta, ToolEnd, ToolStart


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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
        return partial(_restored, self, {})


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


@dataclass(slots=True)
class _Held:
    """A call whose arguments must be whole before they can be retold."""

    arguments: list[str]


def _restored(names: NameMap, calls: dict[tuple[int, int], _Held | None], event: Event) -> list[Event]:
    """`calls`: by choice and index; None for the call that is the answer."""
    match event:
        case ToolStart(index, id, name, choice):
            if name == names.answer:
                calls[choice, index] = None
                return []
            if name in names.custom:
                calls[choice, index] = _Held([])
            return [ToolStart(index, id, names.said.get(name, name), choice, event.custom or name in names.custom, event.signature)]
        case ToolDelta(index, arguments, choice) if (choice, index) in calls:
            held = calls[choice, index]
            if held is None:
                return [TextDelta(arguments, choice)]
            held.arguments.append(arguments)
            return []
        case ToolEnd(index, choice) if (choice, index) in calls:
            held = calls.pop((choice, index))
            if held is None:
                calls[choice, index] = None  # still the answer: `Finish` must know
                return []
            return [*_free_text(held, index, choice), event]
        case Finish(reason, native, choice):
            ending = [(index, held) for (of, index), held in calls.items() if of == choice and held is not None]
            told = [said for index, held in ending for said in _free_text(held, index, choice)]
            answered = any(of == choice and held is None for (of, _), held in calls.items())
            for index, _ in ending:
                del calls[choice, index]
            if answered and reason == "tool":
                event = Finish("stop", native, choice, event.stop_sequence, event.explanation, event.category)
            return [*told, event]
    return [event]


def _free_text(held: _Held, index: int, choice: int) -> Iterable[Event]:
    """The `input` of the arguments; arguments of another shape as they are."""
    arguments = "".join(held.arguments)
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        parsed = None
    said = parsed.get("input") if isinstance(parsed, dict) else None
    text = said if isinstance(said, str) else arguments
    return [ToolDelta(index, text, choice)] if text else []
