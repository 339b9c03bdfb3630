"""A request in its target's own dialect, for a model that spells a member otherwise or answers 400 to it: edited, and never more than that.

Resellers of Claude want the model in the path and the version in the body (`Provider.bodies`).

`max_tokens` becomes `max_completion_tokens` for OpenAI's reasoning models, a temperature they refuse is left out and told. Callers switch
models by a name; that the new one knows fewer knobs should not break their call. What a server merely ignores stays where it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping
from typing import Any

from respan_proxy.config import Config
from respan_proxy.dialects.request import Losses, Profile
from respan_proxy.exchange import Edits, Exchange, Handler, Next, Reply
from respan_proxy.handlers.losses import account_for
from respan_proxy.handlers.send import bound

# Asking for what a model does anyway loses nothing.
_DEFAULTS: Mapping[str, Any] = {
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": {},
    "stop": [],
}

# Left out, they change no answer.
_HINTS = frozenset({"prompt_cache_key", "stream_options"})


def respell(config: Config) -> Handler:
    def handler(exchange: Exchange, call_next: Next) -> Awaitable[Reply]:
        target, _ = bound(exchange)
        if target.provider.bodies and target.dialect is exchange.dialect:
            _envelop(exchange)
        rejects = target.profile.rejects
        document = exchange.document
        if (
            rejects
            and document is not None
            and exchange.endpoint.name == "chat.completions"  # not a relay, whose bytes are the caller's own
            and target.dialect is exchange.dialect
            and not target.provider.built_in
            and (named := rejects & document.members.keys())
        ):
            losses = Losses()
            adapt(exchange.edits, document.members, sorted(named), target.profile, losses)
            account_for(losses, exchange, config)
        return call_next(exchange)

    return handler


def _envelop(exchange: Exchange) -> None:
    """A native body for a reseller of the company whose dialect it is: the model in the path, the version in the body."""
    envelope = bound(exchange)[0].provider.bodies.get(exchange.endpoint.path)
    if envelope is None or exchange.document is None:
        return
    remove, add = envelope.changes(exchange.document.members, exchange.request.headers.get("anthropic-beta"))
    for name in remove:
        exchange.edits.replace.pop(name, None)  # the model's name there, which went into the path
    exchange.edits.remove |= remove
    exchange.edits.replace.update(add)


def adapt(edits: Edits, members: Mapping[str, Any], named: Collection[str], profile: Profile, losses: Losses) -> None:
    """Take the members that are `named` out of a chat request, or give them the name that the model knows."""
    renamed: Mapping[str, str | None] = {
        "max_tokens": profile.max_tokens_field,
        "max_completion_tokens": profile.max_tokens_field,
        "seed": profile.seed_field,
        "user": profile.user_field,
        "safety_identifier": profile.user_field,
    }
    effort = members.get("reasoning_effort")
    for name in named:
        value = members[name]
        if name in edits.remove or profile.samples(name, effort):
            continue
        edits.remove.add(name)
        edits.replace.pop(name, None)
        instead = renamed.get(name) if renamed.get(name) != name else None
        if instead is not None and instead not in members and value is not None:
            edits.replace[instead] = value
        elif value is not None and value != _DEFAULTS.get(name) and name not in _HINTS and instead not in members:
            losses.add(name)
