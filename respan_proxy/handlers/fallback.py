"""Where a call goes, and where it goes when that fails: targets are asked in turn until one answers.

The model's name decides the provider, the provider decides whose credential travels along. Each target is asked through a view of the
exchange of its own. If all fail, the caller hears what the first one said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from respan_proxy.config import Config, Provider
from respan_proxy.dialects import DIALECTS
from respan_proxy.errors import ProxyError, TooLarge, UpstreamUnavailable
from respan_proxy.exchange import NO_PROFILE, Exchange, Handler, Next, Reply, Target
from respan_proxy.handlers.blame import blame
from respan_proxy.handlers.send import bound
from respan_proxy.policy import planning, routing
from respan_proxy.policy.credentials import secret_for
from respan_proxy.policy.retrying import failure
from respan_proxy.policy.routing import Route
from respan_proxy.respan.endpoints import Endpoint

PIN_HEADER = "X-Respan-Route-Provider"

# Said when another than the model that was asked for answered.
ANSWERED_BY_FALLBACK = "model:answered_by_fallback"

# Apps use a handful of names; deciding anew costs 30 us.
REMEMBERED_ROUTES = 256

# What another target can do as well.
_FALLS_BACK = frozenset({"generate", "embed", "count"})

_Key = tuple[str | None, str, str, str | None, str | None, str | None]


def fallback(config: Config, listed: Callable[[], Mapping[str, Collection[str]]], clock: Callable[[], float]) -> Handler:
    """`listed` gives the models that providers are known to list, by provider name: the same object as long as they are the same."""
    decide = _remembering(config, listed)

    def toward(exchange: Exchange, model: str | None) -> Exchange:
        """A view of the exchange for its try at `model`. Raises what refuses it: unknown, without a credential, too large."""
        endpoint, caller = exchange.endpoint, exchange.caller
        way = decide(model, endpoint, exchange.request.headers.get(PIN_HEADER), caller.credential)
        secret, is_callers = secret_for(way.provider, caller, config, endpoint.dialect)
        dialect = DIALECTS[routing.spoken(way.provider, endpoint, way.model, config)]
        profile = config.profile(way.provider.name, way.model) if way.model is not None else NO_PROFILE
        _refuse_too_large(exchange, way.provider)
        view = exchange.toward(Target(way.provider, dialect, way.model, secret, is_callers, way.stands_in, profile), clock())
        view.warnings += way.warnings
        if way.stands_in:
            view.warnings.append("model:answered_by_echo")
        if way.warnings:
            bound(view)[1].notes.append(way.reason)
        if endpoint.model is None and way.model is not None and way.model != exchange.model and not way.stands_in:
            view.edits.replace["model"] = way.model
        if not way.provider.quirks.ask_usage and not endpoint.is_relay:  # on a relay the caller's own stands there
            view.edits.replace.pop("stream_options", None)
        view.model = model
        return view

    async def handler(exchange: Exchange, call_next: Next) -> Reply:
        if exchange.endpoint.kind not in _FALLS_BACK or exchange.endpoint.is_relay:
            view = toward(exchange, exchange.model)
            reply = await call_next(view)
            exchange.adopt(view)
            return reply
        values, rules = exchange.params.values, config.rules(exchange.model)
        names = planning.names(exchange.model, values, rules)
        return await _in_turn(exchange, names, planning.first_token_s(values, rules), toward, call_next)

    return handler


async def _in_turn(
    exchange: Exchange,
    names: Sequence[str | None],
    patience_s: float | None,
    toward: Callable[[Exchange, str | None], Exchange],
    call_next: Next,
) -> Reply:
    """The answer of the first target that has one; of none, what the first said. Where there is another to ask, a failure says why."""
    first: tuple[Exchange | None, Reply | ProxyError] | None = None
    passed_over: list[str] = []
    for name in names:
        view, outcome = await _asked(exchange, name, patience_s, toward, call_next, passed_over)
        failed = failure(outcome, callers_key=view is not None and bound(view)[0].secret_is_callers)
        if failed is None:
            return _settled(exchange, view, outcome, is_first=first is None)
        if view is None:
            passed_over.append(f"{name} was passed over: {outcome}")
        elif len(names) > 1:
            blame(view, outcome)
        if first is None:
            first = view, outcome
        elif isinstance(outcome, Reply):
            await outcome.aclose()
        if not failed.elsewhere:
            break
    if first is None:
        raise RuntimeError("a call has one model to ask at least, if only the nameless one")
    exchange.quiet_warnings += passed_over if len(names) > 1 else ()
    return _settled(exchange, *first, is_first=True)


async def _asked(
    exchange: Exchange,
    name: str | None,
    patience_s: float | None,
    toward: Callable[[Exchange, str | None], Exchange],
    call_next: Next,
    passed_over: list[str],
) -> tuple[Exchange | None, Reply | ProxyError]:
    """The view of one try, if the name led anywhere, and what came of it."""
    view: Exchange | None = None
    try:
        view = toward(exchange, name)
        if passed_over:
            bound(view)[1].notes.extend(passed_over)
            passed_over.clear()
        return view, await _within(patience_s, call_next, view)
    except ProxyError as error:
        return view, error


def _remembering(
    config: Config, listed: Callable[[], Mapping[str, Collection[str]]]
) -> Callable[[str | None, Endpoint, str | None, str | None], Route]:
    """`routing.route`, with its decisions kept until what providers list changes."""
    known: dict[_Key, Route] = {}
    known_with = listed()

    def decide(model: str | None, endpoint: Endpoint, pin: str | None, credential: str | None) -> Route:
        nonlocal known_with
        if (lists := listed()) is not known_with:
            known.clear()
            known_with = lists
        # Of an endpoint what decides; hashing all of it costs as much as three look-ups.
        key = (model, endpoint.name, endpoint.dialect, endpoint.provider, pin, credential)
        way = known.get(key)
        if way is None:
            if len(known) >= REMEMBERED_ROUTES:
                known.clear()
            way = known[key] = routing.route(model, endpoint, config, listed=lists, pin=pin, credential=credential)
        return way

    return decide


async def _within(patience_s: float | None, call_next: Next, view: Exchange) -> Reply:
    """The target's reply: of a stream, with its first words in hand. `UpstreamUnavailable` when it took longer than `patience_s`."""
    if patience_s is None:
        return await call_next(view)
    try:
        async with asyncio.timeout(patience_s):
            return await call_next(view)
    except TimeoutError:
        name = bound(view)[0].provider.name
        raise UpstreamUnavailable(
            f"provider {name!r} had said nothing after {patience_s:g} s (first_token_timeout)",
            may_have_run=True,
            status=504,
            kind="timeout",
        ) from None


def _settled(exchange: Exchange, view: Exchange | None, outcome: Reply | ProxyError, *, is_first: bool) -> Reply:
    """This is what the caller hears."""
    if view is not None:
        exchange.adopt(view)
        if not is_first:
            exchange.warnings.append(ANSWERED_BY_FALLBACK)
    if isinstance(outcome, ProxyError):
        raise outcome
    return outcome


def _refuse_too_large(exchange: Exchange, provider: Provider) -> None:
    size, limit = len(exchange.request.body), provider.request_bytes
    if size > limit:
        raise TooLarge(
            f"the request's body has {size} bytes; provider {provider.name!r} is sent at most {limit} "
            f"(providers.{provider.name}.request_bytes, limits.request_bytes)"
        )
