"""How lines are written, for programs and for people: nothing that was remembered steers the terminal that it ends on."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

import click
import orjson

# What models and callers say is data: it must not move the cursor, colour the screen, set its title or turn the way of reading.
_TURNING = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_CONTROLS = {
    **{code: 0x2400 + code if code < 0x20 else 0xFFFD for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"},
    **dict.fromkeys(_TURNING, 0xFFFD),
}


def visible(text: str) -> str:
    return text.translate(_CONTROLS)


def flat(text: str) -> str:
    """On one line."""
    return " ".join(visible(text).split())


# Those that JSON leaves as they are.
_IN_JSON = re.compile(f"[{''.join(map(chr, (*range(0x7F, 0xA0), *_TURNING)))}]")


def fields(cells: Iterable[Any]) -> str:
    """A line for a program, which often ends on a terminal all the same (`| head`): separated by tabs; what is unknown is empty."""
    return "\t".join("" if cell is None else f"{cell:.9f}" if isinstance(cell, float) else flat(str(cell)) for cell in cells)


def as_json(value: Any, *, indent: bool = False) -> str:
    """JSON says control characters as `\\u001b`; those that it leaves as they are, and those that turn the way of reading, likewise."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0).decode()
    return _IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def write(*lines: str) -> None:
    for line in lines:
        click.echo(line)
    sys.stdout.flush()


def write_whole(value: Any) -> None:
    """As JSON: laid out for a person, on one line for a program."""
    write(as_json(value, indent=sys.stdout.isatty()))
