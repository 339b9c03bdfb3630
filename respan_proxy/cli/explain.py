"""`respan-proxy explain MODEL`: where a name would go from each endpoint, and why, without sending anything."""

from __future__ import annotations

import json

import click

from respan_proxy.cli.settings import configured, settings_options
from respan_proxy.config import Config


@click.command
@click.argument("model")
@click.option("--provider", metavar="NAME", help="As with the header X-Respan-Route-Provider.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@settings_options
@click.pass_context
def explain(ctx: click.Context, /, model: str, provider: str | None, as_json: bool, **_: str | None) -> None:
    """Say where MODEL would go and why. Nothing is sent: what providers list themselves is not asked."""
    ways = ways_of(model, configured(ctx), provider)
    if as_json:
        click.echo(json.dumps({"model": model, "ways": ways}, indent=2))
    else:
        click.echo(told(model, ways))
    if not any("provider" in way for way in ways):
        ctx.exit(1)


def ways_of(model: str, config: Config, pin: str | None = None) -> list[dict[str, str]]:
    """One entry per endpoint: `endpoint`, `dialect`, and either `provider`, `model`, `url`, `reason` (and `translated_to`) or `refused`."""
    from respan_proxy.errors import RequestRejected
    from respan_proxy.policy.routing import DOORS, doors, route, spoken
    from respan_proxy.respan.endpoints import at_provider

    ways = []
    for endpoint in doors(model):
        way = {"endpoint": DOORS[endpoint.dialect], "dialect": endpoint.dialect}
        try:
            found = route(model, endpoint, config, pin=pin)
            name = found.model or model
            dialect = spoken(found.provider, endpoint, name)
            path = endpoint.path if dialect == endpoint.dialect else at_provider(dialect, endpoint.kind)[0]
            url = "in this process" if found.provider.built_in else found.provider.url(path, name, version=endpoint.version)
            way |= {"provider": found.provider.name, "model": name, "url": url, "reason": found.reason}
            if dialect != endpoint.dialect:
                way["translated_to"] = dialect
        except RequestRejected as refusal:
            way["refused"] = str(refusal)
        ways.append(way)
    return ways


def told(model: str, ways: list[dict[str, str]]) -> str:
    """The ways in words: each outcome once, with the endpoints that come to it and where each would send the request."""
    outcomes: dict[str, list[str]] = {}
    for way in ways:
        if "provider" in way:
            outcome = f"to {way['provider']}, as model {way['model']!r}: {way['reason']}"
            outcomes.setdefault(outcome, []).append(f"{way['endpoint']:<54}-> {way['url']}")
        else:
            outcomes.setdefault(f"refused: {way['refused']}", []).append(way["endpoint"])
    return "\n".join([model, *(f"  {outcome}\n" + "\n".join(f"    {line}" for line in lines) for outcome, lines in outcomes.items())])
