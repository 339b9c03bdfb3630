"""What a terminal shows: texts that cannot steer it, cut by the cells they take, and lines of columns as wide as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

COLOURS: Mapping[str, str] = {"success": "green", "warning": "yellow", "failed": "red", "interrupted": "red", "running": "cyan"}

# What models and callers say is data: it must not move the cursor, colour the screen, set its title or turn the way of reading.
_TURNING = (0x061C, *range(0x200E, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_CONTROLS = {
    **{code: 0x2400 + code if code < 0x20 else 0xFFFD for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"},
    **dict.fromkeys(_TURNING, 0xFFFD),
}


def visible(text: str) -> str:
    return text.translate(_CONTROLS)


def flat(text: str) -> str:
    """On one line."""
    return " ".join(visible(text).split())


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
