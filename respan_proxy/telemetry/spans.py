"""A span as it was exported (`Span`), and what it says in Respan's words (`Told`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from respan_proxy.respan.spans import Row

# On the resource of everything we pass on: the processes that did, by their ids. What comes back to one of them is not taken again.
MARK: Final = "respan.proxy.instance"


def has_passed(resource: Mapping[str, Any], instance_id: str) -> bool:
    """Whether that process has passed on the spans of this resource."""
    marks = resource.get(MARK)
    return isinstance(marks, str) and instance_id in marks.split(" ")


@dataclass(slots=True)
class Event:
    """A moment within a span (`exception`, or a message as the GenAI conventions 1.28 to 1.36 tell it)."""

    name: str
    at_ns: int
    attributes: Mapping[str, Any]


@dataclass(slots=True)
class Link:
    """Another span that this one is about, without being its child."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]


@dataclass(slots=True)
class Source:
    """What the spans of one resource and scope share."""

    resource: Mapping[str, Any]
    scope_name: str = ""
    scope_version: str = ""
    scope_attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Span:
    """One OpenTelemetry span. Ids are lower-case hex (32 and 16 digits), times nanoseconds of the epoch, `status` 0 unset, 1 ok, 2 error.

    Attribute values are what JSON can hold: text, numbers, booleans, lists, objects with text keys; bytes became base64 text.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    source: Source
    events: Sequence[Event] = ()
    links: Sequence[Link] = ()
    status: int = 0
    status_message: str = ""
    trace_state: str = ""


@dataclass(slots=True)
class Claim:
    """By what a span may be recognised as one of the gateway's own calls."""

    log_id: str | None = None
    """The gateway's id of the call, from its link header."""
    response_id: str | None = None
    """The provider's id of the answer."""
    is_native: bool = False
    """Made by a client library of a provider (Anthropic's), whose span id went to the gateway as `traceparent`."""
    scope: str = ""
    """The instrumentation that made the span (its OpenTelemetry scope): it makes one of a call."""
    is_generation: bool = False
    """Of a call of a model: what the gateway's rows are, and what tokens and cost are summed over."""


@dataclass(slots=True)
class Said:
    """What a span tells of the conversation, in the form of Respan's content fields: `input` and `output` are texts, the rest is parsed."""

    input: str | None = None
    output: str | None = None
    prompt_messages: list[Any] | None = None
    completion_messages: list[Any] | None = None
    tools: Any = None
    tool_calls: Any = None


@dataclass(slots=True)
class Told:
    """What a span says as a row of its own, what was said in it, and by what it may be a call that has a row already.

    `raw` is the span whole, as JSON can hold it: every attribute, event and link, its resource and scope.
    """

    row: Row
    said: Said
    raw: dict[str, Any]
    claim: Claim


@dataclass(slots=True)
class Remembered:
    """A row read back to be passed on. `said`: what was said, where it was kept and is wanted. `raw`: the app's span that the row is, in
    the form of `Told.raw`. `parent_id`: the span that the row hangs on, where that is not the one it names."""

    row: Row
    said: Said | None = None
    raw: Mapping[str, Any] | None = None
    parent_id: str | None = None


Annotation = tuple[str, Mapping[str, Any]]
"""What is said of a row after it was made: its id, and its columns' new values (None: empty). Objects are merged key by key; a key whose
value is None goes."""


def row_id(trace_id: str, span_id: str, key_id: str | None) -> str:
    """The id of a span's own row: the same however often and in whatever order the span arrives.

    The key that it came with is part of it: who knows the ids of another's span cannot write over it. A quarter is the trace's, so that
    the spans of a trace, which come together, lie beside each other in every index of the id; sixteen digits still tell two spans apart.
    """
    trace = f"{key_id or ''}/{trace_id}".encode("utf-8", "surrogatepass")
    whole = trace + f"/{span_id}".encode("utf-8", "surrogatepass")
    return blake2b(trace, digest_size=4).hexdigest() + blake2b(whole, digest_size=12).hexdigest()
