"""Where a call may go: the model's name decides the provider, the provider decides whose credential travels along.

Out of the models to ask come targets, one at a time: a provider may have several deployments, and a name may lead nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from respan_proxy.config import Config, Provider
from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.crossing import offers_search
from respan_proxy.errors import ProxyError, TooLarge
from respan_proxy.exchange import NO_PROFILE, Exchange, Target
from respan_proxy.handlers.send import bound
from respan_proxy.policy import brought, routing
from respan_proxy.policy.brought import NOTHING_BROUGHT, Brought
from respan_proxy.policy.credentials import accesses
from respan_proxy.policy.planning import renamed
from respan_proxy.policy.routing import Route
from respan_proxy.respan.endpoints import Endpoint

PIN_HEADER = "X-Respan-Route-Provider"

# Apps use a handful of names; deciding anew costs 30 us.
REMEMBERED_ROUTES = 256

_Key = tuple[str | None, str, str, str | None, str | None, str | None]
Listed = Callable[[], Mapping[str, Collection[str]]]


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A model that led to no target, and why."""

    model: str | None
    refusal: ProxyError

    def __str__(self) -> str:
        return f"{self.model} was passed over: {self.refusal}"


class Aim:
    """`listed` gives the models that providers are known to list, by provider name: the same object as long as they are the same."""

    def __init__(self, config: Config, listed: Listed, clock: Callable[[], float]) -> None:
        self._config = config
        self._listed = listed
        self._clock = clock
        self._known: dict[_Key, Route] = {}
        self._known_with = listed()

    def views(self, exchange: Exchange, models: Iterable[str | None]) -> Iterator[Exchange | PassedOver]:
        """A view of the exchange for each target in turn, its attempt begun when it is asked for.

        Raises RequestRejected when the credentials that the request brings are no such.
        """
        own = brought.read(exchange.params.values, self._config, may_place=exchange.caller.is_admin)
        for model in models:
            try:
                found = self._targets(exchange, model, own)
            except ProxyError as refusal:
                yield PassedOver(model, refusal)
                continue
            for way, target in found:
                yield self._toward(exchange, model, way, target)

    def _targets(self, exchange: Exchange, model: str | None, own: Brought) -> list[tuple[Route, Target]]:
        """Every way to a model. Raises what refuses it: unknown, without a credential, too large."""
        endpoint, config = exchange.endpoint, self._config
        way = self._decided(exchange, model) if own is NOTHING_BROUGHT else self._brought(exchange, model, own)
        provider = way.provider
        _refuse_too_large(exchange, provider)
        crosses, document = not provider.speaks(endpoint.dialect, way.model), exchange.document
        searches = crosses and document is not None and offers_search(document.members)
        dialect = DIALECTS[routing.spoken(provider, endpoint, way.model, config, searches=searches)]
        profile = config.profile(provider.name, way.model) if way.model is not None else NO_PROFILE
        if provider.built_in:
            return [(way, Target(provider, dialect, way.model, stands_in=way.stands_in, profile=profile))]
        sent = renamed(way.model, model, provider.name, exchange.params.values)
        ways = accesses(provider, sent, (model, way.model), exchange.caller, config, endpoint.dialect, own)
        return [
            (way, Target(one.provider, dialect, sent, one.secret, one.is_callers, profile=profile, deployment=one.deployment))
            for one in ways
        ]

    def _decided(self, exchange: Exchange, model: str | None) -> Route:
        """`routing.route`, with its decisions kept until what providers list changes."""
        endpoint, credential = exchange.endpoint, exchange.caller.credential
        pin = exchange.request.headers.get(PIN_HEADER)
        if (lists := self._listed()) is not self._known_with:
            self._known.clear()
            self._known_with = lists
        # Of an endpoint what decides; hashing all of it costs as much as three look-ups.
        key = (model, endpoint.name, endpoint.dialect, endpoint.provider, pin, credential)
        way = self._known.get(key)
        if way is None:
            if len(self._known) >= REMEMBERED_ROUTES:
                self._known.clear()
            way = self._known[key] = self._route(model, endpoint, self._config, pin, credential)
        return way

    def _brought(self, exchange: Exchange, model: str | None, own: Brought) -> Route:
        """With credentials of the request's own, providers count that are not configured at all."""
        config, names = self._config, own.providers
        whoever = own.for_model(model) is not None
        asleep = {name: one for name, one in config.dormant.items() if whoever or name in names}
        if asleep:
            config = replace(config, providers={**config.providers, **asleep})
        pin = exchange.request.headers.get(PIN_HEADER)
        return self._route(model, exchange.endpoint, config, pin, exchange.caller.credential, None if whoever else names)

    def _route(
        self,
        model: str | None,
        endpoint: Endpoint,
        config: Config,
        pin: str | None,
        credential: str | None,
        own: frozenset[str] | None = routing.NOTHING_BROUGHT,
    ) -> Route:
        return routing.route(model, endpoint, config, listed=self._listed(), pin=pin, credential=credential, brought=own)

    def _toward(self, exchange: Exchange, model: str | None, way: Route, target: Target) -> Exchange:
        view = exchange.toward(target, self._clock())
        view.warnings += way.warnings
        if way.stands_in:
            view.warnings.append("model:answered_by_echo")
        if way.warnings:
            bound(view)[1].notes.append(way.reason)
        if exchange.endpoint.model is None and target.model is not None and target.model != exchange.model and not way.stands_in:
            view.edits.replace["model"] = target.model
        if not target.provider.quirks.ask_usage and not exchange.endpoint.is_relay:  # on a relay the caller's own stands there
            view.edits.replace.pop("stream_options", None)
        view.model = model
        return view


def _refuse_too_large(exchange: Exchange, provider: Provider) -> None:
    size, limit = len(exchange.request.body), provider.request_bytes
    if size > limit:
        raise TooLarge(
            f"the request's body has {size} bytes; provider {provider.name!r} is sent at most {limit} "
            f"(providers.{provider.name}.request_bytes, limits.request_bytes)"
        )
