"""`logs` shows what was remembered: a table to a person, fields or JSON to a program, one call whole."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

from respan_proxy.cli import log_views, main
from respan_proxy.cli.logs import _query, follow_calls
from respan_proxy.respan.spans import COLUMNS, Content, Row
from respan_proxy.store.queries import Queries
from respan_proxy.store.views import whole
from respan_proxy.store.writer import Writer

ASKED = {"model": "gpt-4.1-nano", "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Good morning!"}]}
SAID = [
    {
        "role": "assistant",
        "content": "Good morning to you.",
        "reasoning_content": "They greet.",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "wave", "arguments": '{"hand":"left"}'}}],
    }
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path, now = tmp_path / "calls.db", time.time()
    rows = [
        Row("aaaa0001", status="success", status_code=200, model="gpt-4.1-nano", provider_id="openai", timestamp=now - 30, latency=0.25),
        Row("aaaa0002", status="failed", status_code=500, model="claude-sonnet", provider_id="anthropic", timestamp=now - 20, latency=3.0),
        Row("bbbb0003", status="success", status_code=200, model="gpt-4.1", timestamp=now - 200_000, metadata={"team": "blue"}),
    ]
    rows[0].cost, rows[0].cost_source, rows[0].prompt_tokens, rows[0].completion_tokens = 12_500, "genai-prices", 12, 3
    rows[0].attempts = [{"provider_id": "openai", "status_code": 200}]
    rows[1].error_message = "the provider is overloaded"
    content = Content(
        request_headers=[("authorization", "Bearer ***")],
        request_body=json.dumps(ASKED).encode(),
        answer=[(0.1, b"data: 1\n\n")],
        reply=json.dumps(SAID).encode(),
    )

    async def fill() -> None:
        async with Writer(path) as writer:
            for row in rows:
                writer.finish(row, content)

    asyncio.run(fill())
    return path


def logs(database: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["logs", "--database", str(database), *arguments])


def listed(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [line.split("\t")[0] for line in result.stdout.splitlines()]


def test_a_program_reads_fields_newest_last_of_the_last_day(database: Path) -> None:
    result = logs(database)
    assert listed(result) == ["aaaa0001", "aaaa0002"]
    first = result.stdout.splitlines()[0].split("\t")
    assert first[2:] == ["success", "200", "openai", "gpt-4.1-nano", "12", "3", "0.000012500", "0.250000000"]
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--failed"], ["aaaa0002"]),
        (["-m", "GPT"], ["aaaa0001"]),
        (["--since", "all"], ["bbbb0003", "aaaa0001", "aaaa0002"]),
        (["--since", "25s"], ["aaaa0002"]),
        (["--since", "2020-01-01", "-n", "1"], ["aaaa0002"]),
        (["-w", "latency__gt=2"], ["aaaa0002"]),
        (["-s", "all", "-w", "metadata__team=blue"], ["bbbb0003"]),
        (["-w", "model__contains=gpt", "-w", "status=success"], ["aaaa0001"]),
    ],
)
def test_filters_choose(database: Path, arguments: list[str], expected: list[str]) -> None:
    assert listed(logs(database, *arguments)) == expected


def test_json_is_one_object_a_line(database: Path) -> None:
    rows = [json.loads(line) for line in logs(database, "--json").stdout.splitlines()]
    assert [row["id"] for row in rows] == ["aaaa0001", "aaaa0002"]
    assert rows[0]["cost"] == 0.0000125


def test_one_call_is_shown_whole_by_the_start_of_its_id(database: Path) -> None:
    shown = logs(database, "aaaa0001").stdout
    for said in ("aaaa0001", "openai gpt-4.1-nano", "12 > 3", "$0.000013", "Bearer ***", "Be kind.", "Good morning!", "They greet."):
        assert said in shown
    assert 'wave({"hand":"left"})' in shown
    assert "the provider is overloaded" in logs(database, "aaaa0002").stdout
    assert logs(database, "bbbb").stdout.startswith("call bbbb0003")


def test_a_span_of_an_app_is_a_line_that_says_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    out = io.StringIO()
    call = {"log_method": "inference", "provider_id": "openai", "model": "gpt-4.1", "log_type": "chat", "entity_name": None}
    task = {"log_method": "python_tracing", "log_type": "task", "entity_name": "fetch_page", "span_name": "task", "id": "5" * 32}
    rows = [{**dict.fromkeys(column.name for column in COLUMNS), "id": "4" * 32, "status": "success", **given} for given in (call, task)]
    log_views.Table(out).show(rows)
    _, asked, worked = out.getvalue().splitlines()
    assert "openai       gpt-4.1" in asked
    assert "task         fetch_page" in worked


def test_one_call_as_json_is_all_that_is_known(database: Path) -> None:
    call = json.loads(logs(database, "aaaa0001", "--json").stdout)
    assert call["completion_message"] == SAID[0]
    assert call["frames"] == [{"time": 0.1, "data": "data: 1\n\n"}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "no call has an id that begins with 'nobody'"),
        (["aaaa"], "2 calls have ids that begin with 'aaaa'"),
        (["-w", "modle=x"], "did you mean 'model'"),
        (["-w", "model"], "expected FIELD=VALUE"),
        (["--since", "yesterday"], "--since: found 'yesterday', expected 90s, 15m"),
        (["--since", "1y"], "ISO 8601"),
    ],
)
def test_mistakes_are_named(database: Path, arguments: list[str], said: str) -> None:
    result = logs(database, *arguments)
    assert result.exit_code != 0
    assert said in result.stderr


def test_a_missing_database_is_said(tmp_path: Path) -> None:
    result = logs(tmp_path / "none.db")
    assert result.exit_code == 1
    assert "no such file" in result.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_a_person_sees_a_table_in_colour(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    queries, out = Queries(database), Terminal()
    page = await queries.find(_query(10, "24h", None, False, ()))
    await queries.close()
    table = log_views.Table(out)
    table.show([found.row | {"id": found.row["unique_id"]} for found in page.found])
    table.show([])
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert "latency" in lines[0]
    assert "\x1b[31mfailed 500" in lines[1]
    assert "$0.000013" in lines[2]


@pytest.mark.parametrize(
    ("width", "heading"),
    [
        (40, ["id", "status"]),
        (60, ["time", "id", "status", "model"]),
        (80, ["time", "id", "status", "model", "cost", "latency"]),
        (200, ["time", "id", "status", "provider", "model", "tokens", "cost", "latency", "first"]),
    ],
)
def test_a_table_is_no_wider_than_the_terminal(width: int, heading: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = io.StringIO()
    row = dict.fromkeys(column.name for column in COLUMNS) | {"id": "4" * 32, "status": "failed", "model": "日本" * 50, "status_code": 429}
    row |= {"provider_id": "a" * 99, "cost": 12.5, "latency": 0.1, "prompt_tokens": 10, "completion_tokens": 99}
    row |= {"log_method": "inference", "timestamp": "2026-11-25T09:00:00Z"}
    log_views.Table(out).show([row])
    lines = out.getvalue().splitlines()
    assert lines[0].split() == heading
    assert len(lines) == 2
    assert all(cell_len(line) <= width for line in lines)
    assert f" {'4' * 16} failed 429".strip() in lines[1]


async def test_a_person_is_told_when_there_is_nothing(database: Path) -> None:
    out = Terminal()
    log_views.Table(out).show([])
    assert "no calls" in out.getvalue()


class Enough(Exception):
    pass


async def test_following_shows_each_call_once_as_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    shown: list[list[str]] = []

    def show(rows: list[dict[str, Any]]) -> None:
        shown.append([row["id"] for row in rows])

    async with Writer(path) as writer:

        async def remember(*steps: Callable[[], None]) -> None:
            for step in steps:
                step()
            assert await writer.barrier(30)

        def pauses(*moves: Awaitable[None]) -> Callable[[], Awaitable[None]]:
            waiting = list(moves)

            async def pause() -> None:
                if not waiting:
                    raise Enough
                await waiting.pop(0)

            return pause

        now = time.time()
        await remember(lambda: writer.finish(Row("before", status="success", timestamp=now), None))
        pause = pauses(
            remember(lambda: writer.begin(Row("one", timestamp=now))),
            remember(lambda: writer.finish(Row("two", status="success", timestamp=now), None)),
            remember(lambda: writer.finish(Row("one", status="failed", timestamp=now), None)),
        )
        queries = Queries(path)
        with pytest.raises(Enough):
            await follow_calls(queries, _query(20, "24h", None, False, ()), set(), show, pause)
        await queries.close()
    assert shown == [["two"], ["one"]]


async def test_a_call_shown_whole_says_what_was_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    async with Writer(path) as writer:
        writer.finish(Row("one", status="success", bodies_dropped=True, start_time=time.time()), None)
        assert await writer.barrier(30)
        queries = Queries(path)
        found = await queries.get("one")
        await queries.close()
    assert found is not None
    out = io.StringIO()
    log_views.exchange(whole(found), out)
    assert "memory for waiting calls was short" in out.getvalue()


async def shown(path: Path, row: Row, content: Content) -> str:
    async with Writer(path) as writer:
        writer.finish(row, content)
        assert await writer.barrier(30)
        queries = Queries(path)
        found = await queries.get(row.unique_id)
        await queries.close()
    assert found is not None
    out = io.StringIO()
    log_views.exchange(whole(found), out)
    return out.getvalue()


async def test_a_streamed_call_shows_what_was_changed_and_each_piece_with_its_time(tmp_path: Path) -> None:
    attempts = [
        {"provider_id": "openai", "model": "gpt-4.1", "status_code": 503, "started": 0.001, "ended": 0.25, "error": "overloaded"},
        {"provider_id": "azure_openai", "model": "mine", "status_code": 200, "started": 0.3, "first_byte": 0.9, "notes": ["replayed"]},
    ]
    row = Row("one", status="warning", status_code=200, outcome="complete", dialect="openai.chat", stream=True, attempts=attempts)
    row.start_time, row.latency, row.time_to_first_token, row.tokens_per_second = time.time(), 1.5, 0.9, 42.0
    row.finish_reason, row.prompt_tokens, row.completion_tokens, row.prompt_cache_hit_tokens = "stop", 9, 2, 4
    request = {**ASKED, "stream": True, "respan_params": {"note": "n"}}
    sent = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
    chunks = [(float(number), b'data: {"choices":[{"index":0,"delta":{"content":"w%d "}}]}\n\n' % number) for number in range(300)]
    content = Content(request_body=json.dumps(request).encode(), sent_body=json.dumps(sent).encode(), answer=chunks)
    said = await shown(tmp_path / "calls.db", row, content)
    assert "took 1.50 s, first token after 900 ms, 42 tokens/s" in said
    assert "9 > 2 (4 from the cache)" in said
    assert "openai gpt-4.1, status 503, sent after 1 ms, ended after 250 ms, overloaded" in said
    assert "azure_openai mine, status 200" in said and "replayed" in said
    assert '- respan_params\n+ stream_options: {"include_usage":true}' in said
    assert "system\nBe kind." in said and "user\nGood morning!" in said
    assert "assistant\nw0 w1 w2 " in said
    assert "in 300 pieces" in said and " 99000.0 ms  data: " in said and "... 100 more (--json shows all)" in said
    assert '"w299 "' in said and '"w150 "' not in said


async def test_what_was_said_cannot_steer_the_terminal(tmp_path: Path) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "\x1b]0;owned\x07 \x9b31m tab\there"}]}).encode()
    said = await shown(tmp_path / "calls.db", Row("one", status="failed", error_message="\x1b[2J"), Content(request_body=body))
    assert not set(said) & {"\x1b", "\x07", "\x9b"}
    assert "owned" in said


async def test_a_text_too_long_to_read_is_shown_by_its_ends(tmp_path: Path) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "a" * 5_000_000 + "the end"}]}).encode()
    said = await shown(tmp_path / "calls.db", Row("one", status="success"), Content(request_body=body))
    assert len(said) < 2 * log_views.LONGEST_TEXT
    assert "the end" in said and "--json shows all" in said


def test_a_reader_that_has_seen_enough_is_no_error_to_tell(database: Path) -> None:
    command = f"{sys.executable} -m respan_proxy logs --database {database} --json | head -c 10"
    # Without asyncio's debug mode, which tells on stderr that a busy machine was slow.
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDEVMODE": ""}
    for _ in range(2):
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environ, check=False)
        assert (done.stdout, done.stderr) == ('{"id":"aaa', "")


async def test_following_outlasts_a_database_that_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    shown: list[str] = []
    async with Writer(path) as writer:

        async def remember(name: str) -> None:
            writer.finish(Row(name, status="success", timestamp=time.time()), None)
            assert await writer.barrier(30)

        async def delete() -> None:
            for file in tmp_path.glob("calls.db*"):
                file.unlink()

        moves = [delete(), remember("after")]

        async def pause() -> None:
            if not moves:
                raise Enough
            await moves.pop(0)

        await remember("before")
        queries = Queries(path)
        with pytest.raises(Enough):
            await follow_calls(queries, _query(20, "24h", None, False, ()), set(), lambda rows: shown.extend(r["id"] for r in rows), pause)
        await queries.close()
    assert shown == ["after"]
