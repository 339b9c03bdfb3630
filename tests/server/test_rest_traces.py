"""Traces over real sockets: lists, trees and sums in Respan's shapes, sharing, and who may see what."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from respan_proxy.respan.spans import Content, Row
from respan_proxy.telemetry.spans import Claim, Said, Told, row_id
from tests.conftest import Proxy, StartProxy

KEYS = {
    "keys": [
        {"name": "blue", "key": "blue-key-0123456789", "environment": "test"},
        {"name": "red", "key": "red-key-0123456789", "environment": "prod"},
        {"name": "boss", "key": "boss-key-0123456789", "is_admin": True},
    ]
}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FLOW, TASK, MODEL, NATIVE = "00f067aa0ba902b7", "53995c3f42cd8ad8", "6e0c63257de34c92", "7d2f91a3c4b5e6f8"
# Respan's own lists of members: respan-api 0.1.49 `ListTracesResponseResultsItem`, `RetrieveTraceResponseSpanTreeItem`.
LISTED = (
    "id trace_unique_id root_span_unique_id unique_organization_id organization_id organization_name organization_key_id environment"
    " customer_identifier start_time end_time duration span_count llm_call_count total_cost total_prompt_tokens"
    " total_completion_tokens total_tokens error_count name input output metadata trace_group_identifier session_identifier model"
    " storage_object_key"
)
NODE = (
    "id unique_id span_unique_id span_name span_parent_id trace_unique_id customer_identifier thread_identifier session_identifier"
    " organization_key_id organization_id environment log_type timestamp start_time end_time prompt_tokens completion_tokens"
    " total_request_tokens cost model latency status_code status input output metadata span_links storage_object_key span_workflow_name"
    " children"
)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def answer(response: aiohttp.ClientResponse, status: int = 200) -> Any:
    assert response.status == status, await response.text()
    return await response.json()


def told(span_id: str, parent: str | None = None, said: Said | None = None, claim: Claim | None = None, **columns: Any) -> Told:
    now = time.time()
    key_id = columns.get("organization_key_id")
    given = {"span_name": "task", "log_type": "task", "log_method": "python_tracing", "status": "success", "latency": 1.0, **columns}
    row = Row(row_id(TRACE, span_id, key_id), trace_unique_id=TRACE, span_unique_id=span_id, span_parent_id=parent, **given)
    row.start_time, row.timestamp = row.start_time or now - 1, row.timestamp or now
    raw = {"name": given["span_name"], "attributes": {"a.b": 1}, "events": [], "links": []}
    return Told(row, said or Said(), raw, claim or Claim())


FLOW_SAID = Said(input='{"args": [1], "kwargs": {}}', output='"done"')
MODEL_SAID = Said(
    prompt_messages=[{"role": "user", "content": "hi"}],
    completion_messages=[{"role": "assistant", "content": "hello", "tool_calls": [{"id": "c1"}]}],
    tools=[{"type": "function"}],
    tool_calls=[{"id": "c1"}],
)


def workflow(**columns: Any) -> list[Told]:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_request_tokens": 15, "cost": 2_500, "model": "gpt-4.1"}
    return [
        told(MODEL, TASK, MODEL_SAID, log_type="chat", span_name="llm.gpt-4.1", customer_identifier="u1", **usage, **columns),
        told(TASK, FLOW, span_name="task", entity_name="ask", metadata={"team": "blue", "_tracing_sdk_version": "2"}, **columns),
        told(FLOW, None, FLOW_SAID, span_name="workflow", log_type="workflow", entity_name="answer", metadata={"_v": "1"}, **columns),
    ]


async def ingest(proxy: Proxy, spans: list[Told]) -> None:
    assert await proxy.house.writer.ingest(spans, 10_000, "full") == 0


async def test_a_trace_is_told_whole(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    await ingest(proxy, workflow())
    page = await answer(await http.post(f"{proxy.base}/traces/list/", json={}))
    assert (page["count"], page["total_count"], page["next"]) == (1, 1, None)
    (listed,) = page["results"]
    assert set(LISTED.split()) <= listed.keys()
    seen = await answer(await http.get(f"{proxy.base}/traces/{TRACE}/"))
    assert set(LISTED.split()) <= seen.keys()
    assert {name: seen[name] for name in listed} == listed
    assert (seen["name"], seen["input"], seen["output"], seen["metadata"]) == ("answer", FLOW_SAID.input, FLOW_SAID.output, {})
    assert (seen["customer_identifier"], seen["total_cost"], seen["total_tokens"], seen["span_count"]) == ("u1", 2.5e-6, 15, 3)
    (flow,) = seen["span_tree"]
    (task,) = flow["children"]
    (model,) = task["children"]
    assert set(NODE.split()) <= flow.keys()
    assert (flow["span_name"], flow["entity_name"], flow["span_parent_id"]) == ("workflow", "answer", None)
    assert (task["metadata"], task["span_parent_id"], task["input"]) == ({"team": "blue"}, FLOW, None)
    assert (model["input"], model["prompt_tokens"], model["cost"]) == ('[{"role":"user","content":"hi"}]', 10, 2.5e-6)
    assert model["output"].startswith('{"role":"assistant","content":"hello"')
    assert model["end_time"] == model["timestamp"]
    by_post = await answer(await http.post(f"{proxy.base}/traces/{TRACE}/", json={}))
    assert by_post == seen


async def test_a_call_of_the_gateway_is_a_trace_at_once(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    body = {"model": "echo/hello", "messages": [{"role": "user", "content": "hi"}]}
    async with http.post(f"{proxy.base}/chat/completions", json=body) as response:
        log_id = response.headers["X-Respan-Log-Id"]
    row = await answer(await http.get(f"{proxy.base}/request-logs/{log_id}/"))
    seen = await answer(await http.get(f"{proxy.base}/traces/{row['trace_unique_id']}/"))
    assert (seen["span_count"], seen["llm_call_count"], seen["name"]) == (1, 1, "chat.completions")
    (node,) = seen["span_tree"]
    assert (node["id"], node["input"], node["children"]) == (log_id, '[{"role":"user","content":"hi"}]', [])
    assert seen["total_tokens"] == row["total_request_tokens"] > 0


async def test_what_hangs_on_another_telling_of_a_call_hangs_on_the_call(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    body = {"model": "echo/hello", "messages": [{"role": "user", "content": "hi"}]}
    async with http.post(f"{proxy.base}/chat/completions", json=body) as response:
        log_id = response.headers["X-Respan-Log-Id"]
    response_id = (await answer(await http.get(f"{proxy.base}/request-logs/{log_id}/")))["response_id"]
    linked = told(MODEL, FLOW, claim=Claim(log_id=log_id, is_generation=True), log_type="chat", span_name="llm.hello")
    other = Claim(response_id=response_id, is_generation=True, scope="a.framework")
    beside = told(NATIVE, FLOW, claim=other, log_type="chat", response_id=response_id)
    await ingest(proxy, [told(TASK, NATIVE), told("aaaaaaaaaaaaaaaa", log_id[16:]), beside, linked, told(FLOW, log_type="workflow")])
    seen = await answer(await http.get(f"{proxy.base}/traces/{TRACE}/"))
    (flow,) = seen["span_tree"]
    (call,) = flow["children"]
    assert (call["id"], call["span_unique_id"]) == (log_id, MODEL)
    assert {node["span_unique_id"] for node in call["children"]} == {TASK, "aaaaaaaaaaaaaaaa"}
    assert (seen["llm_call_count"], seen["span_count"]) == (1, 4)
    row = await answer(await http.get(f"{proxy.base}/request-logs/{log_id}/"))
    assert row["span"]["name"] == "llm.hello"
    assert [span["name"] for span in row["spans_beside"]] == ["task"]
    assert row["full_request"] == body


async def test_a_span_is_read_as_calls_are(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    await ingest(proxy, workflow())
    filters = {"filters": {"trace_unique_id": {"operator": "", "value": [TRACE]}}, "include_fields": ["input", "output"]}
    page = await answer(await http.post(f"{proxy.base}/request-logs/list/?page_size=500", json=filters))
    assert {row["span_unique_id"] for row in page["results"]} == {FLOW, TASK, MODEL}
    model = next(row for row in page["results"] if row["span_unique_id"] == MODEL)
    assert model["input"] == '[{"role":"user","content":"hi"}]'
    whole = await answer(await http.get(f"{proxy.base}/request-logs/{model['id']}/"))
    assert whole["prompt_messages"] == MODEL_SAID.prompt_messages
    assert whole["completion_message"] == (MODEL_SAID.completion_messages or [])[0]
    assert (whole["completion_messages"], whole["tools"]) == (MODEL_SAID.completion_messages, MODEL_SAID.tools)
    assert (whole["tool_calls"], whole["full_request"], whole["span"]["attributes"]) == (MODEL_SAID.tool_calls, None, {"a.b": 1})
    summary = await answer(await http.post(f"{proxy.base}/request-logs/summary/", json=filters))
    assert (summary["number_of_requests"], summary["total_tokens"], summary["unpriced_requests"]) == (3, 15, 0)


async def test_sums_over_traces(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    await ingest(proxy, workflow())
    for path in ("traces/summary/", "clickhouse/traces/summary/"):
        seen = await answer(await http.post(f"{proxy.base}/{path}", json={"filters": {"name": "answer"}}))
        assert (seen["total_count"], seen["total_span_count"], seen["total_cost"], seen["error_rate"]) == (1, 3, 2.5e-6, 0)


async def test_pages_lead_to_one_another(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    now = time.time()
    for number in range(5):
        proxy.house.writer.finish(Row(f"r{number}", trace_unique_id=f"t{number}", timestamp=now - number, status="success"), None)
    url: str | None = f"{proxy.base}/traces/list/?page_size=2&sort_by=-timestamp"
    seen: list[str] = []
    while url is not None:
        page = await answer(await http.get(url))
        assert page["total_count"] == 5
        seen += [row["id"] for row in page["results"]]
        url = page["next"]
    assert seen == [f"t{number}" for number in range(5)]


async def test_a_trace_that_nobody_knows_is_not_found(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    seen = await answer(await http.get(f"{proxy.base}/traces/none/"), 404)
    assert seen["error"] == seen["detail"] == "Trace not found"


async def test_an_id_in_capitals_is_the_same_id(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    await ingest(proxy, [told(FLOW)])
    capitals = TRACE.upper()
    assert (await answer(await http.get(f"{proxy.base}/traces/{capitals}/")))["id"] == TRACE
    for name, value in (("trace_unique_id", capitals), ("trace_id", capitals), ("span_unique_id", FLOW.upper())):
        assert (await answer(await http.get(f"{proxy.base}/traces/list/?{name}={value}")))["count"] == 1
    assert (await answer(await http.get(f"{proxy.base}/request-logs/{row_id(TRACE, FLOW, None).upper()}/")))["trace_unique_id"] == TRACE
    await answer(await http.patch(f"{proxy.base}/traces/{capitals}/", json={"is_public": True}))
    assert (await answer(await http.get(f"{proxy.base}/local/traces/{capitals}/")))["is_public"] is True
    await answer(await http.delete(f"{proxy.base}/traces/{capitals}/"))
    await answer(await http.get(f"{proxy.base}/traces/{TRACE}/"), 404)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "traces/list/", {"filters": {"nmae": "x"}}, 400, "did you mean 'name'"),
        ("POST", "traces/list/", {"sort_by": "-model"}, 400, "total_cost"),
        ("GET", "traces/list/?page=0", None, 400, "page"),
        ("PATCH", "traces/one/", {"is_public": "yes"}, 400, "is_public"),
        ("PATCH", "traces/one/", {}, 400, "is_public"),
        ("PUT", "traces/one/", {}, 405, "GET"),
        ("POST", "log_threads/", {"sort_by": "name"}, 400, "last_seen"),
        ("GET", "request-logs/groups/?group_by=colour", None, 400, "customer_identifier"),
    ],
)
async def test_mistakes_are_named(
    proxy: Proxy, http: aiohttp.ClientSession, method: str, path: str, body: Any, status: int, said: str
) -> None:
    seen = await answer(await http.request(method, f"{proxy.base}/{path}", json=body), status)
    assert said in seen["detail"]


def key_of(proxy: Proxy, name: str) -> str:
    return next(key.id for key in proxy.house.config.keys if key.name == name)


def as_key(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}-key-0123456789"}


async def test_a_key_sees_its_own_spans_and_an_admin_all(start_proxy: StartProxy, http: aiohttp.ClientSession) -> None:
    proxy = await start_proxy(KEYS)
    await ingest(proxy, workflow(organization_key_id=key_of(proxy, "blue")))
    await ingest(proxy, [told("bbbbbbbbbbbbbbbb", FLOW, organization_key_id=key_of(proxy, "red"), customer_identifier="theirs")])

    async def spans(name: str) -> int:
        response = await http.get(f"{proxy.base}/traces/{TRACE}/", headers=as_key(name))
        page = await answer(await http.get(f"{proxy.base}/traces/list/", headers=as_key(name)))
        seen = await answer(response)
        assert [row["span_count"] for row in page["results"]] == [seen["span_count"]]
        return int(seen["span_count"])

    assert (await spans("blue"), await spans("red"), await spans("boss")) == (3, 1, 4)
    assert (await http.get(f"{proxy.base}/traces/{TRACE}/")).status == 401
    hidden = await answer(await http.get(f"{proxy.base}/traces/list/?customer_identifier=theirs", headers=as_key("blue")))
    assert hidden["results"] == []


async def test_a_public_trace_is_read_without_a_key_and_nothing_else_is(start_proxy: StartProxy, http: aiohttp.ClientSession) -> None:
    proxy = await start_proxy(KEYS)
    await ingest(proxy, workflow(organization_key_id=key_of(proxy, "blue")))
    await ingest(proxy, [told("bbbbbbbbbbbbbbbb", FLOW, organization_key_id=key_of(proxy, "red"))])
    own, public = f"{proxy.base}/traces/{TRACE}/", f"{proxy.base}/local/traces/{TRACE}/"

    async def share(name: str, is_public: bool) -> None:
        seen = await answer(await http.patch(own, json={"is_public": is_public}, headers=as_key(name)))
        assert seen == {"trace_unique_id": TRACE, "is_public": is_public}

    assert (await answer(await http.get(public), 404))["error"] == "Trace not found"
    await share("blue", True)
    seen = await answer(await http.get(public))
    assert (seen["span_count"], seen["is_public"]) == (3, True)
    assert (await answer(await http.get(own, headers=as_key("blue"))))["is_public"] is True
    assert (await answer(await http.get(own, headers=as_key("red"))))["is_public"] is False
    # Whoever has no key reads that and no more: not its logs, not the list, not as its owner, not what another key brought.
    log_id = seen["span_tree"][0]["id"]
    for path in (f"traces/{TRACE}/", "traces/list/", f"request-logs/{log_id}/", "local/traces/list/", f"v1/traces/{TRACE}"):
        assert (await http.get(f"{proxy.base}/{path}")).status in (401, 404)
    assert (await http.patch(own, json={"is_public": True})).status == 401
    await share("red", False)  # its own share alone, and it has none
    assert (await http.get(public)).status == 200
    await share("red", True)
    assert (await answer(await http.get(public)))["span_count"] == 4
    await share("boss", False)
    assert (await http.get(public)).status == 404
    await share("boss", True)
    assert (await answer(await http.get(public)))["span_count"] == 4
    await share("blue", False)  # who shared all is no mere key
    assert (await http.get(public)).status == 200


async def test_sharing_an_unknown_trace_is_no_error(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    seen = await answer(await http.patch(f"{proxy.base}/traces/none/", json={"is_public": True}))
    assert seen == {"trace_unique_id": "none", "is_public": True}
    assert (await http.get(f"{proxy.base}/local/traces/none/")).status == 404


async def test_threads_and_sessions_are_listed(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    now = time.time()
    for number, (thread, session) in enumerate((("a", "s"), ("b", None), ("a", None), (None, "s"), ("", None))):
        row = Row(f"r{number}", thread_identifier=thread, session_identifier=session, environment="prod", status="success", cost=1_000)
        row.trace_unique_id, row.timestamp, row.log_type = f"t{number}", now - 10 + number, "chat"
        proxy.house.writer.finish(row, None)
    page = await answer(await http.post(f"{proxy.base}/log_threads/", json={}))
    rows = [(row["thread_identifier"], row["environment"], row["log_count"], row["total_cost"]) for row in page["results"]]
    assert rows == [("a", "prod", 2, 2e-6), ("b", "prod", 1, 1e-6)]
    assert (page["count"], page["filters_data"]) == (2, {})
    page = await answer(await http.post(f"{proxy.base}/log_threads/", json={"filters": {"thread_identifier": "b"}}))
    assert [row["thread_identifier"] for row in page["results"]] == ["b"]
    assert page["current_filters"]["thread_identifier"] == ["b"]
    page = await answer(await http.post(f"{proxy.base}/log_sessions/", json={}))
    assert [(row["session_identifier"], row["trace_count"]) for row in page["results"]] == [("s", 2)]


async def test_calls_are_summed_in_groups(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    await ingest(proxy, workflow())
    content = Content(request_body=b"{}", answer=b"{}")
    for number, status in enumerate(("success", "failed")):
        row = Row(f"r{number}", model="claude", status=status, log_type="chat", timestamp=time.time(), latency=2.0, cache_bit=not number)
        row.trace_unique_id = "t"
        proxy.house.writer.finish(row, content)
    page = await answer(await http.get(f"{proxy.base}/request-logs/groups/?group_by=model"))
    assert [(row["model"], row["number_of_requests"], row["error_count"], row["average_tokens"]) for row in page["results"]] == [
        ("claude", 2, 1, None),
        ("gpt-4.1", 1, 0, 15),
    ]
    claude = page["results"][0]
    assert (claude["error_percentage"], claude["cache_hit_percentage"], claude["average_latency"], claude["average_cost"]) == (
        50,
        50,
        2,
        None,
    )
    page = await answer(await http.post(f"{proxy.base}/request-logs/groups/?group_by=trace&sort_by=-total_cost", json={"filters": {}}))
    assert [(row["trace_unique_id"], row["span_count"], row["number_of_requests"]) for row in page["results"]] == [
        (TRACE, 3, 1),
        ("t", 2, 2),
    ]


async def test_a_text_that_is_long_is_cut_in_a_list_and_whole_in_the_tree(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    await ingest(proxy, [told(FLOW, None, Said(input="x" * 50_000))])
    page = await answer(await http.get(f"{proxy.base}/traces/list/"))
    assert len(page["results"][0]["input"]) < 3_000
    assert page["results"][0]["input"].endswith("48000 more characters, see the log")
    seen = await answer(await http.get(f"{proxy.base}/traces/{TRACE}/"))
    assert (len(seen["input"]), seen["span_tree"][0]["cut"]) == (50_000, [])


async def test_a_trace_is_forgotten_and_an_unknown_one_is_no_error(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    await ingest(proxy, workflow())
    await http.patch(f"{proxy.base}/traces/{TRACE}/", json={"is_public": True})
    elsewhere = await answer(await http.delete(f"{proxy.base}/traces/{TRACE}/?end_time=2020-01-01"))
    assert elsewhere == {"message": "There was no such trace", "success": True}
    for said in ("Trace deleted", "There was no such trace"):
        assert await answer(await http.delete(f"{proxy.base}/traces/{TRACE}/")) == {"message": said, "success": True}
    assert (await http.get(f"{proxy.base}/traces/{TRACE}/")).status == 404
    assert (await answer(await http.get(f"{proxy.base}/request-logs/list/")))["results"] == []
    # What comes late of it is nobody else's to read.
    await ingest(proxy, workflow())
    assert (await http.get(f"{proxy.base}/local/traces/{TRACE}/")).status == 404


async def test_a_key_forgets_its_own_spans_of_a_trace(start_proxy: StartProxy, http: aiohttp.ClientSession) -> None:
    proxy = await start_proxy(KEYS)
    await ingest(proxy, workflow(organization_key_id=key_of(proxy, "blue")))
    await ingest(proxy, [told("bbbbbbbbbbbbbbbb", FLOW, organization_key_id=key_of(proxy, "red"))])
    await answer(await http.delete(f"{proxy.base}/traces/{TRACE}/", headers=as_key("red")))
    seen = await answer(await http.get(f"{proxy.base}/traces/{TRACE}/", headers=as_key("boss")))
    assert seen["span_count"] == 3


async def old_and_new(proxy: Proxy, count: int = 1) -> None:
    now = time.time()
    for number in range(count):
        for name, age in (("old", 100_000), ("new", 10)):
            row = Row(f"{name}{number}", trace_unique_id=f"{name}{number}", timestamp=now - age, status="success", customer_identifier="c")
            proxy.house.writer.finish(row, None)
    assert await proxy.house.writer.barrier(30)


async def test_traces_are_forgotten_together_within_the_window(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    filters = {"filters": {"customer_identifier": "c"}}
    await old_and_new(proxy)
    # The last day unless something is said of time; what the body says narrows what the URL says.
    narrowed = await answer(await http.post(f"{proxy.base}/traces/bulk/?start_time=2020-01-01", json={**filters, "end_time": "2020-01-02"}))
    assert narrowed["deleted_count"] == 0
    seen = await answer(await http.post(f"{proxy.base}/traces/bulk/", json=filters))
    assert (seen["success_count"], seen["error_count"], seen["errors"], seen["deleted_count"]) == (1, 0, [], 1)
    assert (await http.get(f"{proxy.base}/traces/new0/")).status == 404
    assert (await http.get(f"{proxy.base}/traces/old0/")).status == 200
    seen = await answer(await http.post(f"{proxy.base}/traces/bulk-delete/?start_time=2020-01-01", json=filters))
    assert seen["deleted_count"] == 1


async def test_nothing_is_forgotten_by_a_request_that_is_wrong_or_means_too_much(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    await old_and_new(proxy, 1001)
    for body, status, said in (
        ({}, 400, "filters"),
        ({"filters": {}}, 400, "filters"),
        ({"filters": {"cutomer": "c"}}, 400, "cutomer"),
        ({"filters": {"customer_identifier": "c"}}, 422, "1000"),
    ):
        assert said in (await answer(await http.post(f"{proxy.base}/traces/bulk/", json=body), status))["detail"]
    assert (await answer(await http.get(f"{proxy.base}/traces/list/")))["total_count"] == 1001
