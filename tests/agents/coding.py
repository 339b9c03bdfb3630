"""What coding agents send, as recorded (`tests/recordings/agents`: one question, and the turn after a tool was called), and variations.

A recording is what a real command line sent, its long texts cut, its ids and paths replaced. `both` holds the members that the two
requests share.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "recordings" / "agents"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
NOTE = "the note was read"
Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Recording:
    headers: Mapping[str, str]
    first: Body
    next: Body


def recording(name: str) -> Recording:
    told = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return Recording(told["headers"], {**told["both"], **told["first"]}, {**told["both"], **told["next"]})


@dataclass(frozen=True, slots=True)
class Request:
    """One request of an agent: a recording, which of its two turns, and what is different.

    `warns`: for each vendor the losses told beside those of the recording itself ("-" in front: one that is not).
    `refused`: these vendors' models cannot, and the 400 says this.
    """

    name: str
    recording: str
    turn: str = "first"
    change: Callable[[Body], object] = lambda body: None
    warns: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> Body:
        made: Body = copy.deepcopy(getattr(recording(self.recording), self.turn))
        self.change(made)
        return made

    def lost(self, vendor: str) -> set[str]:
        words = f"{BASE[self.recording].get(vendor, '')} {self.warns.get(vendor, '')}".split()
        return {word for word in words if word[0] != "-" and f"-{word}" not in words}


CLAUDE = "context_management:dropped"
# What is lost of every request of a recording: (the vendors' names are those of `vendors.MODELS`).
BASE: Mapping[str, Mapping[str, str]] = {
    "claude_code": {
        "openai": CLAUDE,
        "openai_old": f"{CLAUDE} reasoning:dropped max_tokens:clamped",
        "gemini": f"{CLAUDE} messages.system:as_user user:dropped",
        "compatible": CLAUDE,
    },
    "claude_code_thinking": {
        "openai": f"{CLAUDE} messages.reasoning:dropped",
        "openai_old": f"{CLAUDE} messages.reasoning:dropped reasoning:dropped max_tokens:clamped",
        "gemini": f"{CLAUDE} messages.reasoning:dropped user:dropped",
        "compatible": f"{CLAUDE} messages.reasoning:dropped",
    },
    "codex": {"gemini": "tools.web_search:dropped", "compatible": "tools.web_search:dropped"},
    "gemini_cli": {
        "openai": "temperature:dropped top_p:dropped top_k:dropped",
        "openai_old": "reasoning:dropped top_k:dropped",
        "anthropic": "temperature:dropped top_p:dropped top_k:dropped",
        "compatible": "top_k:dropped",
    },
}


def setting(**members: Any) -> Callable[[Body], object]:
    return lambda body: body.update(copy.deepcopy(members))


def adding(*tools: Body) -> Callable[[Body], object]:
    return lambda body: body["tools"].extend(copy.deepcopy(tools))


def only(*tools: Body) -> Callable[[Body], object]:
    return lambda body: body.update(tools=copy.deepcopy(list(tools)))


def saying(*items: Body) -> Callable[[Body], object]:
    return lambda body: body["input"].extend(copy.deepcopy(items))


def both(*changes: Callable[[Body], object]) -> Callable[[Body], object]:
    return lambda body: [change(body) for change in changes]


def _tool(number: int, **members: Any) -> Callable[[Body], object]:
    return lambda body: body["tools"][number].update(members)


def _result(content: list[Body]) -> Callable[[Body], object]:
    """The result of Claude Code's tool is this."""
    return lambda body: body["messages"][-1]["content"][0].update(content=content)


def _in(member: str, **members: Any) -> Callable[[Body], object]:
    return lambda body: body[member].update(members)


SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"], "additionalProperties": False}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Use the `apply_patch` tool to edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch" LF hunk+ "*** End Patch"'},
}
FOREIGN = ("openai", "openai_old", "gemini", "compatible")  # for Claude Code


def each(vendors: tuple[str, ...], words: str) -> dict[str, str]:
    return dict.fromkeys(vendors, words)


SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
MADE_FOR_GPT = ("anthropic", "gemini", "compatible")  # other vendors, for Codex
LOST_THOUGHTS = "messages.reasoning:dropped"

REQUESTS = (
    Request("claude code asks", "claude_code"),
    Request("claude code tells a result", "claude_code", "next"),
    Request("claude code replays thinking", "claude_code_thinking", "next"),
    Request("a budget of thinking", "claude_code", change=setting(thinking={"type": "enabled", "budget_tokens": 31999})),
    Request(
        "no thinking",
        "claude_code",
        change=setting(thinking={"type": "disabled"}, output_config={}),
        warns={"openai_old": "-reasoning:dropped"},
    ),
    Request(
        "a tool is loaded later",
        "claude_code",
        change=both(_tool(1, defer_loading=True), adding({"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"})),
        warns=each(FOREIGN, "tools.tool_search_tool_regex_20251119:dropped"),
    ),
    Request(
        "a search found a tool",
        "claude_code",
        "next",
        both(
            _tool(1, defer_loading=True),
            adding({"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}),
            _result([{"type": "tool_reference", "tool_name": "Bash"}]),
        ),
        warns=each(FOREIGN, "tools.tool_search_tool_regex_20251119:dropped"),
    ),
    Request("arguments stream eagerly", "claude_code", change=_tool(0, eager_input_streaming=True)),
    Request(
        "an image in a result",
        "claude_code",
        "next",
        _result(
            [{"type": "text", "text": NOTE}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}]
        ),
    ),
    Request("a title as JSON", "claude_code", change=_in("output_config", format={"type": "json_schema", "schema": SCHEMA})),
    Request(
        "a fetching tool in the list",
        "claude_code",
        change=adding({"type": "web_fetch_20250910", "name": "web_fetch"}),
        warns=each(FOREIGN, "tools.web_fetch_20250910:dropped"),
    ),
    Request(
        "an hour of cache for all sessions",
        "claude_code",
        change=lambda body: body["system"][2].update(cache_control={"type": "ephemeral", "ttl": "1h", "scope": "global"}),
    ),
    Request(
        "a running shell of Anthropic's own form alone",
        "claude_code",
        change=only({"type": "bash_20250124", "name": "bash"}),
        refused=each(FOREIGN, "bash_20250124"),
    ),
    Request(
        "claude code searches the web",
        "claude_code",
        change=only(SEARCH),
        warns=each(("openai", "openai_old", "gemini"), "web_search.max_uses:dropped"),
        refused=each(("compatible",), "web_search"),
    ),
    Request(
        "a search of the web in the list",
        "claude_code",
        change=adding(SEARCH),
        warns={
            **each(("openai", "openai_old"), "web_search.max_uses:dropped"),
            **each(("gemini", "compatible"), "tools.web_search:dropped"),
        },
    ),
    Request("codex asks", "codex"),
    Request("codex tells a result", "codex", "next", warns=each(MADE_FOR_GPT, LOST_THOUGHTS)),
    Request(
        "codex thinks as hard as it can",
        "codex",
        change=setting(reasoning={"effort": "xhigh", "summary": "auto"}, text={"verbosity": "low"}),
        warns={**each(MADE_FOR_GPT, "verbosity:dropped"), "anthropic": "verbosity:dropped reasoning:clamped"},
    ),
    Request(
        "a patch by a grammar",
        "codex",
        change=adding(PATCH),
        warns={
            "anthropic": "tools.custom.format:dropped",
            "gemini": "tools.custom.format:dropped",
            "compatible": "tools.custom.format:dropped",
        },
    ),
    Request(
        "a patch was made",
        "codex",
        "next",
        both(
            adding(PATCH),
            saying(
                {"type": "custom_tool_call", "call_id": "call_p", "name": "apply_patch", "input": "*** Begin Patch", "status": "completed"},
                {"type": "custom_tool_call_output", "call_id": "call_p", "output": "patched"},
            ),
        ),
        warns={
            "anthropic": f"{LOST_THOUGHTS} tools.custom.format:dropped",
            "gemini": f"{LOST_THOUGHTS} tools.custom.format:dropped",
            "compatible": f"{LOST_THOUGHTS} tools.custom.format:dropped",
        },
    ),
    Request(
        "a tool of a namespace was called",
        "codex",
        "next",
        saying(
            {
                "type": "function_call",
                "call_id": "call_n",
                "name": "close_agent",
                "namespace": "multi_agent_v1",
                "arguments": '{"target":"a"}',
            },
            {"type": "function_call_output", "call_id": "call_n", "output": "closed"},
        ),
        warns=each(MADE_FOR_GPT, LOST_THOUGHTS),
    ),
    Request(
        "two calls at once",
        "codex",
        "next",
        saying(
            {"type": "function_call", "call_id": "call_1", "name": "exec_command", "arguments": '{"cmd":"ls"}'},
            {"type": "function_call", "call_id": "call_2", "name": "exec_command", "arguments": '{"cmd":"pwd"}'},
            {"type": "function_call_output", "call_id": "call_1", "output": "a.py"},
            {"type": "function_call_output", "call_id": "call_2", "output": "/project"},
        ),
        warns=each(MADE_FOR_GPT, LOST_THOUGHTS),
    ),
    Request(
        "an image was looked at",
        "codex",
        "next",
        saying(
            {"type": "function_call", "call_id": "call_i", "name": "view_image", "arguments": '{"path":"a.png"}'},
            {
                "type": "function_call_output",
                "call_id": "call_i",
                "output": [{"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}],
            },
        ),
        warns=each(MADE_FOR_GPT, LOST_THOUGHTS),
    ),
    Request(
        "codex searched before",
        "codex",
        "next",
        saying({"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}),
        warns=each(MADE_FOR_GPT, f"{LOST_THOUGHTS} messages.web_search_call:dropped"),
    ),
    Request(
        "codex ends with JSON",
        "codex",
        change=setting(text={"format": {"type": "json_schema", "name": "codex_output_schema", "strict": True, "schema": SCHEMA}}),
    ),
    Request(
        "the model ran a shell of OpenAI's own form",
        "codex",
        "next",
        both(
            adding({"type": "local_shell"}),
            saying(
                {
                    "type": "local_shell_call",
                    "id": "lsh_1",
                    "call_id": "call_s",
                    "status": "completed",
                    "action": {"type": "exec", "command": ["ls"], "env": {}},
                },
                {"type": "local_shell_call_output", "id": "call_s", "output": "a.py"},
            ),
        ),
        refused=each(MADE_FOR_GPT, "local_shell_call"),
    ),
    Request("gemini cli asks", "gemini_cli"),
    Request(
        "gemini cli tells a result", "gemini_cli", "next", warns=each(("openai", "openai_old", "anthropic", "compatible"), LOST_THOUGHTS)
    ),
    Request(
        "gemini cli thinks by level",
        "gemini_cli",
        change=_in("generationConfig", thinkingConfig={"includeThoughts": True, "thinkingLevel": "HIGH"}),
    ),
    Request(
        "gemini cli searches alone",
        "gemini_cli",
        change=only({"googleSearch": {}}),
        refused=each(("compatible",), "web_search"),
    ),
    Request(
        "gemini cli sets safety",
        "gemini_cli",
        change=setting(safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]),
        warns=each(("openai", "openai_old", "anthropic", "compatible"), "safetySettings:dropped"),
    ),
    Request(
        "gemini cli is shown an image",
        "gemini_cli",
        "next",
        lambda body: body["contents"][-1]["parts"].append({"inlineData": {"mimeType": "image/png", "data": PIXEL}}),
        warns=each(("openai", "openai_old", "anthropic", "compatible"), LOST_THOUGHTS),
    ),
)
