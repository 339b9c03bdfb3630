"""Images that are only linked to, for a provider that needs their bytes: fetched before the request is said anew."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Protocol

from respan_proxy.config import Images
from respan_proxy.dialects.links import linked_images, needs_bytes, with_images
from respan_proxy.dialects.request import Attachment
from respan_proxy.exchange import Exchange, Handler, Next, Reply
from respan_proxy.handlers.send import bound
from respan_proxy.handlers.translate import translates, understood


class Fetches(Protocol):
    """What `images.fetch` is, as far as this handler needs it. Raises RequestRejected for an image that cannot be had."""

    def __call__(self, wanted: Mapping[str, str], limits: Images, /) -> Awaitable[Mapping[str, Attachment]]: ...


def fetch_images(limits: Images, fetch: Fetches) -> Handler:
    async def fetched(exchange: Exchange, call_next: Next, dialect: str) -> Reply:
        asked = await understood(exchange)
        if wanted := linked_images(asked.request, dialect):
            exchange.asked = replace(asked, request=with_images(asked.request, await fetch(wanted, limits)))
        return await call_next(exchange)

    def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
        if limits.fetch and translates(exchange) and needs_bytes(dialect := bound(exchange)[0].dialect.name):
            return fetched(exchange, call_next, dialect)
        return call_next(exchange)

    return handler
