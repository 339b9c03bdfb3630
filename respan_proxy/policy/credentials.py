"""Owns the question whose credential goes where, and which strangers are refused at the door."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl

from multidict import MultiMapping

from respan_proxy.config import Config, Provider, digest, is_loopback
from respan_proxy.errors import Forbidden, MissingCredentials, Unauthorized
from respan_proxy.exchange import Caller

_KEY_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")


def identify(headers: MultiMapping[str], query: str, config: Config) -> Caller:
    """Who asks. With `[[keys]]`: the key that the request carries, in whatever header; Unauthorized when it carries none of them.

    Without: everybody, as admin, and the credential is kept as the caller's own, to be forwarded where its form fits.
    """
    presented = list(_presented(headers, query))
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


def refuse_strangers(headers: MultiMapping[str], config: Config) -> None:
    """On a keyless loopback, raise Forbidden for what a website of somebody else's may have sent through this user's browser.

    A foreign `Host` is DNS rebinding, a foreign `Origin` or `Sec-Fetch-Site: cross-site` a script or form on another page. Programs
    send none of these. Behind a unix socket the host's name means nothing, and no browser gets there by itself.
    """
    if config.keys or not config.listen.is_loopback:
        return
    host = headers.get("Host", "").lower()
    if host and config.listen.path is None and not _is_ours(host, config):
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


def _presented(headers: MultiMapping[str], query: str) -> Iterator[str]:
    """Every credential a request carries: `Authorization` with or without `Bearer`, the providers' own headers, Google's `?key=`."""
    for value in headers.getall("Authorization", ()):
        scheme, _, rest = value.strip().partition(" ")
        if credential := rest.strip() if scheme.lower() == "bearer" else value.strip():
            yield credential
    for name in _KEY_HEADERS:
        for value in headers.getall(name, ()):
            if credential := value.strip():
                yield credential
    if "key=" in query:
        for name, value in parse_qsl(query):
            if name == "key":
                yield value


def _own(presented: list[str], config: Config) -> str | None:
    """The credential that some provider would know as its own, else the first. Clients often send a placeholder beside the real one."""
    for credential in presented if len(presented) > 1 else ():
        if any(provider.key_pattern.match(credential) for provider in config.providers.values()):
            return credential
    return presented[0] if presented else None
