"""Claude and Gemini, traced: each call is one line, whoever else made a span of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.company.test_traces import assert_sums
from tests.company.tracing import outline, respan_python, run, told
from tests.conftest import ANTHROPIC_KEY, GEMINI_KEY, Proxy
from tests.fakes.provider import FakeProvider

BEGIN = """
import os
from respan import Respan, workflow, propagate_attributes
respan = Respan()
"""
CLAUDE = """
from anthropic import Anthropic
client = Anthropic(api_key=os.environ["KEY"], base_url=os.environ["URL"])

def ask(stream=False):
    call = client.messages.create(
        model="claude-sonnet-4-6", max_tokens=64, messages=[{"role": "user", "content": "Hi"}], stream=stream
    )
    return list(call) if stream else call
"""
GEMINI = """
from google import genai
client = genai.Client(api_key=os.environ["KEY"], http_options={"base_url": os.environ["URL"]})

def ask(stream=False):
    models = client.models
    call = (models.generate_content_stream if stream else models.generate_content)(model="gemini-2.5-flash", contents="Hi")
    return list(call) if stream else call
"""
END = """
@workflow(name="w")
def w():
    with propagate_attributes(customer_identifier="user_1", thread_identifier="conv_1"):
        ask()
        ask(stream=True)

w()
ask()
respan.flush()
"""
VENDORS = {"claude": (CLAUDE, "/anthropic", ANTHROPIC_KEY), "gemini": (GEMINI, "/google/gemini", GEMINI_KEY)}


@pytest.mark.parametrize("through", [False, True], ids=["tracing only", "both"])
@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_call_is_one_line(vendor: str, through: bool, proxy: Proxy, provider: FakeProvider, tmp_path: Path) -> None:
    program, path, key = VENDORS[vendor]
    where = {"URL": f"{proxy.base}{path}", "KEY": "mine"} if through else {"URL": provider.url, "KEY": key}
    await run(respan_python(), f"{BEGIN}{program}{END}", proxy.base, tmp_path, where)
    assert len(provider.received) == 3
    seen = await told(proxy.base)
    trees = [[line.strip().rpartition(" ")[2] for line in outline(trace)] for trace in seen.traces]
    assert trees == [["workflow", "20+5", "20+5"], ["20+5"]], [outline(trace) for trace in seen.traces]
    assert_sums(seen)
    assert len(seen.calls) == 3
    assert [call["customer_identifier"] for call in seen.calls] == ["user_1", "user_1", None]
    assert len({call["cost"] for call in seen.calls}) == 1
