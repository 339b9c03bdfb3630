"""`respan-proxy logs`: the remembered calls, read straight from the database file, also while the proxy runs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from respan_proxy.cli.asking import choosing, chosen, closing, only_one
from respan_proxy.cli.settings import configured, refuse, settings_options
from respan_proxy.cli.writing import as_json, fields, write, write_whole
from respan_proxy.errors import ProxyError

if TYPE_CHECKING:
    from respan_proxy.respan.filters import Query
    from respan_proxy.store.queries import Queries

POLL_S = 0.3


@click.command(context_settings={"max_content_width": 100})
@click.argument("call_id", metavar="[ID]", required=False)
@choosing("calls", "Part of the model's name.", "Only calls that failed.", "latency__gt=2, metadata__team=blue")
@click.option("-f", "--follow", is_flag=True, help="Go on with calls as they end.")
@click.option("--json", "wants_json", is_flag=True, help="One JSON object per call and line; with ID, everything that is known of it.")
@settings_options
@click.pass_context
def logs(ctx: click.Context, /, call_id: str | None, follow: bool, wants_json: bool, **asked: Any) -> None:
    """List remembered calls, follow them, or show one whole (the first characters of its ID will do).

    When a program reads, a call is a line of tab-separated fields: id, time, status, status code, provider, model,
    prompt tokens, completion tokens, cost in dollars, latency in seconds.
    """
    database = Path(configured(ctx).database)
    try:
        if call_id is not None:
            asyncio.run(_show(database, call_id, wants_json))
        else:
            asyncio.run(_list(database, _query(**asked), _printer(wants_json), follow))
    except ProxyError as error:
        refuse(ctx, [error.message])
    except KeyboardInterrupt:
        ctx.exit(0)


def _query(limit: int, since: str, model: str | None, failed: bool, where: tuple[str, ...], **_: object) -> Query:
    from respan_proxy.respan.filters import read

    failing = {"status": {"operator": "", "value": "failed"}}
    return read(chosen(failing, limit, since, model, failed, where), (), time.time())


async def _list(database: Path, query: Query, show: Callable[[list[dict[str, Any]]], None], follow: bool) -> None:
    from respan_proxy.store.queries import Queries

    async with closing(Queries(database)) as queries:
        tail = (await queries.follow(None, query))[1] if follow else None
        page = await queries.find(query)
        seen = {found.seq for found in page.found}
        show(_rows(reversed(page.found)))
        if tail is not None:
            await follow_calls(queries, query, seen, show, lambda: asyncio.sleep(POLL_S), tail)


async def follow_calls(
    queries: Queries,
    query: Query,
    seen: set[int],
    show: Callable[[list[dict[str, Any]]], None],
    pause: Callable[[], Awaitable[object]],
    tail: Any = None,
) -> None:
    """Show calls as they end until `pause` raises; `seen` were shown already, unless they were still running then."""
    if tail is not None:
        seen -= tail.running
    while True:
        try:
            ended, tail = await queries.follow(tail, query)
        except ProxyError:  # the file is away for a moment: the proxy makes it anew
            await pause()
            continue
        if rows := _rows(found for found in ended if found.seq not in seen):
            show(rows)
        seen = set()
        await pause()


async def _show(database: Path, call_id: str, wants_json: bool) -> None:
    from respan_proxy.store.queries import Queries
    from respan_proxy.store.views import whole

    async with closing(Queries(database)) as queries:
        call = whole(await only_one("call", call_id, "unique_id", database, queries.get, partial(_beginning, queries)))
    if wants_json:
        write_whole(call)
        return
    from respan_proxy.cli.log_views import exchange

    exchange(call, sys.stdout)


async def _beginning(queries: Queries, asked: dict[str, Any]) -> tuple[list[str], int]:
    from respan_proxy.respan.filters import read

    page = await queries.find(read(asked, (), time.time()))
    return [found.row["unique_id"] for found in page.found], page.total


def _rows(found: Any) -> list[dict[str, Any]]:
    from respan_proxy.store.views import brief

    return [brief(one) for one in found]


def _printer(wants_json: bool) -> Callable[[list[dict[str, Any]]], None]:
    if wants_json:
        return lambda rows: write(*map(as_json, rows))
    if not sys.stdout.isatty():
        return lambda rows: write(*(fields(row[name] for name in _PLAIN) for row in rows))
    from respan_proxy.cli.log_views import Table

    return Table(sys.stdout).show


_PLAIN = ("id", "timestamp", "status", "status_code", "provider_id", "model", "prompt_tokens", "completion_tokens", "cost", "latency")
