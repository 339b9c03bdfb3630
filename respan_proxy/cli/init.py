"""`respan-proxy init`: a configuration file to start from, every line of it explained and commented out."""

from __future__ import annotations

from pathlib import Path

import click


@click.command
@click.argument("file", default="config.toml", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def init(ctx: click.Context, /, file: Path) -> None:
    """Write a commented starter to FILE (config.toml). An existing file is left alone."""
    from respan_proxy.config.document import example

    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(example(commented=True))
    except FileExistsError:
        click.echo(f"{file} exists already and was left as it is; name another file, or look at it with: respan-proxy check", err=True)
        ctx.exit(1)
    except OSError as error:
        click.echo(f"{file} cannot be written: {error.strerror}", err=True)
        ctx.exit(1)
    click.echo(f"{file} is written; every line is a comment that shows a default. Then: respan-proxy check --config {file}")
