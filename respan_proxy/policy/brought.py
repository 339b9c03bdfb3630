"""Owns the reading of credentials that a request brings along: which of them is for whom. They are used for this one call.

Source of the forms: Respan's documentation of `customer_credentials`, `credential_override`, `customer_api_keys` (provider keys by
provider, by exact model string, by model) and of the `credentials` of a load-balancing item.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from respan_proxy.config import Config, digest
from respan_proxy.config.kinds import URL, Unfit
from respan_proxy.dialects import catalog
from respan_proxy.dialects.catalog import NOTHING, Globs
from respan_proxy.errors import MissingCredentials, RequestRejected
from respan_proxy.frozen import frozen
from respan_proxy.respan.params import CREDENTIALS

_SECRETS = ("api_key", "token", "access_token", "aws_bearer_token", "aws_bearer_token_bedrock")
_PLACES = ("api_base", "base_url")

# These become part of a path.
_NAME = re.compile(r"[\w.:-]*", re.ASCII)

# What we do not sign with: the bearer form is the way in.
_SIGNING: Mapping[str, str] = {
    "aws_access_key_id": "a Bedrock API key as api_key (AWS_BEARER_TOKEN_BEDROCK)",
    "aws_secret_access_key": "a Bedrock API key as api_key (AWS_BEARER_TOKEN_BEDROCK)",
    "vertex_ai_credentials": "an access token as api_key (gcloud auth print-access-token)",
}


@frozen
class Credential:
    """A secret and, where it says so, the place it is for; what is empty is as the provider has it."""

    secret: str | None = field(default=None, repr=False)
    base_url: str = ""
    api_version: str = ""
    project: str = ""
    location: str = ""


@frozen
class Share:
    """One of the customer's deployments: credentials by provider, with its weight and the models that it serves."""

    credentials: Mapping[str, Credential]
    name: str = "customer"
    weight: float = 1.0
    models: Globs = NOTHING
    exclude_models: Globs = NOTHING

    def serves(self, model: str | None) -> bool:
        if model is None:
            return True
        return (not self.models or self.models.match(model)) and not self.exclude_models.match(model)


@frozen
class Brought:
    """What a request brings, in the order in which it counts: for exactly this model, for an item, for this model, for the provider."""

    override: Mapping[str, Credential] = field(default_factory=dict)
    item: Mapping[str, Credential] | Credential | None = None
    """What an item of a load-balancing list brings for its own model: one credential, or one by provider."""
    by_model: Mapping[str, Credential] = field(default_factory=dict)
    shares: tuple[Share, ...] = ()

    def for_model(self, *names: str | None, provider: str | None = None) -> Credential | None:
        """The credential for a model that is asked for under one of these names, at `provider` if that is known already."""
        if (found := _first(self.override, names)) is not None:
            return found
        if isinstance(self.item, Credential):
            return self.item
        if self.item is not None and provider is not None and (found := self.item.get(provider)) is not None:
            return found
        return _first(self.by_model, names)

    def for_provider(self, provider: str, model: str | None) -> list[tuple[Share, Credential]]:
        return [(share, found) for share in self.shares if (found := share.credentials.get(provider)) and share.serves(model)]

    @property
    def providers(self) -> frozenset[str]:
        named = frozenset(name for share in self.shares for name in share.credentials)
        return named.union(self.item) if isinstance(self.item, Mapping) else named


def _first(table: Mapping[str, Credential], names: tuple[str | None, ...]) -> Credential | None:
    return next((table[name] for name in names if name is not None and name in table), None)


NOTHING_BROUGHT = Brought()


def read(values: Mapping[str, Any], config: Config, *, may_place: bool) -> Brought:
    """The credentials among Respan's parameters. `may_place`: the caller may say where a provider is.

    RequestRejected names what is of another form, MissingCredentials what we do not sign with. A key of this proxy is nobody's credential.
    """
    if values.keys().isdisjoint(CREDENTIALS):
        return NOTHING_BROUGHT
    reading = _Reading(config, may_place)
    stated = values.get("customer_credentials") or {}
    listed = stated if isinstance(stated, list) else [{"credentials": stated}]
    return Brought(
        reading.table(values.get("credential_override") or {}, "credential_override"),
        by_model=reading.table(values.get("customer_api_keys") or {}, "customer_api_keys"),
        shares=tuple(reading.share(item, f"customer_credentials[{place}]", place, len(listed)) for place, item in enumerate(listed)),
    )


def read_one(value: object, where: str, config: Config, *, may_place: bool) -> Mapping[str, Credential] | Credential:
    """The `credentials` of a load-balancing item: one, or one by provider."""
    reading = _Reading(config, may_place)
    if isinstance(value, Mapping) and value and all(isinstance(inner, Mapping) for inner in value.values()):
        return reading.by_provider(value, where)
    return reading.credential(value, where)


class _Reading:
    def __init__(self, config: Config, may_place: bool) -> None:
        self._config = config
        self._may_place = may_place

    def table(self, found: Mapping[str, Any], where: str) -> dict[str, Credential]:
        return {name: self.credential(value, f"{where}.{name}") for name, value in found.items()}

    def by_provider(self, found: Mapping[str, Any], where: str) -> dict[str, Credential]:
        """Under our names for the providers: `azure`, `google_vertex_ai` and their like are aliases."""
        known = catalog.names()
        return {known.get(name.strip().lower(), name): self.credential(value, f"{where}.{name}") for name, value in found.items()}

    def share(self, item: object, where: str, place: int, of: int) -> Share:
        if not isinstance(item, Mapping) or not isinstance(inner := item.get("credentials", {}), Mapping):
            raise _wrong(where, "an object with credentials by provider")
        weight = item.get("weight", 1)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
            raise _wrong(f"{where}.weight", "a number above 0")
        globs = []
        for name in ("available_models", "exclude_models"):
            models = item.get(name) or []
            if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
                raise _wrong(f"{where}.{name}", "an array of models' names")
            globs.append(Globs(tuple(models)))
        return Share(self.by_provider(inner, where), "customer" if of == 1 else f"customer-{place + 1}", float(weight), globs[0], globs[1])

    def credential(self, value: object, where: str) -> Credential:
        if isinstance(value, str):
            return Credential(self._secret(value, where))
        if not isinstance(value, Mapping):
            raise _wrong(where, "a key, or an object with an api_key")
        for name, instead in _SIGNING.items():
            if value.get(name):
                raise MissingCredentials(
                    f"{where}: found {name}, which this proxy does not sign with; expected {instead}",
                    param=where,
                    code="missing_credentials",
                )
        secret = next((value[name] for name in _SECRETS if value.get(name)), None)
        base_url = next((value[name] for name in _PLACES if value.get(name)), "")
        if base_url:
            try:
                base_url = URL.read(base_url)
            except Unfit:
                raise _wrong(f"{where}.api_base", URL.expected) from None
        if base_url and not self._may_place:
            raise RequestRejected(
                f"{where}.api_base: only an admin's key may say where a provider is", status=403, kind="permission", param=where
            )
        if secret is None and base_url:
            raise MissingCredentials(f"{where}: found an api_base and no api_key for it", param=where, code="missing_credentials")
        texts = [value.get(name) or "" for name in ("api_version", "vertex_ai_project", "vertex_ai_location", "aws_region_name")]
        if not all(isinstance(text, str) and _NAME.fullmatch(text) for text in texts):
            raise _wrong(where, "names of a version, a project and a location (letters, digits, . _ : -)")
        version, project, location, region = texts
        return Credential(self._secret(secret, where), base_url, version, project, location or region)

    def _secret(self, value: object, where: str) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
            raise _wrong(where, "a key (printable ASCII, no spaces)")
        if self._config.keys and any(key.fits(digest(value)) for key in self._config.keys):
            raise _wrong(where, "a provider's key: this one is this proxy's own")
        return value


def _wrong(where: str, expected: str) -> RequestRejected:
    """Says nothing of what was found: it may be a secret."""
    return RequestRejected(f"{where}: found something else, expected {expected}", param=where, code="invalid_value")
