"""What is kept for clients that carry nothing themselves: for whom, since when, how much, and what happens without it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest

from respan_proxy.errors import ProxyError
from respan_proxy.store.keeping import Keeping
from tests.conftest import Proxy, StartProxy
from tests.fakes.provider import FakeProvider, streamed
from tests.translate import clients
from tests.translate.clients import SCHEMA, chat_results, plainly
from tests.translate.states import CLAUDE, GEMINI, Giver

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SKIPPED = "skip_thought_signature_validator"
TOOLS: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]


def first_call(body: Any) -> dict[str, Any]:
    """The first call of the history that Gemini is sent."""
    return next(part for content in body["contents"] for part in content["parts"] if "functionCall" in part)


async def ask(proxy: Proxy, state: Giver, *history: Any, key: str = "any", **more: Any) -> Any:
    messages: list[Any] = [{"role": "user", "content": "hi"}, *history]
    async with openai.AsyncOpenAI(api_key=key, base_url=proxy.base, max_retries=0) as client:
        reply = await client.chat.completions.create(model=state.model, messages=messages, tools=TOOLS, reasoning_effort="low", **more)
    return reply.choices[0].message


def answered(message: Any) -> list[Any]:
    return [plainly(message), *chat_results(message.tool_calls)]


async def on_disk(proxy: Proxy, path: Path) -> list[str]:
    """The ids of calls whose state the database holds, once nothing waits for it any more."""
    async with asyncio.timeout(5):
        while proxy.house.writer.keeping.lost:
            await asyncio.sleep(0)
    with closing(sqlite3.connect(path)) as database:
        return [key for (key,) in database.execute("SELECT key FROM kept WHERE kind = 'call' ORDER BY key")]


async def test_nobody_is_given_what_was_kept_for_another_key(
    start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider
) -> None:
    keys = [{"name": "one", "key": "key-one-0123456789"}, {"name": "two", "key": "key-two-0123456789"}]
    proxy = await start_proxy({"keys": keys}, environ)
    provider.will(GEMINI.whole)
    message = await ask(proxy, GEMINI, key="key-one-0123456789")
    await ask(proxy, GEMINI, *answered(message), key="key-two-0123456789")
    assert first_call(provider.last.json)["thoughtSignature"] == SKIPPED
    await ask(proxy, GEMINI, *answered(message), key="key-one-0123456789")
    assert GEMINI.step(provider.last.json) == GEMINI.expected


async def test_a_call_never_seen_goes_on_without_its_state(proxy: Proxy, provider: FakeProvider) -> None:
    provider.will(GEMINI.whole)
    message = await ask(proxy, GEMINI)
    for call in message.tool_calls:
        call.id = f"other_{call.id}"
    await ask(proxy, GEMINI, *answered(message))
    assert first_call(provider.last.json)["thoughtSignature"] == SKIPPED
    await ask(proxy, CLAUDE, *answered(message))
    assert "thinking" not in provider.last.json, "what does not begin with its thinking may not go on thinking"


async def test_a_conversation_that_moves_takes_nobodys_state_along(proxy: Proxy, provider: FakeProvider) -> None:
    provider.will(CLAUDE.whole)
    message = await ask(proxy, CLAUDE)
    await ask(proxy, GEMINI, *answered(message))
    assert first_call(provider.last.json)["thoughtSignature"] == SKIPPED
    assert b"cities" not in provider.last.body and b"cmVkYWN0ZWQ" not in provider.last.body
    provider.will(GEMINI.whole)
    message = await ask(proxy, GEMINI)
    await ask(proxy, CLAUDE, *answered(message))
    assert b"signature" not in provider.last.body
    await ask(proxy, CLAUDE, message.model_dump(), *chat_results(message.tool_calls))
    assert b"ignature" not in provider.last.body, "nor when the client carries it"


async def test_it_is_there_before_the_client_hears_that_the_call_is_over(proxy: Proxy, provider: FakeProvider) -> None:
    """A client may go on when it has read the finish, and not wait for what a provider has still to say."""
    gate = asyncio.Event()
    frames = list(GEMINI.streamed.steps)
    provider.will(streamed(*frames, gate))
    ask_streamed: Any = {"model": GEMINI.model, "messages": [{"role": "user", "content": "hi"}], "tools": TOOLS, "stream": True}
    calls: dict[int, dict[str, Any]] = {}
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        stream: Any = await client.chat.completions.create(**ask_streamed)
        async for chunk in stream:
            for call in chunk.choices[0].delta.tool_calls or ():
                told = calls.setdefault(
                    call.index, {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": ""}}
                )
                told["function"]["arguments"] += call.function.arguments or ""
            if chunk.choices[0].finish_reason:
                break
        said = {"role": "assistant", "content": "Let me look.", "tool_calls": list(calls.values())}
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in calls.values()]
        await ask(proxy, GEMINI, said, *results)
        assert GEMINI.step(provider.last.json) == GEMINI.expected
        gate.set()
        await stream.close()


class TestWhereItIsKept:
    @pytest.fixture(params=["full", "errors", "none"])
    def content(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    async def test_thoughts_that_can_be_read_are_content(
        self, start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider, tmp_path: Path, content: str
    ) -> None:
        proxy = await start_proxy({"store": {"content": content}}, environ)
        provider.will(CLAUDE.whole, GEMINI.whole)
        thought, signed = await ask(proxy, CLAUDE), await ask(proxy, GEMINI)
        ids = [signed.tool_calls[0].id, *(["toolu_0"] if content == "full" else [])]
        assert await on_disk(proxy, tmp_path / "calls.db") == sorted(ids)
        await ask(proxy, CLAUDE, *answered(thought))
        assert CLAUDE.step(provider.last.json) == CLAUDE.expected, "while this process lives it comes back in any case"

    async def test_who_wants_nothing_remembered_leaves_nothing_on_the_disk(
        self, proxy: Proxy, provider: FakeProvider, tmp_path: Path
    ) -> None:
        provider.will(GEMINI.whole)
        message = await ask(proxy, GEMINI, extra_body={"disable_log": True})
        assert await on_disk(proxy, tmp_path / "calls.db") == []
        await ask(proxy, GEMINI, *answered(message))
        assert GEMINI.step(provider.last.json) == GEMINI.expected


class TestWhatItCosts:
    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
        """The keys of each reading."""
        seen: list[list[str]] = []
        get = Keeping.get

        async def counted(self: Keeping, kind: str, owner: str, keys: Collection[str]) -> Mapping[str, bytes]:
            seen.append([*keys])
            return await get(self, kind, owner, keys)

        monkeypatch.setattr(Keeping, "get", counted)
        return seen

    @pytest.fixture
    def puts(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        seen: list[str] = []
        put = Keeping.put

        def counted(self: Keeping, kind: str, owner: str, entries: Mapping[str, bytes], *, on_disk: bool = True) -> None:
            seen.extend(entries)
            put(self, kind, owner, entries, on_disk=on_disk)

        monkeypatch.setattr(Keeping, "put", counted)
        return seen

    async def test_a_history_is_looked_up_at_once_and_not_without_end(
        self, proxy: Proxy, provider: FakeProvider, reads: list[list[str]]
    ) -> None:
        history: list[Any] = []
        for number in range(1001):
            call = {"id": f"c{number}", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
            history += [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": call["id"], "content": "x"}]
        await ask(proxy, GEMINI, *history)
        assert reads == [[f"c{number}" for number in range(1, 1001)]]

    async def test_who_carries_its_state_or_can_have_none_costs_nothing(
        self, proxy: Proxy, provider: FakeProvider, reads: list[list[str]], puts: list[str]
    ) -> None:
        provider.will(GEMINI.whole)
        await clients.generate_content(proxy.base, "gemini-3-pro-preview", False, False)
        provider.will(CLAUDE.whole)
        await clients.messages(proxy.base, CLAUDE.model, False, False)
        assert (reads, puts) == ([], []), "relayed"
        provider.will(GEMINI.whole)
        await clients.responses(proxy.base, GEMINI.model, False, False)
        assert (reads, puts) == ([], []), "asked for by name"
        provider.will(GEMINI.whole)
        await clients.chat(proxy.base, GEMINI.model, False, False)
        assert (reads, len(puts)) == ([], 1), "who brings it is not looked up"

    async def test_a_database_that_cannot_be_read_stops_nobody(
        self, proxy: Proxy, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def away(*_: object) -> Mapping[str, bytes]:
            raise ProxyError("the database is locked", status=503)

        provider.will(GEMINI.whole)
        message = await ask(proxy, GEMINI)
        monkeypatch.setattr(Keeping, "get", away)
        await ask(proxy, GEMINI, *answered(message))
        assert first_call(provider.last.json)["thoughtSignature"] == SKIPPED
        assert "the database is locked" in caplog.text


async def test_a_stream_that_breaks_leaves_nothing(proxy: Proxy, provider: FakeProvider, tmp_path: Path) -> None:
    provider.will(streamed(*list(GEMINI.streamed.steps)[:2]))
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        stream: Any = await client.chat.completions.create(
            model=GEMINI.model, messages=[{"role": "user", "content": "hi"}], tools=TOOLS, stream=True
        )
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass
    assert await on_disk(proxy, tmp_path / "calls.db") == []
