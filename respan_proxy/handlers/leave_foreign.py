"""A conversation that moves to another provider leaves the first one's state behind, also where nothing is translated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

from respan_proxy.config import Config
from respan_proxy.dialects.foreign import left_out, marks
from respan_proxy.dialects.request import Losses
from respan_proxy.exchange import Exchange, Handler, Next, Reply
from respan_proxy.handlers.losses import account_for
from respan_proxy.handlers.send import bound
from respan_proxy.handlers.translate import asked, translates
from respan_proxy.wire.json_edit import UNREAD, Document

# What is searched before others get a turn: about 1 ms (measured).
SLICE_BYTES = 1024 * 1024


def leave_foreign(config: Config) -> Handler:
    def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
        document = exchange.document
        if exchange.endpoint.kind not in ("generate", "count") or not isinstance(document, Document) or translates(exchange):
            return call_next(exchange)
        members = document.members
        if members.get("messages") is UNREAD or members.get("input") is UNREAD or members.get("contents") is UNREAD:
            return big(exchange, call_next)
        leave(exchange, members)
        return call_next(exchange)

    async def big(exchange: Exchange, call_next: Next) -> Reply:
        target, _ = bound(exchange)
        if await _is_marked(exchange.request.body, marks(target.dialect.name, target.profile)):
            leave(exchange, await asked(exchange))
        return await call_next(exchange)

    def leave(exchange: Exchange, members: Mapping[str, Any]) -> None:
        target, _ = bound(exchange)
        losses = Losses()
        if instead := left_out(target.dialect.name, members, target.profile, losses):
            account_for(losses, exchange, config)
            exchange.edits.replace.update(instead)

    return handler


async def _is_marked(body: bytes, words: tuple[bytes, ...]) -> bool:
    for mark in words:
        for start in range(0, len(body), SLICE_BYTES):
            if body.find(mark, start, start + SLICE_BYTES + len(mark)) != -1:
                return True
            await asyncio.sleep(0)
    return False
