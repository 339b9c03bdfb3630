"""`respan-proxy check`: what would be served, or every mistake; never a key."""

from __future__ import annotations

from collections.abc import Iterator

import click

from respan_proxy.cli.settings import configured, settings_options
from respan_proxy.config import Config, Provider


@click.command
@settings_options
@click.pass_context
def check(ctx: click.Context, /, **_: str | None) -> None:
    """Print what would be served; exit status 1 and every mistake when the configuration is not fit."""
    config = configured(ctx)
    for line in report(config):
        click.echo(line)
    for warning in (*config.warnings, *leading_nowhere(config)):
        click.echo(f"warning: {warning}", err=True)


def report(config: Config) -> Iterator[str]:
    who = "this machine only" if config.listen.is_loopback else "other machines too"
    kept = " and ".join(_limit for _limit in (_days(config.retention.age_days), _gigabytes(config.retention.size_bytes)) if _limit)
    yield f"listen      {config.listen} ({who})"
    if beside := config.telemetry.listen:
        yield f"spans       {beside} too ({'this machine only' if beside.is_loopback else 'other machines too'})"
    yield f"database    {config.database}"
    yield f"content     {config.content}, kept {f'up to {kept}' if kept else 'for ever'}"
    yield "providers"
    remote = [provider for provider in config.providers.values() if not provider.built_in]
    rows = [(one.name, _credential(one), ", ".join(one.dialects), one.base_url) for one in sorted(remote, key=lambda one: not one.usable)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
    if not config.has_provider_key:
        yield "  no provider has a key: known models are answered by the built-in provider echo, and say so"
    yield f"keys        {'' if config.keys else 'none of our own: everybody on this machine gets in'}".rstrip()
    for key in config.keys:
        limits = f", {key.allowance}" if key.allowance else ""
        yield f"  {key.name:<14}{key.environment or 'no environment'}{', admin' if key.is_admin else ''}{limits}"
    if config.customers:
        yield "customers"
    for glob, allowance in config.customers.items():
        yield f"  {glob:<14}{str(allowance) or 'no limit'}"
    if config.budgets.max_usd_per_day:
        yield f"budget      ${config.budgets.max_usd_per_day:g} a day, all calls together"
    yield f"models      {'' if config.models else 'no routes of our own'}".rstrip()
    for name, to in config.models.items():
        yield f"  {name} -> {to}"
    if config.default_model:
        yield f"  every name that nobody serves -> {config.default_model}"
    if config.exports:
        yield "exports"
    for export in config.exports:
        said = "with what was said" if export.content == "full" else "nothing that was said"
        yield f"  {export.name:<14}{export.endpoint} ({said})"
    for rule in config.profiles:
        about = f"{', '.join(rule.models.patterns)} at {', '.join(rule.providers.patterns)}"
        yield f"profile     {about}: {', '.join(rule.facts) or 'nothing said'}"


def leading_nowhere(config: Config) -> Iterator[str]:
    """Routes whose end no provider serves."""
    from respan_proxy.errors import RequestRejected
    from respan_proxy.policy.routing import doors, route

    names = [(f"models.{name}", name) for name in config.models]
    if config.default_model:
        names.append(("server.default_model", config.default_model))
    for where, name in names:
        refusals = []
        for endpoint in doors(name):
            try:
                route(name, endpoint, config)
                break
            except RequestRejected as refusal:
                refusals.append(refusal)
        else:
            # Behind the wrong door the refusal speaks of the door; the others speak of the name.
            refusals.sort(key=lambda refusal: refusal.code == "dialect_not_supported")
            yield f"{where} leads nowhere: {refusals[0]}"


def _credential(provider: Provider) -> str:
    if provider.key is not None:
        return "key set"
    if provider.token_command:
        return f"token from {provider.token_command[0]}"
    if provider.auth.header is None:
        return "needs no key"
    return f"no key ({' or '.join(provider.key_env) or 'set key'})"


def _days(days: float) -> str:
    return f"{days:g} days" if days else ""


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:g} GB" if size else ""
