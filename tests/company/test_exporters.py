"""The stock exporters of OpenTelemetry, in two languages, both encodings, compressed or not: the same tree."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.company.driving import DRIVERS
from tests.company.environments import node_with, tool
from tests.company.test_traces import assert_sums
from tests.company.tracing import KEY, outline, respan_python, told
from tests.conftest import Proxy

NODE = {
    "@opentelemetry/api": "1.9.1",
    "@opentelemetry/sdk-trace-node": "2.12.0",
    "@opentelemetry/exporter-trace-otlp-http": "0.223.1",
    "@opentelemetry/exporter-trace-otlp-proto": "0.223.1",
}
AUTHORIZED = {"OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer%20{KEY}"}


async def assert_exported(proxy: Proxy, home: Path, command: list[str], environ: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, out.decode()) == (0, "")
    seen = await told(proxy.base)
    assert outline(seen.trace) == ["pipeline workflow", "  lookup tool", "  chat gpt-4.1-nano chat 20+5"]
    assert_sums(seen)
    assert seen.trace["error_count"] == 1
    by_name: dict[str, Any] = {line["span_name"]: line for line in seen.lines}
    assert (by_name["lookup"]["status"], by_name["lookup"]["error_message"]) == ("failed", "no such city ☃")
    call = by_name["chat gpt-4.1-nano"]
    assert (call["thread_identifier"], call["model"], call["provider_id"]) == ("conv_1", "gpt-4.1-nano-2025-04-14", "openai")
    assert call["prompt_messages"] == [{"role": "user", "content": "Hi ☃"}]
    assert call["completion_message"]["content"] == "Héllo"


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "{}"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "{}/v2/traces"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "{}/v2/traces", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "{}/", "OTEL_EXPORTER_OTLP_COMPRESSION": "deflate"},
    ],
    ids=["base", "full address as base", "traces address, gzip", "base with a slash, deflate"],
)
async def test_pythons_exporter_in_protobuf(variables: Mapping[str, str], proxy: Proxy, tmp_path: Path) -> None:
    environ = {**{name: value.format(proxy.base) for name, value in variables.items()}, **AUTHORIZED}
    await assert_exported(proxy, tmp_path, [str(respan_python()), str(DRIVERS / "spans.py")], environ)


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("encoding", ["http", "proto"])
async def test_javascripts_exporter(encoding: str, compression: str, proxy: Proxy, tmp_path: Path) -> None:
    modules = node_with(NODE, "npm-opentelemetry") / "node_modules"
    command = [tool("node"), str(DRIVERS / "spans.cjs"), encoding, f"{proxy.base}/v2/traces", compression]
    await assert_exported(proxy, tmp_path, command, {"NODE_PATH": str(modules)})
