"""Responses that are kept, for providers that keep none: earlier turns are said again, finished responses remembered and handed out.

What a provider keeps itself (`stores_responses`) passes through. Kept is what was new in each turn; a conversation is its turns, one
after the other, back to the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

import orjson
from multidict import CIMultiDict

from respan_proxy.config import Config
from respan_proxy.dialects.asked import wrong
from respan_proxy.dialects.responses_state import (
    ENCRYPTED,
    Item,
    Stored,
    deleted,
    is_done,
    not_in_background,
    not_streamed_again,
    output_items,
    packed,
    page,
    read_input,
    references,
    resolved,
    said_again,
    shown,
    unknown_previous,
    unknown_response,
    unpacked,
)
from respan_proxy.errors import MissingCredentials, ProxyError, RequestRejected, TooLarge, Untranslatable
from respan_proxy.exchange import Exchange, Handler, Next, Reply, Stream
from respan_proxy.handlers.send import bound
from respan_proxy.handlers.told import Tell, tell_whole
from respan_proxy.handlers.trace import forgets_content
from respan_proxy.handlers.translate import asked
from respan_proxy.respan.endpoints import RESPONSES
from respan_proxy.wire.json_edit import Document
from respan_proxy.wire.multipart import Form

RESPONSE, ITEM = "response", "response_item"

# More turns than fit into any model's context; reading them takes 0.2 s.
MOST_TURNS = 1000

# Beyond it JSON is read and written in a thread: 2 ms for 1 MB.
ASIDE_BYTES = 1_000_000


class Keeps(Protocol):
    """What `Keeping` (store/keeping.py) is, as far as these handlers need it."""

    def put(self, kind: str, owner: str, entries: Mapping[str, bytes], *, on_disk: bool = True) -> None: ...

    async def get(self, kind: str, owner: str, keys: Collection[str]) -> Mapping[str, bytes]: ...

    async def delete(self, kind: str, owner: str, keys: Collection[str]) -> int: ...


# ------------------------------------------------------------------------------------------------ what is asked of the store


def stored(keeping: Keeps) -> Handler:
    """GET, DELETE, `/cancel` and `/input_items` of a kept response; of what is not kept here, whoever keeps Responses is asked."""

    async def answered(exchange: Exchange, call_next: Next) -> Reply:
        endpoint = exchange.endpoint
        id, owner = unquote(endpoint.path.split("/")[2]), exchange.caller.key_id or ""
        away: ProxyError | None = None
        try:
            turn = (await _turns(keeping, owner, [id])).get(id)
        except ProxyError as error:
            turn, away = None, error
        if turn is None:
            try:
                return await call_next(exchange)
            except MissingCredentials as nobody:
                raise away or unknown_response(id) from nobody
        query = dict(parse_qsl(exchange.request.query))
        match exchange.request.method, endpoint.name:
            case "DELETE", _:
                await keeping.delete(RESPONSE, owner, [id])
                await keeping.delete(ITEM, owner, [str(item.get("id")) for item in output_items(turn.response)])
                return _answer(deleted(id))
            case _, "responses.cancel":
                raise not_in_background()
            case _, "responses.input_items":
                before = await _before(keeping, owner, turn.previous, None)
                items = [item for earlier in before or () for item in earlier.items]
                return _answer(page([*items, *turn.input], query))
            case _ if query.get("stream") == "true":
                raise not_streamed_again(id)
        return _answer(turn.response if ENCRYPTED in _included(exchange.request.query) else shown(turn.response))

    def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
        endpoint = exchange.endpoint
        if endpoint.kind != "state" or endpoint.dialect != RESPONSES:
            return call_next(exchange)
        return answered(exchange, call_next)

    return handler


def _answer(value: Mapping[str, Any]) -> Reply:
    return Reply(200, CIMultiDict({"Content-Type": "application/json"}), orjson.dumps(value))


def _included(query: str) -> set[str]:
    return {value for name, value in parse_qsl(query) if name in ("include", "include[]")}


async def _turns(keeping: Keeps, owner: str, ids: Collection[str]) -> dict[str, Stored]:
    return {id: unpacked(data) for id, data in (await keeping.get(RESPONSE, owner, ids)).items()}


async def _before(keeping: Keeps, owner: str, id: str | None, most_bytes: int | None) -> list[Stored] | None:
    """The turns up to and with response `id`, the oldest first; None when it is not kept.

    RequestRejected for a turn before it that is gone, or for more than fits into a request of `most_bytes` (None: what is there).
    """
    turns: list[Stored] = []
    seen: set[str] = set()
    size = 0
    while id is not None and id not in seen and len(turns) < MOST_TURNS:
        data = (await keeping.get(RESPONSE, owner, [id])).get(id)
        if data is None and turns and most_bytes is not None:
            raise unknown_previous(id)
        if data is None:
            break
        seen.add(id)
        if most_bytes is not None and (size := size + len(data)) > most_bytes:
            raise TooLarge(f"the conversation before 'previous_response_id' has more than {most_bytes} bytes", param="previous_response_id")
        turns.append(await asyncio.to_thread(unpacked, data) if len(data) > ASIDE_BYTES else unpacked(data))
        id = turns[-1].previous
    if len(turns) == MOST_TURNS and id is not None and most_bytes is not None:
        raise TooLarge(f"the conversation before 'previous_response_id' has more than {MOST_TURNS} turns", param="previous_response_id")
    return turns[::-1] or None


# ------------------------------------------------------------------------------------------------ what is said again, and remembered


@dataclass(slots=True)
class _Turn:
    """What a request for a response comes to: its new items, the turns before it, and what is to become of the answer."""

    previous: str | None
    items: list[Item] = field(default_factory=list)
    before: list[Stored] = field(default_factory=list)
    said: bytes | None = None
    """The new items as JSON; None when the response is not to be kept."""
    hides_thoughts: bool = False


def state(config: Config, keeping: Keeps) -> Handler:
    async def continued(exchange: Exchange, document: Document | Form, call_next: Next) -> Reply:
        target, _ = bound(exchange)
        provider, members = target.provider, document.members
        is_kept_there = provider.quirks.stores_responses and target.dialect is exchange.dialect
        previous = members.get("previous_response_id") or None
        if is_kept_there and not isinstance(previous, str):
            return await call_next(exchange)
        if previous is not None and not isinstance(previous, str):
            raise wrong("previous_response_id", previous, "a string")
        if not is_kept_there and members.get("conversation") is not None:
            raise Untranslatable("'conversation' is not supported by the target model", param="conversation")
        owner = exchange.caller.key_id or ""
        turn = _Turn(previous)
        if previous is not None:
            before = await _known(keeping, owner, previous, provider.request_bytes, is_kept_there)
            if before is None:
                return await call_next(exchange)
            turn.before = before
        await _prepare(turn, exchange, keeping, owner)
        if is_kept_there or exchange.endpoint.kind != "generate":
            return await call_next(exchange)
        if members.get("store") is not False:
            await _will_keep(turn, exchange, translated=target.dialect is not exchange.dialect)
        reply = await call_next(exchange)
        if reply.status != 200 or (turn.said is None and previous is None):
            return reply
        on_disk = config.content == "full" and not forgets_content(exchange)
        taken = frozenset(str(earlier.response.get("id")) for earlier in turn.before)
        tell = Tell(
            {"store": turn.said is not None, "previous_response_id": previous},
            _keep(turn, keeping, owner, provider.name, on_disk),
            taken,
            hides_thoughts=turn.hides_thoughts,
        )
        if isinstance(reply.body, Stream):
            reply.body.steps.append(tell)
        else:
            tell_whole(reply, tell)
        return reply

    def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
        document = exchange.document
        if exchange.dialect.name != RESPONSES or exchange.endpoint.kind not in ("generate", "count") or document is None:
            return call_next(exchange)
        return continued(exchange, document, call_next)

    return handler


async def _known(keeping: Keeps, owner: str, previous: str, most_bytes: int, is_kept_there: bool) -> list[Stored] | None:
    """The turns up to `previous`; None when the provider may know it. RequestRejected when nobody does."""
    try:
        before = await _before(keeping, owner, previous, most_bytes)
    except RequestRejected:
        raise
    except ProxyError:
        if is_kept_there:
            return None  # that our database is away stops nobody who does not need it
        raise
    if before is None and not is_kept_there:
        raise unknown_previous(previous)
    return before


async def _prepare(turn: _Turn, exchange: Exchange, keeping: Keeps, owner: str) -> None:
    """Put the whole conversation in the place of what refers to it, in this target's view of the request."""
    target, _ = bound(exchange)
    turn.items = read_input((await asked(exchange)).get("input"), _new_id)
    if names := references(turn.items):
        known = {str(item["id"]): item for earlier in turn.before for item in earlier.items if "id" in item}
        if missing := [name for name in names if name not in known]:
            known.update(await _items(keeping, owner, missing))
        turn.items = resolved(turn.items, known)
    if turn.before or names:
        to = target.provider.name if target.dialect is exchange.dialect else None
        exchange.edits.remove.add("previous_response_id")
        exchange.edits.replace["input"] = [*said_again(turn.before, to), *turn.items]


async def _items(keeping: Keeps, owner: str, ids: Sequence[str]) -> dict[str, Item]:
    """Items of kept responses by their ids."""
    where = await keeping.get(ITEM, owner, ids)
    turns = await _turns(keeping, owner, {id.decode() for id in where.values()})
    return {str(item["id"]): item for turn in turns.values() for item in turn.items if item.get("id") in where}


async def _will_keep(turn: _Turn, exchange: Exchange, *, translated: bool) -> None:
    aside = len(exchange.request.body) > ASIDE_BYTES
    try:
        turn.said = await asyncio.to_thread(orjson.dumps, turn.items) if aside else orjson.dumps(turn.items)
    except orjson.JSONEncodeError:
        return  # nested deeper than orjson writes; what cannot be kept may still be answered
    members = exchange.document.members if exchange.document is not None else {}
    include = members.get("include") or []
    if translated and isinstance(include, list) and ENCRYPTED not in include:
        # Without its signatures a conversation could not be said again; who did not ask for them is not shown them.
        turn.hides_thoughts = True
        exchange.edits.replace["include"] = [*include, ENCRYPTED]


def _keep(turn: _Turn, keeping: Keeps, owner: str, provider: str, on_disk: bool) -> Callable[[bytes, Mapping[str, Any]], None]:
    """What is called with a response that came to an end, as JSON text and as values."""

    def keep(text: bytes, response: Mapping[str, Any]) -> None:
        if turn.said is None or not is_done(response):
            return
        id = str(response["id"])
        keeping.put(RESPONSE, owner, {id: packed(text, turn.said, turn.previous, provider)}, on_disk=on_disk)
        names = {str(item["id"]): id.encode() for item in output_items(response) if item.get("id")}
        keeping.put(ITEM, owner, names, on_disk=on_disk)

    return keep


def _new_id(prefix: str) -> str:
    return prefix + token_hex(12)
