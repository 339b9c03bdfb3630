"""The logging API and the older trace ingest, over real sockets."""

from __future__ import annotations

import gzip
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from respan_proxy.respan.spans import Content, Row
from respan_proxy.telemetry.spans import row_id
from tests.conftest import Proxy, StartProxy
from tests.store.spans import read

KEYS = {
    "keys": [
        {"name": "blue", "key": "blue-key-0123456789", "environment": "test"},
        {"name": "red", "key": "red-key-0123456789", "environment": "prod"},
        {"name": "boss", "key": "boss-key-0123456789", "is_admin": True},
    ]
}
LOG = {
    "model": "gpt-4.1-nano",
    "prompt_messages": [{"role": "user", "content": "hi"}],
    "completion_message": {"role": "assistant", "content": "hello"},
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "generation_time": 1.5,
}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def as_key(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}-key-0123456789"}


def remember(proxy: Proxy, unique_id: str, **columns: Any) -> None:
    """A finished call of this proxy's own."""
    now = time.time()
    row = Row(unique_id, **{"status": "success", "start_time": now, "timestamp": now, "endpoint": "chat", "model": "m", **columns})
    proxy.house.writer.finish(row, Content())


async def answer(response: aiohttp.ClientResponse, status: int = 200) -> Any:
    assert response.status == status, await response.text()
    return await response.json()


async def listed(proxy: Proxy, http: aiohttp.ClientSession, **headers: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await answer(await http.get(f"{proxy.base}/request-logs/list/", headers=headers)))["results"]
    return found


@pytest.mark.parametrize("path", ["/api/request-logs/", "/api/request-logs", "/api/request-logs/create/", "/request-logs/create"])
async def test_a_log_is_answered_as_it_is_stored(proxy: Proxy, http: aiohttp.ClientSession, path: str) -> None:
    made = await answer(await http.post(proxy.root + path, json=LOG), 201)
    assert made["message"] == "log successful"
    assert (made["latency"], made["status"], made["cost"]) == (1.5, "success", (10 * 100 + 5 * 400) / 1e9)
    assert (made["prompt_messages"], made["completion_message"]) == (LOG["prompt_messages"], LOG["completion_message"])
    assert made["output"] == '{"role":"assistant","content":"hello"}'
    read_again = await answer(await http.get(f"{proxy.base}/request-logs/{made['id']}/"))
    assert {**read_again, "message": "log successful"} == made
    assert [row["id"] for row in await listed(proxy, http)] == [made["id"]]


async def test_a_log_belongs_to_its_key_which_says_the_environment(
    start_proxy: StartProxy, environ: dict[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(KEYS, environ)
    made = await answer(await http.post(f"{proxy.base}/request-logs/", json={**LOG, "environment": "prod"}, headers=as_key("blue")), 201)
    assert (made["environment"], made["environment_tag"], made["organization_key_name"]) == ("test", "prod", "blue")
    await answer(await http.get(f"{proxy.base}/request-logs/{made['id']}/", headers=as_key("red")), 404)
    assert [row["id"] for row in await listed(proxy, http, **as_key("boss"))] == [made["id"]]
    assert (await http.post(f"{proxy.base}/request-logs/", json=LOG)).status == 401


async def test_a_log_that_cannot_be_read_is_400_with_its_member(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    said = await answer(await http.post(f"{proxy.base}/request-logs/", json={**LOG, "latency": "long"}), 400)
    assert said["detail"] == 'latency: found "long", expected seconds, 0 or more'
    assert said["error"]["param"] == "latency"
    broken = await answer(await http.post(f"{proxy.base}/request-logs/", data=b'{"a":'), 400)
    assert broken["detail"].startswith("the body is not JSON")
    assert await listed(proxy, http) == []


async def test_a_log_with_an_id_of_its_own_is_found_by_it_and_replaced_by_the_next(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    await answer(await http.post(f"{proxy.base}/request-logs/", json={**LOG, "unique_id": "mine", "note": "first"}), 201)
    await answer(await http.post(f"{proxy.base}/request-logs/", json={**LOG, "unique_id": "mine", "completion_tokens": 6}), 201)
    (row,) = await listed(proxy, http)
    assert (row["id"], row["completion_tokens"]) == ("mine", 6)


async def test_a_log_that_names_a_call_of_the_proxy_is_said_of_that_call(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    remember(proxy, "call", prompt_tokens=7, metadata={"a": "1"})
    log = {"unique_id": "call", "prompt_tokens": 99, "metadata": {"b": "2"}, "customer_params": {"customer_identifier": "u1"}, "note": "n"}
    made = await answer(await http.post(f"{proxy.base}/request-logs/", json=log), 201)
    assert (made["id"], made["prompt_tokens"], made["customer_identifier"], made["note"]) == ("call", 7, "u1", "n")
    assert made["metadata"] == {"a": "1", "b": "2"}
    assert len(await listed(proxy, http)) == 1


async def test_a_log_with_the_answers_id_of_a_call_is_that_call_and_answered_as_it(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    remember(proxy, "call", response_id="r1", prompt_tokens=7)
    log = {**LOG, "trace_unique_id": "t", "span_unique_id": "s", "full_response": {"id": "r1"}}
    made = await answer(await http.post(f"{proxy.base}/request-logs/", json=log), 201)
    assert (made["id"], made["prompt_tokens"], made["trace_unique_id"]) == ("call", 7, "t")
    assert len(await listed(proxy, http)) == 1


async def test_nobody_writes_over_what_is_another_keys(
    start_proxy: StartProxy, environ: dict[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(KEYS, environ)
    await answer(await http.post(f"{proxy.base}/request-logs/", json={**LOG, "unique_id": "x"}, headers=as_key("blue")), 201)
    refused = await answer(await http.post(f"{proxy.base}/request-logs/", json={**LOG, "unique_id": "x"}, headers=as_key("red")), 409)
    assert "the id may be another's" in refused["detail"]
    (row,) = await listed(proxy, http, **as_key("boss"))
    assert row["organization_key_name"] == "blue"


# Bulk.


async def test_of_a_bulk_the_good_are_kept_and_the_bad_are_named(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    logs = [LOG, {**LOG, "prompt_tokens": -1}, "no log", {**LOG, "model": "other"}]
    made = await answer(await http.post(f"{proxy.base}/request-logs/bulk/", json={"logs": logs}), 201)
    assert made == {
        "success_count": 2,
        "error_count": 2,
        "errors": [
            {"index": 1, "error": "prompt_tokens: found -1, expected a whole number, 0 or more"},
            {"index": 2, "error": 'a log: found "no log", expected an object'},
        ],
    }
    assert sorted(row["model"] for row in await listed(proxy, http)) == ["gpt-4.1-nano", "other"]


@pytest.mark.parametrize("logs", [[], None, {}, [LOG] * 501])
async def test_a_bulk_of_nothing_or_too_much_is_400(proxy: Proxy, http: aiohttp.ClientSession, logs: Any) -> None:
    said = await answer(await http.post(f"{proxy.base}/request-logs/bulk/", json={"logs": logs}), 400)
    assert said["detail"].startswith("logs: ")


async def test_a_bulk_of_which_nothing_can_be_kept_is_400(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    said = await answer(await http.post(f"{proxy.base}/request-logs/bulk/", json={"logs": [1, 2]}), 400)
    assert (said["success_count"], said["error_count"]) == (0, 2)


async def test_a_large_bulk_may_be_compressed(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    body = gzip.compress(orjson.dumps({"logs": [{**LOG, "note": "x" * 10_000}] * 100}))
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    made = await answer(await http.post(f"{proxy.base}/request-logs/bulk/", data=body, headers=headers), 201)
    assert made["success_count"] == 100


# Said later.


async def test_what_is_said_of_a_log_later_changes_it_and_nothing_else(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    remember(proxy, "call", metadata={"a": "1", "b": "2"}, note="old")
    change = {"note": None, "positive_feedback": False, "category": "bug", "metadata": {"b": None, "c": 3}, "thread_identifier": "t"}
    seen = await answer(await http.patch(f"{proxy.base}/request-logs/call/", json=change))
    assert (seen["note"], seen["positive_feedback"], seen["category"], seen["thread_identifier"]) == (None, False, "bug", "t")
    assert (seen["metadata"], seen["model"]) == ({"a": "1", "c": 3}, "m")


async def test_what_was_said_of_a_call_stays_when_a_span_is_linked_to_it_afterwards_and_before(
    proxy: Proxy, http: aiohttp.ClientSession
) -> None:
    remember(proxy, "call", metadata={"a": "1"}, response_id="r1")
    await http.patch(f"{proxy.base}/request-logs/call/", json={"metadata": {"said": "first"}})
    span = {"trace_unique_id": "t", "span_unique_id": "s", "model": "m", "full_response": {"id": "r1"}, "metadata": {"span": "1"}}
    await answer(await http.post(f"{proxy.base}/v1/traces/ingest", json=[span]))
    await http.patch(f"{proxy.base}/request-logs/call/", json={"metadata": {"said": "second"}})
    await answer(await http.post(f"{proxy.base}/v1/traces/ingest", json=[{**span, "metadata": {"span": "2"}}]))
    (row,) = await listed(proxy, http)
    assert (row["id"], row["trace_unique_id"], row["span_unique_id"]) == ("call", "t", "s")
    assert row["metadata"] == {"a": "1", "said": "second", "span": "2"}


async def test_only_who_sees_a_log_may_say_something_of_it(
    start_proxy: StartProxy, environ: dict[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(KEYS, environ)
    remember(proxy, "call", organization_key_id=proxy.house.config.keys[0].id)
    change = {"note": "n"}
    assert (await http.patch(f"{proxy.base}/request-logs/call/", json=change, headers=as_key("red"))).status == 404
    assert (await http.patch(f"{proxy.base}/request-logs/call/", json=change, headers=as_key("blue"))).status == 200
    assert (await http.patch(f"{proxy.base}/request-logs/call/", json=change, headers=as_key("boss"))).status == 200


async def test_several_logs_are_changed_at_once_and_the_unknown_are_named(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    remember(proxy, "one")
    remember(proxy, "two")
    logs = [{"unique_id": "one", "note": "a"}, {"unique_id": "none", "note": "b"}, {"id": "two", "cost": 1}, {"id": "two", "category": "c"}]
    seen = await answer(await http.patch(f"{proxy.base}/request-logs/batch-update/", json={"logs": logs}))
    assert (seen["success_count"], seen["error_count"]) == (2, 2)
    assert [error["index"] for error in seen["errors"]] == [1, 2]
    assert {row["id"]: (row["note"], row["category"]) for row in await listed(proxy, http)} == {"one": ("a", None), "two": (None, "c")}


# The older trace ingest.


@pytest.mark.parametrize(
    "path",
    ["/api/v1/traces/ingest", "/v1/traces/ingest", "/api/traces/ingest/", "/api/openai/v1/traces/ingest", "/openai/v1/traces/ingest/"],
)
async def test_spans_in_a_list_or_under_data_are_a_trace(proxy: Proxy, http: aiohttp.ClientSession, path: str) -> None:
    root = {"trace_unique_id": "t1", "span_unique_id": "root", "span_name": "flow", "log_type": "workflow"}
    call = {**LOG, "trace_unique_id": "t1", "span_unique_id": "llm", "span_parent_id": "root"}
    first = await answer(await http.post(proxy.root + path, json=[call]))
    assert first["message"] == "1 of 1 spans were taken"
    second = await answer(await http.post(proxy.root + path, json={"data": [root, call]}))
    assert (second["ingested_spans"], second["created_traces"], second["trace_ids"], second["errors"]) == (2, 1, ["t1"], [])
    rows = {row["span_unique_id"]: row for row in await listed(proxy, http)}
    assert {id: (row["id"], row["span_parent_id"], row["log_type"], row["log_method"]) for id, row in rows.items()} == {
        "root": (row_id("t1", "root", None), None, "workflow", "tracing_integration"),
        "llm": (row_id("t1", "llm", None), "root", "chat", "tracing_integration"),
    }


async def test_of_a_trace_the_good_spans_are_kept_and_none_good_is_400(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    said = await answer(await http.post(f"{proxy.base}/v1/traces/ingest", json=[{"log_type": "task"}, {"usage": 5}]))
    assert (said["status"], said["ingested_spans"], said["errors"]) == (
        "partial",
        1,
        [{"index": 1, "error": "usage: found 5, expected an object"}],
    )
    refused = await answer(await http.post(f"{proxy.base}/v1/traces/ingest", json=[{"usage": 5}]), 400)
    assert refused["detail"] == "none of 1 spans can be kept; the first one: usage: found 5, expected an object"
    assert (await http.post(f"{proxy.base}/v1/traces/ingest", json={"spans": []})).status == 400
    assert (await answer(await http.post(f"{proxy.base}/v1/traces/ingest", json=[])))["ingested_spans"] == 0


async def test_of_a_trace_that_cannot_be_stored_the_truth_is_said(
    start_proxy: StartProxy, environ: dict[str, str], http: aiohttp.ClientSession
) -> None:
    proxy = await start_proxy(KEYS, environ)
    url, theirs = f"{proxy.base}/v1/traces/ingest", {**LOG, "unique_id": "x", "trace_unique_id": "theirs", "span_unique_id": "s"}
    await answer(await http.post(url, json=[theirs], headers=as_key("blue")))
    refused = await answer(await http.post(url, json=[theirs], headers=as_key("red")), 400)
    assert refused["detail"].startswith("none of 1 spans can be kept; the first one: the log x cannot be stored")
    said = await answer(await http.post(url, json=[theirs, {**LOG, "trace_unique_id": "ours"}], headers=as_key("red")))
    assert (said["status"], said["ingested_spans"], said["created_traces"], said["trace_ids"]) == ("partial", 1, 1, ["ours"])
    assert [error["index"] for error in said["errors"]] == [0]


async def test_a_trace_that_is_said_of_a_call_alone_is_taken(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    remember(proxy, "call", prompt_tokens=7)
    said = await answer(await http.post(f"{proxy.base}/v1/traces/ingest", json=[{"unique_id": "call", "note": "n"}]))
    assert (said["ingested_spans"], said["created_traces"], said["trace_ids"]) == (1, 0, [])
    assert [row["note"] for row in await listed(proxy, http)] == ["n"]


async def test_logs_obey_what_is_kept_of_content(start_proxy: StartProxy, environ: dict[str, str], http: aiohttp.ClientSession) -> None:
    proxy = await start_proxy({"store": {"content": "none"}}, environ)
    made = await answer(await http.post(f"{proxy.base}/request-logs/", json=LOG), 201)
    assert made["prompt_tokens"] == 10
    assert read(proxy.house.writer.path, "SELECT enc, data FROM span") == [(None, None)]


async def test_a_log_that_is_not_to_be_logged_keeps_its_numbers_alone(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    made = await answer(await http.post(f"{proxy.base}/request-logs/", json={**LOG, "disable_log": True}), 201)
    assert made["prompt_tokens"] == 10
    assert read(proxy.house.writer.path, "SELECT enc, data FROM span") == [(None, None)]


async def test_what_pythons_json_writes_costs_no_log(proxy: Proxy, http: aiohttp.ClientSession) -> None:
    """Half a character out of a stream that was cut, and a number that is none, in one of many logs, cost the whole batch."""
    logs = b'[{"span_name":"a","output":"cut \\ud83d"},{"span_name":"b","metadata":{"score":NaN,"many":%s}},{"latency":NaN}]' % (b"9" * 400)
    told = await answer(await http.post(f"{proxy.base}/v1/traces/ingest", data=logs))
    assert told["ingested_spans"] == 2
    assert [error["index"] for error in told["errors"]] == [2]
    found = {row["span_name"]: row for row in await listed(proxy, http)}
    assert found["b"]["metadata"] == {"score": None, "many": None}
    whole = await answer(await http.get(f"{proxy.base}/request-logs/{found['a']['id']}/"))
    assert whole["output"] == "cut \ufffd"
