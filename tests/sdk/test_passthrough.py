"""Same dialect on both sides: what the caller says and what the provider says arrive byte for byte, wherever the network cuts."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import Proxy, StartProxy
from tests.fakes.provider import Answer, FakeProvider

VECTORS = [
    json.loads(path.read_text("utf-8")) for path in sorted((Path(__file__).parents[1] / "recordings" / "vectors").glob("*_pass_*.json"))
]

# Where each dialect's own paths begin at ours.
MOUNT = {"openai.chat": "", "openai.embeddings": "", "gemini.generateContent": "/api/google/gemini"}

# The vectors' model `m` is nobody's; without this line it is answered 404, as it should be.
CONFIG = {"server": {"ask_usage": False}, "models": {"m": "openai/m"}}


@pytest.fixture
async def proxy(start_proxy: StartProxy, environ: Mapping[str, str]) -> Proxy:
    return await start_proxy(CONFIG, environ)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


def cuts(body: bytes, asked: list[int] | str) -> list[list[int]]:
    """Ways to cut a body: as the vector asks, whole, byte by byte, and thirty at random (the same in every run)."""
    dice = random.Random(len(body))
    every = [list(range(step, len(body), step)) for step in (1, 7)]
    some = [sorted(dice.sample(range(1, len(body)), min(len(body) - 1, dice.randint(1, 12)))) for _ in range(30)]
    return [asked if isinstance(asked, list) else every[1], [], *every, *some]


def pieces(body: bytes, at: list[int]) -> list[bytes]:
    ends = [*at, len(body)]
    return [body[start:end] for start, end in zip([0, *at], ends, strict=True)]


def vector_id(vector: Mapping[str, Any]) -> str:
    return f"{vector['n']:03}_{vector['name']}"


@pytest.mark.parametrize("vector", VECTORS, ids=vector_id)
async def test_bytes_pass_untouched_under_any_cut(
    vector: Mapping[str, Any], provider: FakeProvider, proxy: Proxy, session: aiohttp.ClientSession
) -> None:
    asked, sent = vector["request_in"], vector["upstream_request_expected"]
    answer, expected = vector["upstream_response"], vector["client_response_expected"]
    body = answer["stream"]["utf8"].encode()
    headers = tuple((name, value) for name, value in answer["headers"].items() if name != "connection")
    if "transfer-encoding" not in answer["headers"]:
        headers += (("transfer-encoding", "chunked"),)
    for cut in cuts(body, answer["stream"]["cuts"]):
        provider.will(Answer(answer["status"], headers, pieces(body, cut)))
        url = proxy.root + MOUNT[vector["dialect_in"]] + asked["path"]
        async with session.request(asked["method"], url, data=asked["raw"]["utf8"].encode(), headers=asked["headers"]) as found:
            assert await found.read() == expected["raw"]["utf8"].encode(), f"cut at {cut}"
            assert found.status == expected["status"]
            assert {name: found.headers.get(name) for name in expected["headers"]} == expected["headers"]
        assert provider.last.method == sent["method"]
        assert provider.last.target == sent["path"]
        assert provider.last.body == sent["raw"]["utf8"].encode()


def test_there_are_vectors() -> None:
    assert len(VECTORS) >= 6
