# ruff: noqa: E501 (a row is a line)
"""Every loss that a writer can report: what is asked of whom, the notice, and what `on_loss` makes of it.

The last test reads the sources: a `losses.add` that no row here reaches is named by it.
"""

from __future__ import annotations

import ast
import json
import sys
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import respan_proxy.dialects
from respan_proxy.dialects.request import Losses
from tests.conftest import StartProxy
from tests.fakes.provider import FakeProvider

CHAT, RESPONSES, MESSAGES, GEMINI = "chat", "responses", "messages", "gemini"
DOORS = {
    CHAT: "/chat/completions",
    RESPONSES: "/responses",
    MESSAGES: "/anthropic/v1/messages",
    GEMINI: "/google/gemini/v1beta/models/{model}:generateContent",
}
HELLO: Mapping[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "hi"}]},
    RESPONSES: {"input": "hi"},
    MESSAGES: {"max_tokens": 5000, "messages": [{"role": "user", "content": "hi"}]},
    GEMINI: {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}

CLAUDE, OPUS, OLD_CLAUDE, PLAIN_CLAUDE = "claude-sonnet-4-6", "claude-opus-5-5", "claude-sonnet-4-20250514", "claude-3-5-haiku-20241022"
GPT, GPT_5, CODEX, O3 = "gpt-4o", "gpt-5", "gpt-5-codex", "o3"
FLASH, PRO, PLAIN_GEMINI = "gemini-2.5-flash", "gemini-3-pro-preview", "gemini-2.0-flash"
MINE, PICKY = "mine/m", "mine/picky"

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
LOOSE = {"type": "object", "properties": {"city": {"type": "object", "additionalProperties": True}}}
FUNCTION = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
GRAMMAR = {
    "type": "custom",
    "custom": {"name": "run", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}}},
}
TOOL = {"name": "look", "input_schema": SCHEMA}
FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
USE = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}


def said(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}, *messages], **more}


def assistant(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": list(blocks)}, {"role": "user", "content": "go on"}]


def result(**more: Any) -> list[dict[str, Any]]:
    told = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no", **more}
    return [{"role": "assistant", "content": [USE]}, {"role": "user", "content": [told]}]


def think(budget: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


SIGNED = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
DOCUMENT = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
GEMINI_CALL = {"functionCall": {"id": "c1", "name": "look", "args": {}}, "thoughtSignature": "c2ln"}
GEMINI_RESULT = {"functionResponse": {"id": "c1", "name": "look", "response": {}}}
SIGNED_TEXT = {"text": "so", "thoughtSignature": "c2ln"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "high"}}
DRAWN = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}


def turns(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "contents": [HELLO[GEMINI]["contents"][0], {"role": "model", "parts": list(parts)}, {"role": "user", "parts": [{"text": "on"}]}],
        **more,
    }


Row = tuple[str, str, dict[str, Any], list[str]]

TO_CLAUDE: list[Row] = [
    (CHAT, CLAUDE, {"temperature": 1.5}, ["temperature:clamped"]),
    (CHAT, CLAUDE, {"temperature": 0.5, "top_p": 0.5}, ["top_p:dropped"]),
    (CHAT, OPUS, {"temperature": 0.5, "top_p": 0.5}, ["temperature:dropped", "top_p:dropped"]),
    (CHAT, CLAUDE, {"seed": 4, "verbosity": "low"}, ["seed:dropped", "verbosity:dropped"]),
    (CHAT, CLAUDE, {"frequency_penalty": 1, "presence_penalty": 1}, ["frequency_penalty:dropped", "presence_penalty:dropped"]),
    (CHAT, CLAUDE, {"logprobs": True, "top_logprobs": 2, "logit_bias": {"1": 2}}, ["logprobs:dropped", "top_logprobs:dropped", "logit_bias:dropped"]),
    (CHAT, CLAUDE, {"stop": ["\n", "X"]}, ["stop:whitespace_dropped"]),
    (CHAT, CLAUDE, {"max_tokens": 900_000}, ["max_tokens:clamped"]),
    (CHAT, CLAUDE, {"user": "a@b.test"}, ["user:dropped"]),
    (CHAT, CLAUDE, {"service_tier": "flex"}, ["service_tier:dropped"]),
    (CHAT, CLAUDE, {"response_format": {"type": "json_object"}}, ["response_format.json_object:instructed"]),
    (CHAT, OLD_CLAUDE, {"response_format": FORMAT}, ["response_format:json_tool"]),
    (CHAT, CLAUDE, {"reasoning_effort": "xhigh"}, ["reasoning:clamped"]),
    (CHAT, PLAIN_CLAUDE, {"reasoning_effort": "low"}, ["reasoning:dropped"]),
    (CHAT, OPUS, {"reasoning_effort": "none"}, ["reasoning:always_on"]),
    (CHAT, CLAUDE, {"reasoning_effort": "low", "tools": [FUNCTION], "tool_choice": "required"}, ["reasoning:dropped_forced_tool_choice"]),
    (CHAT, OPUS, {"tools": [FUNCTION], "tool_choice": "required"}, ["tool_choice:auto"]),
    (CHAT, OLD_CLAUDE, {"reasoning_effort": "low", "max_tokens": 500}, ["reasoning:dropped_max_tokens_too_small"]),
    (
        CHAT,
        OLD_CLAUDE,
        said({"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "call_1", "content": "x"}, tools=[FUNCTION], reasoning_effort="low"),
        ["reasoning:dropped_missing_signature"],
    ),
    (
        CHAT,
        CLAUDE,
        said({"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "call_1", "content": "x"}),
        ["tools:synthesized_from_history"],
    ),
    (CHAT, CLAUDE, said({"role": "assistant", "tool_calls": [CALL]}, {"role": "user", "content": "x"}, tools=[FUNCTION]), ["messages.tool_result:synthesized"]),
    (CHAT, CLAUDE, said({"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}), ["messages.system:as_user"]),
    (CHAT, CLAUDE, {"tools": [GRAMMAR]}, ["tools.custom.format:dropped"]),
    (CHAT, CLAUDE, {"web_search_options": {"search_context_size": "low"}}, ["web_search.search_context_size:dropped"]),
    (RESPONSES, CLAUDE, {"tools": [{"type": "web_search", "external_web_access": False}]}, ["web_search.external_web_access:dropped"]),
    (RESPONSES, CLAUDE, {"max_tool_calls": 3}, ["max_tool_calls:dropped"]),
    (
        RESPONSES,
        CLAUDE,
        {"tools": [{"type": "function", "name": "look", "parameters": SCHEMA, "strict": False}, {"type": "image_generation"}]},
        ["tools.image_generation:dropped"],
    ),
    (
        CHAT,
        CLAUDE,
        {"messages": [{"role": "user", "content": [{"type": "text", "text": str(n), "cache_control": {"type": "ephemeral"}} for n in range(5)]}]},
        ["cache_control:dropped"],
    ),
    (GEMINI, CLAUDE, turns(SIGNED_TEXT), ["messages.reasoning:dropped"]),
    (GEMINI, CLAUDE, turns({"text": "hm", "thought": True}), ["messages.reasoning:dropped"]),
    (GEMINI, CLAUDE, turns(DRAWN), ["messages.image:dropped"]),
    (
        GEMINI,
        CLAUDE,
        {"contents": [*turns(GEMINI_CALL)["contents"][:2], {"role": "user", "parts": [GEMINI_RESULT]}], "tools": [{"functionDeclarations": [{"name": "look"}]}]},
        ["messages.reasoning:dropped"],
    ),
]  # fmt: skip

TO_GEMINI: list[Row] = [
    (CHAT, FLASH, {"temperature": 3}, ["temperature:clamped"]),
    (CHAT, FLASH, {"max_tokens": 900_000}, ["max_tokens:clamped"]),
    (CHAT, FLASH, {"stop": ["a", "b", "c", "d", "e", "f"]}, ["stop:truncated"]),
    (CHAT, "gemini-strange", {"temperature": 0.5, "presence_penalty": 1}, ["temperature:dropped", "presence_penalty:dropped"]),
    (CHAT, "gemini-strange", {"response_format": FORMAT}, ["response_format.json_schema:dropped"]),
    (CHAT, FLASH, {"logit_bias": {"1": 2}, "verbosity": "low", "user": "u"}, ["logit_bias:dropped", "verbosity:dropped", "user:dropped"]),
    (CHAT, FLASH, {"tools": [FUNCTION], "parallel_tool_calls": False}, ["parallel_tool_calls:dropped"]),
    (CHAT, FLASH, {"tools": [{"type": "function", "function": {**FUNCTION["function"], "strict": True}}]}, ["tools.strict:dropped"]),  # type: ignore[dict-item]
    (CHAT, FLASH, {"tools": [GRAMMAR]}, ["tools.custom.format:dropped"]),
    (CHAT, PLAIN_GEMINI, {"reasoning_effort": "low"}, ["reasoning:dropped"]),
    (CHAT, PRO, {"reasoning_effort": "medium"}, ["reasoning:clamped"]),
    (CHAT, FLASH, said({"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}), ["messages.system:as_user"]),
    (CHAT, FLASH, {"messages": [{"role": "user", "content": [IMAGE]}]}, ["messages.image.detail:dropped"]),
    (MESSAGES, FLASH, {"tools": [TOOL, SEARCH]}, ["tools.web_search:dropped"]),
    (MESSAGES, FLASH, {"tools": [{**SEARCH, "max_uses": 2}]}, ["web_search.max_uses:dropped"]),
    (MESSAGES, FLASH, {"tools": [SEARCH], "tool_choice": {"type": "tool", "name": "web_search"}}, ["tool_choice:dropped"]),
    (MESSAGES, FLASH, said(*assistant(SIGNED, {"type": "text", "text": "so"})), ["messages.reasoning:dropped"]),
    (
        MESSAGES,
        FLASH,
        said(*assistant({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}, {"type": "text", "text": "so"})),
        ["messages.web_search:dropped"],
    ),
]  # fmt: skip

TO_CHAT: list[Row] = [
    (MESSAGES, GPT, {"top_k": 4}, ["top_k:dropped"]),
    (MESSAGES, GPT, {"max_tokens": 900_000}, ["max_tokens:clamped"]),
    (MESSAGES, GPT, {"max_tokens": 0}, ["max_tokens:raised_to_1"]),
    (MESSAGES, GPT, {"stop_sequences": ["a", "b", "c", "d", "e"]}, ["stop:truncated"]),
    (MESSAGES, GPT_5, {"stop_sequences": ["a"], "temperature": 0.5}, ["stop:dropped", "temperature:dropped"]),
    (MESSAGES, GPT, think(2000), ["reasoning:dropped"]),
    (RESPONSES, "mine/gpt-5.6", {"reasoning": {"effort": "low"}, "tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": False}]}, ["reasoning:dropped_with_tools"]),
    (RESPONSES, "mine/gpt-5", {"reasoning": {"effort": "xhigh"}}, ["reasoning:clamped"]),
    (GEMINI, GPT, {"generationConfig": {"temperature": 2.5}}, ["temperature:clamped"]),
    (MESSAGES, O3, {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, ["parallel_tool_calls:dropped"]),
    (MESSAGES, GPT, {"tools": [{**TOOL, "input_schema": LOOSE, "strict": True}]}, ["tools.strict:dropped"]),
    (MESSAGES, GPT, said(*result(is_error=True), tools=[TOOL]), ["messages.tool_result.is_error:dropped"]),
    (MESSAGES, GPT, said(*assistant(SIGNED, {"type": "text", "text": "so"})), ["messages.reasoning:dropped"]),
    (MESSAGES, GPT, {"messages": [{"role": "user", "content": [{**DOCUMENT, "context": "old"}]}]}, ["messages.document.context:dropped"]),
    (MESSAGES, GPT, {"messages": [{"role": "user", "content": [{**DOCUMENT, "citations": {"enabled": True}}]}]}, ["messages.document.citations:dropped"]),
    (GEMINI, GPT, turns(SIGNED_TEXT), ["messages.reasoning:dropped"]),
    (GEMINI, GPT, {"contents": [*turns(GEMINI_CALL)["contents"][:2], {"role": "user", "parts": [GEMINI_RESULT]}], "tools": [{"functionDeclarations": [{"name": "look"}]}]}, ["messages.reasoning:dropped"]),
    (GEMINI, GPT, turns(DRAWN), ["messages.image:dropped"]),
    (MESSAGES, "gpt-3.5-turbo", {"max_tokens": 400, "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, ["response_format:json_object"]),
    (RESPONSES, MINE, {"text": {"verbosity": "low"}, "service_tier": "flex"}, ["verbosity:dropped", "service_tier:dropped"]),
    (RESPONSES, MINE, {"tools": [{"type": "custom", "name": "run", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}}]}, ["tools.custom.format:dropped"]),
    (GEMINI, PICKY, {"generationConfig": {"seed": 4}}, ["seed:dropped"]),
    (MESSAGES, PICKY, {"metadata": {"user_id": "u"}}, ["user:dropped"]),
    (RESPONSES, PICKY, {"tools": [{"type": "web_search", "external_web_access": False}]}, ["web_search.external_web_access:dropped"]),
    (MESSAGES, PICKY, {"tools": [{**SEARCH, "max_uses": 2, "allowed_domains": ["a.test"]}]}, ["web_search.max_uses:dropped", "web_search.domains:dropped"]),
]  # fmt: skip

TO_RESPONSES: list[Row] = [
    (CHAT, CODEX, {"temperature": 0.5, "top_p": 0.5, "logprobs": True}, ["temperature:dropped", "top_p:dropped", "logprobs:dropped"]),
    (CHAT, CODEX, {"seed": 4, "stop": ["X"], "frequency_penalty": 1}, ["seed:dropped", "stop:dropped", "frequency_penalty:dropped"]),
    (CHAT, CODEX, {"max_tokens": 900_000}, ["max_tokens:clamped"]),
    (CHAT, CODEX, {"max_tokens": 5}, ["max_tokens:raised_to_16"]),
    (CHAT, CODEX, {"reasoning_effort": "xhigh"}, ["reasoning:clamped"]),
    (MESSAGES, CODEX, {"context_management": {"edits": []}}, ["context_management:dropped"]),
    (MESSAGES, CODEX, said(*assistant(SIGNED, {"type": "text", "text": "so"})), ["messages.reasoning:dropped"]),
    (MESSAGES, CODEX, said(*result(is_error=True), tools=[TOOL]), ["messages.tool_result.is_error:dropped"]),
    (MESSAGES, CODEX, {"tools": [{**TOOL, "input_schema": LOOSE, "strict": True}]}, ["tools.strict:dropped"]),
    (MESSAGES, CODEX, {"tools": [{**SEARCH, "max_uses": 2}]}, ["web_search.max_uses:dropped"]),
    (CHAT, "strange/s", {"verbosity": "low", "service_tier": "flex", "reasoning_effort": "low"}, ["verbosity:dropped", "reasoning:dropped", "service_tier:dropped"]),
]  # fmt: skip

CITATION = {"type": "web_search_result_location", "cited_text": "", "encrypted_index": "gw1.page", "url": "https://a.test", "title": "a"}

# In a provider's own dialect: what another one's state became.
AT_HOME: list[Row] = [
    (MESSAGES, CLAUDE, said(*assistant({**SIGNED, "signature": ""}, {"type": "text", "text": "so"})), ["messages.reasoning:dropped"]),
    (
        MESSAGES,
        OLD_CLAUDE,
        said({"role": "assistant", "content": [{**SIGNED, "signature": ""}, USE]}, result()[1], tools=[TOOL], **think(2000)),
        ["messages.reasoning:dropped", "reasoning:dropped_missing_signature"],
    ),
    (
        RESPONSES,
        GPT_5,
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gw1.anthropic.c2ln"}, {"role": "user", "content": "hi"}]},
        ["messages.reasoning:dropped"],
    ),
    (CHAT, GPT, said({"role": "assistant", "content": "so", "reasoning_content": "hm"}, {"role": "user", "content": "on"}), ["messages.reasoning:dropped"]),
    (CHAT, PICKY, said({"role": "assistant", "content": "so", "annotations": [{"type": "url_citation"}]}, {"role": "user", "content": "on"}), ["messages.citations:dropped"]),
    (MESSAGES, CLAUDE, said(*assistant({"type": "text", "text": "so", "citations": [CITATION]})), ["messages.citations:dropped"]),
    (
        GEMINI,
        PRO,
        {"contents": [HELLO[GEMINI]["contents"][0], {"role": "model", "parts": [{"functionCall": GEMINI_CALL["functionCall"]}]}, {"role": "user", "parts": [GEMINI_RESULT]}]},
        ["messages.reasoning:skipped"],
    ),
]  # fmt: skip

ROWS = [*TO_CLAUDE, *TO_GEMINI, *TO_CHAT, *TO_RESPONSES, *AT_HOME]

Asks = Callable[[Row, str], Awaitable[tuple[int, Mapping[str, str], Any]]]


@pytest.fixture
async def asks(start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider) -> Any:
    mine = {"base_url": f"{provider.url}/v1", "auth": "none"}
    proxy = await start_proxy(
        {
            "providers": {"mine": mine, "strange": {**mine, "dialects": ["openai.responses"]}},
            "profiles": [
                {"models": ["picky"], "seed_field": "", "user_field": "", "refuses": ["-web_search_options", "messages.annotations"]},
                {"models": ["gemini-strange"], "sampling": False, "structured": False, "refuses": ["presence_penalty"]},
                {"models": ["s"], "thinking": "none", "refuses": ["verbosity", "service_tier"]},
            ],
        },
        environ,
    )

    async def ask(row: Row, on_loss: str) -> tuple[int, Mapping[str, str], Any]:
        client, model, members, _ = row
        body = {**HELLO[client], **members, **({} if client == GEMINI else {"model": model})}
        headers = {"X-Data-Respan-Params": b64encode(json.dumps({"on_loss": on_loss}).encode()).decode()}
        async with (
            aiohttp.ClientSession() as session,
            session.post(proxy.base + DOORS[client].format(model=model), json=body, headers=headers) as answer,
        ):
            return answer.status, dict(answer.headers), await answer.json(content_type=None)

    ask.proxy = proxy  # type: ignore[attr-defined]
    return ask


def named(row: Row) -> str:
    return f"{row[0]}-{row[1]}-{'+'.join(row[3])}"


@pytest.mark.parametrize("row", ROWS, ids=named)
async def test_a_loss_is_told_refused_or_left_to_the_row(asks: Any, provider: FakeProvider, row: Row) -> None:
    notices = row[3]
    status, headers, told = await asks(row, "error")
    assert status == 400 and not provider.received, told
    error = told["error"]
    assert all(notice in error["message"] for notice in notices)
    if row[0] in (CHAT, RESPONSES):
        assert error["param"] == notices[0].partition(":")[0] and error["code"] == "lossy_translation"
    status, headers, told = await asks(row, "warn")
    assert status == 200, told
    assert headers["X-Respan-Warnings"].split(", ") == notices
    status, headers, told = await asks(row, "silent")
    assert status == 200 and "X-Respan-Warnings" not in headers
    async with aiohttp.ClientSession() as session, session.get(f"{asks.proxy.base}/request-logs/{headers['X-Respan-Log-Id']}/") as answer:
        logged = await answer.json()
    assert logged["warnings"].split(", ") == notices


def places() -> set[tuple[str, int]]:
    """Where the dialects report a loss: each `losses.add(...)`, by file and line."""
    found = set()
    for path in Path(respan_proxy.dialects.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add":
                owner = node.func.value
                name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
                if name in ("losses", "_losses"):
                    found.add((path.name, node.lineno))
    return found


# Reached by no request of this table, with the test that reaches them.
ELSEWHERE: Mapping[str, str] = {
    "embeddings.py": "tests/dialects/test_embeddings.py",
}


async def test_every_loss_has_a_row(asks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: set[tuple[str, int]] = set()
    add = Losses.add

    def noted(losses: Losses, *told: str) -> None:
        caller = sys._getframe(1)
        reached.add((Path(caller.f_code.co_filename).name, caller.f_lineno))
        add(losses, *told)

    monkeypatch.setattr(Losses, "add", noted)
    for row in ROWS:
        await asks(row, "warn")
    known = places()
    assert len(known) > 60
    missing = sorted(place for place in known - reached if place[0] not in ELSEWHERE)
    assert not missing, missing
