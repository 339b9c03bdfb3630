"""What was called is in the file, whatever becomes of the process, the disk or the database while calls go on."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider, Received, streamed, whole
from tests.process.conftest import Process, Start

IN_FLIGHT = 300
ANSWERED = 200
PIECES = [*recordings.CHAT_STREAM[:-1], recordings.CHAT_USAGE, recordings.CHAT_STREAM[-1]]


def environ_of(provider: FakeProvider) -> dict[str, str]:
    return {"OPENAI_API_KEY": "sk-a-test-key", "RESPAN_PROXY_OPENAI_BASE_URL": f"{provider.url}/v1"}


def chat(thread: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4.1-nano", "messages": [{"role": "user", "content": "hi"}], "thread_identifier": thread, **more}


def read(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(sql).fetchall()


def statuses(path: Path, thread: str) -> dict[str, str]:
    return dict(read(path, f"SELECT unique_id, status FROM log WHERE thread_identifier = '{thread}'"))


async def say(client: aiohttp.ClientSession, proxy: Process, thread: str) -> str:
    """A call that is answered whole; its id."""
    async with client.post(f"{proxy.base}/chat/completions", json=chat(thread)) as response:
        await response.read()
        assert response.status == 200
        return response.headers["X-Respan-Log-Id"]


async def begin(client: aiohttp.ClientSession, proxy: Process, thread: str) -> aiohttp.ClientResponse:
    """A streamed call whose first piece has come."""
    response = await client.post(f"{proxy.base}/chat/completions", json=chat(thread, stream=True))
    await response.content.readexactly(len(PIECES[0]))
    return response


async def health(client: aiohttp.ClientSession, proxy: Process) -> dict[str, Any]:
    async with client.get(f"http://127.0.0.1:{proxy.port}/health/ready") as response:
        assert response.status == 200
        told: dict[str, Any] = await response.json()
        return told


async def committed(client: aiohttp.ClientSession, proxy: Process) -> None:
    """Everything that was handed over so far is. A read waits for that too, but not for ever."""
    async with asyncio.timeout(60):
        while (await health(client, proxy))["writer"]["queued_rows"]:
            pass


def unlimited() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def test_kill_9_under_load_loses_only_what_was_not_committed(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "calls.db"

    def answer(request: Received) -> Any:
        return streamed(PIECES[:1], Act.HANG) if request.json.get("stream") else whole(recordings.CHAT)

    async with FakeProvider() as provider, unlimited() as client:
        provider.will(*[answer] * (IN_FLIGHT + 2 * ANSWERED))
        proxy = await start(environ=environ_of(provider))
        open_calls = await asyncio.gather(*(begin(client, proxy, "open") for _ in range(IN_FLIGHT)))
        answered = await asyncio.gather(*(say(client, proxy, "answered") for _ in range(ANSWERED)))
        await committed(client, proxy)
        late = [asyncio.create_task(say(client, proxy, "late")) for _ in range(ANSWERED)]
        await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
        proxy.signal(signal.SIGKILL)
        await asyncio.gather(*late, return_exceptions=True)
        for call in open_calls:
            call.close()
        await start(environ=environ_of(provider))
    assert read(path, "PRAGMA integrity_check") == [("ok",)]
    assert statuses(path, "answered") == dict.fromkeys(answered, "success")
    opened = {call.headers["X-Respan-Log-Id"] for call in open_calls}
    assert statuses(path, "open") == dict.fromkeys(opened, "interrupted")
    assert set(statuses(path, "late").values()) <= {"success", "interrupted"}
    assert read(path, "SELECT count(*) FROM log LEFT JOIN body USING (seq) WHERE status = 'success' AND body.seq IS NULL") == [(0,)]


async def test_sigterm_under_load_loses_nothing(start: Start, tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with FakeProvider() as provider, unlimited() as client:
        provider.will(*[streamed(PIECES[:1], gate, PIECES[1:])] * IN_FLIGHT)
        proxy = await start(environ=environ_of(provider))
        open_calls = await asyncio.gather(*(begin(client, proxy, "open") for _ in range(IN_FLIGHT)))
        proxy.signal(signal.SIGTERM)
        await proxy.until("stopping")
        gate.set()
        ends = await asyncio.gather(*(call.read() for call in open_calls))
        assert all(end.endswith(b"data: [DONE]\n\n") for end in ends)
        assert await proxy.ended() == 0
    ids = {call.headers["X-Respan-Log-Id"] for call in open_calls}
    path = tmp_path / "calls.db"
    assert statuses(path, "open") == dict.fromkeys(ids, "success")
    assert read(path, "SELECT count(*) FROM body") == [(IN_FLIGHT,)]
    assert not path.with_name("calls.db-wal").exists()


async def test_calls_go_on_while_the_database_is_locked_and_short_memory_costs_content_first(start: Start, tmp_path: Path) -> None:
    path, config = tmp_path / "calls.db", tmp_path / "config.toml"
    config.write_text("[store]\nqueue_bytes = 100_000\n")
    async with FakeProvider() as provider, unlimited() as client:
        proxy = await start(environ=environ_of(provider))
        first = await say(client, proxy, "before")
        async with client.get(f"{proxy.base}/request-logs/{first}/") as response:
            assert response.status == 200
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            during = [await say(client, proxy, "during") for _ in range(40)]
            told = (await health(client, proxy))["writer"]
            assert told["dropped_bodies"] > 0 and told["dropped_rows"] == 0
            # Locked for longer than anybody waits: said, and the calls still go on.
            line = await proxy.until("cannot be written")
            assert "calls.db" in line and "locked" in line
            during.append(await say(client, proxy, "during"))
            told = await health(client, proxy)
            assert told["status"] == "degraded" and "locked" in told["writer"]["last_error"]
            other.execute("COMMIT")
        await proxy.until("written again")
        proxy.signal(signal.SIGTERM)
        assert await proxy.ended() == 0
    assert "".join(proxy.said).count("cannot be written") == 1
    assert statuses(path, "during") == dict.fromkeys(during, "success")
    [(dropped,)] = read(path, "SELECT count(*) FROM log WHERE bodies_dropped")
    assert told["writer"]["dropped_bodies"] <= dropped < len(during)


async def test_a_database_that_is_deleted_while_calls_go_on_is_made_anew(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    async with FakeProvider() as provider, unlimited() as client:
        proxy = await start(environ=environ_of(provider))
        await say(client, proxy, "before")
        for file in tmp_path.glob("calls.db*"):
            file.unlink()
        after = await say(client, proxy, "after")
        async with client.get(f"{proxy.base}/request-logs/{after}/") as response:
            assert (await response.json())["status"] == "success"
        assert statuses(path, "after") == {after: "success"}


async def test_a_full_disk_is_said_once_counted_and_outlasted(start: Start, tmp_path: Path) -> None:
    import resource

    path = tmp_path / "calls.db"
    async with FakeProvider() as provider, unlimited() as client:
        proxy = await start(environ=environ_of(provider))
        await say(client, proxy, "before")
        async with client.get(f"{proxy.base}/request-logs/list/") as response:
            assert response.status == 200
        size = path.with_name("calls.db-wal").stat().st_size
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        during = [await say(client, proxy, "during")]
        await proxy.until("cannot be written")
        during.append(await say(client, proxy, "during"))
        assert (await health(client, proxy))["writer"]["queued_rows"] >= 1
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await proxy.until("written again")
        assert (await health(client, proxy))["status"] == "ok"
        proxy.signal(signal.SIGTERM)
        assert await proxy.ended() == 0
    assert "".join(proxy.said).count("cannot be written") == 1
    assert statuses(path, "during") == dict.fromkeys(during, "success")


async def test_a_place_that_cannot_be_written_stops_no_call(start: Start, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    path = tmp_path / "data" / "calls.db"
    async with FakeProvider() as provider, unlimited() as client:
        proxy = await start("--database", str(path), environ=environ_of(provider))
        ids = [await say(client, proxy, "during")]
        async with client.get(f"{proxy.base}/request-logs/{ids[0]}/") as response:
            assert response.status == 503
        assert (await health(client, proxy))["status"] == "degraded"
        (tmp_path / "data").unlink()
        await proxy.until("written again")
        assert statuses(path, "during") == dict.fromkeys(ids, "success")


async def test_old_and_surplus_calls_are_forgotten_as_the_configuration_says(start: Start, tmp_path: Path) -> None:
    path, config = tmp_path / "calls.db", tmp_path / "config.toml"
    proxy = await start()
    async with unlimited() as client:
        old, young = await say(client, proxy, "old"), await say(client, proxy, "young")
    proxy.signal(signal.SIGTERM)
    assert await proxy.ended() == 0
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE log SET timestamp = timestamp - 8 * 86400 WHERE unique_id = ?", (old,))
        database.commit()
    config.write_text("[retention]\nage_days = 7\n")
    proxy = await start()
    await forgotten(proxy, 2)
    assert read(path, "SELECT unique_id FROM log") == [(young,)]
    proxy.signal(signal.SIGTERM)
    assert await proxy.ended() == 0
    config.write_text("[retention]\nsize_bytes = 1\n")
    proxy = await start()
    await forgotten(proxy, 2)
    assert read(path, "SELECT (SELECT count(*) FROM log), (SELECT count(*) FROM body)") == [(0, 0)]


async def forgotten(proxy: Process, count: int) -> None:
    async with asyncio.timeout(20), unlimited() as client:
        while (await health(client, proxy))["writer"]["forgotten"] < count:
            await asyncio.sleep(0)


async def test_a_database_of_a_newer_program_is_refused_by_name(start: Start, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "calls.db")) as database:
        database.execute("PRAGMA user_version = 999")
    proxy = await start(listens=False)
    assert await proxy.ended() == 1
    assert "calls.db" in proxy.said[-1] and "schema version 999" in proxy.said[-1]
    assert "Traceback" not in proxy.said[-1]


async def test_health_asks_for_no_key_and_tells_no_secret(start: Start, tmp_path: Path) -> None:
    secrets = {"OPENAI_API_KEY": "sk-a-very-secret-key", "RESPAN_PROXY_KEYS": "blue:a-secret-key-of-ours"}
    proxy = await start(environ=secrets)
    async with unlimited() as client:
        for place, found in (("/health/live", "ok"), ("/health/ready", "ok"), ("/api/health-check/", "healthy")):
            async with client.get(f"http://127.0.0.1:{proxy.port}{place}") as response:
                told = await response.text()
            assert response.status == 200 and found in told
            assert not [secret for secret in ("sk-a-very", "a-secret-key", str(tmp_path)) if secret in told]
            json.loads(told)
        with suppress(aiohttp.ClientError):
            async with client.get(f"{proxy.base}/request-logs/list/") as response:
                assert response.status == 401
