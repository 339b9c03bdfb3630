"""What a person reads on a terminal: texts cut by the cells they take, and lines of columns as wide as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from respan_proxy.cli.writing import flat

COLOURS: Mapping[str, str] = {"success": "green", "warning": "yellow", "failed": "red", "interrupted": "red", "running": "cyan"}


def fit(text: str, width: int) -> str:
    """Its beginning, and a mark that there is more, when it takes more cells than that."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip(" ") + "…"


@dataclass(frozen=True, slots=True)
class Column:
    """Cells that it takes at least and at most (None: what is left). In a terminal that is too narrow the highest `leaves` goes first."""

    heading: str
    least: int
    most: int | None
    leaves: int
    is_number: bool = False


class Columns:
    """Lines of the same columns in a terminal of this many cells."""

    def __init__(self, columns: Sequence[Column], width: int) -> None:
        self._columns = columns
        self._widths = _widths(columns, width)

    def heading(self) -> Text:
        return self.line([column.heading for column in self._columns])

    def line(self, cells: Sequence[str], styles: Mapping[str, str] | None = None) -> Text:
        """`styles` by heading."""
        line = Text()
        for column, width, cell in zip(self._columns, self._widths, cells, strict=True):
            if not width:
                continue
            said = fit(flat(cell), width)
            blank = " " * (width - cell_len(said))
            line.append(" " if line else "")
            line.append(blank + said if column.is_number else said + blank, style=(styles or {}).get(column.heading))
        line.rstrip()
        return line


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Of each column; 0 when it has no room. The last one that stays is as wide as it must be, whatever the terminal."""
    widths = [column.least for column in columns]
    for column in sorted(columns, key=lambda column: column.leaves, reverse=True)[:-1]:
        if _taken(widths) <= width:
            break
        widths[columns.index(column)] = 0
    for place, column in sorted(enumerate(columns), key=lambda item: item[1].most is None):
        if widths[place]:
            left = max(0, width - _taken(widths))
            widths[place] += left if column.most is None else min(left, column.most - column.least)
    return widths


def _taken(widths: Sequence[int]) -> int:
    return sum(widths) + sum(1 for width in widths if width) - 1


def dollars(cost: float | None) -> str:
    return "" if cost is None else "<$0.000001" if 0 < cost < 1e-6 else f"${cost:.6f}"


def seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"
