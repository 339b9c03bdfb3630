"""Names that begin with `_` are kept, and hidden wherever a span is shown or passed on; secrets are not even kept."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

import aiohttp
import orjson

from respan_proxy.exchange import Caller
from respan_proxy.store import span_content
from respan_proxy.telemetry import span_logs
from respan_proxy.telemetry.genai import span_of
from respan_proxy.telemetry.otlp_write import write
from respan_proxy.telemetry.reserved import public_metadata, public_span
from respan_proxy.telemetry.spans import Event, Link, Remembered, Source, Span, Told
from tests.conftest import Host, StartProxy
from tests.fakes.collector import FakeCollector
from tests.telemetry.test_vocabularies import of, span

HIDDEN = "nobody-sees-this"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def told() -> Told:
    return of(
        {
            "_internal": HIDDEN,
            "respan.metadata": orjson.dumps({"team": "a", "_tracing_sdk_version": HIDDEN}).decode(),
            "respan.metadata._v": HIDDEN,
            "traceloop.association.properties._p": HIDDEN,
            "ai.telemetry.metadata._t": HIDDEN,
            "metadata": {"_m": HIDDEN, "kept": 1},
            "plain": '{"_text": "of the user\'s own"}',
        },
        source=Source({"_resource": HIDDEN, "service.name": "app"}, "scope", scope_attributes={"_scope": HIDDEN, "a": 1}),
        events=[Event("e", 1, {"_event": HIDDEN, "a": 1})],
        links=[Link("a" * 32, "b" * 16, {"_link": HIDDEN, "a": 1})],
    )


def test_reserved_keys_are_kept_and_not_shown() -> None:
    one = told()
    assert repr(one.raw).count(HIDDEN) == 10
    assert {"_internal", "_tracing_sdk_version", "_v", "_p", "_t"} <= (one.row.metadata or {}).keys()
    shown = public_span(one.raw)
    assert HIDDEN not in repr(shown)
    assert shown["attributes"] == {"respan.metadata": '{"team":"a"}', "metadata": {"kept": 1}, "plain": '{"_text": "of the user\'s own"}'}
    assert shown["resource"] == {"service.name": "app"}
    assert [one["attributes"] for one in (shown["scope"], *shown["events"], *shown["links"])] == [{"a": 1}] * 3
    assert public_metadata(one.row.metadata)["team"] == "a"  # type: ignore[index]
    assert public_metadata(None) is None


def test_what_has_no_reserved_keys_is_shown_as_it_came() -> None:
    raw = of({"respan.metadata": '{ "team" : "a" }', "metadata": {"a": [1]}}).raw
    assert public_span(raw) == raw


def test_reserved_keys_of_logs_are_not_shown() -> None:
    log: dict[str, Any] = {"model": "m", "metadata": {"_a": HIDDEN, "b": 1}, "respan_params": {"metadata": {"_c": HIDDEN}}, "_d": HIDDEN}
    raw = span_logs.read(log, Caller(), 1.0, "0" * 32).raw
    assert repr(raw).count(HIDDEN) == 3
    assert public_span(raw)["attributes"] == {"model": "m", "metadata": {"b": 1}, "respan_params": {"metadata": {}}}


def test_reserved_keys_are_not_passed_on() -> None:
    one = told()
    for raw in (one.raw, None):
        for method in ("tracing_integration", "inference"):
            one.row.log_method = method
            span = span_of(Remembered(one.row, None, raw), content="full", vocabulary="latest", resource={}, mark="m")
            assert HIDDEN.encode() not in write([span], "json") + write([span], "protobuf")


async def test_neither_reserved_keys_nor_secrets_leave_by_any_way(
    start_proxy: StartProxy, environ: dict[str, str], host: Host[FakeCollector]
) -> None:
    secret = "sk-live-0123456789abcdef"
    collector = await host(FakeCollector())
    export = {"name": "ours", "endpoint": collector.endpoint, "wait_s": 0, "content": "full"}
    proxy = await start_proxy({"export": [export]}, environ)
    texts = []
    async with aiohttp.ClientSession() as client:
        log = {
            "model": "m",
            "metadata": {"_a": HIDDEN, "url": f"https://h/?key={secret}"},
            "error_message": f"not {secret}",
            "api_key": secret,
        }
        for path, sent in (
            ("v2/traces", write([spied_on(secret)], "json")),
            ("v1/traces/ingest", orjson.dumps([{**log, "trace_unique_id": TRACE, "span_unique_id": "c" * 16}])),
            ("request-logs/", orjson.dumps(log)),
        ):
            async with client.post(f"{proxy.base}/{path}", data=sent, headers={"Content-Type": "application/json"}) as response:
                assert response.status in (200, 201), await response.text()
                texts.append(await response.text())
        for path in ("request-logs/list/?page_size=50", "traces/list/", f"traces/{TRACE}/", "log_threads/"):
            async with client.get(f"{proxy.base}/{path}") as response:
                assert response.status == 200, path
                texts.append(await response.text())
        for row in orjson.loads(texts[3])["results"]:
            async with client.get(f"{proxy.base}/request-logs/{row['id']}/") as response:
                texts.append(await response.text())
    assert len(texts) == 10
    while len(collector.spans) < 3:
        await collector.arrival()
    for text in (*texts, repr(collector.spans)):
        assert HIDDEN not in text
        assert secret not in text
    database = sqlite3.connect(proxy.house.writer.path)
    kept = [span_content.raw(*row) for row in database.execute("SELECT enc, data FROM span WHERE data IS NOT NULL")]
    columns = database.execute("SELECT * FROM log").fetchall()
    database.close()
    assert repr(kept).count(HIDDEN) == 4
    assert secret not in repr((kept, columns))


def spied_on(secret: str) -> Span:
    text = f"404 for https://host/v1?key={secret}"
    return span(
        {
            "_internal": HIDDEN,
            "respan.metadata._v": HIDDEN,
            "custom": text,
            "headers": {"Authorization": [f"Bearer {secret}"]},
            "gen_ai.prompt.0.content": text,
        },
        trace_id=TRACE,
        start_ns=time.time_ns() - 10**9,
        end_ns=time.time_ns(),
        status=2,
        status_message=f"{{'api-key': '{secret}'}}",
        source=Source({"process.command_args": ["--api-key", secret], "service.name": "app"}, "scope"),
        events=[Event("exception", 1, {"exception.message": text, "exception.stacktrace": f"headers={{'x-api-key': b'{secret}'}}"})],
    )
