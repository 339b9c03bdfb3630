"""A conversation that moves to another provider leaves the first one's state behind, also where nothing is translated."""

from __future__ import annotations

import asyncio

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
    async def handler(exchange: Exchange, call_next: Next) -> Reply:
        document = exchange.document
        if exchange.endpoint.kind not in ("generate", "count") or not isinstance(document, Document) or translates(exchange):
            return await call_next(exchange)
        target, _ = bound(exchange)
        dialect, members = target.dialect.name, document.members
        if any(members.get(name) is UNREAD for name in ("messages", "input", "contents")):
            if not await _is_marked(exchange.request.body, marks(dialect, target.profile)):
                return await call_next(exchange)
            members = dict(await asked(exchange))
        losses = Losses()
        if instead := left_out(dialect, members, target.profile, losses):
            account_for(losses, exchange, config)
            exchange.edits.replace.update(instead)
        return await call_next(exchange)

    return handler


async def _is_marked(body: bytes, words: tuple[bytes, ...]) -> bool:
    for mark in words:
        for start in range(0, len(body), SLICE_BYTES):
            if body.find(mark, start, start + SLICE_BYTES + len(mark)) != -1:
                return True
            await asyncio.sleep(0)
    return False
