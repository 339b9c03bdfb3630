"""Where a call goes: the model's name decides the provider, the provider decides whose credential travels along."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from respan_proxy.config import Config
from respan_proxy.dialects import DIALECTS
from respan_proxy.exchange import Exchange, Handler, Next, Reply, Target
from respan_proxy.policy import routing
from respan_proxy.policy.credentials import secret_for


def route(config: Config, listed: Callable[[], Mapping[str, Collection[str]]], clock: Callable[[], float]) -> Handler:
    """`listed` gives the models that providers are known to list, by provider name."""

    async def handler(exchange: Exchange, call_next: Next) -> Reply:
        raise NotImplementedError

    return handler
