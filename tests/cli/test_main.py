"""The frame of the command line: one screen of help, nothing imported for it, the nearest command for an unknown one."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import respan_proxy
from respan_proxy import app, cli
from respan_proxy.cli import COMMANDS, main
from respan_proxy.loading import Settings

# The package from here, and nothing of this machine.
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(respan_proxy.__file__).parents[1])}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What `serve` was asked to serve; nothing is served."""
    seen: list[Settings] = []

    def run(settings: Settings) -> int:
        seen.append(settings)
        return 0

    monkeypatch.setattr(app, "run", run)
    return seen


def test_help_fits_one_screen_and_names_every_command() -> None:
    text = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"  {name} " in text and why in text for name, (_, why) in COMMANDS.items())


def test_help_imports_no_command_and_nothing_heavy() -> None:
    program = "import sys; from respan_proxy.__main__ import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    modules = out.splitlines()[-1].split()
    heavy = {"aiohttp", "asyncio", "orjson", "aiosqlite", "rich", "respan_proxy.config", "respan_proxy.app", "respan_proxy.cli.serve"}
    assert "respan_proxy.cli" in modules
    assert not heavy & set(modules)


@pytest.mark.parametrize("arguments", [["check"], ["explain", "gpt-4.1-nano"], ["init", "new.toml"]])
def test_commands_that_serve_nothing_import_no_server(arguments: list[str], tmp_path: Path) -> None:
    program = f"import sys; from respan_proxy.__main__ import main; main({arguments}, standalone_mode=False); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path, env=ENVIRONMENT)
    assert not {"aiohttp", "aiosqlite", "sqlite3", "uvloop", "respan_proxy.app"} & set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(("typed", "meant"), [("chek", "check"), ("server", "serve"), ("log", "logs"), ("explan", "explain")])
def test_an_unknown_command_is_told_the_nearest(typed: str, meant: str) -> None:
    result = CliRunner().invoke(main, [typed])
    assert result.exit_code == 2
    assert f"no command '{typed}'; did you mean '{meant}'?" in result.stderr


def test_a_word_like_no_command_is_told_all_of_them() -> None:
    result = CliRunner().invoke(main, ["qqq"])
    assert result.exit_code == 2
    assert "serve, check, init, explain" in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_in_the_table_exists_and_explains_itself(name: str) -> None:
    module, _, attribute = COMMANDS[name][0].partition(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "a.toml", "--listen", "1", "--database", "d.db"],
        ["serve", "--config", "a.toml", "--listen", "1", "--database", "d.db"],
        ["--config", "a.toml", "serve", "--listen", "1", "--database", "d.db"],
        ["--config", "b.toml", "--listen", "1", "serve", "--config", "a.toml", "--database", "d.db"],
    ],
)
def test_without_a_command_it_serves_and_flags_count_on_both_sides(arguments: list[str], served: list[Settings]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert served == [Settings(config_path="a.toml", listen="1", database="d.db")]


def test_the_exit_status_of_serving_is_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "run", lambda settings: 3)
    assert CliRunner().invoke(main, []).exit_code == 3


def test_version_is_the_packages() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"respan-proxy {respan_proxy.__version__}\n"


def test_module_and_command_are_the_same() -> None:
    assert import_module("respan_proxy.__main__").main is cli.main
