"""What the documentation shows is what there is."""

from __future__ import annotations

from pathlib import Path

from respan_proxy.echo.manners import MANNERS

ROOT = Path(__file__).parents[1]


def test_the_recipe_for_tests_has_every_manner_of_echo() -> None:
    text = (ROOT / "docs" / "recipes" / "tests.md").read_text("utf-8")
    rows = "".join(f"| `echo/{word.name}` | {word.meaning} |\n" for word in MANNERS)
    assert rows in text
