"""Owns the question whose credential goes where, and which strangers are refused at the door."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from urllib.parse import parse_qsl

from multidict import MultiMapping

from respan_proxy.config import Config, Deployment, Listen, Provider, digest, is_loopback
from respan_proxy.config.provider_tables import with_path
from respan_proxy.dialects import catalog
from respan_proxy.dialects.catalog import ProviderRow
from respan_proxy.errors import Forbidden, MissingCredentials, Unauthorized
from respan_proxy.exchange import Caller
from respan_proxy.frozen import frozen
from respan_proxy.policy.brought import NOTHING_BROUGHT, Brought, Credential

_KEY_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")


def identify(headers: MultiMapping[str], query: str, config: Config) -> Caller:
    """Who asks. With `[[keys]]`: the key that the request carries, in whatever header; Unauthorized when it carries none of them.

    Without: everybody, as admin, and the credential is kept as the caller's own, to be forwarded where its form fits.
    """
    presented = _presented(headers, query)
    if config.any_key:
        return Caller(is_admin=True, credential=_own(presented, config))
    for credential in presented:
        hashed = digest(credential)
        for key in config.keys:
            if key.fits(hashed):
                return Caller(key_id=key.id, key_name=key.name, environment=key.environment, is_admin=key.is_admin)
    raise Unauthorized(
        "Your API key is invalid or expired: it is none of this proxy's [[keys]]"
        if presented
        else "Authentication credentials were not provided: this proxy expects one of its [[keys]], as 'Authorization: Bearer KEY'",
        code="invalid_api_key",
    )


def secret_for(provider: Provider, caller: Caller, config: Config, dialect: str) -> tuple[str | None, bool]:
    """(what the call travels with, whether that is the caller's own): the provider's configured key, else the caller's credential.

    `dialect` is the endpoint's. MissingCredentials (424) when the provider needs a key and there is none; it names the variable to set.
    """
    if provider.built_in or provider.auth.header is None:
        return None, False
    if provider.has_key:
        return provider.key, False  # None where a command prints it
    if may_forward(provider, caller.credential, config, dialect):
        return caller.credential, True
    raise missing(provider)


@frozen
class Access:
    """What a call travels with: the provider as this credential has it, the secret, and how rows call it when there are several."""

    provider: Provider
    secret: str | None = field(default=None, repr=False)
    is_callers: bool = False
    deployment: str | None = None
    weight: float = 1.0


def accesses(
    provider: Provider, model: str | None, names: Sequence[str | None], caller: Caller, config: Config, dialect: str, brought: Brought
) -> list[Access]:
    """Every way to a provider's model, in no order: one, or as many as there are deployments. `names` are those it is asked for by.

    What the request brings comes first: for the model, then for the provider; then what is configured, then the caller's own key.
    MissingCredentials (424) when there is none.
    """
    if brought is not NOTHING_BROUGHT and (found := brought.for_model(*names, provider=provider.name)) is not None:
        return [_with(provider, found, "customer")]
    if brought.shares and (shares := brought.for_provider(provider.name, model)):
        return [_with(provider, one, share.name, share.weight) for share, one in shares]
    if serving := [one for one in provider.deployments if one.serves(model)]:
        return [_deployed(provider, one) for one in serving]
    if provider.deployments:
        told = ", ".join(one.name for one in provider.deployments)
        raise MissingCredentials(f"no deployment of provider {provider.name!r} serves {model!r}: there are {told}", param="model")
    secret, is_callers = secret_for(provider, caller, config, dialect)
    return [Access(provider, secret, is_callers)]


def _deployed(provider: Provider, one: Deployment) -> Access:
    where = moved(provider, one.base_url, one.api_version) if one.base_url or one.api_version else provider
    return Access(replace(where, headers=provider.headers), one.key or provider.key, False, one.name, one.weight)


def _with(provider: Provider, credential: Credential, name: str, weight: float = 1.0) -> Access:
    where = moved(provider, credential.base_url, credential.api_version) if credential.base_url or credential.api_version else provider
    if credential.project or credential.location:
        where = replace(where, project=credential.project or where.project, location=credential.location or where.location)
    if not where.base_url:
        raise MissingCredentials(f"the credentials for provider {provider.name!r} name no api_base, and none is configured", param="model")
    if credential.secret is None:
        raise MissingCredentials(f"the credentials for provider {provider.name!r} hold no api_key", param="model")
    # Whoever brings a secret is sent with that: a token of ours would go along to wherever they point.
    return Access(replace(where, key=None, token_command=()), credential.secret, True, name, weight)


def moved(provider: Provider, base_url: str, api_version: str) -> Provider:
    """The provider at another place, or asked for another version of its API.

    Its headers stay behind when it moves: they were meant for its own place, and may hold a secret.
    """
    if not base_url:
        return replace(provider, api_version=api_version)
    row = catalog.providers().get(provider.name, ProviderRow(provider.name))
    place = with_path(base_url.rstrip("/"), row)
    if row.api_version and place.endswith("/openai/v1"):
        # Azure's newer surface is OpenAI's own: no deployments in the path, no api-version.
        return replace(provider, base_url=place, paths={}, api_version=api_version, headers={}, placed=True)
    return replace(provider, base_url=place, api_version=api_version or provider.api_version, headers={}, placed=True)


def may_forward(provider: Provider, credential: str | None, config: Config, dialect: str) -> bool:
    """Whether a caller's credential may go to `provider`: only while we have no keys of our own, and only in that provider's form.

    Forms that other services use too (JSON web tokens, OAuth tokens) count only where the caller speaks the provider's own dialect.
    """
    if credential is None or not config.any_key or provider.caller_keys == "never":
        return False
    if not provider.key_pattern.match(credential):
        return False
    return provider.speaks(dialect) or not provider.bearer_keys.match(credential)


def may_forward_anywhere(credential: str | None, config: Config, dialect: str) -> bool:
    return any(may_forward(provider, credential, config, dialect) for provider in config.providers.values())


def missing(provider: Provider) -> MissingCredentials:
    ways = [*provider.key_env, f"providers.{provider.name}.key"]
    because = f"; expected {provider.key_form}" if provider.key_form else ""
    return MissingCredentials(
        f"No credentials configured for provider {provider.name!r}: set {' or '.join(ways)}{because}",
        param="model",
        code="missing_credentials",
    )


def auth_headers(provider: Provider, secret: str | None) -> dict[str, str]:
    """How `secret` is written for `provider`: in its own header, or as a bearer when it has the form of a token."""
    if secret is None or provider.auth.header is None:
        return {}
    if provider.bearer_keys.match(secret):
        return {"Authorization": f"Bearer {secret}"}
    told = {provider.auth.header: provider.auth.prefix + secret}
    return told | {provider.auth_also: secret} if provider.auth_also else told


def refuse_strangers(headers: MultiMapping[str], config: Config, listen: Listen | None = None) -> None:
    """On a keyless loopback, raise Forbidden for what a website of somebody else's may have sent through this user's browser.

    A foreign `Host` is DNS rebinding, a foreign `Origin` or `Sec-Fetch-Site: cross-site` a script or form on another page. Programs
    send none of these. Behind a unix socket the host's name means nothing, and no browser gets there by itself. `listen` is the
    address that it came to, where there are two.
    """
    listen = listen or config.listen
    if config.keys or not listen.is_loopback:
        return
    host = headers.get("Host", "").lower()
    if host and listen.path is None and not _is_ours(host, config):
        raise Forbidden(f"this proxy has no keys and answers only to this machine: Host {host!r} is not in server.allowed_hosts")
    origin = headers.get("Origin")
    if origin is not None:
        if origin in config.allowed_origins:
            return
        if origin.lower() not in (f"http://{host}", f"https://{host}"):
            raise Forbidden(f"web pages may not call this proxy: Origin {origin!r} is not in server.allowed_origins")
    if headers.get("Sec-Fetch-Site", "").lower() == "cross-site":
        raise Forbidden("web pages may not call this proxy: the browser says that another site sent this (Sec-Fetch-Site: cross-site)")


def _is_ours(host: str, config: Config) -> bool:
    name = host[: host.rindex("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    return is_loopback(name) or any(allowed.lower() in (name, host) for allowed in config.allowed_hosts)


def _presented(headers: MultiMapping[str], query: str) -> list[str]:
    """Every credential a request carries: `Authorization` with or without `Bearer`, the providers' own headers, Google's `?key=`."""
    found: list[str] = []
    if "Authorization" in headers:
        for value in headers.getall("Authorization"):
            scheme, _, rest = value.strip().partition(" ")
            found.append(rest.strip() if scheme.lower() == "bearer" else value.strip())
    for name in _KEY_HEADERS:
        if name in headers:
            found += map(str.strip, headers.getall(name))
    found = [credential for credential in found if credential]
    if "key=" in query:
        found += (value for name, value in parse_qsl(query) if name == "key")
    return found


def _own(presented: list[str], config: Config) -> str | None:
    """The credential that some provider would know as its own, else the first. Clients often send a placeholder beside the real one."""
    for credential in presented if len(presented) > 1 else ():
        if any(provider.key_pattern.match(credential) for provider in config.providers.values()):
            return credential
    return presented[0] if presented else None
