"""The blocks of the documentation, as a reader would run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs" / "recipes").glob("*.md")))
DOCUMENTED = "http://localhost:7776/api"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# Each with the lines it is continued on.
_CURL = re.compile(r"^curl (?:.*\\\n)*.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One thing to run, of the page and the line where it begins."""

    page: Path
    line: int
    text: str

    def at(self, base: str) -> str:
        """The text, calling this address instead of the documented one."""
        return self.text.replace(DOCUMENTED, base)

    def __str__(self) -> str:
        return f"{self.page.stem}-{self.line}"


def blocks(*languages: str) -> Iterator[Script]:
    for page in PAGES:
        text = page.read_text("utf-8")
        for found in _BLOCK.finditer(text):
            if found[1] in languages:
                yield Script(page, text.count("\n", 0, found.start()) + 1, found[2])


def programs(language: str) -> list[Script]:
    """The blocks of a language; one that imports nothing goes on where the one before it on its page ended."""
    found: list[Script] = []
    for block in blocks(language):
        if "import " in block.text:
            found.append(block)
        else:
            before = found.pop()
            assert before.page == block.page, f"{block} imports nothing, and nothing is before it"
            found.append(Script(before.page, before.line, f"{before.text}\n{block.text}"))
    return found


def curls() -> list[Script]:
    return [
        Script(block.page, block.line + block.text.count("\n", 0, found.start()) + 1, found[0])
        for block in blocks("sh")
        for found in _CURL.finditer(block.text)
    ]
