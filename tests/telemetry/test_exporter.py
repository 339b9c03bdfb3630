"""An export passes on what it is told of, once, whatever the collector does; what is lost is counted."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import pytest

from respan_proxy.config import Export
from respan_proxy.errors import ProxyError
from respan_proxy.exports.collector import Collector
from respan_proxy.exports.exporter import Exporter
from respan_proxy.respan.spans import Row
from respan_proxy.telemetry.spans import MARK, Remembered
from tests.conftest import Host
from tests.fakes.collector import JSON, FakeCollector, partly, spans_of
from tests.fakes.provider import Act, Answer, Step, garbage, gzipped, silent, streamed, whole


def id_of(number: int) -> str:
    return f"{number:032x}"


@dataclass
class Rows:
    """Rows as the database has them: all there are, but for those that are `held` until a span claims them."""

    held: set[str] = field(default_factory=set)
    away: int = 0
    most: int = 1000
    contents: list[bool] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)

    async def read(self, ids: Sequence[str], *, patient: Collection[str], content: bool) -> Any:
        self.asked.append(list(ids))
        self.contents.append(content)
        if self.away:
            self.away -= 1
            raise ProxyError("the database is away", status=503)
        held = [one for one in ids if one in self.held and one in patient]
        found = [one for one in ids if one not in held]
        return Found({one: remembered(one) for one in found[: self.most]}, held, found[self.most :])


@dataclass
class Found:
    found: dict[str, Remembered]
    held: list[str]
    left: list[str]


def remembered(unique_id: str) -> Remembered:
    return Remembered(
        Row(
            unique_id=unique_id,
            trace_unique_id=unique_id,
            span_unique_id=unique_id[16:],
            log_type="chat",
            log_method="inference",
            status="success",
            model="m",
            start_time=1.0,
            timestamp=2.0,
        )
    )


class House:
    """An exporter that runs, its collector and its rows."""

    def __init__(self, collector: FakeCollector, rows: Rows, exporter: Exporter, task: asyncio.Task[None]) -> None:
        self.collector, self.rows, self.exporter, self.task = collector, rows, exporter, task

    @property
    def sent(self) -> list[str]:
        return [span["trace_id"] for span in self.collector.spans]

    def lost(self) -> dict[str, int]:
        status = self.exporter.status()
        return {name: status[name] for name in ("dropped", "refused", "rejected", "given_up") if status[name]}

    async def end(self) -> None:
        self.exporter.stop()
        async with asyncio.timeout(5):
            await self.task


Make = Callable[..., House]


@pytest.fixture
async def collector(host: Host[FakeCollector]) -> FakeCollector:
    return await host(FakeCollector())


@pytest.fixture
async def make(collector: FakeCollector) -> AsyncIterator[Make]:
    tasks: list[asyncio.Task[None]] = []
    stopping = asyncio.Event()
    async with aiohttp.ClientSession() as session:

        def start(rows: Rows | None = None, first_wait_s: float = 0.0, body_s: float = 5.0, **options: Any) -> House:
            rows = rows or Rows()
            export = Export(**{"name": "ours", "endpoint": collector.endpoint, **options})
            # A wait of nothing, so that no test waits for the clock; what the waits are is asked for by itself.
            posts = Collector(session, stopping, {"X-Respan-Hop": "me"}, dice=lambda: 0.5, first_wait_s=first_wait_s, body_s=body_s)
            exporter = Exporter(export, rows.read, posts, "me", company_s=0.0)
            task = asyncio.create_task(exporter.run())
            tasks.append(task)
            return House(collector, rows, exporter, task)

        yield start
        stopping.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize("compression", ["gzip", "none"])
async def test_what_it_is_told_of_arrives_in_one_post(make: Make, encoding: str, compression: str) -> None:
    house = make(encoding=encoding, compression=compression, headers={"Authorization": "Bearer k"}, resource={"team": "search"})
    house.exporter.told([id_of(1), id_of(2)])
    request = await house.collector.arrival()
    assert [span["trace_id"] for span in spans_of(request)] == [id_of(1), id_of(2)]
    assert (request.method, request.target) == ("POST", "/v1/traces")
    assert request.headers["Authorization"] == "Bearer k"
    assert request.headers["X-Respan-Hop"] == "me"
    assert request.headers.get("Content-Encoding") == (None if compression == "none" else "gzip")
    assert spans_of(request)[0]["resource"] == {"service.name": "respan-proxy", "team": "search", MARK: "me"}
    await house.end()
    assert house.exporter.status() == {
        "waiting": 0,
        "sent": 2,
        "dropped": 0,
        "refused": 0,
        "rejected": 0,
        "given_up": 0,
        "last_error": None,
    }


async def test_content_is_read_only_where_it_is_passed_on(make: Make) -> None:
    for content in ("none", "full"):
        house = make(content=content)
        house.exporter.told([id_of(1)])
        await house.collector.arrival()
        assert house.rows.contents == [content == "full"]


async def test_a_row_that_is_told_again_is_passed_on_once(make: Make) -> None:
    house = make()
    house.exporter.told([id_of(1)])
    await house.collector.arrival()
    house.exporter.told([id_of(1), id_of(2)])
    await house.collector.arrival()
    await house.end()
    assert house.sent == [id_of(1), id_of(2)]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_collector_that_is_busy_is_asked_again(make: Make, status: int, caplog: pytest.LogCaptureFixture) -> None:
    house = make(headers={"Authorization": "Bearer the-secret-key"})
    busy = whole(b"the-secret-key", status)
    house.collector.will(busy, busy)
    house.exporter.told([id_of(1)])
    for _ in range(3):
        await house.collector.arrival()
    await house.end()
    assert (house.exporter.status()["sent"], house.lost()) == (1, {})
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"export ours: spans are not taken (HTTP {status}); what is lost is counted in /health/ready",
        "export ours: spans are taken again; lost so far: 0",
    ], "once, not once a try"


async def test_a_connection_that_breaks_is_made_again(make: Make) -> None:
    house = make()
    house.collector.will(Answer(before=[Act.RESET]))
    house.exporter.told([id_of(1)])
    await house.collector.arrival()
    await house.collector.arrival()
    await house.end()
    assert (house.exporter.status()["sent"], house.lost()) == (1, {})


async def test_the_collector_says_how_long_to_wait(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    house = make()
    house.collector.will(whole(b"", 503, {"Retry-After": "3600"}))
    house.exporter.told([id_of(1)])
    await house.collector.arrival()
    await house.end()
    assert house.lost() == {"given_up": 1}, "longer than it is worth"
    assert "export ours ends: 0 spans were passed on, 1 lost (HTTP 503)" in caplog.text


async def test_a_collector_that_wants_to_be_asked_at_once_is_not(make: Make) -> None:
    house = make(first_wait_s=3600)
    house.collector.will(whole(b"", 429, {"Retry-After": "0"}))
    house.exporter.told([id_of(1)])
    await house.collector.arrival()
    await house.end()
    assert (house.lost(), len(house.collector.received)) == ({"given_up": 1}, 1), "our own wait is longer than it is worth"


@pytest.mark.parametrize("status", [301, 400, 401, 404, 500])
async def test_a_no_is_not_asked_again_and_counted(make: Make, status: int, caplog: pytest.LogCaptureFixture) -> None:
    house = make(headers={"Authorization": "Bearer the-secret-key"})
    house.collector.will(whole(b"no project\nfor the-secret-key", status))
    house.exporter.told([id_of(1), id_of(2)])
    await house.collector.arrival()
    house.exporter.told([id_of(3)])
    await house.collector.arrival()
    await house.end()
    assert (house.exporter.status()["sent"], house.lost()) == (1, {"refused": 2})
    assert f"HTTP {status}: no project for ***" in caplog.text
    assert "the-secret-key" not in caplog.text


async def test_what_is_too_large_together_is_sent_in_halves(make: Make) -> None:
    house = make()
    house.collector.will(whole(b"", 413), whole(b"", 413), whole(b"", 413))
    house.exporter.told([id_of(number) for number in range(1, 5)])
    for _ in range(5):
        await house.collector.arrival()
    await house.end()
    assert [len(spans_of(request)) for request in house.collector.received] == [4, 2, 1, 1, 2]
    assert (house.exporter.status()["sent"], house.lost()) == (3, {"refused": 1})


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
async def test_spans_that_the_collector_leaves_out_are_counted(make: Make, encoding: str) -> None:
    house = make(encoding=encoding)
    house.collector.will(partly(1, "too old", JSON if encoding == "json" else "application/x-protobuf"))
    house.exporter.told([id_of(1), id_of(2)])
    await house.collector.arrival()
    await house.end()
    assert (house.exporter.status()["sent"], house.lost()) == (1, {"rejected": 1})
    assert house.exporter.status()["last_error"] == "too old"


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize(("rejected", "sent"), [((1 << 63) - 1, 0), (-(1 << 63), 2)])
async def test_a_number_that_cannot_be_is_made_one_that_can(make: Make, encoding: str, rejected: int, sent: int) -> None:
    house = make(encoding=encoding)
    answer = partly(rejected, "odd", JSON if encoding == "json" else "application/x-protobuf")
    house.collector.will(answer, answer)
    for numbers in ((1, 2), (3, 4)):
        house.exporter.told(map(id_of, numbers))
        await house.collector.arrival()
    await house.end()
    status = house.exporter.status()
    assert (status["sent"], status["rejected"]) == (2 * sent, 4 - 2 * sent)


@pytest.mark.parametrize("said", [b"1e400", b'"%s"' % (b"9" * 30), b'"%s"' % (b"9" * 5000), b'"many"', b"[]", b"true", b"null"])
async def test_any_json_is_an_answer(make: Make, said: bytes) -> None:
    house = make(encoding="json")
    house.collector.will(whole(b'{"partialSuccess": {"rejectedSpans": %s, "errorMessage": {"a": 1}}}' % said))
    house.exporter.told([id_of(1)])
    await house.collector.arrival()
    await house.end()
    status = house.exporter.status()
    assert status["sent"] + status["rejected"] == 1


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
async def test_no_key_and_no_line_of_a_collectors_message_is_forged_into_the_log(
    make: Make, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Authorization": f"Basic {b64encode(b'me:the-password').decode()}", "X-Key": "the-key/1", "X-Scope-OrgID": "our-tenant"}
    house = make(encoding=encoding, headers=headers)
    echo = (
        "no\r\nERROR forged \x1b[31m the-password the-key/1 sk-proj-0123456789 of our-tenant: Content-Type application/json " + "x" * 1000
    )
    house.collector.will(
        partly(1, f"{headers['Authorization']} {echo}", JSON if encoding == "json" else "application/x-protobuf"),
        whole(f"{headers['Authorization']} {echo}".encode(), 400),
    )
    clean = "*** no ERROR forged [31m *** *** *** of our-tenant: Content-Type application/json x"
    for number, start in ((1, ""), (2, "HTTP 400: ")):
        house.exporter.told([id_of(number)])
        await house.collector.arrival()
        while house.exporter.unsent:
            await asyncio.sleep(0)
        why = house.exporter.status()["last_error"]
        assert why.startswith(start + clean)
        assert len(why) == 200
    assert f"export ours: spans are not taken ({clean}" in caplog.text
    assert not any(secret in caplog.text for secret in ("the-password", "the-key", "sk-proj", "\x1b"))


async def test_an_answer_in_pieces_is_read_whole(make: Make) -> None:
    house = make(encoding="json")
    later = asyncio.Event()
    told = whole({"partialSuccess": {"rejectedSpans": "1", "errorMessage": "too old"}})
    (body,) = told.steps
    assert isinstance(body, bytes)
    house.collector.will(replace(told, steps=[body[:9], later, body[9:]]))
    house.exporter.told([id_of(1)])
    await house.collector.arrival()
    later.set()
    await house.end()
    assert house.lost() == {"rejected": 1}


@pytest.mark.parametrize(("status", "became"), [(200, {}), (400, {"refused": 1})])
@pytest.mark.parametrize("end", [[Act.RESET], [Act.CUT], [Act.HANG], [b"x" * 50_000] * 100])
async def test_the_head_decides_whatever_becomes_of_the_body(make: Make, status: int, became: dict[str, int], end: list[Step]) -> None:
    """What was taken is not sent again, and an answer without end is not read to its end."""
    house = make(body_s=0.05)
    house.collector.will(streamed(b"oh ", *end, status=status))
    house.exporter.told([id_of(1)])
    await house.collector.arrival()
    await house.end()
    assert (house.lost(), len(house.collector.received)) == (became, 1)
    assert house.collector.received[0].written_bytes < 3_000_000


@pytest.mark.parametrize("status", [200, 400])
async def test_an_answer_that_is_compressed_is_not_unpacked(make: Make, status: int, caplog: pytest.LogCaptureFixture) -> None:
    house = make()
    house.collector.will(replace(gzipped(b"0" * 10_000_000), status=status))
    house.exporter.told([id_of(1)])
    await house.collector.arrival()
    await house.end()
    assert house.lost() == ({} if status == 200 else {"refused": 1})
    assert house.exporter.status()["last_error"] == (None if status == 200 else "HTTP 400")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_key_follows_a_collector_that_has_moved(make: Make, status: int, host: Host[FakeCollector]) -> None:
    other = await host(FakeCollector())
    house = make(headers={"Authorization": "Bearer the-secret-key"})
    house.collector.will(whole(b"", status, {"Location": other.endpoint}))
    house.exporter.told([id_of(1)])
    await house.collector.arrival()
    await house.end()
    assert (house.lost(), other.received) == ({"refused": 1}, [])
    assert house.exporter.status()["last_error"] == f"HTTP {status} (to {other.endpoint})"


@pytest.mark.parametrize(
    "answer",
    [
        garbage(),
        Answer(before=[Act.CUT]),
        Answer(steps=[b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", Act.CUT], raw=True),
        Answer(steps=[b"HTTP/1.1 200 OK\r\n", *[b"X-More: %s\r\n" % (b"y" * 8000)] * 1000, Act.CUT], raw=True),
        Answer(steps=[b"HTTP/1.1 200 OK\r\nX-Long: ", *[b"y" * 50_000] * 200, Act.CUT], raw=True),
    ],
    ids=["garbage", "no answer", "no length", "many headers", "long header"],
)
async def test_what_is_no_answer_is_asked_for_again(make: Make, answer: Answer) -> None:
    house = make()
    house.collector.will(answer)
    house.exporter.told([id_of(1)])
    await house.collector.arrival()
    await house.collector.arrival()
    await house.end()
    assert (house.exporter.status()["sent"], house.lost()) == (1, {})
    assert house.collector.received[0].written_bytes < 3_000_000


async def test_a_full_queue_lets_the_oldest_go(make: Make) -> None:
    house = make(max_waiting=2)
    house.collector.will(silent())
    house.exporter.told([id_of(1)])
    request = await house.collector.arrival()
    house.exporter.told([id_of(number) for number in range(2, 6)])
    assert house.exporter.status()["waiting"] == 3, "two wait, one is on its way"
    assert house.lost() == {"dropped": 2}
    assert not request.gone.is_set()


async def test_a_call_waits_for_the_span_that_it_may_be(make: Make) -> None:
    house = make(Rows(held={id_of(1)}), wait_s=3600)
    house.exporter.told([id_of(1), id_of(2)])
    await house.collector.arrival()
    assert house.sent == [id_of(2)]
    house.rows.held.clear()
    house.exporter.told([id_of(1)])  # it was linked
    await house.collector.arrival()
    assert house.sent == [id_of(2), id_of(1)]


async def test_a_call_that_no_span_claims_goes_alone(make: Make) -> None:
    house = make(Rows(held={id_of(1)}), wait_s=0.01)
    house.exporter.told([id_of(1)])
    await house.collector.arrival()
    assert house.rows.asked == [[id_of(1)], [id_of(1)]]


async def test_nothing_waits_where_no_app_sends_spans(make: Make) -> None:
    house = make(Rows(held={id_of(1)}), wait_s=0)
    house.exporter.told([id_of(1)])
    await house.collector.arrival()


async def test_calls_that_would_fill_the_queue_do_not_wait(make: Make) -> None:
    house = make(Rows(held={id_of(number) for number in range(1, 9)}), wait_s=3600, max_waiting=4)
    for number in range(1, 4):
        house.exporter.told([id_of(number)])
        while len(house.rows.asked) < number:
            await asyncio.sleep(0)
    assert spans_of(await house.collector.arrival())[0]["trace_id"] == id_of(3)
    assert house.lost() == {}


async def test_what_waits_goes_out_at_the_end(make: Make) -> None:
    house = make(Rows(held={id_of(1)}, most=1), wait_s=3600)
    house.exporter.told([id_of(1)])
    while not house.rows.asked:
        await asyncio.sleep(0)
    house.exporter.told([id_of(number) for number in range(2, 6)])
    await house.end()
    assert sorted(house.sent) == [id_of(number) for number in range(1, 6)]


async def test_what_is_too_much_at_once_comes_in_several_posts(make: Make) -> None:
    house = make(Rows(most=2))
    house.exporter.told([id_of(number) for number in range(1, 6)])
    for _ in range(3):
        await house.collector.arrival()
    await house.end()
    assert [len(spans_of(request)) for request in house.collector.received] == [2, 2, 1]
    assert house.exporter.status()["sent"] == 5


async def test_a_database_that_is_away_at_the_end_keeps_nobody(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    house = make(Rows(away=1000))
    house.exporter.told([id_of(1)])
    await house.end()
    assert house.lost() == {"given_up": 1}
    assert "the database is away" in caplog.text


async def test_a_row_that_cannot_be_told_costs_no_other(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rows = Rows()
    house = make(rows)

    async def read(ids: Sequence[str], *, patient: Collection[str], content: bool) -> Any:
        found = {one: remembered(one) for one in ids}
        found[id_of(1)].row.start_time = float("nan")
        return Found(found, [], [])

    house.exporter._read = read
    with caplog.at_level(logging.ERROR):
        house.exporter.told([id_of(1), id_of(2)])
        await house.collector.arrival()
        await house.end()
    assert house.sent == [id_of(2)]
    assert house.lost() == {"refused": 1}
