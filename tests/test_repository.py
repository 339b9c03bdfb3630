"""The repository stands alone: it names nothing outside itself, and what it says of itself agrees."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

import pytest

import respan_proxy

ROOT = Path(__file__).parents[1]

# Spelled in pieces, so that this file does not find itself.
ELSEWHERE = re.compile(r"(?<![\w.}])/(?:wo" r"rk|ho" r"me|Us" r"ers|ro" r"ot)/[a-z]|\.\./sha" r"red|/tm" r"p/v/|\bBRI" r"EF\.md")


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.decode().split("\0") if name]


def test_nothing_names_a_place_outside_the_repository() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked()
        if path.is_file() and path.suffix in {".py", ".md", ".toml", ".cfg", ".json", ".jsonl", ".js", ".html", ".css", ".txt", ""}
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if ELSEWHERE.search(line)
    ]
    assert not offenders, "\n".join(offenders)


def test_no_secret_or_database_is_tracked() -> None:
    assert not [path for path in tracked() if path.name == ".env" or path.suffix in {".db", ".sqlite", ".sqlite3"}]


def test_changelog_speaks_of_the_version_that_the_package_has() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest
    assert newest[1] == respan_proxy.__version__


def test_metadata_has_one_home() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    assert not re.search(r"^\[(?:project|tool\.(?!ruff))", pyproject, re.MULTILINE)


def test_every_dependency_says_why() -> None:
    setup = (ROOT / "setup.cfg").read_text("utf-8")
    needs = setup.split("install_requires =\n")[1].split("\n\n")[0].splitlines()
    for reason, need in zip(needs[::2], needs[1::2], strict=True):
        assert reason.strip().startswith("# "), f"{need.strip()} comes without a line of why"
        assert not need.strip().startswith("#"), f"{need.strip()} stands where a requirement was expected"


def test_console_command_and_module_are_the_same_program() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    assert setup["options.entry_points"]["console_scripts"].strip() == "respan-proxy = respan_proxy.__main__:main"
