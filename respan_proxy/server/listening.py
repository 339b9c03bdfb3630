"""The listening socket: TCP or unix, and how it is given up."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from respan_proxy.config import Limits, Listen
from respan_proxy.errors import ConfigError
from respan_proxy.server.connections import LINGERING_S, MAX_HEADERS, Connections
from respan_proxy.server.gateway import Gateway

BACKLOG = 1024


@asynccontextmanager
async def listening(gateway: Gateway, listen: Listen, limits: Limits) -> AsyncIterator[Listen]:
    """Serve while the context is open; yields where (with the port that the system chose for port 0).

    On leaving: no new connections, open calls may finish for `limits.shutdown_s` seconds, the rest is cut.
    """
    loop = asyncio.get_running_loop()
    # handler_cancellation: without it a caller that leaves during a provider's silence is not noticed (tried).
    factory = Connections(
        gateway,
        handler_cancellation=True,
        access_log=None,
        auto_decompress=False,
        lingering_time=LINGERING_S,
        keepalive_timeout=75.0,
        max_line_size=limits.header_bytes,
        max_field_size=limits.header_bytes,
        max_headers=MAX_HEADERS,
    )
    try:
        if listen.path is not None:
            _remove_dead_socket(listen.path)
            server = await loop.create_unix_server(factory, listen.path, backlog=BACKLOG)
            os.chmod(listen.path, 0o600)
            bound = listen
        else:
            server = await loop.create_server(factory, listen.host, listen.port, backlog=BACKLOG, reuse_address=True)
            bound = Listen(host=listen.host, port=server.sockets[0].getsockname()[1])
    except OSError as error:
        raise ConfigError([_why(listen, error)]) from error
    try:
        yield bound
    finally:
        gateway.stopping = True
        server.close()
        gateway.cuts = not await gateway.drained(limits.shutdown_s)
        await factory.shutdown(timeout=0.1)
        if listen.path is not None:
            _unlink(listen.path)


def obstacles(listen: Listen) -> list[str]:
    """What would keep us from listening there, tried and given up again; for a start that fails on something else anyhow."""
    if listen.path is not None:
        return []
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        with socket.create_server((listen.host, listen.port), family=family):
            return []
    except OSError as error:
        return [_why(listen, error)]


def _why(listen: Listen, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"listen: {listen} is in use by another program, perhaps another respan-proxy; "
            f"stop it, or choose another address: --listen {listen.host or '127.0.0.1'}:{(listen.port or 7776) + 1}"
        )
    return f"listen: cannot listen on {listen}: {error.strerror or error}"


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
