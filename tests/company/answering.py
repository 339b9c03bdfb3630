"""What a provider says to a request, in the dialect of its path: the recorded words, a call of a tool, or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tests.fakes import recordings, thoughts
from tests.fakes.provider import Answer, Received, Step, recorded, streamed, whole

SUNNY = "sunny"
"""What the tool of every driver answers."""

_CALLS: Mapping[str, tuple[Answer, Answer]] = {
    "completions": (
        whole(recordings.CHAT_TOOLS),
        streamed(recordings.CHAT_TOOLS_STREAM[:-1], [recordings.CHAT_USAGE], recordings.CHAT_TOOLS_STREAM[-1:]),
    ),
    "responses": (whole(recordings.RESPONSE_TOOLS), streamed(recordings.RESPONSES_TOOLS_STREAM)),
    "messages": (whole(recordings.MESSAGE_TOOLS), streamed(recordings.MESSAGES_TOOLS_STREAM)),
    "generateContent": (whole(recordings.GEMINI_TOOLS), streamed(recordings.GEMINI_TOOLS_STREAM)),
    "streamGenerateContent": (whole(recordings.GEMINI_TOOLS), streamed(recordings.GEMINI_TOOLS_STREAM)),
}

# What asks for JSON: the four dialects' own words, the two that litellm uses for Gemini, and what is told a model that takes none of them.
_JSON = (
    '"json_schema"', '"json_object"', '"responseSchema"', '"responseJsonSchema"', '"response_mime_type"', '"response_json_schema"',
    "single valid JSON value",
)  # fmt: skip
_CITY = {"Héllo ": '{\\"city\\":', "☃ ": " ", "world": '\\"Zürich\\"}'}
# Claude says the whole usage at the end of a stream, not only what came out.
_WHOLE_USAGE = {'"usage":{"output_tokens":5}': f'"usage":{json.dumps(recordings.MESSAGE_USAGE, separators=(",", ":"))}'}


def obliging(request: Received) -> Answer:
    """A call of the tool that is offered first, until its answer is there; a city where JSON is asked for; else the recorded words."""
    body = request.body.decode()
    if "mbed" in request.target:
        return _embedded(request)
    if SUNNY in body:
        return _changed(recorded(request), _WHOLE_USAGE)
    if any(word in body for word in _JSON):
        return _changed(recorded(request), _CITY)
    for name in _offered(request.json):
        return calling(request, name)
    return _changed(recorded(request), _WHOLE_USAGE)


_THOUGHTFUL: Mapping[str, tuple[list[bytes], list[bytes]]] = {
    "completions": (thoughts.CHAT, thoughts.CHAT_CALLS),
    "responses": (thoughts.RESPONSES, thoughts.RESPONSES_CALLS),
    "messages": (thoughts.MESSAGES, thoughts.MESSAGES_CALLS),
    "streamGenerateContent": (thoughts.GEMINI, thoughts.GEMINI_CALLS),
}


def thoughtful(request: Received) -> Answer:
    """A stream that thinks first, and then calls the tool that is offered twice, until its answer is there; else the recorded words."""
    words, calls = _THOUGHTFUL[_verb(request)]
    offered = next(_offered(request.json), None)
    return streamed(calls if offered and SUNNY not in request.body.decode() else words)


def calling(request: Received, name: str, parameter: str = "city", value: str = "Zürich") -> Answer:
    """The recorded call of a tool, whole or streamed, as a call of this one."""
    query = request.target.partition("?")[2]
    streams = "alt=sse" in query or b'"stream":true' in request.body.replace(b": ", b":")
    answer = _CALLS[_verb(request)][streams]
    return _changed(answer, {"get_weather": name, "city": parameter, "Zürich": value, **_WHOLE_USAGE})


def _verb(request: Received) -> str:
    return request.target.partition("?")[0].rsplit("/", 1)[-1].rpartition(":")[2]


def _embedded(request: Received) -> Answer:
    """One vector, in numbers unless they are asked for as base64."""
    if request.target.endswith(":embedContent"):
        return whole({"embedding": {"values": recordings.EMBEDDED}})
    if request.target.endswith("/embeddings") and b"base64" not in request.body:
        return whole({**recordings.EMBEDDINGS, "data": [{"object": "embedding", "index": 0, "embedding": recordings.EMBEDDED}]})
    return recorded(request)


def _offered(body: Mapping[str, Any]) -> Iterator[str]:
    for tool in body.get("tools", ()):
        for function in tool.get("functionDeclarations") or tool.get("function_declarations") or [tool.get("function", tool)]:
            if "name" in function:
                yield function["name"]


def _changed(answer: Answer, words: Mapping[str, str]) -> Answer:
    """The same answer with other words in it, in whichever form its JSON is written."""

    def changed(step: Step) -> Step:
        if not isinstance(step, bytes):
            return step
        text = json.dumps(json.loads(step), ensure_ascii=False) if step.startswith(b"{") else step.decode()
        for old, new in words.items():
            text = text.replace(old, new)
        return text.encode()

    steps = [changed(step) for step in answer.steps]
    size = str(sum(len(step) for step in steps if isinstance(step, bytes)))
    return replace(answer, steps=steps, headers=[(name, size if name == "Content-Length" else value) for name, value in answer.headers])
