"""Bearer tokens that a command prints: run when a provider is first called, kept until refused or old, never shown.

`token_command = ["gcloud", "auth", "print-access-token"]`. It runs without a shell and with our environment; what it prints goes nowhere
but into the header.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from multidict import CIMultiDict

from respan_proxy.config import Provider
from respan_proxy.errors import MissingCredentials
from respan_proxy.exchange import Reply, Sends
from respan_proxy.policy.credentials import auth_headers
from respan_proxy.wire.headers import scrub

# Google's and Amazon's live for an hour and may have lived a while when they are printed; one refused earlier is replaced at once.
KEPT_S = 1800.0

# gcloud takes two seconds, and half a minute where it must ask the network.
COMMAND_S = 60.0

# A JSON web token has a few KB.
TOKEN_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    made_at: float


class Tokens:
    """Wraps the only client of providers: `send` as `Upstream.send`, with the token of a provider that has a command."""

    def __init__(self, upstream: Sends, clock: Callable[[], float] = monotonic) -> None:
        self._upstream = upstream
        self._clock = clock
        self._tokens: dict[tuple[str, ...], _Token] = {}
        self._runs: dict[tuple[str, ...], asyncio.Task[str]] = {}

    async def send(
        self, provider: Provider, method: str, url: str, headers: CIMultiDict[str], body: bytes, *, streams: bool, notes: list[str]
    ) -> Reply:
        """A refused token (401) is replaced, and the request said again, once. MissingCredentials (424) when the command gives none."""
        if not provider.token_command or provider.key is not None:
            return await self._upstream(provider, method, url, headers, body, streams=streams, notes=notes)
        token = await self._token(provider)
        reply = await self._sent(provider, method, url, headers, body, token, streams=streams, notes=notes)
        if reply.status != 401:
            return reply
        self._forget(provider, token)
        fresh = await self._token(provider)
        if fresh == token:
            return reply
        await reply.aclose()
        notes.append("said again: the provider refused a token that was no longer good")
        return await self._sent(provider, method, url, headers, body, fresh, streams=streams, notes=notes)

    async def close(self) -> None:
        for run in self._runs.values():
            run.cancel()
        await asyncio.gather(*self._runs.values(), return_exceptions=True)

    async def _sent(
        self,
        provider: Provider,
        method: str,
        url: str,
        headers: CIMultiDict[str],
        body: bytes,
        token: str,
        *,
        streams: bool,
        notes: list[str],
    ) -> Reply:
        headers = CIMultiDict(headers)
        headers.update(auth_headers(provider, token))
        reply = await self._upstream(provider, method, url, headers, body, streams=streams, notes=notes)
        if isinstance(reply.body, bytes):  # whatever its status: a 200 may be an error
            reply.body = scrub(reply.body, {token})
        return reply

    async def _token(self, provider: Provider) -> str:
        known = self._tokens.get(provider.token_command)
        if known is not None and self._clock() - known.made_at < KEPT_S:
            return known.text
        run = self._runs.get(provider.token_command)
        if run is None:
            command = provider.token_command
            run = self._runs[command] = asyncio.create_task(self._run(provider), name=f"token of {provider.name}")
            run.add_done_callback(lambda _: self._runs.pop(command, None))
        return await asyncio.shield(run)  # a caller that leaves takes nothing from the others that wait

    def _forget(self, provider: Provider, token: str) -> None:
        known = self._tokens.get(provider.token_command)
        if known is not None and known.text == token:
            del self._tokens[provider.token_command]

    async def _run(self, provider: Provider) -> str:
        program = provider.token_command[0]
        where = f"providers.{provider.name}.token_command"
        try:
            process = await asyncio.create_subprocess_exec(*provider.token_command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it holds a null character"
            raise _no_token(f"{where}: {program!r} cannot be run: {why}") from None
        try:
            async with asyncio.timeout(COMMAND_S):
                printed = await _read(process.stdout)
                status = await process.wait() if len(printed) <= TOKEN_BYTES else None
        except TimeoutError:
            raise _no_token(f"{where}: {program!r} took longer than {COMMAND_S:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if status is None:
            raise _no_token(f"{where}: {program!r} printed more than {TOKEN_BYTES} bytes, expected a token")
        if status != 0:
            raise _no_token(f"{where}: {program!r} ended with status {status}")
        token = printed.decode("ascii", "replace").strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise _no_token(f"{where}: {program!r} printed {len(printed)} bytes that are no token (printable ASCII, no spaces)")
        self._tokens[provider.token_command] = _Token(token, self._clock())
        return token


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    """All of it, or a byte more than a token may have."""
    if stream is None:
        return b""
    try:
        return await stream.readexactly(TOKEN_BYTES + 1)
    except asyncio.IncompleteReadError as ended:
        return ended.partial


def _no_token(message: str) -> MissingCredentials:
    return MissingCredentials(message, param="model", code="missing_credentials")
