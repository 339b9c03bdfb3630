"""What we pass on is received whole by Phoenix from PyPI: `make phoenix` (635 MB, minutes; not a part of the test suite).

A small program traced with OpenTelemetry calls a recorded OpenAI through the proxy; the proxy passes everything on to a Phoenix started
here; its API is asked for the spans, and they are compared with what the proxy's own read API says.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from respan_proxy.app import running
from respan_proxy.config import parse
from tests.fakes.provider import FakeProvider
from tests.phoenix.program import CUSTOMER, NAMES, QUESTION, THREAD, run

PHOENIX = Path(".venv-phoenix/bin/phoenix")

# It makes its database on the way.
START_S = 120.0
# Its queue is emptied every few seconds.
ARRIVE_S = 60.0

# What Phoenix calls a column of ours: it reads the GenAI names and stores OpenInference's.
TOLD = {
    "prompt_tokens": "llm.token_count.prompt",
    "completion_tokens": "llm.token_count.completion",
    "cost": "llm.cost.total",
    "model": "gen_ai.response.model",
    "customer_identifier": "user.id",
    "thread_identifier": "session.id",
}


async def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        async with phoenix(Path(folder)) as url, FakeProvider() as openai:
            environ = {"OPENAI_API_KEY": "sk-any", "RESPAN_PROXY_OPENAI_BASE_URL": f"{openai.url}/v1"}
            export = {"preset": "phoenix", "endpoint": url, "content": "full", "wait_s": 2}
            flags = {"listen": "127.0.0.1:0", "database": f"{folder}/calls.db"}
            async with running(parse({"export": [export]}, environ, "phoenix.toml", flags)) as house:
                root = f"http://127.0.0.1:{house.address.port}"
                await asyncio.to_thread(run, root)
                async with aiohttp.ClientSession() as session:
                    rows = await ours(session, root)
                    spans = await theirs(session, url, len(rows))
    wrong = [*differences(rows, spans)]
    for line in wrong:
        sys.stderr.write(f"{line}\n")
    if not wrong:
        sys.stdout.write(f"Phoenix has all {len(rows)} spans as we have them: names, tree, tokens, cost, customer, thread, content\n")
    return 1 if wrong else 0


@asynccontextmanager
async def phoenix(folder: Path) -> AsyncIterator[str]:
    """A Phoenix of its own on a free port; its URL."""
    port, grpc_port = free_port(), free_port()
    settings = {
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    with (folder / "phoenix.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(PHOENIX, "serve", env={**os.environ, **settings}, stdout=log, stderr=log)
        try:
            async with asyncio.timeout(START_S), aiohttp.ClientSession() as session:
                while process.returncode is None and not await answers(session, f"http://127.0.0.1:{port}/healthz"):
                    await asyncio.sleep(0.5)
            if process.returncode is not None:
                raise SystemExit(f"Phoenix did not start:\n{(folder / 'phoenix.log').read_text('utf-8')}")
            yield f"http://127.0.0.1:{port}"
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


async def answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def ours(session: aiohttp.ClientSession, root: str) -> dict[str, dict[str, Any]]:
    """Our rows by span id."""
    async with session.get(f"{root}/api/request-logs/list/", params={"page_size": 100}) as response:
        found = (await response.json())["results"]
    return {row["span_unique_id"]: row for row in found}


async def theirs(session: aiohttp.ClientSession, url: str, count: int) -> dict[str, dict[str, Any]]:
    """Phoenix's spans by span id, once it has so many, or as many as have come until then."""
    found: list[dict[str, Any]] = []
    for _ in range(round(ARRIVE_S)):
        async with session.get(f"{url}/v1/projects/default/spans", params={"limit": 100}) as response:
            found = (await response.json()).get("data", []) if response.status == 200 else []
        if len(found) >= count:
            break
        await asyncio.sleep(1)
    return {span["context"]["span_id"]: span for span in found}


def differences(rows: dict[str, dict[str, Any]], spans: dict[str, dict[str, Any]]) -> list[str]:
    wrong = [f"Phoenix has no span {rows[one]['span_name']} ({one})" for one in rows.keys() - spans.keys()]
    wrong += [f"Phoenix has a span that we have not: {spans[one]['name']} ({one})" for one in spans.keys() - rows.keys()]
    if sorted(span["name"] for span in spans.values()) != sorted(NAMES):
        wrong.append(f"names: found {sorted(span['name'] for span in spans.values())}, expected {sorted(NAMES)}")
    for one in rows.keys() & spans.keys():
        row, span = rows[one], spans[one]
        told = span["attributes"]
        pairs = {"trace": (span["context"]["trace_id"], row["trace_unique_id"]), "parent": (span["parent_id"], row["span_parent_id"])}
        if row["log_type"] == "chat":
            pairs |= {name: (told.get(TOLD[name]), row[name]) for name in TOLD}
            pairs["customer"] = (row["customer_identifier"], CUSTOMER)
            pairs["thread"] = (row["thread_identifier"], THREAD)
            pairs["question"] = (told.get("llm.input_messages.0.message.content"), QUESTION)
            pairs["answer"] = (bool(told.get("llm.output_messages.0.message.content")), True)
            pairs["counted"] = (bool(row["prompt_tokens"] and row["completion_tokens"] and row["cost"]), True)
            pairs["kind"] = (span["span_kind"], "LLM")
        wrong += [
            f"{span['name']}: {what}: found {found!r}, expected {expected!r}"
            for what, (found, expected) in pairs.items()
            if found != expected
        ]
    return wrong


if __name__ == "__main__":
    if not PHOENIX.exists():
        raise SystemExit(f"{PHOENIX} is not there; `make phoenix` installs it")
    raise SystemExit(asyncio.run(main()))
