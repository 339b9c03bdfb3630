"""Tokens of a model that is served in another dialect: nobody counts them, so they are estimated, and that is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from multidict import CIMultiDict

from respan_proxy.dialects.observe import estimate_prompt
from respan_proxy.errors import RequestRejected
from respan_proxy.exchange import Exchange, Next, Reply
from respan_proxy.wire.json_edit import UNREAD

# What a count looks like in each dialect that has one, beside the number and its name.
ANSWERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "anthropic.messages": ("input_tokens", {}),
    "openai.responses": ("input_tokens", {"object": "response.input_tokens"}),
    "gemini": ("totalTokens", {}),
}


async def count(exchange: Exchange, call_next: Next) -> Reply:
    """Claude Code counts before every turn; a refusal would end it where an estimate serves."""
    try:
        return await call_next(exchange)
    except RequestRejected as error:
        if exchange.endpoint.kind != "count" or error.code != "dialect_not_supported" or exchange.document is None:
            raise
    members = exchange.document.members
    # Of a body too big to be read its size is known: four bytes a token.
    is_read = all(value is not UNREAD for value in members.values())
    name, more = ANSWERS[exchange.dialect.name]
    exchange.warnings.append("count:estimated")
    headers = CIMultiDict({"Content-Type": "application/json", exchange.dialect.request_id_header: exchange.id})
    tokens = estimate_prompt(members) if is_read else len(exchange.request.body) // 4
    return Reply(200, headers, orjson.dumps({**more, name: tokens}))
