"""Tools that a provider runs itself: a web search is mapped between all dialects; others are dropped beside functions, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.profiles import profile_of
from respan_proxy.dialects.request import Losses, Profile
from respan_proxy.errors import Untranslatable
from tests.dialects.crossing import assert_typed
from tests.dialects.family import PLAIN

SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False, "required": []}
FUNCTION: dict[str, Any] = {
    "openai.chat": {"type": "function", "function": {"name": "f", "parameters": SCHEMA}},
    "openai.responses": {"type": "function", "name": "f", "parameters": SCHEMA, "strict": False},
    "anthropic.messages": {"name": "f", "input_schema": SCHEMA},
    "gemini": {"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]},
}
SEARCH: dict[str, dict[str, Any]] = {
    "openai.chat": {"web_search_options": {}},
    "openai.responses": {"tools": [{"type": "web_search"}]},
    "anthropic.messages": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    "gemini": {"tools": [{"googleSearch": {}}]},
}
# (kind in messages, declaration, choice that names it, its call in a history)
HOSTED: dict[str, list[tuple[str, dict[str, Any], dict[str, Any] | None, Any]]] = {
    "openai.responses": [
        ("file_search", {"type": "file_search", "vector_store_ids": ["v"]}, {"tool_choice": {"type": "file_search"}},
         {"type": "file_search_call", "id": "fs", "status": "completed", "queries": ["q"]}),
        ("code_interpreter", {"type": "code_interpreter", "container": {"type": "auto"}}, {"tool_choice": {"type": "code_interpreter"}},
         {"type": "code_interpreter_call", "id": "ci", "status": "completed", "code": "1", "container_id": "c", "outputs": None}),
        ("mcp", {"type": "mcp", "server_label": "s", "server_url": "https://a.test"}, {"tool_choice": {"type": "mcp", "server_label": "s"}},
         {"type": "mcp_call", "id": "m", "name": "n", "server_label": "s", "arguments": "{}"}),
    ],
    "anthropic.messages": [
        ("code_execution_20250825", {"type": "code_execution_20250825", "name": "code_execution"},
         {"tool_choice": {"type": "tool", "name": "code_execution"}},
         {"type": "server_tool_use", "id": "srvtoolu_1", "name": "code_execution", "input": {}}),
        ("web_fetch_20250910", {"type": "web_fetch_20250910", "name": "web_fetch"}, {"tool_choice": {"type": "tool", "name": "web_fetch"}},
         {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_fetch", "input": {"url": "https://a.test"}}),
    ],
    "gemini": [
        ("codeExecution", {"codeExecution": {}}, None, {"executableCode": {"language": "PYTHON", "code": "1"}}),
        ("urlContext", {"urlContext": {}}, None, {"executableCode": {"language": "PYTHON", "code": "1"}}),
    ],
}  # fmt: skip
PAIRS = [(source, target) for source in DIALECTS for target in DIALECTS if source != target]
CASES = [
    pytest.param(source, target, *case, id=f"{source}-{target}-{case[0]}") for source, target in PAIRS for case in HOSTED.get(source, ())
]


def written(source: str, target: str, profile: Profile | None = None, **members: Any) -> tuple[dict[str, Any], list[str]]:
    read, write = DIALECTS[source].read_request, DIALECTS[target].write_request
    assert read is not None
    assert write is not None
    losses = Losses()
    body = write(read({**PLAIN[source], **members}, model="m"), profile or Profile(), losses).members
    assert_typed(target, body)
    return body, losses.notices


def searches(target: str, body: dict[str, Any]) -> bool:
    match target:
        case "openai.chat":
            return "web_search_options" in body
        case "gemini":
            return {"googleSearch": {}} in body.get("tools", ())
        case _:
            return any(tool.get("type", "").startswith("web_search") for tool in body.get("tools", ()))


def functions(target: str, body: dict[str, Any]) -> int:
    tools = body.get("tools", ())
    if target == "gemini":
        return sum(len(tool.get("functionDeclarations", ())) for tool in tools)
    return sum("input_schema" in tool or tool.get("type") == "function" for tool in tools)


def history(source: str, item: Any) -> dict[str, Any]:
    match source:
        case "openai.responses":
            return {"input": [{"role": "user", "content": "a"}, item, {"role": "user", "content": "b"}]}
        case "anthropic.messages":
            said = {"role": "assistant", "content": [item, {"type": "text", "text": "so"}]}
            return {"messages": [{"role": "user", "content": "a"}, said, {"role": "user", "content": "b"}]}
        case _:
            user = {"role": "user", "parts": [{"text": "a"}]}
            return {"contents": [user, {"role": "model", "parts": [item]}, user]}


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_web_search_is_one_everywhere(source: str, target: str, beside: bool) -> None:
    members = dict(SEARCH[source])
    if beside:
        members["tools"] = [*members.get("tools", ()), FUNCTION[source]]
    body, notices = written(source, target, **members)
    assert searches(target, body) and functions(target, body) == beside
    assert notices == []


@pytest.mark.parametrize("source", ["openai.chat", "openai.responses", "anthropic.messages"])
def test_of_functions_and_a_search_gemini_before_3_gets_the_functions(source: str) -> None:
    tools = [*SEARCH[source].get("tools", ()), FUNCTION[source]]
    body, notices = written(source, "gemini", profile_of("gemini", "gemini-2.5-flash"), **{**SEARCH[source], "tools": tools})
    assert not searches("gemini", body) and functions("gemini", body) == 1
    assert notices == ["tools.web_search:dropped"]


@pytest.mark.parametrize(("source", "target", "kind", "tool", "choice", "item"), CASES)
def test_another_hosted_tool_is_dropped_beside_functions_and_told(
    source: str, target: str, kind: str, tool: Any, choice: Any, item: Any
) -> None:
    body, notices = written(source, target, tools=[tool, FUNCTION[source]])
    assert functions(target, body) == 1 and len(body["tools"]) == 1
    assert notices == [f"tools.{kind}:dropped"]


@pytest.mark.parametrize(("source", "target", "kind", "tool", "choice", "item"), CASES)
def test_another_hosted_tool_is_refused_where_the_answer_depends_on_it(
    source: str, target: str, kind: str, tool: Any, choice: Any, item: Any
) -> None:
    owner = {"openai.responses": "OpenAI", "anthropic.messages": "Anthropic", "gemini": "Gemini"}[source]
    with pytest.raises(Untranslatable, match=f"only available on {owner} models") as refused:
        written(source, target, tools=[tool])  # all there is
    assert refused.value.param is not None and refused.value.param.startswith("tools[0]")
    if choice is not None:
        with pytest.raises(Untranslatable, match=f"only available on {owner} models"):
            written(source, target, tools=[tool, FUNCTION[source]], **choice)
    with pytest.raises(Untranslatable, match=f"only available on {owner} models"):
        written(source, target, **history(source, item))


SEARCHED = {
    "openai.responses": {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search", "query": "q"}},
    "anthropic.messages": {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
}


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if pair[0] in SEARCHED])
def test_a_search_in_the_history_is_left_out_and_told(source: str, target: str) -> None:
    _, notices = written(source, target, **history(source, SEARCHED[source]))
    assert len(notices) == 1 and notices[0].startswith("messages.web_search")
