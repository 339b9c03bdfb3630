"""Owns what echo says: the events of its answer to one reading, the same ones every time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import orjson

from respan_proxy.dialects.events import (
    End,
    Event,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    Start,
    TextDelta,
    ToolDelta,
    ToolEnd,
    ToolStart,
    UsageReport,
)
from respan_proxy.dialects.usage import Usage, estimate
from respan_proxy.echo.fits import Unfit
from respan_proxy.echo.manners import Manner
from respan_proxy.echo.reading import Reading, Tool
from respan_proxy.echo.schemas import fitting

_QUOTED = 500  # characters of the user's words that an answer repeats
# Whose key makes a name real, by how the name begins; the variables are the ones the vendors' own SDKs read.
_VARIABLES = (("claude", "ANTHROPIC_API_KEY"), ("gemini", "GEMINI_API_KEY"), ("", "OPENAI_API_KEY"))


def script(reading: Reading, manner: Manner, model: str, *, stand_in: bool, says: str | None = None) -> Iterator[Event]:
    """The answer. `stand_in`: `model` is a real model's name that nobody has a key for, and the text must say so.

    `says`: the text itself, whatever was asked.
    """
    tool = tool_to_call(reading) if says is None else None
    thought = "The user wants an answer, so an answer it is." if manner.thinks else ""
    said = "" if tool else says if says is not None else _answer(reading, manner, model, stand_in)
    arguments = _arguments(tool) if tool else ""
    read = Usage(prompt=reading.tokens)
    whole = Usage(
        prompt=reading.tokens,
        output=(estimate(thought) + estimate((tool.name if tool else "") + said + arguments)) * reading.choices,
        reasoning=estimate(thought) * reading.choices,
    )
    yield Start(None, model)
    if manner.tells_usage:
        yield UsageReport(read)
    for choice in range(reading.choices):
        if thought:
            for piece in _words(thought):
                yield ReasoningDelta(piece, choice)
            yield ReasoningEnd(None, choice)
        if tool:
            yield ToolStart(0, None, tool.name, choice, custom=tool.custom)
            for piece in _cut(arguments):
                yield ToolDelta(0, piece, choice)
            yield ToolEnd(0, choice)
        elif manner.finish == "filter":
            for piece in _words(said):
                yield RefusalDelta(piece, choice)
        else:
            for piece in _words(said) if reading.schema is None or says is not None else _cut(said):
                yield TextDelta(piece, choice)
    for choice in range(reading.choices):
        yield Finish("tool" if tool else manner.finish, None, choice, explanation=said if manner.finish == "filter" else None)
    if manner.tells_usage:
        yield UsageReport(whole)
    yield End()


def tool_to_call(reading: Reading) -> Tool | None:
    """The tool that the question names, else the first: once for each question, unless the caller insists on a call."""
    offered = [tool for tool in reading.tools if not reading.allowed or tool.name in reading.allowed]
    if not offered or reading.choice == "none" or (reading.results and reading.choice == "auto"):
        return None
    return next((tool for tool in offered if re.search(rf"\b{re.escape(tool.name)}\b", reading.question, re.IGNORECASE)), offered[0])


def _arguments(tool: Tool) -> str:
    if tool.custom:
        return "input"
    try:
        made = fitting(tool.schema if tool.schema is not True else {"type": "object"}, tool.name)
    except Unfit:
        made = {}
    return orjson.dumps(made).decode()


def _answer(reading: Reading, manner: Manner, model: str, stand_in: bool) -> str:
    if manner.finish == "filter":
        return "echo was asked to refuse, and refuses."
    if manner.words:
        return " ".join(["echo"] * manner.words)
    if reading.schema is not None:
        return _json(reading)
    quoted = f' You said: "{_shortened(reading.question)}"' if reading.question else ""
    results = "".join(f' The tool answered: "{_shortened(result)}".' for result in reading.results)
    return f"{_introduction(model, stand_in)}{results}{quoted}"


def _introduction(model: str, stand_in: bool) -> str:
    if not stand_in:
        return "This is echo: it answers without asking any model."
    variable = next(variable for family, variable in _VARIABLES if model.startswith(family))
    return (
        f"This is echo, standing in for {model}: no provider has a key yet. "
        f"Set {variable} in the environment or in .env, start again, and {model} answers itself."
    )


def _json(reading: Reading) -> str:
    """What the schema asks for; an object that quotes the user when it asks for any object, or for what cannot be."""
    if reading.schema is not True:
        try:
            return orjson.dumps(fitting(reading.schema)).decode()
        except Unfit:
            pass
    return orjson.dumps({"echo": _shortened(reading.question)}).decode()


def _shortened(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"


def _words(text: str) -> Sequence[str]:
    return re.findall(r"\s*\S+|\s+$", text)


def _cut(text: str) -> Sequence[str]:
    """JSON as models stream it: a few characters at a time."""
    return [text[at : at + 12] for at in range(0, len(text), 12)]
