"""`respan-proxy explain MODEL`: where a name would go from each endpoint, and why, without asking a provider."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from respan_proxy.cli.settings import configured, settings_options
from respan_proxy.config import Config, Listen

# A proxy on this machine answers within milliseconds; without one this command says as much as before.
ASKED_S = 0.5

if TYPE_CHECKING:
    from respan_proxy.policy.routing import Route
    from respan_proxy.respan.endpoints import Endpoint


@click.command
@click.argument("model")
@click.option("--provider", metavar="NAME", help="As with the header X-Respan-Route-Provider.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@settings_options
@click.pass_context
def explain(ctx: click.Context, /, model: str, provider: str | None, as_json: bool, **_: str | None) -> None:
    """Say where MODEL would go and why. No provider is asked; a proxy that runs tells which of them rest."""
    config = configured(ctx)
    group = config.groups.get(model)
    names = [member.model for member in group.models] if group is not None else [model]
    rests = resting(config.listen)
    found = {name: with_rests(ways_of(name, config, provider), rests) for name in names}
    if as_json:
        listed = [{"model": name, "ways": ways} for name, ways in found.items()]
        click.echo(json.dumps({"model": model, "pick": group.pick, "models": listed} if group is not None else listed[0], indent=2))
    else:
        if group is not None:
            weights = ", ".join(f"{member.model} ({member.weight:g})" for member in group.models)
            click.echo(f"{model}, a group of models, with their weights: {weights}; pick: {group.pick}")
        click.echo("\n".join(told(name, ways) for name, ways in found.items()))
    if not any("provider" in way for ways in found.values() for way in ways):
        ctx.exit(1)


def ways_of(model: str, config: Config, pin: str | None = None) -> list[dict[str, Any]]:
    """One entry per endpoint: `endpoint`, `dialect`, and either `refused`, or `provider`, `model`, `url`, `reason`.

    `translated_to` where the provider is asked in another dialect, `profile` what is known about its model; `url_with_tools` and
    `translated_to_with_tools` where that depends on tools that are to be reasoned about.
    """
    from respan_proxy.errors import RequestRejected
    from respan_proxy.policy.routing import DOORS, TOOLS_TO_REASON_ABOUT, doors, route, spoken
    from respan_proxy.respan.endpoints import at_provider

    ways = []
    for endpoint in doors(model):
        way: dict[str, Any] = {"endpoint": DOORS[endpoint.dialect], "dialect": endpoint.dialect}
        try:
            found = route(model, endpoint, config, pin=pin)
            name = found.model or model
            dialect = spoken(found.provider, endpoint, name, config)

            def url_of(dialect: str, endpoint: Endpoint = endpoint, found: Route = found, name: str = name) -> str:
                path = endpoint.path if dialect == endpoint.dialect else at_provider(dialect, endpoint.kind)[0]
                return "in this process" if found.provider.built_in else found.provider.url(path, name, version=endpoint.version)

            way |= {"provider": found.provider.name, "model": name, "url": url_of(dialect), "reason": found.reason}
            with_tools = spoken(found.provider, endpoint, name, config, TOOLS_TO_REASON_ABOUT)
            if with_tools != dialect:
                way |= {"url_with_tools": url_of(with_tools), "translated_to_with_tools": with_tools}
            if not found.provider.built_in:
                way["profile"] = facts_of(found.provider.name, name, config)
            if dialect != endpoint.dialect:
                way["translated_to"] = dialect
        except RequestRejected as refusal:
            way["refused"] = str(refusal)
        ways.append(way)
    return ways


def resting(listen: Listen) -> list[dict[str, Any]]:
    """The targets that rest, as the running proxy tells in `/health/ready`; none when no proxy answers there."""
    import http.client
    import socket

    if listen.path is None and not listen.port:
        return []
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)
    connection = http.client.HTTPConnection(host or "localhost", listen.port or 80, timeout=ASKED_S)
    try:
        if listen.path is not None:
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.settimeout(ASKED_S)
            connection.sock.connect(listen.path)
        connection.request("GET", "/health/ready")
        told = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return []
    finally:
        connection.close()
    found = told.get("resting") if isinstance(told, dict) else None
    return [rest for rest in found if isinstance(rest, dict)] if isinstance(found, list) else []


def with_rests(ways: list[dict[str, Any]], rests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The ways, with `rests` where targets of theirs rest."""
    for way in ways:
        here = [
            rest for rest in rests if "provider" in way and (rest.get("provider"), rest.get("model")) == (way["provider"], way["model"])
        ]
        if here:
            way["rests"] = here
    return ways


def facts_of(provider: str, model: str, config: Config) -> dict[str, Any]:
    """What is known about a model where it differs from most, by the names that `[[profiles]]` has for it."""
    from respan_proxy.dialects.request import Profile

    profile, usual = config.profile(provider, model), Profile(model=model)
    known = {fact.name: getattr(profile, fact.name) for fact in fields(Profile)}
    return {name: _plain(value) for name, value in known.items() if value != getattr(usual, name)}


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else list(value) if isinstance(value, tuple) else value


def told(model: str, ways: list[dict[str, Any]]) -> str:
    """The ways in words: each outcome once, with the endpoints that come to it and where each would send the request."""
    outcomes: dict[str, list[str]] = {}
    for way in ways:
        if "provider" in way:
            more = _facts(way.get("profile", {})) + _rests(way.get("rests", []))
            outcome = f"to {way['provider']}, as model {way['model']!r}: {way['reason']}{more}"
            outcomes.setdefault(outcome, []).append(f"{way['endpoint']:<54}-> {way['url']}")
            if "url_with_tools" in way:
                outcomes[outcome].append(f"{'  with tools to reason about':<54}-> {way['url_with_tools']}")
        else:
            outcomes.setdefault(f"refused: {way['refused']}", []).append(way["endpoint"])
    return "\n".join([model, *(f"  {outcome}\n" + "\n".join(f"    {line}" for line in lines) for outcome, lines in outcomes.items())])


def _facts(facts: Mapping[str, Any]) -> str:
    from respan_proxy.config.kinds import literal

    return "\n    known of it: " + ", ".join(f"{name} = {literal(value)}" for name, value in facts.items()) if facts else ""


def _rests(rests: list[dict[str, Any]]) -> str:
    return "".join(
        f"\n    rests{' (' + str(rest['deployment']) + ')' if 'deployment' in rest else ''}, and is asked last: failed "
        f"{rest.get('failures')} times in a row, for another {rest.get('left_s')} s"
        for rest in rests
    )
