"""Owns the question where a model's name leads: routes and aliases, `provider/model`, the family, the provider that lists it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from respan_proxy.config import Config, Provider
from respan_proxy.dialects import catalog
from respan_proxy.dialects.crossing import offers_search
from respan_proxy.dialects.request import Profile
from respan_proxy.errors import MissingCredentials, RequestRejected, UnknownModel
from respan_proxy.policy.credentials import may_forward, may_forward_anywhere, missing
from respan_proxy.respan.endpoints import Endpoint, match

# Where each dialect is spoken here: named when a request came in by the wrong door.
DOORS = {
    "openai.chat": "/api/chat/completions",
    "openai.responses": "/api/responses",
    "anthropic.messages": "/api/anthropic/v1/messages",
    "gemini": "/api/google/gemini/v1/models/{model}:generateContent",
}

# Kinds of endpoint that cannot be served without knowing the model.
_NEED_A_MODEL = frozenset({"generate", "embed", "count"})

NO_LISTS: Mapping[str, Collection[str]] = {}
NOTHING_BROUGHT: frozenset[str] = frozenset()
NO_MEMBERS: Mapping[str, object] = {}
TOOLS_TO_REASON_ABOUT: Mapping[str, object] = {"tools": [{}], "reasoning_effort": "low"}
"""The members of a request that `Profile.dialect_for` "reasoned_tools" is about, for who explains it."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes, the model's name there, and why, in words for people. `warnings` are short (`what:became`), for a header.

    `stands_in`: echo answers for want of any key.
    """

    provider: Provider
    model: str | None
    reason: str
    warnings: tuple[str, ...] = ()
    stands_in: bool = False


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the decision depends on besides the name."""

    endpoint: Endpoint
    config: Config
    listed: Mapping[str, Collection[str]]
    credential: str | None
    brought: frozenset[str] | None

    def can_pay(self, provider: Provider) -> bool:
        if self.brought is None or provider.name in self.brought:
            return True
        return provider.usable or may_forward(provider, self.credential, self.config, self.endpoint.dialect)

    def rank(self, route: Route) -> tuple[bool, bool, bool]:
        """Among equals: who has a credential, then whose native path this is, then who speaks the caller's dialect."""
        provider = route.provider
        return not self.can_pay(provider), provider.name != self.endpoint.provider, not provider.speaks(self.endpoint.dialect, route.model)


def route(
    model: str | None,
    endpoint: Endpoint,
    config: Config,
    *,
    listed: Mapping[str, Collection[str]] = NO_LISTS,
    pin: str | None = None,
    credential: str | None = None,
    brought: frozenset[str] | None = NOTHING_BROUGHT,
) -> Route:
    """The provider for a request and the model's name there. Decides only; sends nothing.

    `listed` is what providers say they have, by provider; `pin` is X-Respan-Route-Provider; `credential` the caller's own, if any;
    `brought` the providers that the request brings credentials for (None: for whichever serves the model).
    UnknownModel (404) names the nearest; MissingCredentials (424) the variable to set; RequestRejected says which endpoint to use for a
    provider that does not speak this one's dialect.
    """
    asked = _Asked(endpoint, config, listed, credential, brought)
    if endpoint.is_relay:
        pin = endpoint.provider
    if pin is not None:
        return _checked(_pinned(pin, model, asked), asked)
    if model is None:
        return _nameless(asked)
    found = _found(model, asked)
    if found is not None and asked.can_pay(found.provider):
        return _checked(found, asked)
    name = found.model if found is not None else model
    if simulated := _stand_in(found.provider if found is not None else None, name, asked):
        return simulated
    if instead := _default(model, asked):
        return instead
    if found is not None:
        raise missing(found.provider)
    _refuse_absent(model.partition("/")[0], config)
    raise UnknownModel(_unknown(model, asked), param="model", code="model_not_found")


def doors(model: str) -> Iterator[Endpoint]:
    """The endpoints at which a model may be asked for, one per dialect."""
    for path in DOORS.values():
        if (endpoint := match("POST", path.replace("{model}", quote(model, safe="@/:")))) is not None:
            yield endpoint


def is_known(model: str) -> bool:
    """Whether a name belongs to somebody we have heard of: by heart, or by its family."""
    head, _, rest = model.partition("/")
    # Some providers' own names begin with another's: groq's openai/gpt-oss-20b.
    spellings = [model, rest] if rest and head.lower() in catalog.names() else [model]
    if any(name in names for names in catalog.models().values() for name in spellings):
        return True
    return any(catalog.Globs(row.families).match(name) for row in catalog.providers().values() for name in spellings)


def _found(model: str, asked: _Asked) -> Route | None:
    """The best route of the first tier that has one with a credential; without any such, the best of the first tier."""
    first: Route | None = None
    for tier in _tiers(model, asked):
        best = tier[0] if len(tier) == 1 else min(tier, key=asked.rank, default=None)
        if best is not None and asked.can_pay(best.provider):
            return best
        first = first or best
    return first


def _tiers(model: str, asked: _Asked) -> Iterator[list[Route]]:
    """What may serve a name, in the order of precedence; each tier is asked for only when the ones before it gave nothing."""
    config = asked.config
    name, why = model, ""
    while name in config.models:
        name, why = config.models[name], f"[models] says {name!r} is {config.models[name]!r}; "
    named, family = config.serving(name)
    if named:
        yield [Route(provider, name, f"{why}providers.{provider.name}.models names it") for provider in named]

    head, _, rest = name.partition("/")
    if rest and (provider := config.provider(head)) is not None:
        # Some providers' own names begin with their name: openrouter/auto, groq/compound. Echo's all do.
        whole = provider.built_in or name in asked.listed.get(provider.name, ())
        yield [Route(provider, name if whole else rest, f"{why}{head!r} in front of the name says so")]

    if family:
        # A name never goes to a provider of another family, even if that one claims to have it.
        yield [Route(provider, name, f"{why}{name!r} belongs to the family of {provider.name}") for provider in family]
        return

    # Ollama lists `llama3:latest` and answers to `llama3`.
    spellings = {name, f"{name}:latest"}
    yield [
        Route(provider, name, f"{why}{provider.name} lists it")
        for provider in config.providers.values()
        if not spellings.isdisjoint(asked.listed.get(provider.name, ()))
    ]


def _pinned(pin: str, model: str | None, asked: _Asked) -> Route:
    provider = asked.config.provider(pin)
    if provider is None:
        _refuse_absent(pin, asked.config)
        raise RequestRejected(
            f"{pin!r} is no provider here; there are {', '.join(asked.config.providers)}",
            status=404,
            kind="not_found",
            code="provider_not_found",
        )
    reason = f"the request names the provider {provider.name}"
    if model is None:
        return Route(provider, None, reason)
    found = _found(model, asked)
    # A relay leaves the name as it is; elsewhere a route to this very provider says what it is called there.
    is_its_own = found is not None and found.provider is provider and not asked.endpoint.is_relay
    return Route(provider, found.model if found is not None and is_its_own else model, reason)


def _nameless(asked: _Asked) -> Route:
    """For what names no model: a stored response, a list. The first provider that speaks the dialect, best with a credential.

    What is stored is asked of who stores it: `MissingCredentials` when nobody does.
    """
    endpoint, config = asked.endpoint, asked.config
    if endpoint.kind in _NEED_A_MODEL:
        if config.default_model is None:
            raise RequestRejected(
                "the request names no model, and no server.default_model is configured", param="model", code="missing_model"
            )
        return route(config.default_model, endpoint, config, listed=asked.listed, credential=asked.credential, brought=asked.brought)
    is_stored = endpoint.kind == "state" and endpoint.dialect == "openai.responses"
    speaking = [
        Route(provider, None, f"the first provider that {'keeps Responses' if is_stored else f'speaks {endpoint.dialect}'}")
        for provider in config.providers.values()
        if provider.speaks(endpoint.dialect) and (provider.quirks.stores_responses or not is_stored)
    ]
    best = min(speaking, key=asked.rank, default=None)
    if best is None:
        raise MissingCredentials("no provider is configured that keeps Responses (providers.NAME.stores_responses)")
    if is_stored and not asked.can_pay(best.provider):
        raise missing(best.provider)
    return best if asked.can_pay(best.provider) else _checked(best, asked)


def _checked(found: Route, asked: _Asked) -> Route:
    """The route, when its provider has a credential and speaks the caller's dialect; echo's, when it may stand in; else the refusal."""
    provider, dialect = found.provider, asked.endpoint.dialect
    if not asked.can_pay(provider):
        if simulated := _stand_in(provider, found.model, asked):
            return simulated
        raise missing(provider)
    if not provider.speaks(dialect, None if asked.endpoint.is_relay else found.model):
        if asked.endpoint.is_relay:
            raise RequestRejected(
                f"provider {provider.name!r} has no such path: it speaks {' and '.join(provider.dialects)}",
                status=404,
                kind="not_found",
                code="provider_not_found",
            )
        if asked.endpoint.kind not in TRANSLATED or spoken(provider, asked.endpoint, found.model, asked.config) not in provider.dialects:
            doors = " or ".join(f"{DOORS[known]} ({known})" for known in provider.dialects)
            raise RequestRejected(
                f"model {found.model!r} is served by provider {provider.name!r}, which does not speak this endpoint's dialect ({dialect}), "
                f"and {asked.endpoint.name} is not translated: there is {doors}",
                param="model",
                code="dialect_not_supported",
            )
    return found


# What crosses dialects, and for each the dialects in which a provider can be asked for it, the best first.
TRANSLATED: Mapping[str, tuple[str, ...]] = {
    "generate": ("openai.chat", "anthropic.messages", "gemini", "openai.responses"),
    "embed": ("openai.chat", "gemini"),
    "count": ("anthropic.messages", "gemini", "openai.responses", "openai.chat"),
}


def spoken(provider: Provider, endpoint: Endpoint, model: str | None, config: Config, members: Mapping[str, object] = NO_MEMBERS) -> str:
    """The dialect in which a provider is asked: the caller's where it speaks that, else the one its model wants, else the best it has.

    A model that is served in one dialect alone is asked in that, whatever else its provider speaks; a search of the web most of OpenAI's
    models have in Responses alone. `members` are the request's.
    """
    is_spoken = provider.speaks(endpoint.dialect, model)
    if provider.built_in or endpoint.is_relay or (is_spoken and endpoint.kind != "generate"):
        return endpoint.dialect
    if endpoint.kind == "generate" and model is not None:
        profile = config.profile(provider.name, model)
        wanted = profile.dialect
        if not is_spoken and "web_search_options" in profile.refuses and offers_search(members):
            wanted = "openai.responses"
        if wanted is not None and provider.speaks(wanted, model) and (not is_spoken or _insists(profile, members)):
            return wanted
    if is_spoken:
        return endpoint.dialect
    return next((dialect for dialect in TRANSLATED.get(endpoint.kind, ()) if provider.speaks(dialect, model)), endpoint.dialect)


def members_decide(provider: Provider, endpoint: Endpoint, model: str | None, config: Config) -> bool:
    """Whether `spoken` depends on what else a request says."""
    if endpoint.kind != "generate" or endpoint.is_relay or model is None:
        return False
    profile = config.profile(provider.name, model)
    if provider.speaks(endpoint.dialect, model):
        return profile.dialect is not None and profile.dialect_for == "reasoned_tools"
    return "web_search_options" in profile.refuses


def _insists(profile: Profile, members: Mapping[str, object]) -> bool:
    """Whether a model takes this request in its own dialect alone, though its provider speaks the caller's."""
    if profile.dialect_for != "reasoned_tools":
        return profile.dialect_for == "all"
    # An effort that is not said is the model's own: none where it samples then.
    effort = members.get("reasoning_effort") or ("none" if "" in profile.sampling_efforts else None)
    return effort != "none" and bool(members.get("tools") or members.get("functions"))


def _stand_in(provider: Provider | None, model: str | None, asked: _Asked) -> Route | None:
    """Echo in a known model's place, while no provider has a key and the caller brings none that may be forwarded."""
    config = asked.config
    if config.has_provider_key or may_forward_anywhere(asked.credential, config, asked.endpoint.dialect):
        return None
    if model is not None and not is_known(model):
        return None
    echo = next(provider for provider in config.providers.values() if provider.built_in)
    whose = f"{provider.name} has none, nor has any other provider" if provider is not None else "no provider has one"
    return Route(echo, model, f"echo stands in until there is a provider key: {whose}", stands_in=True)


def _default(model: str, asked: _Asked) -> Route | None:
    """The default model's route for a name that no configured provider serves; None when that is no way out either."""
    default = asked.config.default_model
    if default is None or default == model:
        return None
    try:
        config = replace(asked.config, default_model=None)
        found = route(default, asked.endpoint, config, listed=asked.listed, credential=asked.credential, brought=asked.brought)
    except RequestRejected:
        return None
    why = f"no configured provider serves model {model!r}: the default model {default!r} answers"
    return replace(found, reason=f"{why}; {found.reason}", warnings=(*found.warnings, "model:answered_by_default"))


def _refuse_absent(head: str, config: Config) -> None:
    """MissingCredentials for a provider that we know and that must be configured to be there."""
    name = catalog.names().get(head.strip().lower())
    if name is None or name in config.providers:
        return
    row = catalog.providers()[name]
    ways = [*row.base_url_env, f"RESPAN_PROXY_{name.upper()}_BASE_URL"] if not row.base_url or not row.key_env else row.key_env
    because = f"; expected {row.key_form}" if row.key_form else ""
    raise MissingCredentials(
        f"provider {name!r} is not configured: set {' or '.join(ways)}, or [providers.{name}]{because}",
        param="model",
        code="missing_credentials",
    )


def _unknown(model: str, asked: _Asked) -> str:
    from difflib import get_close_matches  # 3 ms, for the unlucky only

    config = asked.config
    serving = {provider.name for provider in config.providers.values() if asked.can_pay(provider)}
    pool = dict.fromkeys(config.models)
    for provider, names in catalog.models().items():
        if provider in serving or not config.has_provider_key:
            pool.update(dict.fromkeys(names))
    for provider in serving:
        pool.update(dict.fromkeys((*config.providers[provider].models, *asked.listed.get(provider, ()))))
    near = get_close_matches(model, pool, n=4, cutoff=0.5)
    return f"no provider serves model {model!r}; " + (f"nearest: {', '.join(near)}" if near else "GET /api/models lists what is served")
