"""Runs every feature of every client dialect against every kind of provider, and says of each what happened; the words of a table.

A word is never chosen beforehand: `yes` when what was asked for stood in the provider's request and what was answered came back and
no loss was told; the losses as `X-Respan-Warnings` names them; `refused` for a 4xx of our own before any call; `lost` for the worst.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from respan_proxy.app import running
from respan_proxy.config import parse
from tests.compatibility.clients import CLIENTS, Json, Said, calling, path, result, streamed, turns, user, whole
from tests.compatibility.features import FEATURES, IMAGE, PIXEL, SCHEMA, TEXT, THINKING, WEATHER, Feature, images_by_url
from tests.fakes import recordings
from tests.fakes.provider import Act, FakeProvider
from tests.fakes.provider import streamed as in_stream
from tests.fakes.provider import whole as answer
from tests.fakes.turns import SIGNATURE, Turn

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
NOT_THERE, YES, REFUSED, LOST = "–", "yes", "refused", "lost"


@dataclass(frozen=True, slots=True)
class Column:
    """One kind of provider: its title, the dialect it is asked in, a model's name and one for embeddings."""

    title: str
    dialect: str
    model: str
    embeds: str


COLUMNS = (
    Column("OpenAI (chat)", "openai.chat", "gpt-5.1", "text-embedding-3-small"),
    Column("OpenAI (Responses)", "openai.responses", "gpt-5.1", "text-embedding-3-small"),
    Column("Anthropic", "anthropic.messages", "claude-sonnet-4-6", "claude-sonnet-4-6"),
    Column("Gemini", "gemini", "gemini-2.5-flash", "gemini-embedding-001"),
    Column("compatible server (chat)", "openai.chat", "qwen3-32b", "qwen3-embed"),
)


@dataclass(slots=True)
class Counter:
    """Where one client dialect asks one kind of provider."""

    client: str
    column: Column
    base: str
    provider: FakeProvider
    pictures: FakeProvider
    session: aiohttp.ClientSession

    async def ask(self, body: Json, *, streams: bool = False, at: str = "") -> tuple[int, set[str], str]:
        """(status, losses, text of the answer)"""
        if self.client != "gemini":
            body = {"model": self.column.model, **body, **({"stream": True} if streams else {})}
        async with self.session.post(self.base + (at or path(self.client, self.column.model, streams=streams)), json=body) as got:
            told = got.headers.get("X-Respan-Warnings", "")
            try:
                text = await got.text()
            except aiohttp.ClientError:
                text = ""
            return got.status, {loss for loss in told.split(", ") if loss}, text

    @property
    def sent(self) -> str:
        """What the provider was sent last, as compact JSON: a client's own bytes may be spaced otherwise."""
        return json.dumps(self.provider.last.json, separators=(",", ":"), ensure_ascii=False)

    def word(self, status: int, losses: set[str], there: Callable[[], bool]) -> str:
        if 400 <= status < 500 and not self.provider.received:
            return REFUSED
        if status != 200:
            return f"status {status}"
        if losses:
            return ", ".join(f"`{loss}`" for loss in sorted(losses))
        return YES if there() else LOST


def _read(client: str, status: int, text: str, streams: bool) -> Said:
    if status != 200:
        return Said(error=text)
    return streamed(client, text) if streams else whole(client, json.loads(text))


async def _feature(counter: Counter, feature: Feature) -> str:
    client = counter.client
    if client not in feature.asks:
        return NOT_THERE
    counter.provider.will(feature.turn)
    status, losses, text = await counter.ask(feature.asks[client](client), streams=feature.streams)
    said = _read(client, status, text, feature.streams)
    return counter.word(status, losses, lambda: feature.arrived(counter.column.dialect, counter.sent) and feature.came(client, said))


async def _round_trip(counter: Counter, asks: Callable[[str], Json], turn: Turn, *contents: Any) -> tuple[str, bool]:
    """A question, calls, their results: the word for the second request, and whether the first was answered at all."""
    client = counter.client
    counter.provider.will(turn)
    body = {**asks(client), **calling(client, ("get_weather", SCHEMA), ("get_time", SCHEMA))}
    status, losses, text = await counter.ask(body)
    if status != 200:
        return counter.word(status, losses, lambda: False), False
    said = whole(client, json.loads(text))
    turns(client, body).extend(result(client, said, *contents))
    counter.provider.received.clear()
    counter.provider.will(Turn(TEXT))
    status, more, text = await counter.ask(body)
    came = status == 200 and whole(client, json.loads(text)).text == TEXT
    return counter.word(status, losses | more, lambda: came), came


async def _tool_result(counter: Counter) -> str:
    turn = Turn("", [WEATHER, ("get_time", {"city": "Bern"})])
    word, _ = await _round_trip(counter, user, turn, "SUNNY", "NOON")
    return word if word != YES or ("SUNNY" in counter.sent and "NOON" in counter.sent) else LOST


async def _image_in_a_result(counter: Counter) -> str:
    if counter.client not in IMAGE:
        return NOT_THERE
    word, _ = await _round_trip(counter, user, Turn("", [WEATHER]), [IMAGE[counter.client]])
    return word if word != YES or PIXEL in counter.sent else LOST


async def _thinking_kept(counter: Counter) -> str:
    if counter.column.dialect == "openai.chat":
        return NOT_THERE  # nothing is signed there
    word, came = await _round_trip(counter, THINKING[counter.client], Turn("I look.", [WEATHER], "Let me think."), "SUNNY")
    if not came or SIGNATURE not in counter.sent:
        return LOST if word == YES else word
    return word if word == YES else f"{YES}, but {word}"


async def _image_by_url(counter: Counter) -> str:
    url = f"{counter.pictures.url}/a.png"
    counter.pictures.will(answer(base64.b64decode(PIXEL), headers={"Content-Type": "image/png"}))
    counter.provider.will(Turn(TEXT))
    status, losses, _ = await counter.ask(images_by_url(url)[counter.client](counter.client))
    counter.pictures.forget()
    return counter.word(status, losses, lambda: url in counter.sent or PIXEL in counter.sent)


async def _count(counter: Counter) -> str:
    client, model = counter.client, counter.column.model
    at = {
        "openai.responses": "/responses/input_tokens",
        "anthropic.messages": "/anthropic/v1/messages/count_tokens",
        "gemini": f"/google/gemini/v1beta/models/{model}:countTokens",
    }.get(client)
    if at is None:
        return NOT_THERE
    body = user(client)
    body.pop("max_tokens", None)
    counter.provider.will(answer({"input_tokens": 14, "totalTokens": 14, "object": "response.input_tokens"}))
    status, losses, text = await counter.ask(body, at=at)
    return counter.word(status, losses, lambda: 14 in json.loads(text).values())


async def _embed(counter: Counter) -> str:
    model = counter.column.embeds
    match counter.client:
        case "openai.chat":
            at, body = "/embeddings", {"model": model, "input": "hello"}
        case "gemini":
            at, body = f"/google/gemini/v1beta/models/{model}:embedContent", {"content": {"parts": [{"text": "hello"}]}}
        case _:
            return NOT_THERE
    if counter.column.dialect == "openai.responses":
        return NOT_THERE
    openai = {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "model": model,
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }
    counter.provider.will(answer({**openai, "embedding": {"values": [0.5]}, "embeddings": [{"values": [0.5]}]}))
    status, losses, text = await counter.ask(body, at=at)
    return counter.word(status, losses, lambda: "0.5" in text)


_ERRORS: Mapping[str, Json] = {
    "openai.chat": recordings.openai_error(429, "rate_limit_exceeded"),
    "openai.responses": recordings.openai_error(429, "rate_limit_exceeded"),
    "anthropic.messages": recordings.anthropic_error(429, "rate_limit_error"),
    "gemini": recordings.gemini_error(429, "RESOURCE_EXHAUSTED"),
}


async def _error(counter: Counter) -> str:
    """A 429 of the provider is a 429 in the client's own words."""
    counter.provider.will(answer(_ERRORS[counter.column.dialect], 429))
    status, _, text = await counter.ask({**user(counter.client), "retry_params": {"retry_enabled": False}})
    told = json.loads(text)
    own = _ERRORS[counter.client]
    is_own = own.keys() <= told.keys() and own["error"].keys() <= told["error"].keys() and "scripted 429" in told["error"]["message"]
    return YES if status == 429 and is_own else f"status {status}"


async def _break(counter: Counter) -> str:
    """A provider that breaks off in mid-stream is an error event of the client's, not a short answer."""
    begun = {
        "openai.chat": recordings.CHAT_STREAM[:2],
        "openai.responses": recordings.RESPONSES_STREAM[:5],
        "anthropic.messages": recordings.MESSAGES_STREAM[:4],
        "gemini": recordings.GEMINI_STREAM[:1],
    }
    counter.provider.will(in_stream(begun[counter.column.dialect], Act.RESET))
    status, losses, text = await counter.ask(user(counter.client), streams=True)
    return counter.word(status, losses, lambda: bool(streamed(counter.client, text).error))


async def _state(counter: Counter) -> str:
    """A second question that names the first answer instead of repeating it."""
    if counter.client != "openai.responses":
        return NOT_THERE
    counter.provider.will(Turn("The first answer."))
    _, _, text = await counter.ask({**user("openai.responses"), "store": True})
    id = json.loads(text)["id"]
    counter.provider.received.clear()
    counter.provider.will(Turn(TEXT))
    status, losses, _ = await counter.ask({**user("openai.responses", text="and now?"), "previous_response_id": id})
    return counter.word(status, losses, lambda: id in counter.sent or "The first answer." in counter.sent)


_ON_THEIR_OWN: Mapping[str, Callable[[Counter], Awaitable[str]]] = {
    "results of tools": _tool_result,
    "images in results of tools": _image_in_a_result,
    "images by URL": _image_by_url,
    "thinking kept over a tool's call": _thinking_kept,
    "count of tokens": _count,
    "embeddings": _embed,
    "errors of the provider": _error,
    "a break in mid-stream": _break,
    "state (`previous_response_id`)": _state,
}

Table = dict[str, dict[str, list[str]]]
"""Client dialect -> feature -> a word for each of `COLUMNS`."""


@asynccontextmanager
async def _counters(folder: Path) -> AsyncIterator[list[list[Counter]]]:
    """A counter for each client dialect at each column: one proxy for OpenAI's chat, one for all else, both in front of the same fake."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(FakeProvider())
        pictures = await stack.enter_async_context(FakeProvider())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        environ = {"OPENAI_API_KEY": "sk-x", "ANTHROPIC_API_KEY": "sk-ant-x", "GEMINI_API_KEY": "AIza-x"}
        for name, place in (("OPENAI", "/v1"), ("ANTHROPIC", ""), ("GEMINI", "")):
            environ[f"RESPAN_PROXY_{name}_BASE_URL"] = provider.url + place
        bases: dict[str, str] = {}
        for spoken in ("openai.chat", "openai.responses"):
            own = {"base_url": f"{provider.url}/v1", "models": ["qwen3-32b", "qwen3-embed"], "auth": "none"}
            options = {"images": {"allow_private": True}, "providers": {"openai": {"dialects": [spoken]}, "my_vllm": own}}
            flags = {"listen": "127.0.0.1:0", "database": str(folder / f"{spoken}.db")}
            house = await stack.enter_async_context(running(parse(options, environ, "test.toml", flags)))
            bases[spoken] = f"http://127.0.0.1:{house.address.port}/api"
        yield [
            [
                Counter(client, column, bases.get(column.dialect, bases["openai.responses"]), provider, pictures, session)
                for column in COLUMNS
            ]
            for client in CLIENTS
        ]


async def run() -> Table:
    """Every cell, one after the other."""
    table: Table = {}
    with TemporaryDirectory() as folder:
        async with _counters(Path(folder)) as counters:
            for row in counters:
                told = table[row[0].client] = {}
                for feature in FEATURES:
                    told[feature.name] = [await _cell(counter, lambda at, feature=feature: _feature(at, feature)) for counter in row]
                for name, way in _ON_THEIR_OWN.items():
                    told[name] = [await _cell(counter, way) for counter in row]
    return table


async def _cell(counter: Counter, way: Callable[[Counter], Awaitable[str]]) -> str:
    counter.provider.forget()
    counter.pictures.forget()
    return await way(counter)


def markdown(table: Table) -> str:
    """The page `docs/compatibility.md`."""
    lines = [_INTRODUCTION]
    for client, rows in table.items():
        lines += [f"## Clients that speak {CLIENTS[client]}", "", f"| asked for | {' | '.join(column.title for column in COLUMNS)} |"]
        lines.append("|---" * (len(COLUMNS) + 1) + "|")
        lines += [f"| {name} | {' | '.join(words)} |" for name, words in rows.items() if set(words) != {NOT_THERE}]
        absent = [name for name, words in rows.items() if set(words) == {NOT_THERE}]
        lines += ["", f"Not in this dialect: {', '.join(absent)}.", ""]
    return "\n".join(lines)


_INTRODUCTION = f"""# Compatibility

What comes of each thing that a client may ask for, in each of the four dialects, at each kind of provider. Made by running every call
through the proxy to a provider that writes down what it is sent (`make compatibility`); a test fails when this page says anything else.
The models are {", ".join(dict.fromkeys(column.model for column in COLUMNS))}; what others take is in `respan_proxy/dialects/profiles.toml`.

| word | meaning |
|---|---|
| yes | it reached the provider, and what the provider answered came back |
| `name:what` | served, with this loss, told in `X-Respan-Warnings` and in the row; `on_loss = "error"` makes it a 400 |
| `reply.name:what` | the same of something that the reply said; of a stream the row alone tells, and no reply is made a 400 |
| refused | a 400 (of a state that is not there, a 404) that says what cannot be had, before any call |
| – | the client's dialect, or the provider's, has no such thing |

Of a reply that crosses dialects these are told as lost where they are lost: `reply.citations` (a place in a document, pages without a place
in the text, words whose block a streamed message has already closed), `reply.logprobs`, `reply.image`, `reply.audio` (its transcript comes
as text), `reply.hosted_tools` (what tools of the provider's own brought: programs and their output, files, pages fetched) and
`reply.choices`. A refusal is carried: as itself, as the reason of the finish, or as text. Not taken for losses, and told nowhere: the
queries and results of a web search (the pages that the answer rests on are its citations), safety ratings (a verdict is the reason of the
finish), `service_tier`, `system_fingerprint` and traffic types, and citations in a history that leaves for another dialect.
"""
