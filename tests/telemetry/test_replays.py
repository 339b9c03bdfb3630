"""What the real SDKs sent, sent again in any order, in any portions and more than once, is remembered the same."""

from __future__ import annotations

import asyncio
import base64
import copy
import gzip
import itertools
import json
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from respan_proxy.app import running
from respan_proxy.config import parse
from tests.conftest import Host, Proxy
from tests.fakes import recordings
from tests.fakes.provider import FakeProvider, streamed
from tests.telemetry.recorded import SCENARIOS, posts

LINKED = [name for name in SCENARIOS if name.endswith("+link")]
# What a row owes to when and by whom it was taken.
PASSING = {"instance_id"}


Begin = Callable[..., Awaitable[Proxy]]


@pytest.fixture
def begin(host: Host[Any], tmp_path: Path) -> Begin:
    """`await begin()`: one more proxy, with a database of its own."""
    count = itertools.count()

    async def one(environ: Mapping[str, str] | None = None) -> Proxy:
        flags = {"listen": "127.0.0.1:0", "database": str(tmp_path / f"{next(count)}.db")}
        house = await host(running(parse({}, environ or {}, "test.toml", flags)))
        return Proxy(house, f"http://127.0.0.1:{house.address.port}")

    return one


def exported(scenario: str) -> Iterator[dict[str, Any]]:
    """Each of its spans as a request of its own, in the order in which they came; those in JSON."""
    for post in posts(scenario):
        if "body" not in post:
            continue
        for resource in post["body"]["resourceSpans"]:
            for scoped in resource["scopeSpans"]:
                for span in scoped["spans"]:
                    yield {"resourceSpans": [{**resource, "scopeSpans": [{**scoped, "spans": [span]}]}]}


async def send(session: aiohttp.ClientSession, proxy: Proxy, body: dict[str, Any]) -> None:
    async with session.post(f"{proxy.base}/v2/traces", json=body) as answer:
        assert answer.status == 200, await answer.text()
        assert not (await answer.json()).get("partialSuccess", {}).get("rejectedSpans")


def portions(bodies: Sequence[dict[str, Any]], chance: random.Random) -> Iterator[dict[str, Any]]:
    """The same spans, several to a request."""
    waiting = list(bodies)
    while waiting:
        count = chance.randint(1, 6)
        yield {"resourceSpans": [resource for body in waiting[:count] for resource in body["resourceSpans"]]}
        del waiting[:count]


async def remembered(session: aiohttp.ClientSession, proxy: Proxy) -> dict[str, Any]:
    """Every line and every tree, by their ids."""

    async def get(path: str) -> Any:
        async with session.get(f"{proxy.base}{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    lines = (await get("/request-logs/list/?page_size=1000&start_time=2020-01-01T00:00:00Z"))["results"]
    traces = (await get("/traces/list/?page_size=1000&start_time=2020-01-01T00:00:00Z"))["results"]
    rows = [await get(f"/request-logs/{line['unique_id']}/") for line in lines]
    return {
        "rows": {row["unique_id"]: {name: value for name, value in row.items() if name not in PASSING} for row in rows},
        "traces": {trace["trace_unique_id"]: await get(f"/traces/{trace['trace_unique_id']}/") for trace in traces},
    }


async def test_every_order_gives_the_same_rows_and_trees(begin: Begin) -> None:
    bodies = [body for scenario in SCENARIOS for body in exported(scenario)]
    assert len(bodies) > 150
    seen = []
    async with aiohttp.ClientSession() as session:
        for number in range(4):
            proxy = await begin()
            chance = random.Random(number)
            order = [*bodies]
            if number == 1:
                order.reverse()
            elif number > 1:
                chance.shuffle(order)
            for body in portions(order, chance):
                await send(session, proxy, body)
            if number == 3:  # as exporters do that got no answer
                for body in portions(bodies, chance):
                    await send(session, proxy, body)
            seen.append(await remembered(session, proxy))
    first, *others = seen
    assert len(first["rows"]) > 150 and len(first["traces"]) > 40
    for other in others:
        assert other["rows"].keys() == first["rows"].keys()
        for id, row in first["rows"].items():
            assert other["rows"][id] == row
        assert other["traces"].keys() == first["traces"].keys()
        for id, trace in first["traces"].items():
            assert other["traces"][id] == trace


async def test_the_two_encodings_give_the_same_rows(begin: Begin) -> None:
    seen = []
    names = [name for name in SCENARIOS if name.startswith("otlp_")]
    assert names
    for packed in (False, True):
        proxy = await begin()
        async with aiohttp.ClientSession() as session:
            for scenario in names:
                for post in posts(scenario):
                    body = base64.b64decode(post["body_base64"])
                    headers = {"Content-Type": post["content_type"], **({"Content-Encoding": "gzip"} if packed else {})}
                    data = gzip.compress(body) if packed else body
                    async with session.post(f"{proxy.root}{post['path']}", data=data, headers=headers) as answer:
                        assert (answer.status, answer.content_type) == (200, post["content_type"])
            seen.append(await remembered(session, proxy))
    assert seen[0] == seen[1]
    assert sorted({row["span_name"] for row in seen[0]["rows"].values()}) == ["child", "parent"]


def log_ids(bodies: Sequence[dict[str, Any]]) -> list[str]:
    """The gateway's ids of calls that these spans name, each once."""
    found = {
        pair["value"]["stringValue"]: None
        for body in bodies
        for pair in body["resourceSpans"][0]["scopeSpans"][0]["spans"][0].get("attributes", ())
        if pair["key"] == "respan.gateway.log_id"
    }
    return list(found)


CHAT = {"model": "gpt-4.1-nano", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


async def called(
    session: aiohttp.ClientSession, proxy: Proxy, provider: FakeProvider, count: int
) -> tuple[list[str], asyncio.Event, list[aiohttp.ClientResponse]]:
    """Calls whose answers have begun, and end when the event is set: (their ids, the event, the answers)."""
    over = asyncio.Event()
    ids, answers = [], []
    for _ in range(count):
        provider.will(
            streamed(recordings.CHAT_STREAM[:3], over, [*recordings.CHAT_STREAM[3:-1], recordings.CHAT_USAGE, recordings.CHAT_STREAM[-1]])
        )
        answer = await session.post(f"{proxy.base}/chat/completions", json=CHAT)
        ids.append(answer.headers["X-Respan-Log-Id"])
        answers.append(answer)
    return ids, over, answers


def renamed(value: Any, names: dict[str, str]) -> Any:
    text = json.dumps(value)
    for name, other in names.items():
        text = text.replace(name, other)
    return json.loads(text)


PLACED = (
    *("trace_unique_id", "span_unique_id", "span_parent_id", "span_name", "span_workflow_name", "span_path", "log_type", "status"),
    *("model", "prompt_tokens", "completion_tokens", "cost", "customer_identifier", "thread_identifier", "metadata"),
)


def placed(seen: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Where each line stands and what it counts, a call under the name that the recording has for it."""
    return {names.get(id, id): {fact: row[fact] for fact in PLACED} for id, row in seen["rows"].items()}


@pytest.mark.parametrize("scenario", LINKED)
async def test_calls_are_linked_whether_they_end_before_their_spans_come_or_after(
    scenario: str, begin: Begin, environ: dict[str, str], provider: FakeProvider
) -> None:
    bodies = [*exported(scenario)]
    recorded_ids = log_ids(bodies)
    assert bool(recorded_ids) != scenario.startswith("gemini")
    seen = []
    for calls_first, backwards in ((True, False), (False, False), (False, True)):
        proxy = await begin(environ)
        async with aiohttp.ClientSession() as session:
            ids, over, answers = await called(session, proxy, provider, len(recorded_ids))
            names = dict(zip(recorded_ids, ids, strict=True))
            if calls_first:
                over.set()
                for answer in answers:
                    await answer.read()
            order = copy.deepcopy(bodies)
            for body in reversed(order) if backwards else order:
                await send(session, proxy, renamed(body, names))
            over.set()
            for answer in answers:
                await answer.read()
            whole = await remembered(session, proxy)
            for id in ids:
                assert whole["rows"][id]["trace_unique_id"] != id, "a call that a span names is in that span's trace"
            assert len(whole["rows"]) <= len(bodies)
            seen.append(placed(whole, {other: name for name, other in names.items()}))
    assert seen[0] == seen[1] == seen[2]
    for name in recorded_ids:
        assert (seen[0][name]["prompt_tokens"], seen[0][name]["completion_tokens"]) == (20, 5)
