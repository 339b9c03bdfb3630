"""What a client may ask for: how each dialect says it, and how one sees in the provider's request, and in the answer, that it is there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.compatibility.clients import Json, Said, calling, user
from tests.fakes.turns import PAGE, Turn

TEXT = "Said by the model."
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJSVFT0YK"
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEA"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
FORM = {"type": "object", "properties": {"headline": {"type": "string"}}, "required": ["headline"], "additionalProperties": False}
WEATHER = ("get_weather", {"city": "Bern"})
OPENAI = ("openai.chat", "openai.responses")
ALL = (*OPENAI, "anthropic.messages", "gemini")


@dataclass(frozen=True, slots=True)
class Feature:
    """`asks` makes the request of a client dialect (a dialect that is not in it has no such thing). `turn` is what the model says.

    `sent` must be found in the provider's request: a pattern, or one for each dialect of a provider. `came` judges the answer.
    """

    name: str
    asks: Mapping[str, Callable[[str], Json]]
    turn: Turn = field(default_factory=lambda: Turn(TEXT))
    sent: str | Mapping[str, str] = "hello"
    came: Callable[[str, Said], bool] = lambda client, said: said.text == TEXT
    streams: bool = False

    def arrived(self, dialect: str, body: str) -> bool:
        pattern = self.sent if isinstance(self.sent, str) else self.sent[dialect]
        return re.search(pattern, body) is not None


def everywhere(**members: Any) -> Mapping[str, Callable[[str], Json]]:
    return {client: _plus(**members) for client in ALL}


def _plus(**members: Any) -> Callable[[str], Json]:
    """A plain question with these members."""
    return lambda client: {**user(client), **members}


def _configured(**members: Any) -> Callable[[str], Json]:
    """Gemini's place for how to answer."""
    return _plus(generationConfig=members)


def _knob(name: str, value: Any, **spelled: str) -> Mapping[str, Callable[[str], Json]]:
    """One member, of this name in chat; of others where said."""
    asks: dict[str, Callable[[str], Json]] = {"openai.chat": _plus(**{name: value})}
    for client, word in spelled.items():
        asks[_SHORT[client]] = _configured(**{word: value}) if client == "gemini" else _plus(**{word: value})
    return asks


_SHORT = {"responses": "openai.responses", "messages": "anthropic.messages", "gemini": "gemini"}


def _with_parts(**parts: Json) -> Mapping[str, Callable[[str], Json]]:
    names = {"chat": "openai.chat", **_SHORT}
    return {names[name]: _saying(part) for name, part in parts.items()}


def _saying(part: Json) -> Callable[[str], Json]:
    return lambda client: user(client, part)


def _offering(**more: Any) -> Mapping[str, Callable[[str], Json]]:
    def asks(client: str) -> Json:
        return {**user(client), **calling(client, ("get_weather", SCHEMA), ("get_time", SCHEMA), strict=bool(more.get("strict")))}

    return dict.fromkeys(ALL, asks)


def _choosing(client: str) -> Json:
    choice: Json = {
        "openai.chat": {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
        "openai.responses": {"tool_choice": {"type": "function", "name": "get_weather"}},
        "anthropic.messages": {"tool_choice": {"type": "tool", "name": "get_weather"}},
        "gemini": {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["get_weather"]}}},
    }[client]
    return {**_offering()[client](client), **choice}


def _called(*names: str) -> Callable[[str, Said], bool]:
    return lambda client, said: said.calls == [(name, {"city": "Bern"}) for name in names]


def _system(client: str) -> Json:
    body = user(client)
    match client:
        case "openai.chat":
            body["messages"].insert(0, {"role": "system", "content": "SYSTEM"})
        case "openai.responses":
            body["instructions"] = "SYSTEM"
        case "anthropic.messages":
            body["system"] = "SYSTEM"
        case "gemini":
            body["systemInstruction"] = {"parts": [{"text": "SYSTEM"}]}
    return body


def _system_later(client: str) -> Json:
    body = user(client)
    member = "input" if client == "openai.responses" else "messages"
    body[member] += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": "go on"}, {"role": "system", "content": "SYSTEM"}]
    return body


_CACHED = {
    "openai.chat": lambda usage: usage["prompt_tokens_details"]["cached_tokens"],
    "openai.responses": lambda usage: usage["input_tokens_details"]["cached_tokens"],
    "anthropic.messages": lambda usage: usage["cache_read_input_tokens"],
    "gemini": lambda usage: usage["cachedContentTokenCount"],
}

_JSON_SCHEMA = {
    "openai.chat": _plus(response_format={"type": "json_schema", "json_schema": {"name": "f", "schema": FORM, "strict": True}}),
    "openai.responses": _plus(text={"format": {"type": "json_schema", "name": "f", "schema": FORM, "strict": True}}),
    "anthropic.messages": _plus(output_config={"format": {"type": "json_schema", "schema": FORM}}),
    "gemini": _configured(responseMimeType="application/json", responseJsonSchema=FORM),
}
_JSON = {
    "openai.chat": _plus(response_format={"type": "json_object"}),
    "openai.responses": _plus(text={"format": {"type": "json_object"}}),
    "gemini": _configured(responseMimeType="application/json"),
}
THINKING: Mapping[str, Callable[[str], Json]] = {
    "openai.chat": _plus(reasoning_effort="high"),
    "openai.responses": _plus(reasoning={"effort": "high", "summary": "auto"}, include=["reasoning.encrypted_content"]),
    "anthropic.messages": _plus(thinking={"type": "enabled", "budget_tokens": 2000}),
    "gemini": _configured(thinkingConfig={"includeThoughts": True, "thinkingBudget": 2000}),
}
_SEARCH = {
    "openai.chat": _plus(web_search_options={}),
    "openai.responses": _plus(tools=[{"type": "web_search"}]),
    "anthropic.messages": _plus(tools=[{"type": "web_search_20250305", "name": "web_search"}]),
    "gemini": _plus(tools=[{"googleSearch": {}}]),
}


def _beside_a_function(client: str) -> Json:
    body = _SEARCH[client](client)
    return {**body, "tools": [*body.get("tools", ()), *calling(client, ("get_weather", SCHEMA))["tools"]]}


def images_by_url(url: str) -> Mapping[str, Callable[[str], Json]]:
    return _with_parts(
        chat={"type": "image_url", "image_url": {"url": url}},
        responses={"type": "input_image", "image_url": url},
        messages={"type": "image", "source": {"type": "url", "url": url}},
        gemini={"fileData": {"fileUri": url, "mimeType": "image/png"}},
    )


IMAGE: Mapping[str, Json] = {
    "openai.responses": {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"},
    "anthropic.messages": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
    "gemini": {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
}
_CITING = Turn(TEXT, cited="by the model")


def _cites(client: str, said: Said) -> bool:
    return [url for url, words in said.cited if _CITING.cited in words] == [PAGE]


_CUSTOM = {
    "openai.chat": _plus(tools=[{"type": "custom", "custom": {"name": "write_poem"}}]),
    "openai.responses": _plus(tools=[{"type": "custom", "name": "write_poem"}]),
}

FEATURES: Sequence[Feature] = (
    Feature("text", everywhere()),
    Feature("text, streamed", everywhere(), streams=True),
    Feature("usage, with what was cached", everywhere(), came=lambda client, said: _CACHED[client](said.usage) == 8),
    Feature(
        "system prompt", dict.fromkeys(ALL, _system), sent='(system|developer|instructions|systemInstruction)\\W.*SYSTEM|SYSTEM.*"system"'
    ),
    Feature("system message in mid-conversation", dict.fromkeys((*OPENAI, "anthropic.messages"), _system_later), sent="go on.*SYSTEM"),
    Feature("tools", _offering(), Turn(TEXT, [WEATHER]), "get_weather", _called("get_weather")),
    Feature("tools, streamed", _offering(), Turn(TEXT, [WEATHER]), "get_weather", _called("get_weather"), streams=True),
    Feature(
        "parallel tools", _offering(), Turn("", [WEATHER, ("get_time", {"city": "Bern"})]), "get_time", _called("get_weather", "get_time")
    ),
    Feature(
        "strict tools",
        {client: ask for client, ask in _offering(strict=True).items() if client != "gemini"},
        Turn("", [WEATHER]),
        "get_weather",
        _called("get_weather"),
    ),
    Feature(
        "a tool that must be called",
        dict.fromkeys(ALL, _choosing),
        Turn("", [WEATHER]),
        {
            "openai.chat": '"tool_choice":({|"required)',
            "openai.responses": '"tool_choice":({|"required)',
            "anthropic.messages": '"type":"(tool|any)"',
            "gemini": '"mode":"ANY"',
        },
        _called("get_weather"),
    ),
    Feature(
        "custom tools (free text)",
        _CUSTOM,
        Turn("", [("write_poem", "roses")]),
        "write_poem",
        lambda client, said: said.calls == [("write_poem", "roses")],
    ),
    Feature(
        "images inline",
        _with_parts(
            chat={"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            responses=IMAGE["openai.responses"],
            messages=IMAGE["anthropic.messages"],
            gemini=IMAGE["gemini"],
        ),
        sent=re.escape(PIXEL),
    ),
    Feature(
        "PDF inline",
        _with_parts(
            chat={"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
            responses={"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
            messages={"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
            gemini={"inlineData": {"mimeType": "application/pdf", "data": PDF}},
        ),
        sent=re.escape(PDF),
    ),
    Feature(
        "sound inline",
        _with_parts(
            chat={"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
            gemini={"inlineData": {"mimeType": "audio/wav", "data": WAV}},
        ),
        sent=re.escape(WAV),
    ),
    Feature(
        "structured output (a schema)", _JSON_SCHEMA, Turn('{"headline": "x"}'), "headline", lambda client, said: "headline" in said.text
    ),
    Feature("JSON mode", _JSON, Turn('{"a": 1}'), "json", lambda client, said: said.text == '{"a": 1}'),
    Feature(
        "thinking",
        THINKING,
        Turn(TEXT, thought="Let me think."),
        {
            "openai.chat": '"reasoning_effort":',
            "openai.responses": '"effort":',
            "anthropic.messages": '"thinking":',
            "gemini": "thinkingBudget",
        },
        lambda client, said: client == "openai.chat" or said.thought == "Let me think.",
    ),
    Feature("pages that an answer cites", everywhere(), _CITING, came=_cites),
    Feature("pages that an answer cites, streamed", everywhere(), _CITING, came=_cites, streams=True),
    Feature("web search", _SEARCH, sent="web_search|googleSearch"),
    Feature("web search beside a function", dict.fromkeys(ALL, _beside_a_function), sent="web_search|googleSearch"),
    Feature(
        "limit of the answer",
        {
            "openai.chat": _plus(max_completion_tokens=321),
            "openai.responses": _plus(max_output_tokens=321),
            "anthropic.messages": _plus(max_tokens=321),
            "gemini": _configured(maxOutputTokens=321),
        },
        sent='tokens":321|OutputTokens":321',
    ),
    Feature("stop", _knob("stop", ["HALT"], messages="stop_sequences", gemini="stopSequences"), sent="HALT"),
    Feature(
        "temperature", _knob("temperature", 0.125, responses="temperature", messages="temperature", gemini="temperature"), sent="0.125"
    ),
    Feature("top_p", _knob("top_p", 0.875, responses="top_p", messages="top_p", gemini="topP"), sent="0.875"),
    Feature(
        "top_k",
        {client: ask for client, ask in _knob("top_k", 17, messages="top_k", gemini="topK").items() if client != "openai.chat"},
        sent=":17\\b",
    ),
    Feature("seed", _knob("seed", 4242, gemini="seed"), sent="4242"),
    Feature("penalties", _knob("presence_penalty", 0.375, gemini="presencePenalty"), sent="0.375"),
    Feature(
        "probabilities of tokens",
        {
            "openai.chat": _plus(logprobs=True, top_logprobs=3),
            "openai.responses": _plus(top_logprobs=3, include=["message.output_text.logprobs"]),
            "gemini": _configured(responseLogprobs=True, logprobs=3),
        },
        sent='ogprobs":3',
    ),
    Feature("several answers", {"openai.chat": _plus(n=2), "gemini": _configured(candidateCount=2)}, sent='"n":2|candidateCount":2'),
    Feature(
        "who asks",
        {
            "openai.chat": _plus(safety_identifier="user-77"),
            "openai.responses": _plus(safety_identifier="user-77"),
            "anthropic.messages": _plus(metadata={"user_id": "user-77"}),
        },
        sent="user-77",
    ),
    Feature(
        "verbosity", {"openai.chat": _plus(verbosity="low"), "openai.responses": _plus(text={"verbosity": "low"})}, sent='"verbosity":"low"'
    ),
    Feature(
        "cache breakpoints",
        {"anthropic.messages": lambda client: user(client, {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}})},
        sent={"openai.chat": "hello", "openai.responses": "hello", "anthropic.messages": "cache_control", "gemini": "hello"},
    ),
)
