"""Owns how a value is read out of a table or a variable, and the complaint when it is not fit: file, key, found, expected."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from respan_proxy.config.kinds import Kind, Unfit
from respan_proxy.config.options import Option
from respan_proxy.dialects.catalog import ProviderRow

ENVIRONMENT = "environment"


class Reader:
    """What is read, and the mistakes and warnings found in it so far.

    `source` is the file's name; `places` says of variables that are not of the environment itself where they stand.
    """

    def __init__(self, mapping: Mapping[str, Any], environ: Mapping[str, str], source: str, places: Mapping[str, str]) -> None:
        self.mapping = mapping
        self.environ = environ
        self.source = source
        self.places = places
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def place_of(self, variable: str) -> str:
        return self.places.get(variable, ENVIRONMENT)

    def table(self, section: str) -> Mapping[str, Any]:
        table = self.mapping.get(section, {})
        if isinstance(table, Mapping):
            return table
        self.complain(section, table, f"a table: [{section}]")
        return {}

    def read(self, table: Mapping[str, Any], option: Option, where: str, row: ProviderRow | None = None) -> Any:
        """The option's value, or None when it is not there or not fit (then the complaint is noted)."""
        if option.name not in table:
            return None
        found = table[option.name]
        if isinstance(found, Mapping) and (found := self._members(found, where)) is None:
            return None
        if (variable := _variable(found)) is not None:
            if not self.environ.get(variable):
                if row is not None and option.name == "key":
                    self.warnings.append(
                        f"{row.name}: {where} names the variable {variable}, which is not set; calls to it need a caller's key"
                    )
                else:
                    self._complain_of_unset(where, variable)
                return None
            found = self.environ[variable]
        try:
            return option.kind.read(found)
        except Unfit as unfit:
            member, value, expected = unfit.args or ("", found, option.kind.expected)
            self.complain(f"{where}.{member}" if member else where, value, expected, kind=option.kind)
            return None

    def _members(self, table: Mapping[str, Any], where: str) -> Mapping[str, Any] | None:
        """A table with the values of the variables that its strings name; None when one of them is not set."""
        named = {name: variable for name, value in table.items() if (variable := _variable(value)) is not None}
        unset = {name: variable for name, variable in named.items() if not self.environ.get(variable)}
        for name, variable in unset.items():
            self._complain_of_unset(f"{where}.{quoted(name)}", variable)
        return None if unset else {**table, **{name: self.environ[variable] for name, variable in named.items()}}

    def _complain_of_unset(self, where: str, variable: str) -> None:
        self.complain(where, f"env:{variable}", f"the name of a variable that is set ({variable} is not)")

    def unknown(self, table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
        for key in table:
            if key not in known:
                path = f"{where}.{quoted(key)}" if where else quoted(key)
                self.complain(path, None, f"a known key{did_you_mean(key, known) or ': ' + ', '.join(known)}", found="an unknown key")

    def complain(
        self,
        key: str,
        value: object,
        expected: str,
        *,
        found: str | None = None,
        source: str | None = None,
        kind: Kind | None = None,
        secret: bool = False,
    ) -> None:
        if found is None:
            found = _shown(value, hide=secret or (kind is not None and kind.secret))
        self.problems.append(f"{source or self.source}: {key}: found {found}, expected {expected}")

    def first(self, variables: Iterable[str]) -> str | None:
        return next((self.environ[name] for name in variables if self.environ.get(name)), None)


def _variable(value: object) -> str | None:
    """The variable that a value of the file stands for: "env:NAME"."""
    return value[4:].strip() if isinstance(value, str) and value.startswith("env:") else None


def variable_name(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def quoted(key: object) -> str:
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else f'"{text}"'


def did_you_mean(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches  # 3 ms, for the unlucky only

    near = get_close_matches(str(name), known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


# Of a URL, where a key may be: its user and password, and its query.
_SECRET_OF_URL = re.compile(r"(?<=://)[^/?#@\s]+(?=@)|(?<=\?)[^#\s]+(?=#|$)")


def _shown(value: object, *, hide: bool) -> str:
    if value is None:
        return "nothing"
    kind = {bool: "a boolean", str: "a string", int: "a number", float: "a number", list: "a list", dict: "a table"}.get(
        type(value), "a value"
    )
    if hide or isinstance(value, Mapping):
        return kind
    text = repr(_SECRET_OF_URL.sub("***", value) if isinstance(value, str) else value)
    return f"{kind} {text if len(text) <= 80 else text[:77] + '...'}"
