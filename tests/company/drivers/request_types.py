"""What the request types of the SDK that is installed here have against bodies.

Argument: a file that holds `[[dialect, body], ...]`. Output: a list of complaints for each body. The repository is on the path: what
compares is what the fast tests use.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.dialects.typed import outgoing

bodies = json.loads(Path(sys.argv[1]).read_text("utf-8"))
print(json.dumps([outgoing(dialect, body) for dialect, body in bodies]))  # noqa: T201 - its answer
