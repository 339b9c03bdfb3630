"""Plays scenes with one SDK as its command line asks, and prints as JSON what a caller sees; knows no version of any SDK.

Argument: `{"base_url": ..., "calls": [[scene, model], ...]}`. Output: one object for each call. `all` is the answer as the SDK parsed
it, `error` and `status` are the exception's, the other members are what the scene found.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

KEY = "a-key-of-our-own"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""A PNG of one pixel, as base64."""

Scene = Callable[[Any, str, dict[str, Any]], None]


def play(connect: Callable[[str], Any], scenes: Mapping[str, Scene]) -> None:
    task = json.loads(sys.argv[1])
    client = connect(task["base_url"])
    found = []
    for scene, model in task["calls"]:
        said: dict[str, Any] = {}
        try:
            scenes[scene](client, model, said)
        except Exception as error:  # noqa: BLE001 - whichever it is, is what the test asks
            said["error"] = type(error).__name__
            said["status"] = getattr(error, "status_code", None) or getattr(error, "code", None)
            said["message"] = str(error)
        found.append(said)
    print(json.dumps(found))  # noqa: T201 - its answer
