"""`respan-proxy logs`: the remembered calls, read straight from the database file, also while the proxy runs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from respan_proxy.cli.asking import conditions, start, write
from respan_proxy.cli.settings import configured, refuse, settings_options
from respan_proxy.errors import ProxyError

if TYPE_CHECKING:
    from respan_proxy.respan.filters import Query
    from respan_proxy.store.queries import Found, Queries

POLL_S = 0.3


@click.command(context_settings={"max_content_width": 100})
@click.argument("call_id", metavar="[ID]", required=False)
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many calls, newest last.")
@click.option("-s", "--since", metavar="TIME", default="24h", show_default=True, help="90s, 15m, 2h, 7d, an ISO time, or all.")
@click.option("-m", "--model", metavar="TEXT", help="Part of the model's name.")
@click.option("--failed", is_flag=True, help="Only calls that failed.")
@click.option("-w", "--where", metavar="FIELD=VALUE", multiple=True, help="Any filter of the API: latency__gt=2, metadata__team=blue.")
@click.option("-f", "--follow", is_flag=True, help="Go on with calls as they end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per call and line; with ID, everything that is known of it.")
@settings_options
@click.pass_context
def logs(ctx: click.Context, /, call_id: str | None, follow: bool, as_json: bool, **chosen: Any) -> None:
    """List remembered calls, follow them, or show one whole (the first characters of its ID will do).

    When a program reads, a call is a line of tab-separated fields: id, time, status, status code, provider, model,
    prompt tokens, completion tokens, cost in dollars, latency in seconds.
    """
    database = Path(configured(ctx).database)
    try:
        if call_id is not None:
            asyncio.run(_show(database, call_id, as_json))
        else:
            asyncio.run(_list(database, _query(**chosen), _printer(as_json), follow))
    except ProxyError as error:
        refuse(ctx, [error.message])
    except KeyboardInterrupt:
        ctx.exit(0)


def _query(limit: int, since: str, model: str | None, failed: bool, where: tuple[str, ...], **_: object) -> Query:
    from respan_proxy.respan.filters import read

    filters = conditions(where)
    if model:
        filters.setdefault("model", []).append({"operator": "icontains", "value": model})
    if failed:
        filters.setdefault("status", []).append({"operator": "", "value": "failed"})
    return read({"filters": filters, "start_time": start(since, time.time()), "page_size": limit}, (), time.time())


async def _list(database: Path, query: Query, show: Callable[[list[dict[str, Any]]], None], follow: bool) -> None:
    async with _reading(database) as queries:
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


async def _show(database: Path, call_id: str, as_json: bool) -> None:
    from respan_proxy.store.views import whole

    async with _reading(database) as queries:
        call = whole(await _one(queries, call_id))
    if as_json:
        write(orjson.dumps(call, option=orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0).decode())
        return
    from respan_proxy.cli.log_views import exchange

    exchange(call, sys.stdout)


async def _one(queries: Queries, call_id: str) -> Found:
    """The call of that id, else the only one whose id begins so. `ProxyError` when there is none, or more than one."""
    from respan_proxy.respan.filters import read

    if (found := await queries.get(call_id)) is not None:
        return found
    begins = {"filters": {"unique_id": {"operator": "startswith", "value": call_id}}, "start_time": 0, "page_size": 2}
    page = await queries.find(read(begins, (), time.time()), content=True)
    if len(page.found) == 1:
        return page.found[0]
    what = "no call has an id that begins" if not page.found else f"{page.total} calls have ids that begin"
    raise ProxyError(f"{what} with {call_id!r} in {queries.path}", status=404)


@asynccontextmanager
async def _reading(database: Path) -> AsyncIterator[Queries]:
    from respan_proxy.store.queries import Queries

    queries = Queries(database)
    try:
        yield queries
    finally:
        await queries.close()


def _rows(found: Any) -> list[dict[str, Any]]:
    from respan_proxy.store.views import brief

    return [brief(one) for one in found]


def _printer(as_json: bool) -> Callable[[list[dict[str, Any]]], None]:
    if as_json:
        return lambda rows: write(*(orjson.dumps(row).decode() for row in rows))
    if not sys.stdout.isatty():
        return lambda rows: write(*_plain(rows))
    from respan_proxy.cli.log_views import Table

    return Table(sys.stdout).show


_PLAIN = ("id", "timestamp", "status", "status_code", "provider_id", "model", "prompt_tokens", "completion_tokens", "cost", "latency")


def _plain(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        cells = [row[name] for name in _PLAIN]
        yield "\t".join("" if cell is None else f"{cell:.9f}" if isinstance(cell, float) else str(cell) for cell in cells)
