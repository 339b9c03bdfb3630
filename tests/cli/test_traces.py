"""`traces` shows what belongs together: a table to a person, fields or JSON to a program, one trace as a tree."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len
from rich.text import Text

from respan_proxy.cli import main, trace_views
from respan_proxy.cli.writing import as_json
from respan_proxy.respan.spans import Row
from respan_proxy.store.writer import Writer
from respan_proxy.telemetry.spans import Claim, Said, Told

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "aaaa2f3577b34da6a3ce929d0e0e4736"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("TERM", "xterm-256color")


def told(name: str, parent: str | None, at: float, took: float, said: Said | None = None, trace: str = TRACE, **columns: Any) -> Told:
    row = Row(f"{trace[:4]}-{name}", trace_unique_id=trace, span_unique_id=name, span_parent_id=parent, status="success", **columns)
    row.log_method = "python_tracing"
    row.start_time, row.timestamp, row.latency = at, at + took, took
    return Told(row, said or Said(), {"name": name, "attributes": {"a": "b"}}, Claim())


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path, now = tmp_path / "calls.db", time.time() - 60
    usage: dict[str, Any] = {"prompt_tokens": 20, "completion_tokens": 9, "total_request_tokens": 29, "cost": 12_500, "log_type": "chat"}
    called: dict[str, Any] = {"span_name": "llm.gpt", "entity_name": "openai.chat", "model": "gpt-4.1", "customer_identifier": "u1"}
    failed = told("bad", "task", now + 3, 0.5, span_name="llm.gpt", model="gpt-4.1", log_type="chat", status_code=400)
    failed.row.status, failed.row.error_message = "failed", "the model\nis not there"
    spans = [
        told("flow", None, now, 8, Said(input="[1]"), span_name="workflow", entity_name="answer", log_type="workflow"),
        told("task", "flow", now + 1, 6, span_name="task", entity_name="ask\x1b[2J", log_type="task"),
        told("call", "task", now + 2, 0.25, **called, **usage),
        failed,
        told("only", None, now + 9, 0.1, trace=OTHER, span_name="alone", log_type="task"),
        told("old", None, now - 200_000, 90_000, trace="old", span_name="old", log_type="task"),
    ]

    async def fill() -> None:
        async with Writer(path) as writer:
            assert await writer.ingest(spans, 1000, "full") == 0

    asyncio.run(fill())
    return path


def traces(database: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["traces", "--database", str(database), *arguments])


def test_a_program_reads_fields_newest_last_of_the_last_day(database: Path) -> None:
    result = traces(database)
    assert result.exit_code == 0, result.output
    first, second = [line.split("\t") for line in result.stdout.splitlines()]
    assert (first[0], *first[2:]) == (TRACE, "answer", "4", "2", "20", "9", "0.000012500", "8.000000000", "1", "u1")
    assert second[0] == OTHER
    assert traces(database, "--since", "all").stdout.startswith("old\t")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--failed",), [TRACE]),
        (("-m", "GPT"), [TRACE]),
        (("-w", "span_count=1"), [OTHER]),
        (("-w", "duration__gt=5", "-w", "customer_identifier=u1"), [TRACE]),
        (("-w", "name__contains=alo"), [OTHER]),
        (("-n", "1"), [OTHER]),
    ],
)
def test_filters_choose(database: Path, arguments: tuple[str, ...], found: list[str]) -> None:
    result = traces(database, *arguments)
    assert result.exit_code == 0, result.output
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == found


def test_json_is_what_the_api_says(database: Path) -> None:
    listed = [json.loads(line) for line in traces(database, "--json").stdout.splitlines()]
    assert [row["id"] for row in listed] == [TRACE, OTHER]
    assert listed[0]["input"] == "[1]"
    whole = json.loads(traces(database, TRACE[:6], "--json").stdout)
    assert (whole["id"], whole["name"], whole["span_tree"][0]["children"][0]["span_unique_id"]) == (TRACE, "answer", "task")


def test_a_tree_says_where_each_span_hangs_how_long_it_took_and_what_it_cost(database: Path) -> None:
    result = traces(database, TRACE[:5])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"trace {TRACE}  answer"
    tree = lines[lines.index("") + 1 :]
    assert [line[:24].rstrip() for line in tree] == [
        "answer  workflow",
        "└─ ask␛[2J  task",
        "   ├─ openai.chat  gpt-4",
        "   └─ llm.gpt  gpt-4.1",
        "         failed 400: the",
    ]
    assert tree[2].endswith("250 ms        20 > 9  $0.000013")
    assert tree[4].strip() == "failed 400: the model is not there"
    assert max(map(len, lines)) <= 110
    assert "\x1b" not in result.stdout
    assert any(line.split() == ["cost", "$0.000013"] for line in lines)


def shown(database: Path, trace_id: str, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    out = Terminal()
    trace_views.tree(json.loads(traces(database, trace_id, "--json").stdout), out)
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 110, 240])
def test_a_tree_is_as_wide_as_the_terminal_and_failures_are_red(database: Path, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(database, TRACE, width, monkeypatch)
    lines = text.splitlines()
    assert all(len(Text.from_ansi(line)) <= width for line in lines[lines.index("") :])
    assert ("━" in text) == (width > 60)
    failed = next(line for line in lines if "llm.gpt" in line)
    assert "\x1b[31m" in failed
    assert not any("\x1b[31m" in line for line in lines if "openai.chat" in line)


def test_a_table_for_a_person_names_what_went_wrong_in_red(database: Path) -> None:
    out, rows = Terminal(), [json.loads(line) for line in traces(database, "--json", "--since", "all").stdout.splitlines()]
    trace_views.table(rows, out, time.time())
    text = out.getvalue()
    assert "duration" in text
    assert next(line for line in text.splitlines() if "answer" in line).startswith("\x1b[31m")
    assert "1d 1h" in text
    nothing = Terminal()
    trace_views.table([], nothing, time.time())
    assert "--since all" in nothing.getvalue()


@pytest.mark.parametrize(
    ("width", "heading"),
    [
        (20, ["id"]),
        (40, ["age", "id", "name"]),
        (60, ["age", "id", "name", "cost", "duration"]),
        (80, ["age", "id", "name", "cost", "duration", "errors"]),
        (200, ["age", "id", "name", "spans", "calls", "tokens", "cost", "duration", "errors", "customer"]),
    ],
)
def test_a_table_is_no_wider_than_the_terminal(database: Path, width: int, heading: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out, rows = Terminal(), [json.loads(line) for line in traces(database, "--json").stdout.splitlines()]
    rows[0] |= {"name": "旅行\u202e\x1b[2J計画" * 40, "customer_identifier": "x" * 99, "total_cost": 1234.5}
    trace_views.table(rows, out, time.time())
    lines = [Text.from_ansi(line).plain for line in out.getvalue().splitlines()]
    assert lines[0].split() == heading
    assert all(cell_len(line) <= width for line in lines)
    assert ("旅行�␛[2J" in lines[1]) == (width > 20)
    assert "\u202e" not in out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_span_that_is_far_down_keeps_its_name(width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, now = tmp_path / "deep.db", time.time() - 60
    spans = [told(f"{n:03}", f"{n - 1:03}" if n else None, now + n, 1, span_name=f"計画{n}", log_type="task") for n in range(60)]
    spans[-1].row.status, spans[-1].row.error_message = "failed", "too deep " * 50

    async def fill() -> None:
        async with Writer(path) as writer:
            assert await writer.ingest(spans, 1000, "full") == 0

    asyncio.run(fill())
    lines = [Text.from_ansi(line).plain for line in shown(path, TRACE, width, monkeypatch).splitlines()]
    assert all(cell_len(line) <= width for line in lines[lines.index("") :])
    assert all(any(f"計画{n}" in line for line in lines) for n in range(60))
    assert "failed: too" in lines[-1]


@pytest.mark.parametrize(("trace_id", "said"), [("4bf92f", None), ("bbb", "no trace has an id that begins"), ("", "3 traces have ids")])
def test_the_beginning_of_an_id_is_enough_when_only_one_begins_so(database: Path, trace_id: str, said: str | None) -> None:
    result = traces(database, trace_id)
    assert result.exit_code == (0 if said is None else 1)
    assert said is None or said in result.output


def test_a_missing_database_and_a_wrong_filter_are_named(database: Path, tmp_path: Path) -> None:
    assert "no such file" in traces(tmp_path / "none.db").output
    result = traces(database, "-w", "nmae=x")
    assert (result.exit_code, "did you mean 'name'" in result.output) == (1, True)


STEERING = "\x1b[2J\x9b31m\u202e\x07"


@pytest.mark.parametrize("command", [["traces"], ["traces", "--json"], ["traces", TRACE], ["traces", TRACE, "--json"], ["logs"]])
def test_nothing_that_a_program_was_named_steers_the_terminal(command: list[str], tmp_path: Path) -> None:
    path, now = tmp_path / "steering.db", time.time() - 60
    columns = {"span_name": f"one{STEERING}", "model": f"two{STEERING}", "customer_identifier": f"three{STEERING}", "log_type": "chat"}
    messages = [{"role": f"four{STEERING}", "content": f"five{STEERING}"}]
    span = told("flow", None, now, 1, Said(prompt_messages=messages), **columns, metadata={"six": STEERING})

    async def fill() -> None:
        async with Writer(path) as writer:
            assert await writer.ingest([span], 1000, "full") == 0

    asyncio.run(fill())
    for arguments in (command, ["logs", span.row.unique_id]):
        result = CliRunner().invoke(main, [*arguments, "--database", str(path)])
        assert result.exit_code == 0, result.output
        assert ("one" in result.stdout) or ("two" in result.stdout)
        assert not any(steering in result.stdout for steering in STEERING if steering not in "[2J31m")


def test_json_means_the_same_where_it_says_more(database: Path) -> None:
    assert json.loads(as_json({"a": STEERING})) == {"a": STEERING}
    assert as_json("\x9b") == '"\\u009b"'


def test_logs_shows_a_span_whole(database: Path) -> None:
    result = CliRunner().invoke(main, ["logs", "--database", str(database), "4bf9-flow"])
    assert result.exit_code == 0, result.output
    assert "span 4bf9-flow  success" in result.output
    assert "input\n[1]" in result.output
    assert '"attributes": {' in result.output
    assert "nobody" not in result.output
