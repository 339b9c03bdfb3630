"""An export passes on what it is told of, once; what is lost is counted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import pytest

from respan_proxy.telemetry.spans import MARK
from tests.conftest import Host
from tests.fakes.collector import FakeCollector, spans_of
from tests.fakes.provider import silent, whole
from tests.telemetry.exporting import Found, Make, Rows, id_of, remembered


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


async def test_what_an_export_could_not_send_before_it_changed_goes_where_it_is_now(make: Make, host: Host[FakeCollector]) -> None:
    """A wrong address, corrected: what failed there until now is made anew, with the content that may go to the new one."""
    there = await host(FakeCollector())
    house = make(content="full", first_wait_s=100)
    house.collector.will(whole(b"", 503))
    house.exporter.told([id_of(1), id_of(2)])
    await house.collector.arrival()
    house.exporter.change(replace(house.exporter.export, endpoint=there.endpoint, content="none"))
    assert [span["trace_id"] for span in spans_of(await there.arrival())] == [id_of(1), id_of(2)]
    assert house.rows.contents == [True, False]
    await house.end()
    assert (house.exporter.status()["sent"], house.exporter.status()["waiting"], house.lost()) == (2, 0, {})


async def test_an_export_that_is_read_again_as_it_was_goes_on_as_it_was(make: Make) -> None:
    house = make(first_wait_s=100)
    house.collector.will(whole(b"", 503))
    house.exporter.told([id_of(1)])
    await house.collector.arrival()
    house.exporter.change(replace(house.exporter.export))
    await house.end()
    assert (len(house.collector.received), house.lost()) == (1, {"given_up": 1})


async def test_what_was_sent_of_a_batch_before_a_change_is_not_sent_again(make: Make) -> None:
    house = make(first_wait_s=100)
    house.collector.will(whole(b"", 413), whole(b""), whole(b"", 503))
    house.exporter.told([id_of(1), id_of(2)])
    for _ in range(3):
        await house.collector.arrival()
    house.exporter.change(replace(house.exporter.export, encoding="json"))
    await house.collector.arrival()
    await house.end()
    assert [[span["trace_id"] for span in spans_of(request)] for request in house.collector.received] == [
        [id_of(1), id_of(2)],
        [id_of(1)],
        [id_of(2)],
        [id_of(2)],
    ]
    assert (house.exporter.status()["sent"], house.exporter.status()["waiting"], house.lost()) == (2, 0, {})


async def test_twenty_thousand_calls_beyond_a_dead_collector_are_counted_and_the_last_ones_wait(make: Make) -> None:
    house = make(max_waiting=20_000)
    house.collector.will(silent())
    house.exporter.told([id_of(0)])
    await house.collector.arrival()
    ids = [id_of(number) for number in range(1, 40_001)]
    for one in ids:
        house.exporter.told([one])
    assert (house.exporter.status()["waiting"], house.lost()) == (20_001, {"dropped": 20_000})
    assert list(house.exporter._waiting) == ids[20_000:]
