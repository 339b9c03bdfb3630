"""What the requests of the family say, whatever their dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Members = Mapping[str, Any]

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQK"
LINK = "https://a.test/b.png"
MARK = {"type": "ephemeral", "ttl": "1h"}
CLOSED = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Where."}, "days": {"type": ["integer", "null"]}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
LOOSE = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "A place, perhaps",
    "properties": {"default": {"type": "string", "format": "uri"}, "n": {"type": "integer", "minimum": 1}, "o": {"$ref": "#/$defs/o"}},
    "$defs": {"o": {"anyOf": [{"const": 1}, {"enum": ["a", "b"]}, {"type": "array", "items": {"type": "string"}, "maxItems": 2}]}},
}
NAMES = ("look", "mcp__server__a_tool.with:odd/characters", "n" * 70)
SEALED = {"anthropic": "c2lnbmVk", "gemini": "AP/+", "openai": "gAAAAAbc"}
LONG_USER = "user_" + "f" * 64 + "_account_" + "a" * 36 + "_session_" + "b" * 30
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
