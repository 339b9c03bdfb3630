"""The neutral request: what any client can ask of any model, as values that four readers make and four writers say.

What has the same meaning in a reply and in the history of a request is one type (`chat.Text`, `Refusal`, `Reasoning`, `ToolCall`).
A request's other parts are here. `where` members hold the caller's own path of a member (`messages[0].content`), for messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from respan_proxy.dialects.chat import Reasoning, Refusal, Text, ToolCall
from respan_proxy.dialects.events import Provider
from respan_proxy.frozen import frozen

Role = Literal["user", "assistant", "system"]
Kind = Literal["image", "audio", "video", "document"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Tier = Literal["auto", "default", "flex", "priority"]


# ------------------------------------------------------------------------------------------------------------- what is said


@frozen
class Inline:
    """Bytes in the request: base64 in the standard alphabet, padded, without white space."""

    data: str


@frozen
class Link:
    """Bytes on the web, or wherever else a URL leads (`gs://`, Gemini's file URIs, YouTube)."""

    url: str


@frozen
class FileRef:
    """A file that was uploaded to one provider and means nothing to any other."""

    provider: Provider
    id: str


@frozen
class Written:
    """A document that is text anyway."""

    text: str


@frozen
class Attachment:
    """An image, a sound, a film or a document. `media_type` is None where only the URL may tell."""

    kind: Kind
    source: Inline | Link | FileRef | Written
    media_type: str | None = None
    name: str | None = None
    """File name (OpenAI) or title (Anthropic)."""
    detail: str | None = None
    """OpenAI's low, high, auto or original."""
    context: str | None = None
    """Anthropic: what the model is told about a document besides."""
    citations: bool = False
    """Anthropic: the answer shall cite this document."""
    cache: Mapping[str, Any] | None = None


@frozen
class ToolResult:
    """What a call gave. `name` where the client said it (Gemini, the legacy `function` role); readers pair results and calls by id."""

    call_id: str
    parts: tuple[Text | Attachment, ...] = ()
    error: bool = False
    name: str | None = None
    custom: bool = False
    cache: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@frozen
class HostedBlock:
    """A call of a tool that its provider ran itself, or what came of it; only that dialect can say it again.

    `web_search`: the search has counterparts, so leaving the block out loses little; other kinds are refused elsewhere.
    """

    dialect: str
    type: str
    members: Mapping[str, Any]
    web_search: bool = False


Part = Text | Refusal | Reasoning | ToolCall | Attachment | ToolResult | HostedBlock


@frozen
class Turn:
    """One message. Tool results are parts of user turns, whatever the role in the client's dialect; nothing is merged or moved yet.

    `system` turns are those said in the middle of the conversation; the leading ones are `ChatRequest.system`.
    """

    role: Role
    parts: tuple[Part, ...]
    where: str
    """`messages[0].content`, `contents[0].parts`, `input[0]`."""


# ------------------------------------------------------------------------------------------------------------- what may be used


@frozen
class Function:
    """`parameters` is JSON Schema (OpenAPI spellings already translated); None or empty: takes nothing. `strict` None: nothing was said."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None
    cache: Mapping[str, Any] | None = None


@frozen
class Custom:
    """A tool that takes free text. `format` is that of Responses: `{type: text}` or `{type: grammar, syntax, definition}`."""

    name: str
    description: str | None = None
    format: Mapping[str, Any] | None = None


@frozen
class WebSearch:
    """The one hosted tool that every provider has. `location`: `{city?, region?, country?, timezone?}`.

    `external`: may it leave what OpenAI has stored?
    """

    location: Mapping[str, str] | None = None
    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()
    max_uses: int | None = None
    context_size: str | None = None
    external: bool | None = None
    cache: Mapping[str, Any] | None = None


@frozen
class Hosted:
    """Any other tool that only one dialect knows (`declaration` is its whole object), run by the provider or known to its models."""

    dialect: str
    type: str
    declaration: Mapping[str, Any]
    where: str
    """`tools[1].type`"""
    name: str | None = None


Tool = Function | Custom | WebSearch | Hosted


@frozen
class ToolChoice:
    """`allowed`: only these functions may be called (`required` with one name: that one must). `hosted`: this type of hosted tool must."""

    mode: Literal["auto", "none", "required"]
    allowed: tuple[str, ...] = ()
    hosted: str | None = None


# ------------------------------------------------------------------------------------------------------------- how to answer


@frozen
class JsonObject:
    """Any JSON."""


@frozen
class JsonSchema:
    """JSON of this schema. `strict` None: nothing was said."""

    schema: Mapping[str, Any]
    name: str | None = None
    strict: bool | None = None
    description: str | None = None


@frozen
class Thinking:
    """How much to think, as the client said it: in words, in tokens, both, or neither (think as you like). `effort` "none": do not.

    `visible` None: nothing was said about showing it.
    """

    effort: Effort | None = None
    budget: int | None = None
    visible: bool | None = None


@frozen
class Extra:
    """A member that only the client's dialect has. Its own writer repeats it; for all others it is

    `hint`: left out, it changes no answer (silently dropped); `knob`: dropped with a warning; `meaning`: what was asked cannot be
    given without it (refused). `path` is the member's place, `generationConfig.speechConfig`.
    """

    path: str
    value: Any
    effect: Literal["hint", "knob", "meaning"]


@frozen
class ChatRequest:
    """One request of any dialect. None (or empty) is always: nothing was said.

    Every member holds what was asked, unclamped: limits are the target's, and so the writer's.
    """

    _: KW_ONLY
    dialect: str
    """The one it was read from."""
    model: str
    system: tuple[Text, ...] = ()
    """Leading system and developer messages, instructions; one block each."""
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel: bool | None = None
    """Several calls in one turn: `parallel_tool_calls`, the opposite of `disable_parallel_tool_use`."""
    output: JsonObject | JsonSchema | None = None
    thinking: Thinking | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    stop: tuple[str, ...] = ()
    n: int | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: Mapping[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    verbosity: str | None = None
    user: str | None = None
    """Who asks, for the provider's abuse detection: `safety_identifier` or `user`, `metadata.user_id`."""
    metadata: Mapping[str, Any] | None = None
    """OpenAI's map."""
    service_tier: Tier | None = None
    cache_key: str | None = None
    """OpenAI's `prompt_cache_key`."""
    stream: bool = False
    extras: tuple[Extra, ...] = ()

    @property
    def calls(self) -> Mapping[str, ToolCall]:
        """Every call of the history, by id."""
        return {part.id: part for turn in self.turns for part in turn.parts if isinstance(part, ToolCall) and part.id is not None}


# ------------------------------------------------------------------------------------------------------------- who is asked

# What `Profile.sampling_efforts` is about.
_SAMPLING_AT_EFFORTS = frozenset({"temperature", "top_p", "logprobs", "top_logprobs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Facts about the target model at its provider; the defaults are what most current models of each dialect take."""

    model: str | None = None
    """The provider's name of it; None: as the client wrote."""
    version: str = "2023-06-01"
    """`anthropic-version`. The later 2026-10-21 refuses sampling members, so a translated request goes out as this one."""
    sampling: bool = True
    """Takes temperature, top_p, top_k; at OpenAI also penalties, logprobs and logit_bias."""
    refuses: frozenset[str] = frozenset()
    """Members that this model or server does not take, in its dialect's words, by path where it is about a value: `stop`, `verbosity`,
    `parallel_tool_calls`, `stream_options`, `metadata`, `prompt_cache_key`, `service_tier`, `web_search_options`, `tools.web_search`,
    `tools.custom`, `tool_choice.none`, `tool_choice.allowed_tools`, `thinking.disabled`, `reasoning_effort.with_tools`,
    `messages.extensions` (thinking and state that come back in chat), `messages.annotations` (of answers that come back)."""
    rejects: frozenset[str] = frozenset()
    """Top-level members that it answers 400 to, so that they are taken out of, or renamed in, a caller's request of its own dialect too:
    `temperature`, `stop`, `max_tokens`, `seed`. What a server merely ignores is not here: its callers' bytes are left alone."""
    sampling_efforts: tuple[str, ...] = ()
    """Reasoning efforts at which it takes temperature, top_p and logprobs although it rejects them else; "": none was said."""
    dialect: str | None = None
    """The dialect it is asked in where its provider has several; None: any."""
    dialect_for: Literal["translated", "reasoned_tools", "all"] = "translated"
    """Which requests are asked in `dialect`: those that must be translated anyway; also those with tools that are to be reasoned about;
    all, since its provider answers 404 elsewhere. Raw relays never."""
    thinking: Literal["adaptive", "budget", "level", "none"] | None = None
    """The form of its thinking: Claude `adaptive` (default) or `budget`; Gemini `level` or `budget`; OpenAI by effort unless `none`."""
    thinking_default_on: bool = False
    """Thinks unless told not to."""
    efforts: tuple[Effort, ...] = ()
    """Those it takes, from least to most; empty: all of its dialect's."""
    structured: bool = True
    """Takes a JSON schema for its answer."""
    default_max_tokens: int = 8192
    """Sent where the dialect demands a limit and the client gave none."""
    max_tokens: int | None = None
    """The most it can be asked for; None: unknown."""
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    user_field: Literal["safety_identifier", "user"] | None = "safety_identifier"
    extra_params: frozenset[str] = frozenset()
    """Members beyond the dialect's that this server takes: `top_k`, `cache_control`, `extra_content`, `reasoning_details`."""
    encrypted_reasoning: bool = False
    """Ask for `reasoning.encrypted_content` (Responses)."""
    mid_system: bool = False
    """Takes `role: system` in the middle of a conversation, after a user turn (Claude)."""
    seed_field: str | None = "seed"
    max_stops: int = 4
    call_ids: Literal["any", "nine"] = "any"
    """`nine`: exactly nine letters and digits (Mistral)."""
    replays_reasoning: bool = False
    """Wants `reasoning_content` back in turns that call tools (DeepSeek, xAI)."""

    def takes(self, name: str, effort: str | None) -> bool:
        """Whether it takes a member of sampling while it reasons with `effort` (None: none was said)."""
        return self.sampling or self.samples(name, effort)

    def samples(self, name: str, effort: str | None) -> bool:
        """Whether it takes, at this effort, what it rejects at others."""
        return name in _SAMPLING_AT_EFFORTS and (effort or "") in self.sampling_efforts


# ------------------------------------------------------------------------------------------------------------- what got lost


class Losses:
    """What a writer could not carry, in the order it noticed: `temperature:clamped`, each notice once. Fields have neutral (chat) names.

    What to do about them (a header, a 400, nothing) is the caller's policy, not the writer's.
    """

    __slots__ = ("_notices",)

    def __init__(self) -> None:
        self._notices: dict[str, None] = {}

    def add(self, field: str, action: str = "dropped") -> None:
        self._notices[f"{field}:{action}"] = None

    @property
    def notices(self) -> list[str]:
        return list(self._notices)
