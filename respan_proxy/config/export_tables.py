"""Owns the options of `[[export]]` and their reading: a preset's facts, and what the user says of them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from respan_proxy.config.exports import ENCODINGS, PLAIN, PRESETS, Export, Preset
from respan_proxy.config.kinds import COUNT, HEADERS, NUMBER, SECRET, TABLE, TEXT, URL, Unfit, choice
from respan_proxy.config.options import Option
from respan_proxy.config.reading import Reader

EXPORT = (
    Option("export", "name", TEXT, "how health and logs call it", default="the preset's", sample="phoenix"),
    Option(
        "export",
        "preset",
        choice(*PRESETS),
        "a collector that is known: its place, path and key come from its own variables",
        default="none",
        sample="phoenix",
    ),
    Option(
        "export",
        "endpoint",
        URL,
        "where it is; a host alone is completed with the path; required without a preset",
        default="the preset's",
        sample="http://localhost:6006/v1/traces",
    ),
    Option(
        "export",
        "headers",
        HEADERS,
        'sent with every post, over the preset\'s; values may be "env:NAME"',
        default="the preset's",
        sample={"X-Team": "search"},
    ),
    Option("export", "encoding", choice(*ENCODINGS), "of the posts; Phoenix takes protobuf alone", default='"protobuf"', sample="protobuf"),
    Option("export", "compression", choice("gzip", "none"), "of the posts", default='"gzip"', sample="gzip"),
    Option(
        "export",
        "content",
        choice("none", "full"),
        "is what was said passed on too? none: names, times, tokens, cost and ids alone",
        default='"none"',
        sample="none",
    ),
    Option(
        "export",
        "vocabulary",
        choice("latest", "both"),
        "GenAI 1.37 names; both: beside them gen_ai.system, gen_ai.usage.prompt_tokens and completion_tokens",
        default='"latest"; "both" for respan',
        sample="latest",
    ),
    Option(
        "export",
        "resource",
        TABLE,
        "attributes added to the resource of every span; a project's name, say",
        default="{}",
        sample={"openinference.project.name": "search"},
    ),
    Option(
        "export",
        "max_waiting",
        COUNT,
        "how many calls and spans may wait; the oldest go beyond it, counted",
        default="20000",
        sample=20_000,
    ),
    Option(
        "export",
        "wait_s",
        NUMBER,
        "how long a call waits for a span of the app that is the same call; 0 where no app sends spans here",
        default="10",
        sample=10,
    ),
)


def exports(reader: Reader, rows: Iterator[tuple[str, Mapping[str, Any]]]) -> tuple[Export, ...]:
    """The exports that `rows` (what a complaint calls each, and its table) say; mistakes are noted in `reader`."""
    found: list[Export] = []
    for where, row in rows:
        reader.unknown(row, [option.name for option in EXPORT], where)
        said = {option.name: reader.read(row, option, f"{where}.{option.name}") for option in EXPORT}
        if (export := _export(reader, where, row, {name: value for name, value in said.items() if value is not None})) is None:
            continue
        if any(export.name == other.name for other in found):
            reader.complain(f"{where}.name", export.name, "a name that no other export has")
        found.append(export)
    return tuple(found)


def _export(reader: Reader, where: str, row: Mapping[str, Any], said: dict[str, Any]) -> Export | None:
    name = said.pop("preset", None)
    if name is None and "preset" in row:
        return None
    preset = PRESETS[name] if name else PLAIN
    if "name" not in said and not name:
        reader.complain(f"{where}.name", None, "a name for the export")
    endpoint = _endpoint(reader, preset, said.pop("endpoint", None))
    if endpoint is None and "endpoint" not in row:
        reader.complain(f"{where}.endpoint", None, f"{URL.expected}, or a preset ({', '.join(PRESETS)})")
    headers = said.pop("headers", {})
    key = {} if _has(headers, "Authorization") else _key(reader, where, name, preset)
    encoding = said.setdefault("encoding", preset.encodings[0])
    if encoding not in preset.encodings:
        reader.complain(f"{where}.encoding", encoding, f'"{preset.encodings[0]}", which is all that {name} takes')
    if key is None or not endpoint or not (said.get("name") or name):
        return None
    return Export(
        **{"name": name, "vocabulary": preset.vocabulary, **said}, endpoint=endpoint, headers={**preset.headers, **key, **headers}
    )


def _endpoint(reader: Reader, preset: Preset, given: str | None) -> str | None:
    """What the file says, else a variable of the collector's own, else where it usually is."""
    if given is not None:
        return preset.endpoint(given)
    for variable in preset.place_env:
        if text := reader.environ.get(variable):
            try:
                return preset.endpoint(URL.read(text))
            except Unfit:
                reader.complain(variable, text, URL.expected, source=reader.place_of(variable))
                return None
    return preset.endpoint(preset.base_url) if preset.base_url else None


def _key(reader: Reader, where: str, name: str | None, preset: Preset) -> dict[str, str] | None:
    """The header that carries the key; nothing where none is needed, None where it is missing or not fit."""
    missing = [variable for variable in preset.keys if not reader.environ.get(variable)]
    if missing and preset.needs_key:
        reader.complain(
            f"{where}.preset",
            None,
            f"{' and '.join(preset.keys)} in the environment, or headers with an Authorization of its own",
            found=f'"{name}" without {" and ".join(missing)}',
        )
        return None
    if missing or not preset.keys:
        return {}
    values = []
    for variable in preset.keys:
        try:
            values.append(SECRET.read(reader.environ[variable].strip()))
        except Unfit:
            reader.complain(variable, None, SECRET.expected, source=reader.place_of(variable), found="a text that no header can carry")
            return None
    if len(values) == 1:
        return {"Authorization": f"Bearer {values[0]}"}
    return {"Authorization": f"Basic {b64encode(':'.join(values).encode()).decode()}"}


def _has(headers: Mapping[str, str], name: str) -> bool:
    return any(given.lower() == name.lower() for given in headers)
