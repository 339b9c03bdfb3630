"""Owns where the configuration comes from: flags, the environment, the nearest `.env`, the file.

It imports nothing heavy: `check` and `explain` need it too.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from respan_proxy.config import Config, parse, parse_env_file
from respan_proxy.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says; each wins over the environment, which wins over the file."""

    config_path: str | None = None
    listen: str | None = None
    database: str | None = None


def load(settings: Settings, environ: Mapping[str, str]) -> Config:
    """The configuration as it stands now. `ConfigError` with every mistake."""
    env_file = _nearest_env_file(Path.cwd())
    beside = parse_env_file(env_file.read_text("utf-8", "replace")) if env_file else {}
    merged = {**beside, **environ}
    path = _config_path(settings, merged)
    mapping: dict[str, Any] = {}
    if path is not None:
        try:
            mapping = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError([f"{path}: is not TOML: {error}"]) from error
    flags = {name: value for name, value in (("listen", settings.listen), ("database", settings.database)) if value is not None}
    places = {name: str(env_file) for name in beside if name not in environ}
    config = parse(mapping, merged, str(path or "config.toml"), flags, places=places)
    if problems := list(_unreadable(config, str(path))):
        raise ConfigError(problems)
    return config


def _unreadable(config: Config, source: str) -> Iterator[str]:
    """Files that the configuration names and that cannot be read: a call would find out too late."""
    for provider in config.providers.values():
        if provider.ca_file and not os.access(provider.ca_file, os.R_OK):
            yield f"{source}: providers.{provider.name}.ca_file: found {provider.ca_file!r}, expected a file that can be read"


def _config_path(settings: Settings, environ: Mapping[str, str]) -> Path | None:
    """The file that was named, else `config.toml` here if there is one."""
    named = settings.config_path or environ.get("RESPAN_PROXY_CONFIG")
    if named:
        return Path(named)
    here = Path("config.toml")
    return here if here.is_file() else None


def _nearest_env_file(folder: Path) -> Path | None:
    """`.env` here or in the nearest folder above, as python-dotenv finds it."""
    for candidate in (folder, *folder.parents):
        if (path := candidate / ".env").is_file() and os.access(path, os.R_OK):
            return path
    return None
