"""What goes wrong becomes an answer in the caller's dialect."""

from __future__ import annotations

import logging

from multidict import CIMultiDict

from respan_proxy.errors import ProxyError
from respan_proxy.exchange import Exchange, Next, Reply

log = logging.getLogger(__name__)


async def answer_errors(exchange: Exchange, call_next: Next) -> Reply:
    """Turn every `ProxyError` into a `Reply`; a fault of our own into a 500 that tells nothing but the call's id."""
    try:
        return await call_next(exchange)
    except ProxyError as error:
        return error_reply(exchange, error)
    except Exception:
        log.exception("call %s failed inside the proxy", exchange.id)
        return error_reply(exchange, ProxyError(f"the proxy failed on this call; its log names the cause under {exchange.id}"))


def error_reply(exchange: Exchange, error: ProxyError) -> Reply:
    exchange.error = error
    status, body = exchange.dialect.write_error(error, exchange.id)
    headers = CIMultiDict({"Content-Type": "application/json", exchange.dialect.request_id_header: exchange.id})
    headers.update(error.headers)
    return Reply(status, headers, body)
