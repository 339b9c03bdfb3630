"""What an earlier provider of the conversation left in the history of a client that now speaks to another one in its own words.

Nothing is translated there, and so nothing leaves it out: Claude refuses signatures it did not write, OpenAI encrypted content that
it did not encrypt, Gemini calls without a signature, and strict chat servers every member they do not know. Nor has anyone but Claude
the key to what its search found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from respan_proxy.dialects.anthropic_citations import is_foreign as is_foreign_citation
from respan_proxy.dialects.anthropic_request_write import unsigned_loop
from respan_proxy.dialects.events import TAG
from respan_proxy.dialects.gemini_request_read import SKIP
from respan_proxy.dialects.openai_chat_state import EXTENSIONS
from respan_proxy.dialects.request import Losses, Profile

Members = Mapping[str, Any]

_ANNOTATIONS = "annotations"
_MARKS: Mapping[str, tuple[bytes, ...]] = {
    "anthropic.messages": (TAG.encode(),),
    "openai.responses": (TAG.encode(),),
    "gemini": (b"functionCall", b"function_call"),
}


def marks(dialect: str, profile: Profile) -> tuple[bytes, ...]:
    """What a body without any of it need not be read for, if reading it is dear."""
    return tuple(name.encode() for name in _refused(profile)) if dialect == "openai.chat" else _MARKS.get(dialect, ())


def _refused(profile: Profile) -> frozenset[str]:
    """Members of an assistant's message that a chat server does not take."""
    extensions = EXTENSIONS if "messages.extensions" in profile.refuses else frozenset[str]()
    return extensions | {_ANNOTATIONS} if "messages.annotations" in profile.refuses else extensions


_OUR_ITEM = re.compile(r"rs_[0-9a-f]{24}")
"""The service's own names are twice as long."""


def left_out(dialect: str, members: Members, profile: Profile, losses: Losses) -> dict[str, Any]:
    """Members of a request in `dialect` to send instead of those it has: the same without what its target did not give.

    Empty when there is nothing to leave out, which is told in little more time than it takes to look at every message. What has
    another shape than it should is not ours to judge.
    """
    clean = _CLEAN.get(dialect)
    return clean(members, profile, losses) if clean is not None else {}


def _messages(members: Members, profile: Profile, losses: Losses) -> dict[str, Any]:
    told = members.get("messages")
    # Claude signs all of its own; others that speak its dialect may not
    unsigned = ("", None) if profile.thinking is not None else ()
    if not isinstance(told, list):
        return {}
    for message in told:  # plain loops: most conversations are looked through for nothing
        if _has_foreign(message, unsigned):
            break
    else:
        return {}
    kept: list[Any] = []
    thought = False
    for message in told:
        if not _has_foreign(message, unsigned):
            kept.append(message)
            continue
        content: list[Any] = []
        for block in message["content"]:
            if _is_foreign(block, unsigned):
                thought = True
                losses.add("messages.reasoning")
            elif _cites_foreign(block):
                losses.add("messages.citations")
                content.append(_uncited(block))
            else:
                content.append(block)
        if content:
            kept.append({**message, "content": content})
    thinking = members.get("thinking")
    is_on = thought and isinstance(thinking, dict) and thinking.get("type") == "enabled"
    if is_on and _well_formed(kept) and unsigned_loop(kept):
        losses.add("reasoning", "dropped_missing_signature")
        return {"messages": kept, "thinking": {"type": "disabled"}}
    return {"messages": kept}


def _has_foreign(message: Any, unsigned: tuple[str | None, ...]) -> bool:
    if type(message) is not dict or message.get("role") != "assistant":
        return False
    content = message.get("content")
    if type(content) is list:
        for block in content:
            if type(block) is dict and (
                (block.get("type") == "thinking" and _is_foreign(block, unsigned)) or ("citations" in block and _cites_foreign(block))
            ):
                return True
    return False


def _cites_foreign(block: Any) -> bool:
    """Text with a citation of ours, whose key Claude never gave."""
    cited = block.get("citations") if type(block) is dict and block.get("type") == "text" else None
    return type(cited) is list and any(is_foreign_citation(citation) for citation in cited)


def _uncited(block: dict[str, Any]) -> dict[str, Any]:
    own = [citation for citation in block["citations"] if not is_foreign_citation(citation)]
    return {**{name: value for name, value in block.items() if name != "citations"}, **({"citations": own} if own else {})}


def _is_foreign(block: Any, unsigned: tuple[str | None, ...]) -> bool:
    """Thinking under a tag of ours, or that nobody signed."""
    if type(block) is not dict or block.get("type") != "thinking":
        return False
    signature = block.get("signature")
    return signature in unsigned or (isinstance(signature, str) and signature.startswith(TAG))


def _well_formed(messages: list[Any]) -> bool:
    return all(
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and isinstance(content := message.get("content"), (str, list))
        and bool(content)
        and (isinstance(content, str) or all(isinstance(block, dict) and isinstance(block.get("type"), str) for block in content))
        for message in messages[-2:]
    )


def _responses(members: Members, profile: Profile, losses: Losses) -> dict[str, Any]:
    told = members.get("input")
    if not isinstance(told, list) or not any(_is_foreign_item(item) for item in told):
        return {}
    losses.add("messages.reasoning")
    return {"input": [item for item in told if not _is_foreign_item(item)]}


def _is_foreign_item(item: Any) -> bool:
    if type(item) is not dict or item.get("type") != "reasoning":
        return False
    encrypted = item.get("encrypted_content")
    if isinstance(encrypted, str):
        return encrypted.startswith(TAG)
    # the service would look for it among its own
    return encrypted is None and isinstance(id := item.get("id"), str) and _OUR_ITEM.fullmatch(id) is not None


def _chat(members: Members, profile: Profile, losses: Losses) -> dict[str, Any]:
    told, refused = members.get("messages"), _refused(profile)
    if not refused or not isinstance(told, list):
        return {}
    extended = annotated = cited = False
    for message in told:
        if type(message) is dict and message.get("role") == "assistant":
            extended = extended or ("messages.extensions" in profile.refuses and _is_extended(message))
            if _ANNOTATIONS in message and _ANNOTATIONS in refused:  # OpenAI says an empty list with every answer
                annotated, cited = True, cited or bool(message[_ANNOTATIONS])
    if not (extended or annotated):
        return {}
    if extended:
        losses.add("messages.reasoning")
    if cited:
        losses.add("messages.citations")
    return {"messages": [_plain(message, refused) for message in told]}


def _is_extended(message: dict[str, Any]) -> bool:
    if not EXTENSIONS.isdisjoint(message):
        return True
    calls = message.get("tool_calls")
    if type(calls) is list:
        for call in calls:
            if type(call) is dict and "extra_content" in call:
                return True
    return False


def _plain(message: Any, refused: frozenset[str]) -> Any:
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return message
    plain = {name: value for name, value in message.items() if name not in refused}
    if isinstance(calls := plain.get("tool_calls"), list):
        plain["tool_calls"] = [
            {name: value for name, value in call.items() if name not in refused} if isinstance(call, dict) else call for call in calls
        ]
    return plain


_SIGNATURES = ("thoughtSignature", "thought_signature")
_CALLS = ("functionCall", "function_call")


def _contents(members: Members, profile: Profile, losses: Losses) -> dict[str, Any]:
    """Here nothing is left out: models that think in levels refuse a step whose first call is unsigned, as all calls of others are."""
    told = members.get("contents")
    if profile.thinking != "level" or not isinstance(told, list) or not (places := _unsigned_steps(told)):
        return {}
    losses.add("messages.reasoning", "skipped")
    signed = list(told)
    for content, part in places:
        parts = list(signed[content]["parts"])
        parts[part] = {**parts[part], "thoughtSignature": SKIP}
        signed[content] = {**signed[content], "parts": parts}
    return {"contents": signed}


def _unsigned_steps(contents: list[Any]) -> list[tuple[int, int]]:
    """(content, part) of the first call of each step without a signature. Neighbouring contents of the model are one step."""
    places: list[tuple[int, int]] = []
    first: tuple[int, int] | None = None
    signed = False
    for index, content in enumerate(contents):
        if type(content) is not dict or content.get("role") != "model":
            if first is not None and not signed:
                places.append(first)
            first, signed = None, False
            continue
        parts = content.get("parts")
        for place, part in enumerate(parts if type(parts) is list else ()):
            if type(part) is dict:
                signed = signed or any(part.get(name) for name in _SIGNATURES)
                if first is None and any(part.get(name) is not None for name in _CALLS):
                    first = index, place
    if first is not None and not signed:
        places.append(first)
    return places


_CLEAN: Mapping[str, Callable[[Members, Profile, Losses], dict[str, Any]]] = {
    "anthropic.messages": _messages,
    "openai.responses": _responses,
    "openai.chat": _chat,
    "gemini": _contents,
}
