"""An app's spans and the calls that it made through the gateway, seen through the API: one tree, one line a call, counted once."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes.provider import FakeProvider, whole

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FLOW, TASK, LLM = "00000000000000f1", "00000000000000a1", "00000000000000c1"
CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "metadata": {"asked": "yes", "both": "asked"}}


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def span(span_id: str, parent_id: str | None, name: str, attributes: Mapping[str, str], at_ns: int) -> dict[str, Any]:
    told = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
    times = {"startTimeUnixNano": str(at_ns), "endTimeUnixNano": str(at_ns + 1_000_000_000)}
    return {"traceId": TRACE, "spanId": span_id, "parentSpanId": parent_id or "", "name": name, "attributes": told, **times}


async def export(client: aiohttp.ClientSession, proxy: Proxy, *spans: dict[str, Any], key: str = "") -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    async with client.post(f"{proxy.base}/v2/traces", json=body, headers=headers) as response:
        assert response.status == 200, await response.text()


async def read(client: aiohttp.ClientSession, proxy: Proxy, path: str, key: str = "") -> Any:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with client.get(f"{proxy.base}/{path}", headers=headers) as response:
        return await response.json() if response.status == 200 else None


async def ask(client: aiohttp.ClientSession, proxy: Proxy, key: str = "", **params: Any) -> str:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with client.post(f"{proxy.base}/chat/completions", json={**CHAT, **params}, headers=headers) as response:
        assert response.status == 200, await response.text()
        await response.read()
        return response.headers["X-Respan-Log-Id"]


def spans_of(log_id: str) -> list[dict[str, Any]]:
    at_ns = time.time_ns()  # what is old is forgotten
    link = {
        "respan.gateway.log_id": log_id,
        "llm.request.type": "chat",
        "respan.customer_params.customer_identifier": "u1",
        "respan.metadata.told": "yes",
        "respan.metadata.both": "told",
    }
    return [
        span(FLOW, None, "workflow", {"traceloop.span.kind": "workflow", "traceloop.workflow.name": "w"}, at_ns),
        span(TASK, FLOW, "task", {"traceloop.span.kind": "task"}, at_ns),
        span(LLM, TASK, "llm.gpt-4o", link, at_ns),
    ]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_a_call_within_a_workflow_is_its_leaf_whatever_comes_first(
    client: aiohttp.ClientSession, proxy: Proxy, order: tuple[int, ...]
) -> None:
    log_id = await ask(client, proxy)
    alone = await read(client, proxy, f"request-logs/{log_id}/")
    assert (await read(client, proxy, f"traces/{log_id}/"))["span_count"] == 1
    spans = spans_of(log_id)
    for place in order:
        await export(client, proxy, spans[place])
    await export(client, proxy, *spans)  # as an exporter does that did not hear our answer
    trace = await read(client, proxy, f"traces/{TRACE}/")
    [flow] = trace["span_tree"]
    [task] = flow["children"]
    [leaf] = task["children"]
    assert [node["span_unique_id"] for node in (flow, task, leaf)] == [FLOW, TASK, LLM]
    assert [node["span_workflow_name"] for node in (flow, task, leaf)] == ["w", "w", "w"]
    listed = await read(client, proxy, "request-logs/list/?span_workflow_name=w")
    assert {(row["id"], row["span_workflow_name"]) for row in listed["results"]} == {(node["id"], "w") for node in (flow, task, leaf)}
    assert (await read(client, proxy, f"request-logs/{log_id}/"))["span_workflow_name"] == "w"
    assert (leaf["id"], leaf["children"], leaf["customer_identifier"]) == (log_id, [], "u1")
    assert {name: leaf["metadata"][name] for name in ("asked", "told", "both")} == {"asked": "yes", "told": "yes", "both": "asked"}
    assert (trace["span_count"], trace["llm_call_count"]) == (3, 1)
    assert (trace["total_prompt_tokens"], trace["total_cost"]) == (alone["prompt_tokens"], alone["cost"])
    assert alone["cost"] > 0
    assert await read(client, proxy, f"traces/{log_id}/") is None  # where the call stood before


@pytest.mark.parametrize("is_told_first", [False, True], ids=["call first", "span first"])
async def test_a_call_that_failed_is_one_line_though_its_span_names_nothing(
    client: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, is_told_first: bool
) -> None:
    """As of google-genai, and of any client that gave up waiting: no answer's header reached the span, and no tokens."""
    provider.will(*[whole(b'{"error":{"message":"no"}}', 400)] * 2)
    at_ns = time.time_ns()
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
    spans = [
        span(FLOW, None, "workflow", {"traceloop.span.kind": "workflow", "respan.customer_params.customer_identifier": "u1"}, at_ns),
        span(LLM, FLOW, "chat gpt-4o", {**attributes, "respan.customer_params.customer_identifier": "u1"}, at_ns),
    ]
    spans[1] |= {"status": {"code": 2, "message": "HTTP 400"}, "endTimeUnixNano": str(at_ns + 60_000_000_000)}
    if is_told_first:
        await export(client, proxy, *spans)
    async with client.post(f"{proxy.base}/chat/completions", json=CHAT) as response:
        assert response.status == 400
        log_id = response.headers["X-Respan-Log-Id"]
    if not is_told_first:
        assert (await read(client, proxy, f"traces/{log_id}/"))["error_count"] == 1
        await export(client, proxy, *spans)
    trace = await read(client, proxy, f"traces/{TRACE}/")
    [leaf] = trace["span_tree"][0]["children"]
    assert (leaf["id"], leaf["status_code"], leaf["customer_identifier"]) == (log_id, 400, "u1")
    assert (trace["span_count"], trace["llm_call_count"], trace["error_count"]) == (2, 1, 1)
    assert await read(client, proxy, f"traces/{log_id}/") is None


@pytest.mark.parametrize("is_told_late", [True, False])
@pytest.mark.parametrize("is_named", [True, False])
async def test_the_same_question_again_and_again_is_as_many_calls_each_in_its_place(
    client: aiohttp.ClientSession, proxy: Proxy, is_told_late: bool, is_named: bool
) -> None:
    """Three times through the gateway within one workflow, and three times directly a moment before: `echo` gives all the same id."""
    spans: list[dict[str, Any]] = []
    earlier: list[dict[str, Any]] = []
    asked: list[str] = []

    async def tell(number: int) -> None:
        await export(client, proxy, earlier[number])
        row = await read(client, proxy, f"request-logs/{asked[number]}/")
        assert row["trace_unique_id"] == asked[number]
        await export(client, proxy, spans[number])

    for number in range(3):
        began_ns = time.time_ns()
        async with client.post(f"{proxy.base}/chat/completions", json=CHAT) as response:
            answer = await response.json()
            asked.append(response.headers["X-Respan-Log-Id"])
        link = {"gen_ai.response.id": answer["id"], "llm.request.type": "chat", "respan.entity.log_type": "chat"}
        names = {"respan.gateway.log_id": asked[-1]} if is_named else {}
        told = span(f"{number + 1:016x}", FLOW, "openai.chat", link | names, began_ns) | {"endTimeUnixNano": str(time.time_ns())}
        spans.append(told)
        names = {"respan.gateway.log_id": asked[-1][::-1]} if is_named else {}  # another gateway's
        directly = span(f"{number + 1:016x}", FLOW, "openai.chat", link | names, began_ns - 5_000_000_000)
        earlier.append(directly | {"traceId": TRACE[::-1]})
        if not is_told_late:
            await tell(number)
    assert answer["id"].startswith("chatcmpl-")
    for number in (2, 0, 1) if is_told_late else ():
        await tell(number)
    for trace_id, ids in ((TRACE, asked), (TRACE[::-1], None)):
        lines = await read(client, proxy, f"request-logs/list/?trace_unique_id={trace_id}&sort_by=start_time")
        assert [row["span_unique_id"] for row in lines["results"]] == [f"{number + 1:016x}" for number in range(3)]
        assert [row["id"] for row in lines["results"]] == ids or ids is None
    assert (await read(client, proxy, "request-logs/list/"))["count"] == 6


async def test_a_key_cannot_pull_anothers_call_into_its_trace(
    client: aiohttp.ClientSession, start_proxy: StartProxy, environ: Mapping[str, str]
) -> None:
    keys = [{"name": name, "key": f"{name}-key-0123456789"} for name in ("ours", "theirs")]
    proxy = await start_proxy({"keys": keys}, environ)
    log_id = await ask(client, proxy, "theirs-key-0123456789")
    await export(client, proxy, *spans_of(log_id), key="ours-key-0123456789")
    row = await read(client, proxy, f"request-logs/{log_id}/", "theirs-key-0123456789")
    assert (row["trace_unique_id"], row["customer_identifier"]) == (log_id, None)
    ours = await read(client, proxy, f"traces/{TRACE}/", "ours-key-0123456789")
    assert ours["span_count"] == 3
    assert ours["span_tree"][0]["children"][0]["children"][0]["id"] != log_id
    assert await read(client, proxy, f"traces/{TRACE}/", "theirs-key-0123456789") is None


async def test_a_workflow_is_that_of_the_nearest_span_above_that_says_one(client: aiohttp.ClientSession, proxy: Proxy) -> None:
    at_ns = time.time_ns()
    within, first, second = "00000000000000f2", "00000000000000b1", "00000000000000b2"
    await export(
        client,
        proxy,
        span(FLOW, None, "workflow", {"traceloop.workflow.name": "outer"}, at_ns),
        span(TASK, FLOW, "task", {}, at_ns),
        span(within, TASK, "workflow", {"traceloop.workflow.name": "inner"}, at_ns),
        span(LLM, within, "llm", {}, at_ns),
        span(first, second, "each above the other", {}, at_ns),
        span(second, first, "each above the other", {}, at_ns),
    )
    rows = (await read(client, proxy, "request-logs/list/"))["results"]
    found = {row["span_unique_id"]: row["span_workflow_name"] for row in rows}
    assert found == {FLOW: "outer", TASK: "outer", within: "inner", LLM: "inner", first: None, second: None}
    expected = {
        "=inner": 2,
        "=within": 0,
        "[operator]=contains&span_workflow_name[value]=ute": 2,
        "[operator]=empty": 2,
        "[operator]=not&span_workflow_name[value]=outer": 4,
    }
    for filters, count in expected.items():
        assert (await read(client, proxy, f"request-logs/list/?span_workflow_name{filters}"))["count"] == count, filters


async def test_what_may_not_be_logged_is_not_logged_by_its_span_either(client: aiohttp.ClientSession, proxy: Proxy) -> None:
    log_id = await ask(client, proxy, disable_log=True)
    [*_, leaf] = spans_of(log_id)
    leaf["attributes"].append({"key": "traceloop.entity.input", "value": {"stringValue": "the canary sings"}})
    await export(client, proxy, leaf)
    row = await read(client, proxy, f"request-logs/{log_id}/")
    assert (row["trace_unique_id"], row["customer_identifier"], row["disable_log"]) == (TRACE, "u1", True)
    assert "canary" not in str(row)
    assert "canary" not in str(await read(client, proxy, f"traces/{TRACE}/"))
