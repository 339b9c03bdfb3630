"""`init` writes a starter that changes nothing until a line of it is uncommented, and never over an existing file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from respan_proxy.cli import main
from respan_proxy.config import parse


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_it_writes_a_starter_that_parses_to_the_defaults() -> None:
    result = CliRunner().invoke(main, ["init"])
    assert result.exit_code == 0
    assert "config.toml" in result.stdout
    text = Path("config.toml").read_text("utf-8")
    assert '# listen = "127.0.0.1:7776"' in text
    assert parse(tomllib.loads(text), {}) == parse({}, {})


def test_the_file_may_be_named() -> None:
    assert CliRunner().invoke(main, ["init", "mine.toml"]).exit_code == 0
    assert Path("mine.toml").is_file()


def test_an_existing_file_is_left_alone() -> None:
    Path("config.toml").write_text("# mine\n", "utf-8")
    result = CliRunner().invoke(main, ["init"])
    assert result.exit_code == 1
    assert "config.toml exists already" in result.stderr
    assert Path("config.toml").read_text("utf-8") == "# mine\n"


def test_a_place_that_cannot_be_written_is_said() -> None:
    result = CliRunner().invoke(main, ["init", "no/such/folder/config.toml"])
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
