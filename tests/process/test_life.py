"""Starting, reloading, stopping and dying."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from pathlib import Path

import aiohttp
import pytest

from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider, streamed
from tests.process.conftest import Start

CHAT = {"model": "gpt-4.1-nano", "messages": [{"role": "user", "content": "hello"}]}


def environ_of(provider: FakeProvider) -> dict[str, str]:
    return {"OPENAI_API_KEY": "sk-a-test-key", "RESPAN_PROXY_OPENAI_BASE_URL": f"{provider.url}/v1"}


def rows(path: Path) -> list[tuple[str, str | None]]:
    database = sqlite3.connect(path)
    try:
        return database.execute("SELECT status, outcome FROM log ORDER BY start_time").fetchall()
    finally:
        database.close()


async def test_it_boots_with_nothing_and_answers(start: Start) -> None:
    proxy = await start()
    said = "".join(proxy.said)
    assert "echo" in said and "OPENAI_API_KEY" in said and "calls.db" in said
    async with aiohttp.ClientSession() as client, client.post(f"{proxy.base}/chat/completions", json=CHAT) as response:
        answer = await response.json()
    assert response.status == 200 and "echo" in response.headers["X-Respan-Warnings"]
    assert "OPENAI_API_KEY" in answer["choices"][0]["message"]["content"]


async def test_the_curl_of_the_banner_works(start: Start) -> None:
    proxy = await start()
    line = next(line for line in proxy.said if line.strip().startswith("try"))
    curl = await asyncio.create_subprocess_shell(line.split("try", 1)[1], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, _ = await curl.communicate()
    assert json.loads(out)["object"] == "chat.completion"


async def test_the_nearest_env_file_brings_providers(start: Start, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('OPENAI_API_KEY="sk-from-the-env-file"\n')
    proxy = await start()
    said = "".join(proxy.said)
    assert "openai" in said and "sk-from" not in said


async def test_a_port_in_use_is_said_with_the_way_out(start: Start, tmp_path: Path) -> None:
    first = await start()
    second = await start("--listen", f"127.0.0.1:{first.port}", "--database", str(tmp_path / "other.db"), listens=False)
    assert await second.ended() == 1
    [said] = "".join(second.said).splitlines()
    assert "in use" in said and "--listen" in said


async def test_a_second_address_in_use_is_said_with_the_way_out(start: Start, tmp_path: Path) -> None:
    first = await start()
    (tmp_path / "spans.toml").write_text(f'[telemetry]\nlisten = "127.0.0.1:{first.port}"\n')
    second = await start("--config", "spans.toml", "--database", str(tmp_path / "other.db"), listens=False)
    assert await second.ended() == 1
    [said] = "".join(second.said).splitlines()
    assert f"telemetry.listen: 127.0.0.1:{first.port} is in use" in said and "leave the option out" in said


async def test_a_second_proxy_on_the_same_database_is_refused(start: Start) -> None:
    await start()
    second = await start(listens=False)
    assert await second.ended() == 1
    assert "calls.db" in second.said[-1]


async def test_who_starts_it_twice_hears_of_the_database_and_of_the_port(start: Start) -> None:
    first = await start()
    second = await start("--listen", f"127.0.0.1:{first.port}", listens=False)
    assert await second.ended() == 1
    assert "calls.db" in second.said[-1] and f"--listen 127.0.0.1:{first.port + 1}" in second.said[-1]


async def test_it_serves_on_a_unix_socket(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    await start("--listen", f"unix:{path}")
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as client,
        client.post("http://localhost/api/chat/completions", json=CHAT) as response,
    ):
        assert response.status == 200


async def test_sigterm_lets_streams_finish_and_keeps_their_rows(start: Start, tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with FakeProvider() as provider, aiohttp.ClientSession() as client:
        provider.will(streamed(recordings.CHAT_STREAM[:2], gate, recordings.CHAT_STREAM[2:]))
        proxy = await start(environ=environ_of(provider))
        response = await client.post(f"{proxy.base}/chat/completions", json={**CHAT, "stream": True})
        await response.content.readexactly(len(recordings.CHAT_STREAM[0]))
        proxy.signal(signal.SIGTERM)
        await proxy.until("stopping")
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(f"http://127.0.0.1:{proxy.port}/health/live")
        gate.set()
        assert (await response.read()).endswith(b"data: [DONE]\n\n")
        assert await proxy.ended() == 0
    assert [outcome for _, outcome in rows(tmp_path / "calls.db")] == ["complete"]


async def test_sigterm_does_not_wait_for_ever(start: Start, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[limits]\nshutdown_s = 0.05\n")
    async with FakeProvider() as provider, aiohttp.ClientSession() as client:
        provider.will(streamed(recordings.CHAT_STREAM[:2], Act.HANG))
        proxy = await start(environ=environ_of(provider))
        response = await client.post(f"{proxy.base}/chat/completions", json={**CHAT, "stream": True})
        await response.content.readexactly(len(recordings.CHAT_STREAM[0]))
        proxy.signal(signal.SIGTERM)
        assert await proxy.ended() == 0
        response.close()
    assert rows(tmp_path / "calls.db")[0] == ("interrupted", "stopped")


async def test_who_asks_twice_does_not_wait(start: Start, tmp_path: Path) -> None:
    async with FakeProvider() as provider, aiohttp.ClientSession() as client:
        provider.will(streamed(recordings.CHAT_STREAM[:2], Act.HANG))
        proxy = await start(environ=environ_of(provider))
        response = await client.post(f"{proxy.base}/chat/completions", json={**CHAT, "stream": True})
        await response.content.readexactly(len(recordings.CHAT_STREAM[0]))
        proxy.signal(signal.SIGINT)
        await proxy.until("until a second signal")
        proxy.signal(signal.SIGINT)
        assert await proxy.ended() == 0
        response.close()
    assert rows(tmp_path / "calls.db")[0][0] == "failed"


async def test_kill_9_leaves_a_database_that_opens_and_an_interrupted_row(start: Start, tmp_path: Path) -> None:
    async with FakeProvider() as provider, aiohttp.ClientSession() as client:
        proxy = await start(environ=environ_of(provider))
        async with client.post(f"{proxy.base}/chat/completions", json=CHAT) as done:
            log_id = done.headers["X-Respan-Log-Id"]
        async with client.get(f"{proxy.base}/request-logs/{log_id}/") as read:  # what was read back is on the disk
            assert (await read.json())["status"] == "success"
        provider.will(streamed(recordings.CHAT_STREAM[:2], Act.HANG))
        response = await client.post(f"{proxy.base}/chat/completions", json={**CHAT, "stream": True})
        open_id = response.headers["X-Respan-Log-Id"]
        async with client.get(f"{proxy.base}/request-logs/{open_id}/") as read:
            assert (await read.json())["status"] == "running"
        proxy.signal(signal.SIGKILL)
        await proxy.ended()
        response.close()
        again = await start(environ=environ_of(provider))
        async with client.get(f"{again.base}/request-logs/{open_id}/") as read:
            assert (await read.json())["status"] == "interrupted"
    assert [status for status, _ in rows(tmp_path / "calls.db")] == ["success", "interrupted"]


async def test_sighup_brings_a_new_configuration_and_refuses_a_bad_one(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[models]\nfast = "echo/one"\n')
    proxy = await start()
    async with aiohttp.ClientSession() as client:
        config.write_text('[models]\nfast = "echo/one"\nslow = "echo/two"\n')
        proxy.signal(signal.SIGHUP)
        await proxy.until("reloaded")
        async with client.get(f"{proxy.base}/models") as response:
            ids = {model["id"] for model in (await response.json())["data"]}
        assert {"fast", "slow"} <= ids
        config.write_text("[modles]\n")
        proxy.signal(signal.SIGHUP)
        assert "models" in await proxy.until("reload refused")
        async with client.post(f"{proxy.base}/chat/completions", json={**CHAT, "model": "slow"}) as response:
            assert response.status == 200


async def test_a_reload_leaves_open_streams_alone(start: Start) -> None:
    gate = asyncio.Event()
    async with FakeProvider() as provider, aiohttp.ClientSession() as client:
        provider.will(streamed(recordings.CHAT_STREAM[:2], gate, recordings.CHAT_STREAM[2:]))
        proxy = await start(environ=environ_of(provider))
        response = await client.post(f"{proxy.base}/chat/completions", json={**CHAT, "stream": True})
        await response.content.readexactly(len(recordings.CHAT_STREAM[0]))
        proxy.signal(signal.SIGHUP)
        await proxy.until("reloaded")
        gate.set()
        assert (await response.read()).endswith(b"data: [DONE]\n\n")


async def test_a_reload_never_leaves_an_open_door_without_keys(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('keys = [{ name = "me", key = "our-own-key" }]\n[server]\nlisten = "0.0.0.0:0"\n')
    proxy = await start(environ={"RESPAN_PROXY_LISTEN": ""})
    config.write_text('[server]\nlisten = "127.0.0.1:7776"\n')  # fit for a new start, not for the socket that is open
    proxy.signal(signal.SIGHUP)
    assert "keys: found none" in await proxy.until("reload refused")
    async with aiohttp.ClientSession() as client, client.post(f"{proxy.base}/chat/completions", json=CHAT) as response:
        assert response.status == 401


async def test_what_only_a_restart_changes_is_said_at_each_reload(start: Start, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('[server]\nlisten = "127.0.0.1:0"\n')
    proxy = await start("--config", "own.toml", environ={"RESPAN_PROXY_LISTEN": ""})
    (tmp_path / "own.toml").write_text(
        '[server]\nlisten = "127.0.0.1:1"\n[store]\ndurability = "full"\n[telemetry]\nlisten = "127.0.0.1:2"\n'
    )
    for _ in range(2):
        proxy.signal(signal.SIGHUP)
        assert "127.0.0.1:0" in await proxy.until("listen changes only with a restart")
        await proxy.until("durability changes only with a restart")
        await proxy.until("telemetry.listen changes only with a restart, and stays as it is: none")
        await proxy.until("reloaded")


async def test_json_lines_are_json_from_the_first_to_the_last(start: Start, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[log]\nformat = "json"\n')
    proxy = await start(environ={"OPENAI_API_KEY": "sk-a-secret-of-mine"})
    proxy.signal(signal.SIGHUP)
    await proxy.until("reloaded")
    proxy.signal(signal.SIGTERM)
    assert await proxy.ended() == 0
    lines = "".join(proxy.said).splitlines()
    told = [json.loads(line) for line in lines]
    assert " listens on " in told[0]["message"] and told[0]["address"] == proxy.base
    assert "sk-a-secret" not in "".join(lines)
