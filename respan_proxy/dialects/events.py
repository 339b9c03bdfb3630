"""The neutral events of a reply: what any provider can say, whole or streamed, in any dialect.

Order of a reply: `Start`, content in the order it was said, one `Finish` per choice, `UsageReport`s anywhere (each replaces the
one before), and `End`; or `Failure` in the place of whatever was still to come. Readers emit nothing for what is empty
(no `TextDelta("")`), and nothing after `End` or `Failure`. Offsets count characters (code points) of the choice's joined text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from respan_proxy.dialects.usage import Usage
from respan_proxy.errors import Kind, ProxyError
from respan_proxy.frozen import frozen

FinishReason = Literal["stop", "stop_sequence", "tool", "length", "context", "filter", "pause"]
Provider = Literal["anthropic", "gemini", "openai"]
_PROVIDERS: Mapping[str, Provider] = {"anthropic": "anthropic", "gemini": "gemini", "openai": "openai"}
TAG = "gw1."
_TAGGED = re.compile(r"gw1\.(anthropic|gemini|openai)\.(?:([A-Za-z0-9_-]{1,64}):)?(.+)", re.DOTALL)
_REDACTED = "redacted"


@frozen
class Opaque:
    """State only its provider can read: a signature, encrypted reasoning. It must come back untouched, and only to that provider."""

    provider: Provider
    data: str
    redacted: bool = False  # Anthropic's redacted_thinking: the data is the whole block
    id: str | None = None
    """The item it came in, where the two belong together: OpenAI refuses encrypted content under any other id."""

    def tagged(self) -> str:
        """As it travels inside a foreign dialect's field: `gw1.gemini.SIG`, `gw1.anthropic.redacted:DATA`, `gw1.openai.ID:DATA`."""
        name = _REDACTED if self.redacted else self.id
        return f"{TAG}{self.provider}.{name}:{self.data}" if name else f"{TAG}{self.provider}.{self.data}"

    @classmethod
    def untagged(cls, tagged: str) -> Opaque | None:
        """The reverse; None of what carries no tag of ours."""
        found = _TAGGED.fullmatch(tagged)
        if found is None:
            return None
        redacted = found[2] == _REDACTED
        return cls(_PROVIDERS[found[1]], found[3], redacted, None if redacted else found[2])


@frozen
class Start:
    """The reply has an identity. Fields the provider left out are None: a writer makes an id of its own."""

    id: str | None
    model: str | None
    created: int | None = None  # seconds of the epoch


@frozen
class TextDelta:
    text: str
    choice: int = 0


@frozen
class RefusalDelta:
    text: str
    choice: int = 0


@frozen
class ReasoningDelta:
    """A piece of thinking that may be shown: Anthropic thinking, a Responses summary, `reasoning_content`, a Gemini thought."""

    text: str
    choice: int = 0


@frozen
class ReasoningEnd:
    """A block of thinking is over (dialects without blocks never say so); `opaque` may come without any text before it."""

    opaque: Opaque | None = None
    choice: int = 0


@frozen
class Signature:
    """Gemini signed a part of text: belongs to the `TextDelta` that follows, or stands alone when that text is empty."""

    opaque: Opaque
    choice: int = 0


@frozen
class ToolStart:
    """A call begins. `index` counts the calls of the choice from 0; `id` is None where the provider gives none (a writer makes one).

    Arguments follow as `ToolDelta`s, which may interleave with those of other calls; readers never emit an empty one, and complete
    a call without arguments to `{}` where their dialect marks the end of a call.
    """

    index: int
    id: str | None
    name: str
    choice: int = 0
    custom: bool = False  # free-form input instead of JSON arguments
    signature: Opaque | None = None


@frozen
class ToolDelta:
    index: int
    arguments: str
    choice: int = 0


@frozen
class ToolEnd:
    """The call is complete. Chat streams never say so: there a call ends with `Finish`."""

    index: int
    choice: int = 0


@frozen
class Citation:
    """A web page behind the characters `start` to `end` of the choice's joined text; emitted after that text."""

    start: int
    end: int
    url: str
    title: str
    choice: int = 0

    def within(self, length: int) -> tuple[int, int]:
        """Its place in a text of `length` characters: all of it where the place says nothing, as some servers count none."""
        return (self.start, min(self.end, length)) if self.start < min(self.end, length) else (0, length)


@frozen
class Logprobs:
    """Probabilities of the tokens just said, in OpenAI's shape: `{token, logprob, bytes, top_logprobs: [...]}`."""

    tokens: tuple[Mapping[str, Any], ...]
    choice: int = 0
    refusal: bool = False  # of refusal text instead of text


@frozen
class Media:
    """A generated image or other file: `data` (base64, standard alphabet) or a `url`."""

    media_type: str | None
    data: str | None = None
    url: str | None = None
    choice: int = 0

    @property
    def kind(self) -> str:
        """`image`, `audio`, `video`, ...; `media` where nobody said."""
        return (self.media_type or "").partition("/")[0] or "media"


@frozen
class Unsaid:
    """The provider said something that no event holds: `citations`, `audio`, `hosted_tools`. Writers pass it over: it is told as a loss."""

    what: str
    choice: int = 0


@frozen
class Finish:
    """A choice ended. `native` is the provider's own word; `explanation` and `category` say why something was refused."""

    reason: FinishReason
    native: str | None
    choice: int = 0
    stop_sequence: str | None = None
    explanation: str | None = None
    category: str | None = None


@frozen
class UsageReport:
    """Cumulative: replaces every report before it."""

    usage: Usage


@frozen
class Failure:
    """The provider reported an error in the place of the rest, or the stream broke off. A value, unlike the exception it stands for."""

    kind: Kind
    message: str
    status: int
    code: str | None = None
    param: str | None = None

    @classmethod
    def of(cls, error: ProxyError) -> Failure:
        return cls(error.kind, error.message, error.status, error.code, error.param)

    def error(self) -> ProxyError:
        return ProxyError(self.message, status=self.status, kind=self.kind, code=self.code, param=self.param)


@frozen
class End:
    """The provider said that this is all."""


Event = (
    Start
    | TextDelta
    | RefusalDelta
    | ReasoningDelta
    | ReasoningEnd
    | Signature
    | ToolStart
    | ToolDelta
    | ToolEnd
    | Citation
    | Logprobs
    | Media
    | Unsaid
    | Finish
    | UsageReport
    | Failure
    | End
)
