"""The composition root: a `Config` becomes objects, the objects a chain, the chain a listening server.

Read `compose`: its list is the architecture, in the order a call meets it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from respan_proxy import __version__, images
from respan_proxy.config import Config, Listen
from respan_proxy.echo.provider import Echo
from respan_proxy.errors import ConfigError
from respan_proxy.exchange import Next, afterwards, chain
from respan_proxy.exports.running import Exports
from respan_proxy.handlers.answer_errors import answer_errors
from respan_proxy.handlers.authenticate import HOP_HEADER, authenticate
from respan_proxy.handlers.cache import Cache
from respan_proxy.handlers.count_tokens import count_tokens
from respan_proxy.handlers.end_streams import end_streams
from respan_proxy.handlers.fallback import fallback
from respan_proxy.handlers.faults import faults
from respan_proxy.handlers.fetch_images import fetch_images
from respan_proxy.handlers.judge import judge
from respan_proxy.handlers.keep_secrets import keep_secrets
from respan_proxy.handlers.keep_state import keep_state
from respan_proxy.handlers.leave_foreign import leave_foreign
from respan_proxy.handlers.limits import Limits
from respan_proxy.handlers.models import Models
from respan_proxy.handlers.observe import observe
from respan_proxy.handlers.parameters import parameters
from respan_proxy.handlers.reshape import reshape
from respan_proxy.handlers.respell import respell
from respan_proxy.handlers.retry import retry
from respan_proxy.handlers.send import send
from respan_proxy.handlers.slots import Slots
from respan_proxy.handlers.standing import Standing
from respan_proxy.handlers.state import state, stored
from respan_proxy.handlers.trace import Trace
from respan_proxy.handlers.translate import translate
from respan_proxy.handlers.translate_embeddings import translate_embeddings
from respan_proxy.handlers.warn import warn
from respan_proxy.loading import Settings, load
from respan_proxy.policy.balancing import Loads
from respan_proxy.policy.breaking import Breaker
from respan_proxy.reporting import report
from respan_proxy.server.banner import banner, facts
from respan_proxy.server.house import House
from respan_proxy.server.listening import listening, obstacles
from respan_proxy.server.rest.resource import Store
from respan_proxy.store.exporting import Exporting
from respan_proxy.store.queries import Queries
from respan_proxy.store.retention import Retention
from respan_proxy.store.spending import spending
from respan_proxy.store.traces import Traces
from respan_proxy.store.writer import Writer
from respan_proxy.tokens import Tokens
from respan_proxy.upstream import Upstream

log = logging.getLogger(__name__)

STOPPING = (signal.SIGTERM, signal.SIGINT)

# A busy thread (compression, a big parse) delays the loop by up to one interval; measured 5.8 ms with Python's 5 ms, 1.2 ms with this.
SWITCH_INTERVAL_S = 0.0005

# How long what is to be passed on may take into the database at the end.
SETTLE_S = 5.0

# Python's own are 700, 10, 10. A call leaves no cycles behind, so that looking for them is work for nothing.
GC_THRESHOLDS = (20_000, 20, 50)


@dataclass(frozen=True, slots=True)
class Parts:
    """What lives as long as the process: a reload replaces the chain and keeps these."""

    upstream: Tokens
    writer: Writer
    models: Models
    cache: Cache
    limits: Limits
    breaker: Breaker
    loads: Loads
    slots: Slots
    instance_id: str


def compose(config: Config, parts: Parts) -> Next:
    """The chain. A handler sees what the ones before it did on the way in, and what the ones behind it did on the way out."""
    clock = time.monotonic
    echo = Echo(pace_s=config.echo.pace_ms / 1000, first_byte_s=config.timeouts.first_byte_s, silence_s=config.timeouts.silence_s)
    trace = Trace(parts.writer, config, parts.instance_id, clock)
    return chain(
        answer_errors,  # of strangers, and of callers without a key: no row tells of them
        authenticate(config, parts.instance_id),
        parts.models.lists(config),  # model lists are answered here
        parts.limits.settle,  # once the row is whole
        trace.record,
        afterwards(end_streams, warn),
        answer_errors,
        parameters(config),
        trace.announce,
        parts.limits.admits(config),
        reshape(config, clock),
        stored(parts.writer.keeping),
        parts.cache.answers(config, parts.writer.begin),
        fallback(config, parts.models.listed, Standing(config, parts.breaker, parts.loads, clock, random.random)),
        state(config, parts.writer.keeping),
        count_tokens,
        translate_embeddings(config),
        fetch_images(config.images, images.fetch),
        leave_foreign(config),
        keep_state(parts.writer.keeping, config),
        translate(config),
        respell(config),
        retry(config.retry, clock),
        parts.slots.hold,
        observe(clock, config.body_bytes),
        keep_secrets,
        judge,
        faults(config, clock),
        last=send(parts.upstream.send, echo.send, parts.instance_id, clock),
    )


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[House]:
    """A proxy that serves while the context is open. `house.address` is where (port 0 became a real one)."""
    async with AsyncExitStack() as stack:
        writer = Writer(
            Path(config.database),
            durability=config.durability,
            retention=_retention(config),
            queue_bytes=config.queue_bytes,
            body_bytes=config.body_bytes,
            by_likeness=config.telemetry.match_by_likeness,
        )
        try:
            await stack.enter_async_context(writer)
        except ConfigError as error:
            # Whoever started it twice has both mistakes to hear of.
            beside = obstacles("telemetry.listen", config.telemetry.listen)
            raise ConfigError([*error.problems, *obstacles("listen", config.listen), *beside]) from error
        upstream = await stack.enter_async_context(Upstream())
        queries = Queries(Path(config.database))
        stack.push_async_callback(queries.close)
        exports = await stack.enter_async_context(_exports(config, writer))
        traces = Traces(Path(config.database))
        stack.push_async_callback(traces.close)
        tokens = Tokens(upstream.send)
        stack.push_async_callback(tokens.close)
        cache = await stack.enter_async_context(Cache())
        limits = await stack.enter_async_context(Limits(partial(spending, Path(config.database), writer.instance_id)))
        parts = Parts(tokens, writer, Models(tokens.send), cache, limits, Breaker(), Loads(), Slots(time.monotonic), writer.instance_id)
        stack.push_async_callback(parts.models.close)

        def adopt(changed: Config) -> Next:
            writer.adopt(
                retention=_retention(changed),
                queue_bytes=changed.queue_bytes,
                body_bytes=changed.body_bytes,
                by_likeness=changed.telemetry.match_by_likeness,
            )
            exports.adopt(changed.exports)
            return compose(changed, parts)

        store = Store(queries, traces, writer, cache.entries)
        house = House(config, store, limits, parts.breaker, exports.status, adopt)
        house.address, *house.beside = await stack.enter_async_context(listening(house.gateway, house.doors(), config.limits))
        yield house


@asynccontextmanager
async def _exports(config: Config, writer: Writer) -> AsyncIterator[Exports]:
    """Everything that the writer commits is passed on, the last of it after the last call."""
    exporting = Exporting(Path(config.database))
    try:
        headers = {HOP_HEADER: writer.instance_id, "X-Respan-Dogfood": "1"}
        async with Exports(exporting.read, partial(writer.barrier, SETTLE_S), writer.instance_id, headers) as exports:
            exports.adopt(config.exports)
            writer.settled.append(exports.told)
            yield exports
    finally:
        await exporting.close()


def _retention(config: Config) -> Retention:
    return Retention(
        max_age_s=config.retention.age_days * 86_400,
        max_bytes=config.retention.size_bytes,
        kept_max_age_s=config.state.age_days * 86_400,
        kept_max_bytes=config.state.size_bytes,
    )


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    try:
        config = load(settings, os.environ)
        report(config)
        return _run_loop(serve(settings, config))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 1


async def serve(settings: Settings, config: Config) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    for number in STOPPING:
        loop.add_signal_handler(number, stop.set)
    async with running(config) as house:
        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, _reload, house, settings)
        settle_garbage_collection()
        _announce(config, house.address, *house.beside)
        await stop.wait()
        for number in STOPPING:
            loop.add_signal_handler(number, house.gateway.wait_no_longer)
        log.info("stopping: open calls may finish for %g s, or until a second signal", config.limits.shutdown_s)
    return 0


def settle_garbage_collection() -> None:
    """What is there now stays: the collector need not look at it again, nor look as often (a tenth of a call's CPU, measured)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _announce(config: Config, address: Listen, beside: Listen | None = None) -> None:
    if config.log.format == "json":
        told = facts(config, address, beside)
        log.info("respan-proxy %s listens on %s", __version__, told["address"], extra={"facts": told})
        for warning in config.warnings:
            log.warning("%s", warning)
        return
    sys.stderr.write(f"{banner(config, address, beside)}\n")
    sys.stderr.flush()


def _reload(house: House, settings: Settings) -> None:
    try:
        config = _beside(house.config, load(settings, os.environ))
    except ConfigError as error:
        for problem in error.problems:
            log.error("reload refused, the old configuration goes on: %s", problem)
        return
    house.adopt(config)
    report(config)
    log.info("configuration reloaded")


def _beside(running: Config, loaded: Config) -> Config:
    """What was loaded, but for what only a restart changes. `ConfigError` when it would leave the socket that is open without keys."""
    fixed = {name: getattr(running, name) for name in ("listen", "database", "durability")}
    for name, value in fixed.items():
        if getattr(loaded, name) != value:
            log.warning("reload: %s changes only with a restart, and stays %s", name, value)
    beside = running.telemetry.listen
    if loaded.telemetry.listen != beside:
        log.warning("reload: telemetry.listen changes only with a restart, and stays %s", beside or "as it is: none")
    for listen in (running.listen, beside):
        if listen is not None and not listen.is_loopback and not loaded.keys:
            raise ConfigError([f"keys: found none, expected one at least while the proxy listens on {listen}, beyond this machine"])
    return replace(loaded, **fixed, telemetry=replace(loaded.telemetry, listen=beside))


def _run_loop(main: Any) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)  # type: ignore[no-any-return]
    return uvloop.run(main)  # type: ignore[no-any-return]
