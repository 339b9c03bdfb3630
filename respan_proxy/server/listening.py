"""The listening sockets: TCP or unix, and how they are given up."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from respan_proxy.config import Limits, Listen
from respan_proxy.errors import ConfigError
from respan_proxy.server.connections import LINGERING_S, MAX_HEADERS, Connections
from respan_proxy.server.gateway import Gateway

BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Door:
    """An address and who answers there; `option` is what chose it."""

    option: str
    listen: Listen
    serve: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(gateway: Gateway, doors: Sequence[Door], limits: Limits) -> AsyncIterator[list[Listen]]:
    """Serve while the context is open; yields where, one address a door (with the port that the system chose for port 0).

    On leaving: no new connections, open calls may finish for `limits.shutdown_s` seconds, the rest is cut.
    """
    factories: list[Connections] = []
    servers: list[asyncio.Server] = []
    bound: list[Listen] = []
    problems: list[str] = []
    try:
        for door in doors:
            factories.append(_connections(door, limits))
            try:
                server, where = await _open(factories[-1], door.listen)
            except OSError as error:
                problems.append(_why(door.option, door.listen, error))
            else:
                servers.append(server)
                bound.append(where)
        if problems:
            raise ConfigError(problems)
        yield bound
    finally:
        gateway.stopping = True
        for server in servers:
            server.close()
        gateway.cuts = not await gateway.drained(limits.shutdown_s)
        for factory in factories:
            await factory.shutdown(timeout=0.1)
        for where in bound:
            if where.path is not None:
                _unlink(where.path)


def _connections(door: Door, limits: Limits) -> Connections:
    # handler_cancellation: without it a caller that leaves during a provider's silence is not noticed (tried).
    return Connections(
        door.serve,
        handler_cancellation=True,
        access_log=None,
        auto_decompress=False,
        lingering_time=LINGERING_S,
        keepalive_timeout=75.0,
        max_line_size=limits.header_bytes,
        max_field_size=limits.header_bytes,
        max_headers=MAX_HEADERS,
    )


async def _open(factory: Connections, listen: Listen) -> tuple[asyncio.Server, Listen]:
    loop = asyncio.get_running_loop()
    if listen.path is not None:
        _remove_dead_socket(listen.path)
        server = await loop.create_unix_server(factory, listen.path, backlog=BACKLOG)
        os.chmod(listen.path, 0o600)
        return server, listen
    server = await loop.create_server(factory, listen.host, listen.port, backlog=BACKLOG, reuse_address=True)
    return server, Listen(host=listen.host, port=server.sockets[0].getsockname()[1])


def obstacles(option: str, listen: Listen | None) -> list[str]:
    """What would keep us from listening there, tried and given up again; for a start that fails on something else anyhow."""
    if listen is None or listen.path is not None:
        return []
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        with socket.create_server((listen.host, listen.port), family=family):
            return []
    except OSError as error:
        return [_why(option, listen, error)]


def _why(option: str, listen: Listen, error: OSError) -> str:
    if error.errno != errno.EADDRINUSE:
        return f"{option}: cannot listen on {listen}: {error.strerror or error}"
    if option != "listen":
        return (
            f"{option}: {listen} is in use by another program, perhaps a collector of OpenTelemetry; "
            "stop it, choose another address, or leave the option out: spans are taken where everything else is, too"
        )
    return (
        f"listen: {listen} is in use by another program, perhaps another respan-proxy; "
        f"stop it, or choose another address: --listen {listen.host or '127.0.0.1'}:{(listen.port or 7776) + 1}"
    )


def _remove_dead_socket(path: str) -> None:
    """A socket file that nobody answers on is left over from a killed process."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            _unlink(path)
        except OSError:
            return
        else:
            raise OSError(errno.EADDRINUSE, "in use")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
