"""`respan-proxy traces`: what belongs together, read straight from the database file, also while the proxy runs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
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
    from respan_proxy.store.traces import Opened, Traces


@click.command(context_settings={"max_content_width": 100})
@click.argument("trace_id", metavar="[ID]", required=False)
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many traces, newest last.")
@click.option("-s", "--since", metavar="TIME", default="24h", show_default=True, help="90s, 15m, 2h, 7d, an ISO time, or all.")
@click.option("-m", "--model", metavar="TEXT", help="Part of the name of a model that was called in it.")
@click.option("--failed", is_flag=True, help="Only traces in which something failed.")
@click.option("-w", "--where", metavar="FIELD=VALUE", multiple=True, help="Any filter of the API: duration__gt=2, name=answer.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per trace and line; with ID, the trace with its tree.")
@settings_options
@click.pass_context
def traces(ctx: click.Context, /, trace_id: str | None, as_json: bool, **chosen: Any) -> None:
    """List traces, or show one as a tree (the first characters of its ID will do).

    When a program reads, a trace is a line of tab-separated fields: id, time, name, spans, calls of models, prompt tokens,
    completion tokens, cost in dollars, duration in seconds, errors, customer.
    """
    database = Path(configured(ctx).database)
    try:
        if trace_id is not None:
            asyncio.run(_show(database, trace_id, as_json))
        else:
            asyncio.run(_list(database, _query(**chosen), as_json))
    except ProxyError as error:
        refuse(ctx, [error.message])
    except KeyboardInterrupt:
        ctx.exit(0)


def _query(limit: int, since: str, model: str | None, failed: bool, where: tuple[str, ...], **_: object) -> Query:
    from respan_proxy.respan.filters import read
    from respan_proxy.respan.traces import TRACES

    filters = conditions(where)
    if model:
        filters.setdefault("model", []).append({"operator": "icontains", "value": model})
    if failed:
        filters.setdefault("error_count", []).append({"operator": "gt", "value": 0})
    now = time.time()
    return read({"filters": filters, "start_time": start(since, now), "page_size": limit}, (), now, TRACES)


async def _list(database: Path, query: Query, as_json: bool) -> None:
    from respan_proxy.store.trace_views import in_list

    async with _reading(database) as traces:
        page = await traces.find(query, content=as_json)
    rows = [in_list(trace) for trace in reversed(page.traces)]
    if as_json:
        write(*(orjson.dumps(row).decode() for row in rows))
    elif not sys.stdout.isatty():
        write(*_plain(rows))
    else:
        from respan_proxy.cli.trace_views import table

        table(rows, sys.stdout, time.time())


async def _show(database: Path, trace_id: str, as_json: bool) -> None:
    from respan_proxy.store.trace_views import whole

    async with _reading(database) as traces:
        trace = whole(await _one(traces, trace_id))
    if as_json:
        write(orjson.dumps(trace, option=orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0).decode())
        return
    from respan_proxy.cli.trace_views import tree

    tree(trace, sys.stdout)


async def _one(traces: Traces, trace_id: str) -> Opened:
    """The trace of that id, else the only one whose id begins so. `ProxyError` when there is none, or more than one."""
    from respan_proxy.respan.filters import read
    from respan_proxy.respan.traces import TRACES

    if (found := await traces.open(trace_id)) is not None:
        return found
    begins = {"filters": {"trace_unique_id": {"operator": "startswith", "value": trace_id}}, "start_time": 0, "page_size": 2}
    query = read(begins, (), time.time(), TRACES)
    ids = await traces.ids(query, 2)
    if len(ids) == 1 and (found := await traces.open(ids[0])) is not None:
        return found
    what = "no trace has an id that begins" if not ids else f"{(await traces.find(query)).total} traces have ids that begin"
    raise ProxyError(f"{what} with {trace_id!r} in {traces.path}", status=404)


@asynccontextmanager
async def _reading(database: Path) -> AsyncIterator[Traces]:
    from respan_proxy.store.traces import Traces

    traces = Traces(database)
    try:
        yield traces
    finally:
        await traces.close()


_SUMS = ("total_prompt_tokens", "total_completion_tokens", "total_cost", "duration", "error_count")
_PLAIN = ("id", "end_time", "name", "span_count", "llm_call_count", *_SUMS, "customer_identifier")


def _plain(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        cells = [row[name] for name in _PLAIN]
        # What people name may hold anything; a field is a field.
        yield "\t".join("" if cell is None else f"{cell:.9f}" if isinstance(cell, float) else " ".join(str(cell).split()) for cell in cells)
