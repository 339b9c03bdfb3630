"""Traced alone, called alone, or both, and however the instrumentations were asked for: the same tree, tokens and cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from tests.company.test_traces import CALL, assert_sums, environ
from tests.company.tracing import KEY, nodes, outline, respan_python, run, told
from tests.conftest import Proxy, StartProxy
from tests.fakes import recordings
from tests.fakes.provider import Answer, FakeProvider, Received, streamed, whole

IMPORTS = """
import os
from respan import Respan, workflow, task, propagate_attributes
from respan_instrumentation_openai import OpenAIInstrumentor
from openai import OpenAI
"""
DIRECT = 'client = OpenAI(api_key=os.environ["OPENAI_API_KEY"], base_url=os.environ["OPENAI_BASE_URL"])'
THROUGH = 'client = OpenAI(api_key=os.environ["RESPAN_API_KEY"], base_url=os.environ["RESPAN_BASE_URL"])'
STORY = """
def ask(question, **more):
    return client.chat.completions.create(model="gpt-4.1-nano", messages=[{"role": "user", "content": question}], **more)

@task(name="outline")
def outline(topic):
    return ask(topic).choices[0].message.content

@workflow(name="pipeline")
def pipeline(topic):
    with propagate_attributes(customer_identifier="user_1", thread_identifier="conv_1", metadata={"plan": "pro"}):
        outline(topic)
        for chunk in ask("And now?", stream=True, stream_options={"include_usage": True}):
            pass

pipeline("Zürich ☃")
respan.flush()
"""
UNTRACED = """
import contextlib, types
def workflow(**_): return lambda function: function
task, respan = workflow, types.SimpleNamespace(flush=lambda: None)
def propagate_attributes(**_): return contextlib.nullcontext()
"""
USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
TREE = ["pipeline workflow", "  outline task", f"    {CALL}", f"  {CALL}"]
ASKED = {"explicit": "instrumentations=[OpenAIInstrumentor()]", "auto": "is_auto_instrument=True", "bare": ""}


def answering(request: Received) -> Answer:
    """The recorded words, without a prompt cache: of that OpenAI's instrumentation does not tell when the app calls OpenAI itself."""
    if not request.json.get("stream"):
        return whole({**recordings.CHAT, "usage": USAGE})
    usage = recordings.CHAT_USAGE.replace(json.dumps(recordings.CHAT["usage"], separators=(",", ":")).encode(), json.dumps(USAGE).encode())
    return streamed(*recordings.CHAT_STREAM[:-1], usage, recordings.CHAT_STREAM[-1])


@pytest.mark.parametrize("client", [DIRECT, THROUGH], ids=["tracing only", "both"])
@pytest.mark.parametrize("asked", ASKED)
async def test_every_set_up_gives_the_same_tree(asked: str, client: str, proxy: Proxy, provider: FakeProvider, tmp_path: Path) -> None:
    provider.will(answering, answering)
    text = f"{IMPORTS}\nrespan = Respan({ASKED[asked]})\n{client}\n{STORY}"
    await run(respan_python(), text, proxy.base, tmp_path, environ(provider))
    seen = await told(proxy.base)
    assert outline(seen.trace) == TREE
    assert_sums(seen)
    # By hand: per million, 20 in at 0.10, 5 out at 0.40; twice.
    assert seen.trace["total_cost"] == pytest.approx(2 * 4e-6)
    assert (seen.trace["customer_identifier"], seen.trace["name"]) == ("user_1", "pipeline")
    assert {node["span_workflow_name"] for node in nodes(seen.trace)} == {"pipeline"}
    for call in seen.calls:
        assert (call["customer_identifier"], call["thread_identifier"]) == ("user_1", "conv_1")
        assert call["metadata"]["plan"] == "pro"
        assert call["model"] == "gpt-4.1-nano-2025-04-14"
        assert call["prompt_messages"][0]["role"] == "user"
        assert call["completion_message"]["content"] == "Héllo ☃ world"
    assert [call["stream"] for call in seen.calls] == [False, True]


async def test_calls_without_tracing_are_traces_of_one_span(proxy: Proxy, provider: FakeProvider, tmp_path: Path) -> None:
    text = f"import os\nfrom openai import OpenAI\n{UNTRACED}\n{THROUGH}\n{STORY}"
    provider.will(answering, answering)
    await run(respan_python(), text, proxy.base, tmp_path, environ(provider))
    seen = await told(proxy.base)
    assert [outline(trace) for trace in seen.traces] == [["chat.completions chat 20+5"]] * 2
    assert_sums(seen)
    assert sum(trace["total_cost"] for trace in seen.traces) == pytest.approx(2 * 4e-6)


ENVIRONMENT = f"""
{IMPORTS}
respan = Respan(instrumentations=[OpenAIInstrumentor()], environment="production")
{THROUGH}
@workflow(name="w")
def w():
    client.chat.completions.create(
        model="gpt-4.1-nano",
        messages=[{{"role": "user", "content": "Hi"}}],
        extra_body={{"metadata": {{"plan": "asked", "asked": "yes"}}}},
    )

with propagate_attributes(metadata={{"plan": "spanned", "spanned": "yes"}}):
    w()
"""
HOW: Mapping[str, tuple[dict[str, object], str]] = {
    "a key without an environment": ({}, "production"),
    "a key of an environment": ({"keys": [{"key": KEY, "name": "mine", "environment": "test"}]}, "test"),
}


@pytest.mark.parametrize("how", HOW)
async def test_the_environment_of_the_sdk_is_a_tag_and_the_rows_where_the_key_has_none(
    how: str, start_proxy: StartProxy, environ: Mapping[str, str], provider: FakeProvider, tmp_path: Path
) -> None:
    mapping, expected = HOW[how]
    proxy = await start_proxy(mapping, environ)
    await run(respan_python(), ENVIRONMENT, proxy.base, tmp_path)
    seen = await told(proxy.base)
    assert outline(seen.trace) == ["w workflow", f"  {CALL}"]
    assert {line["environment"] for line in seen.lines} == {expected}
    assert {line["environment_tag"] for line in seen.lines} == {"production"}
    assert seen.trace["environment"] == expected
    (call,) = seen.calls
    assert {name: call["metadata"][name] for name in ("plan", "asked", "spanned")} == {"plan": "asked", "asked": "yes", "spanned": "yes"}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session:
        for resource, count in (("traces", 1), ("request-logs", 2)):
            for environment, found in ((expected, count), ("elsewhere", 0)):
                async with session.get(f"{proxy.base}/{resource}/list/?environment={environment}") as answer:
                    assert len((await answer.json())["results"]) == found, (resource, environment)


READ_AT_ONCE = f"""
{IMPORTS}
import json, urllib.request
from respan import get_client
respan = Respan(customer_identifier="user_9")
{THROUGH}
seen = []

@workflow(name="w")
def w():
    seen.append(get_client().get_current_trace_id())
    return client.chat.completions.create(model="gpt-4.1-nano", messages=[{{"role": "user", "content": "Hi"}}])

w()
respan.flush()
asked = urllib.request.Request(
    f"{{os.environ['RESPAN_BASE_URL']}}/traces/{{seen[0]}}/", headers={{"Authorization": f"Bearer {{os.environ['RESPAN_API_KEY']}}"}}
)
with urllib.request.urlopen(asked) as answer:
    trace = json.load(answer)
print(trace["span_count"], trace["llm_call_count"], trace["customer_identifier"], len(trace["span_tree"][0]["children"]))
"""


async def test_a_trace_can_be_read_as_soon_as_it_was_flushed(proxy: Proxy, tmp_path: Path) -> None:
    assert await run(respan_python(), READ_AT_ONCE, proxy.base, tmp_path) == "2 1 user_9 1\n"


# As the users of `respan_tracing.testing.live` verify an instrumentation: list the trace, get each line, report.
LIVE = f"""
{IMPORTS}
from opentelemetry import trace
from respan import get_client
from respan_tracing.testing.live import RespanLogsClient, trace_problems
METADATA = {{"service": "soak", "version": "1"}}
respan = Respan(customer_identifier="user_1", thread_identifier="conv_1", metadata=METADATA)
{THROUGH}
seen = []

@task(name="one")
def one(question):
    return client.chat.completions.create(model="gpt-4.1-nano", messages=[{{"role": "user", "content": question}}])

@workflow(name="soak")
def soak():
    seen.append(get_client().get_current_trace_id())
    one("first")
    for chunk in client.chat.completions.create(
        model="gpt-4.1-nano", messages=[{{"role": "user", "content": "second"}}], stream=True
    ):
        pass
    client.responses.create(model="gpt-4.1-nano", input="third")
    one("last")

soak()
respan.flush()
logs = RespanLogsClient(os.environ["RESPAN_BASE_URL"], os.environ["RESPAN_API_KEY"])
listed = logs.wait_for_trace(seen[0], poll=0.01)
detailed = [logs.detail(row["unique_id"]) for row in listed]
for rows in (listed, detailed):
    print(trace_problems(rows, exported=7, customer_identifier="user_1", metadata=METADATA, forbidden=[os.environ["RESPAN_API_KEY"]]))
print(trace_problems(listed[:-1], exported=7, customer_identifier="user_2") != [])
"""


async def test_respans_own_verification_of_a_linked_workflow_finds_no_problem(proxy: Proxy, tmp_path: Path) -> None:
    assert await run(respan_python(), LIVE, proxy.base, tmp_path) == "[]\n[]\nTrue\n"
