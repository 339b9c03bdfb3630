"""Owns the lines on stderr: text for a person, one JSON object each for a program, and no secret in either."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TextIO
from urllib.parse import urlsplit

from respan_proxy.config import Config
from respan_proxy.wire.secrets import is_secret, scrub, without_known_forms

_COLOURS = {logging.DEBUG: "\x1b[2m", logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}


class Text(logging.Formatter):
    """`2026-01-31 12:00:00.000 warning respan_proxy.app: ...`; on a terminal the level has a colour."""

    def __init__(self, secrets: frozenset[str], *, coloured: bool = False) -> None:
        super().__init__()
        self._secrets = secrets
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().isoformat(" ", "milliseconds")[:23]
        level = record.levelname.lower()
        if self._coloured and (colour := _COLOURS.get(record.levelno)):
            level = f"{colour}{level}\x1b[0m"
        lines = [f"{at} {level} {record.name}: {record.getMessage()}", *_trace(self, record)]
        return hidden("\n".join(lines), self._secrets)


class Json(logging.Formatter):
    """`{"time", "level", "logger", "message"}` and, where there is one, `exception`; what a call passes as `facts` stands beside them."""

    def __init__(self, secrets: frozenset[str]) -> None:
        super().__init__()
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if trace := "\n".join(_trace(self, record)):
            told["exception"] = trace
        return json.dumps({name: hidden(str(value), self._secrets) for name, value in told.items()}, ensure_ascii=False)


def report(config: Config, stream: TextIO | None = None) -> None:
    """From now on what the program logs goes to `stream` (stderr) as the configuration says; the last call holds."""
    stream = stream or sys.stderr
    secrets = frozenset(secrets_of(config))
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Json(secrets) if config.log.format == "json" else Text(secrets, coloured=stream.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.log.level.upper())


def secrets_of(config: Config) -> Iterator[str]:
    """What the configuration knows and nobody may read: keys, secret headers, the passwords of outgoing proxies."""
    for provider in config.providers.values():
        if provider.key:
            yield provider.key
        yield from (value for name, value in provider.headers.items() if is_secret(name))
        if provider.proxy and (password := urlsplit(provider.proxy).password):
            yield password


def hidden(text: str, secrets: frozenset[str]) -> str:
    """`text` with the secrets, and whatever else has the form of a credential, replaced by `***`."""
    known = scrub(text.encode("utf-8", "surrogateescape"), secrets).decode("utf-8", "surrogateescape")
    return without_known_forms(known)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> Iterator[str]:
    if record.exc_info:
        yield formatter.formatException(record.exc_info)
    if record.stack_info:
        yield formatter.formatStack(record.stack_info)
