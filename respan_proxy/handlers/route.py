"""Where a call goes: the model's name decides the provider, the provider decides whose credential travels along."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from respan_proxy.config import Config
from respan_proxy.dialects import DIALECTS
from respan_proxy.exchange import Exchange, Handler, Next, Reply, Target
from respan_proxy.policy import routing
from respan_proxy.policy.credentials import secret_for

PIN_HEADER = "X-Respan-Route-Provider"


def route(config: Config, listed: Callable[[], Mapping[str, Collection[str]]], clock: Callable[[], float]) -> Handler:
    """`listed` gives the models that providers are known to list, by provider name."""

    async def handler(exchange: Exchange, call_next: Next) -> Reply:
        endpoint, caller = exchange.endpoint, exchange.caller
        pin = exchange.request.headers.get(PIN_HEADER)
        way = routing.route(exchange.model, endpoint, config, listed=listed(), pin=pin, credential=caller.credential)
        exchange.warnings += way.warnings
        if way.stands_in:
            exchange.warnings.append("model:answered_by_echo")
        secret, is_callers = secret_for(way.provider, caller, config, endpoint.dialect)
        target = Target(way.provider, DIALECTS[endpoint.dialect], way.model, secret, is_callers, way.stands_in)
        view = exchange.toward(target, clock())
        if endpoint.model is None and way.model is not None and way.model != exchange.model and not way.stands_in:
            view.edits.replace["model"] = way.model
        if not way.provider.quirks.ask_usage:
            view.edits.replace.pop("stream_options", None)
        return await call_next(view)

    return handler
