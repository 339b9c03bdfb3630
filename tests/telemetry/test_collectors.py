"""Whatever a collector answers, or does not: what may be sent again is, what is lost is counted, and nothing that it says does harm."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import replace

import pytest

from tests.conftest import Host
from tests.fakes.collector import JSON, FakeCollector, partly, spans_of
from tests.fakes.provider import Act, Answer, Step, garbage, gzipped, streamed, whole
from tests.telemetry.exporting import Make, id_of


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
