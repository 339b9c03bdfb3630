"""What the recipe says of the Agents SDK's own tracer: whose key it sends where, and what stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import agents
import openai
import pytest
from agents import Agent, Runner
from agents.models import _openai_shared
from agents.tracing import processors, setup
from agents.tracing.processors import BackendSpanExporter, BatchTraceProcessor
from agents.tracing.provider import DefaultTraceProvider

from tests.conftest import Proxy
from tests.fakes.provider import FakeProvider, whole

Client = openai.AsyncOpenAI
OURS, THEIRS = "the-key-of-the-client", "sk-the-key-of-openai"


@pytest.fixture
def traces(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchTraceProcessor]:
    """The SDK's own tracer, new, its address that of the fake provider."""
    exporter = BackendSpanExporter(endpoint=f"{provider.url}/v1/traces/ingest")
    assert BackendSpanExporter._OPENAI_TRACING_INGEST_ENDPOINT == "https://api.openai.com/v1/traces/ingest"
    processor = BatchTraceProcessor(exporter)
    tracer = DefaultTraceProvider()
    tracer.register_processor(processor)
    monkeypatch.setattr(processors, "_global_exporter", exporter)
    monkeypatch.setattr(setup, "GLOBAL_TRACE_PROVIDER", tracer)
    monkeypatch.setattr(_openai_shared, "_default_openai_client", None)
    yield processor
    processor.shutdown()
    exporter.close()


def _with_a_key_of_openai(client: Client, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("OPENAI_API_KEY", THEIRS)
    agents.set_default_openai_client(client, use_for_tracing=False)


def _disabled(client: Client, patch: pytest.MonkeyPatch) -> None:
    agents.set_default_openai_client(client)
    agents.set_tracing_disabled(True)


def _disabled_by_the_environment(client: Client, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    agents.set_default_openai_client(client)


def _with_a_key_of_its_own(client: Client, patch: pytest.MonkeyPatch) -> None:
    agents.set_default_openai_client(client, use_for_tracing=False)
    agents.set_tracing_export_api_key(THEIRS)


WAYS: dict[str, tuple[Callable[[Client, pytest.MonkeyPatch], None], str | None]] = {
    "as the page has it": (lambda client, _: agents.set_default_openai_client(client), OURS),
    "use_for_tracing=False": (lambda client, _: agents.set_default_openai_client(client, use_for_tracing=False), None),
    "use_for_tracing=False beside OPENAI_API_KEY": (_with_a_key_of_openai, THEIRS),
    "set_tracing_export_api_key": (_with_a_key_of_its_own, THEIRS),
    "set_tracing_disabled(True)": (_disabled, None),
    "OPENAI_AGENTS_DISABLE_TRACING=1": (_disabled_by_the_environment, None),
}


@pytest.mark.parametrize("way", WAYS)
async def test_whose_key_the_tracer_sends(
    way: str, traces: BatchTraceProcessor, proxy: Proxy, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, key = WAYS[way]
    async with openai.AsyncOpenAI(api_key=OURS, base_url=proxy.base, max_retries=0) as client:
        prepare(client, monkeypatch)
        await Runner.run(Agent("Assistant", model="gpt-4o"), "a private question")
    provider.will(whole({}))
    await asyncio.to_thread(traces.force_flush)
    sent = [request for request in provider.received if request.target.endswith("/traces/ingest")]
    assert [request.headers["Authorization"] for request in sent] == ([f"Bearer {key}"] if key else [])
