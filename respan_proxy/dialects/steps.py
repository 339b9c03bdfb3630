"""The state that belongs to a step which called tools: collected from the reply, kept by call, put back into the history.

For clients that send back what was said and called, and nothing else. Text without calls needs none of it: providers only check
the steps of a tool loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import orjson

from respan_proxy.dialects.chat import Reasoning, ToolCall
from respan_proxy.dialects.efforts import effort_of
from respan_proxy.dialects.events import (
    Event,
    Finish,
    Opaque,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    TextDelta,
    ToolDelta,
    ToolStart,
)
from respan_proxy.dialects.request import ChatRequest, Part, Profile, Turn


@dataclass(frozen=True, slots=True)
class CallState:
    """What came with one call. `provider` is the one that gave it (its name, not its dialect): nobody else is sent it."""

    provider: str
    name: str
    """Of the tool, as the client knows it: ids of some servers (`functions.f:0`) come again in other conversations."""
    first: tuple[Reasoning, ...] = ()
    """Thinking before anything else of the step; only its first call has it."""
    before: tuple[Reasoning, ...] = ()
    """Thinking between the text or the call before and this one."""
    signature: Opaque | None = None

    @property
    def speaks(self) -> bool:
        """Whether anyone but the provider could read some of it."""
        return any(part.text for part in (*self.first, *self.before))

    def written(self) -> bytes:
        """Compact JSON, for `read`."""
        first, before = ([[part.text, _told(part.opaque)] for part in parts] for parts in (self.first, self.before))
        return orjson.dumps([self.provider, self.name, first, before, _told(self.signature)])

    @classmethod
    def read(cls, data: bytes) -> CallState | None:
        """The reverse of `written`; None of anything else."""
        try:
            provider, name, first, before, signature = orjson.loads(data)
            if isinstance(provider, str) and isinstance(name, str):
                return cls(provider, name, tuple(map(_thought, first)), tuple(map(_thought, before)), _opaque(signature))
        except (ValueError, TypeError, AttributeError):  # orjson's error is a ValueError
            pass
        return None


def _told(opaque: Opaque | None) -> str | None:
    return opaque.tagged() if opaque is not None else None


def _opaque(told: Any) -> Opaque | None:
    if told is None:
        return None
    if (opaque := Opaque.untagged(told)) is None:
        raise ValueError("a tag of ours is missing")
    return opaque


def _thought(told: Any) -> Reasoning:
    text, tagged = told
    if not isinstance(text, str):
        raise TypeError("a text is missing")
    return Reasoning(text, _opaque(tagged))


# -------------------------------------------------------------------------------------------------------------- who needs it


def gives_state(dialect: str, profile: Profile, request: ChatRequest) -> bool:
    """Whether a model, asked in `dialect`, gives state beside its calls and wants it back."""
    thinking = request.thinking
    match dialect:
        case "anthropic.messages":
            return profile.thinking != "none" and (profile.thinking_default_on if thinking is None else effort_of(thinking) != "none")
        case "gemini":
            return profile.thinking != "none"
        case "openai.responses":
            return profile.encrypted_reasoning
        case _:
            return profile.replays_reasoning or not profile.extra_params.isdisjoint(("reasoning_details", "extra_content"))


def may_lose_state(client: str, members: Mapping[str, Any]) -> bool:
    """Whether a client may lose what is not text or a call: all but those that asked for it by name."""
    include = members.get("include")
    return client != "openai.responses" or not isinstance(include, list) or "reasoning.encrypted_content" not in include


# ------------------------------------------------------------------------------------------------------------------ a reply


@dataclass(slots=True)
class _Step:
    """One choice of a reply, as far as it came."""

    pieces: list[str] = field(default_factory=list)
    thoughts: list[Reasoning] = field(default_factory=list)
    first: tuple[Reasoning, ...] = ()
    begun: bool = False
    states: dict[str, CallState] = field(default_factory=dict)


class Collector:
    """Hears a reply's events as the client is told them, one by one, and holds nothing up.

    Calls without an id are given one: it is by its id that a call is known again. `keep` is called when a choice has finished, with
    the states of those of its calls that have one. `plain`: thinking that nobody signed is wanted back too.
    """

    __slots__ = ("_keep", "_new_id", "_plain", "_provider", "_steps")

    def __init__(self, provider: str, new_id: Callable[[], str], keep: Callable[[Mapping[str, CallState]], None], *, plain: bool) -> None:
        self._provider = provider
        self._new_id = new_id
        self._keep = keep
        self._plain = plain
        self._steps: dict[int, _Step] = {}

    def __call__(self, event: Event) -> Event:
        if type(event) is TextDelta:  # what streams are made of, spared the rest
            step = self._steps.get(event.choice)
            if step is None or not step.begun or step.pieces:
                self._begin(event.choice)
            return event
        match event:
            case ToolDelta():
                pass
            case RefusalDelta(_, choice):
                self._begin(choice)
            case ReasoningDelta(text, choice):
                self._step(choice).pieces.append(text)
            case ReasoningEnd(opaque, choice):
                self._end_thought(self._step(choice), opaque)
            case ToolStart():
                return self._start(event)
            case Finish(choice=choice):
                step = self._steps.pop(choice, None)
                if step is not None and step.states:
                    self._keep(step.states)
        return event

    def _step(self, choice: int) -> _Step:
        return self._steps.setdefault(choice, _Step())

    def _begin(self, choice: int) -> _Step:
        """Something else than thinking was said: all thinking until now came first, unless something was said before it."""
        step = self._step(choice)
        self._end_thought(step, None)
        if not step.begun:
            step.begun = True
            step.first, step.thoughts = tuple(step.thoughts), []
        return step

    def _end_thought(self, step: _Step, opaque: Opaque | None) -> None:
        text = "".join(step.pieces)
        step.pieces.clear()
        if opaque is not None or (text and self._plain):
            step.thoughts.append(Reasoning(text, opaque))

    def _start(self, start: ToolStart) -> ToolStart:
        step = self._begin(start.choice)
        id = start.id
        if id is None:
            id = self._new_id()
            start = replace(start, id=id)
        if step.first or step.thoughts or start.signature is not None:
            step.states[id] = CallState(self._provider, start.name, step.first, tuple(step.thoughts), start.signature)
            step.first, step.thoughts = (), []
        return start


# ---------------------------------------------------------------------------------------------------------------- a request


def calls_without_state(request: ChatRequest, *, plain: bool) -> list[str]:
    """Ids of the calls of all steps to which the client brought no state of its own, in order."""
    return [
        part.id
        for step in _steps(request.turns)
        if not _brings(step, plain)
        for turn in step
        for part in turn.parts
        if isinstance(part, ToolCall) and part.id is not None
    ]


def with_state(request: ChatRequest, states: Mapping[str, CallState], provider: str, *, plain: bool) -> ChatRequest:
    """The same conversation with the state of its calls where it was when `provider` gave it; what others gave is left out."""
    own = {id: state for id, state in states.items() if state.provider == provider}
    if not own:
        return request
    turns: list[Turn] = []
    for step in _steps(request.turns):
        turns += step if _brings(step, plain) else _stated(step, own)
    return replace(request, turns=tuple(turns))


def _steps(turns: tuple[Turn, ...]) -> Iterator[list[Turn]]:
    """Neighbouring turns of one role: what a model says between two messages of others is one step, however a client cuts it."""
    for _, step in groupby(turns, key=lambda turn: turn.role):
        yield list(step)


def _brings(step: list[Turn], plain: bool) -> bool:
    for turn in step:
        for part in turn.parts:
            if isinstance(part, Reasoning) and (part.opaque is not None or (plain and part.text)):
                return True
            if isinstance(part, ToolCall) and part.signature is not None:
                return True
    return False


def _stated(step: list[Turn], states: Mapping[str, CallState]) -> list[Turn]:
    found = [state for turn in step for part in turn.parts if isinstance(part, ToolCall) and (state := _state(part, states)) is not None]
    thinks = any(state.first or state.before for state in found)
    first = next((state.first for state in found if state.first), ())
    turns = [replace(turn, parts=tuple(_with(turn.parts, states, thinks))) for turn in step] if found else step
    if first:
        turns[0] = replace(turns[0], parts=(*first, *turns[0].parts))
    return turns


def _with(parts: tuple[Part, ...], states: Mapping[str, CallState], thinks: bool) -> Iterator[Part]:
    for part in parts:
        if isinstance(part, ToolCall) and (state := _state(part, states)) is not None:
            yield from state.before
            yield replace(part, signature=state.signature)
        elif not (thinks and isinstance(part, Reasoning)):  # what a client showed of the same thinking
            yield part


def _state(call: ToolCall, states: Mapping[str, CallState]) -> CallState | None:
    state = states.get(call.id) if call.id is not None else None
    return state if state is not None and state.name == call.name else None
