"""What every dialect is: one frozen record of pure functions, and the shapes of what those functions take and give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any, Protocol

from respan_proxy.dialects.events import Event, FinishReason
from respan_proxy.dialects.names import NameMap
from respan_proxy.dialects.request import ChatRequest, Losses, Profile
from respan_proxy.dialects.usage import Usage
from respan_proxy.errors import ProxyError
from respan_proxy.frozen import frozen
from respan_proxy.wire.sse import Frame


class ReplyReader(Protocol):
    """Bytes of a streamed reply in, events out: the same events for any split of the bytes. Never raises, whatever the bytes."""

    @property
    def complete(self) -> bool:
        """Whether the provider's last word was seen, its terminal or its error: else the end of the bytes was a break."""
        ...

    @property
    def unread(self) -> int:
        """How many events were left out because they are no JSON object."""
        ...

    def feed(self, chunk: bytes) -> list[Event]: ...

    def close(self) -> list[Event]:
        """What the end of the bytes means: `End` when the dialect has no terminal of its own, a `Failure` when the reply broke off."""
        ...


class ReplyWriter(Protocol):
    """Events in, bytes of a streamed reply out; every piece is whole frames. `close` ends what `End` or `Failure` did not."""

    def feed(self, event: Event) -> bytes: ...

    def close(self) -> bytes: ...


@frozen
class WriteContext:
    """What a writer must know besides the events."""

    now: int
    """Seconds of the epoch, for `created`."""
    new_id: Callable[[str], str]
    """prefix (`chatcmpl-`, `msg_`, `resp_`, `call_`) -> a fresh id that starts with it."""
    model: str | None = None
    """Shown when the provider named no model."""
    include_usage: bool = True
    """Chat streams only: the caller asked for the usage chunk."""
    array: bool = False
    """Gemini streams only: a JSON array instead of SSE."""
    include_thoughts: bool = True
    """Gemini only: the caller asked to see thoughts."""
    lost: Callable[[str], None] = lambda what: None
    """Told what of the reply the writer has no place for: `citations`, `logprobs`, `image`, `choices`."""
    encrypted_reasoning: bool = True
    """Responses only: the caller asked for `reasoning.encrypted_content`."""
    echo: Mapping[str, Any] = field(default_factory=dict)
    """Responses only: members of the request that the response repeats (`instructions`, `tools`, `metadata`, ...)."""


@frozen
class Outline:
    """What a whole reply says of itself, without what was said."""

    id: str | None
    model: str | None
    finish: FinishReason
    usage: Usage
    calls_tools: bool


@frozen
class TargetBody:
    """A request as its target takes it: the body's members, and how the reply must be retold (`names.restore()` over its events)."""

    members: dict[str, Any]
    names: NameMap = field(default_factory=NameMap)


class ReadRequest(Protocol):
    def __call__(self, members: Mapping[str, Any], model: str | None = None, stream: bool = False) -> ChatRequest:
        """A body's members -> the neutral request. `model` and `stream` are what the path says, where it does (Gemini).

        Raises RequestRejected, which names the member, what was found and what was expected.
        """
        ...


class WriteRequest(Protocol):
    def __call__(self, request: ChatRequest, profile: Profile, losses: Losses) -> TargetBody:
        """What was said and asked, for a target: mapped, clamped, or dropped with a notice in `losses`.

        Raises Untranslatable, before anything is sent, for what changes what was said or asked and cannot be carried.
        """
        ...


@frozen
class Dialect:
    """How one wire dialect says things. Nothing here does I/O, and nothing here raises on what a provider sent."""

    name: str
    """`openai.chat`, `openai.responses`, `anthropic.messages` or `gemini`."""
    reader: Callable[[], ReplyReader]
    writer: Callable[[WriteContext], ReplyWriter]
    read_reply: Callable[[bytes], list[Event]]
    """A whole 2xx body; a body that is an error or no reply at all becomes one `Failure`."""
    write_reply: Callable[[Iterable[Event], WriteContext], bytes]
    """A whole body. Events that hold a `Failure` must be answered with `write_error` instead."""
    read_error: Callable[[int, bytes], ProxyError]
    """(status, body) of a provider's refusal, whatever its shape -> neutral, with the status to answer with."""
    write_error: Callable[[ProxyError, str], tuple[int, bytes]]
    """(error, request id) -> (status, JSON body) as this dialect's SDKs expect them."""
    first_error: Callable[[Frame | str | bytes], ProxyError | None]
    """The first data frame of a 200 stream (or its JSON text): an error in disguise?"""
    interruption: Callable[[bytes, ProxyError, str], bytes]
    """(all bytes sent so far, what broke, request id) -> the dialect's own last words; whole frames."""
    read_usage: Callable[[Mapping[str, Any]], Usage | None]
    """Members of a whole body of any kind (reply, embeddings) -> what it says about tokens."""
    read_count: Callable[[Mapping[str, Any]], int | None]
    """Members of a token count's answer -> the count; None if this dialect has none."""
    is_ping: Callable[[Frame | str | bytes], bool] = lambda frame: False
    """Whether a frame only keeps the connection alive."""
    names_events: bool = False
    """Whether its SDKs pass over events without an `event:` line."""
    outline: Callable[[Any], Outline | None] | None = None
    """A whole body as a value -> its outline; None when it takes a full reading to know. A short cut, where there is one."""
    telling: tuple[bytes, ...] = (b'"error"',)
    """Words in the middle of a stream without which its first and last frames tell how it went."""
    request_id_header: str = "x-request-id"
    """Where this dialect's SDKs look for the id of a request."""
    read_request: ReadRequest | None = None
    write_request: WriteRequest | None = None
