"""Embeddings of any provider for any client: OpenAI's form and Gemini's, floats and base64."""

from __future__ import annotations

from collections.abc import Awaitable

from respan_proxy.config import Config
from respan_proxy.dialects import embeddings
from respan_proxy.dialects.asked import compact
from respan_proxy.dialects.events import Failure
from respan_proxy.dialects.request import Losses
from respan_proxy.exchange import Exchange, Handler, Next, Outgoing, Reply
from respan_proxy.handlers.losses import account_for
from respan_proxy.handlers.send import bound
from respan_proxy.handlers.translate import answer_headers, asked, error_retold
from respan_proxy.respan.endpoints import at_provider


def translate_embeddings(config: Config) -> Handler:
    async def told(exchange: Exchange, call_next: Next) -> Reply:
        target, _ = bound(exchange)
        if target.dialect is exchange.dialect:
            return await call_next(exchange)
        request = embeddings.read_request(exchange.dialect.name, await asked(exchange), exchange.model)
        losses = Losses()
        _, members = embeddings.write_request(target.dialect.name, request, losses, target.model)
        account_for(losses, exchange, config)
        path, query = at_provider(target.dialect.name, "embed")
        exchange.outgoing = Outgoing(compact(members, "request").encode(), path, query)
        reply = await call_next(exchange)
        if reply.status >= 400 or not isinstance(reply.body, bytes):
            return error_retold(reply, target.dialect, exchange)
        embedded = embeddings.read_reply(target.dialect.name, reply.body)
        if isinstance(embedded, Failure):
            status, body = exchange.dialect.write_error(embedded.error(), exchange.id)
            return Reply(status, answer_headers(reply), body)
        return Reply(200, answer_headers(reply), embeddings.write_reply(request, embedded))

    def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
        return told(exchange, call_next) if exchange.endpoint.kind == "embed" else call_next(exchange)

    return handler
