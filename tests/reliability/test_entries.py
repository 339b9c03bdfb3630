"""What is kept is bounded in bytes and in time."""

from __future__ import annotations

import orjson
import pytest
from multidict import CIMultiDict

from respan_proxy.config import Cache as Defaults
from respan_proxy.config import Config, Provider
from respan_proxy.dialects import DIALECTS
from respan_proxy.dialects.observe import Observed
from respan_proxy.exchange import Exchange, Reply, Request, Target
from respan_proxy.handlers.cache import Cache
from respan_proxy.handlers.entries import ENTRY_BYTES, NEVER, Entries, Entry
from respan_proxy.respan.endpoints import match
from respan_proxy.respan.params import Params
from respan_proxy.wire import json_edit
from tests.fakes.recordings import CHAT


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def entry(key: str, expires_at: float = NEVER, size: int = 0) -> Entry:
    return Entry(key, "openai.chat", "generate", "whole", "application/json", b"x" * size, Observed(), 0.0, expires_at)


def test_each_answer_has_a_time_of_its_own(clock: Clock) -> None:
    entries = Entries(1_000_000, clock)
    entries.put(entry("short", clock.now + 10))
    entries.put(entry("long", clock.now + 20))
    entries.put(entry("ever"))
    clock.now += 10
    assert [one.key for one in entries.all()] == ["long", "ever"]
    assert entries.get("short") is None
    clock.now += 10**9
    assert [one.key for one in entries.all()] == ["ever"]


def test_what_was_not_asked_for_longest_goes_first(clock: Clock) -> None:
    entries = Entries(3 * (ENTRY_BYTES + 100), clock)
    for key in "abc":
        assert entries.put(entry(key, size=100))
    assert entries.get("a") is not None
    entries.all()  # looking is not asking
    assert entries.put(entry("d", size=100))
    assert {one.key for one in entries.all()} == {"a", "c", "d"}


def test_what_is_larger_than_all_may_be_is_not_kept(clock: Clock) -> None:
    entries = Entries(ENTRY_BYTES + 100, clock)
    assert entries.put(entry("a", size=100))
    assert not entries.put(entry("b", size=101))
    assert [one.key for one in entries.all()] == ["a"]
    assert not Entries(0, clock).put(entry("a"))


def test_an_expiry_that_is_changed_holds_and_one_in_the_past_forgets(clock: Clock) -> None:
    entries = Entries(1_000_000, clock)
    kept = entry("a", clock.now + 10)
    entries.put(kept)
    kept.expires_at = clock.now + 100
    assert entries.put(kept)
    clock.now += 50
    assert entries.get("a") is kept
    kept.expires_at = clock.now
    assert not entries.put(kept)
    assert entries.get("a") is None


def test_a_smaller_memory_keeps_the_newest(clock: Clock) -> None:
    entries = Entries(1_000_000, clock)
    for key in "abc":
        entries.put(entry(key))
    entries.resize(2 * ENTRY_BYTES)
    assert [one.key for one in entries.all()] == ["b", "c"]
    entries.resize(1_000_000)
    assert len(entries.all()) == 2


BODY = b'{"model": "gpt-4.1-nano", "messages": [{"role": "user", "content": "hi"}]}'


def asked(**params: object) -> Exchange:
    endpoint = match("POST", "/api/chat/completions")
    assert endpoint is not None
    request = Request("POST", "/api/chat/completions", "", CIMultiDict(), BODY, 0.0)
    exchange = Exchange("id", request, endpoint, DIALECTS["openai.chat"], 0.0)
    exchange.document, exchange.model = json_edit.parse(BODY), "gpt-4.1-nano"
    exchange.params = Params({"cache_enabled": True, **params})
    return exchange


class Provided:
    """The rest of the chain: one target that answers, and counts."""

    def __init__(self, *, stands_in: bool = False) -> None:
        self.calls = 0
        self.target = Target(Provider("openai"), DIALECTS["openai.chat"], "gpt-4.1-nano", stands_in=stands_in)

    async def __call__(self, exchange: Exchange) -> Reply:
        self.calls += 1
        attempt = exchange.toward(self.target, 0.0).attempt
        assert attempt is not None
        body = orjson.dumps(CHAT)
        attempt.headers, attempt.answer, attempt.status = CIMultiDict(), body, 200
        return Reply(200, CIMultiDict({"Content-Type": "application/json"}), body)


@pytest.mark.parametrize(
    ("params", "lives_s"), [({}, 30 * 86_400), ({"cache_ttl": 60}, 60), ({"cache_ttl": 0.5}, 0.5)], ids=["default", "60s", "half-a-second"]
)
async def test_an_answer_lives_as_long_as_was_asked(clock: Clock, params: dict[str, float], lives_s: float) -> None:
    provided = Provided()
    async with Cache(now=clock) as cache:
        handle = cache.answers(Config(), [].append)
        replies = [await handle(asked(**params), provided), await handle(asked(), provided)]
        clock.now += lives_s - 0.01
        replies.append(await handle(asked(), provided))
        assert provided.calls == 1
        clock.now += 0.01
        replies.append(await handle(asked(), provided))
    assert provided.calls == 2
    assert [reply.headers["X-Respan-Cache"] for reply in replies] == ["MISS", "HIT", "HIT", "MISS"]


async def test_no_time_to_live_keeps_nothing(clock: Clock) -> None:
    provided = Provided()
    async with Cache(now=clock) as cache:
        handle = cache.answers(Config(), [].append)
        for _ in range(2):
            await handle(asked(cache_ttl=0), provided)
    assert provided.calls == 2


async def test_a_reload_keeps_what_is_kept_but_for_what_echo_said_in_the_place_of_others(clock: Clock) -> None:
    provided, stand_in = Provided(), Provided(stands_in=True)
    async with Cache(now=clock) as cache:
        handle = cache.answers(Config(), [].append)
        await handle(asked(), provided)
        await handle(asked(mock_response="another key"), stand_in)
        handle = cache.answers(Config(cache=Defaults(max_bytes=1_000_000), providers={"openai": Provider("openai", key="sk-a")}), [].append)
        await handle(asked(), provided)
        await handle(asked(mock_response="another key"), stand_in)
    assert (provided.calls, stand_in.calls) == (1, 2)
