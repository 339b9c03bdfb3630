"""A conversation that moves to another provider in the middle of a tool loop: the first one's state stays behind, also on a plain relay."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.conftest import Proxy
from tests.fakes.provider import FakeProvider
from tests.translate import clients
from tests.translate.states import CLAUDE, DEEPSEEK, GEMINI, GIVERS, OPENAI
from tests.translate.test_state import proxy as proxy

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("giver", ["gemini", "openai", "deepseek"])
async def test_claude_is_sent_no_thinking_that_it_did_not_sign(proxy: Proxy, provider: FakeProvider, giver: str, streams: bool) -> None:
    provider.will(GIVERS[giver].answer(streams))
    await clients.messages(proxy.base, GIVERS[giver].model, streams, False, then=CLAUDE.model)
    body = provider.last.json
    [step] = [message for message in body["messages"] if message["role"] == "assistant"]
    assert {block["type"] for block in step["content"]} <= {"text", "tool_use"}
    assert b"gw1." not in provider.last.body
    assert body["thinking"] == {"type": "disabled"}, "a step without its thinking may not go on thinking"
    assert body["messages"][0] == {"role": "user", "content": "hi"}


async def test_claudes_own_thinking_goes_back_to_it_byte_for_byte(proxy: Proxy, provider: FakeProvider) -> None:
    provider.will(CLAUDE.whole)
    await clients.messages(proxy.base, CLAUDE.model, False, False)
    assert CLAUDE.step(provider.last.json) == CLAUDE.expected
    assert provider.last.json["thinking"]["type"] == "enabled"


@pytest.mark.parametrize("plain", [False, True], ids=["", "plain"])
@pytest.mark.parametrize("giver", ["gemini", "claude"])
async def test_openai_is_sent_no_reasoning_that_it_did_not_encrypt(proxy: Proxy, provider: FakeProvider, giver: str, plain: bool) -> None:
    provider.will(GIVERS[giver].whole)
    await clients.responses(proxy.base, GIVERS[giver].model, False, plain, then="oracle/gpt-5.6")
    assert [item["type"] for item in OPENAI.step(provider.last.json)] == ["function_call", "function_call"]


async def test_reasoning_that_was_asked_for_without_its_state_is_not_looked_for_at_openai(proxy: Proxy, provider: FakeProvider) -> None:
    """The Agents SDK sends reasoning items back by id; the service would answer 404 to one of ours."""
    provider.will(CLAUDE.whole)
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        first = await client.responses.create(model=CLAUDE.model, input="hi", reasoning={"effort": "low"}, store=False)
        assert first.output[0].type == "reasoning"
        items: Any = [{"role": "user", "content": "hi"}, *first.output[:1], {"role": "user", "content": "and?"}]
        reply = await client.responses.with_raw_response.create(model="oracle/gpt-5.6", input=items)
    assert [item.get("role") for item in provider.last.json["input"]] == ["user", "user"]
    assert "messages.reasoning:dropped" in reply.headers["X-Respan-Warnings"]


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("giver", ["gemini", "claude", "deepseek"])
async def test_strict_chat_servers_are_sent_no_members_they_do_not_know(
    proxy: Proxy, provider: FakeProvider, giver: str, streams: bool
) -> None:
    provider.will(GIVERS[giver].answer(streams))
    await clients.chat(proxy.base, GIVERS[giver].model, streams, False, then="gpt-4o")
    [step] = [message for message in provider.last.json["messages"] if message["role"] == "assistant"]
    assert not {"reasoning_content", "reasoning_details", "extra_content"} & (step.keys() | step["tool_calls"][0].keys())
    assert step["content"] == "Let me look." and len(step["tool_calls"]) == 2


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_gemini_takes_the_calls_of_another(proxy: Proxy, provider: FakeProvider, streams: bool) -> None:
    provider.will(CLAUDE.answer(streams))
    await clients.generate_content(proxy.base, CLAUDE.model, streams, False, then=GEMINI.model)
    calls = [part for part in GEMINI.step(provider.last.json) if "functionCall" in part]
    assert [call.get("thoughtSignature") for call in calls] == ["skip_thought_signature_validator", None]


async def test_geminis_own_calls_are_relayed_as_they_are(proxy: Proxy, provider: FakeProvider) -> None:
    provider.will(GEMINI.whole)
    await clients.generate_content(proxy.base, GEMINI.model, False, False)
    signatures = [part.get("thoughtSignature") for part in GEMINI.step(provider.last.json)]
    assert signatures.count(None) == 2 and "skip_thought_signature_validator" not in signatures


async def test_who_takes_plain_thinking_is_relayed_as_before(proxy: Proxy, provider: FakeProvider) -> None:
    provider.will(DEEPSEEK.whole)
    await clients.chat(proxy.base, DEEPSEEK.model, False, False)
    assert DEEPSEEK.step(provider.last.json)[0]["reasoning_content"] == "Two ☃ cities."


async def test_a_long_history_is_searched_too(proxy: Proxy, provider: FakeProvider) -> None:
    """Bodies over 1 MB are not parsed on their way; one that holds a mark is."""
    long = {"role": "user", "content": "x" * 1_500_000}
    thought = {"type": "thinking", "thinking": "", "signature": "gw1.gemini.U0lH"}
    said = {"role": "assistant", "content": [thought, {"type": "text", "text": "ok"}]}
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        ask: Any = {"model": CLAUDE.model, "max_tokens": 9, "messages": [long, said, {"role": "user", "content": "and?"}]}
        reply = await client.post("/anthropic/v1/messages", body=ask, cast_to=object)
    assert reply and provider.last.json["messages"][1]["content"] == [{"type": "text", "text": "ok"}]
    assert provider.last.json["messages"][0] == long


async def test_losses_are_not_borne_where_they_are_errors(proxy: Proxy, provider: FakeProvider) -> None:
    provider.will(GIVERS["gemini"].whole)
    before = len(provider.received)
    async with openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0) as client:
        said: Any = {"role": "assistant", "content": "ok", "reasoning_content": "hm"}
        with pytest.raises(openai.BadRequestError, match=r"messages\.reasoning"):
            await client.chat.completions.create(
                model="gpt-4o", messages=[said, {"role": "user", "content": "and?"}], extra_body={"on_loss": "error"}
            )
    assert len(provider.received) == before
