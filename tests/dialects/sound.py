"""What providers demand of a request beyond its types: names, pairs of calls and results, what excludes what. Sources: their 400s."""

from __future__ import annotations

import re
from typing import Any

from respan_proxy.dialects.schemas import is_strict


def assert_sound(dialect: str, body: dict[str, Any], told: str = "") -> None:
    assert complaints_of(dialect, body) == [], told


def complaints_of(dialect: str, body: dict[str, Any]) -> list[str]:
    return {"openai.chat": _chat, "openai.responses": _responses, "anthropic.messages": _messages, "gemini": _gemini}[dialect](body)


def _named(names: list[str], legal: str) -> list[str]:
    said = [f"the name {name!r}" for name in names if not re.fullmatch(legal, name)]
    return said + (["two tools of one name"] if len(set(names)) < len(names) else [])


def _chat(body: dict[str, Any]) -> list[str]:
    said = _named([tool[tool["type"]]["name"] for tool in body.get("tools", ())], r"[a-zA-Z0-9_-]{1,64}")
    if "tools" not in body and body.keys() & {"tool_choice", "parallel_tool_calls"}:
        said.append("a choice without tools")
    if "tools" in body and not body["tools"]:
        said.append("no tools at all")
    open_calls: set[str] = set()
    for message in body["messages"]:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                said.append(f"a result of no call {message['tool_call_id']!r}")
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            said.append(f"calls without results: {open_calls}")
        open_calls = {call["id"] for call in message.get("tool_calls", ())}
        if any(len(id) > 40 for id in open_calls):
            said.append("an id of more than 40 characters")
        if message["content"] in ("", []) or (message["role"] != "assistant" and message["content"] is None):
            said.append("an empty message")
    if open_calls:
        said.append(f"calls without results: {open_calls}")
    if len(body.get("stop") or ()) > 4 and isinstance(body["stop"], list):
        said.append("more than four stop words")
    if "max_tokens" in body and "max_completion_tokens" in body:
        said.append("two limits")
    return said


def _responses(body: dict[str, Any]) -> list[str]:
    named = [tool["name"] for tool in body.get("tools", ()) if "name" in tool and tool["type"] != "namespace"]
    said = _named(named, r"[a-zA-Z0-9_-]{1,64}")
    said += [f"not strict: {tool['name']}" for tool in body.get("tools", ()) if tool.get("strict") and not is_strict(tool["parameters"])]
    format = body.get("text", {}).get("format", {})
    if format.get("strict") and not is_strict(format["schema"]):
        said.append("a format that is not strict")
    items = body["input"] if isinstance(body["input"], list) else []
    calls = [item["call_id"] for item in items if item.get("type", "").endswith("tool_call") or item.get("type") == "function_call"]
    results = [item["call_id"] for item in items if item.get("type", "").endswith("call_output")]
    if set(calls) != set(results) or len(set(calls)) < len(calls):
        said.append(f"calls {calls} and results {results}")
    if body.get("max_output_tokens", 16) < 16:
        said.append("a limit below 16")
    return said


def _messages(body: dict[str, Any]) -> list[str]:
    said = _named([tool["name"] for tool in body.get("tools", ())], r"[a-zA-Z0-9_-]{1,128}")
    if "tool_choice" in body and not body.get("tools"):
        said.append("a choice without tools")
    marks, open_calls = 0, set[str]()
    for message in body["messages"]:
        blocks = message["content"] if isinstance(message["content"], list) else [{"type": "text", "text": message["content"]}]
        results = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if results != open_calls:
            said.append(f"calls {open_calls} and results {results}")
        kinds = [block["type"] == "tool_result" for block in blocks]
        if kinds != sorted(kinds, reverse=True):
            said.append("results behind other content")
        open_calls = {block["id"] for block in blocks if block["type"] == "tool_use"}
        said += [f"the id {id!r}" for id in open_calls if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", id)]
        said += ["an empty text" for block in blocks if block["type"] == "text" and not block["text"].strip()]
        said += ["unsigned thinking" for block in blocks if block["type"] == "thinking" and not block["signature"]]
        marks += sum("cache_control" in block for block in blocks)
    marks += sum("cache_control" in tool for tool in body.get("tools", ()))
    marks += sum("cache_control" in block for block in body.get("system", ()) if isinstance(block, dict))
    if open_calls:
        said.append(f"calls without results: {open_calls}")
    if marks > 4:
        said.append(f"{marks} cache marks")
    thinking, forced = body.get("thinking", {"type": "disabled"}), body.get("tool_choice", {}).get("type") in ("any", "tool")
    if thinking["type"] != "disabled":
        said += ["thinking and a forced call"] * forced
        said += [f"thinking and {name}" for name in ("temperature", "top_p", "top_k") if name in body]
    if thinking["type"] == "enabled" and not 1024 <= thinking["budget_tokens"] < body["max_tokens"]:
        said.append(f"a budget of {thinking['budget_tokens']} of {body['max_tokens']} tokens")
    if not all(word.strip() for word in body.get("stop_sequences", ())):
        said.append("a stop word of white space")
    return said


def _gemini(body: dict[str, Any]) -> list[str]:
    declared = [function["name"] for tool in body.get("tools", ()) for function in tool.get("functionDeclarations", ())]
    said = _named(declared, r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
    if "functionCallingConfig" in body.get("toolConfig", {}) and not declared:
        said.append("a choice without functions")
    called: list[str] = []
    before = None
    for content in body["contents"]:
        if content["role"] == before:
            said.append("two contents of one role")
        before = content["role"]
        answered = [part["functionResponse"]["name"] for part in content["parts"] if "functionResponse" in part]
        if sorted(answered) != sorted(called):
            said.append(f"calls {called} and responses {answered}")
        called = [part["functionCall"]["name"] for part in content["parts"] if "functionCall" in part]
    thinking = body.get("generationConfig", {}).get("thinkingConfig", {})
    if {"thinkingLevel", "thinkingBudget"} <= thinking.keys():
        said.append("level and budget")
    if len(body.get("generationConfig", {}).get("stopSequences", ())) > 5:
        said.append("more than five stop words")
    return said
