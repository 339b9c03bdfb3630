"""Owns the options that every command takes which needs the configuration, before or after the command's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

from respan_proxy.errors import ConfigError

if TYPE_CHECKING:
    from respan_proxy.config import Config
    from respan_proxy.loading import Settings

Command = TypeVar("Command", bound=Callable[..., object])


def settings_options(command: Command) -> Command:
    """`--config`, `--listen`, `--database`."""
    for option in (
        click.option("--database", metavar="FILE", help="The SQLite file."),
        click.option("--listen", metavar="HOST:PORT|unix:PATH", help="Where callers reach the proxy."),
        click.option("--config", metavar="FILE", help="The configuration; config.toml here, if there is one."),
    ):
        command = option(command)
    return command


def settings(ctx: click.Context) -> Settings:
    """What the flags say, those behind the command's name before those in front of it."""
    from respan_proxy.loading import Settings

    def flag(name: str) -> str | None:
        here: click.Context | None = ctx
        while here is not None:
            if (value := here.params.get(name)) is not None:
                return str(value)
            here = here.parent
        return None

    return Settings(config_path=flag("config"), listen=flag("listen"), database=flag("database"))


def configured(ctx: click.Context) -> Config:
    """The configuration as `serve` would have it; ends the command with exit status 1 and every mistake otherwise."""
    import os

    from respan_proxy.loading import load

    try:
        return load(settings(ctx), os.environ)
    except ConfigError as error:
        refuse(ctx, error.problems)


def refuse(ctx: click.Context, problems: list[str]) -> NoReturn:
    for problem in problems:
        click.echo(problem, err=True)
    ctx.exit(1)
