"""Environments with other clients than ours, made once, and kept in `.venv-company` until `make clean`."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / ".venv-company"

# Taken while tests are collected: a test itself runs without the machine's own settings. Ours for Python are not for installers.
_ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def tool(*names: str) -> str:
    """Where the first of these programs is; the test is skipped when this machine has none of them."""
    for name in names:
        if path := shutil.which(name):
            return path
    return pytest.skip(f"needs {' or '.join(names)}, not on this machine")


def python_with(*requirements: str, name: str = "") -> Path:
    """The interpreter of an environment that holds nothing but these requirements (`openai==1.109.1`) and what they need.

    Its folder is named after the requirement, or has this name.
    """
    home = FOLDER / (name or requirements[0].replace("==", "-"))
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(python), "install", *requirements]
    state = f"{' '.join(requirements)} for Python {sys.version}"
    _make(home, state, [[sys.executable, "-m", "venv", "--without-pip", str(home)], pip])
    return python


def node_with(packages: Mapping[str, str], name: str = "npm") -> Path:
    """The folder of this name, whose `node_modules` holds these packages (name: version); none of them ran a script of its own."""
    home = FOLDER / name
    install = [tool("npm"), "install", "--silent", "--ignore-scripts", *(f"{package}@{version}" for package, version in packages.items())]
    _make(home, json.dumps(packages), [install])
    return home


def _make(home: Path, state: str, commands: Sequence[Sequence[str]]) -> None:
    """Run the commands in an empty folder unless they made this very state before. Raises `RuntimeError` with what a command said."""
    FOLDER.mkdir(exist_ok=True)
    stamp = home / "made.stamp"
    with (FOLDER / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if stamp.is_file() and stamp.read_text("utf-8") == state:
            return
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        for command in commands:
            done = subprocess.run(command, cwd=home, env=_ENVIRON, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        stamp.write_text(state, "utf-8")
