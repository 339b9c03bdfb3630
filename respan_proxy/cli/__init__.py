"""Owns the command line's frame: the table of commands, each imported when it is called, and what happens without one."""

from __future__ import annotations

from importlib import import_module

import click

from respan_proxy import __version__
from respan_proxy.cli.settings import settings_options

# name -> (where its click command is, one line of help). `--help` reads this table and imports none of them.
COMMANDS = {
    "serve": ("respan_proxy.cli.serve:serve", "Serve; what happens without a command."),
    "check": ("respan_proxy.cli.check:check", "Print what would be served, or every mistake of the configuration."),
    "init": ("respan_proxy.cli.init:init", "Write a commented configuration file to start from."),
    "explain": ("respan_proxy.cli.explain:explain", "Say where a model's name would go, and why; sends nothing."),
    "logs": ("respan_proxy.cli.logs:logs", "List remembered calls, follow them, or show one whole."),
    "traces": ("respan_proxy.cli.traces:traces", "List what belongs together, or show one trace as a tree."),
}


class Commands(click.Group):
    """A group whose commands are imported when first needed, and which names the nearest for one it does not know."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in COMMANDS or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        from difflib import get_close_matches

        near = get_close_matches(args[0], COMMANDS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}."
        raise click.UsageError(f"no command {args[0]!r}; {hint}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Options before a command count for it too. Variables: RESPAN_PROXY_CONFIG, _LISTEN, _DATABASE, _KEYS, _<PROVIDER>_BASE_URL.",
)
@click.version_option(__version__, "--version", message="respan-proxy %(version)s")
@settings_options
@click.pass_context
def main(ctx: click.Context, /, **_: str | None) -> None:
    """One base URL in front of every model provider; every call remembered."""
    if ctx.invoked_subcommand is None:
        command = Commands.get_command(main, ctx, "serve")
        assert command is not None
        ctx.invoke(command)
