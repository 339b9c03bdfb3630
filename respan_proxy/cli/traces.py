"""`respan-proxy traces`: what belongs together, read straight from the database file, also while the proxy runs."""

from __future__ import annotations

import asyncio
import sys
import time
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
    from respan_proxy.store.traces import Traces


@click.command(context_settings={"max_content_width": 100})
@click.argument("trace_id", metavar="[ID]", required=False)
@choosing(
    "traces", "Part of the name of a model that was called in it.", "Only traces in which something failed.", "duration__gt=2, name=answer"
)
@click.option("--json", "wants_json", is_flag=True, help="One JSON object per trace and line; with ID, the trace with its tree.")
@settings_options
@click.pass_context
def traces(ctx: click.Context, /, trace_id: str | None, wants_json: bool, **asked: Any) -> None:
    """List traces, or show one as a tree (the first characters of its ID will do).

    When a program reads, a trace is a line of tab-separated fields: id, time, name, spans, calls of models, prompt tokens,
    completion tokens, cost in dollars, duration in seconds, errors, customer.
    """
    database = Path(configured(ctx).database)
    try:
        if trace_id is not None:
            asyncio.run(_show(database, trace_id, wants_json))
        else:
            asyncio.run(_list(database, _query(**asked), wants_json))
    except ProxyError as error:
        refuse(ctx, [error.message])
    except KeyboardInterrupt:
        ctx.exit(0)


def _query(limit: int, since: str, model: str | None, failed: bool, where: tuple[str, ...], **_: object) -> Query:
    from respan_proxy.respan.filters import read
    from respan_proxy.respan.traces import TRACES

    failing = {"error_count": {"operator": "gt", "value": 0}}
    return read(chosen(failing, limit, since, model, failed, where), (), time.time(), TRACES)


async def _list(database: Path, query: Query, wants_json: bool) -> None:
    from respan_proxy.store.trace_views import in_list
    from respan_proxy.store.traces import Traces

    async with closing(Traces(database)) as traces:
        page = await traces.find(query, content=wants_json)
    rows = [in_list(trace) for trace in reversed(page.traces)]
    if wants_json:
        write(*map(as_json, rows))
    elif not sys.stdout.isatty():
        write(*(fields(row[name] for name in _PLAIN) for row in rows))
    else:
        from respan_proxy.cli.trace_views import table

        table(rows, sys.stdout, time.time())


async def _show(database: Path, trace_id: str, wants_json: bool) -> None:
    from respan_proxy.store.trace_views import whole
    from respan_proxy.store.traces import Traces

    async with closing(Traces(database)) as traces:
        trace = whole(await only_one("trace", trace_id, "trace_unique_id", database, traces.open, partial(_beginning, traces)))
    if wants_json:
        write_whole(trace)
        return
    from respan_proxy.cli.trace_views import tree

    tree(trace, sys.stdout)


async def _beginning(traces: Traces, asked: dict[str, Any]) -> tuple[list[str], int]:
    from respan_proxy.respan.filters import read
    from respan_proxy.respan.traces import TRACES

    page = await traces.find(read(asked, (), time.time(), TRACES))
    return [trace.sums["trace_unique_id"] for trace in page.traces], page.total


_SUMS = ("total_prompt_tokens", "total_completion_tokens", "total_cost", "duration", "error_count")
_PLAIN = ("id", "end_time", "name", "span_count", "llm_call_count", *_SUMS, "customer_identifier")
