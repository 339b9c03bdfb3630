"""Model lists: one merged list of what every configured provider lists, fetched in the background and kept for an hour."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic

from multidict import CIMultiDict

from respan_proxy.config import Config, Provider
from respan_proxy.dialects import catalog
from respan_proxy.dialects.model_lists import Model, read_list, write_list, write_model
from respan_proxy.errors import ProxyError, UnknownModel
from respan_proxy.exchange import Exchange, Handler, Next, Reply, Sends
from respan_proxy.policy.credentials import auth_headers

log = logging.getLogger(__name__)

KEPT_S = 3600.0
WAITED_S = 2.0

# Where a provider lists its models, by the first dialect it speaks; one page that holds them all.
LIST_PATHS: Mapping[str, tuple[str, str]] = {
    "anthropic.messages": ("/v1/models", "limit=1000"),
    "gemini": ("/{version}/models", "pageSize=1000"),
}

# Anthropic refuses a request that does not say which version of its API it speaks; 2023-06-01 is understood by all.
LIST_HEADERS: Mapping[str, Mapping[str, str]] = {"anthropic.messages": {"anthropic-version": "2023-06-01"}}


@dataclass(slots=True)
class _Listing:
    models: tuple[Model, ...] = ()
    fetched_at: float | None = None
    failed: str | None = None


class Models:
    """Owns what providers are known to list, and the tasks that fetch it. A failed fetch is tried again at the next call that asks."""

    def __init__(self, upstream: Sends, clock: Callable[[], float] = monotonic) -> None:
        self._upstream = upstream
        self._clock = clock
        self._listings: dict[tuple[str, str], _Listing] = {}
        self._fetches: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._listed: Mapping[str, frozenset[str]] = {}

    def listed(self) -> Mapping[str, frozenset[str]]:
        """Model ids by provider name, as far as they are known now; another object whenever they change. Asking fetches nothing."""
        return self._listed

    def lists(self, config: Config) -> Handler:
        async def listed(exchange: Exchange) -> Reply:
            missing = await self.refresh(config)
            models = self.merged(config)
            dialect = exchange.dialect.name
            headers = CIMultiDict({"Content-Type": "application/json"})
            if missing:
                headers["X-Respan-Warnings"] = ", ".join(f"{name}:not_listed" for name in missing)
            if (wanted := exchange.endpoint.model) is None:
                return Reply(200, headers, write_list(dialect, models))
            wanted = wanted.removeprefix("models/")
            for model in models:
                if model.id == wanted or f"{model.owner}/{model.id}" == wanted:
                    return Reply(200, headers, write_model(dialect, model))
            near = _near(wanted, [model.id for model in models])
            raise UnknownModel(f"no configured provider lists {wanted!r}" + (f"; near: {', '.join(near)}" if near else ""), param="model")

        def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
            return listed(exchange) if exchange.endpoint.kind == "models" else call_next(exchange)

        return handler

    async def refresh(self, config: Config) -> list[str]:
        """Fetch what is missing or old; wait `WAITED_S` at the most. Returns the providers whose list is not there."""
        providers = [provider for provider in config.providers.values() if provider.usable and not provider.built_in]
        waiting = [task for provider in providers if (task := self._fetch_if_due(provider)) is not None]
        if waiting:
            await asyncio.wait(waiting, timeout=WAITED_S)
        return [provider.name for provider in providers if self._listing(provider).fetched_at is None]

    def merged(self, config: Config) -> list[Model]:
        """Routes of the config first, then every provider's own, then `echo`'s; a name stands once."""
        found: dict[str, Model] = {}

        def add(models: Iterable[Model]) -> None:
            for model in models:
                found.setdefault(model.id, model)

        add(Model(name, "respan_proxy") for name in (*config.models, *config.groups))
        for provider in config.providers.values():
            if not provider.usable:
                continue
            bare = provider.quirks.bare_names
            names = catalog.models().get(provider.name, ()) if provider.built_in else provider.models
            own = (Model(name, provider.name) for name in names)
            add(model if bare or provider.built_in else _prefixed(model) for model in (*own, *self._listing(provider).models))
        if not config.has_provider_key:
            add(_stood_in_for(config))
        return list(found.values())

    async def close(self) -> None:
        for task in self._fetches.values():
            task.cancel()
        await asyncio.gather(*self._fetches.values(), return_exceptions=True)

    def _listing(self, provider: Provider) -> _Listing:
        return self._listings.setdefault((provider.name, provider.base_url), _Listing())

    def _fetch_if_due(self, provider: Provider) -> asyncio.Task[None] | None:
        """The task to wait for, if there is nothing yet; an old list serves while a new one is fetched."""
        listing = self._listing(provider)
        key = (provider.name, provider.base_url)
        if listing.fetched_at is not None and self._clock() - listing.fetched_at < KEPT_S:
            return None
        task = self._fetches.get(key)
        if task is None:
            task = self._fetches[key] = asyncio.create_task(self._fetch(provider, listing), name=f"models of {provider.name}")
            task.add_done_callback(lambda _: self._fetches.pop(key, None))
        return task if listing.fetched_at is None else None

    async def _fetch(self, provider: Provider, listing: _Listing) -> None:
        path, query = LIST_PATHS.get(provider.dialects[0], ("/models", ""))
        headers = CIMultiDict({"Accept": "application/json", "Accept-Encoding": "identity"})
        headers.update(LIST_HEADERS.get(provider.dialects[0], {}))
        headers.update(provider.headers)
        headers.update(auth_headers(provider, provider.key))
        try:
            reply = await self._upstream(provider, "GET", provider.url(path, query=query), headers, b"", streams=False, notes=[])
        except ProxyError as error:
            listing.failed = error.message
        else:
            if reply.status == 200 and isinstance(reply.body, bytes):
                listing.models = tuple(read_list(reply.body, provider.name))
                listing.fetched_at, listing.failed = self._clock(), None
                self._listed = {**self._listed, provider.name: frozenset(model.id for model in listing.models)}
                return
            listing.failed = f"it answered {reply.status}"
        log.warning("provider %r does not list its models: %s", provider.name, listing.failed)


def _stood_in_for(config: Config) -> Iterator[Model]:
    """The known models that echo answers for."""
    for owner, names in catalog.models().items():
        provider = config.providers.get(owner)
        if provider is None or not provider.built_in:
            bare = catalog.providers()[owner].bare_names
            yield from (Model(name if bare else f"{owner}/{name}", "echo") for name in names)


def _near(wanted: str, ids: list[str]) -> list[str]:
    from difflib import get_close_matches  # 3 ms, for the unlucky only

    return get_close_matches(wanted, ids, n=4, cutoff=0.5)


def _prefixed(model: Model) -> Model:
    return Model(f"{model.owner}/{model.id}", model.owner, model.created, model.display_name, model.input_limit, model.output_limit)
