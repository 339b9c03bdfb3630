"""The read API over real sockets: what was just done is found, in Respan's shapes, by those who may see it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from respan_proxy.respan.spans import Content, Row
from tests.conftest import Proxy, StartProxy

KEYS = {
    "keys": [
        {"name": "blue", "key": "blue-key-0123456789", "environment": "test"},
        {"name": "red", "key": "red-key-0123456789", "environment": "prod"},
        {"name": "boss", "key": "boss-key-0123456789", "is_admin": True},
    ]
}
ASKED = b'{"model":"gpt-4.1-nano","messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function"}]}'


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def remember(proxy: Proxy, unique_id: str, **columns: Any) -> None:
    now = time.time()
    row = Row(unique_id, **{"status": "success", "start_time": now, "timestamp": now, "model": "gpt-4.1-nano", **columns})
    content = Content(
        request_headers=[("content-type", "application/json")],
        request_body=ASKED,
        answer=[(0.25, b"data: {}\n\n"), (0.5, b"data: [DONE]\n\n")],
        reply=b'[{"role":"assistant","content":"hello"}]',
    )
    proxy.house.writer.finish(row, content)


async def answer(response: aiohttp.ClientResponse, status: int = 200) -> Any:
    assert response.status == status, await response.text()
    return await response.json()


@pytest.mark.parametrize("path", ["/api/request-logs/one/", "/api/request-logs/one", "//api//request-logs/one/"])
async def test_a_call_is_found_at_once_with_everything_said(proxy: Proxy, http: aiohttp.ClientSession, path: str) -> None:
    remember(proxy, "one", cost=2_500, metadata={"team": "blue"}, stream=True)
    seen = await answer(await http.get(proxy.root + path))
    assert seen["id"] == seen["unique_id"] == "one"
    assert seen["cost"] == 0.0000025
    assert seen["metadata"] == {"team": "blue"}
    assert seen["timestamp"].endswith("Z")
    assert seen["prompt_messages"] == [{"role": "user", "content": "hi"}]
    assert seen["input"] == '[{"role":"user","content":"hi"}]'
    assert seen["completion_message"] == {"role": "assistant", "content": "hello"}
    assert seen["output"] == '{"role":"assistant","content":"hello"}'
    assert seen["full_request"]["model"] == "gpt-4.1-nano"
    assert seen["full_response"] == "data: {}\n\ndata: [DONE]\n\n"
    assert seen["frames"] == [{"time": 0.25, "data": "data: {}\n\n"}, {"time": 0.5, "data": "data: [DONE]\n\n"}]
    assert seen["tools"] == [{"type": "function"}]
    assert seen["scores"] == {}
    assert "instance_id" not in seen


async def test_an_unknown_id_is_404_in_respans_shape(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    seen = await answer(await http.get(f"{proxy.base}/request-logs/none/"), 404)
    assert seen["detail"] == seen["error"]["message"] == "no log has the id 'none'"
    assert seen["error"]["code"] == "log_not_found"


async def test_lists_filter_by_body_and_url_alike(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    remember(proxy, "one", model="gpt-4.1-nano")
    remember(proxy, "two", model="claude-sonnet-4-5", metadata={"team": "blue"})
    filters = {"filters": {"model": {"operator": "contains", "value": ["claude"]}}}
    by_body = await answer(await http.post(f"{proxy.base}/request-logs/list/", json=filters))
    by_url = await answer(await http.get(f"{proxy.base}/request-logs/list/?model[operator]=contains&model[value]=claude"))
    by_metadata = await answer(await http.get(f"{proxy.base}/request-logs/list?team=blue"))
    for page in (by_body, by_url, by_metadata):
        assert [row["id"] for row in page["results"]] == ["two"]
        assert (page["count"], page["total_count"], page["next"], page["previous"]) == (1, 1, None, None)
    assert "input" not in by_body["results"][0]


async def test_pages_lead_to_one_another(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    for number in range(5):
        remember(proxy, f"call-{number}", timestamp=time.time() - number)
    url: str | None = f"{proxy.base}/request-logs/list/?page_size=2&sort_by=-timestamp"
    seen: list[str] = []
    while url is not None:
        page = await answer(await http.get(url))
        assert page["total_count"] == 5
        seen += [row["id"] for row in page["results"]]
        url = page["next"]
    assert seen == [f"call-{number}" for number in range(5)]
    assert page["previous"] == f"{proxy.base}/request-logs/list/?page_size=2&sort_by=-timestamp&page=2"


async def test_content_is_in_a_list_when_it_is_asked_for(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    remember(proxy, "one")
    page = await answer(await http.post(f"{proxy.base}/request-logs/list/", json={"include_fields": ["output"]}))
    assert page["results"][0]["output"] == '{"role":"assistant","content":"hello"}'
    assert "input" not in page["results"][0]


async def test_sums_agree_with_the_list(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    remember(proxy, "one", cost=1_000_000_000, prompt_tokens=10, completion_tokens=5, total_request_tokens=15, latency=1.0)
    remember(proxy, "two", latency=3.0)
    seen = await answer(await http.post(f"{proxy.base}/request-logs/summary/", json={}))
    assert (seen["number_of_requests"], seen["total_cost"], seen["total_tokens"], seen["avg_latency"]) == (2, 1.0, 15, 2.0)
    assert (seen["total_prompt_tokens"], seen["total_completion_tokens"], seen["unpriced_requests"]) == (10, 5, 1)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "list/", b'{"filters":{"modle":"x"}}', 400, "did you mean 'model'"),
        ("GET", "list/?page=none", b"", 400, "page"),
        ("POST", "list/", b"[1]", 400, "JSON object"),
        ("POST", "summary/", b"{", 400, "not JSON"),
        ("DELETE", "list/", b"", 405, "GET, POST"),
    ],
)
async def test_mistakes_are_named(
    proxy: Proxy, http: aiohttp.ClientSession, method: str, path: str, body: bytes, status: int, said: str
) -> None:
    seen = await answer(await http.request(method, f"{proxy.base}/request-logs/{path}", data=body), status)
    assert said in seen["detail"]
    assert seen["error"]["message"] == seen["detail"]


async def test_a_key_reads_its_own_rows_and_an_admin_all(start_proxy: StartProxy, http: aiohttp.ClientSession) -> None:
    proxy = await start_proxy(KEYS)
    key_ids = {}
    for name in ("blue", "red", "boss"):
        key_ids[name] = next(key.id for key in proxy.house.config.keys if key.name == name)
    remember(proxy, "blue-call", organization_key_id=key_ids["blue"])
    remember(proxy, "red-call", organization_key_id=key_ids["red"])

    async def sees(name: str) -> tuple[set[str], int, int]:
        headers = {"authorization": f"Bearer {name}-key-0123456789"}
        page = await answer(await http.get(f"{proxy.base}/request-logs/list/", headers=headers))
        summary = await answer(await http.get(f"{proxy.base}/request-logs/summary/", headers=headers))
        single = await http.get(f"{proxy.base}/request-logs/red-call/", headers=headers)
        return {row["id"] for row in page["results"]}, summary["number_of_requests"], single.status

    assert await sees("blue") == ({"blue-call"}, 1, 404)
    assert await sees("red") == ({"red-call"}, 1, 200)
    assert await sees("boss") == ({"blue-call", "red-call"}, 2, 200)
    assert (await http.get(f"{proxy.base}/request-logs/list/")).status == 401


async def test_the_log_id_of_an_answer_leads_to_its_row(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    body = {"model": "echo/hello", "messages": [{"role": "user", "content": "hi"}]}
    async with http.post(f"{proxy.base}/chat/completions", json=body) as response:
        log_id = response.headers["X-Respan-Log-Id"]
        assert response.status == 200
        said = await response.json()
    seen = await answer(await http.get(f"{proxy.base}/request-logs/{log_id}/"))
    assert seen["status"] == "success"
    assert seen["outcome"] == "complete"
    assert seen["completion_message"]["content"] == said["choices"][0]["message"]["content"]
    assert seen["full_request"] == body


async def test_reading_says_so_when_the_database_is_away(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    for file in proxy.house.queries.path.parent.glob("calls.db*"):
        file.unlink()
    seen = await answer(await http.get(f"{proxy.base}/request-logs/list/"), 503)
    assert "no such file" in seen["detail"]


OPERATIONS = [
    ("model", "", ["gpt-4.1-nano"], {"one"}),
    ("model", "in", ["gpt-4.1-nano", "claude"], {"one", "two"}),
    ("model", "not_in", ["gpt-4.1-nano"], {"two", "three"}),
    ("model", "not", ["gpt-4.1-nano"], {"two", "three"}),
    ("latency", "lt", [2], {"one"}),
    ("latency", "lte", [2], {"one", "two"}),
    ("latency", "gt", ["1"], {"two"}),
    ("latency", "gte", [1], {"one", "two"}),
    ("total_cost", "gt", [0.5], {"one"}),
    ("model", "contains", ["4.1"], {"one"}),
    ("model", "contains", ["GPT"], set()),
    ("model", "not_contains", ["4.1"], {"two", "three"}),
    ("model", "icontains", ["GPT"], {"one"}),
    ("model", "startswith", ["cl"], {"two"}),
    ("model", "not_startswith", ["cl"], {"one", "three"}),
    ("model", "endswith", ["nano"], {"one"}),
    ("model", "not_endswith", ["nano"], {"two", "three"}),
    ("model", "iexact", ["CLAUDE"], {"two"}),
    ("model", "empty", [], {"three"}),
    ("model", "not_empty", [], {"one", "two"}),
    ("model", "isnull", [True], {"three"}),
    ("metadata__team", "", ["blue"], {"one"}),
    ("metadata__size", "gt", [5], {"one"}),
    ("stream", "", [True], {"one"}),
    ("is_root_span", "", [False], {"two"}),
    ("fault_domain", "", ["provider"], {"three"}),
    ("timestamp", "gt", ["2020-01-01"], {"one", "two", "three"}),
]


@pytest.mark.parametrize(("field", "operator", "value", "expected"), OPERATIONS)
async def test_every_operator_chooses_over_body_and_url_alike(
    proxy: Proxy, http: aiohttp.ClientSession, field: str, operator: str, value: list[Any], expected: set[str]
) -> None:
    remember(proxy, "one", latency=1.0, cost=1_000_000_000, metadata={"team": "blue", "size": "9"}, stream=True)
    remember(proxy, "two", model="claude", latency=2.0, span_parent_id="p", metadata={"size": "3"})
    remember(proxy, "three", model=None, status="failed", status_code=502, outcome="unavailable")
    body = {"filters": {field: {"operator": operator, "value": value}}}
    found = await answer(await http.post(f"{proxy.base}/request-logs/list/", json=body))
    assert {row["id"] for row in found["results"]} == expected
    url = [(f"{field}[operator]", operator), *((f"{field}[value]", str(one)) for one in value)]
    found = await answer(await http.get(f"{proxy.base}/request-logs/list/", params=url))
    assert {row["id"] for row in found["results"]} == expected


async def test_a_call_belongs_to_the_key_that_made_it_and_has_its_environment(start_proxy: StartProxy, http: aiohttp.ClientSession) -> None:
    proxy = await start_proxy(KEYS)
    ids = {}
    for name in ("blue", "red"):
        body = {"model": "echo/hello", "messages": [], "environment": "another", "customer_identifier": name}
        headers = {"authorization": f"Bearer {name}-key-0123456789"}
        async with http.post(f"{proxy.base}/chat/completions", json=body, headers=headers) as response:
            ids[name] = response.headers["X-Respan-Log-Id"]
            assert response.status == 200
    for asks, sees in (("blue", {"blue"}), ("red", {"red"}), ("boss", {"blue", "red"})):
        headers = {"authorization": f"Bearer {asks}-key-0123456789"}
        page = await answer(await http.post(f"{proxy.base}/request-logs/list/", json={}, headers=headers))
        assert {(row["organization_key_name"], row["environment"]) for row in page["results"]} == {
            (name, {"blue": "test", "red": "prod"}[name]) for name in sees
        }
        for name, log_id in ids.items():
            single = await http.get(f"{proxy.base}/request-logs/{log_id}/", headers=headers)
            assert single.status == (200 if name in sees else 404)
        tested = await answer(await http.get(f"{proxy.base}/request-logs/summary/?is_test=true", headers=headers))
        assert tested["number_of_requests"] == ("blue" in sees)


async def test_reserved_keys_of_metadata_are_hidden(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    remember(proxy, "one", metadata={"_tracing_sdk_version": "1", "team": "blue"})
    page = await answer(await http.get(f"{proxy.base}/request-logs/list/"))
    single = await answer(await http.get(f"{proxy.base}/request-logs/one/"))
    assert page["results"][0]["metadata"] == single["metadata"] == {"team": "blue"}


async def test_content_in_a_form_that_nobody_here_reads_leaves_the_columns(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    for unique_id in ("one", "two"):
        remember(proxy, unique_id)
    assert await proxy.house.writer.barrier(30)
    await proxy.house.writer._database.run(
        lambda db: db.execute("UPDATE body SET enc = CASE seq WHEN 1 THEN 'lzma/9' ELSE enc END, data = x'00'").fetchall()
    )
    for unique_id in ("one", "two"):
        seen = await answer(await http.get(f"{proxy.base}/request-logs/{unique_id}/"))
        assert (seen["model"], seen["full_request"]) == ("gpt-4.1-nano", None)
