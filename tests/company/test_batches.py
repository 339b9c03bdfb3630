"""Results of OpenAI's Batch API, logged by other processes and hours later than they were asked for."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.company.test_traces import assert_sums
from tests.company.tracing import nodes, outline, respan_python, run, told
from tests.conftest import Proxy
from tests.fakes import recordings

# Spans of this process are from six hours ago.
SUBMITTED = """
import time
now = time.time_ns
time.time_ns = lambda: now() - 6 * 3600 * 10**9
from respan import Respan, get_client, task, workflow
respan = Respan(customer_identifier="user_1")

@task(name="upload")
def upload():
    return get_client().get_current_trace_id()

@workflow(name="batch_submit")
def submit():
    return upload()

print(submit())
respan.flush()
"""
LOGGED = """
import json, sys
from respan import Respan
respan = Respan()
requests = [
    {{"custom_id": f"topic-{{n}}", "body": {{"model": "gpt-4.1-nano", "messages": [{{"role": "user", "content": f"{{n}}?"}}]}}}}
    for n in range(3)
]
respan.log_batch_results(requests, json.loads({results!r}), trace_id={trace_id!r})
respan.flush()
"""
OK_LINE = "    llm.gpt-4.1-nano-2025-04-14 chat 20+5"


def result(number: int, created: int) -> dict[str, object]:
    body = {**recordings.CHAT, "created": created}
    return {"custom_id": f"topic-{number}", "error": None, "response": {"status_code": 200, "body": body}}


def failed(number: int) -> dict[str, object]:
    error = {"error": {"message": "no such model", "type": "invalid_request_error"}}
    return {"custom_id": f"topic-{number}", "error": None, "response": {"status_code": 404, "body": error}}


async def test_results_logged_hours_later_join_the_trace_that_asked_for_them(proxy: Proxy, tmp_path: Path) -> None:
    trace_id = (await run(respan_python(), SUBMITTED, proxy.base, tmp_path)).strip()
    done = int(time.time()) - 3 * 3600
    for results in ([result(0, done), result(1, done + 60)], [failed(2)]):
        text = LOGGED.format(results=json.dumps(results), trace_id=trace_id)
        await run(respan_python(), text, proxy.base, tmp_path)
    seen = await told(proxy.base)
    assert seen.trace["trace_unique_id"] == trace_id
    assert outline(seen.trace)[:5] == ["batch_submit workflow", "  upload task", "  batch_results task", OK_LINE, OK_LINE]
    assert len(seen.trace["span_tree"]) == 1
    assert (seen.trace["name"], seen.trace["customer_identifier"]) == ("batch_submit", "user_1")
    assert (seen.trace["error_count"], seen.trace["llm_call_count"]) == (1, 3)
    assert (seen.trace["total_prompt_tokens"], seen.trace["total_completion_tokens"]) == (40, 10)
    by_status = {line["status_code"]: line for line in seen.calls}
    assert by_status[404]["status"] == "failed"
    assert by_status[404]["cost"] in (None, 0)
    for node in nodes(seen.trace):
        assert node["latency"] >= 0
        assert node["end_time"] >= node["start_time"]
    # From the submission to the failed line, which has no time of its own but that of its logging.
    assert seen.trace["duration"] == pytest.approx(6 * 3600, abs=120)


async def test_results_without_a_trace_are_one_of_their_own(proxy: Proxy, tmp_path: Path) -> None:
    results = [result(0, int(time.time()) - 60), result(1, int(time.time()) - 30)]
    await run(respan_python(), LOGGED.format(results=json.dumps(results), trace_id=None), proxy.base, tmp_path)
    seen = await told(proxy.base)
    assert outline(seen.trace) == ["batch_results task", OK_LINE.removeprefix("  "), OK_LINE.removeprefix("  ")]
    assert_sums(seen)
