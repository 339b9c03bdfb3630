"""Stored Responses as values: what is kept of one, how a conversation is said again from several, and how they are listed.

Source: OpenAI's API reference and openai 3.57 (`ResponseItemList`, `InputItemListParams`); the errors in the service's own words, as
many public reports quote them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from respan_proxy.dialects.asked import Asked, found, wrong
from respan_proxy.dialects.events import Opaque
from respan_proxy.errors import RequestRejected

NewId = Callable[[str], str]
Item = dict[str, Any]

ENCRYPTED = "reasoning.encrypted_content"

PAGE_ITEMS, MOST_ITEMS = 20, 100

# The beginnings of ids that the service and its SDKs know; calls and their results must begin with `fc` and `ctc`.
_PREFIX: Mapping[str, str] = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "custom_tool_call": "ctc_",
    "custom_tool_call_output": "ctco_",
}
_DONE = frozenset({"completed", "incomplete"})


@dataclass(frozen=True, slots=True)
class Stored:
    """One response, the items that were new in its request, the response before it, and the provider that gave it."""

    response: Mapping[str, Any]
    input: Sequence[Item]
    previous: str | None
    provider: str

    @property
    def items(self) -> list[Item]:
        """What was said in this turn, by either side."""
        return [*self.input, *output_items(self.response)]


def packed(response: bytes, said: bytes, previous: str | None, provider: str) -> bytes:
    """What is kept: `response` and `said` (the new items) are JSON text."""
    head = orjson.dumps({"provider": provider, "previous": previous})
    return b'%b,"response":%b,"input":%b}' % (head[:-1], response, said)


def unpacked(data: bytes) -> Stored:
    kept = orjson.loads(data)
    return Stored(kept["response"], kept["input"], kept["previous"], kept["provider"])


def is_done(response: Mapping[str, Any]) -> bool:
    """Whether a response is worth keeping: it came to an end, and not to a bad one."""
    return isinstance(response.get("id"), str) and response.get("status", "completed") in _DONE


def output_items(response: Mapping[str, Any]) -> list[Item]:
    output = response.get("output")
    return [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []


def read_input(said: object, new_id: NewId) -> list[Item]:
    """A request's `input` as the items that are listed later: each with an id, messages with parts. RequestRejected for other shapes."""
    if said is None:
        return []
    if isinstance(said, str):
        return [_listed({"role": "user", "content": said}, new_id)]
    if not isinstance(said, list):
        raise wrong("input", said, "a string or an array of items")
    asked = [item.members for item in Asked({"input": said}).objects("input")]
    return [dict(item) if _is_reference(item) else _listed(item, new_id) for item in asked]


def _listed(item: Mapping[str, Any], new_id: NewId) -> Item:
    kind = item.get("type") or "message"
    id = item.get("id") or new_id(_PREFIX.get(kind, "item_"))
    if kind != "message":
        return {**item, "id": id}
    content = item.get("content")
    if isinstance(content, str):
        said = {"type": "output_text", "text": content, "annotations": []} if item.get("role") == "assistant" else None
        content = [said or {"type": "input_text", "text": content}]
    return {"type": "message", "status": "completed", **item, "id": id, "content": content}


def references(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """The ids of items that stand in a request by reference."""
    return [item["id"] for item in items if _is_reference(item) and isinstance(item.get("id"), str)]


def _is_reference(item: Mapping[str, Any]) -> bool:
    return item.get("type", "item_reference") == "item_reference" and "role" not in item


def resolved(items: Iterable[Item], known: Mapping[str, Item]) -> list[Item]:
    """The items with those put in that are only referred to; what is not known stays a reference."""
    return [known.get(item["id"], item) if _is_reference(item) and isinstance(item.get("id"), str) else item for item in items]


def said_again(turns: Iterable[Stored], to: str | None) -> list[Item]:
    """The conversation so far as a request's items. `to` is the provider when it is told in its own words, None when they are translated.

    A provider reads nobody's thoughts but its own: it would refuse a foreign signature, and thoughts without one that it does not know.
    """
    return [item for turn in turns for item in turn.items if to is None or not _is_foreign_thought(item, turn.provider, to)]


def _is_foreign_thought(item: Mapping[str, Any], by: str, to: str) -> bool:
    if item.get("type") != "reasoning":
        return False
    encrypted = item.get("encrypted_content")
    return by != to or (isinstance(encrypted, str) and Opaque.untagged(encrypted) is not None)


def without_thoughts(item: Item) -> Item:
    """The item as who did not ask for encrypted thoughts is shown it."""
    if item.get("type") != "reasoning" or "encrypted_content" not in item:
        return item
    return {name: value for name, value in item.items() if name != "encrypted_content"}


def shown(response: Mapping[str, Any]) -> dict[str, Any]:
    """The response as who did not ask for encrypted thoughts is shown it."""
    return {**response, "output": [without_thoughts(item) for item in output_items(response)]}


def page(items: Sequence[Item], query: Mapping[str, str]) -> dict[str, Any]:
    """One page of a list (`limit`, `order`, `after`, `before`), newest first unless asked otherwise. RequestRejected for a wrong one."""
    limit, order = _limit(query.get("limit")), query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise wrong("order", order, "asc or desc")
    listed = list(items) if order == "asc" else list(reversed(items))
    places = {item.get("id"): at for at, item in enumerate(listed)}
    for name in ("after", "before"):
        if (id := query.get(name)) is not None and id not in places:
            raise RequestRejected(f"'{name}' is {found(id)}; expected the id of an item in this list", param=name, code="invalid_value")
    first = places[query["after"]] + 1 if "after" in query else 0
    last = places[query["before"]] if "before" in query else len(listed)
    data = [without_thoughts(item) for item in listed[first:last][:limit]]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0].get("id") if data else None,
        "last_id": data[-1].get("id") if data else None,
        "has_more": first + len(data) < last,
    }


def _limit(said: str | None) -> int:
    if said is None:
        return PAGE_ITEMS
    if said.isascii() and said.isdecimal() and len(said) <= len(str(MOST_ITEMS)) and 1 <= int(said) <= MOST_ITEMS:
        return int(said)
    raise wrong("limit", said, f"an integer between 1 and {MOST_ITEMS}")


def deleted(id: str) -> dict[str, Any]:
    return {"id": id, "object": "response", "deleted": True}


def unknown_response(id: str) -> RequestRejected:
    return _not_found(f"Response with id '{id}' not found.")


def unknown_previous(id: str) -> RequestRejected:
    """404: the word of the code is the service's own, which has been seen to answer it with 400; clients look at the code."""
    told = f"Previous response with id {id!r} not found."
    return _not_found(told, param="previous_response_id", code="previous_response_not_found")


def _not_found(message: str, *, param: str | None = None, code: str = "response_not_found") -> RequestRejected:
    return RequestRejected(message, status=404, kind="not_found", param=param, code=code)


def not_in_background() -> RequestRejected:
    return RequestRejected("Cannot cancel a synchronous response.")


def not_streamed_again(id: str) -> RequestRejected:
    return RequestRejected(f"Response with id '{id}' was not created in the background: it cannot be streamed again.", param="stream")
