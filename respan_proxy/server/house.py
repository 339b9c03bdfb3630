"""A running proxy as one value: its configuration, its gateway, what health and reads look at; and how a new configuration is adopted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from respan_proxy.config import Config, Listen
from respan_proxy.errors import ProxyError, UnknownPath
from respan_proxy.exchange import Next
from respan_proxy.handlers.limits import Limits as Spending
from respan_proxy.policy.breaking import Breaker
from respan_proxy.policy.credentials import identify, refuse_strangers
from respan_proxy.server import health, pages
from respan_proxy.server.answers import json_error
from respan_proxy.server.gateway import Gateway, Limits
from respan_proxy.server.listening import Door
from respan_proxy.server.otlp import Telemetry
from respan_proxy.server.rest import dispatch, dispatch_openly
from respan_proxy.server.rest.resource import Store


class House:
    """Owns nothing but the gateway; `address`, and `beside` of the second one, are set once it listens."""

    def __init__(
        self,
        config: Config,
        store: Store,
        spending: Spending,
        breaker: Breaker,
        exports: Callable[[], Mapping[str, Any]],
        compose: Callable[[Config], Next],
    ) -> None:
        self.config = config
        self.store = replace(store, content=config.content)
        self.spending = spending
        self.breaker = breaker
        self.exports = exports
        self.writer = store.writer
        self.queries = store.queries
        self.telemetry = Telemetry(store.writer, store.writer.instance_id)
        self.started_at = time.time()
        self.address: Listen = config.listen
        self.beside: list[Listen] = []
        self._compose = compose
        self.gateway = Gateway(compose(config), self.elsewhere, _limits(config))

    def doors(self) -> list[Door]:
        """Where it is to be reached: for everything, and beside that perhaps for spans alone."""
        beside = self.config.telemetry.listen
        everything = Door("listen", self.config.listen, self.gateway)
        return [everything] if beside is None else [everything, Door("telemetry.listen", beside, self.gateway.door(self._spans_alone))]

    @property
    def url(self) -> str:
        """The base URL that clients are given."""
        host = self.address.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.address.port}/api"

    def adopt(self, config: Config) -> None:
        """From the next call on `config` holds; open calls finish as they began."""
        self.gateway.handle = self._compose(config)
        self.gateway.limits = _limits(config)
        self.store = replace(self.store, content=config.content)
        self.config = config

    async def elsewhere(self, request: web.BaseRequest, path: str) -> web.StreamResponse | None:
        """What is not the gateway: health, pages, and the read API; None for a path that is served nowhere."""
        if (answer := health.answer(self, request, path)) is not None:
            return answer
        if (taken := await self.telemetry.answer(request, path, self.config, self.config.listen)) is not None:
            return taken
        try:
            refuse_strangers(request.headers, self.config)
            if (page := pages.answer(self, request, path)) is not None:
                return page
            if (shared := await dispatch_openly(request, path, self.store)) is not None:
                return shared
            caller = identify(request.headers, request.rel_url.raw_query_string, self.config)
            return await dispatch(request, path, caller, self.store)
        except ProxyError as error:
            return json_error(error)

    async def _spans_alone(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        listen = self.config.telemetry.listen or self.config.listen
        if (taken := await self.telemetry.answer(request, path, self.config, listen)) is not None:
            return taken
        return json_error(UnknownPath(f"only spans are taken here, at /v1/traces; {path} may be served at {self.url}", code="unknown_path"))


def _limits(config: Config) -> Limits:
    """The largest body that somebody takes gets in; what each provider takes is decided when it is known who is meant."""
    largest = max(config.limits.request_bytes, *(provider.request_bytes for provider in config.providers.values()))
    return Limits(request_bytes=largest, upload_s=config.limits.upload_s, origins=config.allowed_origins)
