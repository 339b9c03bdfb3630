"""Tools that take free text: their format in OpenAI's two spellings, and the function in their place where only functions are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from respan_proxy.dialects.asked import Asked, compact, wrong

AS_FUNCTION: Mapping[str, Any] = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
"""Its parameters."""
_SYNTAXES = {"lark": "lark", "regex": "regex"}


def read_format(tool: Asked) -> Mapping[str, Any] | None:
    """`format` as Responses spells it: `{type: text}` or `{type: grammar, syntax, definition}`; chat has the latter two in a `grammar`."""
    format = tool.object("format")
    if format is None:
        return None
    match format.one_text("type"):
        case "text":
            return {"type": "text"}
        case "grammar":
            grammar = format.object("grammar") or format
            grammar.one_text("syntax")
            return {"type": "grammar", "syntax": grammar.word("syntax", _SYNTAXES), "definition": grammar.one_text("definition")}
        case kind:
            raise wrong(format.path("type"), kind, "'text' or 'grammar'")


def chat_format(format: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same as chat spells it."""
    if format.get("type") != "grammar":
        return format
    return {"type": "grammar", "grammar": {name: value for name, value in format.items() if name != "type"}}


def is_grammar(format: Mapping[str, Any] | None) -> bool:
    """Whether the text must be of a grammar: a function cannot promise that."""
    return format is not None and format.get("type") == "grammar"


def as_arguments(text: str) -> str:
    """The input as the arguments of the function: `{"input": text}`."""
    return compact({"input": text}, "input")
