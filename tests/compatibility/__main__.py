"""`python -m tests.compatibility`: writes docs/compatibility.md anew."""

from __future__ import annotations

import asyncio

from tests.compatibility.running import PAGE, markdown, run

PAGE.write_text(markdown(asyncio.run(run())), "utf-8")
