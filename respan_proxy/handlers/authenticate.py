"""Who asks, and may they: our own keys, strangers from other websites, requests that went in a circle."""

from __future__ import annotations

from collections.abc import Awaitable

from respan_proxy.config import Config
from respan_proxy.errors import LoopDetected
from respan_proxy.exchange import Exchange, Handler, Next, Reply
from respan_proxy.policy.credentials import identify, refuse_strangers

# Carries the ids of the proxies that a request passed; ours among them means a base URL points back at us.
HOP_HEADER = "X-Respan-Hop"


def authenticate(config: Config, instance_id: str) -> Handler:
    def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
        request = exchange.request
        refuse_strangers(request.headers, config)
        if instance_id in request.headers.get(HOP_HEADER, ""):
            raise LoopDetected(
                "this request has passed through this proxy already: the base URL of a provider points back at the proxy itself"
            )
        exchange.caller = identify(request.headers, request.query, config)
        return call_next(exchange)

    return handler
