"""Where a call goes: the model's name decides the provider, the provider decides whose credential travels along."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from respan_proxy.config import Config, Provider
from respan_proxy.dialects import DIALECTS
from respan_proxy.errors import TooLarge
from respan_proxy.exchange import Exchange, Handler, Next, Reply, Target
from respan_proxy.policy import routing
from respan_proxy.policy.credentials import secret_for
from respan_proxy.policy.routing import Route
from respan_proxy.respan.endpoints import Endpoint

PIN_HEADER = "X-Respan-Route-Provider"

# Apps use a handful of names; deciding anew costs 30 us.
REMEMBERED_ROUTES = 256


_Key = tuple[str | None, str, str, str | None, str | None, str | None]


def route(config: Config, listed: Callable[[], Mapping[str, Collection[str]]], clock: Callable[[], float]) -> Handler:
    """`listed` gives the models that providers are known to list, by provider name: the same object as long as they are the same."""
    known: dict[_Key, Route] = {}
    known_with = listed()

    def decide(model: str | None, endpoint: Endpoint, pin: str | None, credential: str | None) -> Route:
        nonlocal known_with
        if (lists := listed()) is not known_with:
            known.clear()
            known_with = lists
        # Of an endpoint what decides; hashing all of it costs as much as three look-ups.
        key = (model, endpoint.name, endpoint.dialect, endpoint.provider, pin, credential)
        way = known.get(key)
        if way is None:
            if len(known) >= REMEMBERED_ROUTES:
                known.clear()
            way = known[key] = routing.route(model, endpoint, config, listed=lists, pin=pin, credential=credential)
        return way

    async def handler(exchange: Exchange, call_next: Next) -> Reply:
        endpoint, caller = exchange.endpoint, exchange.caller
        way = decide(exchange.model, endpoint, exchange.request.headers.get(PIN_HEADER), caller.credential)
        exchange.warnings += way.warnings
        if way.stands_in:
            exchange.warnings.append("model:answered_by_echo")
        secret, is_callers = secret_for(way.provider, caller, config, endpoint.dialect)
        dialect = DIALECTS[routing.spoken(way.provider, endpoint, way.model)]
        target = Target(way.provider, dialect, way.model, secret, is_callers, way.stands_in)
        _refuse_too_large(exchange, way.provider)
        view = exchange.toward(target, clock())
        if way.warnings and view.attempt is not None:
            view.attempt.notes.append(way.reason)
        if endpoint.model is None and way.model is not None and way.model != exchange.model and not way.stands_in:
            view.edits.replace["model"] = way.model
        if not way.provider.quirks.ask_usage and not endpoint.is_relay:  # on a relay the caller's own stands there
            view.edits.replace.pop("stream_options", None)
        return await call_next(view)

    return handler


def _refuse_too_large(exchange: Exchange, provider: Provider) -> None:
    size, limit = len(exchange.request.body), provider.request_bytes
    if size > limit:
        raise TooLarge(
            f"the request's body has {size} bytes; provider {provider.name!r} is sent at most {limit} "
            f"(providers.{provider.name}.request_bytes, limits.request_bytes)"
        )
