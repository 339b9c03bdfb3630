"""What the documentation shows is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from respan_proxy.echo.manners import MANNERS
from respan_proxy.respan.filters import ALIASES, OPERATORS
from respan_proxy.respan.spans import COLUMNS

ROOT = Path(__file__).parents[1]


def test_the_recipe_for_tests_has_every_manner_of_echo() -> None:
    text = (ROOT / "docs" / "recipes" / "tests.md").read_text("utf-8")
    rows = "".join(f"| `echo/{word.name}` | {word.meaning} |\n" for word in MANNERS)
    assert rows in text


def test_reading_has_every_column_in_order_with_its_kind() -> None:
    text = (ROOT / "docs" / "reading.md").read_text("utf-8").partition("## Columns")[2].partition("\n## ")[0]
    rows = [tuple(cell.strip(" `") for cell in line.split("|")[1:3]) for line in text.splitlines() if line.startswith("| `")]
    assert rows == [(column.name, column.kind) for column in COLUMNS if column.public]


def test_reading_has_every_operator_and_alias() -> None:
    text = (ROOT / "docs" / "reading.md").read_text("utf-8")
    table = text.partition("| Operator |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z_=]+)`", table)) - {"true", "false"} == {*OPERATORS, "isnull"} - {""}
    assert "Aliases: " + ", ".join(f"`{alias}` ({name})" for alias, name in ALIASES.items()) + "." in text
