"""What Respan's own packages trace can be read as the documentation says: every telemetry block of it, run as a program of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from respan_proxy.respan.spans import GENERATIONS
from tests.blocks import Script, programs
from tests.company.tracing import Told, agents_python, nodes, outline, page, respan_python, run, told
from tests.conftest import OPENAI_KEY, Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Answer, FakeProvider, Received, whole
from tests.fakes.turns import Turn

SET_UP = """
import os
from openai import OpenAI
from respan import Respan
from respan_instrumentation_openai import OpenAIInstrumentor
client = OpenAI(api_key=os.getenv("RESPAN_API_KEY"), base_url=os.getenv("RESPAN_BASE_URL"))
messages = [{"role": "user", "content": "Hello"}]
"""
TRACED = f"{SET_UP}\nrespan = Respan(instrumentations=[OpenAIInstrumentor()])\n"
FLUSH = "respan.flush()"
CALL = "openai.chat chat 20+5"
REVIEW = '{"title": "The Matrix", "rating": 9, "summary": "See it.", "pros": ["green"], "cons": []}'


def batching(request: Received) -> Answer:
    """OpenAI's files and batches: what was submitted is done at once, and each of its three lines came out well."""
    path = request.target.partition("?")[0]
    batch = {"id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions", "completion_window": "24h", "created_at": 1767225600}
    if path.endswith("/content"):
        body = {**recordings.CHAT, "created": int(time.time()) + 1}  # after the submission, in whole seconds
        line = {"id": "batch_req_1", "error": None, "response": {"status_code": 200, "request_id": "req_1", "body": body}}
        return whole("\n".join(json.dumps({**line, "custom_id": f"topic-{number}"}) for number in range(3)).encode())
    if "/batches" in path:
        return whole({**batch, "input_file_id": "file-1", "status": "completed", "output_file_id": "file-2"})
    return whole(
        {
            "id": "file-1",
            "object": "file",
            "bytes": 1,
            "created_at": 1767225600,
            "filename": "b.jsonl",
            "purpose": "batch",
            "status": "processed",
        }
    )


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the page, what stands before and after it, what the provider answers, and the trees that are to be read (see `outline`).

    `says` is what every line of its calls has.
    """

    name: str
    trees: Sequence[Sequence[str]]
    before: str = ""
    after: str = ""
    answers: Sequence[Answer | Callable[[Received], Answer]] = ()
    says: Mapping[str, Any] = field(default_factory=dict)


BLOCKS = (
    Block("openai_sdk_quickstart", [[CALL]]),
    Block(
        "openai_sdk_respan_defaults",
        [[CALL]],
        before=SET_UP,
        after=f'client.chat.completions.create(model="gpt-4.1-nano", messages=messages)\n{FLUSH}',
        says={"customer_identifier": "user_123", "metadata": {"service": "chat-api", "version": "1.0.0"}},
    ),
    Block(
        "openai_sdk_propagate_attributes",
        [["handle_request workflow", f"  {CALL}"]],
        before=SET_UP,
        after='handle_request("user_1", "Why?")',
        says={
            "customer_identifier": "user_1",
            "thread_identifier": "conv_001",
            "metadata": {"service": "chat-api", "version": "1.0.0", "plan": "pro"},
        },
    ),
    Block(
        "openai_sdk_decorators",
        [["content_pipeline workflow", "  generate_outline task", f"    {CALL}", f"  {CALL}"]],
        before=SET_UP,
    ),
    Block("openai_sdk_streaming", [[CALL]], before="import os"),
    Block(
        "openai_sdk_tool_calls",
        [["weather_assistant workflow", f"  {CALL}", "  get_weather task", f"  {CALL}"]],
        answers=[Turn(calls=[("get_weather", {"city": "Paris"})])],
    ),
    Block("openai_sdk_multi_turn", [["conversation workflow", *[f"  {CALL}"] * 3]]),
    Block("openai_sdk_structured_output", [["movie_review workflow", f"  {CALL}"]], answers=[Turn(REVIEW)]),
    Block("openai_sdk_switch_models", [[CALL]] * 3, before=TRACED, after=FLUSH),
    Block(
        "openai_sdk_respan_parameters",
        [[CALL]],
        before=TRACED,
        after=FLUSH,
        says={"customer_identifier": "user_123", "thread_identifier": "conversation_456", "metadata": {"session_id": "abc123"}},
    ),
    Block(
        "openai_sdk_batch",
        [
            [
                "batch_pipeline workflow",
                "  create_batch_file task",
                "  upload_and_submit task",
                "  poll_batch task",
                "  download_results task",
                *["    llm.gpt-4.1-nano-2025-04-14 chat 20+5"] * 3,
            ]
        ],
        answers=[batching] * 4,
    ),
    Block(
        "openai_sdk_batch_cross_process",
        [
            [
                "batch_submit workflow",
                "  create_and_submit task",
                "  batch_results task",
                *["    llm.gpt-4.1-nano-2025-04-14 chat 20+5"] * 3,
            ]
        ],
        answers=[batching] * 4,
    ),
    Block("respan_api_quickstart", [["chat.completions chat 20+5"]]),
)


def environ(provider: FakeProvider) -> dict[str, str]:
    """Where a program finds OpenAI itself."""
    return {"OPENAI_API_KEY": OPENAI_KEY, "OPENAI_BASE_URL": f"{provider.url}/v1"}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
async def test_a_telemetry_block_of_the_documentation_becomes_a_tree(
    block: Block, proxy: Proxy, provider: FakeProvider, tmp_path: Path
) -> None:
    provider.will(*block.answers)
    # The block writes its files to a folder that others share.
    text = "\n".join((block.before, page(block.name, proxy.base).replace("/tmp/", f"{tmp_path}/"), block.after))
    await run(respan_python(), text, proxy.base, tmp_path, environ(provider))
    assert provider.received
    seen = await told(proxy.base)
    assert [outline(trace) for trace in seen.traces] == [list(tree) for tree in block.trees]
    assert_sums(seen)
    for call in seen.calls:
        assert {name: call[name] for name in block.says} == block.says


TRACED_PROGRAMS = [program for program in programs("python") if "from respan import" in program.text]


@pytest.mark.parametrize("program", TRACED_PROGRAMS, ids=str)
async def test_a_traced_program_of_the_recipes_becomes_one_tree(program: Script, start_proxy: StartProxy, tmp_path: Path) -> None:
    proxy = await start_proxy({"echo": {"pace_ms": 0}}, {})  # without a key
    python = agents_python() if "from agents import" in program.text else respan_python()
    assert await run(python, program.at(proxy.base), proxy.base, tmp_path)
    seen = await told(proxy.base)
    assert len(seen.calls) == 2
    assert seen.trace["llm_call_count"] == 2 and seen.trace["span_count"] == len(seen.lines)
    assert {line["status_code"] for line in seen.lines} == {200}
    assert ("user_123" in program.text) == (seen.trace["customer_identifier"] == "user_123")


def assert_sums(seen: Told) -> None:
    """A trace's numbers are those of its calls, and a line is in one trace only."""
    assert len({line["unique_id"] for line in seen.lines}) == len(seen.lines)
    shown = [node["unique_id"] for trace in seen.traces for node in nodes(trace)]
    assert sorted(shown) == sorted(line["unique_id"] for line in seen.lines)
    for trace in seen.traces:
        calls = [node for node in nodes(trace) if node["log_type"] in GENERATIONS]
        assert trace["span_count"] == len([*nodes(trace)])
        assert trace["llm_call_count"] == len(calls)
        assert trace["total_prompt_tokens"] == sum(call["prompt_tokens"] for call in calls)
        assert trace["total_completion_tokens"] == sum(call["completion_tokens"] for call in calls)
        assert all(call["cost"] > 0 for call in calls)
        assert trace["total_cost"] == pytest.approx(sum(call["cost"] for call in calls))
