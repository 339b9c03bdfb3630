"""Where a call may go: the model's name decides the provider, the provider decides whose credential travels along.

Out of the models to ask come targets, one at a time: a choice among models and a provider's deployments are put in the order of their
pick, a target that rests comes last, and a name may lead nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import NamedTuple

from respan_proxy.config import Config, Provider
from respan_proxy.dialects import DIALECTS
from respan_proxy.errors import ProxyError, TooLarge, UnknownModel
from respan_proxy.exchange import NO_PROFILE, Exchange, Target
from respan_proxy.frozen import frozen
from respan_proxy.handlers.send import bound
from respan_proxy.handlers.standing import Standing, key_of, told
from respan_proxy.policy import brought, grouping, planning, routing
from respan_proxy.policy.balancing import Key
from respan_proxy.policy.brought import NOTHING_BROUGHT, Brought
from respan_proxy.policy.credentials import accesses
from respan_proxy.policy.grouping import Balanced, Item, stored
from respan_proxy.policy.planning import Ask, renamed
from respan_proxy.policy.routing import Route
from respan_proxy.respan.endpoints import Endpoint
from respan_proxy.respan.params import CREDENTIALS
from respan_proxy.wire.json_edit import Document

PIN_HEADER = "X-Respan-Route-Provider"

# Apps use a handful of names; deciding anew costs 30 us.
REMEMBERED_ROUTES = 256

# Who answers a request that brings its own answer (`mock_response`), in any dialect and under any model's name.
MOCK = Provider("mock", dialects=tuple(DIALECTS), built_in=True)

# What a request says of where it wants to go.
_SAYS_WHERE = frozenset({*grouping.NAMES, *planning.NAMES, *CREDENTIALS, "mock_response"})

_Key = tuple[str | None, str, str, str | None, str | None, str | None]


@dataclass(slots=True)
class _Known:
    """A decision that holds for others too: the route, and by the dialect spoken there the one target that it leads to."""

    way: Route
    target: dict[str, Target] = field(default_factory=dict)
    sole: tuple[Target, Key] | None = None
    """The target of every request that says nothing of where it wants to go; None where rules, a group or the request's members decide."""


Listed = Callable[[], Mapping[str, Collection[str]]]


@frozen
class PassedOver:
    """A model that led to no target, and why."""

    model: str | None
    refusal: ProxyError
    place: int = 0

    def __str__(self) -> str:
        return f"{self.model} was passed over: {self.refusal}"


class Aimed(NamedTuple):
    """A view of the exchange for one target. `place` is its place in the order that holds when nobody rests."""

    view: Exchange
    key: Key
    place: int
    is_fallback: bool = False
    group: str | None = None
    """What rows call the choice that it came from."""


@frozen
class Rests:
    """A target that is asked last; what rows say of it."""

    said: str

    def __str__(self) -> str:
        return f"{self.said}; it is asked last"


_Way = tuple[str | None, Route, Target]
_weight = attrgetter("weight")


class Aim:
    """`listed` gives the models that providers are known to list, by provider name: the same object as long as they are the same."""

    def __init__(self, config: Config, listed: Listed, standing: Standing) -> None:
        self._config = config
        self._standing = standing
        self._listed = listed
        self._clock = standing.clock
        self._known: dict[_Key, _Known] = {}
        self._known_with = listed()

    def straight(self, exchange: Exchange) -> Aimed | None:
        """The view for the one target of a model that was asked for before: nearly every call. None where there is something to decide."""
        values, lists = exchange.params.values, self._listed()
        if (values and not values.keys().isdisjoint(_SAYS_WHERE)) or lists is not self._known_with:
            return None
        known = self._known.get(_key(exchange, exchange.model))
        if known is None or known.sole is None:
            return None
        target, key = known.sole
        if len(exchange.request.body) > target.provider.request_bytes or not self._standing.may_ask(key):
            return None
        return Aimed(self._toward(exchange, exchange.model, known.way, target), key, 0)

    def views(self, exchange: Exchange, asks: Iterable[Ask]) -> Iterator[Aimed | PassedOver | Rests]:
        """A view of the exchange for each target in turn, its attempt begun when it is asked for; those that rest at the end.

        Raises RequestRejected when the credentials that the request brings are no such.
        """
        standing = self._standing
        own = brought.read(exchange.params.values, self._config, may_place=exchange.caller.is_admin)
        resting: list[tuple[Key, int, bool, str | None, _Way]] = []
        place = 0
        groups = self._config.groups
        for ask in asks:
            choice = ask.choice
            if choice is None and groups and ask.model is not None and (group := groups.get(ask.model)) is not None:
                choice = stored(group)
            name = choice.name if choice is not None else None
            for found in self._ways(exchange, ask, choice, own):
                if isinstance(found, PassedOver):
                    yield replace(found, place=place)
                    place += 1
                    continue
                key = key_of(found[2])
                if standing.may_ask(key):
                    yield Aimed(self._toward(exchange, *found), key, place, ask.is_fallback, name)
                else:
                    resting.append((key, place, ask.is_fallback, name, found))
                    if (rest := standing.rest(key)) is not None:
                        yield Rests(told(found[2], rest))
                place += 1
        for key, place, is_fallback, name, found in resting:
            yield Aimed(self._toward(exchange, *found), key, place, is_fallback, name)

    def _ways(self, exchange: Exchange, ask: Ask, choice: Balanced | None, own: Brought) -> Sequence[_Way | PassedOver]:
        """The ways to what is asked for, in the order of the picks."""
        if choice is None:
            return self._found(exchange, ask.model, own, ask.excluded)
        items = choice.items
        found = [self._found(exchange, item.model, _with(item, own), ask.excluded) for item in items]
        if len(items) == 1:
            return found[0]
        keys = [key_of(first[2]) if not isinstance(first := ways[0], PassedOver) else None for ways in found]
        places = self._standing.order(choice.pick, f"groups.{choice.name}", [item.weight for item in items], keys)
        return [way for place in places for way in found[place]]

    def _found(self, exchange: Exchange, model: str | None, own: Brought, excluded: frozenset[str]) -> Sequence[_Way | PassedOver]:
        try:
            return self._targets(exchange, model, own, excluded)
        except ProxyError as refusal:
            return [PassedOver(model, refusal)]

    def _targets(self, exchange: Exchange, model: str | None, own: Brought, excluded: frozenset[str]) -> list[_Way]:
        """Every way to a model, in the order of the provider's pick. Raises what refuses it: unknown, without a credential, too large."""
        endpoint, config = exchange.endpoint, self._config
        says = exchange.params.values.get("mock_response")
        if says is not None and endpoint.kind == "generate":
            return [(model, Route(MOCK, model, "mock_response"), Target(MOCK, exchange.dialect, model, says=says))]
        known = self._decided(exchange, model) if own is NOTHING_BROUGHT else None
        way = known.way if known is not None else self._brought(exchange, model, own)
        provider = way.provider
        if provider.name in excluded:
            raise UnknownModel(f"its provider {provider.name!r} is excluded (exclude_providers)", param="exclude_providers")
        _refuse_too_large(exchange, provider)
        members = exchange.document.members if isinstance(exchange.document, Document) else routing.NO_MEMBERS
        spoken = routing.spoken(provider, endpoint, way.model, config, members)
        sent = renamed(way.model, model, provider.name, exchange.params.values)
        if known is not None and sent == way.model and (target := known.target.get(spoken)) is not None:
            return [(model, way, target)]
        dialect = DIALECTS[spoken]
        profile = config.profile(provider.name, way.model) if way.model is not None else NO_PROFILE
        if provider.built_in:
            return [(model, way, Target(provider, dialect, way.model, stands_in=way.stands_in, profile=profile))]
        ways = accesses(provider, sent, (model, way.model), exchange.caller, config, endpoint.dialect, own)
        targets = [
            (model, way, Target(one.provider, dialect, sent, one.secret, one.is_callers, profile=profile, deployment=one.deployment))
            for one in ways
        ]
        if len(targets) == 1:
            if known is not None and sent == way.model:
                target = known.target[spoken] = targets[0][2]
                if not self._leads_elsewhere(model) and not routing.members_decide(provider, endpoint, way.model, config):
                    known.sole = target, key_of(target)
            return targets
        # A customer's own are weighted, whatever ours are.
        pick = "weighted" if ways[0].is_callers else provider.pick
        keys = [key_of(target) for _, _, target in targets]
        return [targets[place] for place in self._standing.order(pick, f"providers.{provider.name}", [*map(_weight, ways)], keys)]

    def _decided(self, exchange: Exchange, model: str | None) -> _Known:
        """`routing.route`, with its decisions kept until what providers list changes."""
        if (lists := self._listed()) is not self._known_with:
            self._known.clear()
            self._known_with = lists
        key = _key(exchange, model)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= REMEMBERED_ROUTES:
                self._known.clear()
            *_, pin, credential = key
            known = self._known[key] = _Known(self._route(model, exchange.endpoint, self._config, pin, credential))
        return known

    def _leads_elsewhere(self, model: str | None) -> bool:
        """Whether a name is a group's, or has rules that may have another asked."""
        rules = self._config.rules(model)
        return (
            model in self._config.groups
            or bool(rules.fallback_models)
            or rules.hedge_after_ms is not None
            or rules.first_token_timeout is not None
        )

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
        if way.warnings:
            view.warnings += way.warnings
            bound(view)[1].notes.append(way.reason)
        if way.stands_in:
            view.warnings.append("model:answered_by_echo")
        if exchange.endpoint.model is None and target.model is not None and target.model != exchange.model and not way.stands_in:
            view.edits.replace["model"] = target.model
        if not target.provider.quirks.ask_usage and not exchange.endpoint.is_relay:  # on a relay the caller's own stands there
            view.edits.replace.pop("stream_options", None)
        view.model = model
        return view


def _key(exchange: Exchange, model: str | None) -> _Key:
    """All that decides where a name leads. Of an endpoint only what counts: hashing all of it costs as much as three look-ups."""
    endpoint = exchange.endpoint
    pin = exchange.request.headers.get(PIN_HEADER)
    return model, endpoint.name, endpoint.dialect, endpoint.provider, pin, exchange.caller.credential


def _with(item: Item, own: Brought) -> Brought:
    """What the request brings, and what this item does."""
    return own if item.credentials is None else replace(own, item=item.credentials)


def _refuse_too_large(exchange: Exchange, provider: Provider) -> None:
    size, limit = len(exchange.request.body), provider.request_bytes
    if size > limit:
        raise TooLarge(
            f"the request's body has {size} bytes; provider {provider.name!r} is sent at most {limit} "
            f"(providers.{provider.name}.request_bytes, limits.request_bytes)"
        )
