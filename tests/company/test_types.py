"""What leaves for a provider is what its SDK of one and of two majors ago could send as well, but for what is newer than they are."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from respan_proxy.dialects import DIALECTS
from tests.company.environments import python_with
from tests.dialects.crossing import swept

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).parent / "drivers" / "request_types.py"

# Where a value may be that these do not know yet, without positions in lists.
NEWER: dict[str, set[str]] = {
    "openai==1.109.1": {
        ".input.output",  # pictures in what a call gave
        ".reasoning.effort",  # none, xhigh and max
        ".reasoning_effort",
    },
    "openai==2.54.0": set(),
    "anthropic==0.125.0": set(),
    "anthropic==1.17.0": set(),
    "google-genai==1.75.0": set(),
    "google-genai==2.34.0": set(),
}
SPOKEN = {"openai": ("openai.chat", "openai.responses"), "anthropic": ("anthropic.messages",), "google-genai": ("gemini",)}


@pytest.mark.parametrize("requirement", NEWER)
def test_an_older_major_would_have_sent_the_same(requirement: str, tmp_path: Path) -> None:
    targets = SPOKEN[requirement.partition("==")[0]]
    bodies = [[target, body] for target in targets for source in DIALECTS for _, _, body in swept(source, target) if body is not None]
    assert len(bodies) > 1000
    file = tmp_path / "bodies.json"
    file.write_text(json.dumps(bodies), "utf-8")
    done = subprocess.run(
        [str(python_with(requirement)), str(DRIVER), str(file)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [line for lines in json.loads(done.stdout) for line in lines]
    assert {re.sub(r"\[\d+\]", "", line).partition(": ")[0] for line in said} == NEWER[requirement], set(said)
