"""A proxy with `[[export]]`: what it remembers reaches the collector, as one tree, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from respan_proxy.app import running
from respan_proxy.config import parse
from respan_proxy.exchange import Caller
from respan_proxy.store.exporting import Exporting
from respan_proxy.store.writer import Writer
from respan_proxy.telemetry.spans import Claim, Said, Source, Span
from respan_proxy.telemetry.vocabularies import tell
from tests.conftest import Host, Proxy, StartProxy
from tests.fakes.collector import FakeCollector, spans_of
from tests.fakes.provider import silent, whole
from tests.store.spans import TRACE, call, read, told

EVER = {"start_time": "2020-01-01T00:00:00Z"}
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "say hi"}], "customer_identifier": "c1", "thread_identifier": "t1"}


def export_to(collector: FakeCollector, **options: Any) -> dict[str, Any]:
    return {"name": "ours", "endpoint": collector.endpoint, "wait_s": 0, **options}


async def called(proxy: Proxy, body: Mapping[str, Any] = CHAT) -> str:
    async with aiohttp.ClientSession() as client, client.post(f"{proxy.base}/chat/completions", json=body) as response:
        assert response.status == 200, await response.text()
        await response.read()
        return response.headers["X-Respan-Log-Id"]


async def health(proxy: Proxy) -> Any:
    async with aiohttp.ClientSession() as client, client.get(f"{proxy.root}/health/ready") as response:
        return (await response.json())["exports"]


def app_span(span_id: str, parent_id: str | None = None, name: str = "workflow", **attributes: Any) -> Span:
    return Span(
        trace_id=TRACE,
        span_id=span_id * 16,
        parent_id=parent_id and parent_id * 16,
        name=name,
        kind=1,
        start_ns=1_700_000_000_000_000_000,
        end_ns=1_700_000_001_000_000_000,
        attributes=attributes,
        source=Source({"service.name": "my app"}, "respan.tracer"),
    )


async def export_of_app(proxy: Proxy, *spans: Span) -> None:
    """As the receiver of spans does."""
    await proxy.house.writer.ingest([tell(span, Caller()) for span in spans], 1000, "full")


async def test_a_call_reaches_the_collector(start_proxy: StartProxy, environ: dict[str, str], collector: FakeCollector) -> None:
    proxy = await start_proxy({"export": [export_to(collector, content="full")]}, environ)
    log_id = await called(proxy)
    (span,) = spans_of(await collector.arrival())
    assert (span["trace_id"], span["span_id"], span["parent_id"], span["name"]) == (log_id, log_id[16:], None, "chat gpt-4o")
    told = span["attributes"]
    assert (told["gen_ai.conversation.id"], told["respan.customer_params.customer_identifier"]) == ("t1", "c1")
    assert told["gen_ai.usage.input_tokens"] > 0
    assert told["gen_ai.usage.cost"] > 0
    assert "say hi" in told["gen_ai.input.messages"]
    assert json.loads(told["gen_ai.output.messages"])[0]["parts"][0]["content"]


async def test_no_word_of_a_call_leaves_unless_it_is_asked_for(
    start_proxy: StartProxy, environ: dict[str, str], collector: FakeCollector
) -> None:
    proxy = await start_proxy({"export": [export_to(collector)]}, environ)
    await called(proxy)
    (span,) = spans_of(await collector.arrival())
    assert "say hi" not in repr(span)


async def test_what_is_not_remembered_is_not_passed_on(start_proxy: StartProxy, environ: dict[str, str], collector: FakeCollector) -> None:
    proxy = await start_proxy({"export": [export_to(collector, content="full")]}, environ)
    await called(proxy, {**CHAT, "disable_log": True})
    (span,) = spans_of(await collector.arrival())
    assert "say hi" not in repr(span)


async def test_a_call_and_the_apps_spans_are_one_tree_at_the_collector(
    start_proxy: StartProxy, environ: dict[str, str], collector: FakeCollector
) -> None:
    proxy = await start_proxy({"export": [export_to(collector, content="full", wait_s=3600)]}, environ)
    log_id = await called(proxy)
    llm = app_span("2", "1", "llm.gpt-4o", **{"respan.gateway.log_id": log_id, "llm.request.type": "chat"})
    await export_of_app(proxy, app_span("1"), llm)
    while len(collector.spans) < 2:
        await collector.arrival()
    spans = {span["name"]: span for span in collector.spans}
    assert {name: (span["trace_id"], span["span_id"], span["parent_id"]) for name, span in spans.items()} == {
        "workflow": (TRACE, "1" * 16, None),
        "llm.gpt-4o": (TRACE, "2" * 16, "1" * 16),
    }
    assert spans["llm.gpt-4o"]["resource"]["service.name"] == "my app"
    assert "say hi" in spans["llm.gpt-4o"]["attributes"]["gen_ai.input.messages"]
    await export_of_app(proxy, app_span("1"), llm)  # an exporter that sends it all again
    await called(proxy)
    assert (await health(proxy))["ours"]["sent"] == 2


async def test_a_collector_that_says_nothing_slows_no_call(
    start_proxy: StartProxy, environ: dict[str, str], collector: FakeCollector
) -> None:
    proxy = await start_proxy({"export": [export_to(collector, max_waiting=2)]}, environ)
    collector.will(silent())
    await called(proxy)
    await collector.arrival()
    for _ in range(4):
        await called(proxy)
    assert (await health(proxy))["ours"]["waiting"] <= 3


async def test_health_counts_what_is_lost(start_proxy: StartProxy, environ: dict[str, str], collector: FakeCollector) -> None:
    collector.will(whole(b"no such project", 404))
    proxy = await start_proxy({"export": [export_to(collector)]}, environ)
    await called(proxy)
    await collector.arrival()
    async with asyncio.timeout(5):
        while not (told := (await health(proxy))["ours"])["refused"]:
            await asyncio.sleep(0)
    assert told["last_error"] == "HTTP 404: no such project"


async def test_the_end_of_the_proxy_passes_on_what_waits(environ: dict[str, str], collector: FakeCollector, tmp_path: Path) -> None:
    flags = {"listen": "127.0.0.1:0", "database": str(tmp_path / "calls.db")}
    async with running(parse({"export": [export_to(collector, wait_s=3600)]}, environ, "test.toml", flags)) as house:
        log_id = await called(Proxy(house, f"http://127.0.0.1:{house.address.port}"))
    assert [span["trace_id"] for span in collector.spans] == [log_id]


async def test_a_reload_adopts_changed_exports(start_proxy: StartProxy, environ: dict[str, str], collector: FakeCollector) -> None:
    proxy = await start_proxy({}, environ)
    await called(proxy)
    config = proxy.house.config
    ours = parse({"export": [export_to(collector, content="none")]}, environ).exports
    proxy.house.adopt(replace(config, exports=ours))
    await called(proxy)
    assert "gen_ai.input.messages" not in spans_of(await collector.arrival())[0]["attributes"]
    proxy.house.adopt(replace(config, exports=(replace(ours[0], content="full"),)))
    await called(proxy)
    assert "gen_ai.input.messages" in spans_of(await collector.arrival())[0]["attributes"]
    proxy.house.adopt(replace(config, exports=()))
    await called(proxy)
    assert await health(proxy) == {}
    assert len(collector.received) == 2


def pass_on_to(proxy: Proxy, endpoint: str, environ: Mapping[str, str]) -> None:
    exports = parse({"export": [{"name": "other", "endpoint": endpoint, "wait_s": 0}]}, environ).exports
    proxy.house.adopt(replace(proxy.house.config, exports=exports))


async def sent(proxy: Proxy, count: int) -> None:
    async with asyncio.timeout(10):
        while (await health(proxy))["other"]["sent"] < count:
            await asyncio.sleep(0)


async def test_an_export_that_points_at_ourselves_does_not_go_round(start_proxy: StartProxy, environ: dict[str, str]) -> None:
    proxy = await start_proxy({}, environ)
    pass_on_to(proxy, f"{proxy.base}/v2/traces", environ)
    await export_of_app(proxy, app_span("1"))
    await called(proxy)
    await sent(proxy, 2)
    assert proxy.house.telemetry.counters.received == 2
    async with aiohttp.ClientSession() as client, client.get(f"{proxy.base}/request-logs/list/", params=EVER) as response:
        assert (await response.json())["count"] == 2


async def test_two_proxies_that_export_to_each_other_take_nothing_back(
    start_proxy: StartProxy, environ: dict[str, str], host: Host[Any], tmp_path: Path
) -> None:
    flags = {"listen": "127.0.0.1:0", "database": str(tmp_path / "theirs.db")}
    house = await host(running(parse({}, environ, "test.toml", flags)))
    theirs, ours = Proxy(house, f"http://127.0.0.1:{house.address.port}"), await start_proxy({}, environ)
    for one, other in ((ours, theirs), (theirs, ours)):
        pass_on_to(one, f"{other.root}/v1/traces", environ)
    await export_of_app(ours, app_span("1"))
    await called(ours)
    await sent(theirs, 2)
    before = await rows(ours)
    assert ours.house.telemetry.counters.received == 2
    assert len(before) == 2
    assert read(ours.house.writer.path, "SELECT count(*) FROM span") == [(1,)], "only the app's own"


# what another proxy receives


KEPT = (
    *(
        "trace_unique_id",
        "span_unique_id",
        "span_parent_id",
        "log_type",
        "status",
        "error_code",
        "customer_identifier",
        "thread_identifier",
    ),
    *("session_identifier", "model", "request_model", "response_id", "prompt_tokens", "completion_tokens", "total_request_tokens"),
    *("prompt_cache_hit_tokens", "reasoning_tokens", "cost", "finish_reason", "stream", "temperature", "service_name"),
    "thread_identifier",
)


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
async def test_what_we_pass_on_is_received_whole_by_our_own_receiver(
    start_proxy: StartProxy, environ: dict[str, str], encoding: str, host: Host[Any], tmp_path: Path
) -> None:
    flags = {"listen": "127.0.0.1:0", "database": str(tmp_path / "theirs.db")}
    house = await host(running(parse({}, environ, "test.toml", flags)))
    theirs = Proxy(house, f"http://127.0.0.1:{house.address.port}")
    export = {"name": "b", "endpoint": f"{theirs.root}/v1/traces", "content": "full", "encoding": encoding, "wait_s": 3600}
    ours = await start_proxy({"export": [export]}, environ)
    spoken, said = {**CHAT, "temperature": 0.5, "stream": True, "metadata": {"run": "7"}}, {"respan.metadata": '{"team": "search"}'}
    llm_id = await called(ours, spoken)
    failed = {"log_type": "chat", "http.response.status_code": 500, "error.type": "Oops", "error.message": "no"}
    await export_of_app(
        ours,
        app_span("1", **{"traceloop.span.kind": "workflow", "traceloop.entity.name": "w", **said}),
        app_span("2", "1", "tool.look", **{"traceloop.span.kind": "tool", "traceloop.entity.input": '{"q": 1}'}),
        app_span("3", "1", "llm.gpt-4o", **{"respan.gateway.log_id": llm_id, "llm.request.type": "chat"}),
        app_span("4", "1", "llm.other", **failed),
    )
    async with asyncio.timeout(10):
        while (await health(ours))["b"]["sent"] < 4:
            await asyncio.sleep(0)
    there, here = await rows(theirs), await rows(ours)
    assert [row["span_name"] for row in here] == [row["span_name"] for row in there] == ["workflow", "tool.look", "llm.gpt-4o", "llm.other"]
    for one, other in zip(here, there, strict=True):
        assert {name: other[name] for name in KEPT} == {name: one[name] for name in KEPT}
        assert (other["metadata"] or {}).items() >= {
            key: value for key, value in (one["metadata"] or {}).items() if "otel." not in key
        }.items()
    assert (here[2]["metadata"]["run"], here[2]["cost"] > 0) == ("7", True)
    said_here, said_there = await said_in(ours, here), await said_in(theirs, there)
    assert said_there[1].input == said_here[1].input == '{"q": 1}'
    assert said_there[2].prompt_messages == said_here[2].prompt_messages == [{"role": "user", "content": "say hi"}]
    assert said_there[2].completion_messages == [{**(said_here[2].completion_messages or [{}])[0], "finish_reason": "stop"}]


async def said_in(proxy: Proxy, rows: list[dict[str, Any]]) -> list[Said]:
    exporting = Exporting(proxy.house.writer.path)
    ids = [row["unique_id"] for row in rows]
    found = (await exporting.read(ids, patient=[], content=True)).found
    await exporting.close()
    return [found[one].said or Said() for one in ids]


async def rows(proxy: Proxy) -> list[dict[str, Any]]:
    """All rows, in the order of their spans' ids."""
    async with aiohttp.ClientSession() as client, client.get(f"{proxy.base}/request-logs/list/", params=EVER) as response:
        return sorted((await response.json())["results"], key=lambda row: str(row["span_unique_id"]))


# what is read back


@pytest.fixture
async def store(tmp_path: Path, host: Host[Writer]) -> AsyncIterator[tuple[Writer, Exporting]]:
    exporting = Exporting(tmp_path / "calls.db")
    yield await host(Writer(tmp_path / "calls.db")), exporting
    await exporting.close()


async def test_calls_and_spans_that_may_yet_be_linked_are_held(store: tuple[Writer, Exporting]) -> None:
    writer, exporting = store
    alone, linked = call("a", log_method="inference"), call("b", log_method="inference")
    writer.finish(alone, None)
    writer.finish(linked, None)
    early = told("early", claim=Claim(log_id="f" * 32))
    await writer.ingest([told("llm", claim=Claim(log_id=linked.unique_id)), early, told("task")], 1000, "full")
    assert await writer.barrier()
    ids = [alone.unique_id, linked.unique_id, early.row.unique_id, told("task").row.unique_id]
    batch = await exporting.read(ids, patient=ids, content=False)
    assert batch.held == [alone.unique_id, early.row.unique_id]
    assert list(batch.found) == [linked.unique_id, told("task").row.unique_id]
    assert list((await exporting.read(ids, patient=[], content=False)).found) == ids


async def test_a_call_that_runs_or_is_gone_is_found_nowhere(store: tuple[Writer, Exporting]) -> None:
    writer, exporting = store
    writer.begin(call("a", status="running"))
    assert await writer.barrier()
    batch = await exporting.read([call("a").unique_id, "nobody"], patient=[], content=True)
    assert (batch.found, batch.held, batch.left) == ({}, [], [])


async def test_what_hangs_on_another_telling_of_a_call_hangs_on_the_call(store: tuple[Writer, Exporting]) -> None:
    writer, exporting = store
    row = call("a", log_method="inference", response_id="r1")
    writer.finish(row, None)
    native = told("native", claim=Claim(response_id="r1", is_generation=True, scope="com.anthropic.sdk.python"))
    llm = told("llm", claim=Claim(log_id=row.unique_id, is_generation=True))
    await writer.ingest([llm, native, told("http", parent="native")], 1000, "full")
    assert await writer.barrier()
    batch = await exporting.read([told("http").row.unique_id], patient=[], content=False)
    (found,) = batch.found.values()
    assert found.parent_id == "llm".ljust(16, "0")


async def test_what_hangs_on_a_span_does_not_hang_on_a_call_of_anothers_that_a_span_of_that_id_tells_of(
    store: tuple[Writer, Exporting],
) -> None:
    writer, exporting = store
    theirs = call("a", log_method="inference", organization_key_id="theirs")
    writer.finish(theirs, None)
    claim = Claim(log_id=theirs.unique_id, is_generation=True)
    tellings = [told(name, claim=claim, parent=parent, organization_key_id="theirs") for name, parent in (("llm", "x"), ("step", None))]
    ours = told("tool", parent="step", organization_key_id="ours")
    await writer.ingest([*tellings, ours, told("step", organization_key_id="ours")], 1000, "full")
    assert await writer.barrier()
    found = (await exporting.read([ours.row.unique_id], patient=[], content=False)).found
    assert [(one.row.span_parent_id, one.parent_id) for one in found.values()] == [("step".ljust(16, "0"), None)]


async def test_what_a_provider_of_ours_says_below_a_call_goes_where_the_call_goes(store: tuple[Writer, Exporting]) -> None:
    """It was told of the trace and the span that the call had by then (`trace_context`)."""
    writer, exporting = store
    row = call("a", log_method="inference")
    writer.finish(row, None)
    trace_id, span_id = row.unique_id, row.unique_id[16:]
    below = told("server", trace_id, parent=span_id)
    deeper = told("prefill", trace_id, parent="server")
    await writer.ingest([below, deeper], 1000, "full")
    ids = [below.row.unique_id, deeper.row.unique_id]
    assert (await exporting.read(ids, patient=ids, content=False)).held == ids, "the call may yet move"
    await writer.ingest([told("llm", claim=Claim(log_id=row.unique_id))], 1000, "full")
    found = (await exporting.read(ids, patient=ids, content=False)).found
    assert [(one.row.trace_unique_id, one.parent_id) for one in found.values()] == [(TRACE, "llm".ljust(16, "0")), (TRACE, None)]


async def test_what_was_said_is_read_only_when_it_is_wanted(store: tuple[Writer, Exporting]) -> None:
    writer, exporting = store
    one = told("task", said=Said(input="secret"), raw={"attributes": {"a": 1}})
    await writer.ingest([one], 1000, "full")
    for content in (True, False):
        (found,) = (await exporting.read([one.row.unique_id], patient=[], content=content)).found.values()
        assert found.raw == {"attributes": {"a": 1}}
        assert found.said == (Said(input="secret") if content else None)


async def test_no_more_is_read_at_once_than_memory_is_meant_for_it(
    store: tuple[Writer, Exporting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("respan_proxy.store.exporting.READ_BYTES", 10)
    writer, exporting = store
    tasks = [told(name, raw={"name": name}) for name in ("a", "b", "c")]
    await writer.ingest(tasks, 1000, "full")
    ids = [task.row.unique_id for task in tasks]
    batch = await exporting.read(ids, patient=[], content=True)
    assert (list(batch.found), batch.left) == (ids[:1], ids[1:])
