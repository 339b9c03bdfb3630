"""The endpoints of OTLP: every path, both encodings, who may send, what is too much, and what is said when the database is away."""

from __future__ import annotations

import asyncio
import gzip
import sqlite3
import threading
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from backports import zstd
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span as PbSpan

from respan_proxy.errors import LimitExceeded
from respan_proxy.server import otlp as server
from respan_proxy.server import reading
from respan_proxy.server.otlp import Telemetry
from respan_proxy.telemetry.otlp import JSON, PROTOBUF
from respan_proxy.telemetry.spans import Told
from respan_proxy.wire.encoding import decode as truly_decode
from tests.conftest import Proxy, StartProxy
from tests.telemetry.otlp_bodies import SPAN, TRACE, request, said, span

SPELLED_OUT = {"partialSuccess": {"rejectedSpans": 0, "errorMessage": ""}}


@dataclass
class Taker:
    """A writer that notes what it is given; `gate` keeps it from committing, `refuses` is what it raises, `loses` what it cannot store."""

    told: list[Told] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None
    refuses: Exception | None = None
    loses: int = 0
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    async def ingest(self, told: Sequence[Told], size_bytes: int, content: str) -> int:
        if self.refuses is not None:
            raise self.refuses
        self.told += told
        self.contents.append(content)
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        return self.loses


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def taker(proxy: Proxy) -> Taker:
    taken = Taker()
    proxy.house.telemetry = Telemetry(taken)
    return taken


BODY = orjson.dumps(request(span()))


def protobuf_body() -> bytes:
    whole = ExportTraceServiceRequest()
    one = PbSpan(trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN), name="chat", start_time_unix_nano=1, end_time_unix_nano=2)
    whole.resource_spans.add().scope_spans.add().spans.append(one)
    return whole.SerializeToString()


async def post(
    client: aiohttp.ClientSession, url: str, body: Any = BODY, content_type: str | None = JSON, **headers: str
) -> tuple[int, str, bytes, Any]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    skip = [] if content_type else ["Content-Type"]
    if content_type:
        sent["Content-Type"] = content_type
    async with client.post(url, data=body, headers=sent, skip_auto_headers=skip) as response:
        return response.status, response.content_type, await response.read(), response.headers


# Paths


PLACES = [
    "/v1/{}",
    "/v2/{}",
    "/v1/{}/",
    "//v1//{}",
    "/v2/traces/v1/{}",
    "/v1/traces/v1/{}",
    "/v2/traces/v1/{}/",
    "/v1/v1/{}",
    "/v2/v1/{}",
]


@pytest.mark.parametrize("api", ["", "/api", "//api"])
@pytest.mark.parametrize("place", PLACES)
async def test_every_path_that_exporters_make_takes_spans(
    proxy: Proxy, client: aiohttp.ClientSession, taker: Taker, api: str, place: str
) -> None:
    for signal in ("traces", "logs", "metrics"):
        status, kind, body, _ = await post(client, proxy.root + api + place.format(signal))
        assert (status, kind) == (200, JSON)
        assert orjson.loads(body) == (SPELLED_OUT if signal == "traces" else {})
    assert [one.row.span_unique_id for one in taker.told] == [SPAN]


@pytest.mark.parametrize("path", ["/api/v3/traces", "/api/v1/trace", "/v1/traces/v1/traces/v1/traces", "/api/v1/tracesx"])
async def test_other_paths_take_none(proxy: Proxy, client: aiohttp.ClientSession, taker: Taker, path: str) -> None:
    assert (await post(client, proxy.root + path))[0] == 404
    assert taker.told == []


@pytest.mark.parametrize("path", ["/v1/logs", "/api/v2/traces/v1/metrics"])
async def test_logs_and_metrics_are_taken_and_forgotten_whatever_is_in_them(
    proxy: Proxy, client: aiohttp.ClientSession, taker: Taker, path: str
) -> None:
    for encoding, empty in ((JSON, b"{}"), (PROTOBUF, b"")):
        for body in (b"", b"no such thing", gzip.compress(b"x")):
            answered = await post(client, proxy.root + path, body, encoding, Content_Encoding="gzip")
            assert answered[:3] == (200, encoding, empty)
    assert taker.told == []


async def test_another_method_is_405_and_says_which(proxy: Proxy, client: aiohttp.ClientSession, taker: Taker) -> None:
    async with client.get(f"{proxy.base}/v1/traces") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
        assert "not with GET" in (await response.json())["message"]


# Encodings


async def test_protobuf_is_answered_in_protobuf_and_an_empty_one_is_success(
    proxy: Proxy, client: aiohttp.ClientSession, taker: Taker
) -> None:
    for body, spans in ((b"", 0), (protobuf_body(), 1)):
        answered = await post(client, f"{proxy.base}/v1/traces", body, f"{PROTOBUF}; charset=x")
        assert answered[:3] == (200, PROTOBUF, b"")
        assert len(taker.told) == spans


async def test_a_missing_type_is_seen_from_the_body(proxy: Proxy, client: aiohttp.ClientSession, taker: Taker) -> None:
    for body, encoding in ((BODY, JSON), (protobuf_body(), PROTOBUF)):
        status, kind, _, _ = await post(client, f"{proxy.base}/v1/traces", body, None)
        assert (status, kind) == (200, encoding)
    assert len(taker.told) == 2


async def test_another_type_is_415_and_says_which_are_taken(proxy: Proxy, client: aiohttp.ClientSession, taker: Taker) -> None:
    status, kind, body, _ = await post(client, f"{proxy.base}/v1/traces", BODY, "text/plain")
    assert (status, kind) == (415, JSON)
    assert orjson.loads(body) == {
        "code": 3,
        "message": "Content-Type: found 'text/plain', expected application/json or application/x-protobuf",
    }


def deflated(body: bytes, wbits: int) -> bytes:
    packer = zlib.compressobj(wbits=wbits)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("deflate", deflated(BODY, zlib.MAX_WBITS)),
        ("deflate", deflated(BODY, -zlib.MAX_WBITS)),
        ("zstd", zstd.compress(BODY)),
        ("identity", BODY),
        ("", BODY),
        ("gzip, zstd", zstd.compress(gzip.compress(BODY))),
    ],
)
async def test_every_content_coding_is_taken_off(
    proxy: Proxy, client: aiohttp.ClientSession, taker: Taker, coding: str, packed: bytes
) -> None:
    assert (await post(client, f"{proxy.base}/v2/traces", packed, Content_Encoding=coding))[0] == 200
    assert len(taker.told) == 1


async def test_a_coding_that_is_unknown_or_untrue_is_refused(proxy: Proxy, client: aiohttp.ClientSession, taker: Taker) -> None:
    assert (await post(client, f"{proxy.base}/v2/traces", BODY, Content_Encoding="br"))[0] == 415
    for packed in (BODY, gzip.compress(BODY)[:-9]):
        status, _, body, _ = await post(client, f"{proxy.base}/v2/traces", packed, Content_Encoding="gzip")
        assert status == 400
        assert "gzip" in orjson.loads(body)["message"]
    assert taker.told == []


# Answers


async def test_opentelemetrys_own_exporters_are_not_told_of_a_success_that_is_whole(
    proxy: Proxy, client: aiohttp.ClientSession, taker: Taker
) -> None:
    """Its JavaScript exporter warns at every `partialSuccess` that holds anything."""
    sent = {"User_Agent": "OTel-OTLP-Exporter-JavaScript/0.220.0"}
    assert (await post(client, f"{proxy.base}/v1/traces", **sent))[2] == b"{}"


@pytest.mark.parametrize("encoding", [JSON, PROTOBUF])
async def test_a_bad_span_is_told_beside_the_success_of_the_others(
    proxy: Proxy, client: aiohttp.ClientSession, taker: Taker, encoding: str
) -> None:
    if encoding == JSON:
        sent = orjson.dumps(request(span(), span(traceId="x", name="lost")))
    else:
        whole = ExportTraceServiceRequest.FromString(protobuf_body())
        whole.resource_spans[0].scope_spans[0].spans.add(name="lost", span_id=b"1")
        sent = whole.SerializeToString()
    status, kind, body, _ = await post(client, f"{proxy.base}/v1/traces", sent, encoding)
    assert (status, kind) == (200, encoding)
    if encoding == JSON:
        told = orjson.loads(body)["partialSuccess"]
        rejected, message = told["rejectedSpans"], told["errorMessage"]
    else:
        partial = ExportTraceServiceResponse.FromString(body).partial_success
        rejected, message = partial.rejected_spans, partial.error_message
    assert rejected == 1
    assert "1 of 2 spans cannot be read: resourceSpans[0].scopeSpans[0].spans[1] ('lost'): traceId" in message
    assert len(taker.told) == 1


@pytest.mark.parametrize("encoding", [JSON, PROTOBUF])
async def test_what_is_no_otlp_is_400_with_a_status_in_the_same_encoding(
    proxy: Proxy, client: aiohttp.ClientSession, taker: Taker, encoding: str
) -> None:
    status, kind, body, _ = await post(client, f"{proxy.base}/v1/traces", b'[{"span": "log"}]', encoding)
    assert (status, kind) == (400, encoding)
    if encoding == JSON:
        code, message = orjson.loads(body).values()
    else:
        told = Status.FromString(body)
        code, message = told.code, told.message
    assert code == 3
    assert message.startswith("this is no OTLP")


async def test_spans_that_the_database_refuses_are_counted_as_rejected(proxy: Proxy, client: aiohttp.ClientSession, taker: Taker) -> None:
    taker.loses = 1
    told = orjson.loads((await post(client, f"{proxy.base}/v1/traces"))[2])["partialSuccess"]
    assert told == {"rejectedSpans": 1, "errorMessage": "1 spans cannot be stored; the proxy's log says why"}


async def test_the_content_setting_goes_with_the_spans(start_proxy: StartProxy, client: aiohttp.ClientSession) -> None:
    proxy, taken = await start_proxy({"store": {"content": "none"}}), Taker()
    proxy.house.telemetry = Telemetry(taken)
    await post(client, f"{proxy.base}/v1/traces")
    assert taken.contents == ["none"]


# Who may send


async def test_strangers_are_refused_on_a_keyless_proxy(proxy: Proxy, client: aiohttp.ClientSession, taker: Taker) -> None:
    for path in ("/v1/traces", "/v1/logs"):
        for name, value in (("Host", "evil.example"), ("Origin", "https://evil.example"), ("Sec_Fetch_Site", "cross-site")):
            status, kind, body, _ = await post(client, proxy.base + path, **{name: value})
            assert (status, kind, orjson.loads(body)["code"]) == (403, JSON, 7)
    assert taker.told == []


async def test_a_page_of_an_allowed_origin_may_send(start_proxy: StartProxy, client: aiohttp.ClientSession) -> None:
    proxy, taken = await start_proxy({"server": {"allowed_origins": ["https://app.example"]}}), Taker()
    proxy.house.telemetry = Telemetry(taken)
    status, _, _, headers = await post(client, f"{proxy.base}/v1/traces", Origin="https://app.example")
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, "https://app.example")
    assert len(taken.told) == 1


async def test_with_keys_only_they_send_and_the_rows_are_theirs(start_proxy: StartProxy, client: aiohttp.ClientSession) -> None:
    proxy, taken = await start_proxy({"keys": [{"name": "app", "key": "our-own-secret", "environment": "test"}]}), Taker()
    proxy.house.telemetry = Telemetry(taken)
    for path in ("/v1/traces", "/v1/metrics"):
        for encoding in (JSON, PROTOBUF):
            status, kind, body, _ = await post(client, proxy.base + path, b"", encoding, Authorization="Bearer another")
            assert (status, kind) == (401, encoding)
            assert (orjson.loads(body)["code"] if encoding == JSON else Status.FromString(body).code) == 16
    assert taken.told == []
    for headers in ({"Authorization": "Bearer our-own-secret"}, {"x_api_key": "our-own-secret"}):
        assert (await post(client, f"{proxy.base}/v1/traces", **headers))[0] == 200
    assert {(one.row.organization_key_name, one.row.environment) for one in taken.told} == {("app", "test")}


# Too much


async def test_a_body_too_large_before_or_after_decompression_is_413(start_proxy: StartProxy, client: aiohttp.ClientSession) -> None:
    proxy, taken = await start_proxy({"telemetry": {"body_bytes": "100 KB"}}), Taker()
    proxy.house.telemetry = Telemetry(taken)
    large = orjson.dumps(request(span(attributes=said(a={"stringValue": "x" * 100_000}))))
    for body, coding in ((large, ""), (gzip.compress(large), "gzip"), (zstd.compress(b"\0" * 10_000_000), "zstd")):
        assert (await post(client, f"{proxy.base}/v1/traces", body, Content_Encoding=coding))[0] == 413
    status, _, body, _ = await post(client, f"{proxy.base}/v1/logs", b"x" * 100_001)
    assert status == 413
    assert "telemetry.body_bytes" in orjson.loads(body)["message"]
    assert taken.told == []


async def test_a_chunked_body_is_bounded_too(start_proxy: StartProxy, client: aiohttp.ClientSession) -> None:
    proxy = await start_proxy({"telemetry": {"body_bytes": "100 KB"}})

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 10_000

    answered = await post(client, f"{proxy.base}/v1/traces", chunks())
    assert answered[0] == 413, answered


async def test_bodies_under_way_are_bounded_and_the_next_one_hears_when(start_proxy: StartProxy, client: aiohttp.ClientSession) -> None:
    proxy, taken = await start_proxy({"telemetry": {"body_bytes": 1000}}), Taker(gate=asyncio.Event())
    proxy.house.telemetry = Telemetry(taken)
    body = orjson.dumps(request(span(attributes=said(a={"stringValue": "x" * 500}))))
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(post(client, f"{proxy.base}/v1/traces", body)) for _ in range(2)]
        while len(taken.told) < 2:
            await taken.entered.wait()
            taken.entered.clear()
        status, _, told, headers = await post(client, f"{proxy.base}/v1/traces", body)
        assert (status, orjson.loads(told)["code"], headers["Retry-After"]) == (429, 8, "5")
        taken.gate.set()
    assert [task.result()[0] for task in waiting] == [200, 200]
    assert proxy.house.telemetry.counters.waiting_bytes == 0


async def test_bodies_are_bounded_together_while_they_come(start_proxy: StartProxy, client: aiohttp.ClientSession) -> None:
    """Uploads that begin and stop took 64 MB of memory each, however many there were."""
    proxy, taken = await start_proxy({"telemetry": {"body_bytes": 1000}}), Taker()
    proxy.house.telemetry = Telemetry(taken)
    go_on = asyncio.Event()
    body = orjson.dumps(request(span(attributes=said(a={"stringValue": "x" * 500}))))

    async def slowly() -> AsyncIterator[bytes]:
        yield body[:-1]
        await go_on.wait()
        yield body[-1:]

    async with asyncio.TaskGroup() as group:
        slow = [group.create_task(post(client, f"{proxy.base}/v1/traces", slowly())) for _ in range(2)]
        async with asyncio.timeout(30):
            while proxy.house.telemetry.counters.waiting_bytes < 2 * len(body) - 2:
                await asyncio.sleep(0)
        assert (await post(client, f"{proxy.base}/v1/traces", body))[0] == 429
        go_on.set()
    assert [task.result()[0] for task in slow] == [200, 200]
    assert proxy.house.telemetry.counters.waiting_bytes == 0


# The database is away


async def test_an_answer_comes_after_the_commit(proxy: Proxy, client: aiohttp.ClientSession, taker: Taker) -> None:
    taker.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(post(client, f"{proxy.base}/v1/traces"))
        await taker.entered.wait()
        done, _ = await asyncio.wait([answer], timeout=0.05)
        assert not done
        taker.gate.set()
    assert answer.result()[0] == 200


async def test_a_commit_that_does_not_come_is_told_in_a_success(
    proxy: Proxy, client: aiohttp.ClientSession, taker: Taker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Respan's exporter takes anything but a success for lost, and OpenTelemetry's would send it again."""
    monkeypatch.setattr(server, "ANSWERED_WITHIN_S", 0.01)
    taker.gate = asyncio.Event()
    status, _, body, _ = await post(client, f"{proxy.base}/v1/traces")
    assert status == 200
    told = orjson.loads(body)["partialSuccess"]
    assert told["rejectedSpans"] == 0
    assert "wait in the proxy's memory" in told["errorMessage"]


async def test_spans_that_come_while_the_database_is_locked_are_rows_once_it_is_not(
    proxy: Proxy, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(server, "ANSWERED_WITHIN_S", 0.01)
    other = sqlite3.connect(tmp_path / "calls.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        status, _, body, _ = await post(client, f"{proxy.base}/v1/traces")
        assert (status, orjson.loads(body)["partialSuccess"]["rejectedSpans"]) == (200, 0)
        assert "wait in the proxy's memory" in body.decode()
        other.execute("ROLLBACK")
    finally:
        other.close()
    monkeypatch.setattr(server, "ANSWERED_WITHIN_S", 60)
    another = orjson.dumps(request(span(spanId="00000000000000cc")))
    assert (await post(client, f"{proxy.base}/v1/traces", another))[2] == orjson.dumps(SPELLED_OUT)
    database = sqlite3.connect(tmp_path / "calls.db")
    try:
        assert database.execute("SELECT count(*) FROM span").fetchone() == (2,)
    finally:
        database.close()


async def test_a_full_queue_is_429_with_the_time_to_wait(proxy: Proxy, client: aiohttp.ClientSession, taker: Taker) -> None:
    taker.refuses = LimitExceeded("64 MB of spans wait for the database", headers={"Retry-After": "7"})
    for encoding, body in ((JSON, BODY), (PROTOBUF, protobuf_body())):
        status, kind, _, headers = await post(client, f"{proxy.base}/v1/traces", body, encoding)
        assert (status, kind, headers["Retry-After"]) == (429, encoding, "7")


async def test_a_mistake_of_ours_is_one_that_senders_try_again(proxy: Proxy, client: aiohttp.ClientSession, taker: Taker) -> None:
    taker.refuses = ValueError("a mistake")
    status, _, body, headers = await post(client, f"{proxy.base}/v1/traces")
    assert (status, headers["Retry-After"]) == (503, "5")
    assert "a mistake" not in body.decode()


# Large bodies, and many at once


async def test_large_bodies_from_many_are_read_whole(proxy: Proxy, client: aiohttp.ClientSession, taker: Taker) -> None:
    text = "x" * 10_000
    bodies = [
        orjson.dumps(request(*[span(spanId=f"{number:08x}{one + 1:08x}", attributes=said(a={"stringValue": text})) for one in range(50)]))
        for number in range(6)
    ]
    answers = await asyncio.gather(*[post(client, f"{proxy.base}/v1/traces", body) for body in bodies])
    assert {answer[0] for answer in answers} == {200}
    assert len({one.row.span_unique_id for one in taker.told}) == 300


# A second address


async def test_a_second_address_takes_spans_and_nothing_else(start_proxy: StartProxy, client: aiohttp.ClientSession) -> None:
    proxy, taken = await start_proxy({"telemetry": {"listen": "127.0.0.1:0"}}), Taker()
    proxy.house.telemetry = Telemetry(taken)
    [beside] = proxy.house.beside
    assert beside.port != proxy.house.address.port
    for path in ("/v1/traces", "/api/v2/traces", "/v1/logs"):
        assert (await post(client, f"http://{beside}{path}"))[0] == 200
    assert len(taken.told) == 2
    for path in ("/api/chat/completions", "/api/request-logs/list/", "/health/ready", "/ui/"):
        status, _, body, _ = await post(client, f"http://{beside}{path}")
        assert status == 404
        assert "only spans are taken here" in orjson.loads(body)["detail"]
    assert (await post(client, f"http://{beside}/v1/traces", Host="evil.example"))[0] == 403
    assert proxy.house.gateway.counters.active == 0


async def test_a_second_address_asks_for_the_same_keys(start_proxy: StartProxy, client: aiohttp.ClientSession) -> None:
    proxy = await start_proxy({"telemetry": {"listen": "127.0.0.1:0"}, "keys": [{"name": "app", "key": "our-own-secret"}]})
    [beside] = proxy.house.beside
    assert (await post(client, f"http://{beside}/v1/traces"))[0] == 401
    assert (await post(client, f"http://{beside}/v1/logs", Authorization="Bearer our-own-secret"))[0] == 200


async def test_what_grows_large_is_decompressed_off_the_event_loop(
    proxy: Proxy, client: aiohttp.ClientSession, taker: Taker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small body may hold a large one: 2.4 MB of spans came as 60 KB, and held the loop for 5 ms."""
    loops, decoded = threading.get_ident(), list[tuple[bool, int]]()

    def decode(body: bytes, coding: str, limit: int) -> bytes:
        whole = truly_decode(body, coding, limit)
        decoded.append((threading.get_ident() == loops, len(whole)))
        return whole

    monkeypatch.setattr(reading, "decode", decode)
    large = orjson.dumps(request(span(attributes=said(a={"stringValue": "x" * 2 * reading.INLINE_BYTES}))))
    for body in (BODY, large):
        assert (await post(client, f"{proxy.base}/v1/traces", gzip.compress(body), Content_Encoding="gzip"))[0] == 200
    assert decoded == [(True, len(BODY)), (False, len(large))]
