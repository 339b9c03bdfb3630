"""Programs that are traced with Respan's own packages, each in a process of its own, and what can be read of them afterwards."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from respan_proxy.respan.spans import GENERATIONS
from tests.company.environments import python_with

PAGES = Path(__file__).parents[1] / "pages"
DOCUMENTED = "https://api.respan.ai/api"
KEY = "YOUR_RESPAN_API_KEY"
PROGRAM = Path(__file__).parent / "drivers" / "program.py"

RESPAN = (
    "respan-ai==4.2.4",
    "respan-tracing==2.24.0",
    "respan-sdk==2.9.0",
    "respan-instrumentation-openai==1.3.0",
    "respan-instrumentation-anthropic==1.2.0",
    "respan-instrumentation-google-genai==0.1.1",
    "openai==3.57.0",
    "anthropic==2.13.0",
    "google-genai==3.6.1",
    "python-dotenv==1.2.4",
    "opentelemetry-exporter-otlp-proto-http==1.45.1",
)
# Its instrumentation wants openai-agents below 0.21, and that openai below 3.
AGENTS = (
    "respan-ai==4.2.4",
    "respan-tracing==2.24.0",
    "respan-sdk==2.9.0",
    "respan-instrumentation-openai==1.3.0",
    "respan-instrumentation-openai-agents==1.1.3",
    "openai-agents==0.20.0",
    "openai==2.54.0",
)

Node = dict[str, Any]


def respan_python() -> Path:
    return python_with(*RESPAN, name="respan")


def agents_python() -> Path:
    return python_with(*AGENTS, name="respan-agents")


def page(name: str, base: str) -> str:
    """The block of the documentation, calling this address."""
    return (PAGES / f"{name}.py.txt").read_text("utf-8").replace(DOCUMENTED, base)


async def run(python: Path, text: str, base: str, home: Path, environ: Mapping[str, str] | None = None) -> str:
    """What the program printed. It has Respan's two variables, and nothing else but this environment."""
    process = await asyncio.create_subprocess_exec(
        str(python),
        str(PROGRAM),
        cwd=home,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "RESPAN_API_KEY": KEY,
            "RESPAN_BASE_URL": base,
            "PYTHONWARNINGS": "ignore",
            **(environ or {}),
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(120):
            out, err = await process.communicate(text.encode())
    finally:
        if process.returncode is None:
            process.kill()
    said = err.decode()
    assert process.returncode == 0, said
    assert "Failed to export" not in said, said
    return out.decode()


@dataclass(frozen=True, slots=True)
class Told:
    """What can be read over REST: the traces, oldest first, each with its tree; and the lines, oldest first."""

    traces: Sequence[Node]
    lines: Sequence[Node]

    @property
    def trace(self) -> Node:
        (only,) = self.traces
        return only

    @property
    def calls(self) -> list[Node]:
        return [line for line in self.lines if line["log_type"] in GENERATIONS]


async def told(base: str, key: str = KEY) -> Told:
    """Everything that is remembered now."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:

        async def get(path: str) -> Any:
            async with session.get(f"{base}{path}") as answer:
                body = await answer.json()
                assert answer.status == 200, body
                return body

        traces = (await get("/traces/list/?page_size=100"))["results"]
        lines = (await get("/request-logs/list/?page_size=500"))["results"]
        return Told(
            [await get(f"/traces/{trace['trace_unique_id']}/") for trace in reversed(traces)],
            [await get(f"/request-logs/{line['unique_id']}/") for line in reversed(lines)],
        )


def nodes(trace: Node) -> Iterator[Node]:
    """All of a trace's tree, each before its children."""
    waiting = list(reversed(trace["span_tree"]))
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node["children"]))


def outline(trace: Node) -> list[str]:
    """The tree, a line a node, two spaces a level: name, kind, and tokens in and out where it is a call of a model."""

    def lines(node: Node, depth: int) -> Iterator[str]:
        tokens = f" {node['prompt_tokens']}+{node['completion_tokens']}" if node["log_type"] in GENERATIONS else ""
        yield f"{'  ' * depth}{node['entity_name'] or node['span_name']} {node['log_type']}{tokens}"
        for child in node["children"]:
            yield from lines(child, depth + 1)

    return [line for root in trace["span_tree"] for line in lines(root, 0)]
