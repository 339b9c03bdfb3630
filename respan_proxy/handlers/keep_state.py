"""What a client cannot carry is kept for it: signatures, encrypted and plain thinking, by the id of the call they came with."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Collection, Mapping
from dataclasses import replace
from secrets import token_hex
from typing import Protocol

from respan_proxy.config import Config
from respan_proxy.dialects.steps import CallState, Collector, calls_without_state, gives_state, may_lose_state, with_state
from respan_proxy.errors import ProxyError
from respan_proxy.exchange import Exchange, Handler, Next, Reply
from respan_proxy.handlers.send import bound
from respan_proxy.handlers.trace import forgets_content
from respan_proxy.handlers.translate import translates, understood

log = logging.getLogger(__name__)

KIND = "call"

# A history longer than that is looked through from its end: providers check the steps since the last question.
MOST_CALLS = 1000


class Keeps(Protocol):
    """What `store.keeping.Keeping` is, as far as this handler needs it."""

    def put(self, kind: str, owner: str, entries: Mapping[str, bytes], *, on_disk: bool = True) -> None: ...

    def get(self, kind: str, owner: str, keys: Collection[str]) -> Awaitable[Mapping[str, bytes]]: ...


def keep_state(keeping: Keeps, config: Config) -> Handler:
    def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
        # A relayed client speaks to its own provider, and carries what it gives.
        return kept(exchange, call_next) if translates(exchange) else call_next(exchange)

    async def kept(exchange: Exchange, call_next: Next) -> Reply:
        target, _ = bound(exchange)
        asked = await understood(exchange)
        request, provider, profile = asked.request, target.provider.name, target.profile
        if not may_lose_state(exchange.dialect.name, asked.members) or not gives_state(target.dialect.name, profile, request):
            return await call_next(exchange)
        plain, owner = profile.replays_reasoning, exchange.caller.key_id or ""
        if ids := calls_without_state(request, plain=plain):
            states = await _kept(keeping, owner, ids[-MOST_CALLS:], exchange)
            exchange.asked = replace(asked, request=with_state(request, states, provider, plain=plain))
        if request.tools:
            forgets = forgets_content(exchange)

            def keep(states: Mapping[str, CallState]) -> None:
                for id, state in states.items():
                    # what nobody can read is no content
                    on_disk = not forgets and (config.content == "full" or not state.speaks)
                    keeping.put(KIND, owner, {id: state.written()}, on_disk=on_disk)

            exchange.hears = Collector(provider, lambda: f"call_{token_hex(12)}", keep, plain=plain)
        return await call_next(exchange)

    return handler


async def _kept(keeping: Keeps, owner: str, ids: list[str], exchange: Exchange) -> Mapping[str, CallState]:
    try:
        found = await keeping.get(KIND, owner, ids)
    except ProxyError as error:  # the provider may do without, and says so if not
        log.warning("call %s: the state of its earlier calls could not be read: %s", exchange.id, error.message)
        exchange.quiet_warnings.append("state:unreadable")
        return {}
    return {id: state for id, data in found.items() if (state := CallState.read(data)) is not None}
