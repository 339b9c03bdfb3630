"""Which spans and which call are the same thing, and what the call takes from them: a function of what is known, not of its order.

A call may be told by several spans: by an instrumentation of its client library, by the library itself, by one of a framework around it.
One of them is the call's identity: the call has its place in the trace. The others stand beside it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import orjson

from respan_proxy.respan.spans import IDENTIFIERS

# Who says only when, and not how long, says it once the answer is there: within this after it.
WITHIN_S = 600.0
# Clocks of one machine are read before the request and after the answer; two processes' readings differ by less (50 ms covers a busy one).
SLACK_S = 0.050
# A generation that went on for longer than this after the call had ended was of something else.
REACH_S = 3600.0
# An instrumentation is done with a call this long after the library below it is.
AROUND_S = 1.0
# Of calls and spans that cannot be told apart, as with one that is asked the same again and again all at once, or a provider that gives
# every answer the same id, those nearest in time are compared: so many to each side.
NEAR = 16
# A call is told of by an instrumentation or three. Whatever else names it, or has its answer's id, has nothing to add.
MOST_TOLD = 8
# Spans of one process have one clock, which some tell in milliseconds. With more, a quick call would be within the one before it.
ROUNDING_S = 0.001

PLACE = ("trace_unique_id", "span_unique_id", "span_parent_id", "span_path", "span_workflow_name", "span_name")
"""What a span knows better than the call: where it stands."""

FILLED = (
    "entity_name",
    "span_links",
    "trace_name",
    "environment",
    "environment_tag",
    "service_name",
    *IDENTIFIERS,
    "prompt_id",
    "prompt_name",
    "prompt_version_number",
)
"""What a span may tell of a call where the call's request said nothing."""

MERGED = ("metadata", "properties")
"""What is merged key by key; the request wins."""

LINKED = (*PLACE, *FILLED, *MERGED)


class Rank(IntEnum):
    """By what a span is recognised as a call, the surest first."""

    LOG_ID = 1
    NATIVE = 2
    RESPONSE_ID = 3
    LIKENESS = 4
    REPEATED = 5
    """It names the call, as `MOST_TOLD` others do. It is no line of its own, and is not asked for anything."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What two tellings of one generation agree in. `completions` are several where reasoning may be counted in or not."""

    models: frozenset[str]
    prompt: int
    completions: frozenset[int]


@dataclass(frozen=True, slots=True)
class Heard:
    """A span, as far as linking looks at it. Times are seconds of the epoch. `response_id` and `usage` only of generations."""

    id: str
    trace_id: str
    span_id: str
    start: float
    end: float
    parent_id: str | None = None
    key_id: str | None = None
    scope: str = ""
    log_id: str | None = None
    response_id: str | None = None
    is_native: bool = False
    usage: Usage | None = None

    @property
    def claims(self) -> bool:
        """Whether it may be a call at all."""
        return self.log_id is not None or self.response_id is not None or self.is_native or self.usage is not None

    @property
    def may_double(self) -> bool:
        """Whether it may tell, from further inside, of a generation that another span tells of: a library's own span, and one that its
        instrumentation put nowhere."""
        return self.usage is not None and (self.is_native or self.parent_id is None)


@dataclass(frozen=True, slots=True)
class Call:
    """One of the gateway's calls, as it knew itself before any span was linked to it. `usage` only once it has ended."""

    id: str
    trace_id: str | None
    start: float
    end: float
    parent_id: str | None = None
    key_id: str | None = None
    response_id: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A span that is a call, by what, and how many seconds apart the two began."""

    span: Heard
    rank: Rank
    distance_s: float


def usage(models: Iterable[object], prompt: object, completion: object, reasoning: object = None, *, failed: bool = False) -> Usage | None:
    """None unless it says something that only few calls have in common. To have failed before anything was counted is such a thing."""
    prompt = 0 if prompt is None and failed else prompt
    completion = 0 if completion is None else completion  # a stream that was left at once
    if not isinstance(prompt, int) or not isinstance(completion, int) or not (prompt + completion or failed):
        return None
    completions = {completion}
    if isinstance(reasoning, int) and 0 < reasoning <= completion:
        completions.add(completion - reasoning)
    # `models/gemini-2.5-flash`, `openai/gpt-4.1`: who says it in full means the same.
    plain = frozenset(model.rpartition("/")[2].lower() for model in models if isinstance(model, str) and model)
    return Usage(plain, prompt, frozenset(completions))


def link(calls: Collection[Call], spans: Collection[Heard], *, by_likeness: bool = True) -> dict[str, list[Link]]:
    """The spans of each call that has any, its identity first.

    `calls` and `spans` must hold everything that competes with each other: whatever may be linked to what is in them.
    """
    links: dict[str, list[Link]] = defaultdict(list)
    told: set[tuple[str, str]] = set()
    left = {span.id: span for span in spans}

    def take(call: Call, span: Heard, rank: Rank) -> None:
        links[call.id].append(Link(span, rank, abs(span.start - call.start)))
        told.add((call.id, span.scope))
        del left[span.id]

    by_id = {call.id: call for call in calls}
    # Of several tries that a client made within one span of its own, the last one is what it tells of.
    by_parent = {(call.trace_id, call.parent_id, call.key_id): call for call in sorted(calls, key=_order_of_call)}
    named: dict[str, list[Heard]] = defaultdict(list)
    for span in spans:
        if span.log_id is not None and (call := by_id.get(span.log_id)) is not None and call.key_id == span.key_id:
            named[call.id].append(span)
        elif span.is_native and (call := by_parent.get((span.trace_id, span.span_id, span.key_id))) is not None:
            take(call, span, Rank.NATIVE)
    for call_id, found in named.items():
        for place, span in enumerate(sorted(found, key=order_of_named)):
            take(by_id[call_id], span, Rank.LOG_ID if place < MOST_TOLD else Rank.REPEATED)

    # Who names a call, if one that is not here, is no other.
    nameless = [span for span in left.values() if span.log_id is None]
    near = _by_start((call.response_id, call) for call in calls)
    pairs = [
        (_order_in_time(span, call), span.start, span.id, call.id, span, call)
        for span in nameless
        if span.response_id is not None
        for call in near(span.response_id, span)
        if fits(span, call)
    ]
    # An instrumentation makes one span of a call. Two of one answer's id are two calls, the second one's answer out of a cache.
    tellings: Counter[str] = Counter()
    for *_, span, call in sorted(pairs, key=_order_of_pair):
        if span.id in left and (call.id, span.scope) not in told and tellings[call.id] < MOST_TOLD:
            tellings[call.id] += 1
            take(call, span, Rank.RESPONSE_ID)

    if by_likeness:
        _link_alike(calls, left, links, take)
    return {id: sorted(found, key=_order_of_link) for id, found in links.items()}


def _link_alike(calls: Collection[Call], left: Mapping[str, Heard], links: Mapping[str, object], take: Any) -> None:
    near = _by_start((None if call.usage is None else call.usage.prompt, call) for call in calls)
    pairs = [
        # A call that nobody has told of yet needs it more.
        ((call.id in links, *_order_in_time(span, call)), span.start, span.id, call.id, span, call)
        for span in left.values()
        if span.usage is not None and span.log_id is None
        for call in near(span.usage.prompt, span)
        if alike(span, call)
    ]
    taken: set[str] = set()
    for *_, span, call in sorted(pairs, key=_order_of_pair):
        if span.id in left and call.id not in taken:
            taken.add(call.id)
            take(call, span, Rank.LIKENESS)


def _by_start(named: Iterable[tuple[object, Call]]) -> Callable[[object, Heard], Sequence[Call]]:
    """Which calls of a name and of a span's key began next to it, before and after; calls without a name are none of them."""
    groups: dict[tuple[object, str | None], list[Call]] = defaultdict(list)
    for name, call in named:
        if name is not None:
            groups[name, call.key_id].append(call)
    starts: dict[tuple[object, str | None], list[float]] = {}
    for group, calls in groups.items():
        calls.sort(key=_order_of_call)
        starts[group] = [call.start for call in calls]

    def near(name: object, span: Heard) -> Sequence[Call]:
        group = (name, span.key_id)
        if group not in groups:
            return ()
        place = bisect_left(starts[group], span.start)
        return groups[group][max(0, place - NEAR) : place + NEAR]

    return near


def fits(span: Heard, call: Call) -> bool:
    """Whether the two were under way at the same time, by a busy machine's clocks: another run that got the same answer was not."""
    late_s = SLACK_S if span.end > span.start else WITHIN_S
    return span.start - late_s <= call.end and call.start - SLACK_S <= span.end


# Told by who does not know even of what model, as the Agents SDK does not.
_FAILED = Usage(frozenset(), 0, frozenset({0}))


def alike(span: Heard, call: Call) -> bool:
    """Whether a generation of the same key was under way around the call, of the same model, and used as much."""
    mine, its = span.usage, call.usage
    return (
        mine is not None
        and its is not None
        and span.key_id == call.key_id
        and span.start - SLACK_S <= call.start
        and call.end - SLACK_S <= span.end <= call.end + REACH_S
        and mine.prompt == its.prompt
        and not mine.completions.isdisjoint(its.completions)
        and (mine == _FAILED or not mine.models.isdisjoint(its.models))
    )


def doubled(spans: Iterable[Heard]) -> dict[str, str]:
    """Of spans that are none of the gateway's calls: those that tell of a generation of which another one tells from further outside, and
    that one, by their ids. An app that calls its provider itself and has two instrumentations at work sends such pairs.

    `spans` must hold everything that competes with each other.
    """
    of_usage: dict[tuple[int, str | None], list[Heard]] = defaultdict(list)
    for span in spans:
        if span.usage is not None:
            of_usage[span.usage.prompt, span.key_id].append(span)
    pairs = [
        (abs(inner.start - outer.start), inner.start, inner.id, outer.id)
        for alike in of_usage.values()
        for inner in alike
        if inner.may_double
        for outer in alike
        if is_within(inner, outer)
    ]
    found: dict[str, str] = {}
    taken: set[str] = set()
    for _, _, id, host_id in sorted(pairs):
        if id not in found and host_id not in taken:
            found[id] = host_id
            taken.add(host_id)
    # A host may be within another one. No way leads back: a library's span is no host, and what has a parent is in none.
    return {id: found.get(host_id, host_id) for id, host_id in found.items()}


def is_within(inner: Heard, outer: Heard) -> bool:
    """Whether `inner` may tell of the generation that `outer` tells of, as a library's span or as one that stands nowhere."""
    mine, its = inner.usage, outer.usage
    return (
        mine is not None
        and its is not None
        and inner.id != outer.id
        and inner.key_id == outer.key_id
        and mine.prompt == its.prompt
        and inner.may_double
        and not outer.is_native
        and (_is_beside(inner, outer) if inner.is_native else outer.parent_id is not None)
        and outer.start - ROUNDING_S <= inner.start
        and inner.end - ROUNDING_S <= outer.end <= inner.end + AROUND_S
        and not mine.completions.isdisjoint(its.completions)
        and not mine.models.isdisjoint(its.models)
    )


def _is_beside(native: Heard, outer: Heard) -> bool:
    """Whether a library's span stands where one of its instrumentation does: below the same span or below that one, or both nowhere."""
    together = native.trace_id == outer.trace_id and native.parent_id in (outer.parent_id, outer.span_id)
    return native.scope != outer.scope and (together or native.parent_id is outer.parent_id is None)


def _order_of_call(call: Call) -> tuple[float, str]:
    return call.start, call.id


def order_of_named(span: Heard) -> tuple[Any, ...]:
    """Those in a tree first, and of those the innermost: it ends first."""
    return span.parent_id is None, span.end, span.id


def _order_in_time(span: Heard, call: Call) -> tuple[bool, float]:
    """The next by, but first those that began before the call did, as whoever asks does."""
    return span.start - ROUNDING_S > call.start, abs(span.start - call.start)


def _order_of_pair(pair: tuple[Any, ...]) -> tuple[Any, ...]:
    return pair[:4]


def _order_of_link(found: Link) -> tuple[Any, ...]:
    """A span that has a parent stands in the app's tree, one that has none tells only of itself (an instrumentation that does not see
    the framework around it): the first is worth more, however each was recognised."""
    return found.rank is Rank.REPEATED, found.span.parent_id is None, found.rank, found.distance_s, found.span.start, found.span.id


def merged(own: Mapping[str, Any], endpoint: str | None, links: Sequence[Link], facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The columns `LINKED` of a call with these links (the identity first), as stored values.

    `own` is what the call knew by itself, `facts` what each span knows, by the span's id.
    """
    whole = {name: own.get(name) for name in LINKED}
    links = [found for found in links if found.rank is not Rank.REPEATED]
    if not links:
        return whole
    identity = links[0].span
    first = facts[identity.id]
    whole["trace_unique_id"], whole["span_unique_id"] = identity.trace_id, identity.span_id
    whole["span_parent_id"] = _parent(identity, [found.span for found in links[1:]])
    for name in ("span_path", "span_workflow_name"):
        whole[name] = first.get(name) or whole[name]
    if whole["span_name"] is None or whole["span_name"] == endpoint:  # the request gave it no name of its own
        whole["span_name"] = first.get("span_name") or whole["span_name"]
    for name in FILLED:
        if whole[name] is None or whole[name] == "":
            whole[name] = next((value for found in links if (value := facts[found.span.id].get(name)) is not None), whole[name])
    for name in MERGED:
        together: dict[str, Any] = {}
        for found in reversed(links):
            together.update(_object(facts[found.span.id].get(name)))
        together.update(_object(own.get(name)))
        whole[name] = orjson.dumps(together).decode() if together else own.get(name)
    return whole


def _parent(identity: Heard, others: Sequence[Heard]) -> str | None:
    """The identity's parent; where that is another telling of the same call, the parent of that one."""
    parents = {span.span_id: span.parent_id for span in (*others, identity) if span.trace_id == identity.trace_id}
    parent = identity.parent_id
    for _ in parents:
        if parent is None or parent not in parents:
            return parent
        parent = parents[parent]
    return None  # they name each other


def _object(stored: object) -> dict[str, Any]:
    if not isinstance(stored, str):
        return {}
    try:
        found = orjson.loads(stored)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
