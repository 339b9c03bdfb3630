"""Owns the reading of `.env` text; finding the file is not its business."""

from __future__ import annotations

import re

_LINE = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.]*)[ \t]*=[ \t]*
        (?:'(?P<single>[^']*)'|"(?P<double>(?:\\.|[^"\\])*)"|(?P<plain>[^\r\n]*?))[ \t]*(?:(?<=[ \t'"])\#[^\r\n]*)?\r?$""",
    re.VERBOSE | re.MULTILINE,
)
_ESCAPES = {r"\n": "\n", r"\r": "\r", r"\t": "\t", r"\"": '"', r"\\": "\\", r"\$": "$"}
_ESCAPE = re.compile(r"\\.")


def parse_env_file(text: str) -> dict[str, str]:
    """The assignments in a `.env` file: `NAME=value`, `export`, quotes (escapes in double ones), ` #` comments.

    No interpolation of other variables; what is no assignment is passed over, as python-dotenv does.
    """
    found: dict[str, str] = {}
    for match in _LINE.finditer(text.removeprefix("\ufeff")):
        name, single, double, plain = match.group("name", "single", "double", "plain")
        if double is not None:
            found[name] = _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[0], escape[0]), double)
        else:
            found[name] = plain if single is None else single
    return found
