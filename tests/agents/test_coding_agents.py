"""What Claude Code, Codex and Gemini CLI send works with any vendor's model: asked, told a result, whole and streamed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from tests.agents.coding import NOTE, REQUESTS, Body, Request, recording
from tests.agents.vendors import MODELS, assert_taken, config, dialect
from tests.conftest import Proxy, StartProxy
from tests.fakes.provider import FakeProvider
from tests.fakes.turns import SIGNATURE, THOUGHT, Turn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SDKs warn of the age of models and of aiohttp

NATIVE = {
    "claude_code": ("anthropic",),
    "claude_code_thinking": ("anthropic",),
    "codex": ("openai", "openai_old"),
    "gemini_cli": ("gemini",),
}


class Clients:
    """The SDKs that the agents are made with; each sends a body as it is, and reads what comes with its own helpers."""

    def __init__(self, proxy: Proxy) -> None:
        self._claude = anthropic.AsyncAnthropic(api_key="any", base_url=f"{proxy.base}/anthropic", max_retries=0)
        self._openai = openai.AsyncOpenAI(api_key="any", base_url=proxy.base, max_retries=0)
        self._gemini = genai.Client(api_key="any", http_options={"base_url": f"{proxy.base}/google/gemini"})

    async def close(self) -> None:
        await self._claude.close()
        await self._openai.close()
        await self._gemini.aio.aclose()

    async def ask(self, name: str, model: str, body: Body, streams: bool) -> Told:
        headers = {word: value for word, value in recording(name).headers.items() if not word.startswith("user-agent")}
        match name:
            case "codex":
                return await self._codex(model, {**body, "model": model, "stream": streams}, headers, streams)
            case "gemini_cli":
                return await self._gemini_cli(model, body, streams)
        return await self._claude_code(model, {**body, "model": model, "stream": streams}, headers, streams)

    async def _claude_code(self, model: str, body: Body, headers: Mapping[str, str], streams: bool) -> Told:
        asked: dict[str, Any] = {"model": model, "max_tokens": 1, "messages": [], "extra_body": body, "extra_headers": headers}
        if streams:
            async with self._claude.beta.messages.stream(**asked) as stream:
                message = await stream.get_final_message()
                warnings = stream.response.headers.get("X-Respan-Warnings", "")
        else:
            raw = await self._claude.beta.messages.with_raw_response.create(**asked)
            message, warnings = await raw.parse(), raw.headers.get("X-Respan-Warnings", "")
        content = [block.model_dump(exclude_none=True) for block in message.content]
        calls = [(block["id"], block["name"], block["input"]) for block in content if block["type"] == "tool_use"]
        return Told("".join(block.get("text", "") for block in content), calls, content, warnings)

    async def _codex(self, model: str, body: Body, headers: Mapping[str, str], streams: bool) -> Told:
        asked: dict[str, Any] = {"model": model, "input": "", "extra_body": body, "extra_headers": headers}
        if streams:
            async with self._openai.responses.stream(**asked) as stream:
                response: Any = await stream.get_final_response()
                warnings = stream._response.headers.get("X-Respan-Warnings", "")
        else:
            raw = await self._openai.responses.with_raw_response.create(**asked)
            response, warnings = raw.parse(), raw.headers.get("X-Respan-Warnings", "")
        # As Codex replays them: without what only the SDK knows.
        items = [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output]
        for item in items:
            for part in item.get("content") or ():
                part.pop("parsed", None)
        calls = [(item["call_id"], item["name"], json.loads(item["arguments"])) for item in items if item["type"] == "function_call"]
        return Told(response.output_text, calls, items, warnings)

    async def _gemini_cli(self, model: str, body: Body, streams: bool) -> Told:
        asked: dict[str, Any] = {"model": model, "contents": "", "config": types.GenerateContentConfig(http_options={"extra_body": body})}
        pieces = [reply async for reply in await self._gemini.aio.models.generate_content_stream(**asked)] if streams else []
        whole = [] if streams else [await self._gemini.aio.models.generate_content(**asked)]
        replies = [*pieces, *whole]
        parts = [part for reply in replies for part in (reply.candidates[0].content.parts or ())]
        calls = [(part.function_call.id, part.function_call.name, part.function_call.args) for part in parts if part.function_call]
        headers = {name.lower(): value for name, value in replies[0].sdk_http_response.headers.items()}
        content = [part.model_dump(mode="json", by_alias=True, exclude_none=True) for part in parts]
        text = "".join(part.text or "" for part in parts if not part.thought)
        return Told(text, calls, content, headers.get("x-respan-warnings", ""))


class Told:
    """What an SDK read: the text, calls (id, name, arguments), the content as it is to be replayed, the losses told."""

    def __init__(self, text: str, calls: list[tuple[str, str, Any]], content: list[Body], warnings: str) -> None:
        self.text, self.calls, self.content = text, calls, content
        self.warnings = {warning for warning in warnings.split(", ") if warning}


@pytest.fixture
async def clients(start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider) -> AsyncIterator[Clients]:
    clients = Clients(await start_proxy(config(provider), environ))
    yield clients
    await clients.close()


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.name.replace(" ", "_"))
async def test_any_vendors_model_is_asked_and_answers(request_: Request, clients: Clients, provider: FakeProvider) -> None:
    for vendor, model in MODELS.items():
        native = vendor in NATIVE[request_.recording]
        for streams in (False, True):
            body = request_.body()
            provider.received.clear()
            if words := request_.refused.get(vendor):
                with pytest.raises((anthropic.BadRequestError, openai.BadRequestError, genai.errors.ClientError), match=words):
                    await clients.ask(request_.recording, model, body, streams)
                assert not provider.received, "refused before any call"
                continue
            provider.will(Turn("Hello."))
            told = await clients.ask(request_.recording, model, body, streams)
            assert told.text == "Hello.", vendor
            assert told.warnings == (set() if native else request_.lost(vendor)), vendor
            sent = provider.last.json
            if native:
                # As it came, but for the members that the SDK itself put in.
                assert {name: sent[name] for name in body if name not in ("model", "stream")} == {
                    name: value for name, value in body.items() if name not in ("model", "stream")
                }
            else:
                assert_taken(provider.last)
                assert "hello" in json.dumps(sent)
            if request_.turn == "next":
                assert NOTE in json.dumps(sent) or "tool_reference" in json.dumps(body)
            if "iVBORw0" in json.dumps(body):
                assert "iVBORw0" in json.dumps(sent)


READS = {
    "claude_code": ("Read", {"file_path": "/project/note.txt"}),
    "codex": ("exec_command", {"cmd": "cat note.txt"}),
    "gemini_cli": ("read_file", {"file_path": "note.txt"}),
}


def with_result(name: str, body: Body, told: Told) -> Body:
    """The turn after: what was said, as the agent keeps it, and a result for each call."""
    match name:
        case "claude_code":
            results = [{"type": "tool_result", "tool_use_id": id, "content": NOTE} for id, _, _ in told.calls]
            messages = [*body["messages"], {"role": "assistant", "content": told.content}, {"role": "user", "content": results}]
            return {**body, "messages": messages}
        case "codex":
            outputs = [{"type": "function_call_output", "call_id": id, "output": NOTE} for id, _, _ in told.calls]
            return {**body, "input": [*body["input"], *told.content, *outputs]}
    results = [{"functionResponse": {"id": id, "name": called, "response": {"output": NOTE}}} for id, called, _ in told.calls]
    return {**body, "contents": [*body["contents"], {"role": "model", "parts": told.content}, {"role": "user", "parts": results}]}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", READS)
async def test_a_tool_is_called_and_its_result_told(name: str, streams: bool, clients: Clients, provider: FakeProvider) -> None:
    """Two calls at once after a thought; what the vendor signed comes back to it."""
    tool, arguments = READS[name]
    for vendor, model in MODELS.items():
        provider.received.clear()
        provider.will(Turn("I read.", [(tool, arguments), (tool, arguments)], thought=THOUGHT), Turn("Done."))
        body = recording(name).first
        asked = await clients.ask(name, model, body, streams)
        assert [(called, given) for _, called, given in asked.calls] == [(tool, arguments)] * 2, vendor
        if (name, vendor) != ("gemini_cli", "gemini"):  # whose calls are told apart by their order
            assert len({id for id, _, _ in asked.calls}) == 2
        answered = await clients.ask(name, model, with_result(name, body, asked), streams)
        assert answered.text == "Done.", vendor
        told = provider.last.body.decode()
        assert told.count(NOTE) == 2, vendor
        if vendor not in NATIVE[name]:
            assert_taken(provider.last)
        if dialect(provider.last) != "openai.chat":  # where nothing is signed
            assert SIGNATURE in told, f"{vendor} signed its thought, and did not get it back"


@pytest.mark.parametrize("model", MODELS.values())
async def test_tokens_are_counted_as_claude_code_and_gemini_cli_ask(
    model: str, start_proxy: StartProxy, environ: dict[str, str], provider: FakeProvider
) -> None:
    proxy = await start_proxy(config(provider), environ)
    body = recording("claude_code").first
    counted = {name: body[name] for name in ("messages", "system", "tools", "thinking", "context_management")}
    async with anthropic.AsyncAnthropic(api_key="any", base_url=f"{proxy.base}/anthropic", max_retries=0) as claude:
        count = await claude.beta.messages.count_tokens(model=model, messages=[], extra_body=counted)
    assert count.input_tokens > 0
    gemini = genai.Client(api_key="any", http_options={"base_url": f"{proxy.base}/google/gemini"})
    contents = recording("gemini_cli").first["contents"]
    assert ((await gemini.aio.models.count_tokens(model=model, contents=contents)).total_tokens or 0) > 0
    await gemini.aio.aclose()
