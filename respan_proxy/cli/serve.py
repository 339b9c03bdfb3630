"""`respan-proxy serve`: the proxy itself, in the foreground, until SIGTERM or SIGINT."""

from __future__ import annotations

import click

from respan_proxy.cli.settings import settings, settings_options


@click.command
@settings_options
@click.pass_context
def serve(ctx: click.Context, /, **_: str | None) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reads the configuration again."""
    from respan_proxy.app import run

    ctx.exit(run(settings(ctx)))
