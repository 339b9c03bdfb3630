"""OpenAI's namespaces of tools, which no other dialect has: their functions under joined names, and the way back.

Codex wraps the tools of every MCP server in one, for any provider, and takes a call only as `namespace` and `name` apart (openai/codex
issues 23186 and 33263).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from respan_proxy.dialects.lenient import objects, text


def joined(namespace: str, name: str) -> str:
    """`mcp__git__` and `log`, or `mcp__git` and `log`: `mcp__git__log`, as Codex itself names the tool in words."""
    return f"{namespace}{name}" if namespace.endswith("__") else f"{namespace}__{name}"


def apart(request: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Of a request's tools that are in namespaces: joined name -> (namespace, name). What cannot be read is left out."""
    found = {}
    for tool in _tools(request):
        namespace = text(tool.get("name"))
        if tool.get("type") == "namespace" and namespace:
            for inner in objects(tool.get("tools")):
                if name := text(inner.get("name")):
                    found[joined(namespace, name)] = (namespace, name)
    return found


def _tools(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from objects(request.get("tools"))
    for item in objects(request.get("input")):
        if item.get("type") == "additional_tools":
            yield from objects(item.get("tools"))
